"""Scores of predicted against real expression: pure functions, and an evaluator for AnnData."""

from scbig.metrics._calibration import (
    auroc_changed,
    auroc_direction,
    brier_changed,
    coverage_90,
    coverage_90_top,
    interval_width,
    tabulate_coverage,
    tabulate_probability,
)
from scbig.metrics._catalogue import METRICS, Metric, choose_metrics
from scbig.metrics._de_calls import (
    DeCalls,
    call_de_genes,
    call_directions,
    de_count,
    de_count_ratio,
    de_precision,
    de_recall,
    de_top20_overlap,
)
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
from scbig.metrics._evaluator import Evaluator, evaluate, group_reasons, summarise
from scbig.metrics._gain import is_gain as is_gain, score_effects as score_effects
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
from scbig.metrics._realism import (
    c2st_auc,
    energy_centred,
    variance_ratio,
    wasserstein_axis,
    zero_share_error,
)
from scbig.metrics._weights import (
    compute_t_scores,
    get_gene_weights,
    weighted_mse,
    weighted_r2_delta,
)

__all__ = [
    "METRICS",
    "DeCalls",
    "Evaluator",
    "Metric",
    "PreparedCells",
    "auroc_changed",
    "auroc_direction",
    "brier_changed",
    "c2st_auc",
    "call_de_genes",
    "call_directions",
    "centroid_accuracy",
    "choose_metrics",
    "compute_t_scores",
    "coverage_90",
    "coverage_90_top",
    "de_count",
    "de_count_ratio",
    "de_precision",
    "de_recall",
    "de_top20_overlap",
    "des",
    "direction_accuracy",
    "direction_accuracy_top20",
    "energy_centred",
    "energy_distance",
    "evaluate",
    "get_gene_weights",
    "get_target_mask",
    "group_reasons",
    "interval_width",
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
    "tabulate_coverage",
    "tabulate_probability",
    "variance_ratio",
    "wasserstein_axis",
    "weighted_mse",
    "weighted_r2_delta",
    "zero_share_error",
]
