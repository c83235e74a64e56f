"""setup_anndata, train, predict, save and load of the baselines."""

import inspect
import json

import anndata as ad
import numpy as np
import pytest
from anndata import AnnData
from scipy import sparse

from scbig._protocols import Predictor
from scbig.baselines import FLOORS, Additive, Baseline, NoChange, TrainMean
from scbig.model import SCBIG


def fit(cls: type[Baseline], adata: AnnData, **setup) -> Baseline:
    cls.setup_anndata(adata, **setup)
    baseline = cls(adata, missing_embedding="mean", seed=0)
    baseline.train()
    return baseline


@pytest.mark.parametrize("cls", [*FLOORS, SCBIG])
@pytest.mark.parametrize("verb", ["setup_anndata", "train", "predict", "save", "load"])
def test_predictors_have_the_verbs_of_the_protocol(cls: type, verb: str):
    """Each argument of the protocol is there, of the same kind and default; others have one."""
    expected = inspect.signature(getattr(Predictor, verb)).parameters
    found = inspect.signature(getattr(cls, verb)).parameters
    for name, parameter in expected.items():
        assert (found[name].kind, found[name].default) == (parameter.kind, parameter.default)
    extra = [found[name] for name in found if name not in expected]
    assert [p.name for p in extra if p.default is inspect.Parameter.empty] == []
    assert inspect.ismethod(getattr(cls, verb)) == inspect.ismethod(getattr(Predictor, verb))


@pytest.mark.parametrize("cls", FLOORS)
def test_baselines_are_predictors(screen: AnnData, cls: type[Baseline]):
    cls.setup_anndata(screen)
    assert isinstance(cls(screen), Predictor)


@pytest.mark.parametrize("cls", FLOORS)
def test_a_loaded_baseline_predicts_the_same(screen: AnnData, tmp_path, cls: type[Baseline]):
    baseline = fit(cls, screen, context_keys=["line"])
    expected = baseline.predict(perturbations=["A", "A+Z"])
    baseline.save(tmp_path / "saved")
    loaded = cls.load(tmp_path / "saved").predict(perturbations=["A", "A+Z"])
    layers = [out.layers[cls.default_key] for out in (loaded, expected)]
    np.testing.assert_array_equal(*map(sparse.csr_matrix.toarray, map(sparse.csr_matrix, layers)))
    assert loaded.obs.equals(expected.obs)
    assert json.loads((tmp_path / "saved" / "model.json").read_text())["class"] == cls.__name__


def test_each_copy_of_a_screen_is_set_up(screen: AnnData, tmp_path):
    """As scvi-tools has it: what was recognised belongs to one object, not to its copies."""
    Additive.setup_anndata(screen, context_keys=["line"])
    screen.write_h5ad(tmp_path / "screen.h5ad")
    read = ad.read_h5ad(tmp_path / "screen.h5ad")
    with pytest.raises(ValueError, match="is a copy of data that were"):
        Additive(read)
    first, second = (fit(Additive, one, context_keys=["line"]) for one in (screen, read))
    wanted = {"perturbations": ["A+B"]}
    np.testing.assert_array_equal(
        first.get_predicted_expression(**wanted), second.get_predicted_expression(**wanted)
    )


def test_validation_conditions_are_learned_only_in_the_refit(screen: AnnData, effect_of):
    rest = screen[screen.obs["perturbation"] != "A"].copy()
    expected = fit(TrainMean, rest).get_predicted_expression(perturbations=["B"])
    TrainMean.setup_anndata(screen)
    baseline = TrainMean(screen, seed=0)
    baseline.train(validation=["A"], use_refit=False)
    without = baseline.get_predicted_expression(perturbations=["B"])
    np.testing.assert_allclose(without, expected, rtol=1e-5)
    baseline.train(validation=["A"])
    refitted = baseline.get_predicted_expression(perturbations=["B"])
    assert np.abs(refitted - expected).max() > 1e-3


def test_predictions_say_how_they_were_made_and_claim_no_confidence(screen: AnnData):
    baseline = fit(Additive, screen)
    out = baseline.predict(perturbations=["A"])
    assert out.uns["additive"]["class"] == "Additive"
    assert [key for key in out.obs if key.endswith("_confidence")] == []
    with pytest.raises(NotImplementedError, match="Additive cannot tell how far"):
        baseline.get_confidence(["A"])


def test_a_screen_must_be_set_up(screen: AnnData):
    with pytest.raises(ValueError, match=r"not set up for TrainMean.*TrainMean\.setup_anndata"):
        TrainMean(screen)


def test_setup_refuses_what_the_models_refuse(screen: AnnData):
    counts = screen.copy()
    counts.X[:5] = np.rint(counts.X[:5] * 100)
    with pytest.raises(ValueError, match="raw counts in 5 of"):
        NoChange.setup_anndata(counts)
    counts.X = np.rint(screen.X * 100)
    NoChange.setup_anndata(counts, is_log1p=True)
    assert NoChange(counts)._vocabulary.is_log1p
    lacking = screen[~((screen.obs["perturbation"] == "control") & (screen.obs["line"] == "y"))]
    with pytest.raises(ValueError, match="no control cells"):
        NoChange.setup_anndata(lacking.copy(), context_keys=["line"])


def test_an_untrained_baseline_does_not_predict(screen: AnnData):
    NoChange.setup_anndata(screen)
    with pytest.raises(RuntimeError, match="NoChange has not been trained"):
        NoChange(screen).predict(perturbations=["A"])


def test_validation_is_checked(screen: AnnData):
    TrainMean.setup_anndata(screen)
    baseline = TrainMean(screen)
    with pytest.raises(ValueError, match=r"have no perturbed cells: \['Q'\]"):
        baseline.train(validation=["Q", "A"])
    with pytest.raises(ValueError, match="none is left to train on"):
        baseline.train(validation=["A", "B", "A+B", "B+C"], use_refit=False)


def test_one_label_is_one_validation_condition(screen: AnnData, effect_of, predict_effect):
    TrainMean.setup_anndata(screen)
    baseline = TrainMean(screen)
    baseline.train(validation="A+B", use_refit=False)
    expected = np.mean([effect_of(screen, label) for label in ("A", "B", "B+C")], axis=0)
    np.testing.assert_allclose(predict_effect(baseline, "Z"), expected, rtol=1e-4, atol=1e-6)


def test_a_loaded_baseline_without_data_cannot_train_or_annotate(screen: AnnData, tmp_path):
    fit(NoChange, screen).save(tmp_path / "saved")
    loaded = NoChange.load(tmp_path / "saved")
    with pytest.raises(ValueError, match="loaded without data"):
        loaded.predict()
    with pytest.raises(ValueError, match="loaded without data"):
        loaded.train()
    with pytest.raises(ValueError, match="holds NoChange, not Additive"):
        Additive.load(tmp_path / "saved")


def test_saving_does_not_replace_unless_told(screen: AnnData, tmp_path):
    baseline = fit(NoChange, screen)
    baseline.save(tmp_path / "saved")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        baseline.save(tmp_path / "saved")
    baseline.save(tmp_path / "saved", overwrite=True)
    assert NoChange.load(tmp_path / "saved", screen).predict().n_obs == screen.n_obs
