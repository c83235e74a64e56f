"""Contexts without control cells: an error that says what to write, or borrowed control cells."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from scbig.data import Expression, ScreenSchema, lend_controls, make_screen, read_lending
from scbig.model import EffectRegression

QUIET = {"validation": [], "use_progress_bar": False}
SCHEMA = ScreenSchema("perturbation", "control", "+", ("line", "day"))
GENES = ["A", "B", "C", *(f"G{i}" for i in range(17))]


def make_cells(places: dict[tuple[str, str], float], without: tuple = (), n: int = 12) -> AnnData:
    """Control cells and cells of A and B in each place, whose depth differs."""
    rng = np.random.default_rng(0)
    rows, parts = [], []
    for (line, day), shift in places.items():
        for label in ("control", "A", "B"):
            if label == "control" and (line, day) in without:
                continue
            rows += [(label, line, day)] * n
            mean = np.exp(np.linspace(0, 2, len(GENES)) + shift * np.sin(np.arange(len(GENES))))
            mean[GENES.index(label) if label in GENES else 0] *= 0.3
            parts.append(rng.poisson(mean * 5, (n, len(GENES))))
    counts = np.vstack(parts).astype(np.float32)
    x = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4)
    obs = pd.DataFrame(rows, columns=["perturbation", "line", "day"])
    obs.index = [f"cell{i}" for i in range(len(obs))]
    return AnnData(x, obs=obs.astype("category"), var=pd.DataFrame(index=GENES))


# The cells of y on day 2 are like those on day 1; those of x are others.
PLACES = {("x", "1"): 0.0, ("x", "2"): 0.2, ("y", "1"): 2.0, ("y", "2"): 2.1}
LACKING = (("y", "2"),)


@pytest.fixture
def cells() -> AnnData:
    return make_cells(PLACES, LACKING)


def set_up(adata: AnnData, keys=("line", "day"), **given: object) -> EffectRegression:
    EffectRegression.setup_anndata(adata, context_keys=list(keys), **given)
    model = EffectRegression(adata, missing_embedding="mean", seed=0)
    model.train(**QUIET)
    return model


def get_lenders(adata: AnnData, how: object) -> dict[str, tuple[str, ...]]:
    return dict(lend_controls(adata, SCHEMA, how, lambda: Expression(adata.X)).lenders)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("pooled", ("x | 1", "x | 2", "y | 1")),
        # x | 2 and y | 1 both agree in one key; the cells of y are alike.
        ("nearest", ("y | 1",)),
        ({"y | 2": "x | 1"}, ("x | 1",)),
        ({"y | 2": ["x | 1", "x | 2"], "elsewhere": "x | 1"}, ("x | 1", "x | 2")),
    ],
)
def test_who_lends(cells: AnnData, how: object, expected: tuple[str, ...]):
    assert get_lenders(cells, how) == {"y | 2": expected}


def test_nobody_lends_where_nothing_is_lacking(cells: AnnData):
    assert get_lenders(cells, None) == {}
    assert get_lenders(make_cells(PLACES), "nearest") == {}


def test_one_that_agrees_in_more_keys_is_nearer_than_one_that_looks_alike():
    # By expression z | 3 would be the nearest.
    adata = make_cells({("y", "2"): 2.0, ("z", "3"): 2.0, ("y", "4"): -1.0}, LACKING)
    assert get_lenders(adata, "nearest") == {"y | 2": ("y | 4",)}


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("closest", "borrow_controls='closest' does not say whose.*'nearest', 'pooled', or names"),
        (True, "borrow_controls=True does not say"),
        ({"y | 2": []}, "does not say"),
        ({"y | 2": [3]}, "does not say"),
    ],
)
def test_what_does_not_say_who_lends_is_refused(cells: AnnData, how, message):
    with pytest.raises(ValueError, match=message):
        read_lending(how)
    with pytest.raises(ValueError, match="borrow_controls="):
        EffectRegression.setup_anndata(cells, borrow_controls=how)


def test_lenders_without_contexts_are_refused(cells: AnnData):
    for how in ("nearest", "pooled", {"y": "x"}):
        with pytest.raises(
            ValueError, match=r"there are no contexts: name .*context_keys=\['...'\]"
        ):
            EffectRegression.setup_anndata(cells, borrow_controls=how)


def test_a_lender_must_have_control_cells(cells: AnnData):
    with pytest.raises(ValueError, match=r"names \['z'\] for 'y \| 2'.*Contexts with control.*x"):
        set_up(cells, borrow_controls={"y | 2": "z"})


def test_without_the_argument_the_error_names_context_and_argument(cells: AnnData):
    with pytest.raises(ValueError, match=r"\['y \| 2'\].*borrow_controls='nearest'"):
        set_up(cells)


@pytest.mark.parametrize("how", ["nearest", "pooled"])
def test_effects_are_to_the_borrowed_controls(cells: AnnData, how: str):
    model = set_up(cells, borrow_controls=how)
    obs, x = cells.obs, np.asarray(cells.X, dtype=np.float64)
    lent = obs["perturbation"] == "control"
    if how == "nearest":
        lent &= (obs["line"] == "y") & (obs["day"] == "1")
    control = x[lent.to_numpy()].mean(axis=0)
    own = (obs["perturbation"] == "A") & (obs["line"] == "y") & (obs["day"] == "2")
    place = model._effects.keys.index((("A",), 3))
    expected = x[own.to_numpy()].mean(axis=0) - control
    np.testing.assert_allclose(model._effects.delta[place], expected, atol=1e-4)
    np.testing.assert_allclose(model._effects.control_mean[3], control, atol=1e-4)
    # What is travelling with the model are the cells themselves, each once.
    assert model.controls.obs_names.is_unique
    assert set(model.controls.obs["line"] + model.controls.obs["day"]) == {"x1", "x2", "y1"}


@pytest.mark.parametrize("is_saved", [False, True])
def test_cells_are_predicted_in_the_context_that_borrows(
    cells: AnnData, tmp_path: Path, is_saved: bool
):
    model = set_up(cells, borrow_controls="nearest")
    if is_saved:
        model.save(tmp_path / "model")
        model = EffectRegression.load(tmp_path / "model")
    predicted = model.predict(perturbations=["A", "A+B"])
    groups = predicted.obs.groupby(["line", "day", "perturbation"], observed=True).size()
    assert (groups == 12).all()
    assert len(groups) == 12  # control, A and A+B in four places
    borrowed = predicted[(predicted.obs["line"] == "y") & (predicted.obs["day"] == "2")]
    sources = cells.obs.loc[borrowed.obs["effect_regression_source"]]
    assert (sources["perturbation"] == "control").all()
    assert (sources["line"] == "y").all()
    assert (sources["day"] == "1").all()
    is_control = (borrowed.obs["perturbation"] == "control").to_numpy()
    np.testing.assert_allclose(
        borrowed.X.toarray()[is_control], cells[sources.index[is_control]].X, atol=1e-4
    )
    alone = model.predict(perturbations=["A"], contexts=[("y", "2")])
    assert set(alone.obs["day"]) == {"2"}
    assert set(alone.obs["perturbation"]) == {"control", "A"}
    annotated = model.predict(cells.copy())
    row = np.flatnonzero((cells.obs["line"] == "y") & (cells.obs["day"] == "2"))
    sources = cells.obs.loc[annotated.obs["effect_regression_source"].iloc[row]]
    assert set(sources["line"].astype(str) + sources["day"].astype(str)) == {"y1"}


def test_the_table_of_effects_has_the_context(cells: AnnData):
    table = set_up(cells, borrow_controls="nearest").predict_effects(["A"])
    assert table.obs_names.tolist() == ["A | x | 1", "A | x | 2", "A | y | 1", "A | y | 2"]
    assert table.obs["day"].tolist() == ["1", "2", "1", "2"]
    assert table.obs["line"].tolist() == ["x", "x", "y", "y"]
    np.testing.assert_allclose(table.layers["control"][3], table.layers["control"][2])


def test_contexts_of_further_data_borrow_when_asked():
    model = set_up(make_cells(PLACES))
    new = make_cells({("x", "1"): 0.0, ("z", "1"): 0.1}, (("z", "1"),))
    with pytest.raises(ValueError, match=r"Context 'z \| 1' has 24 perturbed.*borrow_controls="):
        model.predict(new.copy())
    out = model.predict(new.copy(), borrow_controls="nearest")
    rows = (new.obs["line"] == "z").to_numpy()
    sources = new.obs.loc[out.obs["effect_regression_source"][rows]]
    assert set(sources["line"]) == {"x"}
    assert np.isfinite(out.layers["effect_regression"].toarray()).all()
    values = model.get_predicted_expression(new.copy(), borrow_controls="pooled")
    assert np.isfinite(values).all()


def test_a_context_that_nobody_has_seen(cells: AnnData):
    model = set_up(make_cells(PLACES))
    with pytest.raises(ValueError, match=r"\['z \| 9'\] have no control cells.*borrow_controls="):
        model.predict(perturbations=["A"], contexts=["z | 9"])
    out = model.predict(perturbations=["A"], contexts=["z | 9"], borrow_controls="pooled")
    assert set(out.obs["line"].astype(str) + out.obs["day"].astype(str)) == {"z9"}
    assert np.isfinite(out.X.toarray()).all()
    named = {"z | 9": "y | 1"}
    out = model.predict(perturbations=["A"], contexts=["z | 9"], borrow_controls=named, n_cells=4)
    first = model.adata.obs.loc[out.obs["effect_regression_source"]]
    assert set(first["line"]) == {"y"}
    with pytest.raises(ValueError, match=r"no cells of 'z \| 9'.*borrow_controls='pooled'"):
        model.predict(perturbations=["A"], contexts=["z | 9"], borrow_controls="nearest")


def test_training_goes_on_with_a_screen_whose_contexts_borrow(cells: AnnData, tmp_path: Path):
    set_up(cells, borrow_controls="nearest").save(tmp_path / "model")
    further = make_cells({("x", "1"): 0.0, ("x", "7"): 0.1}, (("x", "7"),))
    model = EffectRegression.load(tmp_path / "model", further)
    model.train(**QUIET)
    assert np.isfinite(model._effects.delta).all()
    assert dict(model._vocabulary.schema.lenders) == {"y | 2": ("y | 1",), "x | 7": ("x | 1",)}
    again = make_screen(model.controls.obs, model._vocabulary.schema, model._vocabulary.contexts)
    names = model.controls.obs_names[again.get_controls(again.contexts.index("x | 7"))]
    assert set(model.controls.obs.loc[names, "day"]) == {"1"}


def test_a_schema_keeps_its_lenders():
    schema = ScreenSchema("p", "c", lenders=(("b", ("a", "d")),))
    assert schema.to_dict()["borrow_controls"] == {"b": ["a", "d"]}
    assert ScreenSchema.from_dict(schema.to_dict()) == schema
    assert "borrow_controls" not in ScreenSchema("p", "c").to_dict()
