"""All metrics: what each needs, which way it points, how its ceiling is found, its group."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from scbig._annotations import checked
from scbig._arguments import show
from scbig.metrics._calibration import (
    auroc_changed,
    auroc_direction,
    brier_changed,
    coverage_90,
    coverage_90_top,
    interval_width,
)
from scbig.metrics._de_calls import (
    de_count,
    de_count_ratio,
    de_precision,
    de_recall,
    de_top20_overlap,
)
from scbig.metrics._differential import des
from scbig.metrics._discrimination import (
    centroid_accuracy,
    pds_cosine,
    pds_l1,
    pds_l2,
    pds_published,
)
from scbig.metrics._distribution import energy_distance, mmd_rbf
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
from scbig.metrics._weights import weighted_mse, weighted_r2_delta


@dataclass(frozen=True)
class Metric:
    """How a metric is computed and read.

    Attributes
    ----------
    function
        The function of :mod:`scbig.metrics`.
    takes
        The arguments that it is called with.
    is_higher_better
        Which way it points; ``None`` where it aims at a ``best`` value, or only describes.
    ceiling
        How its ceiling follows from two halves of the real cells: ``"spearman_brown"``, the
        correlation of the halves stepped up to that of all cells, or ``"half"``, one half
        scored against the other.
    level
        What is compared: ``"means"`` of all conditions at once, the ``"cells"`` of one condition
        at a time in principal components or in all ``"genes"``, the genes that ``"tests"`` on
        cells find, or predicted ``"effects"`` with their errors.
    group
        ``"default"``; ``"realism"``: whether predicted cells are like real ones, which takes
        long and is scored where it is asked for; or ``"calibration"``: whether the errors and
        probabilities hold that a prediction tells of its effects.
    best
        The best value, where values on both sides of it are worse; ``None`` where higher or
        lower is always better, or where the metric only describes.
    """

    function: Callable[..., Any]
    takes: tuple[str, ...]
    is_higher_better: bool | None
    ceiling: Literal["spearman_brown", "half"] = "half"
    level: Literal["means", "cells", "genes", "tests", "effects"] = "means"
    group: Literal["default", "realism", "calibration"] = "default"
    best: float | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        """What it needs beside the means: ``"reference"``, ``"cells"``, the extra ``"eval"``."""
        is_of_cells = self.level not in ("means", "effects")
        special = {"reference": "reference" in self.takes, "cells": is_of_cells}
        special["eval"] = self.level == "tests"
        return tuple(name for name, is_needed in special.items() if is_needed)

    @property
    def arrow(self) -> str:
        """``"↑"`` for higher is better, ``"↓"`` for lower, such as ``"→1"`` for a best value."""
        if self.best is not None:
            return f"→{self.best:g}"
        return {True: "↑", False: "↓", None: ""}[self.is_higher_better]

    def rate(self, values: ArrayLike) -> np.ndarray:
        """Turn values so that higher is always better.

        Parameters
        ----------
        values
            Values of the metric, of any shape.

        Returns
        -------
        The values, their negative, or the negative of their distance from ``best``; NaN where the
        metric only describes.
        """
        values = np.asarray(values, dtype=np.float64)
        if self.best is not None:
            return -np.abs(values - self.best)
        sign = {True: 1.0, False: -1.0, None: np.nan}[self.is_higher_better]
        return sign * values

    def pick_best(self, values: ArrayLike) -> float:
        """Pick the best of some values.

        Parameters
        ----------
        values
            Values of the metric, ``(n,)``.

        Returns
        -------
        The best one; NaN where there is no value, or the metric only describes.
        """
        values = np.asarray(values, dtype=np.float64)
        rated = self.rate(values)
        return float(values[np.nanargmax(rated)]) if np.isfinite(rated).any() else np.nan


_MEANS = ("real", "predicted")
_DELTA = (*_MEANS, "control")
_INTERVAL = ("real_effect", "sampling_variance", "predicted_effect", "standard_error")
_CALLS = ("calls", "predicted_effect", "probability_up", "probability_down")
_CALIBRATION: dict[str, Any] = {"level": "effects", "group": "calibration"}
_REALISM: dict[str, Any] = {"level": "genes", "group": "realism"}

#: Every metric by name, in the order of the tables: what it takes, and which way it points.
METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        metric.function.__name__: metric
        for metric in (
            Metric(pearson_delta, _DELTA, True, "spearman_brown"),
            Metric(pearson_delta_top20, _DELTA, True, "spearman_brown"),
            Metric(pearson_delta_perturbed, (*_MEANS, "reference"), True, "spearman_brown"),
            Metric(direction_accuracy, _DELTA, True),
            Metric(direction_accuracy_top20, _DELTA, True),
            Metric(mse, _DELTA, False),
            Metric(mae, _DELTA, False),
            Metric(mse_delta, _DELTA, False),
            Metric(mae_delta, _DELTA, False),
            Metric(weighted_mse, (*_MEANS, "weights"), False),
            Metric(weighted_r2_delta, (*_DELTA, "weights"), True),
            Metric(pds_l1, (*_DELTA, "target_mask"), True),
            Metric(pds_l2, (*_DELTA, "target_mask"), True),
            Metric(pds_cosine, (*_DELTA, "target_mask"), True),
            Metric(pds_published, (*_MEANS, "target_mask"), True),
            Metric(centroid_accuracy, _MEANS, True),
            Metric(energy_distance, _MEANS, False, level="cells"),
            Metric(mmd_rbf, _MEANS, False, level="cells"),
            Metric(des, _MEANS, True, level="tests"),
            Metric(c2st_auc, _MEANS, None, **_REALISM, best=0.5),
            Metric(de_count, ("calls",), None, **_REALISM),
            Metric(de_count_ratio, ("calls",), None, **_REALISM, best=1.0),
            Metric(de_precision, ("calls",), True, **_REALISM),
            Metric(de_recall, ("calls",), True, **_REALISM),
            Metric(de_top20_overlap, ("calls",), True, **_REALISM),
            Metric(zero_share_error, _MEANS, False, **_REALISM),
            Metric(variance_ratio, _MEANS, None, **_REALISM, best=1.0),
            Metric(energy_centred, _MEANS, False, level="cells", group="realism"),
            Metric(wasserstein_axis, _DELTA, False, **_REALISM),
            Metric(coverage_90, _INTERVAL, None, **_CALIBRATION, best=0.9),
            Metric(coverage_90_top, _INTERVAL, None, **_CALIBRATION, best=0.9),
            Metric(interval_width, ("sampling_variance", "standard_error"), None, **_CALIBRATION),
            Metric(auroc_changed, _CALLS, True, **_CALIBRATION),
            Metric(auroc_direction, _CALLS, True, **_CALIBRATION),
            Metric(brier_changed, ("calls", *_CALLS[2:]), False, **_CALIBRATION),
        )
    }
)


@checked
def choose_metrics(names: str | Sequence[str] | None) -> dict[str, Metric]:
    """Look up metrics by name.

    Parameters
    ----------
    names
        Names of metrics, or of groups of them: ``"default"``, ``"realism"``, ``"calibration"``;
        ``None`` for the default ones.

    Returns
    -------
    The metrics by name, in the order asked for.

    Raises
    ------
    ValueError
        When there is no such metric, or none is named.
    """
    given = ["default"] if names is None else [names] if isinstance(names, str) else list(names)
    groups: dict[str, list[str]] = {}
    for name, metric in METRICS.items():
        groups.setdefault(metric.group, []).append(name)
    wanted = [name for one in given for name in groups.get(one, [one])]
    if unknown := [name for name in wanted if name not in METRICS]:
        raise ValueError(
            f"There are no metrics {unknown}. Choose from {list(METRICS)}, or the groups "
            f"{list(groups)}, not metrics={show(names)}."
        )
    if not wanted:
        raise ValueError(
            f"No metric is named. Choose from {list(METRICS)}, or None for the default ones."
        )
    return {name: METRICS[name] for name in wanted}
