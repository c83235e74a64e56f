"""All metrics: what each needs, which way it points, how its ceiling is found."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

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
        Which way it points.
    ceiling
        How its ceiling follows from two halves of the real cells: ``"spearman_brown"``, the
        correlation of the halves stepped up to that of all cells, or ``"half"``, one half
        scored against the other.
    level
        What is compared: ``"means"`` of all conditions at once, the ``"cells"`` of one condition
        at a time, or the genes that ``"tests"`` on cells find.
    """

    function: Callable[..., Any]
    takes: tuple[str, ...]
    is_higher_better: bool
    ceiling: Literal["spearman_brown", "half"] = "half"
    level: Literal["means", "cells", "tests"] = "means"

    @property
    def needs(self) -> tuple[str, ...]:
        """What it needs beside the means: ``"reference"``, ``"cells"``, the extra ``"eval"``."""
        special = {"reference": "reference" in self.takes, "cells": self.level != "means"}
        special["eval"] = self.level == "tests"
        return tuple(name for name, is_needed in special.items() if is_needed)


_MEANS = ("real", "predicted")
_DELTA = (*_MEANS, "control")

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
        )
    }
)


def choose_metrics(names: Sequence[str] | None) -> dict[str, Metric]:
    """Look up metrics by name.

    Parameters
    ----------
    names
        Their names; ``None`` for all.

    Returns
    -------
    The metrics by name, in the order asked for.

    Raises
    ------
    ValueError
        When there is no such metric, or none is named.
    """
    wanted = list(METRICS) if names is None else [names] if isinstance(names, str) else list(names)
    if unknown := [name for name in wanted if name not in METRICS]:
        raise ValueError(f"There are no metrics {unknown}. Choose from {list(METRICS)}.")
    if not wanted:
        raise ValueError(f"No metric is named. Choose from {list(METRICS)}, or None for all.")
    return {name: METRICS[name] for name in wanted}
