"""What all models share: setup, target embeddings, the gate and the comparison with floors."""

from scbig.model.base._floors import (
    FloorComparison,
    compare_with_floors,
    describe_comparison,
)
from scbig.model.base._gate import is_gain
from scbig.model.base._setup import SetupMixin
from scbig.model.base._targets import TargetEmbeddings

__all__ = [
    "FloorComparison",
    "SetupMixin",
    "TargetEmbeddings",
    "compare_with_floors",
    "describe_comparison",
    "is_gain",
]
