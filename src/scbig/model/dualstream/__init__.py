"""DualStreamMamba: two streams of state-space blocks for multi-gene perturbations."""

from scbig.model.dualstream._config import PRESETS, DualStreamConfig
from scbig.model.dualstream._model import DualStreamMamba

__all__ = ["PRESETS", "DualStreamConfig", "DualStreamMamba"]
