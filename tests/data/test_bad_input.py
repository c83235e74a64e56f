"""Each bad input at the user's door, and that the line in the message mends it."""

import re

import mudata
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from anndata import AnnData, read_h5ad
from scipy import sparse

from scbig.data import check_expression
from scbig.data._check_values import MAX_LOG1P
from scbig.model import SCBIG


def refused(message: str, adata: AnnData, **arguments) -> str:
    with pytest.raises(ValueError, match=message) as error:
        SCBIG.setup_anndata(adata, **arguments)
    return str(error.value)


def mend(message: str, adata: AnnData) -> AnnData:
    """Run the line that the message ends with."""
    scope = {"adata": adata, "np": np, "sc": sc}
    exec(re.search(r"adata(\.\S+)? = .*$|adata\.\w+\(\)$", message).group(), scope)
    return scope["adata"]


@pytest.mark.parametrize("layer", [None, "log"])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "1 NaN and 0 infinite value"),
        (np.inf, "0 NaN and 1 infinite value"),
        (-np.inf, "0 NaN and 1 infinite value"),
        (-0.5, r"Negative values \(smallest -0.5\) in .*Name the log1p-normalised layer: layer="),
        (3000.5, "reaches 3000.5, as no log1p value does.* 1 of 60 cells .*, such as cell37"),
    ],
)
def test_values_in_every_storage(store, values, storage, layer, value, message):
    values[37, 3] = value
    adata = store(values, storage, layer)
    text = refused(message, adata, layer=layer)
    assert f"{'X' if layer is None else repr(layer)}" in text
    if value == 3000.5:
        return
    assert ("genes 0 to 7" if "csc" in storage else "cells 0 to 59") in text
    if "NaN" in message:
        mended = mend(text, adata.to_memory() if adata.isbacked else adata)
        assert mended.n_obs == 59
        SCBIG.setup_anndata(mended, layer=layer)


@pytest.mark.parametrize("layer", [None, "counts"])
def test_raw_counts_in_every_storage(store, storage, layer):
    counts = np.random.default_rng(0).poisson(4.0, (60, 8))
    counts[50, 2] = 37
    adata = store(counts, storage, layer)
    with pytest.raises(ValueError, match=r"holds raw counts: all values of .* up to 37") as error:
        check_expression(adata, layer)
    text = str(error.value)
    assert ("adata.X = adata.layers['counts'].copy()" in text) == (layer is not None)
    check_expression(adata, layer, is_log1p=True)
    # Models normalise them as they read.
    SCBIG.setup_anndata(adata, layer=layer)
    SCBIG.setup_anndata(adata, layer=layer, is_log1p=True)
    if storage != "dense32":
        return
    line = re.search(r"Normalise them: (.*log1p\(adata\))", text).group(1)
    exec(line, {"adata": adata, "sc": sc})
    SCBIG.setup_anndata(adata)


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int64, np.float16])
def test_small_integers_are_log1p_values(adata, dtype):
    adata.X = np.full(adata.shape, MAX_LOG1P).astype(dtype)
    check_expression(adata, None)
    adata.X[0, 0] = MAX_LOG1P + 1
    with pytest.raises(ValueError, match="X holds raw counts"):
        check_expression(adata, None)


def test_raw_counts_are_found_in_later_cells(values):
    x = np.tile(values, (100, 1))
    x[4096:] = np.rint(x[4096:]) * 30
    with pytest.raises(ValueError, match="all values of cells 4096 to 5999 are integers, up to"):
        check_expression(AnnData(x), None)


@pytest.mark.parametrize("share", [0.5, 1 / 60])
@pytest.mark.parametrize("scale", [2, 40])
def test_cells_in_counts_among_others_are_found_in_every_storage(
    store, values, storage, share, scale
):
    n_counts = round(60 * share)
    x = values.copy()
    x[-n_counts:] = np.random.default_rng(0).permuted(np.tile(np.arange(8), (n_counts, 1)), axis=1)
    x[-n_counts:] *= scale
    adata = store(x, storage, None)
    n = f"{n_counts} of 60 cells .*, such as cell{60 - n_counts}: their values are integers only"
    text = refused(f"X holds raw counts in {n}", adata)
    assert "sc.pp.normalize_total(cells, target_sum=1e4); sc.pp.log1p(cells)" in text
    SCBIG.setup_anndata(adata, is_log1p=True)


