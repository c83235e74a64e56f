"""What all models share: setup, target embeddings."""

from scbig.model.base._setup import SetupMixin
from scbig.model.base._targets import TargetEmbeddings, UnitVectors

__all__ = [
    "SetupMixin",
    "TargetEmbeddings",
    "UnitVectors",
]
