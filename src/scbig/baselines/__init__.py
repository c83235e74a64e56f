"""Baselines: what every model has to beat."""

from scbig.baselines._kernel import KernelSettings, TargetKernel
from scbig.baselines._regression import EffectRegression, choose_kernel

__all__ = ["EffectRegression", "KernelSettings", "TargetKernel", "choose_kernel"]
