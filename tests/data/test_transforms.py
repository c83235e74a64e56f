"""Matrices below 20 that are no log1p values: what they are is named, and the line mends them."""

import re

import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from anndata import AnnData, read_h5ad
from scipy import sparse

from scbig.data import check_expression
from scbig.data._check_values import warn_of_depth
from scbig.model import SCBIG

N_CELLS, N_GENES = 120, 160


@pytest.fixture(scope="module")
def counts() -> np.ndarray:
    """Counts of cells whose depths vary fourfold, most genes rare, float64."""
    rng = np.random.default_rng(3)
    depth = rng.uniform(0.5, 2.0, (N_CELLS, 1))
    counts = rng.poisson(depth * rng.gamma(0.4, 2.0, N_GENES) + 0.02).astype(float)
    counts[rng.integers(0, N_CELLS, N_GENES), np.arange(N_GENES)] += 1  # no gene is in no cell
    return counts


def normalise(counts: np.ndarray, target_sum: float = 1e4) -> np.ndarray:
    return counts / counts.sum(axis=1, keepdims=True) * target_sum


def scale(x: np.ndarray) -> np.ndarray:
    return (x - x.mean(axis=0)) / x.std(axis=0, ddof=1)


def mix(one: np.ndarray, other: np.ndarray, share: float = 0.5) -> np.ndarray:
    n = round(share * len(one))
    return np.vstack([one[:n], other[n:]])


NOT_LOGGED = "looks normalised, but not logged: "
MADE = {
    "sums to 1": (lambda c: normalise(c, 1), NOT_LOGGED),
    "sums to 3": (lambda c: normalise(c, 3), NOT_LOGGED),
    "sums to 100": (lambda c: normalise(c, 100), NOT_LOGGED),
    "log2": (lambda c: np.log2(1 + normalise(c)), r"looks like log2\(1 \+ N\)"),
    "log10": (lambda c: np.log10(1 + normalise(c)), r"looks like log10\(1 \+ N\)"),
    "log2 of counts": (lambda c: np.log2(1 + c * 1.37), r"looks like log2\(1 \+ N\)"),
    "twice": (lambda c: np.log1p(np.log1p(normalise(c))), "looks like log1p taken twice"),
    "square root": (lambda c: np.sqrt(normalise(c, 900)), "looks like the square root of counts"),
}
SCALED = {
    "not centred": lambda c: np.log1p(normalise(c)) / np.log1p(normalise(c)).std(0, ddof=1),
    "no less than zero": lambda c: np.maximum(scale(np.log1p(normalise(c))), 0),
    "between 0 and 3": lambda c: np.clip(scale(np.log1p(normalise(c))), 0, 3),
}


def store_as(x: np.ndarray, storage: str) -> AnnData:
    make = {"dense": np.asarray, "csr": sparse.csr_matrix, "csc": sparse.csc_matrix}[storage]
    obs = pd.DataFrame(index=[f"cell{i}" for i in range(len(x))])
    return AnnData(make(x.astype(np.float32)), obs=obs)


def read_line(error: BaseException) -> str:
    return re.search(r"(?:logarithm|of them): (.*?)\. If ", str(error))[1]


@pytest.mark.parametrize("storage", ["dense", "csr", "csc"])
@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize("is_part", [False, True], ids=["all genes", "half of the genes"])
def test_each_kind_is_named_and_mended(counts, kind, storage, is_part):
    make, message = MADE[kind]
    x, expected = make(counts), None
    if is_part:
        x = x[:, ::2]
    adata = store_as(x, storage)
    with pytest.raises(ValueError, match=message) as error:
        check_expression(adata, None)
    assert "say so: is_log1p=True" in str(error.value)
    check_expression(adata, None, is_log1p=True)
    exec(read_line(error.value), {"adata": adata, "np": np, "sc": sc})
    check_expression(adata, None)
    found = adata.X.toarray() if sparse.issparse(adata.X) else adata.X
    linear = {
        "sums to 1": normalise(counts, 1), "sums to 3": normalise(counts, 3),
        "sums to 100": normalise(counts, 100), "square root": normalise(counts, 900),
        "log2 of counts": counts * 1.37,
    }.get(kind, normalise(counts))  # fmt: skip
    expected = np.log1p(linear[:, ::2] if is_part else linear)
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.1])
@pytest.mark.parametrize("kind", MADE)
def test_some_cells_of_another_kind_are_counted_and_named(counts, kind, share):
    make, _ = MADE[kind]
    adata = store_as(mix(np.log1p(normalise(counts)), make(counts), share)[:, ::2], "csr")
    with pytest.raises(ValueError, match="mixes what was made in several ways") as error:
        check_expression(adata, None)
    n, first = re.search(r"cells looked at (\d+), such as cell(\d+),", str(error.value)).groups()
    n_right = round(share * N_CELLS)
    assert int(first) >= n_right
    assert 0.8 * (N_CELLS - n_right) <= int(n) <= N_CELLS - n_right
    rest, cells = adata[:n_right].copy(), adata[n_right:].copy()
    line = re.search(r"join others: (.*?)\. If ", str(error.value))[1]
    exec(line, {"cells": cells, "np": np, "sc": sc})
    check_expression(AnnData(sparse.vstack([rest.X, cells.X]).tocsr()), None)


