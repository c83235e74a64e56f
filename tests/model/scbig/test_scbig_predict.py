from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import torch
from anndata import AnnData

from scbig.model import SCBIG
from scbig.model.scbig._condition import FlowCondition
from scbig.priors import GeneAliases, GeneEmbedding

Fit = Callable[..., SCBIG]


def _dense(x: object) -> np.ndarray:
    return x.toarray() if hasattr(x, "toarray") else np.asarray(x)


def _is_control(adata: AnnData) -> np.ndarray:
    return (adata.obs["perturbation"] == "control").to_numpy()


def _get_sources(out: AnnData, adata: AnnData) -> np.ndarray:
    return _dense(adata[out.obs["scbig_source"].to_numpy()].X)


# --- with perturbations -----------------------------------------------------------------------


def test_new_cells_are_control_cells_crossed_with_perturbations(
    trained: SCBIG, targets: list[str]
) -> None:
    a, b, c = targets[:3]
    out = trained.predict(perturbations=[a, f"{b}+{c}", [c, a]])
    labels = ["control", a, f"{b}+{c}", f"{c}+{a}"]
    n_controls = int(_is_control(trained.adata).sum())
    assert out.obs["perturbation"].value_counts().to_dict() == dict.fromkeys(labels, n_controls)
    assert out.raw is None
    assert list(out.var_names) == list(trained.adata.var_names)
    assert out.layers["scbig"].shape == out.shape
    assert out.layers["scbig"].min() >= 0
    np.testing.assert_array_equal(_dense(out.X), _dense(out.layers["scbig"]))
    assert _is_control(trained.adata[out.obs["scbig_source"].to_numpy()]).all()


def test_controls_are_their_own_prediction(trained: SCBIG, targets: list[str]) -> None:
    out = trained.predict(perturbations=[targets[0]], n_cells=20)
    controls = out[_is_control(out)]
    assert controls.n_obs == 20
    np.testing.assert_array_equal(_dense(controls.X), _get_sources(controls, trained.adata))
    assert (controls.obs["scbig_confidence"] == 1).all()
    changed = out[~_is_control(out)]
    assert np.abs(_dense(changed.X) - _get_sources(changed, trained.adata)).max() > 0.01


def test_new_cells_are_made_in_every_context(in_batches: SCBIG, targets: list[str]) -> None:
    out = in_batches.predict(perturbations=targets[:2], n_cells=7)
    sizes = out.obs.groupby(["perturbation", "batch"], observed=True).size()
    assert sizes.to_dict() == {
        (label, batch): 7
        for label in ("control", *targets[:2])
        for batch in ("batch_1", "batch_2")
    }
    adata = in_batches.adata
    source = adata[out.obs["scbig_source"].to_numpy()]
    assert (source.obs["batch"].to_numpy() == out.obs["batch"].to_numpy()).all()


def test_the_same_perturbation_shifts_the_mean_by_the_anchor_plus_what_was_learned(
    fit: Fit, screen: AnnData, targets: list[str]
) -> None:
    """Without flow steps the predicted mean shift is that of the regression."""
    model = fit(screen, train={"max_steps": 0})
    out = model.predict(perturbations=[targets[0]], sampling=False)
    shift = out[~_is_control(out)].layers["scbig"].mean(0) - _dense(out[_is_control(out)].X).mean(
        0
    )
    expected = model._method.predict_effects([(targets[0],)], np.array([0]))
    control_mean = _dense(screen[_is_control(screen)].X).mean(0)
    np.testing.assert_allclose(shift, np.maximum(expected[0], -control_mean), atol=1e-4)


def test_given_control_cells_are_used(trained: SCBIG, screen: AnnData, targets: list[str]) -> None:
    few = screen[np.flatnonzero(_is_control(screen))[:9]].copy()
    out = trained.predict(few, perturbations=[targets[0]])
    assert out.n_obs == 18
    assert set(out.obs["scbig_source"]) == set(few.obs_names)
    assert "scbig" not in few.layers


def test_more_cells_than_controls_are_drawn_again(trained: SCBIG, targets: list[str]) -> None:
    out = trained.predict(perturbations=[targets[0]], n_cells=150)
    # Each control cell is handed out once; there are 90.
    assert out.n_obs == 90 + 150
    assert len(np.unique(_dense(out[~_is_control(out)].X), axis=0)) == 150
    assert out.obs_names.is_unique