def test_cells_of_few_values_are_no_counts(values, storage, store):
    x = values.copy()
    x[30:] = 0
    x[31, 2] = 2.0
    x[32, :3] = [1.0, 2.0, 1.0]
    x[33, :3] = [1.0, 2.0, 3.0]
    x[34] = 5.0
    check_expression(store(x, storage, None), None)
    check_expression(store(np.zeros_like(x), storage, None), None)


@pytest.mark.parametrize("target_sum", [1e4, None, 1e6])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_real_screens_pass_the_strict_check(data_kit, target_sum, dtype):
    files = sorted(data_kit.glob("*.h5ad"))
    assert files
    for file in files:
        adata = read_h5ad(file)[:3000].copy()
        if adata.X.max() > MAX_LOG1P:
            sc.pp.normalize_total(adata, target_sum=target_sum)
            sc.pp.log1p(adata)
        cells = sparse.csr_matrix(adata.X)
        # Denoised values: means of cells, without zeros.
        denoised = cells[:300].toarray() / 2 + np.asarray(cells.mean(axis=0)) / 2
        for x in (cells if dtype == np.float32 else cells.toarray().astype(dtype), denoised):
            check_expression(AnnData(x), None)


def test_large_values_that_are_no_integers_are_refused(adata):
    adata.X = np.expm1(adata.X) * 10.1
    refused(f"X reaches {adata.X.max():g}, as no log1p value does", adata)
    SCBIG.setup_anndata(adata, is_log1p=True)


def test_explicit_zeros_and_empty_matrices_pass(adata):
    adata.X = sparse.csr_matrix(adata.shape, dtype=np.float32)
    check_expression(adata, None)
    SCBIG.setup_anndata(adata)
    assert adata.X.nnz == 0


@pytest.mark.parametrize("dtype", [bool, complex, object])
def test_no_numbers(adata, dtype):
    adata.layers["x"] = adata.X.astype(dtype)
    text = refused(r"layers\['x'\] has dtype \w+; real numbers", adata, layer="x")
    if dtype is not complex:
        SCBIG.setup_anndata(mend(text, adata), layer="x")


def test_nothing_to_read(adata):
    refused(r"X is of shape \(60, 0\): there is no expression", adata[:, []].copy())
    with pytest.raises(ValueError, match=r"X is of shape \(0, 8\)"):
        check_expression(adata[[]].copy(), None)
    del adata.X
    with pytest.raises(ValueError, match="X is missing"):
        check_expression(adata, None)


@pytest.mark.parametrize("where", ["var_names", "symbol"])
@pytest.mark.parametrize("empty", ["", "  "])
def test_empty_gene_names(adata, where, empty):
    names = ["x", empty, *"cdefg", empty]
    gene_key = set_names(adata, where, names)
    text = refused(r"2 empty gene name\(s\), the first at position 1", adata, gene_key=gene_key)
    mended = mend(text, adata)
    assert mended.n_vars == 6
    SCBIG.setup_anndata(mended, gene_key=gene_key)


@pytest.mark.parametrize("as_type", [object, "category"])
def test_missing_gene_names(adata, as_type):
    adata.var["symbol"] = pd.Series(["x", None, *"cdefgh"], index=adata.var_names).astype(as_type)
    text = refused(r"var\['symbol'\] has 1 empty gene name", adata, gene_key="symbol")
    assert mend(text, adata).n_vars == 7


@pytest.mark.filterwarnings("ignore:Variable names are not unique")
@pytest.mark.parametrize("where", ["var_names", "symbol"])
def test_duplicate_gene_names(adata, where):
    gene_key = set_names(adata, where, list("aabbcdef"))
    text = refused(r"2 duplicate gene name\(s\): \['a', 'b'\]", adata, gene_key=gene_key)
    mended = mend(text, adata)
    SCBIG.setup_anndata(mended, gene_key=gene_key)
    assert mended.n_vars == (8 if gene_key is None else 6)


def set_names(adata: AnnData, where: str, names: list[str]) -> str | None:
    if where == "var_names":
        adata.var_names = names
        return None
    adata.var[where] = names
    return where


