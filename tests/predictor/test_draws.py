"""Replicates of cells, each with an effect that is drawn from what it may be."""

from types import SimpleNamespace

import anndata
import numpy as np
import pytest
import scanpy as sc
from anndata import AnnData
from scipy import sparse

from scbig.baselines import Additive, NoChange
from scbig.model import EffectRegression
from scbig.model._effect_regression import Shifted

WANTED = ["GENE0001", "GENE0002+GENE0003"]
N_GENES = 60
CELLS = {"GENE0001": 80, "GENE0002": 80, "GENE0003": 80, "GENE0001+GENE0002": 80}
CHANGED = {"GENE0001": range(10, 16), "GENE0002": range(16, 22), "GENE0003": range(20, 25)}


class GivenErrors:
    """Errors of one size; those of even genes, and of odd ones, are the same up to their sign."""

    def __init__(self, method, size: float = 0.1) -> None:
        self.method, self.size = method, size

    def predict(self, targets, context):
        mean = self.method.predict_effects(targets, context)
        error = np.full_like(mean, self.size)
        up = 1 / (1 + np.exp(-mean / error))
        return SimpleNamespace(
            mean=mean, standard_error=error, probability_up=up, probability_down=1 - up
        )

    def draw(self, targets, context, n_draws, rng):
        mean = self.method.predict_effects(targets, context)
        gene = np.arange(mean.shape[1])
        common = rng.standard_normal((n_draws, len(targets), 2))[:, :, gene % 2]
        return mean + self.size * common * get_sign(gene)


