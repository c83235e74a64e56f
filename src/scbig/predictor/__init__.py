"""The verbs and the recipe of all predictors; a model brings a method of its own."""

from scbig.metrics import is_gain as is_gain, score_effects
from scbig.predictor._judge import (
    CellMover,
    EffectMover,
    FloorComparison as FloorComparison,
    Judge as Judge,
    Task,
)
from scbig.predictor._method import Method, RegressionMethod, choose_preset as choose_preset
from scbig.predictor._predictor import BasePredictor
from scbig.predictor._shape import ShapeJudge as ShapeJudge, prepare_score as prepare_score
from scbig.predictor._stage import (
    Hardware,
    Schedule,
    StageData,
    StagePlan,
    StageRunner,
    Stopping,
    plan_epochs as plan_epochs,
)
from scbig.predictor._vocabulary import Vocabulary as Vocabulary

__all__ = [
    "BasePredictor",
    "CellMover",
    "EffectMover",
    "Hardware",
    "Method",
    "RegressionMethod",
    "Schedule",
    "StageData",
    "StagePlan",
    "StageRunner",
    "Stopping",
    "Task",
    "score_effects",
]
