"""What all models share: setup, saved folders, target embeddings."""

from scbig.model.base._persistence import read_model, write_model
from scbig.model.base._setup import SetupMixin
from scbig.model.base._targets import TargetEmbeddings, UnitVectors

__all__ = [
    "SetupMixin",
    "TargetEmbeddings",
    "UnitVectors",
    "read_model",
    "write_model",
]
