import numpy as np
import pytest
import torch

from scbig.model import STRAND
from scbig.nn import LocusInput, ReaderSizes, TokenReader
from scbig.predictor import Judge


def _predict(model: STRAND, *names: str) -> np.ndarray:
    context = np.zeros(len(names), dtype=int)
    return model._method.predict_effects([(name,) for name in names], context)


def test_the_twin_cannot_tell_start_sites_apart(loci_screen, fit_strand):
    model = fit_strand(loci_screen, {"sequence": "gene"}, train={"validation": ["TARGET001-P1"]})
    first, second, other = _predict(model, "TARGET002-P1", "TARGET002-P2", "TARGET003-P1")
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - other).max() > 1e-3


def test_the_twin_puts_unseen_genes_at_the_mean(loci_screen, fit_strand):
    labels = loci_screen.adata.obs["gene"].astype(str)
    adata = loci_screen.adata[~labels.isin(["TARGET001", "TARGET002"]).to_numpy()].copy()
    screen = loci_screen._replace(adata=adata)
    model = fit_strand(screen, {"sequence": "gene"}, fasta=None)
    table = model._method.table
    rows = torch.tensor(table.find(("TARGET001-P1", "TARGET002-P1")))
    given = model._method._make_condition([], np.zeros(0)).given
    vectors = model.module.reader(given.take(rows))
    assert torch.equal(vectors, model.module.reader.mean.expand(2, -1))
    first, second = _predict(model, "TARGET001-P1", "TARGET002-P1")
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    "changes",
    [{"pairing": "random"}, {"clip_weight": 0.0}, {"n_readings": 1}, {"drop_locus": 0.0}],
)
def test_every_switch_trains(loci_screen, fit_strand, changes):
    model = fit_strand(loci_screen, changes, train={"max_locus_steps": 20, "max_steps": 20})
    assert np.isfinite(_predict(model, "TARGET001-P1")).all()
    assert ("locus_alignment_loss" in model.history_) is ("clip_weight" not in changes)


@pytest.mark.parametrize(
    ("changes", "weight"),
    [
        ({"pairing": "random"}, "bridge_net.end.weight"),
        ({"drop_locus": 0.0}, "locus_set.unknown"),
        ({"clip_weight": 0.0}, "reader.norm.weight"),
    ],
)
def test_every_switch_changes_what_is_learned(loci_screen, fit_strand, changes, weight):
    train = {"max_locus_steps": 20, "max_steps": 20, "validation": []}
    base = {"drop_locus": 0.5}
    with_it, without = (
        fit_strand(loci_screen, base | change, train=train).module.state_dict()[weight]
        for change in ({}, changes)
    )
    assert (with_it - without).abs().max() > 1e-4


def test_the_bridge_learns_of_hidden_loci_too(loci_screen, fit_strand):
    # Without a first stage only the bridge can tell whether loci were hidden.
    train = {"max_locus_steps": 0, "max_steps": 20, "validation": []}
    never, always = (
        fit_strand(loci_screen, {"drop_locus": share}, train=train).module.state_dict()
        for share in (0.0, 1.0)
    )
    assert torch.equal(never["reader.norm.weight"], always["reader.norm.weight"])
    change = never["bridge_net.end.weight"] - always["bridge_net.end.weight"]
    assert change.abs().max() > 1e-4


def test_a_table_needs_no_dna(loci_screen, fit_strand, table, tmp_path):
    model = fit_strand(loci_screen, encoder=table, fasta=None)
    reader = model.module.reader
    assert reader.mean.numpy() == pytest.approx(table.table.vectors.mean(0), abs=0.5)
    model.save(tmp_path / "model")
    again = STRAND.load(tmp_path / "model")
    wanted = {"perturbations": ["TARGET001-P1"], "n_cells": 3}
    np.testing.assert_array_equal(
        again.get_predicted_expression(**wanted), model.get_predicted_expression(**wanted)
    )
    with pytest.raises(ValueError, match="encoder of its loci was not saved"):
        again.predict(perturbations=["chr1:900"], fasta=loci_screen.fasta)


def test_a_reader_standardises_by_what_is_there():
    values = torch.tensor([[[1.0, 5.0], [9.0, 9.0]], [[3.0, 5.0], [5.0, 5.0]]])
    is_there = torch.tensor([[True, False], [True, True]])
    given = LocusInput(values, is_there, is_there)
    reader = TokenReader(2, ReaderSizes(dim=8, n_heads=2, dropout=0.1))
    reader.set_scale(given)
    torch.testing.assert_close(reader.mean, torch.tensor([3.0, 5.0]))
    torch.testing.assert_close(reader.std, torch.tensor([(8 / 3) ** 0.5, 1.0]))
    moved = reader.eval()(given._replace(values=values.masked_fill(values == 9.0, -7.0)))
    torch.testing.assert_close(moved, reader(given))


# --- encoder and bridge together ---------------------------------------------------------------


@pytest.mark.parametrize("changes", [{}, {"clip_weight": 0.0}])
def test_a_joint_bridge_trains_the_encoder_on(loci_screen, fit_strand, changes):
    train = {"max_locus_steps": 20, "max_steps": 20, "validation": []}
    apart, joint = (
        fit_strand(loci_screen, changes | {"use_joint": use_joint}, train=train)
        for use_joint in (False, True)
    )
    assert "bridge_effect_loss" not in apart.history_
    assert np.isfinite(joint.history_["bridge_effect_loss"].to_numpy(dtype=float)).all()
    weights, others = apart.module.state_dict(), joint.module.state_dict()
    for name in ("reader.norm.weight", "effect.weight", "bridge_net.end.weight"):
        assert (weights[name] - others[name]).abs().max() > 1e-4, name
    # Only the latent space is no part of it.
    assert torch.equal(weights["latent.components"], others["latent.components"])


def test_a_joint_bridge_alone_learns_effects(loci_screen, fit_strand):
    train = {"max_locus_steps": 0, "max_steps": 60, "validation": []}
    model = fit_strand(loci_screen, {"use_joint": True, "bridge_lr": 5e-3}, train=train)
    loss = model.history_["bridge_effect_loss"].to_numpy(dtype=float)
    assert loss[-1] < 0.9 * loss[0]
    assert np.abs(_predict(model, "TARGET001-P1")).max() > 1e-2


def test_a_joint_bridge_keeps_the_weights_of_the_best_means(loci_screen, fit_strand, monkeypatch):
    taken = []

    def score(judge, mover):
        module, vector = mover.func.__self__.module, mover.args[0]
        taken.append(({k: v.clone() for k, v in module.state_dict().items()}, vector))
        return -abs(len(taken) - 3.0)

    monkeypatch.setattr(Judge, "score_cells", score)
    train = {"max_locus_steps": 20}
    model = fit_strand(loci_screen, {"use_joint": True}, train=train)
    # Vectors of loci are read anew each time, as they are by then.
    assert not torch.equal(taken[1][1], taken[2][1])
    for name, weight in model.module.state_dict().items():
        assert torch.equal(weight, taken[2][0][name]), name
