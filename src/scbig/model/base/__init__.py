"""What models share: setup, saving, what a trained one knows, folds, the gate, and the floors."""

from scbig.model.base._conditions import (
    embed_targets,
    hide_unseen,
    index_targets,
    mask_targets,
)
from scbig.model.base._floors import (
    FloorComparison,
    compare_with_floors,
)
from scbig.model.base._fold import Fold
from scbig.model.base._gate import is_gain, score_effects
from scbig.model.base._knowledge import KnowledgeMixin
from scbig.model.base._known import KnownScreenMixin
from scbig.model.base._latent import CellLatent
from scbig.model.base._outcome import OutcomeMixin, choose_steps
from scbig.model.base._principal import PrincipalComponents
from scbig.model.base._save import SaveMixin
from scbig.model.base._setup import SetupMixin
from scbig.model.base._targets import TargetEmbeddings, make_target_embeddings

__all__ = [
    "CellLatent",
    "FloorComparison",
    "Fold",
    "KnowledgeMixin",
    "KnownScreenMixin",
    "OutcomeMixin",
    "PrincipalComponents",
    "SaveMixin",
    "SetupMixin",
    "TargetEmbeddings",
    "choose_steps",
    "compare_with_floors",
    "embed_targets",
    "hide_unseen",
    "index_targets",
    "is_gain",
    "make_target_embeddings",
    "mask_targets",
    "score_effects",
]
