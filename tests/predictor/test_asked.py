"""What can be asked of `predict`: contexts, labels of controls, names, seeds; what it says."""

import logging

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from anndata import AnnData

from scbig.baselines import Additive
from scbig.data import ScreenSchema, _write, infer_schema

WANTED = ["A", "A+B"]


def train(adata: AnnData, **setup) -> Additive:
    adata = adata.copy()
    Additive.setup_anndata(adata, **setup)
    model = Additive(adata, seed=0)
    model.train(validation=[])
    return model


@pytest.fixture
def counted(screen: AnnData) -> AnnData:
    """The screen of two lines with values that are log1p of normalised counts."""
    rng = np.random.default_rng(0)
    cells = anndata.concat([screen] * 5, index_unique="-")
    cells.obs["day"] = pd.Categorical(np.where(np.arange(cells.n_obs) % 2, "d1", "d2"))
    cells.X = rng.poisson(rng.gamma(2.0, 2.0, cells.shape)).astype(np.float32) + 0.0
    cells.X[:, 0] += 1
    cells.layers["counts"] = cells.X.copy()
    sc.pp.normalize_total(cells, target_sum=1e4)
    sc.pp.log1p(cells)
    return cells


# --- contexts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", [True, False])
def test_contexts_are_chosen(counted: AnnData, sampling: bool):
    model = train(counted, context_keys=["line"])
    everywhere = model.predict(perturbations=WANTED, n_cells=20, sampling=sampling)
    there = model.predict(perturbations=WANTED, n_cells=20, contexts=["y"], sampling=sampling)
    of_y = everywhere[everywhere.obs["line"] == "y"]
    assert there.obs["line"].unique().tolist() == ["y"]
    # Rows are those that are made for all contexts.
    columns = ["perturbation", "additive_source"]
    pd.testing.assert_frame_equal(
        there.obs[columns].astype(str).reset_index(drop=True),
        of_y.obs[columns].astype(str).reset_index(drop=True),
    )
    values = model.get_predicted_expression(
        perturbations=WANTED, n_cells=20, contexts="y", sampling=sampling
    )
    layer = there.layers["additive"]
    np.testing.assert_array_equal(values, layer if not sampling else layer.toarray())
    expected = of_y.layers["additive"]
    np.testing.assert_allclose(values, expected.toarray() if sampling else expected, atol=1e-6)


def test_contexts_of_several_columns_are_named_by_their_values(counted: AnnData):
    model = train(counted, context_keys=["line", "day"])
    one = model.predict(perturbations=["A"], contexts=[("x", "d2")])
    same = model.predict(perturbations=["A"], contexts=["x | d2"])
    assert set(zip(one.obs["line"], one.obs["day"], strict=True)) == {("x", "d2")}
    np.testing.assert_array_equal(one.X.toarray(), same.X.toarray())
    with pytest.raises(ValueError, match=r"\['x'\] have no control.*'x \| d1', 'x \| d2', 'y"):
        model.predict(perturbations=["A"], contexts=["x"])


def test_contexts_that_are_not_there_are_named(counted: AnnData):
    model = train(counted, context_keys=["line"])
    with pytest.raises(ValueError, match=r"\['z'\] have no control.*\['x', 'y'\].*=\['x'\]"):
        model.predict(perturbations=["A"], contexts=["y", "z"])
    with pytest.raises(ValueError, match="No context is named"):
        model.predict(perturbations=["A"], contexts=[])
    with pytest.raises(
        ValueError, match=r"contexts=\[.x.\] would be ignored: .*perturbations=\[...\]: name"
    ):
        model.predict(contexts=["x"])
    only_x = counted[counted.obs["line"] == "x"].copy()
    with pytest.raises(ValueError, match=r"\['y'\] have no control.*cells: \['x'\]"):
        model.predict(only_x, perturbations=["A"], contexts=["y"])


# --- labels of controls ------------------------------------------------------------------------


@pytest.fixture
def two_labels(counted: AnnData) -> AnnData:
    """Controls of two guides."""
    cells = counted.copy()
    labels = cells.obs["perturbation"].astype(str).to_numpy(dtype=object)
    controls = np.flatnonzero(labels == "control")
    labels[controls], labels[controls[::2]] = "NT1", "NT2"
    cells.obs["perturbation"] = pd.Categorical(labels.astype(str))
    return cells


