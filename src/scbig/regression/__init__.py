"""Regression of effects: from the perturbed targets to mean effects, without any network."""

from scbig.regression._denoised import (
    DenoisedRegression,
    Denoising,
    choose_particular as choose_particular,
)
from scbig.regression._floors import (
    FLOOR_RULES,
    OWN_MEAN,
    FloorRule,
    Rule,
    choose_on_validation as choose_on_validation,
    predict_floors,
)
from scbig.regression._gaussian_process import (
    ComponentRegression as ComponentRegression,
    Embeddings,
    KernelRegression as KernelRegression,
    KernelSettings,
    TargetKernel,
    choose_kernel,
)
from scbig.regression._uncertainty import EffectErrors, EffectForecast
from scbig.regression._unseen import (
    Anchor as Anchor,
    Confidence,
    UnseenAnchor as UnseenAnchor,
    anchor_as_unseen as anchor_as_unseen,
)

__all__ = [
    "FLOOR_RULES",
    "OWN_MEAN",
    "Confidence",
    "DenoisedRegression",
    "Denoising",
    "EffectErrors",
    "EffectForecast",
    "Embeddings",
    "FloorRule",
    "KernelSettings",
    "Rule",
    "TargetKernel",
    "choose_kernel",
    "predict_floors",
]
