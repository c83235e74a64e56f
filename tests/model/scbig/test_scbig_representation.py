from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData

from scbig.model import SCBIG


def _dense(adata: AnnData) -> np.ndarray:
    return adata.X.toarray()


def test_latents_are_standardised_over_the_training_cells(
    fit: Callable[..., SCBIG], screen: AnnData
) -> None:
    budget = {"max_epochs": 2, "max_steps": 0}
    latents = fit(screen, train={"validation": [], **budget}).get_latent_representation()
    assert latents.shape == (600, 6)
    np.testing.assert_allclose(latents.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(latents.std(axis=0), 1, atol=1e-4)


def test_an_autoencoder_that_was_left_out_encodes_nothing(
    fit: Callable[..., SCBIG], screen: AnnData
) -> None:
    model = fit(screen, train={"validation": [], "max_steps": 0})
    for ask in (model.get_latent_representation, model.get_attention):
        with pytest.raises(RuntimeError, match=r"train\(max_epochs=30, max_steps=0\)"):
            ask()


def test_latents_do_not_depend_on_the_order_of_cells_and_genes(
    trained: SCBIG, screen: AnnData, rng: np.random.Generator
) -> None:
    cells, genes = rng.permutation(screen.n_obs)[:50], rng.permutation(screen.n_vars)
    shuffled = screen[cells][:, genes].copy()
    np.testing.assert_allclose(
        trained.get_latent_representation(shuffled),
        trained.get_latent_representation()[cells],
        atol=1e-5,
    )


def test_program_activity_is_the_mean_of_its_genes(trained: SCBIG, screen: AnnData) -> None:
    activity = trained.get_program_activity(screen)
    labels = trained._method.priors.programs.labels
    assert list(activity.index) == list(screen.obs_names)
    assert list(activity.columns) == list(trained._method.priors.programs.names)
    for k, name in enumerate(activity.columns):
        expected = _dense(screen)[:, labels == k].mean(axis=1)
        np.testing.assert_allclose(activity[name], expected, rtol=1e-4, atol=1e-6)


def test_a_predicted_layer_can_be_looked_at(
    trained: SCBIG, screen: AnnData, targets: list[str]
) -> None:
    out = trained.predict(perturbations=[targets[0]], n_cells=30)
    np.testing.assert_array_equal(_dense(out), out.layers["scbig"].toarray())
    out.X = screen[out.obs["scbig_source"]].X
    is_control = (out.obs["perturbation"] == "control").to_numpy()
    for look in (
        lambda layer: trained.get_latent_representation(out, layer=layer),
        lambda layer: trained.get_program_activity(out, layer=layer).to_numpy(),
    ):
        source, predicted = look(None), look("scbig")
        np.testing.assert_allclose(source[is_control], predicted[is_control], atol=1e-6)
        assert np.abs(source[~is_control] - predicted[~is_control]).max() > 1e-3


def test_attention_adds_up_to_one_for_each_group(trained: SCBIG, screen: AnnData) -> None:
    attention = trained.get_attention(screen)
    assert sorted(attention.index) == sorted(set(screen.obs["perturbation"]))
    assert attention.shape == (21, 6)
    np.testing.assert_allclose(attention.sum(axis=1), 1, rtol=1e-5)
    by_batch = trained.get_attention(screen, groupby="batch")
    sizes = screen.obs["batch"].value_counts()
    each = trained.get_attention(screen.copy(), groupby="batch")
    pd.testing.assert_frame_equal(by_batch, each)
    counts = screen.obs["perturbation"].astype(str).value_counts()
    overall = (attention.mul(counts.loc[attention.index], axis=0)).sum() / 600
    weighted = (by_batch.mul(sizes.loc[by_batch.index], axis=0)).sum() / 600
    np.testing.assert_allclose(overall, weighted, rtol=1e-4)


def test_attention_is_that_of_the_inducing_points(trained: SCBIG, screen: AnnData) -> None:
    """One cell, one block: the softmax of queries and keys by hand."""
    cell = screen[:1].copy()
    block = trained.module.encoder.blocks[0]
    with torch.no_grad():
        x = torch.from_numpy(_dense(cell)) - trained.module.gene_mean
        _, maps = block.attend(trained.module.encoder._tokens(x))
    expected = maps.points_to_tokens[0].mean(0)
    found = trained.get_attention(cell)
    np.testing.assert_allclose(found.to_numpy()[0], expected, rtol=1e-5)


def test_a_layer_of_predictions_changes_attention(
    trained: SCBIG, screen: AnnData, targets: list[str]
) -> None:
    out = trained.predict(perturbations=[targets[0]], n_cells=30)
    out.X = screen[out.obs["scbig_source"]].X
    source, predicted = trained.get_attention(out), trained.get_attention(out, layer="scbig")
    np.testing.assert_allclose(source.loc["control"], predicted.loc["control"], rtol=1e-5)
    assert not np.allclose(source.loc[targets[0]], predicted.loc[targets[0]], atol=1e-9)


def test_nothing_is_written(trained: SCBIG, screen: AnnData) -> None:
    keys = [list(map(str, part)) for part in (screen.obs, screen.var, screen.layers, screen.obsm)]
    trained.get_latent_representation(screen)
    trained.get_program_activity(screen)
    trained.get_attention(screen)
    trained.get_predicted_expression(screen)
    found = [list(map(str, part)) for part in (screen.obs, screen.var, screen.layers, screen.obsm)]
    assert found == keys


def test_wrong_names_are_answered_with_the_right_ones(trained: SCBIG, screen: AnnData) -> None:
    with pytest.raises(ValueError, match=r"no layer 'nosuch'.*'counts'"):
        trained.get_latent_representation(screen, layer="nosuch")
    with pytest.raises(ValueError, match=r"groupby='nosuch'.*'perturbation'"):
        trained.get_attention(screen, groupby="nosuch")
