import json
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData

from scbig.model import SCBIG
from scbig.priors import GeneAliases, GeneEmbedding, GeneSets

Fit = Callable[..., SCBIG]
QUIET = {"accelerator": "cpu", "use_progress_bar": False}


@pytest.fixture
def folder(trained: SCBIG, tmp_path: Path) -> Path:
    trained.save(tmp_path / "model")
    return tmp_path / "model"


def test_a_loaded_model_predicts_the_same(
    trained: SCBIG, folder: Path, screen: AnnData, targets: list[str], unseen: str
) -> None:
    wanted = {"perturbations": [targets[0], f"{targets[1]}+{unseen}"]}
    for loaded in (SCBIG.load(folder), SCBIG.load(folder, screen.copy())):
        for model_input in ((), (screen,)):
            np.testing.assert_array_equal(
                loaded.get_predicted_expression(*model_input, **wanted),
                trained.get_predicted_expression(*model_input, **wanted),
            )
        np.testing.assert_array_equal(
            loaded.get_predicted_expression(screen), trained.get_predicted_expression(screen)
        )
        pd.testing.assert_series_equal(
            loaded.get_confidence(targets), trained.get_confidence(targets)
        )


def test_a_loaded_model_is_like_the_saved_one(trained: SCBIG, folder: Path) -> None:
    loaded = SCBIG.load(folder)
    assert loaded.is_trained_
    assert loaded.summary_string == trained.summary_string
    assert loaded.history.keys() == trained.history.keys()
    for name, values in trained.history.items():
        assert loaded.history[name].index.tolist() == values.index.tolist()
        np.testing.assert_allclose(
            loaded.history[name][name].astype(float), values[name].astype(float)
        )
    assert not loaded.module.training


def test_nothing_is_pickled(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["arrays.safetensors", "model.json"]
    values = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    assert values["class"] == "SCBIG"
    assert values["format"] == 3
    assert {
        "seed",
        "missing_embedding",
        "uses_networks",
        "n_steps",
        "registry",
        "comparison",
        "history",
        "vocabulary",
        "method",
        "effects",
    } <= values.keys()
    assert values["vocabulary"]["schema"]["control"] == "control"
    assert {"config", "programs", "kernel", "denoising", "is_encoding"} == values["method"].keys()


def test_everything_given_to_the_model_travels_with_it(
    fit: Fit, screen: AnnData, tmp_path: Path, rng: np.random.Generator
) -> None:
    genes = tuple(screen.var_names)
    model = fit(
        screen,
        {"context_keys": pd.Index(["batch"])},
        {"max_steps": 2},
        perturbation_embedding=GeneEmbedding(
            (*genes, "OTHER"), rng.normal(size=(61, 4)).astype(np.float32), "mine"
        ),
        gene_sets=GeneSets({"one": genes[:20], "two": genes[20:50]}, "sets"),
        aliases=GeneAliases({"OTHER": ["OLDNAME"]}),
        missing_embedding="mean",
        seed=np.int64(7),
    )
    model.save(tmp_path / "model")
    loaded = SCBIG.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded._method.priors.pathways, model._method.priors.pathways)
    for label in ("OLDNAME", "NOSUCH"):
        np.testing.assert_array_equal(
            loaded.get_predicted_expression(perturbations=[label]),
            model.get_predicted_expression(perturbations=[label]),
        )
    assert loaded.predict(perturbations=["OTHER"]).uns["scbig"]["seed"] == 7


def test_loading_leaves_the_random_state(folder: Path) -> None:
    state = torch.get_rng_state()
    SCBIG.load(folder)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_model_is_not_overwritten_by_accident(trained: SCBIG, folder: Path) -> None:
    with pytest.raises(FileExistsError, match="overwrite=True"):
        trained.save(folder)
    trained.save(folder, overwrite=True)
    assert SCBIG.load(folder).is_trained_


def test_an_untrained_model_is_saved_and_trained_later(
    screen: AnnData, config: object, tmp_path: Path
) -> None:
    SCBIG.setup_anndata(screen)
    SCBIG(screen, preset=config, n_programs=6).save(tmp_path / "model")
    loaded = SCBIG.load(tmp_path / "model", screen)
    with pytest.raises(RuntimeError, match=r"SCBIG has not been trained.*train\(\)"):
        loaded.predict(perturbations=["GENE0001"])
    loaded.train(max_steps=1, **QUIET)
    assert loaded.is_trained_


