"""Baselines: what every model has to beat."""

from scbig.baselines._additive import Additive
from scbig.baselines._base import Baseline
from scbig.baselines._evidence import choose_kernel
from scbig.baselines._kernel import KernelSettings, TargetKernel
from scbig.baselines._means import NoChange, TrainMean
from scbig.baselines._regression import EffectRegression

__all__ = [
    "Additive",
    "Baseline",
    "EffectRegression",
    "KernelSettings",
    "NoChange",
    "TargetKernel",
    "TrainMean",
    "choose_kernel",
]
