"""Latent spaces of cells that a model is given."""

from abc import ABC, abstractmethod

import torch
from torch import nn


class CellLatent(nn.Module, ABC):
    """A trained, frozen latent space: a module that encodes cells and decodes them.

    Attributes
    ----------
    n_latent
        Width of a latent.
    """

    n_latent: int

    @abstractmethod
    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Encode log1p expression ``(..., G)`` into latents ``(..., n_latent)``."""

    @abstractmethod
    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """Decode latents ``(..., n_latent)`` into log1p expression ``(..., G)``."""
