import numpy as np
import pytest
import torch
from scipy.stats import pearsonr
from torch import nn

from scbig.data import make_screen
from scbig.model import STRAND, CellLatent, STRANDConfig
from scbig.model.strand._confidence import Confidence
from scbig.model.strand._validation import choose_validation_loci


def test_held_out_loci_are_whole_genes(strand):
    blueprint = strand._blueprint
    conditions = [t for t in make_screen(strand.adata.obs, blueprint.schema).conditions if t]
    held = choose_validation_loci(blueprint, conditions, np.random.default_rng(0))
    gene = {x.id: x.gene for x in blueprint.places.loci}
    genes = {gene[t] for (t,) in held}
    assert len(genes) == 4
    assert {t for (t,) in held} == {id for id in gene if gene[id] in genes}


def test_both_stages_learn(strand):
    history = strand.history_
    first, last = history["locus_train_loss"].iloc[[0, -1], 0]
    assert last < first
    first, last = history["bridge_validation_score"].iloc[[0, -1], 0]
    assert last > first
    assert strand.comparison_.n_conditions == len(
        choose_validation_loci(
            strand._blueprint,
            [t for t in make_screen(strand.adata.obs, strand._schema).conditions if t],
            np.random.default_rng(0),
        )
    )


def test_named_conditions_are_held_out_and_unknown_ones_refused(loci_screen, fit_strand):
    quick = {"max_locus_steps": 20, "max_steps": 0}
    model = fit_strand(loci_screen, train=quick | {"validation": ["TARGET001-P1"]})
    # What was taken, not what the settings would have allowed.
    assert model.predict(perturbations=["TARGET001-P1"]).uns["strand"]["steps"] == 20
    assert model.comparison_.n_conditions == 1
    assert model.predict(perturbations=["TARGET001-P1"], n_cells=3).n_obs == 6
    with pytest.raises(ValueError, match="1 validation condition"):
        model.train(validation=["TARGET001-P1+TARGET002-P1"], accelerator="cpu")


def test_without_held_out_loci_there_is_no_confidence(loci_screen, fit_strand):
    quick = {"max_locus_steps": 20, "max_steps": 20, "validation": []}
    model = fit_strand(loci_screen, train=quick)
    assert model.comparison_ is None
    with pytest.raises(NotImplementedError):
        model.get_confidence(["TARGET001-P1"])
    assert "strand_confidence" not in model.predict(perturbations=["TARGET001-P1"]).obs


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
    assert again._contexts == ("first", "second")
    out = again.predict(perturbations=["TARGET001-P1"], n_cells=3)
    assert out.obs["line"].value_counts().to_dict() == {"first": 6, "second": 6}
    means = again._blueprint.control_mean
    np.testing.assert_allclose(means[0], means[1], atol=1e-5)


def test_a_confidence_is_a_line_through_the_scores(rng):
    size = np.exp(rng.uniform(-3, 0, 200))
    predicted = size[:, None] * np.sign(rng.normal(size=(200, 10)))
    scores = np.clip(0.6 + 0.2 * np.log(size), 0, 1)
    confidence = Confidence.fit(predicted, scores)
    assert pearsonr(confidence.predict(predicted), scores)[0] > 0.999
    np.testing.assert_allclose(confidence.predict(predicted), scores, atol=0.01)
    # Beyond the calibrated sizes it stays where it was.
    np.testing.assert_allclose(
        confidence.predict(np.full((1, 10), 50.0)), confidence.predict(predicted).max()
    )
    assert Confidence.fit(predicted[:7], scores[:7]) is None


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
    out = model.predict(perturbations=["TARGET001-P1"], n_cells=3)
    np.testing.assert_array_equal(out.layers["strand"][:, 20:], out.X.toarray()[:, 20:])
    model.save(tmp_path / "model")
    with pytest.raises(ValueError, match=r"of its own, _Half"):
        STRAND.load(tmp_path / "model")
    again = STRAND.load(tmp_path / "model", latent=_Half(40))
    found = again.get_predicted_expression(perturbations=["TARGET001-P1"], n_cells=3)
    np.testing.assert_array_equal(found, out.layers["strand"])


def test_what_is_no_latent_space_is_refused(loci_screen):
    STRAND.setup_anndata(loci_screen.adata)
    with pytest.raises(ValueError, match="class Linear"):
        STRAND(
            loci_screen.adata, loci=loci_screen.loci, fasta=loci_screen.fasta,
            latent=nn.Linear(2, 2),
        )  # fmt: skip


@pytest.mark.parametrize("name", ["sequence", "target", "transport", "pairing"])
def test_unknown_choices_are_answered_with_the_known(name):
    with pytest.raises(ValueError, match=f"{name}='other' is unknown. Choose one of"):
        STRANDConfig(**{name: "other"})