# --- without ----------------------------------------------------------------------------------


def test_annotation_writes_into_the_same_object(in_batches: SCBIG, screen: AnnData) -> None:
    x, genes = screen.X.copy(), list(screen.var_names)
    out = in_batches.predict(screen)
    assert out is screen
    assert list(screen.var_names) == genes
    assert (x != screen.X).nnz == 0
    is_control = _is_control(screen)
    np.testing.assert_array_equal(
        _dense(screen.layers["scbig"][is_control]), _dense(x[is_control])
    )
    assert screen.layers["scbig"].min() >= 0
    assert screen.obs["scbig_confidence"].between(0, 1).all()


def test_annotation_never_reads_the_perturbed_cells(in_batches: SCBIG, screen: AnnData) -> None:
    first = in_batches.predict(screen.copy()).layers["scbig"]
    other = screen.copy()
    is_control = _is_control(other)
    x = _dense(other.X)
    x[~is_control] = 1.5
    other.X = x
    second = in_batches.predict(other).layers["scbig"]
    np.testing.assert_array_equal(_dense(first), _dense(second))


def test_annotation_starts_from_controls_of_the_same_context(
    in_batches: SCBIG, screen: AnnData
) -> None:
    """The controls of one batch are made unmistakable."""
    marker = screen.var_names.get_loc("GENE0060")
    x = _dense(screen.X)
    x[:, marker] = 0
    x[(screen.obs["batch"] == "batch_2").to_numpy() & _is_control(screen), marker] = 7.0
    screen.X = x
    del screen.layers["counts"]
    written = _dense(in_batches.predict(screen).layers["scbig"])[:, marker]
    source = screen[screen.obs["scbig_source"].to_numpy()]
    assert (source.obs["batch"].to_numpy() == screen.obs["batch"].to_numpy()).all()
    assert _is_control(source).all()
    mean = pd.Series(written).groupby(
        [screen.obs[key].to_numpy() for key in ("batch", "perturbation")]
    )
    mean = mean.mean()
    assert mean["batch_2"].min() > 5
    assert mean["batch_1"].max() < 2


def test_the_training_data_are_the_default(fit: Fit, screen: AnnData) -> None:
    model = fit(screen, train={"max_steps": 1})
    assert model.predict() is screen
    assert screen.layers["scbig"].shape == screen.shape


def test_contexts_without_controls_are_refused(in_batches: SCBIG, screen: AnnData) -> None:
    kept = ~_is_control(screen) | (screen.obs["batch"] == "batch_1").to_numpy()
    with pytest.raises(ValueError, match=r"'batch_2'.*no control cell"):
        in_batches.predict(screen[kept].copy())


def test_an_unknown_context_is_predicted(in_batches: SCBIG, screen: AnnData) -> None:
    screen.obs["batch"] = "elsewhere"
    known = in_batches.get_confidence([screen.obs["perturbation"].iloc[0]])
    out = in_batches.predict(screen)
    assert np.isfinite(_dense(out.layers["scbig"])).all()
    assert known.between(0, 1).all()


# --- samples, seeds and keys ------------------------------------------------------------------


def test_fewer_than_one_cell_is_refused(trained: SCBIG, targets: list[str]) -> None:
    with pytest.raises(ValueError, match="n_cells=0"):
        trained.predict(perturbations=[targets[0]], n_cells=0)


def test_a_seed_gives_the_same_bits_whatever_the_global_state(
    trained: SCBIG, targets: list[str]
) -> None:
    def predict(seed: int) -> np.ndarray:
        return trained.get_predicted_expression(perturbations=[targets[0]], n_cells=12, seed=seed)

    first = predict(3)
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
    np.testing.assert_array_equal(predict(3), first)
    assert not np.array_equal(predict(4), first)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state[1])  # noqa: NPY002


def test_expression_equals_the_written_layer(in_batches: SCBIG, screen: AnnData) -> None:
    wanted = {"perturbations": [str(screen.obs["perturbation"].iloc[5])], "n_cells": 9}
    np.testing.assert_array_equal(
        in_batches.get_predicted_expression(**wanted),
        _dense(in_batches.predict(**wanted).layers["scbig"]),
    )
    found = in_batches.get_predicted_expression(screen)
    assert "scbig" not in screen.layers
    np.testing.assert_array_equal(found, _dense(in_batches.predict(screen).layers["scbig"]))


