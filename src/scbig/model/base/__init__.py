"""What all models share: setup, target embeddings, the comparison with the floors."""

from scbig.model.base._floors import (
    FloorComparison,
    compare_with_floors,
    describe_comparison,
)
from scbig.model.base._fold import Fold, make_fold
from scbig.model.base._knowledge import KnowledgeMixin
from scbig.model.base._setup import SetupMixin
from scbig.model.base._targets import TargetEmbeddings

__all__ = [
    "FloorComparison",
    "Fold",
    "KnowledgeMixin",
    "SetupMixin",
    "TargetEmbeddings",
    "compare_with_floors",
    "describe_comparison",
    "make_fold",
]
