"""What the bridge is for: the shape of cells, about means that stay the regression's."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from scbig.data import simulate_locus_screen
from scbig.model import STRAND, CellLatent
from scbig.predictor import Judge, ShapeJudge

HELD_OUT = ["TARGET001-P1", "TARGET001-P2"]
QUICK = {"validation": HELD_OUT, "max_locus_steps": 20}


@pytest.fixture(scope="module")
def _deep(tmp_path_factory):
    folder = tmp_path_factory.mktemp("deep")
    return simulate_locus_screen(folder, n_targets=3, n_genes=30, n_cells=1200, seed=2)


@pytest.fixture
def deep_screen(_deep, _simulated):
    """So few loci that each has cells enough to see their shape."""
    adata, loci, fasta = _deep
    return _simulated._replace(adata=adata.copy(), loci=loci, fasta=fasta)


class _Bent(CellLatent):
    """A decoder for which the mean of decoded latents is not the decoded mean."""

    def __init__(self, n_genes: int) -> None:
        super().__init__(6)
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(n_genes, 6, generator=generator) / 3)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        return torch.relu(z @ self.weight.T)


def _tell_shape(model, names, x):
    method = model._method
    shaper = method.make_shaper([(name,) for name in names], np.zeros(len(names), dtype=int))
    return shaper(x, np.arange(len(names)))


@pytest.fixture(scope="module")
def determined(_deep, _simulated, fit_strand):
    """A model without noise, that tests leave as it is."""
    adata, loci, fasta = _deep
    screen = _simulated._replace(adata=adata.copy(), loci=loci, fasta=fasta)
    return fit_strand(screen, {"use_noise": False}, train=QUICK)


def test_a_deviation_is_what_the_bridge_does_beyond_the_mean(determined, deep_screen):
    """In principal components, which are linear, against the walk of each cell by itself."""
    model, names = determined, ["TARGET002-P1", "TARGET003-P1"]
    module = model.module.eval()
    x = deep_screen.adata.X[:30].toarray()
    found = _tell_shape(model, names, x)
    unit, components = module.latent.unit, module.latent.components
    z = (torch.from_numpy(x) - module.latent.gene_mean) @ components.T / unit
    for name, deviation in zip(names, found, strict=True):
        vector = model._method.embed([(name,)], np.zeros(1, dtype=int))
        start = z + module.effect(vector)
        at, grid = start, module.bridge.schedule.get_grid(module.config.n_solver_steps)
        for before, after in pairwise(grid):
            time = torch.tensor(before / module.bridge.schedule.n_grid)
            table = module.bridge.schedule.from_target
            residual = module.bridge_net(time, at, z, vector.expand(len(z), -1))
            end = at - table[before].sqrt().float() * residual
            at = end + (table[after] / table[before]).float() * (at - end)
        moved = (at - start) * unit @ components
        expected = (moved - moved.mean(0)).detach().numpy()
        np.testing.assert_allclose(deviation, expected, atol=2e-5)
        assert np.abs(deviation).max() > 1e-3


@pytest.mark.parametrize("use_noise", [True, False])
def test_the_mean_is_pinned_whatever_decodes(deep_screen, fit_strand, use_noise):
    changes = {"use_noise": use_noise}
    model = fit_strand(deep_screen, changes, train=QUICK | {"max_steps": 20}, latent=_Bent(30))
    x = deep_screen.adata.X[:50].toarray()
    found = _tell_shape(model, ["TARGET002-P1"], x)
    np.testing.assert_allclose(found.mean(axis=1), 0, atol=1e-6)
    assert found.std(axis=1).max() > 1e-3
    # In latents too: what is decoded lies about the regression's mean.
    module = model.module.eval()
    vector = model._method.embed([("TARGET002-P1",)], np.zeros(1, dtype=int))
    with torch.no_grad():
        z, generator = module.latent.encode(torch.from_numpy(x)), torch.Generator().manual_seed(0)
        end, start = (part[0] for part in module._carry(z, vector, generator))
        change = module.latent.decode(end - end.mean(0) + start.mean(0))
        change = change - module.latent.decode(start)
    np.testing.assert_allclose(found[0], change - change.mean(0), atol=1e-5)


def test_a_bridge_without_an_anchor_tells_no_shape(deep_screen, fit_strand):
    changes = {"use_anchor": False}
    model = fit_strand(deep_screen, changes, train=QUICK | {"max_steps": 20})
    assert model._method.make_shaper([("TARGET002-P1",)], np.zeros(1, dtype=int)) is None
    assert not model.uses_shape
    score = model.history_["bridge_validation_score"].to_numpy(dtype=float)
    # It stops on means, a correlation.
    assert np.isfinite(score).all()
    assert np.abs(score).max() <= 1


@pytest.fixture
def snapshots(monkeypatch):
    """Weights of the bridge at each of its scores, which rise to the third and then fall."""
    taken = []

    def score(judge, shaper):
        network = shaper.func.__self__.module.bridge_net
        taken.append({k: v.detach().clone() for k, v in network.state_dict().items()})
        return -abs(len(taken) - 3.0)

    monkeypatch.setattr(ShapeJudge, "score", score)
    monkeypatch.setattr(Judge, "score_cells", lambda judge, mover: 1 / 0)
    return taken


def test_the_bridge_stops_on_shape_and_keeps_its_best_weights(deep_screen, fit_strand, snapshots):
    model = fit_strand(deep_screen, train=QUICK)
    scores = model.history_["bridge_validation_score"]["bridge_validation_score"]
    # One before training, and then after each epoch: six without a better one end it.
    assert scores.astype(float).tolist() == [-1.0, 0.0, *range(-1, -7, -1)]
    assert len(snapshots) == 9
    assert not torch.equal(snapshots[2]["end.weight"], snapshots[8]["end.weight"])
    for name, weight in model.module.bridge_net.state_dict().items():
        assert torch.equal(weight, snapshots[2][name]), name


def test_what_is_never_bettered_is_the_bridge_before_training(
    deep_screen, fit_strand, monkeypatch
):
    scores = iter(range(0, -100, -1))
    monkeypatch.setattr(ShapeJudge, "score", lambda judge, shaper: float(next(scores)))
    model = fit_strand(deep_screen, train=QUICK)
    # The network's last layer is zero until it is trained.
    assert not model.module.bridge_net.end.weight.any()


def test_means_and_shape_are_judged_apart(deep_screen, fit_strand, monkeypatch, caplog):
    monkeypatch.setattr(Judge, "is_gain", lambda judge, before, after: False)
    monkeypatch.setattr("scbig.predictor._shape.ShapeComparison.is_gain", True)
    with caplog.at_level("INFO", logger="scbig"):
        model = fit_strand(deep_screen, {"use_gate": True}, train=QUICK | {"max_steps": 20})
    assert (model.uses_networks, model.uses_shape) == (False, True)
    assert "left out, as that is no gain beyond chance" in caplog.text
    assert "on held-out conditions (2) centred energy" in caplog.text
    assert "networks make cells with it" in caplog.text


def test_cells_have_the_shape_of_the_bridge_and_the_mean_of_the_regression(
    determined, deep_screen, tmp_path
):
    assert determined.uses_shape  # without a gate whatever it is
    determined.save(tmp_path / "model")
    found = {}
    for name in ("shaped", "plain"):
        model = STRAND.load(tmp_path / "model")
        assert model.uses_shape
        model._uses_networks, model._uses_shape = False, name == "shaped"
        with torch.no_grad():
            model.module.bridge_net.end.weight.mul_(30)
        out = model.predict(perturbations=["TARGET002-P1"], n_cells=400, seed=0)
        found[name] = out[out.obs["locus"] == "TARGET002-P1"]
    shaped, plain = found.values()
    assert shaped.obs["strand_source"].tolist() == plain.obs["strand_source"].tolist()
    change = (shaped.X - plain.X).toarray()
    np.testing.assert_allclose(change.mean(axis=0), 0, atol=0.15)
    # Cell by cell it is what the bridge tells of the control cell that it was made of.
    sources = deep_screen.adata[shaped.obs["strand_source"]].X.toarray()
    told = _tell_shape(model, ["TARGET002-P1"], sources)[0]
    assert np.corrcoef(told.ravel(), change.ravel())[0, 1] > 0.3
