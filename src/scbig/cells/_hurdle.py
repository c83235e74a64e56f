"""What is done where counts cannot be had: zeros stay cells' own, values move or are drawn."""

from dataclasses import dataclass

import numpy as np

# Genes without an expressed value anywhere are drawn from so many values of all genes.
_N_TYPICAL = 1000


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
    typical = donors[donors > 0]
    typical = rng.choice(typical, min(_N_TYPICAL, len(typical))) if len(typical) else typical
    rises = np.flatnonzero(values.mean(axis=0) < wanted)
    for gene in rises:
        _fill_zeros(values[:, gene], wanted[gene], donors[:, gene], typical, rng)
    mean = values.mean(axis=0)
    values *= np.divide(wanted, mean, out=np.ones_like(mean), where=mean > 0)
    moved = values.astype(np.float32)
    return HurdleCells(moved, wanted - moved.mean(axis=0, dtype=np.float64))


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
