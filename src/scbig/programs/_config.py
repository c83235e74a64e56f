"""Settings of the gene-program clustering."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ProgramConfig:
    """Settings of gene-relation clustering (arXiv 2602.04901), by default the published ones.

    Parameters
    ----------
    n_programs
        Number of programs K.
    semantic_weight
        Weight of the distance to the program centroids in embedding space.
    graph_weight
        Weight of the interaction term; without a graph it has no effect.
    epsilon
        Entropic regularisation of the transport plan, in units of the cost.
    n_iterations
        Rounds of centroids, cost, transport and rounding after k-means.
    n_starts
        Starts of k-means, of which the best is kept.
    seed
        Seed of k-means.

    Raises
    ------
    ValueError
        If a setting is out of range.
    """

    n_programs: int = 32
    semantic_weight: float = 1.0
    graph_weight: float = 1.0
    epsilon: float = 0.1
    n_iterations: int = 3
    n_starts: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("n_programs", "n_iterations", "n_starts"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}.")
        for name in ("semantic_weight", "graph_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, found {getattr(self, name)}.")
        if self.epsilon <= 0:
            raise ValueError(f"epsilon must be positive, found {self.epsilon}.")

    def check_n_genes(self, n_genes: int) -> None:
        """Refuse more programs than can hold two genes each.

        Parameters
        ----------
        n_genes
            Number of genes to be clustered.

        Raises
        ------
        ValueError
            If ``n_programs`` exceeds ``n_genes // 2``.
        """
        if self.n_programs > n_genes // 2:
            raise ValueError(
                f"n_programs={self.n_programs} is too many for {n_genes} genes: each program "
                f"needs two. Pass n_programs={max(n_genes // 2, 1)} or fewer."
            )
