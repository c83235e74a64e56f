from collections.abc import Callable

import numpy as np
import pytest
import scvi
import torch
from anndata import AnnData
from mudata import MuData

from scbig.model import SCBIG, SCBIGConfig


def test_the_summary_names_what_the_model_is_of(
    trained: SCBIG, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = " ".join(repr(trained).split())
    assert capsys.readouterr().out == ""
    assert "SCBIG of 60 genes, 12 targets, contexts: all. Target embeddings: " in printed
    assert "Gene programs: 6." in printed
    assert "Training status: Trained" in printed


def test_the_setup_can_be_viewed(trained: SCBIG, capsys: pytest.CaptureFixture[str]) -> None:
    trained.view_anndata_setup()
    printed = capsys.readouterr().out
    assert "perturbation_key" in printed
    assert trained.adata_manager.get_state_registry("perturbation")["n_conditions"] == 20
    assert trained.summary_stats["n_targets"] == 12


def test_init_params_are_where_scvi_tools_looks(screen: AnnData, config: SCBIGConfig) -> None:
    SCBIG.setup_anndata(screen)
    model = SCBIG(screen, preset=config, n_programs=5, seed=4)
    found = model.init_params_
    given = {**found.get("kwargs", {}), **found.get("non_kwargs", {})}
    assert given["n_programs"] == 5
    assert given["seed"] == 4


def test_setup_may_be_run_again(screen: AnnData, config: SCBIGConfig) -> None:
    SCBIG.setup_anndata(screen)
    SCBIG.setup_anndata(screen, context_keys=["batch"])
    model = SCBIG(screen, preset=config, n_programs=6)
    assert model._vocabulary.contexts == ("batch_1", "batch_2")


def test_setup_comes_first(screen: AnnData) -> None:
    with pytest.raises(ValueError, match="setup_anndata"):
        SCBIG(screen)


@pytest.mark.parametrize("verb", ["predict", "get_latent_representation", "get_attention"])
def test_an_untrained_model_says_so(screen: AnnData, config: SCBIGConfig, verb: str) -> None:
    SCBIG.setup_anndata(screen)
    model = SCBIG(screen, preset=config, n_programs=6)
    with pytest.raises(RuntimeError, match=r"SCBIG has not been trained.*train\(\)"):
        getattr(model, verb)()


def test_mudata_is_refused_with_its_modalities(screen: AnnData) -> None:
    mdata = MuData({"rna": screen})
    with pytest.raises(ValueError, match=r"MuData was given.*\['rna'\]"):
        SCBIG.setup_anndata(mdata)


def test_the_seed_of_scvi_tools_is_the_default(
    screen: AnnData, config: SCBIGConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    SCBIG.setup_anndata(screen)
    monkeypatch.setattr(scvi.settings, "_seed", 11)
    by_settings = SCBIG(screen, preset=config, n_programs=6)
    given = SCBIG(screen, preset=config, n_programs=6, seed=11)
    other = SCBIG(screen, preset=config, n_programs=6, seed=12)
    weights = [model.module.encoder.latent.weight for model in (by_settings, given, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_training_and_prediction_on_a_gpu(
    fit: Callable[..., SCBIG], screen: AnnData, targets: list[str]
) -> None:
    first = fit(screen, train={"accelerator": "gpu", "devices": 1})
    assert first.module.device.type == "cuda"
    wanted = {"perturbations": targets[:2]}
    predicted = first.get_predicted_expression(**wanted)
    assert np.isfinite(predicted).all()
    assert first.get_attention().shape == (21, 6)
    again = fit(screen.copy(), train={"accelerator": "gpu", "devices": 1})
    np.testing.assert_array_equal(again.get_predicted_expression(**wanted), predicted)
