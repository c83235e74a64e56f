from functools import partial

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr
from torch import nn

from scbig.data import _controls, make_screen
from scbig.model import STRAND, CellLatent, STRANDConfig
from scbig.model.strand._method import HeldOutConfidence
from scbig.predictor import EffectMover


def _choose(model: STRAND) -> list:
    method, screen = model._method, make_screen(model.adata.obs, model._vocabulary.schema)
    conditions = [targets for targets in screen.conditions if targets]
    return method.choose_validation(conditions, np.random.default_rng(0))


def test_held_out_loci_are_whole_genes(strand):
    held = _choose(strand)
    gene = {x.id: x.gene for x in strand._method.table.loci}
    genes = {gene[t] for (t,) in held}
    assert len(genes) == 4
    assert {t for (t,) in held} == {id for id in gene if gene[id] in genes}


def test_both_stages_learn(strand):
    history = strand.history_
    first, last = history["locus_train_loss"].iloc[[0, -1], 0]
    assert last < first
    first, last = history["bridge_train_loss"].iloc[[0, -1], 0]
    assert last < first
    assert history["bridge_validation_score"].notna().all(axis=None)
    assert strand.comparison_.n_conditions == len(_choose(strand))


def test_a_bridge_that_is_no_gain_is_left_out(loci_screen, fit_strand):
    model = fit_strand(loci_screen, {"use_gate": True, "bridge_steps": 1})
    assert "bridge_train_loss" in model.history_
    assert not model.uses_networks
    method, wanted = model._method, [("TARGET001-P1",)]
    effect = method.predict_effects(wanted, np.array([0]))
    out = model.predict(perturbations=["TARGET001-P1"], n_cells=5, sampling=False)
    out = out[out.obs["locus"] == "TARGET001-P1"]
    x = loci_screen.adata[out.obs["strand_source"]].X.toarray()
    mover = EffectMover(effect, model._effects.get_control(np.array([0])))
    np.testing.assert_array_equal(out.layers["strand"], mover(x, np.array([0]))[0])


def test_a_bridge_without_an_anchor_passes_no_gate(loci_screen, fit_strand):
    changes = {"use_gate": True, "use_anchor": False, "bridge_steps": 1}
    assert fit_strand(loci_screen, changes).uses_networks
    assert fit_strand(loci_screen, changes, train={"validation": []}).uses_networks


@pytest.mark.parametrize(
    ("transport", "max_steps", "is_trained"),
    [("bridge", None, False), ("bridge", 20, True), ("regression", 20, False)],
)
def test_an_unchecked_bridge_is_trained_only_if_asked_for(
    loci_screen, fit_strand, transport, max_steps, is_trained
):
    train = {"max_locus_steps": 20, "max_steps": max_steps, "validation": []}
    model = fit_strand(loci_screen, {"transport": transport}, train=train)
    assert ("bridge_train_loss" in model.history_) is is_trained
    assert model.uses_networks is is_trained


def test_a_bridge_that_predicts_follows_the_loci(loci_screen, fit_strand):
    quick = {"max_locus_steps": 20, "validation": [], "accelerator": "cpu"}
    model = fit_strand(loci_screen, train=quick | {"max_steps": 20})
    model.train(**quick, use_progress_bar=False)
    # 20 steps that were asked for, and the 40 of the settings.
    assert len(model.history_["bridge_train_loss"]) == 40
    assert model.uses_networks


def test_conditions_are_carried_together_as_alone(loci_screen, fit_strand):
    model = fit_strand(loci_screen, {"use_noise": False}, train={"max_locus_steps": 20})
    targets, context = [("TARGET001-P1",), ("TARGET002",)], np.array([0, 0])
    control = model._effects.get_control(context)
    mover = model._method.make_mover(targets, context, control)
    x = loci_screen.adata.X[:7].toarray()
    both = mover(x, np.array([1, 0]))
    assert both.shape == (2, 7, 40)
    assert np.abs(both[0] - both[1]).max() > 1e-3
    for row, predicted in zip([1, 0], both, strict=True):
        np.testing.assert_allclose(predicted, mover(x, np.array([row]))[0], atol=1e-5)


