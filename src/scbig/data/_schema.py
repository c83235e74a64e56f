"""How a screen writes its labels: in which columns, what controls are called, what "A+B" means.

The usual conventions are recognised; what the user names is taken as it is.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pandas as pd
from anndata import AnnData

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
Perturbations = Sequence[str | Sequence[str]]

DEFAULT_SEPARATOR = "+"
SEPARATORS = (DEFAULT_SEPARATOR, "_", "|", ";", ",", "&")

_CONTROL_TOKENS = frozenset(label.casefold() for label in CONTROL_LABELS)


@dataclass(frozen=True)
class ScreenSchema:
    """The columns and conventions of one screen.

    Attributes
    ----------
    perturbation_key
        Column of ``obs`` with the perturbation labels.
    control
        Label of the control cells.
    separator
        What stands between the targets of a combined label; ``None`` when no label is one.
    context_keys
        Columns of ``obs`` within which controls are matched to perturbed cells.
    layer
        Layer with log1p-normalised expression; ``None`` for ``X``.
    gene_key
        Column of ``var`` with the gene names; ``None`` for ``var_names``.
    """

    perturbation_key: str
    control: str
    separator: str | None = None
    context_keys: tuple[str, ...] = ()
    layer: str | None = None
    gene_key: str | None = None

    def parse(self, label: str) -> tuple[str, ...]:
        """Read one label.

        Parameters
        ----------
        label
            Label as the screen writes it.

        Returns
        -------
        Its targets, sorted; empty for controls.
        """
        return parse_perturbation(label, control=self.control, separator=self.separator)

    def read_labels(self, perturbations: Perturbations) -> dict[str, tuple[str, ...]]:
        """Read what a user asks for, each label once.

        Parameters
        ----------
        perturbations
            A label, labels such as ``["A", "A+B"]``, or sequences of targets.

        Returns
        -------
        Target sets by label, in the order given; that of the control is empty.
        """
        wanted = [perturbations] if isinstance(perturbations, str) else perturbations
        labels = [one if isinstance(one, str) else self.join(list(one)) for one in wanted]
        return {label: self.parse(label) for label in labels}

    def join(self, targets: Sequence[str]) -> str:
        """Write targets as a label of this screen.

        Parameters
        ----------
        targets
            Names of the targets; none for control cells.

        Returns
        -------
        The label, which :meth:`parse` reads.

        Raises
        ------
        ValueError
            When there are several targets but the screen has no separator.
        """
        if len(targets) > 1 and self.separator is None:
            raise ValueError(
                f"{list(targets)} cannot be combined: this screen was set up without a separator. "
                f"Name one at setup: separator={DEFAULT_SEPARATOR!r}"
            )
        return (self.separator or "").join(targets) if targets else self.control

    @property
    def obs_keys(self) -> list[str]:
        """Columns of ``obs`` that are read."""
        return [self.perturbation_key, *self.context_keys]

    def without_places(self) -> "ScreenSchema":
        """Return the conventions of data with expression in ``X`` and genes as ``var_names``."""
        return replace(self, layer=None, gene_key=None)

    def describe(self) -> str:
        """Say what was taken for what, for the log."""
        return (
            f"Took obs[{self.perturbation_key!r}] as perturbations (control {self.control!r}, "
            f"separator {self.separator!r}, contexts {list(self.context_keys) or 'none'})."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the schema as plain values, ready for JSON."""
        return asdict(self) | {"context_keys": list(self.context_keys)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ScreenSchema":
        """Rebuild a schema.

        Parameters
        ----------
        values
            What :meth:`to_dict` returned.

        Returns
        -------
        The schema.
        """
        return cls(**(values | {"context_keys": tuple(values["context_keys"])}))


def infer_schema(
    adata: AnnData,
    *,
    layer: str | None = None,
    perturbation_key: str | None = None,
    control: str | None = None,
    context_keys: Sequence[str] = (),
    separator: str | None = None,
    gene_key: str | None = None,
) -> ScreenSchema:
    """Recognise the conventions of a screen; whatever is given is taken as it is.

    Parameters
    ----------
    adata
        Annotated data of one screen.
    layer, perturbation_key, control, context_keys, separator, gene_key
        See :class:`ScreenSchema`. An empty ``separator`` says that no label is a combination; a
        screen that has none is given ``"+"``, so that combinations can be predicted.

    Returns
    -------
    The schema of the screen.

    Raises
    ------
    ValueError
        When a named column or label is absent, or when two readings are possible; the message
        lists the candidates.
    """
    context_keys = (context_keys,) if isinstance(context_keys, str) else tuple(context_keys)
    for key in context_keys:
        _check_column(adata.obs, key, "obs", "context_keys")
    if gene_key is not None:
        _check_column(adata.var, gene_key, "var", "gene_key")
    if layer is not None and layer not in adata.layers:
        # anndata 0.13 lists X among the layers, under None.
        found = [name for name in adata.layers if name is not None]
        raise ValueError(f"There is no layer {layer!r}. Layers found: {found}.")
    key = perturbation_key or _find_perturbation_key(adata.obs, control)
    _check_column(adata.obs, key, "obs", "perturbation_key")
    labels = _get_labels(adata.obs[key])
    control = _find_control(labels, key) if control is None else control
    if control not in labels:
        raise ValueError(_describe_absent(f"obs[{key!r}]", labels, control))
    if separator is None:
        names = adata.var_names if gene_key is None else adata.var[gene_key].astype(str)
        separator = find_separator(labels, control=control, gene_names=set(names))
        if separator is None and not any(DEFAULT_SEPARATOR in label for label in labels):
            separator = DEFAULT_SEPARATOR
    return ScreenSchema(key, control, separator or None, context_keys, layer, gene_key)


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


def is_control_token(token: str) -> bool:
    """Whether a label, or one part of a label such as the ``ctrl`` of ``A+ctrl``, is a control."""
    return token.casefold() in _CONTROL_TOKENS


def _check_column(frame: pd.DataFrame, key: str, where: str, argument: str) -> None:
    if key not in frame:
        raise ValueError(
            f"{argument}={key!r} is not a column of {where}. Columns found: {list(frame)}."
        )


def _find_perturbation_key(obs: pd.DataFrame, control: str | None) -> str:
    """Return the one conventional column that has control cells."""
    present = [key for key in PERTURBATION_KEYS if key in obs]
    with_control = [key for key in present if _has_control(obs[key], control)]
    if len(with_control) == 1:
        return with_control[0]
    if len(with_control) > 1:
        raise ValueError(
            f"More than one column of obs could hold the perturbations: {with_control}. "
            f"Name it: perturbation_key={with_control[0]!r}"
        )
    if present:
        labels = _get_labels(obs[present[0]])
        raise ValueError(_describe_absent(f"obs column(s) {present}", labels, control))
    raise ValueError(
        f"No column of obs is recognised as the perturbation. Columns found: {list(obs)}. "
        "Name it: perturbation_key='...'"
    )


def _has_control(column: pd.Series, control: str | None) -> bool:
    labels = _get_labels(column)
    if control is not None:
        return control in labels
    return any(is_control_token(label) for label in labels)


def _find_control(labels: Sequence[str], key: str) -> str:
    found = [label for label in labels if is_control_token(label)]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(
            f"More than one label of obs[{key!r}] could be the control: {sorted(found)}. "
            f"Name it: control={sorted(found)[0]!r}"
        )
    raise ValueError(_describe_absent(f"obs[{key!r}]", labels, None))


def _get_labels(column: pd.Series) -> list[str]:
    return column.dropna().astype(str).unique().tolist()


def _describe_absent(where: str, labels: Sequence[str], control: str | None) -> str:
    """Say that there are no control cells, and how to name them."""
    wanted = f"any of {list(CONTROL_LABELS)}" if control is None else repr(control)
    likely = next((label for label in labels if is_control_token(label)), "...")
    return (
        f"No control cells in {where}: no cell has the control label {wanted}. "
        f"Labels found: {_shorten(labels)}. Name it: control={likely!r}"
    )


def _shorten(labels: Sequence[str], n_shown: int = 8) -> str:
    shown = ", ".join(map(repr, labels[:n_shown]))
    return shown if len(labels) <= n_shown else f"{shown} and {len(labels) - n_shown} more"


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
