"""Unknown names are answered by the nearest known one, and lists by what sets them apart."""

import numpy as np
import pytest

from scbig.priors import GeneAliases, GeneEmbedding
from scbig.priors._known_targets import make_target_embeddings
from scbig.priors._nearest_names import (
    describe_nearest,
    explain_missing,
    find_nearest,
    find_rewriting,
    find_spellings,
    name_language,
)

KNOWN = ["STAT1", "STAT2", "KLF1", "HLA-A", "NKX2-1", "CEBPA", "C3orf72", "ENSG00000115415"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Klf1", "KLF1"),
        ("stat1", "STAT1"),
        ("C3ORF72", "C3orf72"),
        ("HLA_A", "HLA-A"),
        ("NKX21", "NKX2-1"),
        (" CEBPA", "CEBPA"),
        ("STAT11", "STAT1"),
        ("CEBP", "CEBPA"),
        ("CEPBA", "CEBPA"),
        ("ENSG00000115415.19", "ENSG00000115415"),
        # Numbers that are near are other genes.
        ("ENSG00000115416", None),
        ("6772", None),
        ("NOWHERE", None),
        ("stat1+Klf1", None),
        ("", None),
    ],
)
def test_the_nearest_name(name, expected):
    assert find_nearest(name, KNOWN) == expected


def test_the_same_in_other_cases_goes_before_what_is_close():
    assert find_nearest("Brd4", ["BRD3", "BRD4", "BRD41"]) == "BRD4"
    assert find_nearest("brd4", {"BRD4", "Brd4"}) == "BRD4"


def test_targets_of_a_combination_in_any_order():
    assert find_nearest("stat1+Klf1", [*KNOWN, "KLF1+STAT1"]) == "KLF1+STAT1"


def test_the_question():
    assert describe_nearest(["Klf1"], KNOWN) == "Did you mean 'KLF1'? "
    text = describe_nearest(["Klf1", "NOWHERE", "stat2"], KNOWN)
    assert text == "Did you mean 'KLF1' (for 'Klf1'), 'STAT2' (for 'stat2')? "
    assert describe_nearest(["NOWHERE"], KNOWN) == ""


def test_spellings_that_are_one_gene_alone():
    known = {"KLF1", "Stat1", "STAT1", "ENSG00000115415"}
    found = find_spellings(["Klf1", "stat1", "KLF1", "ENSG00000115415.3"], known)
    assert found == {"Klf1": "KLF1", "ENSG00000115415.3": "ENSG00000115415"}


@pytest.mark.parametrize(
    ("names", "known", "expected"),
    [
        (["KLF1", "STAT1"], ["Klf1", "Stat1", "Xyz"], (".str.upper()", 2)),
        (["Klf1", "Stat1"], ["KLF1", "STAT1", "XYZ"], (".str.capitalize()", 2)),
        (["ENSG00000115415"], ["ENSG00000115415.3"], (".str.split('.').str[0]", 1)),
        (["KLF1"], ["Klf1", "klf1"], ("", 0)),
        (["A"], ["B"], ("", 0)),
    ],
)
def test_one_rewriting_of_all(names, known, expected):
    assert find_rewriting(names, known) == expected


def test_languages():
    assert name_language(["ENSG00000115415", "ENSMUSG00000026104.15"]) == "Ensembl ids"
    assert name_language(["6772", "10661"]) == "numbers"
    assert name_language(["KLF1", "ENSA", "C3orf72"]) == "symbols"
    text = explain_missing(["KLF1"], ["ENSG00000105610"])
    assert text == (
        "these are symbols such as 'KLF1', and those Ensembl ids such as 'ENSG00000105610'"
    )
    assert explain_missing(["KLF1"], ["STAT1"]) == ""
    assert explain_missing(["Klf1"], ["KLF1"]) == "1 are written otherwise: 'Klf1' of 'KLF1'"


def embed(names: list[str], source: str = "table") -> GeneEmbedding:
    return GeneEmbedding(tuple(names), np.eye(len(names)), source)


@pytest.mark.parametrize(
    ("names", "aliases", "expected"),
    [
        (["A", "B", "C"], None, None),
        (["A", "B", "Z"], None, None),
        (["A", "Y", "Z"], None, ["1 of 3 names matched (33%); missing: B, C", "load_aliases"]),
        (["A", "B", "c"], None, ["1 are written otherwise: 'C' of 'c'", "{'c': ('C',)}"]),
        (["ENSG00000105610", "ENSG00000115415"], None, ["These are symbols such as 'A'"]),
        (["X", "Y", "Z"], GeneAliases({"X": ["A"]}), ["1 of 3 names"]),
    ],
)
def test_low_coverage_of_an_embedding_is_warned_of(names, aliases, expected, caplog):
    with caplog.at_level("INFO"):
        made = make_target_embeddings(embed(names), embed(["A", "B", "C"]), list("ABC"), aliases)
    assert [table.source for table in made.tables] == ["table", "table"]
    (record,) = [r for r in caplog.records if "Perturbation targets" in r.message]
    assert record.levelname == ("INFO" if expected is None else "WARNING")
    for part in expected or []:
        assert part in record.message
    assert ("load_aliases" in record.message) == (expected is not None and aliases is None)
