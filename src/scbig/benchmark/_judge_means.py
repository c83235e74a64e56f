"""What did the judge say on average, and of what did it say nothing?"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from scbig.benchmark._context_judge import AVERAGE
from scbig.benchmark._report_displays import order_predictors

BASELINE, REPLICATE = "mean response", "replicate"
# Short, for the terminal; others go by their names.
WORDS = {
    "pds_cosine": "PDS cosine",
    "expr_mse_unbiased_capped_norm": "expr. error",
    "de_wilcoxon_lfc_nmae": "lfc error",
    "de_wilcoxon_sig_jaccard": "DE Jaccard",
    "de_wilcoxon_direction_reach_raw": "sign reach",
    "de_wilcoxon_direction_fidelity_yield_raw": "sign fidelity",
    AVERAGE: "average",
}


def average_judged(judged: pd.DataFrame, floors: Sequence[str]) -> pd.DataFrame:
    """Average over splits, seeds and contexts.

    Parameters
    ----------
    judged
        Rows of ``judge.csv``.
    floors
        Names of the floors, which come first.

    Returns
    -------
    Columns ``value`` and ``scaled`` by ``predictor`` and ``metric``, and ``n_missing``: how many
    the mean of scaled scores lacks, or that of values where none is scaled. The last predictors
    are the two ends of the judge's scale, which are scaled where anything is.
    """
    names = [name for name in WORDS if name in set(judged["metric"])]
    names += [name for name in judged["metric"].unique() if name not in names]
    keys = ["predictor", "metric"]
    rows = pd.concat([judged[[*keys, "value", "scaled"]], _make_ends(judged)])
    means = rows.groupby(keys).mean()
    missing = rows.set_index(keys).isna().groupby(keys).sum()
    means["n_missing"] = missing["scaled"].where(means["scaled"].notna(), missing["value"])
    predictors = order_predictors(list(judged["predictor"].unique()), floors)
    order = pd.MultiIndex.from_product([[*predictors, BASELINE, REPLICATE], names], names=keys)
    return means.reindex(order)


def _make_ends(judged: pd.DataFrame) -> pd.DataFrame:
    """Make a row for each end of the scale, metric, split and context.

    They stand in the rows of every predictor that could be scored; there is no scale where no
    predictor has a scaled score.
    """
    groups = judged.groupby(["metric", "split", "context"], sort=False)
    found = groups[["baseline", "replicate", "scaled"]].max().reset_index("metric")
    has_scale = found["scaled"].notna()
    ends = [
        found.assign(predictor=name, value=found[column], scaled=np.where(has_scale, mark, np.nan))
        for name, column, mark in ((BASELINE, "baseline", 0.0), (REPLICATE, "replicate", 1.0))
    ]
    return pd.concat(ends)[["predictor", "metric", "value", "scaled"]]


def explain_missing(judged: pd.DataFrame) -> str:
    """Say which scores are scaled for nobody, and why.

    Parameters
    ----------
    judged
        Rows of ``judge.csv``.

    Returns
    -------
    A line with the commonest reason of each; empty where each score is scaled somewhere.
    """
    lacking = judged[judged.groupby("metric")["scaled"].transform("count") == 0]
    # The average lacks what another score lacks; a predictor that failed says nothing of a scale.
    if not (others := lacking[lacking["metric"] != AVERAGE]).empty:
        lacking = others
    keys = ["predictor", "split", "seed", "context"]
    is_scored = judged.groupby(keys)["value"].transform("count") > 0
    if is_scored[lacking.index].any():
        lacking = lacking[is_scored[lacking.index]]
    reasons = lacking["status"].fillna("no value")
    why = reasons.groupby(lacking["metric"], sort=False).agg(lambda texts: texts.mode().iloc[0])
    names = {
        text: ", ".join(WORDS.get(str(metric), str(metric)) for metric in why.index[why == text])
        for text in why.unique()
    }
    listed = "; ".join(f"{of} ({text})" for text, of in names.items())
    return f"Scaled for nobody: {listed}." if listed else ""