def get_sign(gene: np.ndarray) -> np.ndarray:
    """Rises and falls in turn, as the counts of a cell have one sum."""
    return np.where(gene // 2 % 2 == 0, 1.0, -1.0)


@pytest.fixture(scope="module")
def trained() -> EffectRegression:
    rng = np.random.default_rng(5)
    labels = np.repeat(["control", *CELLS], [200, *CELLS.values()])
    ratio = np.ones((len(labels), N_GENES))
    for target, genes in CHANGED.items():
        ratio[np.ix_([target in label.split("+") for label in labels], genes)] *= 0.5
    rate = rng.lognormal(0, 0.2, (len(labels), 1)) * rng.lognormal(0.5, 1.0, N_GENES) * ratio
    counts = rng.poisson(rng.gamma(3.0, rate / 3.0))
    adata = AnnData(sparse.csr_matrix(counts, dtype=np.float32))
    adata.obs["perturbation"] = labels
    adata.var_names = [f"GENE{i:04d}" for i in range(N_GENES)]
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    EffectRegression.setup_anndata(adata, separator="+")
    model = EffectRegression(adata, seed=0)
    model.train(validation=[])
    model._method._errors = GivenErrors(model._method)
    return model


def average_draws(out: AnnData, label: str) -> np.ndarray:
    """Mean of the cells of each draw, shape ``(n_draws, n_genes)``."""
    rows = (out.obs["perturbation"] == label).to_numpy()
    return out[rows].to_df().groupby(out.obs["draw"][rows].to_numpy()).mean().to_numpy()


def test_each_draw_has_as_many_cells_and_controls_are_there_once(trained: EffectRegression):
    out = trained.predict(perturbations=WANTED, n_cells=9, n_draws=3)
    counts = out.obs.groupby(["perturbation", "draw"], observed=True).size()
    assert counts.to_dict() == {
        ("control", -1): 9,
        **{(label, draw): 9 for label in WANTED for draw in range(3)},
    }
    assert out.obs["draw"].dtype == np.int32
    assert out.obs_names.is_unique
    once = trained.predict(perturbations=WANTED, n_cells=9)
    is_control = (out.obs["perturbation"] == "control").to_numpy()
    np.testing.assert_array_equal(out.X[is_control].toarray(), once.X[:9].toarray())
    assert "draw" not in once.obs
    assert out.uns["effect_regression"]["n_draws"] == 3
    assert "n_draws" not in once.uns["effect_regression"]


def test_draws_scatter_about_the_effect_by_their_standard_error(trained: EffectRegression):
    label, n_draws = WANTED[1], 30
    table = trained.predict_effects([label])
    means = average_draws(
        trained.predict(perturbations=[label], n_cells=200, n_draws=n_draws), label
    )
    # Genes that are far from silent, which no draw takes below zero.
    is_free = table.layers["expected"][0] > 0.5
    assert is_free.sum() > 20
    expected, error = table.layers["expected"][0], table.layers["standard_error"][0]
    bias = (means.mean(axis=0) - expected)[is_free] / error[is_free]
    assert np.abs(bias).max() < 4 / np.sqrt(n_draws)
    spread = means.std(axis=0, ddof=1)[is_free] / error[is_free]
    assert 0.7 < np.median(spread) < 1.35
    gene = np.flatnonzero(is_free)
    likeness = np.corrcoef((means[:, gene] * get_sign(gene)).T)
    is_same = (gene % 2)[:, None] == gene % 2
    assert likeness[is_same].mean() > 0.8
    assert abs(likeness[~is_same].mean()) < 0.5


def test_calibrated_errors_are_drawn_as_they_are_told(trained: EffectRegression):
    adata = trained.adata.copy()
    EffectRegression.setup_anndata(adata, separator="+")
    model = EffectRegression(adata, seed=0)
    model.train(validation=[])
    table = model.predict_effects(WANTED)
    targets = [("GENE0001",), ("GENE0002", "GENE0003")]
    rng, context = np.random.default_rng(0), np.zeros(2, dtype=int)
    drawn = model._method.draw_effects(targets, context, 2000, rng)
    error = table.layers["standard_error"]
    np.testing.assert_allclose(drawn.std(axis=0), error, rtol=0.1)
    np.testing.assert_allclose(drawn.mean(axis=0), table.X, atol=0.1 * error.max())
    out = model.predict(perturbations=WANTED, n_cells=100, n_draws=20)
    for row, label in enumerate(WANTED):
        is_free = table.layers["expected"][row] > 0.5
        spread = average_draws(out, label).std(axis=0, ddof=1)[is_free] / error[row][is_free]
        assert 0.7 < np.median(spread) < 1.4


def test_one_draw_is_not_the_mean(trained: EffectRegression):
    drawn = trained.predict(perturbations=WANTED[:1], n_cells=400, n_draws=1)
    mean = trained.predict(perturbations=WANTED[:1], n_cells=400)
    rows = (mean.obs["perturbation"] == WANTED[0]).to_numpy()
    difference = average_draws(drawn, WANTED[0])[0] - mean[rows].X.toarray().mean(axis=0)
    gene = np.arange(len(difference))
    drawn_error = difference[::2] * get_sign(gene)[::2]
    assert np.abs(drawn_error.mean()) > 2 * drawn_error.std() / np.sqrt(len(drawn_error))
    assert np.abs(difference).mean() > 0.02


def test_the_seed_and_the_condition_alone_choose_the_draws(trained: EffectRegression):
    def predict(wanted: list[str], seed: int = 1) -> np.ndarray:
        out = trained.predict(perturbations=wanted, n_cells=20, n_draws=2, seed=seed)
        rows = (out.obs["perturbation"] == WANTED[1]).to_numpy()
        return out.layers["effect_regression_counts"][rows].toarray()

    first = predict(WANTED)
    np.testing.assert_array_equal(predict(WANTED), first)
    np.testing.assert_array_equal(predict(WANTED[1:]), first)
    assert (predict(WANTED, seed=2) != first).mean() > 0.1
    assert (first[:20] != first[20:]).mean() > 0.1


def test_the_table_has_the_errors(trained: EffectRegression):
    table = trained.predict_effects(WANTED)
    given = trained._method._errors.predict(
        [("GENE0001",), ("GENE0002", "GENE0003")], np.zeros(2, dtype=int)
    )
    for name in ("standard_error", "probability_up", "probability_down"):
        np.testing.assert_allclose(table.layers[name], getattr(given, name), rtol=1e-6)
        assert table.layers[name].dtype == np.float32


def test_networks_move_the_mean_and_errors_are_drawn_about_it(
    trained: EffectRegression, monkeypatch: pytest.MonkeyPatch
):
    lift = np.zeros(trained.controls.n_vars, dtype=np.float32)
    lift[:3] = -0.5

    class Lift:
        """Lowers three genes, whatever is asked for."""

        def __call__(self, x, rows):
            return np.repeat(x[None] + lift, len(rows), axis=0)

    monkeypatch.setattr(trained, "_uses_networks", True)
    monkeypatch.setattr(trained._method, "make_mover", lambda *_: Lift())
    table = trained.predict_effects(WANTED)
    np.testing.assert_allclose(table.X, np.tile(lift, (2, 1)), atol=1e-5)
    out = trained.predict(perturbations=WANTED[:1], n_cells=200, n_draws=20)
    means = average_draws(out, WANTED[0]).mean(axis=0)
    is_free = table.layers["expected"][0] > 1
    gap = (means - table.layers["expected"][0])[is_free]
    assert np.abs(gap).max() < 0.4 / np.sqrt(20) + 0.03


def test_a_test_across_draws_runs_in_scanpy_and_is_written(trained: EffectRegression, tmp_path):
    out = trained.predict(perturbations=WANTED[:1], n_cells=20, n_draws=5)
    bulk = sc.get.aggregate(out, by=["perturbation", "draw"], func="mean")
    assert bulk.n_obs == 1 + 5
    out.write_h5ad(tmp_path / "out.h5ad")
    read = anndata.read_h5ad(tmp_path / "out.h5ad")
    assert read.obs["draw"].tolist() == out.obs["draw"].tolist()


def test_what_cannot_be_drawn_is_an_error(trained: EffectRegression):
    screen = trained.adata
    with pytest.raises(ValueError, match=r"n_draws=3 would be ignored: .*of perturbations=\["):
        trained.predict(screen.copy(), n_draws=3)
    for wrong in (0, -1, 2.5, True):
        with pytest.raises(ValueError, match=r"n_draws=.*whole number from 1"):
            trained.predict(perturbations=WANTED, n_draws=wrong)
    for many in (10**9, np.int32(10**5)):
        with pytest.raises(ValueError, match=r"draws of 200 cells.*smaller n_draws"):
            trained.predict(perturbations=WANTED, n_cells=100, n_draws=many)
    with pytest.raises(
        ValueError, match=r"sampling=False makes none\. Leave one of the two.*effects"
    ):
        trained.predict(perturbations=WANTED, n_draws=2, sampling=False)
    for cls, message in (
        (Additive, "Additive knows no errors"),
        (Shifted, r"Shifted makes none\. Leave n_draws out; Shifted\.predict_effects"),
        (NoChange, r"NoChange makes none\. Leave n_draws out; NoChange\.predict_effects"),
    ):
        adata = screen.copy()
        cls.setup_anndata(adata, separator="+")
        model = cls(adata, seed=0)
        model.train(validation=[])
        with pytest.raises(ValueError, match=message):
            model.predict(perturbations=["GENE0001"], n_draws=2)


def test_few_cells_a_draw_are_warned_of(trained: EffectRegression, caplog):
    trained.predict(perturbations=WANTED, n_cells=100, n_draws=2)
    trained.predict(perturbations=WANTED, n_draws=2)  # all 200 control cells
    trained.predict(perturbations=WANTED, n_cells=20)
    assert "cells a draw are few" not in caplog.text
    trained.predict(perturbations=WANTED, n_cells=99, n_draws=2)
    assert "99 cells a draw are few" in caplog.text
    assert "at least n_cells=100" in caplog.text


def test_a_column_of_that_name_is_not_overwritten(trained: EffectRegression):
    adata = trained.adata.copy()
    adata.obs["draw"] = "a"
    EffectRegression.setup_anndata(adata, separator="+", context_keys="draw")
    model = EffectRegression(adata, seed=0)
    model.train(validation=[])
    model._method._errors = GivenErrors(model._method)
    with pytest.raises(ValueError, match=r"obs\['draw'\].*Rename"):
        model.predict(perturbations=["GENE0001"], n_draws=2)
