"""How screens write perturbations: control labels, separators, and labels as sets of targets."""

from collections.abc import Collection, Iterable, Sequence

PERTURBATION_KEYS = (
    "perturbation",
    "condition",
    "perturbation_name",
    "perturbations",
    "target_gene",
    "gene_target",
    "target",
    "gene",
    "guide_identity",
    "guide_id",
)
CONTROL_LABELS = (
    "control",
    "ctrl",
    "non-targeting",
    "non_targeting",
    "nontargeting",
    "NT",
    "NTC",
    "unperturbed",
)
DEFAULT_SEPARATOR = "+"
SEPARATORS = (DEFAULT_SEPARATOR, "_", "|", ";", ",", "&")

_CONTROL_TOKENS = frozenset(label.casefold() for label in CONTROL_LABELS)


def is_control_token(token: str) -> bool:
    """Whether a label, or one part of a label such as the ``ctrl`` of ``A+ctrl``, is a control."""
    return token.casefold() in _CONTROL_TOKENS


def parse_perturbation(label: str, *, control: str, separator: str | None) -> tuple[str, ...]:
    """Read a perturbation label as the sorted set of its targets.

    Parameters
    ----------
    label
        Label such as ``"A"``, ``"A+B"``, ``"A+ctrl"`` or the control label.
    control
        The control label of the screen.
    separator
        What stands between two targets; ``None`` or ``""`` when labels name one target each.

    Returns
    -------
    Target names, sorted, without controls. Empty for control cells. The order of targets in
    the label does not matter, and a target that is named twice counts once. A label of one part
    is a control only if it is the control label itself: of two control labels, the one that was
    not named is a perturbation like any other.

    Raises
    ------
    ValueError
        When the label, or a part of it, is empty.

    Examples
    --------
    >>> parse_perturbation("B+A", control="control", separator="+")
    ('A', 'B')
    >>> parse_perturbation("A+ctrl", control="ctrl", separator="+")
    ('A',)
    """
    if label.strip() == control.strip():
        return ()
    if not label.strip():
        raise ValueError(
            f"A perturbation label is empty: {label!r}. Label its cells or drop them."
        )
    parts = [part.strip() for part in (label.split(separator) if separator else [label])]
    if not all(parts):
        raise ValueError(
            f"The perturbation label {label!r} has an empty target. Write labels as "
            f"'A{separator}B', or say that none is a combination: separator=''"
        )
    if len(parts) == 1:
        return tuple(parts)
    return tuple(sorted({p for p in parts if p != control and not is_control_token(p)}))


def find_separator(
    labels: Iterable[str], *, control: str, gene_names: Collection[str]
) -> str | None:
    """Find what stands between the targets of combined labels.

    A separator is taken when some label splits at it into parts that are all known: genes of
    the matrix, labels of single perturbations, or control tokens. ``+`` needs no known parts,
    as no gene symbol contains it.

    Parameters
    ----------
    labels
        The distinct perturbation labels of the screen.
    control
        The control label.
    gene_names
        Names of the measured genes.

    Returns
    -------
    The separator, or ``None`` when every label names one target.

    Raises
    ------
    ValueError
        When labels can be read with two different separators.
    """
    labels = [label for label in labels if label != control]
    known = {control, *gene_names}
    readings = {s: example for s in SEPARATORS if (example := _example(labels, s, known))}
    if len(readings) > 1:
        listed = "; ".join(f"{s!r} splits {example!r}" for s, example in readings.items())
        raise ValueError(
            f"Perturbation labels can be read with more than one separator: {listed}. "
            f"Name it: separator={next(iter(readings))!r}"
        )
    return next(iter(readings), None)


def _example(labels: Sequence[str], separator: str, known: Collection[str]) -> str | None:
    """Return one label that ``separator`` splits into known targets."""
    singles = {label for label in labels if separator not in label}
    for label in labels:
        parts = [part.strip() for part in label.split(separator)]
        if len(parts) < 2 or not all(parts):
            continue
        if separator == DEFAULT_SEPARATOR or all(
            p in singles or p in known or is_control_token(p) for p in parts
        ):
            return label
    return None
