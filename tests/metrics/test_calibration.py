"""Scores of errors and probabilities, against closed forms, scikit-learn and loops."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import brier_score_loss, roc_auc_score

from scbig import metrics


class Told:
    """Effects whose errors are known: 12 conditions of 500 genes."""

    def __init__(self, seed: int = 0, told_share: float = 1.0) -> None:
        rng = np.random.default_rng(seed)
        shape = 12, 500
        self.predicted = rng.normal(0, 0.3, shape) * (rng.random(shape) < 0.3)
        self.error = rng.uniform(0.02, 0.2, shape)
        self.variance = rng.uniform(0.0005, 0.01, shape)
        true = self.predicted + self.error * rng.normal(size=shape)
        self.real = true + np.sqrt(self.variance) * rng.normal(size=shape)
        self.error = self.error * told_share

    @property
    def interval(self) -> tuple[np.ndarray, ...]:
        return self.real, self.variance, self.predicted, self.error


def make_probabilities(seed: int = 0) -> tuple[np.ndarray, ...]:
    """Calls that are drawn with the very probabilities that are told."""
    rng = np.random.default_rng(seed)
    up, down = rng.beta(0.4, 3, (8, 400)) / 2, rng.beta(0.4, 3, (8, 400)) / 2
    drawn = rng.random(up.shape)
    calls = np.where(drawn < up, 1, np.where(drawn < up + down, -1, 0))
    return calls, rng.normal(size=up.shape), up, down


def test_normal_errors_that_are_told_as_they_are_are_covered():
    told = Told()
    found = metrics.coverage_90(*told.interval)
    assert found.shape == (12,)
    assert found.mean() == pytest.approx(0.9, abs=4 * np.sqrt(0.09 / 6000))
    top = metrics.coverage_90_top(*told.interval)
    assert top.mean() == pytest.approx(0.9, abs=4 * np.sqrt(0.09 / 600))


@pytest.mark.parametrize("share", [0.5, 2.0])
def test_errors_told_too_small_or_large_are_seen(share: float):
    told = Told(told_share=share)
    spread = np.sqrt((told.error / share) ** 2 + told.variance)
    half = 1.6448536269514722 * np.sqrt(told.error**2 + told.variance)
    expected = (2 * norm.cdf(half / spread) - 1).mean()
    found = metrics.coverage_90(*told.interval).mean()
    assert found == pytest.approx(expected, abs=4 * np.sqrt(0.09 / 6000))
    assert (found > 0.93) if share > 1 else (found < 0.85)


def test_coverage_by_brute_force():
    told = Told(1)
    told.variance[:, :30] = np.nan  # genes without variance are left out
    inside = [[], []]
    for real, variance, predicted, error in zip(*told.interval, strict=True):
        genes = [g for g in range(500) if not np.isnan(variance[g])]
        top = sorted(genes, key=lambda g, effect=predicted: -abs(effect[g]))[:47]
        for found, chosen in zip(inside, (genes, top), strict=True):
            halves = [1.6448536269514722 * (error[g] ** 2 + variance[g]) ** 0.5 for g in chosen]
            hits = [abs(real[g] - predicted[g]) <= h for g, h in zip(chosen, halves, strict=True)]
            found.append(sum(hits) / len(hits))
    np.testing.assert_allclose(metrics.coverage_90(*told.interval), inside[0])
    np.testing.assert_allclose(metrics.coverage_90_top(*told.interval), inside[1])
    width = np.nanmean(2 * 1.6448536269514722 * np.sqrt(told.error**2 + told.variance), axis=1)
    np.testing.assert_allclose(metrics.interval_width(told.variance, told.error), width)


def test_the_share_of_the_strongest_is_their_own():
    """Errors are told right for weak effects and at a tenth for strong ones."""
    told = Told(2)
    strong = np.abs(told.predicted) > 0.25
    told.error[strong] /= 10
    told.variance[strong] /= 100
    assert metrics.coverage_90(*told.interval).mean() > 0.7
    assert metrics.coverage_90_top(*told.interval).mean() < 0.3


def test_nothing_to_say_is_nan():
    told = Told()
    told.variance[3] = np.nan
    found = [
        metrics.coverage_90(*told.interval),
        metrics.coverage_90_top(*told.interval),
        metrics.interval_width(told.variance, told.error),
    ]
    for values in found:
        assert np.flatnonzero(np.isnan(values)).tolist() == [3]
    calls, effect, up, down = make_probabilities()
    calls = calls.astype(float)
    calls[0], calls[1], calls[2], calls[3] = 0, 1, np.abs(calls[2]), np.nan
    for told_too in ((), (up, down)):
        changed = metrics.auroc_changed(calls, effect, *told_too)
        assert np.flatnonzero(np.isnan(changed)).tolist() == [0, 1, 3]
        way = metrics.auroc_direction(calls, effect, *told_too)
        assert np.flatnonzero(np.isnan(way)).tolist() == [0, 1, 2, 3]
    assert np.flatnonzero(np.isnan(metrics.brier_changed(calls, up, down))).tolist() == [3]


def test_a_sure_prediction_is_inside_where_it_is_right():
    real, zero = np.array([[0.0, 0.1, 0.0]]), np.zeros((1, 3))
    assert metrics.coverage_90(real, zero, zero, zero).tolist() == [2 / 3]


def test_areas_are_those_of_scikit_learn():
    calls, effect, up, down = make_probabilities()
    by_effect, by_probability = (
        [roc_auc_score(row != 0, score) for row, score in zip(calls, scores, strict=True)]
        for scores in (np.abs(effect), up + down)
    )
    np.testing.assert_allclose(metrics.auroc_changed(calls, effect), by_effect)
    np.testing.assert_allclose(metrics.auroc_changed(calls, effect, up, down), by_probability)
    for scores, told in ((effect, ()), (np.log(up / down), (up, down))):
        expected = [
            roc_auc_score(row[row != 0] > 0, score[row != 0])
            for row, score in zip(calls, scores, strict=True)
        ]
        np.testing.assert_allclose(metrics.auroc_direction(calls, effect, *told), expected)
    briers = [
        brier_score_loss(row != 0, values) for row, values in zip(calls, up + down, strict=True)
    ]
    np.testing.assert_allclose(metrics.brier_changed(calls, up, down), briers)


def test_no_change_ranks_by_chance():
    calls, effect, up, down = make_probabilities()
    zero = np.zeros_like(effect)
    assert metrics.auroc_changed(calls, zero).tolist() == [0.5] * 8
    assert metrics.auroc_direction(calls, zero).tolist() == [0.5] * 8
    assert metrics.auroc_direction(calls, effect, zero, zero).tolist() == [0.5] * 8
    share = (calls != 0).mean(axis=1, keepdims=True)
    base = metrics.brier_changed(calls, np.broadcast_to(share, up.shape), zero)
    np.testing.assert_allclose(base, (share * (1 - share))[:, 0])
    assert (metrics.brier_changed(calls, up, down) < base).all()


def test_tenths_of_probability():
    calls, _, up, down = make_probabilities(3)
    table = metrics.tabulate_probability(calls, up, down)
    told, is_called = (up + down).ravel(), calls.ravel() != 0
    rows = []
    for low in range(10):
        chosen = [i for i, p in enumerate(told) if low <= min(p * 10, 9.999) < low + 1]
        if chosen:
            rows.append([told[chosen].mean(), is_called[chosen].mean(), len(chosen)])
    np.testing.assert_allclose(table[["predicted", "observed", "n"]], rows)
    assert table["n"].sum() == calls.size
    large = table[table["n"] > 100]
    assert (large["predicted"] - large["observed"]).abs().max() < 0.1


def test_levels_of_coverage():
    told = Told(4)
    table = metrics.tabulate_coverage(*told.interval)
    assert table["genes"].unique().tolist() == ["all", "top tenth"]
    every = table[table["genes"] == "all"].set_index("predicted")
    assert every["n"].tolist() == [6000] * 10
    assert every.index.tolist() == [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]
    np.testing.assert_allclose(every["observed"], every.index, atol=0.025)
    share = metrics.coverage_90(*told.interval).mean()
    assert every.loc[0.9, "observed"] == pytest.approx(share)
    top = table[table["genes"] == "top tenth"].set_index("predicted")
    assert top["n"].tolist() == [600] * 10
    share = metrics.coverage_90_top(*told.interval).mean()
    assert top.loc[0.9, "observed"] == pytest.approx(share)
    wide = metrics.tabulate_coverage(*Told(4, told_share=3).interval, levels=[0.6])
    assert (wide["observed"] > 0.75).all()
    told.variance[:] = np.nan
    assert metrics.tabulate_coverage(*told.interval)["observed"].isna().all()


def test_what_does_not_fit_is_refused():
    told = Told()
    with pytest.raises(ValueError, match=r"conditions x genes of one shape.*'error': \(500,\)"):
        metrics.interval_width(told.variance[0], told.error[0])
    with pytest.raises(ValueError, match=r"one shape.*'real_effect': \(12, 500\).*\(12, 499\)"):
        metrics.coverage_90(told.real, told.variance, told.predicted[:, 1:], told.error)
    with pytest.raises(ValueError, match="cannot be negative"):
        metrics.interval_width(told.variance, -told.error)
    calls, effect, up, _ = make_probabilities()
    with pytest.raises(ValueError, match="Give both probability_up and probability_down"):
        metrics.auroc_changed(calls, effect, up)
