"""Principal components in place of the autoencoder, against scikit-learn's."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData
from sklearn.decomposition import PCA

from scbig.model import SCBIG, SCBIGConfig
from scbig.model.scbig._module import LinearDecoder, LinearEncoder
from scbig.nn import find_components

Fit = Callable[..., SCBIG]


@pytest.fixture(scope="module")
def linear(config: SCBIGConfig) -> SCBIGConfig:
    return replace(config, autoencoder="pca")


@pytest.fixture
def model(fit: Fit, screen: AnnData, linear: SCBIGConfig) -> SCBIG:
    return fit(screen, train={"validation": [], "max_steps": 4}, preset=linear)


@pytest.fixture
def projection(screen: AnnData) -> PCA:
    return PCA(6, svd_solver="full").fit(screen.X.toarray())


# --- the two layers ---------------------------------------------------------------------------


def make_layers(x: np.ndarray, n_latent: int) -> tuple[LinearEncoder, LinearDecoder]:
    encoder = LinearEncoder(x.shape[1], n_latent)
    find_components(x, encoder.components, seed=0)
    return encoder, LinearDecoder(encoder)


def to_tensor(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(x.astype(np.float32))


def test_layers_project_like_scikit_learn(rng: np.random.Generator) -> None:
    x = rng.normal(size=(90, 12)) * np.geomspace(4, 0.1, 12) + 3
    full = PCA(4, svd_solver="full").fit(x)
    encoder, decoder = make_layers(x, 4)
    z = encoder(to_tensor(x - x.mean(axis=0)))
    expected = full.transform(x)
    signs = np.sign((z.numpy() * expected).sum(axis=0))
    np.testing.assert_allclose(z.numpy() * signs, expected, atol=1e-4)
    np.testing.assert_allclose(
        decoder(z).numpy() + x.mean(axis=0), full.inverse_transform(expected), atol=1e-4
    )


@pytest.mark.parametrize(("n_cells", "n_genes"), [(5, 40), (40, 5), (2, 8)])
def test_components_that_are_not_there_are_zero(
    rng: np.random.Generator, n_cells: int, n_genes: int
) -> None:
    x = rng.normal(size=(n_cells, n_genes))
    encoder, decoder = make_layers(x, 7)
    z = encoder(to_tensor(x - x.mean(axis=0)))
    assert z.shape == (n_cells, 7)
    assert not z[:, min(x.shape) :].any()
    # All that varies is kept.
    np.testing.assert_allclose(decoder(z).numpy() + x.mean(axis=0), x, atol=1e-5)


def test_what_does_not_vary_is_no_component(rng: np.random.Generator) -> None:
    """Four cells span three directions; a new cell may lie outside."""
    x = rng.gamma(2.0, size=(4, 9)).astype(np.float32)
    encoder, _ = make_layers(x, 6)
    new = encoder(to_tensor(rng.gamma(2.0, size=(20, 9))))
    assert (new.std(dim=0) > 0.1).tolist() == [True] * 3 + [False] * 3


def test_a_second_fit_forgets_the_first(rng: np.random.Generator) -> None:
    encoder, _ = make_layers(rng.normal(size=(50, 8)), 6)
    x = rng.normal(size=(3, 8))
    find_components(x, encoder.components, seed=0)
    np.testing.assert_array_equal(encoder.components, make_layers(x, 6)[0].components)
    assert not encoder.components[3:].any()


def test_nothing_is_learned_by_gradient(model: SCBIG) -> None:
    for part in (model.module.encoder, model.module.decoder):
        assert list(part.parameters()) == []
    assert model.module.decoder.encoder is model.module.encoder


# --- in the model -----------------------------------------------------------------------------


def test_latents_are_standardised_principal_components(
    model: SCBIG, screen: AnnData, projection: PCA
) -> None:
    expected = projection.transform(screen.X.toarray())
    expected = expected / expected.std(axis=0)
    latents = model.get_latent_representation()
    signs = np.sign((latents * expected).sum(axis=0))
    # Found by a randomised solver.
    np.testing.assert_allclose(latents * signs, expected, atol=0.02)


def test_decoded_latents_are_the_projection(
    model: SCBIG, screen: AnnData, projection: PCA
) -> None:
    x = screen.X.toarray()
    with torch.no_grad():
        rebuilt = model.module.decode(model.module.encode(torch.from_numpy(x)))
    expected = projection.inverse_transform(projection.transform(x))
    np.testing.assert_allclose(rebuilt, expected, atol=0.02)
    assert np.abs(expected - x).max() > 0.5


def test_only_trained_cells_make_the_components(
    fit: Fit, screen: AnnData, linear: SCBIGConfig, targets: list[str]
) -> None:
    """Held-out conditions, however large, have no say."""
    kept = (screen.obs["perturbation"] != targets[0]).to_numpy()
    x = screen.X.toarray()
    x[~kept] += 10 * np.arange(screen.n_vars) % 7
    screen.X = x
    del screen.layers["counts"]  # they are not those of X any more
    model = fit(screen, train={"validation": [targets[0]], "max_steps": 1}, preset=linear)
    expected = PCA(6, svd_solver="full").fit(x[kept])
    found = model.module.encoder.components.numpy()
    np.testing.assert_allclose(np.abs(np.diag(found @ expected.components_.T)), 1, atol=1e-3)


def test_history_has_the_second_stage_only(
    fit: Fit, screen: AnnData, linear: SCBIGConfig, targets: list[str]
) -> None:
    model = fit(screen, train={"validation": targets[:2]}, preset=linear)
    assert {"flow_train_loss", "flow_validation_score"} <= set(model.history)
    assert not [name for name in model.history if name.startswith("autoencoder")]
    assert len(model.history["flow_train_loss"]) == 4


def test_a_saved_model_predicts_the_same(
    model: SCBIG, tmp_path: Path, targets: list[str], unseen: str
) -> None:
    wanted = [targets[0], f"{targets[1]}+{unseen}"]
    model.save(tmp_path / "model")
    loaded = SCBIG.load(tmp_path / "model")
    np.testing.assert_array_equal(
        loaded.get_predicted_expression(perturbations=wanted),
        model.get_predicted_expression(perturbations=wanted),
    )
    pd.testing.assert_series_equal(loaded.get_confidence(wanted), model.get_confidence(wanted))
    assert loaded.module.config.autoencoder == "pca"
    # Encoder and decoder still share their components.
    assert loaded.module.decoder.encoder.components is loaded.module.encoder.components


def test_training_goes_on_in_the_same_latents(
    fit: Fit, screen: AnnData, linear: SCBIGConfig
) -> None:
    model = fit(screen, train={"validation": [], "max_steps": 2}, preset=linear)
    before = model.module.encoder.components.clone()
    model.train(validation=[], max_steps=2, accelerator="cpu", use_progress_bar=False)
    np.testing.assert_array_equal(model.module.encoder.components, before)
    assert len(model.history["flow_train_loss"]) == 4


def test_attention_is_refused_with_the_way_out(model: SCBIG) -> None:
    with pytest.raises(ValueError, match=r"autoencoder='pca'.*SCBIG\(adata\)"):
        model.get_attention()


def test_programs_are_still_there(model: SCBIG) -> None:
    assert model.get_program_activity().shape == (600, 6)


@pytest.mark.parametrize("is_few_cells", [True, False], ids=["few cells", "few genes"])
def test_more_components_than_cells_or_genes_will_do(
    fit: Fit, screen: AnnData, linear: SCBIGConfig, targets: list[str], is_few_cells: bool
) -> None:
    """Latents that never vary stay zero, and predictions finite."""
    is_wanted = screen.obs["perturbation"].isin(["control", *targets[:3]])
    small = screen[is_wanted].copy()
    if is_few_cells:
        small = small[small.obs.groupby("perturbation", observed=True).head(3).index].copy()
    else:
        small = small[:, [*targets[:3], *small.var_names.difference(targets)[:5]]].copy()
    n_latent = 20
    assert min(small.shape) < n_latent
    budget = {"validation": [], "max_epochs": 1}
    model = fit(small, train=budget, preset=replace(linear, n_latent=n_latent), n_programs=2)
    latents = model.get_latent_representation()
    rank = np.linalg.matrix_rank(small.X.toarray() - small.X.mean(axis=0))
    np.testing.assert_allclose(latents.std(axis=0), np.arange(n_latent) < rank, atol=1e-3)
    # Cells that were not trained on, too.
    everyone = screen[is_wanted, small.var_names].copy()
    assert np.abs(model.get_latent_representation(everyone)).max() < 30
    predicted = model.get_predicted_expression(everyone)
    assert np.isfinite(predicted).all()
    assert predicted.max() < 2 * screen.X.max()


def test_without_the_first_stage_predictions_are_those_of_the_anchor(
    fit: Fit, screen: AnnData, linear: SCBIGConfig, config: SCBIGConfig, targets: list[str]
) -> None:
    """No components, no latents, and a flow that has nothing to carry."""
    train = {"validation": [], "max_epochs": 0, "max_steps": 0}
    predicted = [
        fit(screen, train=train, preset=preset).get_predicted_expression(
            perturbations=[targets[0]]
        )
        for preset in (linear, config)
    ]
    np.testing.assert_allclose(*predicted, atol=1e-4)
    assert predicted[0].max() > 0
