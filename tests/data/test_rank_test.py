"""Calls by ranks against scanpy's."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from scipy.sparse import csr_matrix

from scbig.data import Expression, Group, Screen, call_by_ranks, infer_schema, make_screen

SIZES = {"control": 120, "A": 40, "B": 25, "C": 9, "D": 60}


@pytest.fixture
def adata(rng: np.random.Generator) -> ad.AnnData:
    """Sparse counts, many of them level, of two batches; half of the genes change."""
    labels = np.repeat(list(SIZES), list(SIZES.values()))
    shift = {"control": 1.0, "A": 2.5, "B": 0.3, "C": 2.0, "D": 1.0}
    level = np.where(np.arange(60) % 2, 1.0, np.array([shift[name] for name in labels])[:, None])
    counts = rng.poisson(level * np.geomspace(0.05, 4, 60)).astype(np.float32)
    obs = pd.DataFrame({"perturbation": labels, "batch": np.arange(len(labels)) % 2})
    obs["batch"] = obs["batch"].map({0: "one", 1: "two"})
    obs.index = obs.index.astype(str)
    return ad.AnnData(csr_matrix(np.log1p(counts)), obs=obs)


def read(adata: ad.AnnData, keys: tuple[str, ...] = ()) -> tuple[Expression, Screen, list[Group]]:
    screen = make_screen(adata.obs, infer_schema(adata, context_keys=keys))
    return Expression(adata.X), screen, list(screen.get_groups())


def call_by_scanpy(adata: ad.AnnData, name: str) -> np.ndarray:
    copy = adata.copy()
    sc.tl.rank_genes_groups(
        copy, "perturbation", groups=[name], reference="control", method="wilcoxon"
    )
    found = sc.get.rank_genes_groups_df(copy, name).set_index("names").loc[copy.var_names]
    return (found["pvals_adj"] < 0.05).to_numpy()


def test_calls_are_those_of_scanpy(adata):
    called = call_by_ranks(*read(adata))
    names = [group[0] for group, _, _ in read(adata)[2]]
    for name, row in zip(names, called, strict=True):
        if name == "C":  # too few cells
            assert (row == -1).all()
        else:
            np.testing.assert_array_equal(row, call_by_scanpy(adata, name))
    assert called[names.index("A")].sum() > 10
    assert called[names.index("D")].sum() < 3


def test_each_context_has_its_own_controls(adata):
    _, screen, groups = parts = read(adata, ("batch",))
    called = call_by_ranks(*parts)
    for (targets, context, rows), row in zip(groups, called, strict=True):
        if len(rows) >= 10:
            here = adata[adata.obs["batch"] == screen.contexts[context]]
            np.testing.assert_array_equal(row, call_by_scanpy(here, targets[0]))


def test_an_even_choice_is_tested_and_contexts_without_controls_are_not(adata):
    called = call_by_ranks(*read(adata), max_tested=2)
    assert (called >= 0).all(axis=1).tolist() == [True, False, False, True]
    few = adata[~((adata.obs["perturbation"] == "control") & (np.arange(len(adata)) > 8))]
    assert (call_by_ranks(*read(few)) == -1).all()
    nothing = call_by_ranks(*read(adata)[:2], [])
    assert nothing.shape == (0, 60)
