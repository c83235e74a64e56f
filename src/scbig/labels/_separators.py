"""What stands between the targets of combined labels?"""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence

from scbig.labels._reading import (
    DEFAULT_SEPARATOR,
    SEPARATORS,
    WEAK_SEPARATORS,
    get_control_parts,
    has_guide_mark,
    is_control_like,
    is_missing_like,
    read_controls,
    split_label,
    take_once,
)
from scbig.labels._remedies import rewrite, write_table

logger = logging.getLogger(__name__)


def find_separator(
    labels: Iterable[str],
    *,
    control: str | Sequence[str],
    gene_names: Collection[str],
    key: str = "perturbation",
) -> str | None:
    """Find what stands between the targets of combined labels.

    A separator is taken when some label splits at it into parts that are all known: genes of
    the matrix, labels of single perturbations, or control tokens. ``+`` needs no known parts,
    as no gene symbol contains it. ``-`` and ``.`` are taken when all labels that contain them
    split so, and there is no other.

    Parameters
    ----------
    labels
        The distinct perturbation labels of the screen.
    control
        The control label, or all of them.
    gene_names
        Names of the measured genes.
    key
        Column of the labels, for the message.

    Returns
    -------
    The separator, or ``None`` when every label names one target.

    Raises
    ------
    ValueError
        When labels can be read with two different separators.
    """
    controls = frozenset(read_controls(control))
    labels = [label for label in labels if label not in controls and not is_missing_like(label)]
    known = controls.union(gene_names)
    splits = {s: _find_split(labels, s, known, controls) for s in SEPARATORS}
    if not any(splits.values()):
        unknown = [one for one in labels if one not in known and not is_control_like(one)]
        splits = {s: _find_split(labels, s, known, controls) for s in WEAK_SEPARATORS}
        splits = {s: k for s, k in splits.items() if len(k) == sum(s in one for one in unknown)}
    readings = {s: found for s, found in splits.items() if found}
    if len(readings) > 1:
        raise ValueError(_describe_readings(readings, key))
    separator = next(iter(readings), None)
    if separator in WEAK_SEPARATORS and len(readings[separator]) == 1:
        _warn_of_one(separator, *readings[separator].popitem(), labels)
    return separator


def _warn_of_one(separator: str, label: str, parts: Sequence[str], labels: Sequence[str]) -> None:
    """Warn where one label alone says that ``-`` stands between targets: it may be a gene's."""
    if any(is_control_like(part) for part in parts) or set(parts) <= set(labels):
        return
    logger.warning(
        "Only %r says that %r stands between targets, and is read as %s. If it is one gene: %s; "
        "if not, say so: separator=%r",
        label,
        separator,
        " and ".join(parts),
        write_table({label: label}),
        separator,
    )


def _describe_readings(readings: Mapping[str, dict[str, list[str]]], key: str) -> str:
    """Say where labels split at one separator or another, and how to write all at one."""
    listed = "; ".join(f"{s!r} splits {next(iter(k))!r}" for s, k in readings.items())
    # The first has the largest number of labels; of equals, it is the more usual.
    own = max(readings, key=lambda join: len(readings[join]))
    others = (found for join, found in readings.items() if join != own)
    mended = {k: own.join(parts) for found in others for k, parts in found.items()}
    return (
        f"Perturbation labels can be read with more than one separator: {listed}. "
        f"Name it: separator={own!r}; or, if all are combinations, write them alike: "
        f"{rewrite(key, mended)}"
    )


def _find_split(
    labels: Sequence[str], separator: str, known: Collection[str], controls: frozenset[str]
) -> dict[str, list[str]]:
    """Find the labels that ``separator`` splits into known targets, and these."""
    singles = {label for label in labels if separator not in label}
    own = get_control_parts(controls, separator)

    def is_known(part: str) -> bool:
        return part in known or part in singles or part in own or is_control_like(part)

    found = {}
    for label in labels:
        if separator not in label or label in known or is_control_like(label):
            continue
        if separator == DEFAULT_SEPARATOR:
            parts = [part.strip() for part in label.split(separator)]
            # STAT1+/- is a genotype.
            is_split = all(parts) and "/-" not in parts and not has_guide_mark(label)
        else:
            text = take_once(label) if separator == "_" else label
            parts = split_label(text, separator, is_known)
            is_split = len(parts) > 1 and all(map(is_known, parts))
        if is_split:
            found[label] = parts
    return found
