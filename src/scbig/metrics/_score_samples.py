"""All metrics on two samples of the real conditions."""

from collections.abc import Mapping

import numpy as np

from scbig.metrics._catalogue import Metric
from scbig.metrics._pairing import make_pairs
from scbig.metrics._samples import Sample
from scbig.metrics._score import Scores, score_pair
from scbig.metrics._setting import Setting


def score_samples(
    metrics: Mapping[str, Metric], setting: Setting, real: Sample, predicted: Sample
) -> dict[str, Scores]:
    """Score every condition by every metric, among the conditions of its context.

    Parameters
    ----------
    metrics
        The metrics by name.
    setting
        What is the same for all predictions.
    real, predicted
        The two samples.

    Returns
    -------
    By metric, the values and statuses of all conditions in their order.
    """
    pairs = list(make_pairs(setting, real, predicted))
    return {name: _join([score_pair(m, pair) for pair in pairs]) for name, m in metrics.items()}


def _join(parts: list[Scores]) -> Scores:
    values = np.concatenate([values for values, _ in parts])
    return values, [status for _, statuses in parts for status in statuses]
