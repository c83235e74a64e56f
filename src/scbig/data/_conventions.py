"""What a screen is taken for: its conventions are recognised, its labels and values checked.

What the user names is taken as it is; what cannot be read is an error that says where, and what
mends it.
"""

import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from scbig._annotations import checked
from scbig.data._expression import CHUNK_SIZE, Expression, get_matrix, is_csc
from scbig.data._screen import (
    CONTROL_LABELS,
    DEFAULT_SEPARATOR,
    ScreenSchema,
    is_control_token,
    read_controls,
)

logger = logging.getLogger(__name__)

MAX_LOG1P = 20

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


@checked
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


def check_expression(
    adata: AnnData, layer: str | None, *, is_log1p: bool = False, is_strict: bool = False
) -> None:
    """Raise when expression is not finite, is negative, or looks like raw counts.

    Values are read in pieces, so that a backed file is never loaded whole. A piece counts as raw
    counts when all of its values are integers and the largest exceeds 20; log1p values stay far
    below that. Among cells with fractions, a cell of integers does when the largest exceeds 20 or
    four of them differ.

    Parameters
    ----------
    adata
        Annotated data; may be backed.
    layer
        Layer to check; ``None`` for ``X``.
    is_log1p
        ``True`` takes integer values for log1p values all the same.
    is_strict
        ``True`` refuses values above 20, of which there is otherwise a warning, and cells of
        integers that differ even where no cell has fractions.

    Returns
    -------
    Nothing; values that pass are log1p values as far as one can see.

    Raises
    ------
    ValueError
        When there is nothing to read, values are not numbers, NaN, infinite or negative, or
        look like raw counts; the message says where, and the line that mends it.
    """
    name = "X" if layer is None else f"layers[{layer!r}]"
    matrix = get_matrix(adata, layer)
    if matrix is None or 0 in matrix.shape:
        shape = "missing" if matrix is None else f"of shape {tuple(matrix.shape)}"
        raise ValueError(f"{name} is {shape}: there is no expression to read.")
    if np.dtype(matrix.dtype).kind not in "iuf":
        raise ValueError(
            f"{name} has dtype {matrix.dtype}; real numbers are expected. Convert it: "
            f"adata.{name} = adata.{name}.astype('float32')"
        )
    largest, is_large, fractions, expressed = 0.0, *np.zeros((3, adata.n_obs), dtype=bool)
    for where, start, piece in iter_pieces(matrix):
        values = piece.data if sparse.issparse(piece) else piece
        _check_finite(values, name, where)
        _check_sign(values, name, where, list(filter(None, adata.layers)))
        rows, top = slice(start, start + piece.shape[0]), float(values.max())
        if not is_log1p:
            _check_counts(values, name, where, layer)
            fractions[rows] |= _find_fractions(piece)
            expressed[rows] |= mark_rows(piece, values > 0)
        if top > MAX_LOG1P and is_strict:
            is_large[rows] |= mark_rows(piece, values > MAX_LOG1P)
        largest = max(largest, top)
    if fractions.any() or is_strict:
        _check_cells(matrix, np.flatnonzero(expressed & ~fractions), name, adata)
    if is_large.any():
        raise ValueError(
            f"{name} reaches {largest:g}, as no log1p value does: a million counts have 14. "
            f"Found in {_name_cells(np.flatnonzero(is_large).tolist(), adata)}. Normalise them: "
            "sc.pp.normalize_total(adata, target_sum=1e4); sc.pp.log1p(adata)"
        )
    if largest > MAX_LOG1P and not is_log1p:
        logger.warning("%s reaches %g: is it log1p? If not: sc.pp.log1p(adata)", name, largest)


