"""The judge of shapes: cells are set apart for it, and networks are used where it sees a gain."""

from dataclasses import replace

import numpy as np
import pytest
from anndata import AnnData
from scipy import sparse

from scbig.metrics import energy_centred
from scbig.predictor import BasePredictor, Method
from scbig.predictor._shape import ShapeComparison, set_apart

N_HELD_OUT = 3


class Shaper(Method):
    """Expects the mean training effect; its networks tell shapes with some factor."""

    module = None
    n_steps = 5

    def __init__(self, factor: float | None = 1.0) -> None:
        self.factor = factor
        self.shown: list = []

    def fit(self, task):
        self.trained = task.trained

    def fit_networks(self, task, n_steps):
        self.shown.append(task)

    def predict_effects(self, targets, context):
        known = dict(zip(self.trained.targets, self.trained.delta, strict=True))
        mean = self.trained.delta.mean(axis=0)
        return np.stack([known.get(group, mean) for group in targets])

    def make_shaper(self, targets, context):
        return None if self.factor is None else self._tell

    def _tell(self, x, rows):
        """Cells above the median of the first gene rise in the last ten, others fall."""
        sign = np.where(x[:, 0] > np.median(x[:, 0]), 1.0, -1.0)
        deviation = np.zeros((len(rows), *x.shape))
        deviation[:, :, -10:] = 0.8 * self.factor * sign[None, :, None]
        return deviation - deviation.mean(axis=1, keepdims=True)

    def to_plain(self):
        return {"factor": self.factor}, {}


class Shaped(BasePredictor):
    default_key = "shaped"

    def __init__(self, adata: AnnData, method: Method, *, seed: int | None = None) -> None:
        super().__init__(adata, missing_embedding="mean", seed=seed)
        vocabulary, _ = self.read_screen()
        self.start(vocabulary, method, locals())

    @classmethod
    def load_method(cls, vocabulary, effects, values, arrays):
        return Shaper(values["factor"])


@pytest.fixture(scope="module")
def screen() -> AnnData:
    """Perturbed cells are of two kinds, told by their first gene, and controls of one."""
    rng = np.random.default_rng(0)
    labels = np.repeat(["control", *(f"T{i}" for i in range(9))], 150)
    level = np.full((len(labels), 40), 3.0)
    level[:, 0] = np.where(rng.random(len(labels)) < 0.5, 1.0, 9.0)
    is_up = (level[:, 0] > 5) & (labels != "control")
    is_down = (level[:, 0] < 5) & (labels != "control")
    level[is_up, -10:] *= 2.2
    level[is_down, -10:] /= 2.2
    for i in range(9):
        level[labels == f"T{i}", 5 + i] *= 2.5
    counts = sparse.csr_matrix(rng.poisson(level))
    depth = np.asarray(counts.sum(axis=1))
    adata = AnnData(
        sparse.csr_matrix(counts.multiply(120 / depth)).log1p().astype(np.float32),
        layers={"counts": counts},
    )
    adata.obs["perturbation"] = labels
    return adata


def train(screen: AnnData, method: Shaper, **kwargs) -> Shaped:
    Shaped.setup_anndata(screen)
    model = Shaped(screen, method, seed=3)
    model.train(validation=[f"T{i}" for i in range(N_HELD_OUT)], **kwargs)
    return model


@pytest.mark.parametrize(("factor", "is_used"), [(1.0, True), (0.0, False), (-1.0, False)])
def test_a_shape_is_used_where_it_is_that_of_real_cells(screen, factor, is_used, caplog):
    with caplog.at_level("INFO", logger="scbig"):
        model = train(screen.copy(), Shaper(factor))
    assert model.uses_shape is is_used
    assert not model.uses_networks  # means are those of the regression
    wording = "networks make cells with it" if is_used else "gain nothing there beyond chance"
    assert wording in caplog.text
    assert f"on held-out conditions ({N_HELD_OUT}) centred energy" in caplog.text


def test_predicted_cells_have_the_shape_and_the_mean(screen, tmp_path):
    model = train(screen.copy(), Shaper())
    model.save(tmp_path / "model")
    loaded = Shaped.load(tmp_path / "model")
    assert loaded.uses_shape
    loaded._method.trained = model._method.trained
    real = screen[screen.obs["perturbation"] == "T4"].X.toarray()
    found = {}
    for name, one in {"shaped": model, "loaded": loaded, "plain": model}.items():
        one._uses_shape = name != "plain"
        out = one.predict(perturbations=["T4"], n_cells=150)
        found[name] = out[out.obs["perturbation"] == "T4"].layers["shaped"].toarray()
    np.testing.assert_array_equal(found["shaped"], found["loaded"])
    np.testing.assert_allclose(found["shaped"].mean(axis=0), found["plain"].mean(axis=0), atol=0.1)
    energy = {name: energy_centred(real, cells) for name, cells in found.items()}
    assert energy["shaped"] < energy["plain"] - 0.02


