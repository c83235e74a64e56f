from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scanpy as sc
import torch
from anndata import AnnData

from scbig._protocols import Predictor
from scbig.model import DualStreamConfig, DualStreamMamba
from scbig.priors import GeneAliases, GeneEmbedding, GeneGraph

Fit = Callable[..., DualStreamMamba]


def _dense(x: object) -> np.ndarray:
    return x.toarray() if hasattr(x, "toarray") else np.asarray(x)


def _is_control(adata: AnnData) -> np.ndarray:
    return (adata.obs["perturbation"] == "control").to_numpy()


def test_it_follows_the_protocol(dual: DualStreamMamba) -> None:
    assert isinstance(dual, Predictor)
    assert DualStreamMamba.default_key == "dualstream"


def test_new_cells_are_control_cells_crossed_with_any_number_of_targets(
    dual: DualStreamMamba, targets: list[str]
) -> None:
    a, b, c, d = targets[:4]
    out = dual.predict(perturbations=[a, f"{b}+{c}", [d, c, b, a]], n_cells=9)
    labels = ["control", a, f"{b}+{c}", f"{d}+{c}+{b}+{a}"]
    assert out.obs["perturbation"].value_counts().to_dict() == dict.fromkeys(labels, 9)
    layer = _dense(out.layers["dualstream"])
    assert (layer >= 0).all()
    np.testing.assert_array_equal(layer, _dense(out.X))
    source = _dense(dual.adata[out.obs["dualstream_source"].to_numpy()].X)
    is_control = _is_control(out)
    np.testing.assert_array_equal(layer[is_control], source[is_control])
    assert np.abs(layer - source)[~is_control].max() > 0.01
    assert out.uns["dualstream"]["class"] == "DualStreamMamba"
    # Of the streams, and of the reader of shapes.
    assert out.uns["dualstream"]["steps"] == 4 + 4
    sc.tl.rank_genes_groups(out, "perturbation", reference="control", layer="dualstream")


def test_the_order_of_targets_does_not_matter(dual: DualStreamMamba, targets: list[str]) -> None:
    first, second = (
        dual.get_predicted_expression(perturbations=[label], n_cells=5)
        for label in ("+".join(targets[:3]), "+".join(targets[2::-1]))
    )
    np.testing.assert_array_equal(first, second)


