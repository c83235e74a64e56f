"""Principal components in place of the gene-cluster-aware autoencoder, to compare it with."""

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import nn

# Enough cells to find some tens of components; a large screen is not read whole.
MAX_CELLS = 20_000
# Far above the rounding of single precision.
RANK_TOLERANCE = 1e-5


class LinearEncoder(nn.Module):
    """Projects centred expression onto principal components.

    Parameters
    ----------
    n_genes, n_latent
        Numbers of genes G and of components.
    """

    components: torch.Tensor

    def __init__(self, n_genes: int, n_latent: int) -> None:
        super().__init__()
        self.register_buffer("components", torch.zeros(n_latent, n_genes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Encode centred expression ``(B, G)`` into latents ``(B, n_latent)``."""
        return x @ self.components.T

    @torch.no_grad()
    def fit(self, x: np.ndarray, seed: int) -> None:
        """Find the components of cells ``(n_cells, G)``; a small screen may have fewer."""
        n_components = min(len(self.components), *x.shape)
        found = PCA(n_components, svd_solver="randomized", random_state=seed).fit(x)
        # What does not vary here may vary elsewhere, and would be huge in units of its scale.
        varies = found.singular_values_ > RANK_TOLERANCE * found.singular_values_[0]
        components = torch.from_numpy(found.components_[varies])
        self.components.zero_()
        self.components[: len(components)] = components.to(self.components)


class LinearDecoder(nn.Module):
    """Rebuilds expression from principal components.

    Parameters
    ----------
    encoder
        The encoder, whose components it shares.
    """

    def __init__(self, encoder: LinearEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Decode latents ``(B, n_latent)`` into centred expression ``(B, G)``."""
        return z @ self.encoder.components