def iter_pieces(matrix: Any) -> Iterator[tuple[str, int, Any]]:
    """Yield the matrix piece by piece, with its place and first cell; empty pieces not."""
    # A piece has about the volume of CHUNK_SIZE cells, along the axis that is cheap to cut.
    by_gene = is_csc(matrix)
    n_cells, n_genes = matrix.shape
    n, step = (
        (n_genes, max(1, n_genes * CHUNK_SIZE // n_cells)) if by_gene else (n_cells, CHUNK_SIZE)
    )
    for start in range(0, n, step):
        stop = min(start + step, n)
        piece: Any = matrix[:, start:stop] if by_gene else matrix[start:stop]
        piece = piece if sparse.issparse(piece) else np.asarray(piece)
        if not sparse.issparse(piece) or piece.nnz:
            where = f"{'genes' if by_gene else 'cells'} {start} to {stop - 1}"
            yield where, 0 if by_gene else start, piece


def mark_rows(piece: Any, is_marked: np.ndarray) -> np.ndarray:
    """Mark the rows of a piece that hold a marked one of its stored values."""
    if not sparse.issparse(piece):
        return np.asarray(is_marked.any(axis=1))
    stored = is_marked.astype(np.float32), piece.indices, piece.indptr
    n_marked = type(piece)(stored, shape=piece.shape) @ np.ones(piece.shape[1], np.float32)
    return np.asarray(n_marked, dtype=np.float32) > 0


def _find_fractions(piece: Any) -> np.ndarray:
    if sparse.issparse(piece):
        return mark_rows(piece, piece.data != np.rint(piece.data))
    # Where the largest has one, no other value need be looked at.
    top = piece.max(axis=1)
    has_fraction = top != np.rint(top)
    rest = np.flatnonzero(~has_fraction & (top > 0))
    has_fraction[rest] = (piece[rest] != np.rint(piece[rest])).any(axis=1)
    return has_fraction


def _check_cells(matrix: Any, cells: np.ndarray, name: str, adata: AnnData) -> None:
    """Raise when some of the cells that hold only integers, among others, are raw counts.

    Four different integers in a cell are no accident; fewer can be logarithms to the base 2.
    """
    found: list[int] = []
    step = max(1, CHUNK_SIZE**2 // matrix.shape[1])
    for start in range(0, len(cells), step):
        rows = Expression(matrix).rows(cells[start : start + step])
        least = np.where(rows > 0, rows, np.inf).min(axis=1, keepdims=True)
        most = rows.max(axis=1, keepdims=True)
        is_between = (rows > least) & (rows < most)
        differ = np.where(is_between, rows, most).min(axis=1) < (rows * is_between).max(axis=1)
        is_counts = (most[:, 0] > MAX_LOG1P) | differ
        found += cells[start : start + step][is_counts].tolist()
    if found:
        raise ValueError(
            f"{name} holds raw counts in {_name_cells(found, adata)}: their values are "
            "integers only. Normalise counts before they join other cells: "
            "sc.pp.normalize_total(cells, target_sum=1e4); sc.pp.log1p(cells)"
        )


def _name_cells(cells: list[int], adata: AnnData) -> str:
    first, n = adata.obs_names[cells[0]], len(cells)
    return f"{n} of {adata.n_obs} cells ({n / adata.n_obs:.1%}), such as {first}"


def _check_finite(values: np.ndarray, name: str, where: str) -> None:
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        n_nan, n_inf = int(np.isnan(values).sum()), int(np.isinf(values).sum())
        raise ValueError(
            f"{n_nan} NaN and {n_inf} infinite value(s) in {name}, {where}. Drop the cells: "
            f"adata = adata[np.isfinite(np.ravel(adata.{name}.sum(axis=1)))].copy()"
        )


def _check_sign(values: np.ndarray, name: str, where: str, layers: list[str]) -> None:
    if values.min() < 0:
        raise ValueError(
            f"Negative values (smallest {values.min():g}) in {name}, {where}. Scaled or centred "
            "data cannot be used. Name the log1p-normalised layer: layer='...'. "
            f"Layers found: {layers}."
        )


def _check_counts(values: np.ndarray, name: str, where: str, layer: str | None) -> None:
    largest = values.max()
    if largest > MAX_LOG1P and bool(np.all(values == np.rint(values))):
        copy = "" if layer is None else f"adata.X = adata.{name}.copy(); "
        instead = "" if layer is None else " and leave out layer"
        raise ValueError(
            f"{name} holds raw counts: all values of {where} are integers, up to {largest:g}. "
            f"Normalise them: {copy}sc.pp.normalize_total(adata, target_sum=1e4); "
            f"sc.pp.log1p(adata){instead}. If they are log1p values already, say so: is_log1p=True"
        )
