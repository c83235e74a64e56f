"""Baselines: what every model has to beat."""

from scbig.baselines._additive import Additive
from scbig.baselines._base import Baseline
from scbig.baselines._confidence import Confidence
from scbig.baselines._denoised_regression import DenoisedRegression, Denoising
from scbig.baselines._embedding import EmbeddingBaseline
from scbig.baselines._evidence import choose_kernel
from scbig.baselines._floors import FLOORS, predict_floors
from scbig.baselines._kernel import KernelSettings, TargetKernel
from scbig.baselines._left_out import leave_targets_out
from scbig.baselines._means import NoChange, TrainMean
from scbig.baselines._nearest import NearestCondition
from scbig.baselines._regression import EffectRegression
from scbig.baselines._ridge import KernelRidge, RidgeIndicator

__all__ = [
    "FLOORS",
    "Additive",
    "Baseline",
    "Confidence",
    "DenoisedRegression",
    "Denoising",
    "EffectRegression",
    "EmbeddingBaseline",
    "KernelRidge",
    "KernelSettings",
    "NearestCondition",
    "NoChange",
    "RidgeIndicator",
    "TargetKernel",
    "TrainMean",
    "choose_kernel",
    "leave_targets_out",
    "predict_floors",
]