def test_key_added_names_everything_that_is_written(trained: SCBIG, targets: list[str]) -> None:
    out = trained.predict(perturbations=[targets[0]], key_added="mine", n_cells=5)
    assert {"mine", "mine_counts"} <= {str(name) for name in out.layers}
    assert "mine_confidence" in out.obs
    assert out.uns["mine"]["class"] == "SCBIG"
    assert "scbig" not in out.layers
    assert "scbig" not in out.uns


def test_the_result_is_written_to_a_file_and_read_back(
    in_batches: SCBIG, targets: list[str], tmp_path: Path
) -> None:
    out = in_batches.predict(perturbations=targets[:2], n_cells=6, seed=5)
    out.write_h5ad(tmp_path / "out.h5ad")
    back = ad.read_h5ad(tmp_path / "out.h5ad")
    np.testing.assert_array_equal(*(_dense(x.layers["scbig"]) for x in (back, out)))
    record = back.uns["scbig"]
    assert (record["class"], int(record["seed"])) == ("SCBIG", 5)
    # Two epochs of three batches, and then the flow.
    assert int(record["steps"]) == 2 * 3 + 4
    assert record["schema"]["perturbation_key"] == "perturbation"
    assert list(record["schema"]["context_keys"]) == ["batch"]
    assert record["version"]


def test_scanpy_ranks_genes_as_the_contract_says(trained: SCBIG, targets: list[str]) -> None:
    out = trained.predict(perturbations=targets[:2])
    sc.tl.rank_genes_groups(out, "perturbation", reference="control", layer="scbig")
    table = sc.get.rank_genes_groups_df(out, group=targets[0])
    assert len(table) == out.n_vars
    shift = out[out.obs["perturbation"] == targets[0]].layers["scbig"].mean(0)
    shift = shift - out[_is_control(out)].layers["scbig"].mean(0)
    strongest = out.var_names[np.argmax(shift)]
    assert table.set_index("names").loc[strongest, "scores"] > 0


# --- genes ------------------------------------------------------------------------------------


def test_genes_are_matched_by_name(
    trained: SCBIG, screen: AnnData, rng: np.random.Generator
) -> None:
    expected = trained.get_predicted_expression(screen)
    order = rng.permutation(screen.n_vars)
    shuffled = screen[:, order].copy()
    found = trained.get_predicted_expression(shuffled)
    np.testing.assert_allclose(found, expected[:, order], atol=1e-6)


def test_extra_genes_keep_the_expression_of_the_source(
    trained: SCBIG, screen: AnnData, targets: list[str]
) -> None:
    """They are no counts, which those of the model's genes are found without."""
    extra = AnnData(np.full((screen.n_obs, 2), 0.7, dtype=np.float32), obs=screen.obs)
    extra.var_names = ["EXTRA1", "EXTRA2"]
    wide = ad.concat([extra, screen], axis=1, merge="same")
    out = trained.predict(wide, perturbations=[targets[0]], n_cells=8)
    extras = _dense(out[:, ["EXTRA1", "EXTRA2"]].layers["scbig"])
    np.testing.assert_array_equal(extras, np.float32(0.7))
    assert out.uns["scbig"]["cells"] == "counts"
    assert out.layers["scbig_counts"][:, :2].nnz == 0
    del screen.layers["counts"]
    plain = trained.predict(screen, perturbations=[targets[0]], n_cells=8)
    found = out[:, screen.var_names]
    np.testing.assert_array_equal(
        *(_dense(part.layers["scbig_counts"]) for part in (found, plain))
    )
    np.testing.assert_allclose(
        *(_dense(part.layers["scbig"]) for part in (found, plain)), atol=1e-5
    )


def test_a_few_missing_genes_are_fine_and_many_are_refused(
    trained: SCBIG, screen: AnnData, targets: list[str]
) -> None:
    out = trained.predict(screen[:, 5:].copy(), perturbations=[targets[0]], n_cells=8)
    assert out.n_vars == 55
    assert np.isfinite(_dense(out.layers["scbig"])).all()
    with pytest.raises(ValueError, match="30 of the model's 60 genes are missing"):
        trained.predict(screen[:, 30:].copy(), perturbations=[targets[0]])


