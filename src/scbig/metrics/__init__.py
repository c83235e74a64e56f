"""Scores of predicted against real expression: pure functions, and an evaluator for AnnData."""

from scbig.metrics._catalogue import METRICS, Metric
from scbig.metrics._differential import des
from scbig.metrics._discrimination import (
    centroid_accuracy,
    get_target_mask,
    pds_cosine,
    pds_l1,
    pds_l2,
    pds_published,
)
from scbig.metrics._distribution import PreparedCells, energy_distance, mmd_rbf, prepare_cells
from scbig.metrics._evaluator import Evaluator, evaluate, summarise
from scbig.metrics._means import (
    direction_accuracy,
    direction_accuracy_top20,
    mae,
    mae_delta,
    mse,
    mse_delta,
    pearson_delta,
    pearson_delta_perturbed,
    pearson_delta_top20,
)
from scbig.metrics._weights import (
    compute_t_scores,
    get_gene_weights,
    weighted_mse,
    weighted_r2_delta,
)

__all__ = [
    "METRICS",
    "Evaluator",
    "Metric",
    "PreparedCells",
    "centroid_accuracy",
    "compute_t_scores",
    "des",
    "direction_accuracy",
    "direction_accuracy_top20",
    "energy_distance",
    "evaluate",
    "get_gene_weights",
    "get_target_mask",
    "mae",
    "mae_delta",
    "mmd_rbf",
    "mse",
    "mse_delta",
    "pds_cosine",
    "pds_l1",
    "pds_l2",
    "pds_published",
    "pearson_delta",
    "pearson_delta_perturbed",
    "pearson_delta_top20",
    "prepare_cells",
    "summarise",
    "weighted_mse",
    "weighted_r2_delta",
]
