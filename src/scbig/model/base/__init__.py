"""What models share: setup, what a trained one knows, the comparison with the floors."""

from scbig.model.base._floors import (
    FloorComparison,
    compare_with_floors,
    describe_comparison,
)
from scbig.model.base._fold import ScreenFold
from scbig.model.base._known import KnownScreenMixin
from scbig.model.base._latent import CellLatent
from scbig.model.base._principal import PrincipalComponents
from scbig.model.base._setup import SetupMixin
from scbig.model.base._targets import TargetEmbeddings

__all__ = [
    "CellLatent",
    "FloorComparison",
    "KnownScreenMixin",
    "PrincipalComponents",
    "ScreenFold",
    "SetupMixin",
    "TargetEmbeddings",
    "compare_with_floors",
    "describe_comparison",
]