@pytest.mark.parametrize("storage", ["dense", "csr", "csc"])
@pytest.mark.parametrize("kind", SCALED)
def test_scaled_genes_without_negative_values(counts, kind, storage):
    adata = store_as(SCALED[kind](counts), storage)
    adata.layers["mine"] = adata.X.copy()
    with pytest.raises(ValueError, match=r"looks scaled: .*Layers found: \['mine'\]") as error:
        check_expression(adata, None)
    assert "adata.raw" not in str(error.value)
    check_expression(adata, None, is_log1p=True)
    adata.raw = adata.copy()
    with pytest.raises(ValueError, match=r"adata = adata\.raw\.to_adata\(\)"):
        check_expression(adata, None)


def test_what_scanpy_scales(counts):
    for zero_center in (True, False):
        adata = store_as(np.log1p(normalise(counts)), "dense")
        sc.pp.scale(adata, max_value=10, zero_center=zero_center)
        with pytest.raises(ValueError, match=r"looks scaled|Scaled or centred"):
            check_expression(adata, None)


@pytest.mark.parametrize("noted", [2, 10, None, np.e])
@pytest.mark.parametrize("base", [2, 10, np.e])
def test_the_base_that_is_noted_counts(counts, base, noted):
    adata = store_as(np.log1p(normalise(counts)) / np.log(base), "csr")
    adata.uns["log1p"] = {"base": noted}
    if (noted or np.e) == base:
        check_expression(adata, None)
        return
    with pytest.raises(ValueError, match="looks like log") as error:
        check_expression(adata, None)
    exec(read_line(error.value), {"adata": adata, "np": np})
    check_expression(adata, None)
    np.testing.assert_allclose(adata.X.toarray(), np.log1p(normalise(counts)), rtol=1e-5)