def test_several_control_labels_are_one(counted: AnnData, two_labels: AnnData, tmp_path):
    model = train(two_labels, control=["NT1", "NT2"])
    expected = train(counted).predict(perturbations=WANTED)
    out = model.predict(perturbations=WANTED)
    assert out.obs["perturbation"].cat.categories.tolist() == ["NT1", *WANTED]
    np.testing.assert_array_equal(out.X.toarray(), expected.X.toarray())
    sc.tl.rank_genes_groups(out, "perturbation", reference="NT1", method="wilcoxon")
    out.write_h5ad(tmp_path / "out.h5ad")
    noted = anndata.read_h5ad(tmp_path / "out.h5ad").uns["additive"]["schema"]["control"]
    assert list(noted) == ["NT1", "NT2"]
    model.save(tmp_path / "model")
    loaded = Additive.load(tmp_path / "model")
    again = loaded.predict(two_labels, perturbations=["A", "NT2"], n_cells=7)
    assert again.obs["perturbation"].unique().tolist() == ["NT1", "A"]
    annotated = loaded.predict(two_labels.copy())
    # Rows of both kinds of controls are themselves, under their own labels.
    is_control = annotated.obs["perturbation"].isin(["NT1", "NT2"]).to_numpy()
    np.testing.assert_allclose(
        annotated.layers["additive"][is_control].toarray(), annotated.X[is_control], atol=1e-6
    )
    assert (annotated.obs["additive_source"] == annotated.obs_names).to_numpy()[is_control].all()


def test_control_labels_are_read(two_labels: AnnData, caplog):
    schema = infer_schema(two_labels, control=("NT2", "NT1", "NT2"))
    assert (schema.control, schema.other_controls) == ("NT2", ("NT1",))
    assert schema.parse("A+NT1") == ("A",)
    assert ScreenSchema.from_dict(schema.to_dict()) == schema
    assert infer_schema(two_labels, **schema.to_dict()) == schema
    assert "control 'NT2', 'NT1'" in schema.describe()
    one = infer_schema(two_labels, control="NT1")
    assert (one.to_dict()["control"], one.parse("NT2")) == ("NT1", ("NT2",))
    with pytest.raises(ValueError, match=r"no cell has the control label any of \['a', 'b'\]"):
        infer_schema(two_labels, control=["a", "b"])
    with caplog.at_level(logging.WARNING, "scbig"):
        infer_schema(two_labels, control=["NT1", "NT3"])
    assert "No cell is labelled 'NT3' in obs['perturbation']" in caplog.text
    cells = two_labels.copy()
    cells.obs["perturbation"] = cells.obs["perturbation"].cat.rename_categories(
        {"NT1": "ctrl", "NT2": "NT"}
    )
    with pytest.raises(ValueError, match=r"or all that are: control=\['NT', 'ctrl'\]"):
        infer_schema(cells)


# --- names and seeds ---------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["", " ", "a/b", "counts", 3])
def test_names_that_cannot_be_written_are_refused(counted: AnnData, key):
    model = train(counted)
    for asked in ({"perturbations": ["A"]}, {}):
        with pytest.raises(
            ValueError, match=r"key_added=.*(cannot name a layer.*='additive'|Give a name)"
        ):
            model.predict(key_added=key, **asked)


@pytest.mark.parametrize("place", ["layers", "layers_counts", "obs", "uns"])
def test_what_scbig_did_not_write_is_not_lost(counted: AnnData, place: str):
    model = train(counted)
    cells = counted.copy()
    if place == "layers":
        cells.layers["mine"] = measured = cells.X.copy()
    elif place == "layers_counts":
        cells.layers["mine_counts"] = measured = cells.X.copy()
    elif place == "obs":
        cells.obs["mine_source"] = measured = np.arange(cells.n_obs)
    else:
        cells.uns["mine"] = measured = np.arange(3)
    with pytest.raises(ValueError, match=r"would be overwritten.*key_added='additive'.*del adata"):
        model.predict(cells, key_added="mine")
    kept = {
        "layers": lambda: cells.layers["mine"],
        "layers_counts": lambda: cells.layers["mine_counts"],
        "obs": lambda: cells.obs["mine_source"],
        "uns": lambda: cells.uns["mine"],
    }[place]()
    np.testing.assert_array_equal(kept, measured)
    other = model.predict(cells, key_added="other")
    # What scbig wrote it may write again.
    assert model.predict(other, key_added="other", seed=1).uns["other"]["seed"] == 1


