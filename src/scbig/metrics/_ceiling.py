"""The ceiling: how well one half of the real cells agrees with the other."""

from collections.abc import Iterator, Mapping

import numpy as np

from scbig.metrics._catalogue import Metric
from scbig.metrics._cells import PreparedCells
from scbig.metrics._moments import compute_moments
from scbig.metrics._samples import Sample
from scbig.metrics._score import OK, Scores
from scbig.metrics._score_samples import score_samples
from scbig.metrics._setting import Setting

N_HALVINGS = 3
STATUS = {
    "spearman_brown": "ok: Spearman-Brown of split halves",
    "half": "ok: one half against the other",
}
LONE_CELL = "1 real cell: there are no halves"


def score_ceiling(
    metrics: Mapping[str, Metric], setting: Setting, sample: Sample, seed: int
) -> dict[str, Scores]:
    """Score one random half of each condition's real cells against the other.

    Parameters
    ----------
    metrics
        The metrics by name.
    setting
        What is the same for all predictions. The controls are all real controls, on both sides,
        as for predictions.
    sample
        The real cells.
    seed
        Seed of the halvings.

    Returns
    -------
    By metric, the mean over three halvings (one where tests are run) for each condition, and a
    status that names the rule.
    """
    runs: dict[str, list[Scores]] = {name: [] for name in metrics}
    for n, (one, other) in enumerate(_make_halves(setting, sample, seed)):
        wanted = {name: m for name, m in metrics.items() if n == 0 or m.level != "tests"}
        for name, scores in score_samples(wanted, setting, one, other).items():
            runs[name].append(scores)
    return {name: _average(metric, runs[name]) for name, metric in metrics.items()}


def _make_halves(setting: Setting, sample: Sample, seed: int) -> Iterator[tuple[Sample, Sample]]:
    total, n_cells = setting.real.moments.total, setting.real.moments.n_cells
    is_lone = n_cells < 2
    problems = [LONE_CELL if is_one else "" for is_one in is_lone]
    for n in range(N_HALVINGS):
        rng = [np.random.default_rng([seed, n, i]) for i in range(len(n_cells))]
        rows = [_split(group, r) for group, r in zip(sample.rows, rng, strict=True)]
        # Without points, there are fewer of them than generators.
        points = [_split(p.values, r) for p, r in zip(sample.points, rng, strict=False)]
        first = compute_moments(sample.expression, [pair[0] for pair in rows])
        second = (total - first.total) / (n_cells - first.n_cells)[:, None]
        # A lone cell stands on both sides, so that the others are ranked among all conditions.
        means = (np.where(is_lone[:, None], sample.mean, mean) for mean in (first.mean, second))
        one, other = (
            Sample(
                mean,
                [PreparedCells(pair[i]) for pair in points],
                sample.expression,
                [pair[i] for pair in rows],
                problems,
            )
            for i, mean in enumerate(means)
        )
        yield one, other


def _split(items: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    order = rng.permutation(len(items))
    return items[order[: len(items) // 2]], items[order[len(items) // 2 :]]


def _average(metric: Metric, runs: list[Scores]) -> Scores:
    values = np.mean([values for values, _ in runs], axis=0)
    if metric.ceiling == "spearman_brown":
        # The formula is one for agreeing halves; below zero it leaves [-1, 1].
        values = np.where(values > 0, 2 * values / (1 + np.maximum(values, 0)), values)
    statuses = [
        next((status for status in texts if status != OK), STATUS[metric.ceiling])
        for texts in zip(*(statuses for _, statuses in runs), strict=True)
    ]
    return values, statuses
