"""The wrong matrix at every door: normalised and not logged, logged and not normalised, counts."""

import re

import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from anndata import AnnData, read_h5ad
from scipy import sparse

from scbig.baselines import NoChange
from scbig.cells import check_counts
from scbig.data import check_expression, holds_counts
from scbig.model import SCBIG

N_CELLS, N_GENES = 60, 64


@pytest.fixture
def counts() -> np.ndarray:
    """Counts of cells whose depths vary fourfold, float64."""
    rng = np.random.default_rng(5)
    depth = rng.uniform(0.5, 2.0, (N_CELLS, 1))
    return rng.poisson(depth * rng.gamma(0.7, 2.0, N_GENES)).astype(float)


def normalise(counts: np.ndarray, target_sum: float = 1e4) -> np.ndarray:
    return counts / counts.sum(axis=1, keepdims=True) * target_sum


def spoil(value: float):
    """Put one value into one cell of what is right otherwise."""

    def make(counts: np.ndarray) -> np.ndarray:
        x = np.log1p(normalise(counts))
        x[17, 5] = value
        return x

    return make


REFUSED = {
    "normalised": (normalise, r"reaches \d[\d.e+]+, as no log1p value does"),
    "normalised to a few": (lambda c: normalise(c, 40), "looks normalised, but not logged: cells"),
    "genes left out since": (
        lambda c: normalise(c, 40)[:, : N_GENES // 2],
        "looks normalised, but not logged: values of a cell are multiples",
    ),
    "to the base 2": (
        lambda c: np.log2(1 + normalise(c)),
        r"looks like log2\(1 \+ N\)",
    ),
    "fractions above 20": (lambda c: c * 3.3, "as no log1p value does"),
    "1e30": (spoil(1e30), r"reaches 1e\+30, which is no count .* 1 of 60 cells .* cell17\. Drop"),
    "scaled": (lambda c: (c - c.mean(axis=0)) / 3, "Negative values .*Scaled or centred data"),
    "NaN": (spoil(np.nan), "1 NaN and 0 infinite"),
    "infinite": (spoil(np.inf), "0 NaN and 1 infinite"),
}


def with_genes(store, x: np.ndarray, storage: str, layer: str | None) -> AnnData:
    return store(x, storage, layer)


@pytest.mark.parametrize("layer", [None, "mine"])
@pytest.mark.parametrize("kind", REFUSED)
def test_no_log1p_values_are_refused_in_every_storage(store, counts, storage, kind, layer):
    make, message = REFUSED[kind]
    adata = store(make(counts), storage, layer)
    name = "X" if layer is None else re.escape(f"layers[{layer!r}]")
    with pytest.raises(ValueError, match=message) as error:
        SCBIG.setup_anndata(adata, layer=layer)
    assert re.search(name, str(error.value))


@pytest.mark.parametrize("kind", ["normalised", "normalised to a few", "fractions above 20"])
def test_what_the_user_insists_on_is_read(store, counts, storage, kind):
    x = np.minimum(REFUSED[kind][0](counts), 600)
    SCBIG.setup_anndata(store(x, storage), is_log1p=True)


@pytest.mark.parametrize("value", [701.0, 1e30])
def test_no_logarithm_is_so_large(store, counts, storage, value):
    message = "Leave out is_log1p=True" if value < 1e7 else "no count and no logarithm"
    with pytest.raises(ValueError, match=message):
        SCBIG.setup_anndata(store(spoil(value)(counts), storage), is_log1p=True)


def test_values_that_float32_does_not_hold(store, counts):
    for storage in ("dense64", "csr64"):
        for is_log1p in (False, True):
            with pytest.raises(ValueError, match=r"reaches 1e\+39, .* float32 does not hold"):
                SCBIG.setup_anndata(store(spoil(1e39)(counts), storage), is_log1p=is_log1p)
    counts[3, 3] = 2.0**40
    with pytest.raises(ValueError, match=r"reaches 1\.09951e\+12, which is no count") as error:
        SCBIG.setup_anndata(store(counts, "csr64"))
    scope = {"adata": store(counts, "csr64"), "np": np}
    exec(str(error.value).partition("Drop the cells: ")[2], scope)
    assert scope["adata"].n_obs == N_CELLS - 1
    SCBIG.setup_anndata(scope["adata"])


def test_a_gene_that_is_wrong_in_all_cells(store, counts):
    x = np.log1p(normalise(counts))
    x[:, 4] = 1e30
    with pytest.raises(ValueError, match=r"60 of 60 cells .* Is it in some genes"):
        SCBIG.setup_anndata(store(x, "csr"))


@pytest.mark.parametrize("most", [1, 2, 5, 20, 300])
def test_whole_numbers_are_counts_at_any_maximum(store, counts, storage, most, caplog):
    adata = store(np.minimum(counts, most), storage)
    with caplog.at_level("INFO"):
        SCBIG.setup_anndata(adata)
    assert "X holds raw counts: each cell is normalised to 10000" in caplog.text
    # Where they are not normalised, they are refused.
    if most > 2:
        with pytest.raises(
            ValueError, match=f"X holds raw counts.* up to {min(most, counts.max()):g}|cells"
        ):
            check_expression(adata, None)
    check_expression(adata, None, is_log1p=True)


@pytest.mark.parametrize("scale", [1.0, 0.37])
@pytest.mark.parametrize("layer", [None, "mine"])
def test_logged_and_not_normalised_is_warned_of(store, counts, storage, scale, layer, caplog):
    """Whole numbers tell, and where there are none, depths that go with numbers of genes."""
    x = np.log1p(counts * scale)
    adata = store(x, storage, layer)
    SCBIG.setup_anndata(adata, layer=layer)
    text = next(m for m in caplog.messages if "not normalised" in m)
    linear = np.expm1(x).sum(axis=1)
    assert f"between {linear.min():.6g} and {linear.max():.6g}" in text
    assert ("in whole numbers" in text) == (scale == 1)
    caplog.clear()
    SCBIG.setup_anndata(adata, layer=layer, is_log1p=True)
    assert "not normalised" not in caplog.text
    if "array" in storage:  # scanpy normalises no sparse arrays
        return
    mended = adata.to_memory() if adata.isbacked else adata
    line = re.search(r"Normalise: (.*)\. If this is meant", text)[1]
    exec(line, {"adata": mended, "np": np, "sc": sc})
    caplog.clear()
    SCBIG.setup_anndata(mended, layer=layer)
    assert "not normalised" not in caplog.text
    found = mended.X if layer is None else mended.layers[layer]
    dense = found.toarray() if sparse.issparse(found) else np.asarray(found)
    np.testing.assert_allclose(np.expm1(dense).sum(axis=1), 1e4, rtol=1e-4)


def test_the_line_that_normalises_knows_the_base(store, counts, caplog):
    adata = store(np.log2(1 + counts), "csr")
    adata.uns["log1p"] = {"base": 2}
    SCBIG.setup_anndata(adata)
    line = re.search(r"Normalise: (.*)\. If this is meant", caplog.text)[1]
    exec(line, {"adata": adata, "np": np, "sc": sc})
    expected = np.log1p(normalise(counts))
    np.testing.assert_allclose(adata.X.toarray(), expected, rtol=1e-5, atol=1e-6)


def right_ones(counts: np.ndarray) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(2)
    log1p = np.log1p(normalise(counts))
    return {
        "log1p": log1p,
        "log1p of a million": np.log1p(normalise(counts, 1e6)),
        "half of the genes": log1p[:, ::2],
        "denoised": log1p / 2 + log1p.mean(axis=0) / 2,
        "one depth": np.log1p(np.round(normalise(counts, 5000))),
        "zeros": np.zeros_like(counts),
        "binary": (counts > 1).astype(float),
        "one value": np.full_like(counts, 3.0),
        "log1p of binary": np.log1p((rng.random(counts.shape) < 0.3).astype(float)),
        "few cells of anything": rng.random((60, 3)),
    }


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("kind", list(right_ones(np.ones((2, 2)))))
def test_no_false_alarm(counts, obs, kind, dtype, caplog):
    x = right_ones(counts)[kind].astype(dtype)
    matrices = [x, x.astype(np.float32)]
    matrices += [make(x.astype(np.float32)) for make in (sparse.csr_matrix, sparse.csc_matrix)]
    for matrix in matrices:
        check_expression(AnnData(matrix), None)
        adata = AnnData(matrix, obs=obs.copy())
        adata.var_names = [f"G{i}" for i in range(adata.n_vars)]
        SCBIG.setup_anndata(adata)
    assert "normalised" not in "".join(m for m in caplog.messages if kind != "log1p of binary")


@pytest.mark.parametrize("target_sum", [1e4, None, 1e6])
def test_no_false_alarm_on_real_screens(data_kit, target_sum, caplog):
    files = sorted(data_kit.glob("*.h5ad"))
    assert files
    for file in files:
        adata = read_h5ad(file)[::5].copy()
        assert holds_counts(adata, None)
        raw = adata.copy()
        sc.pp.normalize_total(adata, target_sum=target_sum)
        sc.pp.log1p(adata)
        few = adata[:, ::4].copy()
        caplog.clear()
        for right in (raw, adata, few):
            SCBIG.setup_anndata(right, perturbation_key="perturbation", control="control")
        assert not [m for m in caplog.messages if "normalised" in m or "X " in m[:2]]
        # And the wrong ones are found on them.
        logged = raw.copy()
        sc.pp.log1p(logged)
        SCBIG.setup_anndata(logged, perturbation_key="perturbation", control="control")
        assert "X looks like log1p of counts that were not normalised" in caplog.text
        sc.pp.normalize_total(raw, target_sum=target_sum)
        with pytest.raises(ValueError, match=r"as no log1p value does|not logged"):
            SCBIG.setup_anndata(raw, perturbation_key="perturbation", control="control")


def test_rounding_to_16_bits_beside_counts_is_named(store, counts):
    x = np.log1p(normalise(counts)).astype(np.float16)
    for matrix in (x, x.astype(np.float32)):
        with pytest.raises(ValueError, match=r"rounding to 16 bits \(float16\), which hides"):
            check_counts(counts, matrix)
        adata = store(matrix.astype(np.float32), "csr")
        adata.layers["counts"] = sparse.csr_matrix(counts)
        with pytest.raises(ValueError, match=r"'counts'\]: .*rounding to 16 bits") as error:
            SCBIG.setup_anndata(adata)
        exec(str(error.value).partition("Normalise them again: ")[2], {"adata": adata, "sc": sc})
        SCBIG.setup_anndata(adata)
    # Other counts are others, rounded or not.
    other = np.roll(counts, 1, axis=0)
    with pytest.raises(ValueError, match="do not agree with their expression"):
        check_counts(other, x)


def test_new_data_are_checked_alike(store, counts):
    right = store(np.log1p(normalise(counts)), "csr")
    NoChange.setup_anndata(right)
    model = NoChange(right)
    model.train()
    for kind, (make, message) in REFUSED.items():
        if kind == "genes left out since":
            continue
        with pytest.raises(ValueError, match=message):
            model.predict(store(make(counts), "csr"), perturbations=["G0"])
    insisting = NoChange
    x = np.minimum(normalise(counts), 600)
    insisting.setup_anndata(adata := store(x, "csr"), is_log1p=True)
    model = insisting(adata)
    model.train()
    predicted = model.predict(store(x, "csr"), perturbations=["G0"])
    assert np.isfinite(predicted.X.data).all()


def test_a_sample_is_enough_of_a_large_matrix(monkeypatch, counts):
    """What is looked at twice is no more than 200 cells."""
    from scbig.data import _check_values

    read = []
    inner = _check_values._add_up

    def add_up(cells, values):
        read.append(cells.shape[0])
        return inner(cells, values)

    monkeypatch.setattr(_check_values, "_add_up", add_up)
    x = np.tile(np.log1p(normalise(counts)), (20, 1))
    adata = AnnData(sparse.csr_matrix(x), obs=pd.DataFrame(index=map(str, range(len(x)))))
    check_expression(adata, None)
    _check_values.warn_of_depth(adata, None)
    assert set(read) == {200}
