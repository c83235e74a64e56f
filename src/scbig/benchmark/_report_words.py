"""What the report says in words: who beats the best floor, and by how much."""

from dataclasses import dataclass

import pandas as pd

from scbig.benchmark._compare import BETTER, LEVEL_WITH, WORSE

_WORDS = {BETTER: "beats", LEVEL_WITH: "is level with", WORSE: "loses to"}


@dataclass(frozen=True)
class Verdict:
    """How one predictor compares with the best floor.

    Attributes
    ----------
    predictor
        The predictor.
    style
        ``"better"``, ``"level"`` or ``"worse"`` by the first metric.
    text
        A sentence without its subject.
    """

    predictor: str
    style: str
    text: str


def describe_verdicts(comparison: pd.DataFrame, metric: str) -> list[Verdict]:
    """Say how each predictor compares with the best floor.

    Parameters
    ----------
    comparison
        Rows of one task, pooled over splits, all kinds together.
    metric
        The metric that is said in figures; the others are counted.

    Returns
    -------
    A verdict for each predictor.
    """
    return [
        _describe(str(predictor), rows, metric)
        for predictor, rows in comparison.groupby("predictor", sort=False)
    ]


def _describe(predictor: str, rows: pd.DataFrame, metric: str) -> Verdict:
    counts = rows["verdict"].value_counts()
    found = ", ".join(f"{name} on {counts[name]}" for name in _WORDS if name in counts)
    n_metrics = rows["metric"].nunique()
    counted = f" Against the best floor of each of {n_metrics} metrics: {found}."
    main = rows[rows["metric"] == metric].dropna(subset="difference")
    if main.empty:
        return Verdict(predictor, LEVEL_WITH, f"has no {metric} to compare.{counted}")
    row = main.iloc[0]
    difference, low, high = (
        f"{row[name]:+.3g}".replace("-", "−") for name in ("difference", "low", "high")
    )
    shown = f"{difference} {metric} (95% interval {low} to {high})"
    n_conditions = int(row["n_conditions"])
    text = (
        f"{_WORDS[row['verdict']]} {row['floor']}, the best floor: {shown} on {n_conditions} "
        f"held-out conditions.{counted}"
    )
    return Verdict(predictor, str(row["verdict"]), text)