# --- targets ----------------------------------------------------------------------------------


def test_an_unseen_measured_gene_is_predicted_from_its_coexpression(
    trained: SCBIG, targets: list[str], unseen: str
) -> None:
    out = trained.predict(perturbations=[unseen], n_cells=10)
    assert np.isfinite(_dense(out.layers["scbig"])).all()
    confidence = trained.get_confidence([targets[0], unseen])
    assert confidence.between(0, 1).all()
    assert confidence[targets[0]] > confidence[unseen]
    written = out.obs.loc[~_is_control(out), "scbig_confidence"]
    np.testing.assert_allclose(written, confidence[unseen], rtol=1e-5)


def test_a_target_of_which_nothing_is_known_is_named(trained: SCBIG, targets: list[str]) -> None:
    with pytest.raises(ValueError, match=r"\['NOSUCH'\].*perturbation_embedding=.*'mean'"):
        trained.predict(perturbations=[targets[0], f"{targets[0]}+NOSUCH"])


def test_the_mean_effect_of_a_target_may_be_asked_for(
    fit: Fit, screen: AnnData, targets: list[str]
) -> None:
    model = fit(screen, missing_embedding="mean", train={"max_steps": 0})
    out = model.predict(perturbations=["NOSUCH"])
    shift = out[~_is_control(out)].layers["scbig"].mean(0) - _dense(out[_is_control(out)].X).mean(
        0
    )
    means = np.mean(
        [_dense(screen[screen.obs["perturbation"] == t].X).mean(0) for t in targets], axis=0
    ) - _dense(screen[_is_control(screen)].X).mean(0)
    assert np.corrcoef(shift, means)[0, 1] > 0.6
    confidence = model.get_confidence(["NOSUCH", *targets])
    assert confidence["NOSUCH"] < 0.05
    assert confidence["NOSUCH"] < confidence[targets].min()


def test_missing_embedding_is_one_of_two(screen: AnnData) -> None:
    SCBIG.setup_anndata(screen)
    with pytest.raises(ValueError, match=r"missing_embedding='zero'.*'error', 'mean'"):
        SCBIG(screen, missing_embedding="zero")


def test_a_table_of_embeddings_makes_unmeasured_targets_known(
    fit: Fit, screen: AnnData, targets: list[str], rng: np.random.Generator
) -> None:
    """NOSUCH is given the vector of a seen target, and is predicted much as that one is."""
    vectors = rng.normal(size=(len(targets) + 1, 16)).astype(np.float32)
    vectors[-1] = vectors[0]
    table = GeneEmbedding((*targets, "NOSUCH"), vectors, "my table")
    model = fit(screen, perturbation_embedding=table, train={"max_steps": 2})
    assert "my table (13 genes)" in model.summary_string
    condition = FlowCondition.make(
        model._vocabulary, [("NOSUCH",)], np.array([0]), np.zeros((1, 6))
    )
    expected = vectors[0] / np.linalg.norm(vectors[0])
    np.testing.assert_allclose(condition.embedding[0, 0, :16], expected, rtol=1e-5)
    assert not condition.is_seen[0, 0]
    assert np.isfinite(model.get_predicted_expression(perturbations=["NOSUCH"])).all()


def test_targets_are_found_under_their_aliases(fit: Fit, screen: AnnData) -> None:
    """An old name in the screen is found by the new one, and predicted alike."""
    old = next(label for label in screen.obs["perturbation"] if label != "control")
    old = old.split("+")[0]
    screen.obs["perturbation"] = [
        label.replace(old, "KIAA1804") for label in screen.obs["perturbation"]
    ]
    aliases = GeneAliases({"MAP3K21": ["KIAA1804"]})
    model = fit(screen, aliases=aliases, train={"max_steps": 2})
    np.testing.assert_array_equal(
        model.get_predicted_expression(perturbations=["MAP3K21"], n_cells=6),
        model.get_predicted_expression(perturbations=["KIAA1804"], n_cells=6),
    )
    confidence = model.get_confidence(["MAP3K21", "KIAA1804"])
    assert confidence.iloc[0] == confidence.iloc[1] > 0.2


def test_nothing_but_controls_is_refused(trained: SCBIG) -> None:
    with pytest.raises(ValueError, match="No perturbation was asked for"):
        trained.predict(perturbations=["control"])
