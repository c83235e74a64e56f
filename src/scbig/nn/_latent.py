"""Latent spaces of cells: what any of them offers, and principal components."""

from abc import abstractmethod

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import nn

# Far above the rounding of single precision.
RANK_TOLERANCE = 1e-5


class CellLatent(nn.Module):
    """A latent space of cells: a trained encoder and its decoder.

    Parameters
    ----------
    n_latent
        Width of the latent space.
    """

    def __init__(self, n_latent: int) -> None:
        super().__init__()
        self.n_latent = n_latent

    @abstractmethod
    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Encode cells.

        Parameters
        ----------
        x
            Log1p expression, shape ``(..., G)``.

        Returns
        -------
        Latents, shape ``(..., n_latent)``.
        """

    @abstractmethod
    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """Decode cells.

        Parameters
        ----------
        z
            Latents, shape ``(..., n_latent)``.

        Returns
        -------
        Log1p expression, shape ``(..., G)``.
        """


class PrincipalComponents(CellLatent):
    """Encodes cells as principal components, all in one unit.

    The unit is the root mean square of the latents of the cells that it was fitted on. One for
    all components keeps distances: noise in the last component stays small beside the first.

    Parameters
    ----------
    n_genes, n_latent
        Numbers of genes G and of components.
    """

    components: torch.Tensor
    gene_mean: torch.Tensor
    unit: torch.Tensor

    def __init__(self, n_genes: int, n_latent: int) -> None:
        super().__init__(n_latent)
        self.register_buffer("components", torch.zeros(n_latent, n_genes))
        self.register_buffer("gene_mean", torch.zeros(n_genes))
        self.register_buffer("unit", torch.ones(()))

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Encode expression ``(..., G)`` into latents ``(..., n_latent)``."""
        return (x - self.gene_mean) @ self.components.T / self.unit

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """Decode latents ``(..., n_latent)`` into expression ``(..., G)``."""
        return z * self.unit @ self.components + self.gene_mean

    @torch.no_grad()
    def fit(self, x: np.ndarray, seed: int) -> None:
        """Find the components of cells ``(n_cells, G)``; a small screen may have fewer."""
        found, varies = find_components(x, self.components, seed)
        self.gene_mean.copy_(torch.from_numpy(found.mean_))
        self.unit.fill_(float(np.sqrt(found.explained_variance_[varies].mean())))


@torch.no_grad()
def find_components(x: np.ndarray, into: torch.Tensor, seed: int) -> tuple[PCA, np.ndarray]:
    """Find the principal components of cells, and write them over a matrix.

    Parameters
    ----------
    x
        Cells, shape ``(n_cells, G)``.
    into
        Matrix of shape ``(n_latent, G)``; rows beyond the rank of the cells become zero.
    seed
        Seed of the randomised solver.

    Returns
    -------
    What was fitted, and which of its components vary.
    """
    n_components = min(len(into), *x.shape)
    found = PCA(n_components, svd_solver="randomized", random_state=seed).fit(x)
    # What does not vary here may vary elsewhere, and would be huge in units of its scale.
    varies = found.singular_values_ > RANK_TOLERANCE * found.singular_values_[0]
    components = torch.from_numpy(found.components_[varies])
    into.zero_()
    into[: len(components)] = components.to(into)
    return found, varies
