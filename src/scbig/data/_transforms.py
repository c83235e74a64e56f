"""How were values made of counts? Logarithms to other bases, none at all, two, or scaled genes.

What one count of a cell is worth differs from cell to cell, and is the same within it: undo what
was done to the values, and they are whole multiples of the least. Undo something else, and they
are not.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from anndata import AnnData
from scipy import sparse

from scbig.data._expression import get_log_base, get_matrix

logger = logging.getLogger(__name__)

# Cells in which something can be told, their share of those looked at, and that of all of them.
_FEW_CELLS, _SOME, _MOST = 5, 0.05, 0.9
# Distinct values of a cell that tell; a multiple is one up to this, and to rounding.
_FEW_VALUES, _ROOM, _UNSURE = 3, 1e-4, 0.05
# Sums of cells that were normalised differ by rounding alone; others by ten times as much or more.
_SAME, _TIMES = 1e-3, 10
_SUMS = "cells all sum to {:.4g}"
# A cell without a count of one has the least of two or three, hardly ever of more.
_MAX_LEAST = 10
# Of genes in so many of the cells looked at it is told how much they express where they do.
_MANY_GENES, _IN_CELLS, _VARIED = 20, 4, 0.3
# Correlation and slope of that in scaled data, and where it may be scaled; in others both are
# above zero.
_SCALED, _DOUBTFUL = (-0.7, -0.25), (-0.5, -0.1)
# Genes that tell, by a standard deviation as near to 1.
_FEW_GENES, _UNIT = 10, 0.01
# Where values are cut off, most of those above this share of the largest are the largest.
_NEAR = 0.95
# Decimals that values may have been rounded to.
_DECIMALS = 1e3
# Twice logged values are smaller: they are of 1e7 at most.
_MAX_TWICE = 2.9


@dataclass(frozen=True)
class Transform:
    """Something that counts or normalised counts went through.

    Attributes
    ----------
    name
        What is found, as a message says it.
    undo
        Returns the normalised counts.
    remedy
        What makes log1p values of them; ``{x}`` stands for the matrix, ``{layer}`` for the
        argument of scanpy.
    """

    name: str
    undo: Callable[[np.ndarray], np.ndarray]
    remedy: str


def _raise_base(log_base: float, values: np.ndarray) -> np.ndarray:
    return np.asarray(np.expm1(values * log_base))


def _undo_twice(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.expm1(np.expm1(np.minimum(values, _MAX_TWICE))))


def _make_log(base: float) -> Transform:
    name = "log1p to the base e" if base == np.e else f"log{base:g}(1 + N)"
    factor = "" if base == np.e else f" * np.log({base:g})"
    return Transform(name, partial(_raise_base, np.log(base)), f"{{x}} = {{x}}{factor}")


def list_wrong(base: float | None) -> list[Transform]:
    """List what is no log1p to a base, and yet not above what such values are.

    Parameters
    ----------
    base
        Base of the logarithm, as scanpy noted it; ``None`` for the natural one.
    """
    logs = [_make_log(one) for one in (np.e, 2.0, 10.0) if not np.isclose(one, base or np.e)]
    if base is not None:
        # What is noted has to go, too.
        logs = [Transform(t.name, t.undo, t.remedy + "; adata.uns['log1p'] = {{}}") for t in logs]
    return [
        Transform("normalised, but not logged", np.asarray, "sc.pp.log1p(adata{layer})"),
        *logs,
        Transform("log1p taken twice", _undo_twice, "{x} = np.expm1({x})"),
        Transform(
            "the square root of counts", np.square, "{x} = {square}; sc.pp.log1p(adata{layer})"
        ),
    ]


def check_transform(
    cells: sparse.csr_matrix, rows: np.ndarray, name: str, adata: AnnData, layer: str | None
) -> bool:
    """Raise when values were made otherwise than by normalising and log1p, as some cells tell.

    They tell by the multiples of their least value, and by what they add up to. Denoised and
    smoothed values have neither, and pass.

    Parameters
    ----------
    cells
        Positive values of some cells, in double precision, shape ``(n, n_genes)``.
    rows
        Which cells these are, shape ``(n,)``.
    name
        Name of the matrix.
    adata, layer
        Where it is.

    Returns
    -------
    Whether most of these cells are log1p of normalised counts beyond doubt.

    Raises
    ------
    ValueError
        When all cells, or some of them, are something else; the message has the line that mends
        it.
    """
    base = get_log_base(adata)
    right, wrong = _make_log(base or np.e), list_wrong(base)
    parts = [part for part in _split(cells) if len(part)]
    rows = rows[np.diff(cells.indptr) > 0]
    if len(parts) < _FEW_CELLS:
        return False
    votes = [_vote(part, right, wrong) for part in parts]
    told = [vote for vote in votes if vote is not None]
    counts = [sum(vote is one for vote in told) for one in wrong]
    n_right, most = sum(vote is right for vote in told), int(np.argmax(counts))
    how = "values of a cell are multiples"
    found: Transform | None = None
    if counts[most] >= max(_FEW_CELLS, _SOME * len(told)):
        found = wrong[most]
        if counts[most] < _MOST * len(told) or n_right >= _FEW_CELLS:
            are = np.array([vote is found for vote in votes])
            raise ValueError(_describe_some(found, rows[are], len(votes), name, adata, layer))
        spread, mean = _get_spread(parts, found)
        how = _SUMS.format(mean) if spread <= _SAME else how
    elif total := _find_same_sum(parts, right, wrong):
        found, how = total
    if found is not None:
        raise ValueError(_describe_all(found, how, name, adata, layer))
    return n_right > len(votes) / 2


def _split(cells: sparse.csr_matrix) -> list[np.ndarray]:
    return np.split(cells.data, cells.indptr[1:-1])


def _vote(values: np.ndarray, right: Transform, wrong: Iterable[Transform]) -> Transform | None:
    """Say what was done to the values of a cell; ``None`` where that cannot be told."""
    distinct = np.unique(values)
    rounding = _find_rounding(distinct)
    if _fits(distinct, right, rounding, range(1, _MAX_LEAST + 1)):
        return right
    scaled = distinct * _DECIMALS
    if np.all(np.abs(scaled - np.rint(scaled)) < 1e-6 * scaled):
        return None  # values that were rounded are multiples, whatever they are
    return next((one for one in wrong if _fits(distinct, one, rounding, range(1, 2))), None)


def _find_rounding(values: np.ndarray) -> float:
    """Precision that values were once stored in."""
    for dtype in (np.float16, np.float32):
        if np.array_equal(values.astype(dtype), values):
            return float(np.finfo(dtype).eps)
    return float(np.finfo(np.float64).eps)


def _fits(values: np.ndarray, made: Transform, rounding: float, least: Iterable[int]) -> bool:
    """Whether distinct values, in increasing order, are whole multiples once that is undone."""
    if made.undo is _undo_twice and values[-1] > _MAX_TWICE:
        return False
    linear = made.undo(values)
    slip = (made.undo(values * (1 + 4 * rounding)) - linear) / linear
    ratios = linear / linear[0]
    room = _ROOM + ratios * (slip + slip[0])
    is_sure = room < _UNSURE
    ratios, room = ratios[is_sure], room[is_sure]
    if len(np.unique(np.round(ratios, 2))) < _FEW_VALUES:
        return False
    return any(np.all(np.abs(n * ratios - np.rint(n * ratios)) <= n * room) for n in least)


def _find_same_sum(
    parts: list[np.ndarray], right: Transform, wrong: Iterable[Transform]
) -> tuple[Transform, str] | None:
    """Find what has all cells add up to the same, where log1p values do not."""
    # Copies of one cell, or of a mean, add up to the same whatever they are.
    distinct = {np.round(part / part.max(), 4).tobytes(): part for part in parts}
    if len(distinct) < _FEW_CELLS:
        return None
    parts = list(distinct.values())
    spread = max(_get_spread(parts, right)[0], _TIMES * float(np.finfo(np.float32).eps))
    top = max(part.max() for part in parts)
    for one in wrong:
        if one.undo is _undo_twice and top > _MAX_TWICE:
            continue
        other, mean = _get_spread(parts, one)
        # Of cells that differ one of the two is the same at most.
        if other <= _SAME and other * _TIMES < spread:
            return one, _SUMS.format(mean)
    return None


def _get_spread(parts: list[np.ndarray], made: Transform) -> tuple[float, float]:
    total = np.array([made.undo(part).sum() for part in parts])
    return float(np.ptp(total) / total.max()), float(total.mean())


def _write_remedy(found: Transform, name: str, adata: AnnData, layer: str | None) -> str:
    x, matrix = f"adata.{name}", get_matrix(adata, layer)
    is_dense = isinstance(matrix, np.ndarray)
    square = f"{x} ** 2" if is_dense else f"{x}.power(2)"
    text = found.remedy.format(
        x=x, square=square, layer="" if layer is None else f", layer={layer!r}"
    )
    return f"adata = adata.to_memory(); {text}" if adata.isbacked else text


def _describe_all(found: Transform, how: str, name: str, adata: AnnData, layer: str | None) -> str:
    is_linear = found.undo is np.asarray
    when = "before log1p and not after it" if is_linear else "once that is undone"
    verb = "Take the logarithm" if is_linear else "Make log1p values of them"
    return (
        f"{name} looks {'' if is_linear else 'like '}{found.name}: {how}, as they do {when}. "
        f"{verb}: {_write_remedy(found, name, adata, layer)}. If they are log1p values "
        "already, say so: is_log1p=True"
    )


def _describe_some(
    found: Transform, rows: np.ndarray, n: int, name: str, adata: AnnData, layer: str | None
) -> str:
    # What is noted of the logarithm is of the others, and stays.
    made = Transform(found.name, found.undo, found.remedy.partition("; adata.uns")[0])
    remedy = _write_remedy(made, name, adata, layer).replace("adata", "cells")
    return (
        f"{name} mixes what was made in several ways: of {n} cells looked at {len(rows)}, such as "
        f"{adata.obs_names[rows[0]]}, are {found.name}, as multiples of their least value tell, "
        f"and others are not. Mend these before they join others: {remedy}. If all are log1p "
        "values already, say so: is_log1p=True"
    )


# --- scaled genes --------------------------------------------------------------------------------


def check_scaling(
    cells: sparse.csr_matrix, pieces: Iterable[Any], name: str, adata: AnnData
) -> None:
    """Raise when genes were scaled, though nothing is below zero.

    Zeros may have been kept (``zero_center=False``), or what was below zero put there. Standard
    deviations of scaled genes are 1, or rare genes have the larger values (:func:`tell_scaling`).

    Parameters
    ----------
    cells
        Positive values of some cells, shape ``(n, n_genes)``.
    pieces
        The whole matrix, some cells or some genes at a time; read only where some cells do not
        rule out that deviations are 1.
    name
        Name of the matrix.
    adata
        Where it is.

    Raises
    ------
    ValueError
        When they were.
    """
    r, slope = tell_scaling(cells)
    if r < _SCALED[0] and slope < _SCALED[1]:
        how = f"genes that few cells express have the larger values (r = {r:.2f})"
    elif 0.5 < np.median(_get_deviations([cells], cells.shape[0])) < 1.5 and _are_ones(
        _get_deviations(pieces, adata.n_obs)
    ):
        how = "standard deviations of genes are 1"
    else:
        return
    layers = list(filter(None, adata.layers))
    raw = "" if adata.raw is None else " Or take what is kept: adata = adata.raw.to_adata()."
    raise ValueError(
        f"{name} looks scaled: {how}. Scaled data cannot be used. Name the log1p-normalised "
        f"layer: layer='...'. Layers found: {layers}.{raw} If they are log1p values, say so: "
        "is_log1p=True"
    )


def _get_deviations(pieces: Iterable[Any], n_cells: int) -> np.ndarray:
    """Standard deviations of genes that vary, in any order, of all cells or pieces of them."""
    sums: list[np.ndarray] = []
    for piece in pieces:
        if not sparse.issparse(piece):
            x = np.asarray(piece, dtype=np.float64)
            square = np.square(x)
        else:
            x = piece.astype(np.float64)
            square = x.power(2)
        part = np.stack([np.ravel(one.sum(axis=0)) for one in (x, square)])
        if sums and piece.shape[0] < n_cells:
            sums[0] += part
        else:
            sums.append(part)
    if not sums:
        return np.zeros(1)
    total, squares = np.concatenate(sums, axis=1)
    variance = (squares - total**2 / n_cells) / max(n_cells - 1, 1)
    found = np.sqrt(variance[variance > 0])
    return found if len(found) else np.zeros(1)


def _are_ones(deviations: np.ndarray) -> bool:
    n = len(deviations)
    return n >= _FEW_GENES and bool(np.mean(np.abs(deviations - 1) < _UNIT) > 0.5)


def tell_scaling(cells: sparse.csr_matrix) -> tuple[float, float]:
    """Tell whether genes that few cells express have the larger values, as scaling has it.

    Where a gene is found in few cells it is there with few counts: log1p values are no larger
    than those of common genes (Pearson's r of their logarithms was 0.17 and more on five real
    screens). Divided by standard deviations, which are small for such genes, they are.

    Parameters
    ----------
    cells
        Positive values of some cells, shape ``(n, n_genes)``.

    Returns
    -------
    Correlation, over genes, of the logarithms of the share of cells that express a gene and the
    mean of their values, and the slope; zeros where too few genes tell.
    """
    n_cells = np.bincount(cells.indices, minlength=cells.shape[1])
    total = np.bincount(cells.indices, weights=cells.data, minlength=cells.shape[1])
    is_told = n_cells >= _IN_CELLS
    if is_told.sum() < _MANY_GENES:
        return 0.0, 0.0
    share = np.log(n_cells[is_told])
    mean = np.log(total[is_told] / n_cells[is_told])
    if share.std() < _VARIED or mean.std() == 0:
        return 0.0, 0.0
    r = float(np.corrcoef(share, mean)[0, 1])
    return r, r * float(mean.std() / share.std())


def warn_of_odd_values(cells: sparse.csr_matrix, name: str) -> None:
    """Warn of values that are cut off at their largest, or may be of scaled genes.

    Parameters
    ----------
    cells
        Positive values of some cells, shape ``(n, n_genes)``.
    name
        Name of the matrix.
    """
    if not cells.nnz:
        return
    top = float(cells.data.max())
    is_top = cells.data == top
    n_near = int(np.sum(cells.data > _NEAR * top)) - int(is_top.sum())
    if top == np.rint(top) and is_top.sum() > max(_FEW_CELLS, n_near):
        logger.warning(
            "%s is cut off at %g, which stands %d times in the cells looked at, as scaled data "
            "are. Give log1p values that were not cut off: layer='...'. If this is meant, say so: "
            "is_log1p=True",
            *(name, top, is_top.sum()),
        )
    r, slope = tell_scaling(cells)
    if r < _DOUBTFUL[0] and slope < _DOUBTFUL[1]:
        logger.warning(
            "Genes that few cells express have the larger values in %s (r = %.2f), as in scaled "
            "data, which cannot be used. Is it log1p of normalised counts? Then say so: "
            "is_log1p=True",
            *(name, r),
        )