def test_without_data_what_needs_them_says_so(folder: Path) -> None:
    loaded = SCBIG.load(folder)
    for need in (loaded.predict, loaded.train, loaded.get_latent_representation):
        with pytest.raises(ValueError, match=r"loaded without data.*load\(path, adata\)"):
            need()


def test_data_may_have_their_genes_in_another_order(
    trained: SCBIG, folder: Path, screen: AnnData
) -> None:
    loaded = SCBIG.load(folder, screen[:, ::-1].copy())
    np.testing.assert_allclose(
        loaded.get_latent_representation(), trained.get_latent_representation(), atol=1e-5
    )
    loaded.train(max_steps=1, **QUIET)
    np.testing.assert_allclose(loaded._effects.delta, trained._effects.delta, atol=1e-5)


# --- continued training -----------------------------------------------------------------------


def _rename(screen: AnnData, **labels: str) -> AnnData:
    """A further screen: other targets for some, in a batch of its own."""
    renamed = screen.copy()
    renamed.obs["perturbation"] = [
        "+".join(labels.get(t, t) for t in label.split("+"))
        for label in renamed.obs["perturbation"]
    ]
    renamed.obs["batch"] = "batch_3"
    return renamed


def test_training_goes_on_with_new_targets_and_contexts(
    in_batches: SCBIG, screen: AnnData, targets: list[str], unseen: str, tmp_path: Path
) -> None:
    in_batches.save(tmp_path / "model")
    later = SCBIG.load(tmp_path / "model", _rename(screen, **{targets[0]: unseen}))
    old = in_batches._effects
    before = in_batches.get_confidence([targets[0], unseen])
    encoder = {k: v.clone() for k, v in later.module.encoder.state_dict().items()}
    later.train(**QUIET)
    effects = later._effects
    assert later._vocabulary.contexts == ("batch_1", "batch_2", "batch_3")
    assert len(effects) == len(old) + 20
    np.testing.assert_array_equal(effects.delta[: len(old)], old.delta)
    np.testing.assert_array_equal(effects.control_mean[:2], old.control_mean)
    for name, weight in later.module.encoder.state_dict().items():
        assert torch.equal(weight, encoder[name])
    after = later.get_confidence([targets[0], unseen])
    assert after[targets[0]] > 0.5 * before[targets[0]]
    assert after[unseen] > before[unseen]
    out = later.predict(perturbations=[targets[0], unseen], n_cells=5)
    assert set(out.obs["batch"]) == {"batch_1", "batch_2", "batch_3"}
    # The flow went on, the autoencoder did not.
    assert out.uns["scbig"]["steps"] == in_batches._n_steps + 4 == 6 + 8
    history = later.history["flow_train_loss"]
    assert history.index.tolist() == list(range(8))
    later.save(tmp_path / "again")
    np.testing.assert_array_equal(
        SCBIG.load(tmp_path / "again").get_predicted_expression(perturbations=[unseen], n_cells=5),
        later.get_predicted_expression(perturbations=[unseen], n_cells=5),
    )


def test_effects_measured_again_are_replaced_and_held_out_ones_forgotten(
    trained: SCBIG, screen: AnnData, targets: list[str], tmp_path: Path
) -> None:
    trained.save(tmp_path / "model")
    later = SCBIG.load(tmp_path / "model", screen)
    later.train(validation=[targets[0]], use_refit=False, max_steps=1, **QUIET)
    assert (targets[0],) not in later._effects.targets
    assert len(later._effects) == 19


def test_the_autoencoder_is_not_trained_away_from_earlier_effects(
    trained: SCBIG, screen: AnnData, targets: list[str], unseen: str, tmp_path: Path
) -> None:
    trained.save(tmp_path / "model")
    later = SCBIG.load(tmp_path / "model", _rename(screen, **{targets[0]: unseen}))
    with pytest.raises(ValueError, match="max_epochs=1 would train the autoencoder again"):
        later.train(max_epochs=1, max_steps=1, **QUIET)


def test_a_screen_with_other_genes_is_refused(folder: Path, screen: AnnData) -> None:
    other = screen.copy()
    other.var_names = [f"OTHER{i}" for i in range(other.n_vars)]
    model = SCBIG.load(folder, other)
    with pytest.raises(ValueError, match="60 of the model's 60 genes are missing"):
        model.train(**QUIET)


def test_concatenated_screens_need_their_controls(folder: Path, screen: AnnData) -> None:
    with pytest.raises(ValueError, match=r"[Nn]o .*control"):
        SCBIG.load(folder, ad.concat([screen[screen.obs["perturbation"] != "control"]]))
