"""What STRAND asks of a latent space of cells."""

from typing import Protocol, runtime_checkable

import torch


@runtime_checkable
class CellLatent(Protocol):
    """A trained, frozen latent space: a :class:`torch.nn.Module` with two more methods.

    Attributes
    ----------
    n_latent
        Width of a latent.
    """

    n_latent: int

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Encode log1p expression ``(..., G)`` into latents ``(..., n_latent)``."""
        ...

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """Decode latents ``(..., n_latent)`` into log1p expression ``(..., G)``."""
        ...
