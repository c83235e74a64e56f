"""Regression of effects: from the perturbed targets to mean effects, without any network."""

from scbig.regression._denoised import DenoisedRegression, Denoising
from scbig.regression._floors import (
    FLOOR_RULES,
    FloorRule,
    Rule,
    predict_floors,
)
from scbig.regression._floors import (
    InterceptRegression as InterceptRegression,
)
from scbig.regression._floors import (
    NearestNeighbours as NearestNeighbours,
)
from scbig.regression._floors import (
    SumOfSingles as SumOfSingles,
)
from scbig.regression._floors import (
    choose_on_validation as choose_on_validation,
)
from scbig.regression._floors import (
    get_context_mean as get_context_mean,
)
from scbig.regression._floors import (
    predict_no_change as predict_no_change,
)
from scbig.regression._floors import (
    predict_train_mean as predict_train_mean,
)
from scbig.regression._gaussian_process import (
    ComponentRegression as ComponentRegression,
)
from scbig.regression._gaussian_process import (
    Embeddings,
    KernelRegression,
    KernelSettings,
    TargetKernel,
    choose_kernel,
)
from scbig.regression._unseen import (
    Anchor as Anchor,
)
from scbig.regression._unseen import (
    Confidence,
    leave_targets_out,
)
from scbig.regression._unseen import (
    UnseenAnchor as UnseenAnchor,
)
from scbig.regression._unseen import (
    anchor_as_unseen as anchor_as_unseen,
)

__all__ = [
    "FLOOR_RULES",
    "Confidence",
    "DenoisedRegression",
    "Denoising",
    "Embeddings",
    "FloorRule",
    "KernelRegression",
    "KernelSettings",
    "Rule",
    "TargetKernel",
    "choose_kernel",
    "leave_targets_out",
    "predict_floors",
]
