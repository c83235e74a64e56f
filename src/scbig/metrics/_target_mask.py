"""Which genes a condition perturbs itself."""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import ArrayLike


def get_target_mask(targets: Sequence[Collection[str]], gene_names: Sequence[str]) -> np.ndarray:
    """Mark the genes that each condition perturbs.

    Parameters
    ----------
    targets
        The perturbed genes of each of the C conditions; names that are not among the genes
        (unmeasured targets) mark nothing.
    gene_names
        Names of the G genes.

    Returns
    -------
    numpy.ndarray
        Boolean, ``(C, G)``.

    Raises
    ------
    ValueError
        If a condition is given as a string instead of a collection of names.
    """
    for genes in targets:
        if isinstance(genes, str):
            raise ValueError(f"targets holds the string {genes!r}; write [{genes!r}] instead.")
    names = np.asarray(gene_names, dtype=object)
    mask = np.zeros((len(targets), len(names)), dtype=bool)
    for row, genes in zip(mask, targets, strict=True):
        for gene in genes:
            row |= names == gene
    return mask


def check_target_mask(target_mask: ArrayLike | None, shape: tuple[int, ...]) -> np.ndarray:
    """Check a mask of target genes.

    Parameters
    ----------
    target_mask
        Boolean, ``(C, G)``; ``None`` marks nothing.
    shape
        The shape it has to have.

    Returns
    -------
    numpy.ndarray
        Boolean, ``(C, G)``.

    Raises
    ------
    ValueError
        If dtype or shape do not fit, or a condition perturbs every gene.
    """
    if target_mask is None:
        return np.zeros(shape, dtype=bool)
    mask = np.asarray(target_mask)
    if mask.shape != shape or mask.dtype != bool:
        raise ValueError(
            f"target_mask is {mask.dtype} of shape {mask.shape}; expected bool of shape {shape}. "
            "Make it with get_target_mask(targets, gene_names)."
        )
    if mask.all(axis=1).any():
        row = int(np.argmax(mask.all(axis=1)))
        raise ValueError(f"target_mask leaves no gene of condition {row} to compare.")
    return mask
