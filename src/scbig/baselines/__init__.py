"""Baselines: what every model has to beat."""

from scbig.baselines._baselines import (
    FLOORS,
    Additive,
    Baseline,
    EmbeddingBaseline,
    KernelRidge,
    NearestCondition,
    NoChange,
    OwnMean,
    RidgeIndicator,
    TrainMean,
)
from scbig.regression import predict_floors

__all__ = [
    "FLOORS",
    "Additive",
    "Baseline",
    "EmbeddingBaseline",
    "KernelRidge",
    "NearestCondition",
    "NoChange",
    "OwnMean",
    "RidgeIndicator",
    "TrainMean",
    "predict_floors",
]
