import logging

import numpy as np
import pandas as pd
import pytest

from scbig.data import ScreenSchema, annotate_query, make_query, make_screen
from scbig.data._query import MAX_CELLS

SCHEMA = ScreenSchema("perturbation", "control", "+", ("batch",))
CONTEXTS = ("a", "b")


def make(adata, perturbations, *, schema=SCHEMA, n_cells=None, seed=0, contexts=CONTEXTS):
    rng = np.random.default_rng(seed)
    return make_query(adata, schema, perturbations, contexts=contexts, n_cells=n_cells, rng=rng)


def annotate(adata, *, schema=SCHEMA, seed=0):
    return annotate_query(adata, schema, contexts=CONTEXTS, rng=np.random.default_rng(seed))


@pytest.mark.parametrize("layer", [None, "log"])
def test_new_cells_are_the_controls(store, values, obs, storage, layer):
    adata = store(values, storage, layer)
    schema = ScreenSchema("perturbation", "control", "+", ("batch",), layer)
    query = make(adata, ["G7", "G0+G1"], schema=schema)
    out = query.out
    is_control = (obs["perturbation"] == "control").to_numpy()
    assert out.n_obs == 3 * is_control.sum()
    assert out.raw is None
    assert list(out.obs) == ["perturbation", "batch"]
    assert out.X is None
    assert list(out.var_names) == [f"G{i}" for i in range(8)]
    assert out.obs_names.is_unique
    source = query.source_row
    x = query.source.rows(source)
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x, values[source])
    assert query.source_names[source].tolist() == obs.index[source].tolist()
    for rows, context in zip(query.controls, CONTEXTS, strict=True):
        is_here = is_control & (obs["batch"] == context).to_numpy()
        np.testing.assert_array_equal(rows, np.flatnonzero(is_here))
    assert out.obs["batch"].tolist() == obs["batch"].iloc[source].tolist()
    for label in ("control", "G7", "G0+G1"):
        rows = source[(out.obs["perturbation"] == label).to_numpy()]
        assert sorted(rows) == np.flatnonzero(is_control).tolist()
    expected = [SCHEMA.parse(label) for label in out.obs["perturbation"]]
    assert [query.screen.conditions[c] for c in query.screen.condition] == expected


def test_source_data_are_not_written_into(adata):
    adata.raw = adata.copy()
    adata.layers["log"] = adata.X * 2
    query = make(adata, ["G0"])
    query.out.var["new"] = 1
    assert "new" not in adata.var
    assert [name for name in query.out.layers if name is not None] == []
    assert query.out.raw is None


@pytest.mark.parametrize(("n_cells", "sizes"), [(3, (3, 3)), (20, (20, 20)), (None, (5, 10))])
def test_number_of_cells_by_context(adata, caplog, n_cells, sizes):
    with caplog.at_level(logging.INFO, "scbig.data"):
        query = make(adata, ["G0", "G1"], n_cells=n_cells)
    out = query.out
    counts = out.obs.groupby(["perturbation", "batch"], observed=True).size()
    assert counts["G1"].loc[["a", "b"]].tolist() == list(sizes)
    assert counts["G0"].tolist() == counts["G1"].tolist()
    sources = query.source_row[(out.obs["perturbation"] == "G0").to_numpy()]
    assert (len(set(sources)) == len(sources)) == (n_cells != 20)
    # A control cell is itself, and handed out once.
    controls = query.source_row[(out.obs["perturbation"] == "control").to_numpy()]
    assert len(set(controls)) == len(controls)
    assert ("5 control cells; 20 are drawn with replacement" in caplog.text) == (n_cells == 20)


def test_at_most_500_cells(adata):
    obs = pd.DataFrame({"perturbation": ["control"] * 700, "batch": ["a"] * 690 + ["b"] * 10})
    cells = type(adata)(np.ones((700, 2), np.float32), obs=obs.set_index(obs.index.astype(str)))
    sizes = make(cells, ["G0"]).out.obs.groupby(["perturbation", "batch"]).size()
    assert sizes["G0"].tolist() == [MAX_CELLS, 10]
    assert MAX_CELLS == 500


def test_wanted_perturbations(adata):
    def labels(wanted):
        return list(make(adata, wanted, n_cells=1).out.obs["perturbation"].cat.categories)

    assert labels("G0") == ["control", "G0"]
    assert labels(["G0", "G0", "control"]) == ["control", "G0"]
    assert labels([["G1", "G0"], ("G2",)]) == ["control", "G1+G0", "G2"]
    assert labels(["G0+G1+G2"]) == ["control", "G0+G1+G2"]


