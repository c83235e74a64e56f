"""The metric that cell-eval computes for us."""

import logging
import sys

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from scbig import metrics


@pytest.fixture
def pair():
    """Twelve strong genes a condition on the real side; half of them predicted."""
    rng = np.random.default_rng(0)
    rate = np.tile(rng.uniform(1, 4, 40), (3, 1))
    rate[1, :12] *= 3
    rate[2, 20:32] *= 3
    predicted_rate = rate.copy()
    predicted_rate[1, :6] = rate[0, :6]
    predicted_rate[2] = rate[0]
    labels = pd.Categorical(np.repeat(["ctrl", "A", "A+B"], 60))
    obs = pd.DataFrame({"condition": labels}, index=[f"cell{i}" for i in range(180)])
    var = pd.DataFrame(index=[f"g{i}" for i in range(40)])
    sides = [
        np.log1p(rng.poisson(np.repeat(rates, 60, axis=0))) for rates in (rate, predicted_rate)
    ]
    sides[1][:60] = sides[0][:60]
    return tuple(AnnData(x.astype(np.float32), obs=obs.copy(), var=var.copy()) for x in sides)


KEYS = {"perturbation_key": "condition", "control": "ctrl"}


def test_overlap_by_condition(pair, caplog):
    pytest.importorskip("cell_eval", reason="the extra 'eval' is not installed")
    real, predicted = pair
    before = real.X.copy()
    with caplog.at_level(logging.INFO, logger="scbig"):
        scores = metrics.des(real, predicted, **KEYS)
    assert list(scores.index) == ["A", "A+B"]
    assert scores.name == "des"
    assert scores.dtype == np.float64
    assert 0.3 < scores["A"] < 0.7
    assert scores["A+B"] < 0.2
    assert metrics.des(real, real, **KEYS).tolist() == [1.0, 1.0]
    assert "differential expression by cell-eval 0.8.2" in caplog.text
    np.testing.assert_array_equal(real.X, before)
    assert isinstance(real.obs["condition"].dtype, pd.CategoricalDtype)


@pytest.mark.parametrize("make", [sparse.csr_array, sparse.csc_matrix])
def test_sparse_cells_score_as_dense_ones(pair, make):
    pytest.importorskip("cell_eval", reason="the extra 'eval' is not installed")
    expected = metrics.des(*pair, **KEYS)
    thin = [AnnData(make(a.X), obs=a.obs.copy(), var=a.var.copy()) for a in pair]
    pd.testing.assert_series_equal(metrics.des(*thin, **KEYS), expected)


def test_order_of_cells_does_not_matter(pair):
    pytest.importorskip("cell_eval", reason="the extra 'eval' is not installed")
    order = np.random.default_rng(1).permutation(180)
    expected = metrics.des(*pair, **KEYS)
    shuffled = metrics.des(pair[0][order], pair[1][order[::-1]], **KEYS)
    pd.testing.assert_series_equal(shuffled, expected)


def test_no_change_has_no_de_genes_and_scores_zero(pair):
    pytest.importorskip("cell_eval", reason="the extra 'eval' is not installed")
    real, predicted = pair
    predicted.X = np.tile(real.X[:60], (3, 1))
    assert metrics.des(real, predicted, **KEYS).tolist() == [0.0, 0.0]


def test_another_release_of_cell_eval_is_named(pair, caplog, monkeypatch):
    pytest.importorskip("cell_eval", reason="the extra 'eval' is not installed")
    monkeypatch.setattr("scbig.metrics._differential.version", lambda _: "0.6.1")
    metrics.des(*pair, **KEYS)
    assert "cell-eval 0.6.1; scores are defined by 0.8.2: pip install" in caplog.text


def test_without_cell_eval_the_extra_is_named(pair, monkeypatch):
    monkeypatch.setitem(sys.modules, "cell_eval", None)
    with pytest.raises(ImportError, match=r"pip install 'scbig-perturb\[eval\]'"):
        metrics.des(*pair, **KEYS)


def test_sides_that_do_not_fit_are_refused(pair):
    real, predicted = pair
    with pytest.raises(ValueError, match="real has 40 genes and predicted 40, or in another ord"):
        metrics.des(real, predicted[:, ::-1], **KEYS)
    with pytest.raises(ValueError, match=r"real.obs has no column 'target'; found \['condition'"):
        metrics.des(real, predicted, perturbation_key="target", control="ctrl")
    with pytest.raises(ValueError, match=r"predicted has no cells labelled 'ctrl' in obs\['cond"):
        metrics.des(real, predicted[60:], **KEYS)
    with pytest.raises(ValueError, match=r"1 conditions are on one side only.*\['A\+B'\]; keep"):
        metrics.des(real, predicted[:120], **KEYS)


def test_values_on_another_scale_are_refused(pair):
    real, predicted = pair
    predicted.X[3, :2] = -0.25
    with pytest.raises(ValueError, match=r"predicted.X holds 2 negative values \(smallest -0.25"):
        metrics.des(real, predicted, **KEYS)
    predicted.X = predicted.X.clip(0)
    real.X = np.rint(np.expm1(real.X))
    with pytest.raises(ValueError, match=r"real.X holds integers only; .* sc.pp.log1p\(real\)"):
        metrics.des(real, predicted, **KEYS)