def test_named_conditions_are_held_out_and_unknown_ones_refused(loci_screen, fit_strand):
    quick = {"max_locus_steps": 20, "max_steps": 0}
    model = fit_strand(loci_screen, train=quick | {"validation": ["TARGET001-P1"]})
    # What was taken, not what the settings would have allowed.
    assert model.predict(perturbations=["TARGET001-P1"]).uns["strand"]["steps"] == 20
    assert model.comparison_.n_conditions == 1
    assert model.predict(perturbations=["TARGET001-P1"], n_cells=3).n_obs == 6
    with pytest.raises(ValueError, match="1 validation condition"):
        model.train(validation=["TARGET001-P1+TARGET002-P1"], accelerator="cpu")


def test_without_held_out_loci_confidence_is_not_known(loci_screen, fit_strand, caplog):
    quick = {"max_locus_steps": 20, "max_steps": 20, "validation": []}
    with caplog.at_level("WARNING"):
        model = fit_strand(loci_screen, train=quick)
    assert "0 conditions are held out, and 8 are needed to calibrate confidence" in caplog.text
    assert model.comparison_ is None
    assert model.get_confidence(["TARGET001-P1"]).isna().all()
    out = model.predict(perturbations=["TARGET001-P1"])
    is_control = out.obs["locus"] == "control"
    assert (out.obs["strand_confidence"].isna() == ~is_control).all()


def test_training_is_the_same_with_the_same_seed(loci_screen, fit_strand):
    quick = {"max_locus_steps": 20, "max_steps": 20}
    one, two = (fit_strand(loci_screen, train=quick, seed=3) for _ in range(2))
    for name, weight in one.module.state_dict().items():
        assert torch.equal(weight, two.module.state_dict()[name]), name


def test_training_goes_on_with_a_new_context(loci_screen, fit_strand, tmp_path):
    adata = loci_screen.adata
    adata.obs["line"] = "first"
    model = fit_strand(loci_screen, setup={"context_keys": ["line"]})
    model.save(tmp_path / "model")
    adata.obs["line"] = "second"
    again = STRAND.load(tmp_path / "model", adata)
    again.train(max_locus_steps=20, max_steps=20, accelerator="cpu", use_progress_bar=False)
    assert again._vocabulary.contexts == ("first", "second")
    out = again.predict(perturbations=["TARGET001-P1"], n_cells=3)
    assert out.obs["line"].value_counts().to_dict() == {"first": 6, "second": 6}
    means = again._effects.control_mean
    np.testing.assert_allclose(means[0], means[1], atol=1e-5)


