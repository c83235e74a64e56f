"""What a screen is taken for: its conventions are recognised.

What the user names is taken as it is; what cannot be read is an error that says where, and what
mends it.
"""

import logging
from collections.abc import Collection, Iterable, Sequence

import pandas as pd
from anndata import AnnData

from scbig.data._screen import (
    CONTROL_LABELS,
    DEFAULT_SEPARATOR,
    ScreenSchema,
    is_control_token,
    read_controls,
)

logger = logging.getLogger(__name__)

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
SEPARATORS = (DEFAULT_SEPARATOR, "_", "|", ";", ",", "&")


def infer_schema(
    adata: AnnData,
    *,
    layer: str | None = None,
    perturbation_key: str | None = None,
    control: str | Sequence[str] | None = None,
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
        screen that has none is given ``"+"``, so that combinations can be predicted. Several
        labels of control cells may be named; the first stands for all in what is written.

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
    named = () if control is None else read_controls(control)
    key = perturbation_key or _find_perturbation_key(adata.obs, named)
    _check_column(adata.obs, key, "obs", "perturbation_key")
    labels = _get_labels(adata.obs[key])
    named = named or (_find_control(labels, key),)
    if not set(named) & set(labels):
        raise ValueError(_describe_absent(f"obs[{key!r}]", labels, named))
    if absent := [label for label in named if label not in labels]:
        logger.warning("No cell is labelled %s in obs[%r].", ", ".join(map(repr, absent)), key)
    if separator is None:
        names = adata.var_names if gene_key is None else adata.var[gene_key].astype(str)
        separator = find_separator(labels, control=named, gene_names=set(names))
        if separator is None and not any(DEFAULT_SEPARATOR in label for label in labels):
            separator = DEFAULT_SEPARATOR
    return ScreenSchema(key, named[0], separator or None, context_keys, layer, gene_key, named[1:])


def find_separator(
    labels: Iterable[str], *, control: str | Sequence[str], gene_names: Collection[str]
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
        The control label, or all of them.
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
    controls = read_controls(control)
    labels = [label for label in labels if label not in controls]
    known = {*controls, *gene_names}
    readings = {s: example for s in SEPARATORS if (example := _example(labels, s, known))}
    if len(readings) > 1:
        listed = "; ".join(f"{s!r} splits {example!r}" for s, example in readings.items())
        raise ValueError(
            f"Perturbation labels can be read with more than one separator: {listed}. "
            f"Name it: separator={next(iter(readings))!r}"
        )
    return next(iter(readings), None)


def _check_column(frame: pd.DataFrame, key: str, where: str, argument: str) -> None:
    if key not in frame:
        raise ValueError(
            f"{argument}={key!r} is not a column of {where}. Columns found: {list(frame)}."
        )


def _find_perturbation_key(obs: pd.DataFrame, named: Sequence[str]) -> str:
    """Return the one conventional column that has control cells."""
    present = [key for key in PERTURBATION_KEYS if key in obs]
    with_control = [key for key in present if _has_control(obs[key], named)]
    if len(with_control) == 1:
        return with_control[0]
    if len(with_control) > 1:
        raise ValueError(
            f"More than one column of obs could hold the perturbations: {with_control}. "
            f"Name it: perturbation_key={with_control[0]!r}"
        )
    if present:
        labels = _get_labels(obs[present[0]])
        raise ValueError(_describe_absent(f"obs column(s) {present}", labels, named))
    raise ValueError(
        f"No column of obs is recognised as the perturbation. Columns found: {list(obs)}. "
        "Name it: perturbation_key='...'"
    )


def _has_control(column: pd.Series, named: Sequence[str]) -> bool:
    labels = _get_labels(column)
    if named:
        return bool(set(named) & set(labels))
    return any(is_control_token(label) for label in labels)


def _find_control(labels: Sequence[str], key: str) -> str:
    found = [label for label in labels if is_control_token(label)]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(
            f"More than one label of obs[{key!r}] could be the control: {sorted(found)}. "
            f"Name it: control={sorted(found)[0]!r}, or all that are: control={sorted(found)}"
        )
    raise ValueError(_describe_absent(f"obs[{key!r}]", labels, ()))


def _get_labels(column: pd.Series) -> list[str]:
    return column.dropna().astype(str).unique().tolist()


def _describe_absent(where: str, labels: Sequence[str], named: Sequence[str]) -> str:
    """Say that there are no control cells, and how to name them."""
    wanted = repr(named[0]) if len(named) == 1 else f"any of {list(named or CONTROL_LABELS)}"
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