def test_batches_of_cells_change_nothing(
    dual: DualStreamMamba, targets: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {"perturbations": targets[:1], "n_cells": 7, "sampling": False}
    whole = dual.get_predicted_expression(**wanted)
    monkeypatch.setattr("scbig.model.dualstream._method.TOKENS_AT_ONCE", 45)
    np.testing.assert_allclose(dual.get_predicted_expression(**wanted), whole, atol=1e-5)


def test_each_condition_meets_each_cell_and_the_mean_of_its_context(
    dual_in_batches: DualStreamMamba, targets: list[str]
) -> None:
    method, x = dual_in_batches._method, dual_in_batches.adata.X[:3]
    groups, context = [(targets[0],), tuple(targets[1:3]), (targets[0],)], np.array([0, 0, 1])
    control = dual_in_batches._effects.get_control(context)
    assert np.abs(control[0] - control[2]).max() > 0.1
    mover = method.make_mover(groups, context, control)
    rows = np.array([2, 0, 1])
    moved = mover(_dense(x), rows)
    assert moved.shape == (3, 3, 60)
    condition = method.make_condition(groups, context)
    for i, row in enumerate(rows):
        for j, cell in enumerate(torch.from_numpy(_dense(x))):
            with torch.no_grad():
                expected = method.module.predict_cells(
                    cell[None],
                    condition.select(torch.tensor([row])),
                    torch.from_numpy(control[row]),
                )
            np.testing.assert_allclose(moved[i, j], expected[0], atol=1e-5)


def test_annotated_rows_start_from_a_control_cell_of_their_context(
    dual_in_batches: DualStreamMamba, screen: AnnData
) -> None:
    out = dual_in_batches.predict(screen)
    assert out is screen
    controls = _is_control(screen)
    layer = _dense(out.layers["dualstream"])
    np.testing.assert_array_equal(layer[controls], _dense(screen.X)[controls])
    source = screen[screen.obs["dualstream_source"].to_numpy()]
    assert _is_control(source).all()
    assert (source.obs["batch"].to_numpy() == screen.obs["batch"].to_numpy()).all()
    assert out.obs["dualstream_confidence"].between(0, 1).all()
    assert (out.obs["dualstream_confidence"][controls] == 1).all()


def test_contexts_have_effects_of_their_own(
    dual_in_batches: DualStreamMamba, targets: list[str]
) -> None:
    out = dual_in_batches.predict(perturbations=targets[:1], n_cells=5)
    sizes = out.obs.groupby(["perturbation", "batch"], observed=True).size()
    assert sizes.tolist() == [5, 5, 5, 5]


def test_genes_are_matched_by_name(
    dual: DualStreamMamba, screen: AnnData, targets: list[str]
) -> None:
    order = np.random.default_rng(0).permutation(screen.n_vars)
    turned = screen[:, order].copy()
    wanted = {"perturbations": targets[:1], "n_cells": 5}
    expected = dual.get_predicted_expression(screen, **wanted)
    np.testing.assert_array_equal(
        dual.get_predicted_expression(turned, **wanted), expected[:, order]
    )


def test_unseen_measured_genes_come_in_through_coexpression(
    dual: DualStreamMamba, targets: list[str], unseen: str
) -> None:
    shift = dual.get_predicted_expression(perturbations=[f"{targets[0]}+{unseen}"], n_cells=5)
    alone = dual.get_predicted_expression(perturbations=[targets[0]], n_cells=5)
    assert np.abs(shift - alone).max() > 1e-3


def test_a_target_of_which_nothing_is_known(fit_small: Fit, screen: AnnData) -> None:
    model = fit_small(screen)
    with pytest.raises(ValueError, match=r"Nothing is known of .*\['NOWHERE'\].*DualStreamMamba"):
        model.predict(perturbations=["NOWHERE"])
    lenient = fit_small(screen, missing_embedding="mean")
    assert lenient.predict(perturbations=["NOWHERE"], n_cells=3).n_obs == 6
    with pytest.raises(ValueError, match="missing_embedding='zero' is unknown"):
        DualStreamMamba(screen, missing_embedding="zero")


def test_confidence_ranks_seen_above_unseen(
    dual: DualStreamMamba, targets: list[str], unseen: str
) -> None:
    confidence = dual.get_confidence([targets[0], unseen])
    assert confidence.between(0, 1).all()
    assert confidence[targets[0]] > confidence[unseen]


def test_other_names_of_genes(fit_small: Fit, screen: AnnData, targets: list[str]) -> None:
    model = fit_small(screen, aliases=GeneAliases({targets[0]: ["OLD"]}))
    np.testing.assert_array_equal(
        model.get_predicted_expression(perturbations=["OLD"], n_cells=4),
        model.get_predicted_expression(perturbations=[targets[0]], n_cells=4),
    )


def test_untrained_models_do_not_predict(screen: AnnData) -> None:
    DualStreamMamba.setup_anndata(screen)
    model = DualStreamMamba(screen)
    for use in (lambda: model.predict(screen), lambda: model.get_gene_influence("GENE0001")):
        with pytest.raises(RuntimeError, match=r"has not been trained\. Run train\(\) first"):
            use()


# --- the order of the genes -------------------------------------------------------------------


def test_the_order_is_spectral_given_or_by_position(
    screen: AnnData, small: DualStreamConfig
) -> None:
    DualStreamMamba.setup_anndata(screen)
    genes = list(screen.var_names)
    default = DualStreamMamba(screen, preset=small)
    assert sorted(default.gene_order) == genes
    assert default.gene_order != tuple(genes)
    assert "spectral order of co-expression" in default.summary_string
    given = DualStreamMamba(screen, preset=small, gene_order=genes[::-1])
    assert given.gene_order == tuple(genes[::-1])
    assert "Gene order: as given" in given.summary_string
    screen.var["chromosome"] = ["chr2" if i % 2 else "chr1" for i in range(60)]
    screen.var["start"] = np.arange(60)[::-1]
    placed = DualStreamMamba(screen, preset=small, position_keys=("chromosome", "start"))
    assert placed.gene_order == (*genes[::2][::-1], *genes[1::2][::-1])
    with pytest.raises(ValueError, match=r"position_keys: \['end'\] are not columns of var"):
        DualStreamMamba(screen, position_keys=("chromosome", "end"))


def test_neighbours_in_coexpression_stand_together(screen: AnnData) -> None:
    """Genes of one simulated program are nearer to each other than chance has it."""
    DualStreamMamba.setup_anndata(screen)
    order = DualStreamMamba(screen).gene_order
    program = screen.var.loc[list(order), "true_program"].to_numpy()
    share = np.mean(program[1:] == program[:-1])
    rng = np.random.default_rng(0)
    chance = [np.mean(p[1:] == p[:-1]) for p in (rng.permutation(program) for _ in range(200))]
    assert share > np.max(chance)


def test_a_graph_gives_the_order_and_an_embedding_the_targets(
    fit_small: Fit, screen: AnnData, targets: list[str]
) -> None:
    genes = tuple(screen.var_names)
    links = np.zeros((60, 60))
    ring = np.random.default_rng(0).permutation(60)
    links[ring[:-1], ring[1:]] = links[ring[1:], ring[:-1]] = 1
    vectors = np.random.default_rng(1).normal(size=(13, 4)).astype(np.float32)
    model = fit_small(
        screen,
        gene_graph=GeneGraph(genes, links, "a path"),
        gene_embedding=GeneEmbedding((*targets, "NEW"), vectors, "a table"),
    )
    path = [genes[i] for i in ring]
    assert list(model.gene_order) in (path, path[::-1])
    assert "Gene order: spectral order of a path" in model.summary_string
    assert model.module.vectors.shape == (60, 4 + model._vocabulary.embeddings.tables[1].dim)
    assert model.predict(perturbations=["NEW"], n_cells=2).n_obs == 4


# --- saved models -----------------------------------------------------------------------------


@pytest.mark.parametrize("use_statistics", [True, False])
def test_a_loaded_model_is_like_the_saved_one(
    fit_small: Fit,
    screen: AnnData,
    tmp_path: Path,
    targets: list[str],
    small: DualStreamConfig,
    use_statistics: bool,
) -> None:
    config = replace(small, use_statistics=use_statistics, use_anchor=False)
    model = fit_small(screen, preset=config)
    model.save(tmp_path / "model")
    assert sorted(p.name for p in (tmp_path / "model").iterdir()) == [
        "arrays.safetensors",
        "model.json",
    ]
    wanted = {"perturbations": [targets[0], "+".join(targets[1:4])], "n_cells": 5}
    for loaded in (
        DualStreamMamba.load(tmp_path / "model"),
        DualStreamMamba.load(tmp_path / "model", screen.copy()),
    ):
        np.testing.assert_array_equal(
            loaded.get_predicted_expression(**wanted), model.get_predicted_expression(**wanted)
        )
        assert loaded.gene_order == model.gene_order
        assert loaded.uses_networks == model.uses_networks
        assert loaded.summary_string == model.summary_string
        assert str(loaded.comparison_) == str(model.comparison_)
        assert loaded.get_confidence(targets).equals(model.get_confidence(targets))
    with pytest.raises(FileExistsError, match="overwrite=True"):
        model.save(tmp_path / "model")
    with pytest.raises(ValueError, match="loaded without data"):
        DualStreamMamba.load(tmp_path / "model").train()


# --- influence --------------------------------------------------------------------------------


def test_influence_by_the_kernel_is_that_of_the_blocks(
    dual: DualStreamMamba, targets: list[str]
) -> None:
    table = dual.get_gene_influence(targets[0], method="kernel")
    genes = list(dual.adata.var_names)
    assert list(table.index) == list(table.columns) == genes
    token = dual.module.patches.token.numpy()
    twin = np.flatnonzero(token == token[5])
    assert len(twin) == 3
    for gene in twin:
        np.testing.assert_array_equal(table.iloc[:, gene], table.iloc[:, 5])
        np.testing.assert_array_equal(table.iloc[gene], table.iloc[5])
    assert (table.to_numpy() > 0).all()
    part = dual.get_gene_influence(targets[0], method="kernel", genes=[genes[7], genes[2]])
    np.testing.assert_allclose(part, table.loc[part.index, part.columns])


def test_influence_by_occlusion_is_the_change_of_the_effect(
    dual: DualStreamMamba, targets: list[str]
) -> None:
    table = dual.get_gene_influence(targets[:2])
    module = dual.module
    context = np.zeros(1, dtype=int)
    condition = dual._method.make_condition([tuple(targets[:2])], context)
    cell = torch.from_numpy(dual._effects.get_control(context))
    with torch.no_grad():
        whole = module.forward_cells(cell, condition).effect
        gene = int(condition.gene[0, 1])
        token = module.patches.token[gene : gene + 1]
        change = (module.forward_without(cell, condition, token) - whole).abs()[0]
    np.testing.assert_allclose(table[targets[1]], change.numpy(), atol=1e-6)
    assert (table >= 0).all(axis=None)


def test_influence_refuses_what_it_does_not_know(
    dual: DualStreamMamba, targets: list[str]
) -> None:
    with pytest.raises(ValueError, match=r"method='attention' is unknown.*'occlusion', 'kernel'"):
        dual.get_gene_influence(targets[0], method="attention")
    with pytest.raises(ValueError, match=r"1 genes are not among the 60.*\['NOWHERE'\]"):
        dual.get_gene_influence(targets[0], genes=["NOWHERE"])
    with pytest.raises(ValueError, match="Nothing is known"):
        dual.get_gene_influence("NOWHERE")
