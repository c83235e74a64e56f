"""How coherent programs are: edges inside them against programs drawn at random."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse


@dataclass(frozen=True)
class Coherence:
    """Mean within-program edge density beside its permutation distribution.

    Attributes
    ----------
    density
        Mean over programs of edges inside over pairs inside.
    permuted_mean, permuted_std
        Mean and standard deviation of the same number under permuted labels.
    p_value
        Share of permutations at least as dense, the observed labels counted among them.
    n_permutations
        Number of permutations.
    """

    density: float
    permuted_mean: float
    permuted_std: float
    p_value: float
    n_permutations: int

    @property
    def z_score(self) -> float:
        """Distance from the permutation mean in standard deviations (0 without spread)."""
        if self.permuted_std == 0:
            return 0.0
        return (self.density - self.permuted_mean) / self.permuted_std

    @property
    def fold(self) -> float:
        """Density over the permutation mean."""
        return self.density / self.permuted_mean if self.permuted_mean > 0 else float("inf")

    def __str__(self) -> str:
        return (
            f"edge density {self.density:.4f}, {self.fold:.2f} times that of permuted labels "
            f"(z = {self.z_score:.1f}, p = {self.p_value:.3g})"
        )


def compute_coherence(
    labels: np.ndarray,
    adjacency: sparse.csr_array,
    n_permutations: int = 200,
    rng: np.random.Generator | None = None,
) -> Coherence:
    """Compare the edge density inside programs with that under permuted labels.

    Parameters
    ----------
    labels
        Program of each gene in 0 .. n_programs - 1, shape (n_genes,).
    adjacency
        Symmetric graph of shape (n_genes, n_genes); every stored non-zero counts as an edge.
    n_permutations
        Number of label permutations, which keep the sizes of the programs.
    rng
        Generator of the permutations; seed 0 by default.

    Returns
    -------
    The report. Programs of one gene have no pairs and are left out of the mean.

    Raises
    ------
    ValueError
        If shapes do not fit, the graph has no edge, no program has two genes, or no permutation
        is asked for.
    """
    if n_permutations < 1:
        raise ValueError(f"n_permutations must be at least 1, found {n_permutations}.")
    rng = np.random.default_rng(0) if rng is None else rng
    labels = np.asarray(labels, dtype=np.int64)
    left, right = _list_edges(adjacency, labels.size)
    weights = _compute_edge_weights(labels)
    observed = _sum_inside(labels, left, right, weights)
    permuted = np.array(
        [_sum_inside(rng.permutation(labels), left, right, weights) for _ in range(n_permutations)]
    )
    # A relative slack, or sums in another order make equal densities unequal.
    n_as_dense = np.count_nonzero(permuted >= observed * (1 - 1e-12))
    return Coherence(
        density=observed,
        permuted_mean=float(permuted.mean()),
        permuted_std=float(permuted.std()),
        p_value=(1 + n_as_dense) / (1 + n_permutations),
        n_permutations=n_permutations,
    )


def _list_edges(adjacency: sparse.csr_array, n_genes: int) -> tuple[np.ndarray, np.ndarray]:
    if adjacency.shape != (n_genes, n_genes):
        raise ValueError(f"adjacency has shape {adjacency.shape} for {n_genes} labels.")
    upper = sparse.coo_array(sparse.triu(adjacency, k=1))
    is_edge = upper.data != 0
    if not is_edge.any():
        raise ValueError(
            "The graph has no edge between these genes, so coherence has no meaning. Check that "
            "the graph and the data use the same kind of gene names (symbols or Ensembl ids)."
        )
    return upper.row[is_edge], upper.col[is_edge]


def _compute_edge_weights(labels: np.ndarray) -> np.ndarray:
    """Weight of one edge inside each program (n_programs,): their sum is the mean density."""
    sizes = np.bincount(labels).astype(np.float64)
    n_pairs = sizes * (sizes - 1) / 2
    has_pairs = n_pairs > 0
    if not has_pairs.any():
        raise ValueError("No program has two genes, so there is no density inside programs.")
    return np.divide(1.0 / has_pairs.sum(), n_pairs, out=np.zeros_like(sizes), where=has_pairs)


def _sum_inside(
    labels: np.ndarray, left: np.ndarray, right: np.ndarray, weights: np.ndarray
) -> float:
    program = labels[left]
    return float(weights[program[program == labels[right]]].sum())