def test_labels(adata):
    no_controls = adata[adata.obs["perturbation"] != "control"].copy()
    refused(r"No control cells in obs column\(s\) \['perturbation'\]", no_controls)
    refused("control label 'x'", adata, control="x")
    refused("perturbation_key='x' is not a column of obs", adata, perturbation_key="x")
    refused("context_keys='x' is not a column of obs", adata, context_keys=["x"])
    refused("gene_key='x' is not a column of var", adata, gene_key="x")
    refused(r"no layer 'x'. Layers found: \[\]", adata, layer="x")


@pytest.mark.parametrize("key", ["perturbation", "batch"])
def test_categories_without_cells(adata, key):
    adata.obs[key] = adata.obs[key].cat.add_categories(["Z"])
    message = rf"1 categories of obs\['{key}'\] have no cells: \['Z'\]"
    text = refused(message, adata, context_keys=["batch"])
    SCBIG.setup_anndata(mend(text, adata), context_keys=["batch"])


@pytest.mark.parametrize("key", ["perturbation", "batch"])
@pytest.mark.parametrize("as_type", [object, "category"])
def test_missing_labels(adata, key, as_type):
    adata.obs[key] = adata.obs[key].astype(object)
    adata.obs.loc[["cell20", "cell21"], key] = None
    adata.obs[key] = adata.obs[key].astype(as_type)
    message = rf"obs\['{key}'\] is missing for 2 cell\(s\)"
    text = refused(message, adata, context_keys=["batch"])
    mended = mend(text, adata)
    assert mended.n_obs == 58
    SCBIG.setup_anndata(mended, context_keys=["batch"])


def test_empty_label(adata):
    adata.obs["perturbation"] = adata.obs["perturbation"].cat.rename_categories({"G0": ""})
    refused("A perturbation label is empty: ''", adata)


def test_context_without_controls(adata):
    is_control = adata.obs["perturbation"] == "control"
    adata.obs["batch"] = np.where(is_control, "a", adata.obs["batch"].astype(str))
    message = r"1 context\(s\) have perturbed cells but no control cells: \['b'\]. Give fewer"
    refused(message, adata, context_keys=["batch"])
    SCBIG.setup_anndata(adata)


@pytest.mark.filterwarnings("ignore::FutureWarning:mudata", "ignore::UserWarning:mudata")
def test_mudata_is_told_how_to_go_on(adata):
    mdata = mudata.MuData({"rna": adata, "gdo": adata.copy()})
    refused(r"holds \['rna', 'gdo'\].*scbig.data.from_mudata\(mdata, modality=", mdata)


def test_views_are_told_to_copy(adata):
    view = adata[adata.obs["batch"] == "a"]
    text = refused("adata = adata.copy", view)
    assert "copy" in text
    check_expression(view, None)


def test_two_cells_are_enough(adata):
    SCBIG.setup_anndata(adata[[0, 20]].copy())


def test_data_are_left_as_they_are(store, values, storage):
    adata = store(values, storage)
    before = adata.to_memory() if adata.isbacked else adata.copy()
    SCBIG.setup_anndata(adata, context_keys=["batch"])
    after = adata.to_memory() if adata.isbacked else adata
    assert list(after.obs) == list(before.obs)
    assert type(after.X) is type(before.X)
    np.testing.assert_array_equal(dense(after.X), dense(before.X))
    assert set(after.uns) <= {"_scvi_uuid", "_scvi_manager_uuid"}


def dense(x) -> np.ndarray:
    return x.toarray() if sparse.issparse(x) else np.asarray(x)


@pytest.mark.parametrize("layer", [None, "log"])
def test_empty_cells_are_counted_in_every_storage(store, values, storage, layer, caplog):
    values[values.sum(axis=1) == 0, 0] = 1.5
    SCBIG.setup_anndata(store(values, storage.removeprefix("backed-"), layer), layer=layer)
    assert "zeros" not in caplog.text
    # Two of the 15 controls, and one of the perturbed cells.
    values[[3, 11, 40]] = 0
    adata = store(values, storage, layer)
    SCBIG.setup_anndata(adata, layer=layer)
    text = caplog.messages[-1]
    assert "2 of 15 control cells and 1 of 45 perturbed cells have nothing but zeros in" in text
    line = text.rpartition("Remove them: ")[2]
    scope = {"adata": adata.to_memory() if adata.isbacked else adata, "np": np, "sc": sc}
    left = [name for i, name in enumerate(adata.obs_names) if i not in (3, 11, 40)]
    exec(line, scope)
    assert scope["adata"].obs_names.tolist() == left
