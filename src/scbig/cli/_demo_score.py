"""Scores of the demo: SCBIG beside the baselines, on conditions that none of them has seen."""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from scbig.cli._demo_split import KINDS, PAIR, HeldOut
from scbig.data import ScreenSchema
from scbig.metrics import (
    direction_accuracy_top20,
    get_target_mask,
    mse,
    pds_l1,
    pearson_delta,
    pearson_delta_top20,
)

METRICS: Mapping[str, Callable[..., np.ndarray]] = {
    "pearson_delta": pearson_delta,
    "pearson_delta_top20": pearson_delta_top20,
    "direction_accuracy_top20": direction_accuracy_top20,
    "mse": mse,
}
LOWER_IS_BETTER = ("mse",)


def compute_scores(
    real: pd.DataFrame,
    predicted: Mapping[str, pd.DataFrame],
    control: np.ndarray,
    held_out: HeldOut,
    schema: ScreenSchema,
) -> pd.DataFrame:
    """Score every predictor on every held-out condition.

    Parameters
    ----------
    real
        Mean expression of the held-out conditions, conditions x genes.
    predicted
        The same by predictor.
    control
        Mean expression of the control cells, shape ``(n_genes,)``.
    held_out
        Kinds of the conditions.
    schema
        How labels are read.

    Returns
    -------
    One row a score: ``predictor``, ``perturbation``, ``kind``, ``metric``, ``value``.
    """
    targets = [schema.parse(label) for label in real.index]
    kinds = [held_out.kinds[group] for group in targets]
    mask = get_target_mask(targets, list(real.columns))
    tables = []
    for name, means in predicted.items():
        values = {m: score(real, means, control) for m, score in METRICS.items()}
        values["pds_l1"] = pds_l1(real, means, control, target_mask=mask)
        table = pd.DataFrame({"perturbation": real.index, "kind": kinds, **values})
        tables.append(table.assign(predictor=name))
    columns = ["predictor", "perturbation", "kind"]
    return pd.concat(tables).melt(columns, var_name="metric", value_name="value")


def choose_example(scores: pd.DataFrame) -> str:
    """Return the pair of seen genes, if there is one, that SCBIG predicts with median score."""
    own = scores[(scores["predictor"] == "scbig") & (scores["metric"] == "pearson_delta")]
    pairs = own[own["kind"] == PAIR] if (own["kind"] == PAIR).any() else own
    ranked = pairs.sort_values("value")["perturbation"]
    return str(ranked.iloc[len(ranked) // 2])


def summarise(scores: pd.DataFrame) -> pd.DataFrame:
    """Average over conditions; rows are kind and predictor, columns the metrics."""
    ordered = scores.assign(kind=pd.Categorical(scores["kind"], KINDS)).sort_values(
        "kind", kind="stable"
    )
    return ordered.pivot_table(
        index=["kind", "predictor"], columns="metric", values="value", sort=False, observed=True
    )