def test_continued_training_that_fails_loses_nothing(loci_screen, fit_strand, monkeypatch):
    model = fit_strand(loci_screen)
    wanted = {"perturbations": ["TARGET001-P1", "TARGET002-P1"], "n_cells": 5, "seed": 0}
    before = model.get_predicted_expression(**wanted)
    loci_screen.adata.X = loci_screen.adata.X * 1.5
    del loci_screen.adata.layers["counts"]  # they are not those of X any more
    again = {"max_locus_steps": 20, "max_steps": 20, "accelerator": "cpu"}
    with monkeypatch.context() as patch:
        patch.setattr(type(model._method), "calibrate", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            model.train(**again, use_progress_bar=False)
    np.testing.assert_array_equal(model.get_predicted_expression(**wanted), before)
    model.train(**again, use_progress_bar=False)
    assert np.abs(model.get_predicted_expression(**wanted) - before).max() > 0


def test_a_new_context_has_its_own_controls_and_its_own_change(loci_screen, fit_strand, tmp_path):
    adata = loci_screen.adata
    adata.obs["line"] = "first"
    model = fit_strand(loci_screen, setup={"context_keys": ["line"]})
    components = model.module.latent.components.clone()
    model.save(tmp_path / "model")
    adata.obs["line"] = "second"
    adata.X = adata.X * 1.5
    del adata.layers["counts"]  # they are not those of X any more
    again = STRAND.load(tmp_path / "model", adata)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    again.train(accelerator="cpu", use_progress_bar=False)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(again.module.latent.components, components)
    means = again._effects.control_mean
    np.testing.assert_allclose(means[1], 1.5 * means[0], rtol=1e-4)
    assert again.module.context.weight.shape == (2, 32)
    assert again.module.context.weight[1].abs().max() > 0
    controls = again._vocabulary.controls
    assert controls.obs["line"].value_counts().nunique() == 1
    again.save(tmp_path / "more")
    wanted = [("TARGET001-P1",)] * 3, np.array([0, 1, 9])
    known = again._method.predict_effects(*wanted)
    assert np.abs(np.diff(known, axis=0)).max(axis=1).min() > 1e-4
    loaded = STRAND.load(tmp_path / "more")
    np.testing.assert_array_equal(loaded._method.predict_effects(*wanted), known)


def test_the_controls_that_travel_are_drawn_with_the_seed(loci_screen, monkeypatch):
    monkeypatch.setattr(_controls, "thin", partial(_controls.thin, n_kept=20))
    STRAND.setup_anndata(loci_screen.adata)
    given = {"loci": loci_screen.loci, "fasta": loci_screen.fasta}
    one, again, other = (
        STRAND(loci_screen.adata, seed=seed, **given)._vocabulary.controls.obs_names.tolist()
        for seed in (1, 1, 2)
    )
    assert len(one) == 20
    assert one == again
    assert one != other


def test_a_confidence_is_a_line_through_the_scores(rng):
    size = np.exp(rng.uniform(-3, 0, 200))
    predicted = size[:, None] * np.sign(rng.normal(size=(200, 10)))
    scores = np.clip(0.6 + 0.2 * np.log(size), 0, 1)
    confidence = HeldOutConfidence.fit(predicted, scores)
    assert pearsonr(confidence.predict(predicted), scores)[0] > 0.999
    np.testing.assert_allclose(confidence.predict(predicted), scores, atol=0.01)
    # Beyond the calibrated sizes it stays where it was.
    np.testing.assert_allclose(
        confidence.predict(np.full((1, 10), 50.0)), confidence.predict(predicted).max()
    )
    assert HeldOutConfidence.fit(predicted[:7], scores[:7]) is None


class _Half(CellLatent):
    """Keeps the first half of the genes."""

    def __init__(self, n_genes: int) -> None:
        super().__init__(n_genes // 2)
        self.pad = nn.ZeroPad1d((0, n_genes - self.n_latent))

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return x[..., : self.n_latent]

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        return self.pad(z)


def test_a_latent_space_can_be_given(loci_screen, fit_strand, tmp_path):
    model = fit_strand(loci_screen, latent=_Half(40), train={"max_steps": 20})
    np.testing.assert_array_equal(
        model.get_latent_representation(), loci_screen.adata.X.toarray()[:, :20]
    )
    wanted = {"perturbations": ["TARGET001-P1"], "n_cells": 3}
    expected = model.predict(**wanted, sampling=False)
    sources = loci_screen.adata[expected.obs["strand_source"]].X.toarray()
    np.testing.assert_array_equal(expected.layers["strand"][:, 20:], sources[:, 20:])
    cells = model.get_predicted_expression(**wanted)
    model.save(tmp_path / "model")
    with pytest.raises(ValueError, match=r"of its own, _Half"):
        STRAND.load(tmp_path / "model")
    again = STRAND.load(tmp_path / "model", latent=_Half(40))
    found = again.get_predicted_expression(**wanted, sampling=False)
    np.testing.assert_array_equal(found, expected.layers["strand"])
    np.testing.assert_array_equal(again.get_predicted_expression(**wanted), cells)


def test_what_is_no_latent_space_is_refused(loci_screen):
    STRAND.setup_anndata(loci_screen.adata)
    with pytest.raises(ValueError, match=r"latent=.*type Linear.*CellLatent"):
        STRAND(
            loci_screen.adata, loci=loci_screen.loci, fasta=loci_screen.fasta,
            latent=nn.Linear(2, 2),
        )  # fmt: skip


@pytest.mark.parametrize("name", ["sequence", "target", "transport", "pairing"])
def test_unknown_choices_are_answered_with_the_known(name):
    with pytest.raises(ValueError, match=f"{name}='other' is unknown. Choose one of"):
        STRANDConfig(**{name: "other"})


def test_an_unknown_preset_is_answered_with_the_known(loci_screen):
    STRAND.setup_anndata(loci_screen.adata)
    with pytest.raises(ValueError, match=r"preset='paper' is unknown.*\['default'\]"):
        STRAND(loci_screen.adata, loci=loci_screen.loci, preset="paper")
