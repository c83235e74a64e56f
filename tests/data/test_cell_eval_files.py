"""What the judges of the field read: whole counts, their labels, the real controls."""

import logging
import re
import shlex
import subprocess
import sys
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from scbig.data import (
    ScreenSchema,
    infer_schema,
    make_judged,
    make_judged_real,
    to_cell_eval,
)
from scbig.data._count_units import find_count_units, get_counts, round_to_counts

SCHEMA = ScreenSchema("perturbation", "ctrl", "+")
GENES = ["g0", "g1", "g2", "g3"]


def make_cells(counts: np.ndarray, labels: list[str], *, target_sum: float = 1e4) -> AnnData:
    """Normalised cells in float32, as scanpy makes them, with the counts in `obsm`."""
    counts = np.asarray(counts, dtype=float)
    x = np.log1p(counts / counts.sum(axis=1, keepdims=True) * target_sum).astype(np.float32)
    obs = pd.DataFrame({"perturbation": labels}, index=[f"c{i}" for i in range(len(labels))])
    names = [f"g{i}" for i in range(counts.shape[1])]
    return AnnData(sparse.csr_matrix(x), obs=obs, var=pd.DataFrame(index=names))


def read(path: Path) -> AnnData:
    return ad.read_h5ad(path)


@pytest.mark.parametrize("target_sum", [1e4, 1e6, 137.0])
def test_counts_are_found_again(target_sum: float):
    rng = np.random.default_rng(0)
    counts = rng.poisson(rng.gamma(0.3, 200, 60), (50, 60))
    counts[0] = np.where(counts[0] == 1, 0, counts[0])  # 2 and 3 are left as the smallest
    counts[1] = 0
    counts[1, :3] = [30_001, 20_000, 1]  # the precision of float32 is enough
    cells = make_cells(counts, ["A"] * 50, target_sum=target_sum)
    units = find_count_units(cells.X)
    np.testing.assert_allclose(units, target_sum / counts.sum(axis=1), rtol=1e-5)
    np.testing.assert_array_equal(round_to_counts(cells.X, units).toarray(), counts)
    some = find_count_units(cells.X[2:, :40])  # genes that were left out change no unit
    np.testing.assert_allclose(some, units[2:], rtol=1e-5)


def test_what_is_no_count_is_not_guessed():
    x = np.random.default_rng(0).gamma(2, 1, (5, 30)).astype(np.float32)
    x[4] = 0
    assert np.isnan(find_count_units(x)).all()


