"""What is done where counts cannot be had: zeros stay cells' own, values move or are drawn."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

# Genes without an expressed value anywhere are drawn from so many values of all genes.
_N_TYPICAL = 1000
# Share of the values of a cell drawn again that are another cell's, in genes that have zeros.
_SWAPPED = 0.5
# How far it is moved, along differences of how many cells to the mean, where they have none.
_BANDWIDTH, _N_DIRECTIONS = 0.5, 4
_N_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class HurdleCells:
    """Cells made of control cells without counts.

    Attributes
    ----------
    values
        Cells x genes, in the units of the control cells, float32.
    missing
        Wanted mean less the mean of ``values``, shape ``(n_genes,)``.
    """

    values: np.ndarray
    missing: np.ndarray


def move_values(
    controls: np.ndarray,
    target: np.ndarray,
    rng: np.random.Generator,
    donors: np.ndarray | None = None,
    typical: np.ndarray | None = None,
) -> HurdleCells:
    """Change the values of control cells so that they have a given mean, and keep zeros likely.

    For values that are no counts any more, such as denoised ones. A gene that falls is scaled in
    every cell, so zeros stay zeros. Of a gene that rises, cells with zeros are given values that
    other cells have, as many as the mean asks for; where all cells have one, the values are
    scaled. It is a hurdle model in the sense of Cragg (1971), doi:10.2307/1909582: whether a gene
    is expressed, and how strongly if it is, are drawn apart.

    Parameters
    ----------
    controls
        Control cells x genes, not negative.
    target
        Wanted mean of each gene, shape ``(n_genes,)``; below 0 stands for 0.
    rng
        Source of randomness.
    donors
        Cells x genes whose expressed values are drawn, for example all training cells; the control
        cells by default. Genes that none of them expresses take values of all genes.
    typical
        Expressed values for those genes; by default some of the donors.

    Returns
    -------
    The cells, in the order of ``controls``.

    Raises
    ------
    ValueError
        When values are negative or not finite, or shapes do not fit.
    """
    donors = controls if donors is None else donors
    if target.shape != controls.shape[1:] or donors.shape[1:] != controls.shape[1:]:
        raise ValueError(
            f"controls have {controls.shape[1]} genes, target has shape {target.shape} and donors "
            f"{donors.shape}: give the same genes."
        )
    for values in (controls, donors):
        if not np.isfinite(values).all() or (values < 0).any():
            raise ValueError(
                "Values are negative or not finite: give expression as it was before scaling."
            )
    wanted = np.maximum(target, 0).astype(np.float64)
    values = controls.astype(np.float64)
    typical = donors[donors > 0] if typical is None else typical
    typical = rng.choice(typical, min(_N_TYPICAL, len(typical))) if len(typical) else typical
    rises = np.flatnonzero(values.mean(axis=0) < wanted)
    for gene in rises:
        _fill_zeros(values[:, gene], wanted[gene], donors[:, gene], typical, rng)
    mean = values.mean(axis=0)
    values *= np.divide(wanted, mean, out=np.ones_like(mean), where=mean > 0)
    moved = values.astype(np.float32)
    return HurdleCells(moved, wanted - moved.mean(axis=0, dtype=np.float64))


def move_cells(
    pool: sparse.csr_matrix,
    drawn: np.ndarray,
    target: np.ndarray,
    rng: np.random.Generator,
    n_cells: int,
) -> sparse.csr_matrix:
    """Make cells by :func:`move_values`, some genes at a time, and none of them twice.

    Parameters
    ----------
    pool
        Control cells x genes, not negative.
    drawn
        Cells of the pool to move, over which means are matched. If more are wanted than
        there are, what is drawn a second time is renewed: genes that are there in every cell are
        moved along differences of cells to their mean, with mean and covariance kept (a smoothed
        bootstrap; Efron and Tibshirani 1993), others take every second value from another cell.
    target
        Wanted mean of each gene, shape ``(n_genes,)``.
    rng
        Source of randomness.
    n_cells
        Number of cells to return.

    Returns
    -------
    The first ``n_cells`` of ``drawn``, moved, float32.
    """
    # Of cells that are only matched, copies do no harm.
    first = np.unique(drawn, return_index=True)[1]
    again = np.setdiff1d(np.arange(len(drawn)), first) if n_cells > len(first) else drawn[:0]
    noise = _Noise(
        (drawn[again] + rng.integers(1, max(pool.shape[0], 2), len(again))) % pool.shape[0],
        rng.integers(pool.shape[0], size=(_N_DIRECTIONS, len(again))),
        rng.standard_normal((_N_DIRECTIONS, len(again), 1)),
    )
    by_gene = pool.tocsc()
    step = max(_N_AT_ONCE // max(len(drawn), pool.shape[0]), 1)
    parts = []
    for start in range(0, pool.shape[1], step):
        genes = slice(start, start + step)
        donors = by_gene[:, genes].toarray().astype(np.float64)
        cells = donors[drawn]
        cells[again] = _renew_values(cells[again], donors, noise, rng)
        moved = move_values(cells, target[genes], rng, donors, pool.data[pool.data > 0])
        parts.append(sparse.csc_matrix(moved.values[:n_cells]))
    return sparse.csr_matrix(sparse.hstack(parts, format="csc"))


@dataclass(frozen=True)
class _Noise:
    """How each cell that is drawn again differs from its first, alike for all genes."""

    partner: np.ndarray  # another cell, (n,)
    direction: np.ndarray  # cells whose differences to the mean it is moved along, (4, n)
    step: np.ndarray  # how far, (4, n, 1)


def _renew_values(
    values: np.ndarray, donors: np.ndarray, noise: _Noise, rng: np.random.Generator
) -> np.ndarray:
    mean, least = donors.mean(axis=0), donors.min(axis=0)
    # Normal, with the covariance of the donors.
    moved = sum(
        step * (donors[cells] - mean)
        for step, cells in zip(noise.step, noise.direction, strict=True)
    ) / np.sqrt(_N_DIRECTIONS)
    smooth = mean + (values - mean + _BANDWIDTH * moved) / np.sqrt(1 + _BANDWIDTH**2)
    swapped = np.where(rng.random(values.shape) < _SWAPPED, donors[noise.partner], values)
    return np.where(least > 0, np.maximum(smooth, least), swapped)


def _fill_zeros(
    values: np.ndarray,
    wanted: float,
    donors: np.ndarray,
    typical: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Give cells with zeros values of other cells, in place, until the mean is reached."""
    own = donors[donors > 0]
    own = own if len(own) else typical
    zeros = rng.permutation(np.flatnonzero(values == 0))
    if not len(own) or not len(zeros):
        return
    drawn = rng.choice(own, len(zeros))
    sums = np.cumsum(drawn)
    need = wanted * len(values) - values.sum()
    # The last one that is needed, as often as the mean asks for it.
    n_filled = int(np.searchsorted(sums, need))
    if n_filled < len(zeros):
        n_filled += rng.random() < 1 - (sums[n_filled] - need) / drawn[n_filled]
    values[zeros[:n_filled]] = drawn[:n_filled]
