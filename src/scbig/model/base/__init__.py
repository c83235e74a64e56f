"""What models share: setup, what a trained one knows, folds, the gate, and the floors."""

from scbig.model.base._floors import (
    FloorComparison,
    compare_with_floors,
    describe_comparison,
)
from scbig.model.base._fold import Fold, make_fold
from scbig.model.base._gate import is_gain
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
    "is_gain",
    "make_fold",
]