def test_rounding_by_hand(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """Depths 10 and 20 at a target sum of 100: a count is worth 10 and 5."""
    predicted = make_cells(
        [[1, 1, 1, 1]] * 2 + [[2, 1, 7, 0], [5, 1, 4, 10]],
        ["A", "A", "ctrl", "ctrl"],
        target_sum=100,
    )
    shown = np.array(
        [[24, 4.9, 75.1, 5.1], [24, 4.9, 75.1, 2.4], [20, 10, 70, 0], [25, 5, 20, 50]]
    )
    predicted.layers["p"] = np.log1p(shown).astype(np.float32)
    predicted.obs["p_source"] = ["ten", "twenty", "ten", "twenty"]
    with caplog.at_level(logging.INFO, "scbig"):
        files = to_cell_eval(predicted, path=tmp_path, layer="p", schema=SCHEMA)
    assert list(files) == ["predicted"]
    cells = read(files["predicted"])
    expected = [[2, 0, 8, 1], [5, 1, 15, 0], [2, 1, 7, 0], [5, 1, 4, 10]]
    np.testing.assert_array_equal(cells.X.toarray(), expected)
    assert cells.obs["target"].tolist() == ["A", "A", "non-targeting", "non-targeting"]
    assert "rounded at the depth of the source cell in 2" in caplog.text
    assert "rounded at the depth of the source cell in 2" in cells.uns["cell_eval"]["counts"]


def test_without_a_source_control_cells_lend_their_depths_in_turn(tmp_path: Path):
    real = make_cells(
        [[2, 1, 7, 0], [5, 1, 4, 10], [1, 1, 0, 0]], ["ctrl", "ctrl", "A"], target_sum=100
    )
    values = np.log1p(np.array([[24.0, 4.9, 75.1, 5.1]] * 3))
    predicted = AnnData(values, obs=pd.DataFrame({"perturbation": ["A"] * 3}, index=list("xyz")))
    predicted.var_names = GENES
    files = to_cell_eval(predicted, real, path=tmp_path, schema=SCHEMA)
    cells = read(files["predicted"])
    of_ten, of_twenty = [2, 0, 8, 1], [5, 1, 15, 1]
    np.testing.assert_array_equal(cells.X.toarray()[:3], [of_ten, of_twenty, of_ten])
    np.testing.assert_array_equal(cells.X.toarray()[3:], [[2, 1, 7, 0], [5, 1, 4, 10]])
    assert "control cells in turn in 3" in cells.uns["cell_eval"]["counts"]


@pytest.fixture
def screen() -> AnnData:
    rng = np.random.default_rng(0)
    counts = rng.poisson(rng.gamma(1, 20, 30), (80, 30))
    cells = make_cells(counts, ["ctrl", "g1+ctrl", "g2", "g2+g1"] * 20)
    cells.obs["line"] = ["x"] * 40 + ["y"] * 40
    cells.obsm["counts"] = counts
    return cells


def test_both_sides_come_back_as_they_went(screen: AnnData, tmp_path: Path):
    predicted = screen[screen.obs["perturbation"] != "ctrl", screen.var_names[::-1]].copy()
    predicted.layers["p"] = predicted.X.toarray() + 0.3
    predicted.layers["p_counts"] = sparse.csr_matrix(predicted.obsm["counts"][:, ::-1] + 1)
    schema = infer_schema(screen, context_keys=["line"], control="ctrl", separator="+")
    files = to_cell_eval(predicted, screen, path=tmp_path / "new", layer="p", schema=schema)
    made, real = read(files["predicted"]), read(files["real"])
    np.testing.assert_array_equal(real.X.toarray(), screen.obsm["counts"])
    assert real.var_names.tolist() == made.var_names.tolist() == screen.var_names.tolist()
    labels = {"ctrl": "non-targeting", "g1+ctrl": "g1", "g2": "g2", "g2+g1": "g1+g2"}
    assert real.obs["target"].tolist() == screen.obs["perturbation"].map(labels).tolist()
    assert real.obs["context"].tolist() == screen.obs["line"].tolist()
    is_control = (made.obs["target"] == "non-targeting").to_numpy()
    np.testing.assert_array_equal(made.X.toarray()[~is_control], predicted.obsm["counts"] + 1)
    of_real = screen.obsm["counts"][screen.obs["perturbation"] == "ctrl"]
    np.testing.assert_array_equal(made.X.toarray()[is_control], of_real)
    assert made.obs_names.is_unique
    assert made.uns["cell_eval"]["counts"] == "layers['p_counts']"
    with pytest.raises(FileExistsError, match="use_overwrite=True"):
        to_cell_eval(predicted, screen, path=tmp_path / "new", layer="p", schema=schema)


def test_measured_cells_as_a_prediction_keep_their_counts(screen: AnnData, tmp_path: Path):
    files = to_cell_eval(screen, screen, path=tmp_path, schema=SCHEMA)
    made, real = read(files["predicted"]), read(files["real"])
    for side in (made, real):
        order = np.argsort([int(name.removeprefix("c")) for name in side.obs_names])
        np.testing.assert_array_equal(side.X.toarray()[order], screen.obsm["counts"])


def test_what_one_side_lacks_is_left_out(screen: AnnData, tmp_path: Path, caplog):
    predicted = screen[screen.obs["perturbation"].isin(["g2", "ctrl"])].copy()
    schema = ScreenSchema("perturbation", "ctrl", "+", ("line",))
    only_x = predicted[predicted.obs["line"] == "x"].copy()
    with caplog.at_level(logging.INFO, "scbig"):
        files = to_cell_eval(only_x, screen, path=tmp_path, schema=schema)
    for path in files.values():
        cells = read(path)
        assert set(cells.obs["target"]) == {"g2", "non-targeting"}
        assert set(cells.obs["context"]) == {"x"}
    assert "g1 (x), g1+g2 (x), g1 (y)" in caplog.text


def test_counts_of_real_cells_come_from_where_they_are(screen: AnnData):
    counts = screen.obsm["counts"]
    for layers, x, source in (
        ({"counts": counts}, screen.X * 1.3, "layers['counts']"),
        ({}, sparse.csr_matrix(counts), "X"),
        ({}, screen.X, "recovered from X"),
    ):
        found, where = get_counts(AnnData(x, obs=screen.obs, layers=layers), None, "real")
        np.testing.assert_array_equal(found.toarray(), counts)
        assert where == source


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: s.obs.pop("perturbation"), r"predicted has no column"),
        (lambda s: s.layers.pop("p"), r"predicted has no layer 'p'. Layers found"),
        (lambda s: s.layers.update({"p_counts": s.X}), r"layers\['p_counts'\] holds values that"),
        (lambda s: s.layers.update({"p": s.layers["p"] - 1}), r"from -0.9.* to .*clip\(min=0\)"),
        (lambda s: s.obs.__setitem__("perturbation", ["g9"] * 80), r"Nothing that real has"),
        (
            lambda s: s.obs.__setitem__("perturbation", ["non-targeting"] * 80),
            r"is a perturbation",
        ),
        (lambda s: setattr(s, "var_names", [*s.var_names[1:], "new"]), r"lacks 1 of the 30 genes"),
    ],
)
def test_errors_name_what_was_found(screen: AnnData, tmp_path: Path, spoil, message: str):
    predicted = screen.copy()
    predicted.layers["p"] = predicted.X.toarray() + np.linspace(0, 0.7, 30).astype(np.float32)
    spoil(predicted)
    with pytest.raises(ValueError, match=message):
        to_cell_eval(predicted, screen, path=tmp_path, layer="p", schema=SCHEMA)
    assert not list(tmp_path.iterdir())