def test_without_the_gate_a_shape_is_used_whatever_it_is(screen, caplog):
    method = Shaper(-1.0)
    method.use_gate = False
    with caplog.at_level("INFO", logger="scbig"):
        assert train(screen.copy(), method).uses_shape
    assert "Shape of cells" not in caplog.text


def test_networks_that_tell_no_shape_are_not_asked(screen):
    assert not train(screen.copy(), Shaper(None)).uses_shape


def test_cells_of_the_judge_are_shown_to_no_network(screen):
    method = Shaper()
    train(screen.copy(), method)
    (task,) = method.shown
    shown = np.concatenate([rows for *_, rows in task.groups])
    judged = np.concatenate([rows for *_, rows in task.shape.groups])
    assert not set(shown) & set(judged)
    # A third of the cells of six training conditions, and the held-out ones.
    assert [len(rows) for *_, rows in task.groups] == [100] * 6
    assert [len(rows) for *_, rows in task.shape.groups] == [50] * 6 + [150] * 3
    assert task.shape.n_trained == 6
    names = {targets[0] for targets in task.shape.targets[-N_HELD_OUT:]}
    assert names == {f"T{i}" for i in range(N_HELD_OUT)}


def test_effects_stay_those_of_all_cells(screen):
    method = Shaper()
    train(screen.copy(), method, use_refit=False)
    (task,) = method.shown
    x, label = screen.X.toarray(), screen.obs["perturbation"].to_numpy()
    for (target,), delta in zip(task.measured.targets, task.measured.delta, strict=True):
        expected = x[label == target].mean(axis=0) - x[label == "control"].mean(axis=0)
        np.testing.assert_allclose(delta, expected, atol=1e-4)


def test_groups_with_few_cells_have_no_shape(screen):
    method = Shaper()
    kept = np.arange(screen.n_obs) % 10 == 0  # 15 cells of each condition
    kept |= (screen.obs["perturbation"] == "control").to_numpy()
    model = train(screen[kept].copy(), method)
    (task,) = method.shown
    assert task.shape is None
    assert not model.uses_shape


def test_scores_are_those_of_the_metric_on_components(screen):
    """Without a change of shape the score is that of the control cells themselves."""
    method = Shaper(0.0)
    train(screen.copy(), method)
    judge = method.shown[0].shape
    controls = judge._controls[0]
    x = controls[:: max(len(controls) // 100, 1)][:100]
    points = [judge._projection._pca.transform(part[:, judge._projection._genes]) for part in [x]]
    expected = np.mean([energy_centred(real, points[0]) for real in judge._points])
    assert judge.score(method._tell) == pytest.approx(-expected, abs=1e-6)


def test_a_gain_needs_to_be_sure_and_everywhere():
    before = np.column_stack([np.linspace(0.1, 0.2, 10), np.full(10, 0.3)])
    better = before - [0.02, 0.01] - np.linspace(0, 0.001, 10)[:, None]
    assert ShapeComparison(before, better, 6).is_gain
    on_axis = better.copy()
    on_axis[7:, 1] = 0.5
    held_out = better.copy()
    held_out[7:, 0] += 0.05
    noisy = before + np.tile([[0.05, 0], [-0.0501, 0]], (5, 1))
    for worse in (before, on_axis, held_out, noisy):
        assert not ShapeComparison(before, worse, 6).is_gain
    without_axis = better.copy()
    without_axis[:, 1] = np.nan
    assert ShapeComparison(before, without_axis, 6).is_gain
    assert not ShapeComparison(before[:1], better[:1], 1).is_gain


def test_setting_cells_apart_leaves_the_task_alone(screen):
    method = Shaper()
    train(screen.copy(), method)
    task = replace(method.shown[0], shape=None)
    groups = [rows.copy() for *_, rows in task.groups]
    again, judge = set_apart(task)
    for before, (*_, rows) in zip(groups, task.groups, strict=True):
        np.testing.assert_array_equal(before, rows)
    assert again.shape is judge