def right_ones(counts: np.ndarray) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    log1p = np.log1p(normalise(counts))
    factors = rng.lognormal(0, 0.4, (N_CELLS, 1))
    depth = counts.sum(axis=1, keepdims=True)
    one_depth = rng.binomial(counts.astype(int), np.minimum(1, 0.5 * np.median(depth) / depth))
    chosen = rng.integers(0, N_CELLS, (N_CELLS, 10))
    variable = np.argsort(log1p.var(axis=0))[-60:]
    return {
        **{f"log1p of {t:g}": np.log1p(normalise(counts, t)) for t in (1, 3, 100, 1e4, 1e6)},
        "variable genes": log1p[:, variable],
        "size factors": np.log1p(counts / (depth / depth.mean() * factors)),
        "corrected counts": np.log1p(one_depth),
        "smoothed": log1p[chosen].mean(axis=1),
        "denoised": log1p / 2 + log1p.mean(axis=0) / 2,
        "log1p of mean counts": np.log1p(normalise(counts)[chosen].mean(axis=1)),
        "counts of many cells": np.log1p(normalise(counts[chosen].sum(axis=1))),
        "two decimals": np.round(log1p, 2),
        "three decimals": np.round(np.log1p(normalise(counts, 100)), 3),
        "half precision": log1p.astype(np.float16),
        "copies of a mean": np.tile(log1p.mean(axis=0), (N_CELLS, 1)),
        "copies of four means": log1p[:4].repeat(N_CELLS // 4, axis=0),
        "shrunk": log1p * rng.uniform(0.9, 1.1, log1p.shape),
    }


@pytest.mark.parametrize("storage", ["dense", "csr"])
@pytest.mark.parametrize("kind", list(right_ones(np.ones((N_CELLS, N_GENES)))))
def test_no_false_alarm(counts, kind, storage, caplog):
    x = right_ones(counts)[kind]
    for genes in (slice(None), slice(0, None, 3)):
        adata = store_as(x[:, genes], storage)
        check_expression(adata, None)
        warn_of_depth(adata, None)
    assert not caplog.messages


@pytest.mark.parametrize("noise", [-1e-7, -1e-5])
@pytest.mark.parametrize("layer", [None, "mine"])
@pytest.mark.parametrize("storage", ["dense", "csr", "csc"])
def test_rounding_below_zero_is_no_scaling(counts, noise, layer, storage):
    x = np.log1p(normalise(counts))
    x[5, :3] = noise
    adata = store_as(x, storage)
    if layer:
        adata.layers[layer], adata.X = adata.X, None
    with pytest.raises(ValueError, match=r"^3 values in .* below zero by no more than round") as e:
        check_expression(adata, layer)
    assert f"smallest {noise:g}" in str(e.value)
    exec(str(e.value).partition("Put them to zero: ")[2], {"adata": adata})
    check_expression(adata, layer)
    x[5, 0] = -0.3
    with pytest.raises(ValueError, match=r"Negative values \(smallest -0.3\)"):
        check_expression(store_as(x, storage), None)


@pytest.mark.parametrize("layer", [None, "mine"])
def test_zeros_and_ones_are_warned_of(counts, layer, caplog):
    adata = store_as((counts > 0).astype(float), "csr")
    adata.obs["perturbation"] = ["control", "A", "B"] * (N_CELLS // 3)
    adata.layers["mine"] = adata.X.copy()
    SCBIG.setup_anndata(adata, layer=layer)
    name = "X" if layer is None else "layers['mine']"
    assert f"{name} holds nothing but zeros and ones. They are read as counts" in caplog.text
    caplog.clear()
    adata.layers["mine"] = adata.X = sparse.csr_matrix(np.minimum(counts, 2))
    SCBIG.setup_anndata(adata, layer=layer)
    assert "zeros and ones" not in caplog.text


def test_values_cut_off_are_warned_of(counts, caplog):
    x = np.log1p(normalise(counts))
    warn_of_depth(store_as(x, "csr"), None)
    assert not caplog.messages
    warn_of_depth(store_as(np.minimum(x, 4), "csr"), None)
    assert "X is cut off at 4, which stands" in caplog.text


@pytest.mark.parametrize("target_sum", [1, 1e4])
def test_real_screens(data_kit, target_sum):
    """Each kind is found on each screen, with all genes and some; nothing that is right is."""
    files = sorted(data_kit.glob("*.h5ad"))
    assert files
    for file in files:
        adata = read_h5ad(file)[::20].copy()
        sc.pp.normalize_total(adata, target_sum=target_sum)
        linear = sparse.csr_matrix(adata.X).toarray().astype(np.float32)
        log1p = np.log1p(linear)
        variable = np.argsort(log1p.var(axis=0))[-log1p.shape[1] // 3 :]
        for genes in (slice(None), slice(0, None, 4), variable):
            right = log1p[:, genes]
            check_expression(AnnData(right), None)
            check_expression(AnnData(right / 2 + right.mean(axis=0) / 2), None)
            wrong = {"log2": right / np.log(2), "log10": right / np.log(10)}
            wrong |= {"twice": np.log1p(right)}
            if linear.max() < 20:
                wrong |= {"not logged": linear[:, genes]}
                wrong |= {"mixes": mix(right, linear[:, genes])}
            for message, x in wrong.items():
                with pytest.raises(ValueError, match=message):
                    check_expression(AnnData(x), None)
        deviation = np.where(log1p.std(axis=0) > 0, log1p.std(axis=0, ddof=1), 1)
        with pytest.raises(ValueError, match="looks scaled"):
            check_expression(AnnData(np.minimum(log1p / deviation, 20)), None)
