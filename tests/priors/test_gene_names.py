import gzip
import logging
from pathlib import Path

import pytest

from scbig.priors import Coverage, GeneAliases, GeneEmbedding, load_aliases
from scbig.priors._gene_embedding import log_coverage, make_coverage

HGNC = (
    "hgnc_id\tsymbol\tname\talias_symbol\tprev_symbol\tensembl_gene_id\n"
    'HGNC:29798\tMAP3K21\tkinase 21\t"MLK4|dJ862P8.3"\tKIAA1804\tENSG00000143674\n'
    'HGNC:1\tALPHA\tfirst\t"SHARED|BETA"\tOLDA\tENSG00000000001\n'
    'HGNC:2\tBETA\tsecond "of" two\tSHARED\t"OLDB1|OLDB2"\tENSG00000000002\n'
    "HGNC:3\tNA\tnot missing\t\t\t\n"
)


@pytest.fixture
def aliases(tmp_path: Path) -> GeneAliases:
    path = tmp_path / "hgnc_complete_set.txt"
    path.write_text(HGNC)
    return load_aliases(path)


def test_old_and_new_names_find_each_other(aliases: GeneAliases) -> None:
    assert aliases["KIAA1804"] == "MAP3K21"
    assert aliases.resolve("KIAA1804", {"MAP3K21", "TP53"}) == "MAP3K21"
    assert aliases.resolve("MAP3K21", {"KIAA1804", "TP53"}) == "KIAA1804"
    assert aliases.resolve("MLK4", {"KIAA1804"}) == "KIAA1804"


@pytest.mark.parametrize("name", ["ENSG00000143674", "ENSG00000143674.12"])
def test_ensembl_ids(aliases: GeneAliases, name: str) -> None:
    assert aliases.resolve(name, {"MAP3K21"}) == "MAP3K21"
    assert aliases.resolve("KIAA1804", {"ENSG00000143674"}) == "ENSG00000143674"


def test_alias_of_two_genes_stands_for_neither(aliases: GeneAliases) -> None:
    assert "SHARED" not in aliases
    assert aliases.resolve("SHARED", {"ALPHA", "BETA"}) is None
    assert aliases.resolve("SHARED", {"ALPHA"}) is None
    assert aliases.resolve("ALPHA", {"SHARED"}) is None


def test_approved_symbol_goes_before_another_genes_alias(aliases: GeneAliases) -> None:
    assert aliases["BETA"] == "BETA"
    assert aliases.resolve("OLDA", {"BETA"}) is None
    assert aliases.resolve("OLDB1", {"BETA"}) == "BETA"


def test_two_known_names_of_one_gene_are_ambiguous(aliases: GeneAliases) -> None:
    assert aliases.resolve("BETA", {"OLDB1", "OLDB2"}) is None
    assert aliases.resolve("OLDB1", {"OLDB1", "OLDB2"}) == "OLDB1"


def test_unknown_name(aliases: GeneAliases) -> None:
    assert aliases.resolve("NOSUCH", {"ALPHA"}) is None
    assert aliases.resolve("NOSUCH", {"NOSUCH"}) == "NOSUCH"


def test_counts(aliases: GeneAliases) -> None:
    # 4 symbols + 4 other names of MAP3K21 + 2 of ALPHA + 3 of BETA, without SHARED.
    assert len(aliases) == len(list(aliases)) == 13
    assert aliases["NA"] == "NA"
    assert repr(aliases) == "GeneAliases(4 genes, 13 unambiguous names)"


def test_gzip_and_coverage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "hgnc.txt.gz"
    path.write_bytes(gzip.compress(HGNC.encode()))
    with caplog.at_level(logging.INFO, logger="scbig.priors"):
        load_aliases(path, var_names=["KIAA1804", "NOSUCH", "SHARED"])
    assert "1 of 3 names matched (33%); missing: NOSUCH, SHARED" in caplog.text


def test_without_ensembl_column(tmp_path: Path) -> None:
    path = tmp_path / "hgnc.txt"
    path.write_text("symbol\talias_symbol\tprev_symbol\nA\tB|C\t\n")
    assert dict(load_aliases(path)) == {"A": "A", "B": "A", "C": "A"}


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "is empty"),
        ("symbol\tsynonyms\n", r"lacks the columns .*expected .*prev_symbol.*found .*synonyms"),
        ("symbol\talias_symbol\tprev_symbol\nA\tB\tC\nD\tE\n", "line 3: Expected 3 columns"),
        ("symbol\talias_symbol\tprev_symbol\nA\t\t\nA\t\t\n", "symbol 'A' occurs twice"),
    ],
)
def test_bad_files(tmp_path: Path, text: str, match: str) -> None:
    path = tmp_path / "hgnc.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=match):
        load_aliases(path)


@pytest.mark.data_kit
def test_alias_adds_a_target_of_norman(
    aliases: GeneAliases, priors_kit: Path, norman_targets: list[str]
) -> None:
    import pandas as pd

    frame = pd.read_parquet(priors_kit / "gene_embedding_go_string_128.parquet")
    embedding = GeneEmbedding(tuple(frame.index), frame.to_numpy(), source="kit")
    plain = embedding.align(norman_targets)
    helped = embedding.align(norman_targets, aliases=aliases)
    assert plain.coverage.n_found == 92
    assert helped.coverage.n_found == 93
    row = norman_targets.index("KIAA1804")
    assert not plain.is_found[row]
    assert helped.is_found[row]
    assert helped.coverage.missing == tuple(
        name for name in plain.coverage.missing if name != "KIAA1804"
    )


def test_counts_and_order_of_what_is_missing() -> None:
    coverage = make_coverage("STRING", ["C", "A", "B"], [False, True, False])
    assert coverage == Coverage("STRING", n_found=1, n_total=3, missing=("C", "B"))
    assert coverage.fraction == pytest.approx(1 / 3)


def test_nothing_asked_for() -> None:
    assert make_coverage("STRING", [], []).fraction == 0.0


def test_text_of_a_full_match() -> None:
    assert str(Coverage("GO", 4, 4, ())) == "GO: 4 of 4 names matched (100%)"


def test_text_is_one_line_however_much_is_missing() -> None:
    missing = tuple(f"G{i}" for i in range(48))
    text = str(Coverage("STRING", 57, 105, missing))
    assert text.startswith("STRING: 57 of 105 names matched (54%); missing: G0, G1, ")
    assert text.endswith("G9, ... and 38 more")
    assert "\n" not in text


def test_text_of_few_missing_names() -> None:
    assert str(Coverage("GO", 1, 2, ("A",))).endswith("(50%); missing: A")


@pytest.mark.parametrize(("n_found", "level"), [(1, logging.INFO), (0, logging.WARNING)])
def test_log_level(caplog: pytest.LogCaptureFixture, n_found: int, level: int) -> None:
    with caplog.at_level(logging.INFO, logger="scbig.priors"):
        log_coverage(Coverage("GO", n_found, 2, ("A", "B")[n_found:]))
    assert [record.levelno for record in caplog.records] == [level]
    assert f"GO: {n_found} of 2" in caplog.text
    assert ("load_aliases" in caplog.text) == (n_found == 0)
