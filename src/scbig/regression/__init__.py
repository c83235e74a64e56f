"""Regression of effects: from the perturbed targets to mean effects, without any network."""

from scbig.regression._denoised import DenoisedRegression, Denoising
from scbig.regression._floors import (
    FLOOR_RULES,
    FloorRule,
    InterceptRegression,
    NearestNeighbours,
    Rule,
    SumOfSingles,
    choose_on_validation,
    get_context_mean,
    predict_floors,
    predict_no_change,
    predict_train_mean,
)
from scbig.regression._gaussian_process import (
    ComponentRegression,
    Embeddings,
    KernelRegression,
    KernelSettings,
    TargetKernel,
    choose_kernel,
)
from scbig.regression._unseen import (
    Anchor,
    Confidence,
    UnseenAnchor,
    anchor_as_unseen,
    leave_targets_out,
)

__all__ = [
    "FLOOR_RULES",
    "Anchor",
    "ComponentRegression",
    "Confidence",
    "DenoisedRegression",
    "Denoising",
    "Embeddings",
    "FloorRule",
    "InterceptRegression",
    "KernelRegression",
    "KernelSettings",
    "NearestNeighbours",
    "Rule",
    "SumOfSingles",
    "TargetKernel",
    "UnseenAnchor",
    "anchor_as_unseen",
    "choose_kernel",
    "choose_on_validation",
    "get_context_mean",
    "leave_targets_out",
    "predict_floors",
    "predict_no_change",
    "predict_train_mean",
]
