"""The verbs and the recipe of all predictors; a model brings a method of its own."""

from scbig.predictor._folder import read_folder, write_folder
from scbig.predictor._judge import FloorComparison, Judge, is_gain, score_effects
from scbig.predictor._method import (
    CellMover,
    EffectMover,
    Method,
    RegressionMethod,
    choose_preset,
    get_weights,
    read_weights,
    seeded,
    set_weights,
)
from scbig.predictor._method import evaluating as evaluating
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
from scbig.predictor._training import Task, TrainingPlan
from scbig.predictor._vocabulary import (
    ScreenCells,
    TargetEmbeddings,
    Vocabulary,
    index_targets,
    make_target_embeddings,
    mask_targets,
)

__all__ = [
    "BasePredictor",
    "CellMover",
    "EffectMover",
    "FloorComparison",
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
    "TargetEmbeddings",
    "Task",
    "TrainingPlan",
    "Vocabulary",
    "choose_preset",
    "get_weights",
    "index_targets",
    "is_gain",
    "make_target_embeddings",
    "mask_targets",
    "plan_epochs",
    "read_folder",
    "read_weights",
    "score_effects",
    "seeded",
    "set_weights",
    "write_folder",
]