def put_counts(x: np.ndarray, screen: AnnData) -> np.ndarray:
    x[::2] = screen.obsm["counts"][::2]
    return x


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (put_counts, r"raw counts in 40 of 80 cells"),
        (lambda x, _: x + 15, r"reaches 2.*, as no log1p value does"),
        (lambda x, _: np.where(x > 5, np.nan, x), r"NaN and 0 infinite value\(s\) in "),
        (lambda x, _: np.where(x > 5, np.inf, x), r"0 NaN and \d+ infinite value\(s\) in "),
    ],
)
def test_what_evaluate_refuses_is_not_written(
    screen: AnnData, tmp_path: Path, spoil, message: str
):
    """The border is that of `scbig.metrics.evaluate`, for both sides."""
    predicted = screen.copy()
    predicted.layers["p"] = spoil(predicted.X.toarray() + 0.3, screen)
    with pytest.raises(ValueError, match=rf"predicted: .*{message}"):
        to_cell_eval(predicted, screen, path=tmp_path, layer="p", schema=SCHEMA)
    real = AnnData(predicted.layers["p"], obs=screen.obs, var=screen.var)
    with pytest.raises(ValueError, match=rf"real: .*{message}"):
        to_cell_eval(screen, real, path=tmp_path, schema=SCHEMA)
    assert not list(tmp_path.iterdir())


