"""Latent spaces of cells that a model is given."""

from abc import ABC, abstractmethod

import torch
from torch import nn


class CellLatent(nn.Module, ABC):
    """A trained, frozen latent space: a module that encodes cells and decodes them.

    Parameters
    ----------
    n_latent
        Width of a latent.
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
