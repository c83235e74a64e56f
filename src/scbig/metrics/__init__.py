"""Scores of predicted against real expression: pure functions, and an evaluator for AnnData."""

from scbig.metrics._catalogue import METRICS, Metric
from scbig.metrics._cells import PreparedCells, prepare_cells
from scbig.metrics._delta import (
    direction_accuracy,
    direction_accuracy_top20,
    pearson_delta,
    pearson_delta_perturbed,
    pearson_delta_top20,
)
from scbig.metrics._differential_expression import des
from scbig.metrics._discrimination import (
    centroid_accuracy,
    pds_cosine,
    pds_l1,
    pds_l2,
    pds_published,
)
from scbig.metrics._distribution import energy_distance, mmd_rbf
from scbig.metrics._error import mae, mae_delta, mse, mse_delta
from scbig.metrics._evaluate import evaluate, summarise
from scbig.metrics._evaluator import Evaluator
from scbig.metrics._gene_weights import get_gene_weights
from scbig.metrics._t_scores import compute_t_scores
from scbig.metrics._target_mask import get_target_mask
from scbig.metrics._weighted import weighted_mse, weighted_r2_delta

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