def test_controls_with_counts_beside_nonsense_lend_no_depth(screen: AnnData, tmp_path: Path):
    predicted = screen[screen.obs["perturbation"] != "ctrl"].copy()
    predicted.X = predicted.X.toarray() + 0.3
    real = AnnData(-screen.X, screen.obs, screen.var, layers={"counts": screen.obsm["counts"]})
    with pytest.raises(ValueError, match=r"real: Negative values"):
        to_cell_eval(predicted, real, path=tmp_path, schema=SCHEMA)
    predicted.layers["p"], predicted.layers["p_counts"] = predicted.X, predicted.obsm["counts"]
    files = to_cell_eval(predicted, real, path=tmp_path, layer="p", schema=SCHEMA)
    assert read(files["predicted"]).uns["cell_eval"]["counts"] == "layers['p_counts']"


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_sixteen_bits(screen: AnnData, tmp_path: Path):
    """Their sum overflows and scipy has no such matrices; each value is a value all the same."""
    n = 4000  # a sum of 80 x 4,000 values of about 3
    wide = np.tile(screen.X.toarray(), (1, n // 30 + 1))[:, :n]
    var = pd.DataFrame(index=[f"g{i}" for i in range(n)])
    shown = AnnData(wide.astype(np.float16), screen.obs, var)
    counts = np.tile(screen.obsm["counts"], (1, n // 30 + 1))[:, :n]
    real = AnnData(sparse.csr_matrix(wide), screen.obs, var, layers={"counts": counts})
    files = to_cell_eval(shown, real, path=tmp_path, schema=SCHEMA)
    made = read(files["predicted"])
    is_shown = (made.obs["target"] != "non-targeting").to_numpy()
    order = [int(name.removeprefix("c")) for name in made.obs_names[is_shown]]
    depth = made.X.toarray()[is_shown].sum(axis=1) / counts[order].sum(axis=1)
    assert 0.7 < depth.min() < depth.max() < 1.4  # depths of control cells, in turn
    narrow = AnnData(screen.X.toarray().astype(np.float16), screen.obs, screen.var)
    with pytest.raises(ValueError, match=r"80 of the 80 cells in real\.X are neither counts"):
        to_cell_eval(screen, narrow, path=tmp_path / "new", schema=SCHEMA)


def test_no_cells_are_said(screen: AnnData, tmp_path: Path):
    with pytest.raises(ValueError, match=r"predicted: X is of shape \(0, 30\)"):
        to_cell_eval(screen[:0].copy(), screen, path=tmp_path, schema=SCHEMA)
    with pytest.raises(ValueError, match=r"real: X is of shape \(0, 30\)"):
        to_cell_eval(screen, screen[:0].copy(), path=tmp_path, schema=SCHEMA)


def test_the_schema_is_recognised_or_says_what_is_missing(screen: AnnData, tmp_path: Path):
    perturbed = screen[screen.obs["perturbation"] != "ctrl"].copy()
    with pytest.raises(ValueError, match=r"predicted: No control cells.*or give real=\.\.\."):
        to_cell_eval(perturbed, path=tmp_path)
    with pytest.raises(ValueError, match=r"real: No control cells"):
        to_cell_eval(screen, perturbed, path=tmp_path)
    assert set(to_cell_eval(perturbed, screen, path=tmp_path)) == {"predicted", "real"}


def test_made_real_cells_are_not_made_again(screen: AnnData, monkeypatch: pytest.MonkeyPatch):
    predicted = screen.copy()
    predicted.X = predicted.X.toarray() + 0.3
    expected = make_judged(predicted, screen, SCHEMA, None)
    truth = make_judged_real(screen, SCHEMA)
    monkeypatch.delattr("scbig.data._cell_eval.get_counts")
    found = make_judged(predicted, screen, SCHEMA, None, truth)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours.X.toarray(), theirs.X.toarray())
        pd.testing.assert_frame_equal(ours.obs, theirs.obs)


def test_lost_counts_and_controls_are_errors(screen: AnnData, tmp_path: Path):
    spoilt = screen.copy()
    spoilt.X = spoilt.X * 1.01
    with pytest.raises(
        ValueError, match=r"80 of the 80 cells in real\.X .* real\.layers\['counts'\]"
    ):
        to_cell_eval(screen, spoilt, path=tmp_path, schema=SCHEMA)
    with pytest.raises(ValueError, match=r"have no counts, and no control cells"):
        to_cell_eval(spoilt, path=tmp_path, schema=SCHEMA)
    perturbed = screen[screen.obs["perturbation"] != "ctrl"].copy()
    with pytest.raises(ValueError, match=r"predicted has no control cells.*or give real"):
        to_cell_eval(perturbed, path=tmp_path, schema=SCHEMA)
    with pytest.raises(ValueError, match=r"real has no control cells"):
        to_cell_eval(screen, perturbed, path=tmp_path, schema=SCHEMA)


def test_cell_eval_reads_the_files(screen: AnnData, tmp_path: Path):
    """Means of log1p values by hand: both sides are normalised alike, to the median depth."""
    cell_eval = pytest.importorskip("cell_eval", reason="the extra 'eval' is not installed")
    files = to_cell_eval(screen, screen, path=tmp_path, schema=SCHEMA)
    evaluator = cell_eval.MetricsEvaluator(
        str(files["predicted"]), str(files["real"]), outdir=str(tmp_path / "out")
    )
    results, _ = evaluator.compute(profile="vcc", write_csv=False, break_on_error=True)
    table = results.to_pandas().set_index("perturbation")
    assert sorted(table.index) == ["g1", "g1+g2", "g2"]
    np.testing.assert_allclose(table["mae"], 0, atol=1e-6)
    np.testing.assert_allclose(table["discrimination_score_l1"], 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cell-eval", "cell-eval2"])
def test_the_documented_commands_run(screen: AnnData, tmp_path: Path, name: str):
    pytest.importorskip(name.replace("-", "_"), reason="the extras 'eval', 'vcc' are missing")
    page = Path(__file__).parents[2] / "docs" / "user_guide" / "evaluation.md"
    (line,) = re.findall(rf"^\$ ({name} run .*)$", page.read_text("utf-8"), flags=re.MULTILINE)
    to_cell_eval(screen, screen, path=tmp_path / "for_judges", schema=SCHEMA)
    command = [str(Path(sys.executable).with_name(name)), *shlex.split(line)[1:]]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / command[-1] / "results.csv")
    assert {"g1", "g2", "g1+g2"} <= set(table["perturbation"].astype(str))
