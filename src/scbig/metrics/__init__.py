"""Scores of predicted against real expression: pure functions on arrays."""

from scbig.metrics._delta import (
    direction_accuracy,
    direction_accuracy_top20,
    pearson_delta,
    pearson_delta_top20,
)
from scbig.metrics._discrimination import get_target_mask, pds_cosine, pds_l1, pds_l2
from scbig.metrics._distribution import energy_distance
from scbig.metrics._error import mae, mae_delta, mse, mse_delta

__all__ = [
    "direction_accuracy",
    "direction_accuracy_top20",
    "energy_distance",
    "get_target_mask",
    "mae",
    "mae_delta",
    "mse",
    "mse_delta",
    "pds_cosine",
    "pds_l1",
    "pds_l2",
    "pearson_delta",
    "pearson_delta_top20",
]
