"""Targets and genes under names of different kinds, and the lines that bring them together."""

import re

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData, read_h5ad

from scbig.baselines import Additive
from scbig.data import infer_schema
from scbig.data._target_names import list_targets, report_targets
from scbig.priors import GeneAliases, GeneEmbedding, TargetEmbeddings

GENES = ["KLF1", "STAT1", "CEBPA", "HLA-A", "MYC", "TP53", "JUN", "FOS"]
IDS = [f"ENSG00000{i:06d}" for i in range(100, 108)]


def make(targets: list[str], genes: list[str], **columns) -> AnnData:
    labels = np.repeat(["control", *targets], 4)
    x = np.log1p(np.random.default_rng(0).gamma(2, 1, (len(labels), len(genes))))
    obs = pd.DataFrame({"perturbation": labels}, index=[f"c{i}" for i in range(len(labels))])
    return AnnData(x.astype(np.float32), obs=obs, var=pd.DataFrame(columns, index=genes))


def say(adata: AnnData, caplog, gene_key: str | None = None) -> tuple[str, str]:
    caplog.clear()
    schema = infer_schema(adata, perturbation_key="perturbation", gene_key=gene_key)
    with caplog.at_level("INFO"):
        report_targets(adata, schema)
    record = caplog.records[-1]
    return record.levelname, record.message


@pytest.mark.parametrize("name", ["gene_symbols", "gene_name", "feature_name", "anything"])
@pytest.mark.parametrize("as_type", [object, "category", "str"])
def test_the_column_that_has_the_targets_is_named(name, as_type, caplog):
    adata = make(GENES[:4], IDS, chromosome=list("12345678"), **{name: GENES})
    adata.var[name] = adata.var[name].astype(as_type)
    level, text = say(adata, caplog)
    assert level == "WARNING"
    assert "0 of 4 targets are among the 8 genes of var_names; not: CEBPA, HLA-A, KLF1" in text
    assert text.endswith(f"has 4 of them. Name it: setup_anndata(adata, gene_key={name!r})")
    assert say(adata, caplog, name) == (
        "INFO",
        f"4 of 4 targets are among the 8 genes of var[{name!r}].",
    )


def test_the_other_way_round(caplog):
    adata = make(IDS[:4], GENES, gene_ids=IDS)
    level, text = say(adata, caplog)
    assert (level, text[-41:]) == ("WARNING", "setup_anndata(adata, gene_key='gene_ids')")
    adata = make(IDS[:4], IDS, symbol=GENES)
    level, text = say(adata, caplog, "symbol")
    assert level == "WARNING"
    assert text.endswith("var_names have 4 of them: leave out gene_key")


@pytest.mark.parametrize(
    ("targets", "genes"),
    [
        (["Klf1", "Stat1", "Cebpa"], GENES),
        (["KLF1", "STAT1", "CEBPA"], [g.capitalize() for g in GENES]),
        (["klf1", "stat1", "cebpa"], GENES),
        (IDS[:3], [f"{i}.7" for i in IDS]),
        (["KLF1", "STAT1", "Cebpa"], GENES),
    ],
)
@pytest.mark.parametrize("gene_key", [None, "symbol"])
def test_names_that_are_written_otherwise(targets, genes, gene_key, caplog):
    n_found = len(set(targets) & set(genes))
    names = genes if gene_key is None else [f"x{i}" for i in range(8)]
    adata = make(targets, names, **({} if gene_key is None else {gene_key: genes}))
    level, text = say(adata, caplog, gene_key)
    assert level == "WARNING"
    assert f"{n_found} of 3 targets" in text
    assert f"{3 - n_found} are written otherwise: {sorted(set(targets) - set(genes))[0]!r}" in text
    exec(re.search(r"adata\.var.* = adata\.var.*$", text)[0], {"adata": adata})
    assert say(adata, caplog, gene_key)[0] == "INFO"


@pytest.mark.parametrize(
    ("targets", "genes", "what"),
    [
        (GENES[:3], IDS, "symbols such as 'CEBPA', and those Ensembl ids such as"),
        (IDS[:3], GENES, "Ensembl ids such as 'ENSG00000000100', and those symbols such as"),
    ],
)
def test_other_identifiers_without_a_column(targets, genes, what, caplog):
    level, text = say(make(targets, genes), caplog)
    assert level == "WARNING"
    assert what in text
    assert "gene_key='...'" in text
    assert "load_aliases('hgnc_complete_set.txt')" in text


def test_none_is_warned_of_and_a_part_of_a_panel_is_not(caplog):
    level, text = say(make(["A", "B"], GENES), caplog)
    assert level == "WARNING"
    assert "Are these other identifiers?" in text
    assert say(make(["A", "B", "MYC"], GENES), caplog) == (
        "INFO",
        "1 of 3 targets are among the 8 genes of var_names; not: A, B.",
    )
    # Of all genes of a genome, most targets are one.
    whole = [*GENES, *(f"G{i}" for i in range(5000))]
    assert say(make(["A", "B", "MYC"], whole), caplog)[0] == "WARNING"
    assert say(make(["A", "JUN", "MYC"], whole), caplog)[0] == "INFO"


def test_real_screens(data_kit, caplog):
    """Panels of genes have few of the targets, and are not warned of but where there are none."""
    found = {}
    for file in sorted(data_kit.glob("*.h5ad")):
        level, text = say(read_h5ad(file)[::5].copy(), caplog)
        targets = {
            t for x in read_h5ad(file).obs["perturbation"].astype(str) for t in x.split("+")
        }
        targets -= {"control"}
        n = len(targets & set(read_h5ad(file, backed="r").var_names))
        assert text.startswith(f"{n} of {len(targets)} targets are among the")
        found[file.stem] = level
    assert {name for name, level in found.items() if level == "WARNING"} == {"mcfaline2024_mini"}


def test_setup_says_it_and_loci_are_no_genes(caplog):
    adata = make(GENES[:4], IDS, symbols=GENES)
    Additive.setup_anndata(adata)
    assert "Name it: setup_anndata(adata, gene_key='symbols')" in caplog.text
    from scbig.model import STRAND

    caplog.clear()
    adata = make(["chr1:1000", "chr1:9000"], GENES)
    STRAND.setup_anndata(adata, perturbation_key="perturbation")
    assert "targets are among" not in caplog.text


def test_targets_are_listed_with_how_they_are_known():
    conditions = [(), ("A",), ("A", "B"), ("B", "C"), ("A",), ("D",)]
    one = GeneEmbedding(("A", "E", "Z"), np.array([[1.0], [2.0], [0.0]]), "first")
    two = GeneEmbedding(("A", "C", "F"), np.eye(3), "second")
    embeddings = TargetEmbeddings((one, two), GeneAliases({"F": ["B"]}))
    frame = list_targets(conditions, ["A", "F", "G"], embeddings)
    assert frame.index.tolist() == ["A", "D", "B", "C", "E", "F"]
    assert frame["known"].tolist() == [*["alone"] * 2, *["combination"] * 2, *["embedding"] * 2]
    assert frame["n_conditions"].tolist() == [2, 1, 2, 1, 0, 0]
    assert frame["is_gene"].tolist() == [True, False, False, False, False, True]
    assert frame["embedding"].tolist() == ["first", "", "second", "second", "first", "second"]
    empty = list_targets([], [], TargetEmbeddings())
    assert empty.shape == (0, 4)
