"""What the baselines predict, against means taken by hand."""

import numpy as np
import pytest
from anndata import AnnData

from scbig.baselines import Additive, Baseline, NoChange, OwnMean, TrainMean


def fit(cls: type[Baseline], adata: AnnData, **setup) -> Baseline:
    cls.setup_anndata(adata, **setup)
    baseline = cls(adata, missing_embedding="mean", seed=0)
    baseline.train()
    return baseline


def predict_mean(baseline: Baseline, label: str, line: str | None = None) -> np.ndarray:
    """Mean over predictions from every control cell once."""
    adata = baseline._adata
    controls = (adata.obs["perturbation"] == "control").to_numpy()
    if line is not None:
        controls = controls & (adata.obs["line"] == line).to_numpy()
    out = baseline.predict(
        adata, perturbations=[label], n_cells=int(controls.sum()), sampling=False
    )
    rows = (out.obs["perturbation"] == label).to_numpy()
    if line is not None:
        rows = rows & (out.obs["line"] == line).to_numpy()
    return out.layers[baseline.default_key][rows].mean(axis=0)


def shift(adata: AnnData, effect: np.ndarray, line: str | None = None) -> np.ndarray:
    """Mean expression after an effect; expression does not fall below zero."""
    controls = (adata.obs["perturbation"] == "control").to_numpy()
    if line is not None:
        controls = controls & (adata.obs["line"] == line).to_numpy()
    return np.maximum(adata.X[controls].mean(axis=0) + effect, 0)


def test_no_change_predicts_the_control_cells_themselves(screen: AnnData):
    out = fit(NoChange, screen).predict(perturbations=["A", "Z"], n_cells=4)
    np.testing.assert_array_equal(out.layers["no_change"], out.X)
    np.testing.assert_array_equal(out.X, screen[out.obs["no_change_source"]].X)
    assert out.obs["perturbation"].value_counts().to_dict() == {"control": 4, "A": 4, "Z": 4}


@pytest.mark.parametrize("label", ["A", "A+B", "Z"])
def test_train_mean_predicts_the_mean_of_all_conditions(screen: AnnData, effect_of, label: str):
    expected = np.mean([effect_of(screen, name) for name in ("A", "B", "A+B", "B+C")], axis=0)
    predicted = predict_mean(fit(TrainMean, screen), label)
    np.testing.assert_allclose(predicted, shift(screen, expected), rtol=1e-5)


def test_train_mean_stays_in_its_context(screen: AnnData, effect_of):
    expected = np.mean([effect_of(screen, name, "y") for name in ("B", "B+C")], axis=0)
    predicted = predict_mean(fit(TrainMean, screen, context_keys=["line"]), "A", "y")
    np.testing.assert_allclose(predicted, shift(screen, expected, "y"), rtol=1e-5)


@pytest.mark.parametrize("label", ["A", "A+B", "B+C"])
def test_own_mean_predicts_the_effect_of_the_condition_itself(
    screen: AnnData, effect_of, label: str
):
    predicted = predict_mean(fit(OwnMean, screen), label)
    np.testing.assert_allclose(predicted, shift(screen, effect_of(screen, label)), rtol=1e-5)


def test_own_mean_takes_the_effect_elsewhere_or_the_train_mean(screen: AnnData, effect_of):
    baseline = fit(OwnMean, screen, context_keys=["line"])
    for label, expected in {
        "B": effect_of(screen, "B", "y"),
        "A": effect_of(screen, "A", "x"),  # not measured in y
        "Z": np.mean([effect_of(screen, name, "y") for name in ("B", "B+C")], axis=0),
    }.items():
        predicted = predict_mean(baseline, label, "y")
        np.testing.assert_allclose(predicted, shift(screen, expected, "y"), rtol=1e-5)


def test_additive_sums_single_effects(screen: AnnData, effect_of):
    expected = effect_of(screen, "A") + effect_of(screen, "B")
    predicted = predict_mean(fit(Additive, screen), "B+A")
    np.testing.assert_allclose(predicted, shift(screen, expected), rtol=1e-5)


@pytest.mark.parametrize("label", ["A+C", "A+Z"])
def test_additive_takes_the_mean_single_effect_for_a_gene_never_seen_alone(
    screen: AnnData, effect_of, label: str
):
    a, b = effect_of(screen, "A"), effect_of(screen, "B")
    predicted = predict_mean(fit(Additive, screen), label)
    np.testing.assert_allclose(predicted, shift(screen, a + (a + b) / 2), rtol=1e-5)


def test_additive_prefers_the_same_context(screen: AnnData, effect_of):
    additive = fit(Additive, screen, context_keys=["line"])
    for line in "xy":
        expected = shift(screen, effect_of(screen, "B", line), line)
        np.testing.assert_allclose(predict_mean(additive, "B", line), expected, rtol=1e-5)


def test_additive_falls_back_on_other_contexts(screen: AnnData, effect_of):
    # A was perturbed alone in x only; of the singles, y has B only.
    additive = fit(Additive, screen, context_keys=["line"])
    from_x = shift(screen, effect_of(screen, "A", "x"), "y")
    np.testing.assert_allclose(predict_mean(additive, "A", "y"), from_x, rtol=1e-5)
    unknown = shift(screen, effect_of(screen, "B", "y"), "y")
    np.testing.assert_allclose(predict_mean(additive, "Z", "y"), unknown, rtol=1e-5)


def test_additive_shares_doubles_out_when_there_are_no_singles(screen: AnnData, effect_of):
    doubles = screen[~screen.obs["perturbation"].isin(["A", "B"])].copy()
    expected = (effect_of(doubles, "A+B") + effect_of(doubles, "B+C")) / 4
    predicted = predict_mean(fit(Additive, doubles), "A")
    np.testing.assert_allclose(predicted, shift(doubles, expected), rtol=1e-5)


def test_annotated_rows_keep_controls_and_predict_the_others(screen: AnnData):
    out = fit(TrainMean, screen).predict(seed=1, sampling=False)
    is_control = (screen.obs["perturbation"] == "control").to_numpy()
    assert out is screen
    np.testing.assert_array_equal(out.layers["train_mean"][is_control], screen.X[is_control])
    assert not np.allclose(out.layers["train_mean"][~is_control], screen.X[~is_control])
    assert out.layers["train_mean"].min() >= 0