def test_same_seed_same_cells(adata):
    first, again, other = (make(adata, ["G0"], n_cells=4, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.source_row, again.source_row)
    pd.testing.assert_frame_equal(first.out.obs, again.out.obs)
    assert (first.source_row != other.source_row).any()
    first, again, other = (annotate(adata, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.source_row, again.source_row)
    assert (first.source_row != other.source_row).any()


def test_order_of_known_contexts_is_kept(adata):
    query = make(adata, ["G0"], contexts=("z", "b"))
    assert query.screen.contexts == ("z", "b", "a")
    names = [query.screen.contexts[c] for c in query.screen.context]
    assert names == query.out.obs["batch"].tolist()


@pytest.mark.parametrize("contexts", [(), ("z", "b"), ("b", "c"), CONTEXTS])
def test_screen_is_that_of_the_labels_written(adata, contexts):
    """Labels of one condition stay two labels; contexts without controls are not made."""
    adata.obs["batch"] = adata.obs["batch"].cat.add_categories(["aa", "c"])
    perturbed = np.flatnonzero(adata.obs["perturbation"] == "G0")
    adata.obs.iloc[perturbed[0], 1], adata.obs.iloc[perturbed[1], 1] = "aa", "c"
    query = make(adata, ["G1+G0", "G2", ("G0", "G1"), "control", "G0"], contexts=contexts)
    expected = make_screen(query.out.obs, SCHEMA, contexts)
    labels = list(query.out.obs["perturbation"].cat.categories)
    assert labels == ["control", "G1+G0", "G2", "G0+G1", "G0"]
    assert query.screen.conditions == expected.conditions
    assert query.screen.contexts == expected.contexts
    np.testing.assert_array_equal(query.screen.condition, expected.condition)
    np.testing.assert_array_equal(query.screen.context, expected.context)
    assert "aa" not in query.screen.contexts
    groups = [(targets, context, rows.tolist()) for targets, context, rows in query.groups()]
    assert groups == [(t, c, rows.tolist()) for t, c, rows in expected.get_groups()]
    assert [targets for targets, *_ in groups[-2:]] == [("G0", "G1")] * 2


def test_each_label_is_parsed_once(adata, monkeypatch):
    parsed = []
    parse = ScreenSchema.parse
    monkeypatch.setattr(
        ScreenSchema, "parse", lambda self, label: parsed.append(label) or parse(self, label)
    )
    make(adata, ["G7", "G0+G7"])
    assert sorted(parsed) == sorted(["control", "G0", "G1", "G0+G1", "G7", "G0+G7"])


def test_nothing_to_make(adata):
    with pytest.raises(ValueError, match="Name at least one: predict"):
        make(adata, [])
    with pytest.raises(ValueError, match="No perturbation was asked for"):
        make(adata, ["control", []])
    with pytest.raises(ValueError, match=r"n_cells=0\. Give a whole number from 1"):
        make(adata, ["G0"], n_cells=0)
    with pytest.raises(ValueError, match=r"n_cells=1.5.*whole number from 1"):
        make(adata, ["G0"], n_cells=1.5)
    with pytest.raises(ValueError, match=r"no cells labelled 'control' in obs\['perturbation'\]"):
        make(adata[adata.obs["perturbation"] == "G0"].copy(), ["G0"])
    adata.obs["batch"] = [None, *adata.obs["batch"].astype(str)[1:]]
    with pytest.raises(ValueError, match=r"obs\['batch'\] is missing for 1 cell"):
        make(adata, ["G0"])


def test_rows_are_annotated_from_controls_of_their_context(store, values, obs, storage):
    adata = store(values, storage)
    query = annotate(adata)
    assert query.out is adata
    is_control = (obs["perturbation"] == "control").to_numpy()
    rows = np.arange(60)
    np.testing.assert_array_equal(query.source_row[is_control], rows[is_control])
    assert is_control[query.source_row].all()
    assert (query.source_row != rows)[~is_control].all()
    batch = obs["batch"].to_numpy()
    assert (batch[query.source_row] == batch).all()
    np.testing.assert_array_equal(query.source.rows(query.source_row), values[query.source_row])
    assert len(set(query.source_row[~is_control])) > 8


def test_annotation_needs_controls_and_labels(adata):
    is_control = adata.obs["perturbation"] == "control"
    rows = ~is_control | (adata.obs["batch"] == "a")
    message = "Context 'b' has 30 perturbed cells but no control cell"
    with pytest.raises(ValueError, match=message):
        annotate(adata[rows].copy())
    adata.obs.loc["cell20", "perturbation"] = np.nan
    with pytest.raises(ValueError, match=r"obs\['perturbation'\] is missing for 1 cell"):
        annotate(adata)
