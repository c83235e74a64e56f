"""The verbs and the recipe of all predictors; a model brings a method of its own."""

from scbig.data import read_folder as read_folder
from scbig.predictor._judge import (
    FloorComparison as FloorComparison,
)
from scbig.predictor._judge import (
    Judge,
    score_effects,
)
from scbig.predictor._judge import (
    is_gain as is_gain,
)
from scbig.predictor._method import (
    CellMover,
    EffectMover,
    Method,
    RegressionMethod,
    choose_preset,
    get_weights,
    seeded,
    set_weights,
)
from scbig.predictor._method import (
    read_weights as read_weights,
)
from scbig.predictor._predictor import BasePredictor
from scbig.predictor._stage import (
    Hardware,
    Schedule,
    StageData,
    StagePlan,
    StageRunner,
    Stopping,
    plan_epochs,
)
from scbig.predictor._training import Task
from scbig.predictor._training import TrainingPlan as TrainingPlan
from scbig.predictor._vocabulary import (
    ScreenCells,
    Vocabulary,
)

# TEMPORARY
from scbig.priors import index_targets as index_targets
from scbig.priors import make_target_embeddings as make_target_embeddings
from scbig.priors import mask_targets as mask_targets

__all__ = [
    "BasePredictor",
    "CellMover",
    "EffectMover",
    "Hardware",
    "Judge",
    "Method",
    "RegressionMethod",
    "Schedule",
    "ScreenCells",
    "StageData",
    "StagePlan",
    "StageRunner",
    "Stopping",
    "Task",
    "Vocabulary",
    "choose_preset",
    "get_weights",
    "plan_epochs",
    "score_effects",
    "seeded",
    "set_weights",
]