@pytest.mark.parametrize("seed", [-1, 1.7, 2**65, "0", 2**32])
def test_seeds_that_are_none_are_refused(counted: AnnData, seed):
    model = train(counted)
    for ask in (model.predict, model.get_predicted_expression):
        with pytest.raises(ValueError, match=r"seed=.*whole number from 0 to 4294967295"):
            ask(perturbations=["A"], seed=seed)
    Additive.setup_anndata(counted)
    with pytest.raises(ValueError, match="whole number"):
        Additive(counted, seed=seed)


def test_any_whole_number_is_a_seed(counted: AnnData, tmp_path):
    model = train(counted)
    one, same, last = (
        model.predict(perturbations=["A"], seed=seed)
        for seed in (7, np.int64(7), np.uint32(2**32 - 1))
    )
    np.testing.assert_array_equal(one.X.toarray(), same.X.toarray())
    assert (one.X != last.X).nnz
    last.write_h5ad(tmp_path / "last.h5ad")
    assert anndata.read_h5ad(tmp_path / "last.h5ad").uns["additive"]["seed"] == 2**32 - 1


# --- what is said ------------------------------------------------------------------------------


def measure(matrix) -> int:
    return sum(part.nbytes for part in (matrix.data, matrix.indices))


@pytest.mark.parametrize("n_cells", [40, 150])
def test_a_large_result_is_announced(counted: AnnData, caplog, monkeypatch, n_cells: int):
    model = train(counted, context_keys=["line"])
    model.predict(perturbations=WANTED, n_cells=n_cells)
    assert "Making" not in caplog.text
    monkeypatch.setattr(_write, "LARGE_BYTES", 0)
    out = model.predict(perturbations=WANTED, n_cells=n_cells)
    [record] = [record for record in caplog.records if "Making" in record.message]
    n_obs, n_vars, size = record.args
    assert (n_obs, n_vars, record.levelname) == (*out.shape, "WARNING")
    made = sum(map(measure, (out.X, out.layers["additive"], out.layers["additive_counts"])))
    assert size * 1e9 == pytest.approx(made, rel=0.15)


def test_a_large_expected_expression_is_announced(counted: AnnData, caplog, monkeypatch):
    model = train(counted)
    monkeypatch.setattr(_write, "LARGE_BYTES", 0)
    out = model.predict(perturbations=WANTED, sampling=False)
    [record] = [record for record in caplog.records if "Making" in record.message]
    assert record.args[2] * 1e9 == pytest.approx(out.X.nbytes + out.layers["additive"].nbytes)
    annotated = model.predict(counted.copy(), sampling=False)
    last = [record for record in caplog.records if "Making" in record.message][-1]
    assert last.args[2] * 1e9 == pytest.approx(annotated.layers["additive"].nbytes)


def test_cells_without_counts_are_announced_and_never_twice(screen: AnnData, caplog):
    # No zeros and no counts, as after denoising.
    model = train(screen, context_keys=["line"])
    out = model.predict(perturbations=WANTED, n_cells=60)
    assert out.uns["additive"]["cells"] == "values"
    assert "additive_counts" not in out.layers
    [record] = [r for r in caplog.records if "Cells are made without counts" in r.message]
    assert record.levelname == "WARNING"
    assert "of 0% of the training cells could they be told" in record.message
    for label in WANTED:
        rows = out.X[(out.obs["perturbation"] == label).to_numpy()].toarray()
        assert len(np.unique(rows, axis=0)) == len(rows) == 120


def test_without_counts_means_are_the_predicted_ones(screen: AnnData):
    out = train(screen).predict(perturbations=["A"], n_cells=300)
    rows = out.X[(out.obs["perturbation"] == "A").to_numpy()].toarray()
    # The sum of effects of one target is its measured effect.
    measured = screen.X[(screen.obs["perturbation"] == "A").to_numpy()]
    assert len(np.unique(rows, axis=0)) == 300
    assert rows.min() > 0
    np.testing.assert_allclose(rows.mean(axis=0), measured.mean(axis=0), rtol=2e-4)
