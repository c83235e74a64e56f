import logging

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st

from scbig.data import GeneMatch, get_gene_names, match_genes
from scbig.data._expression import check_names

GENES = [f"G{i}" for i in range(10)]


def resolver(aliases):
    return lambda name, known: aliases[name] if aliases.get(name) in known else None


@given(
    order=st.permutations([*GENES, "extra1", "extra2"]), missing=st.sets(st.sampled_from(GENES))
)
def test_columns_point_at_the_named_genes(order, missing):
    names = pd.Index([name for name in order if name not in missing])
    match = match_genes(names, GENES, max_missing=1)
    found = [names[c] if c >= 0 else None for c in match.columns]
    assert found == [None if gene in missing else gene for gene in GENES]
    assert match.missing == tuple(gene for gene in GENES if gene in missing)
    assert match.n_extra == 2
    assert not match.is_identity


def test_identity():
    assert match_genes(pd.Index(GENES), GENES).is_identity
    assert not match_genes(pd.Index(GENES[::-1]), GENES).is_identity
    assert not GeneMatch(np.arange(3), (), 1).is_identity


def test_what_was_not_matched_is_reported(caplog):
    with caplog.at_level(logging.INFO, "scbig.data"):
        match_genes(pd.Index(GENES), GENES)
        assert caplog.text == ""
        match = match_genes(pd.Index([*GENES[2:], "X"]), GENES)
    assert match.missing == ("G0", "G1")
    assert (
        "8 of 10 found, 2 missing (filled with the control mean): G0, G1; 1 extra" in caplog.text
    )


def test_too_many_missing_genes():
    names = pd.Index(["ENSG1", "ENSG2", *GENES[3:]])
    message = (
        r"3 of the model's 10 genes are missing in the data, more than the 20% allowed: "
        r"\['G0', 'G1', 'G2'\] against \['ENSG1', 'ENSG2', .*adata.var_names = adata.var\["
    )
    with pytest.raises(ValueError, match=message):
        match_genes(names, GENES)
    assert match_genes(names, GENES, max_missing=0.3).n_extra == 2


def test_aliases():
    names = pd.Index(["NEW0", *GENES[1:]])
    match = match_genes(names, GENES, resolve=resolver({"G0": "NEW0"}))
    np.testing.assert_array_equal(match.columns, np.arange(10))
    assert match.missing == ()
    assert match.n_extra == 0


def test_one_column_does_not_stand_for_two_genes():
    aliases = resolver({"OLD": "G0", "OLDER": "NEW", "OLDEST": "NEW"})
    match = match_genes(
        pd.Index(["NEW", *GENES]), [*GENES, "OLD", "OLDER", "OLDEST"], resolve=aliases
    )
    assert match.missing == ("OLD", "OLDEST")
    np.testing.assert_array_equal(match.columns, [*range(1, 11), -1, 0, -1])


def test_names_of_a_column(adata):
    adata.var["ensembl"] = [f"ENSG{i}" for i in range(8)]
    adata.var["entrez"] = np.arange(100, 108)
    adata.var["category"] = pd.Categorical(adata.var["ensembl"])
    ensembl = [f"ENSG{i}" for i in range(8)]
    assert list(get_gene_names(adata, "ensembl")) == ensembl
    assert list(get_gene_names(adata, "category")) == ensembl
    assert list(get_gene_names(adata, "entrez")) == [str(i) for i in range(100, 108)]
    assert list(get_gene_names(adata, None)) == [f"G{i}" for i in range(8)]
    # The control cells that travel with a model have its names as var_names.
    assert list(get_gene_names(adata, "absent")) == [f"G{i}" for i in range(8)]
    match = match_genes(get_gene_names(adata, "entrez"), ["107", "100"])
    np.testing.assert_array_equal(match.columns, [7, 0])


def test_names_are_checked():
    check_names(pd.Index(["a", "b"]))
    with pytest.raises(ValueError, match=r"1 empty gene name\(s\), the first at position 2"):
        check_names(pd.Index(["a", "b", np.nan], dtype=object))
    with pytest.raises(ValueError, match=r"var\['x'\] has 1 duplicate .*~adata.var\['x'\].dupl"):
        check_names(pd.Index(["a", "a"]), "var['x']")
