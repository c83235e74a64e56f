"""Names that would pass as new genes: in tables of guides, under two names, in other writing."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from scbig.data import infer_schema
from scbig.labels._spellings import find_written_otherwise
from scbig.splits import make_split

GENES = ["STAT1", "JAK2", "MYC", "HLA-A", "GATA1", "TP53", "NKX2-1", "MT-ND1", "7SK"]
PLAIN = ["control", "STAT1", "JAK2"]
SYMBOLS = ["STAT1", "JAK2", "MYC", "HLA-A"]
IDS = [f"ENSG0000010000{i}" for i in range(4)]


def make_cells(labels, genes=GENES, var=None, key="perturbation", **columns) -> AnnData:
    obs = pd.DataFrame({key: labels, **columns})
    obs.index = [f"c{i}" for i in range(len(obs))]
    values = np.ones((len(obs), len(genes)), np.float32)
    return AnnData(values, obs=obs, var=pd.DataFrame(var or {}, index=genes))


def read(cells: AnnData, **arguments) -> dict[str, tuple[str, ...]]:
    schema = infer_schema(cells, **arguments)
    labels = cells.obs[schema.perturbation_key].astype(str).unique()
    return {label: schema.parse(label) for label in labels}


def refused(message: str, cells: AnnData, **arguments) -> str:
    with pytest.raises(ValueError, match=message) as error:
        read(cells, **arguments)
    return str(error.value)


def run(line: str, cells: AnnData) -> AnnData:
    scope = {"adata": cells.copy()}
    exec(line.partition("\n")[0], scope)
    return scope["adata"]


def take_table(text: str) -> dict[str, str]:
    return eval(text[: text.index("}") + 1])


# --- tables of guides ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "what", "targets"),
    [
        ("1-Mar", "is a date", ("MARCHF1",)),
        ("STAT1+nan", "says that there is none", ("STAT1",)),
        ("['STAT1', 'JAK2']", "is a list as text", ("JAK2", "STAT1")),
        ("43160", "is a number", None),
        ("sgSTAT1", "is like a guide", ("STAT1",)),
        ("siSTAT1", "is like a guide", ("STAT1",)),
        ("STAT1_1", "is like a guide", ("STAT1",)),
        ("STAT1xJAK2", "is like a combination", ("JAK2", "STAT1")),
        ("STAT1ctrl", "is like a combination", ("STAT1",)),
    ],
)
@pytest.mark.parametrize("form", [dict, pd.Series, "frame"])
def test_what_a_table_says_is_doubted(value, what, targets, form):
    table = {"g0": "control", "g1": value, "g3": "JAK2"}
    frame = pd.DataFrame({"guide": list(table), "gene": list(table.values())})
    given = frame if form == "frame" else form(table)
    cells = make_cells(["g0", "g1", "g3"])
    text = refused("no name of a gene for 1 guide", cells, guide_to_gene=given)
    assert f"'g1': {value!r}, which {what}" in text
    if targets is not None:
        mended = take_table(text.partition("in the table: guide_to_gene=")[2])
        assert read(cells, guide_to_gene=mended)["g1"] == targets
    if "say so: " in text:
        told = take_table(text.partition("say so: guide_to_gene=")[2])
        assert read(cells, guide_to_gene=told)["g1"] == (value,)


def test_cases_of_a_table():
    table = {"g0": "control", "g1": "stat1", "g2": "STAT1", "g3": "JAK2"}
    cells = make_cells(list(table))
    text = refused("'g1': 'stat1', which is written in other", cells, guide_to_gene=table)
    mended = take_table(text.partition("in the table: guide_to_gene=")[2])
    assert read(cells, guide_to_gene=mended)["g1"] == ("STAT1",)


@pytest.mark.parametrize("value", ["STAT1", "STAT1+JAK2", "ATF4", "chr8.847_top_two", "HLA-DRA"])
def test_tables_of_honest_screens(value, caplog):
    table = {"g0": "control", "g1": value, "g3": "JAK2", "unused": "1-Mar"}
    assert read(make_cells(["g0", "g1", "g3"]), guide_to_gene=table)["g3"] == ("JAK2",)
    assert not caplog.records


@pytest.mark.parametrize("key", ["perturbation", "what"])
@pytest.mark.parametrize("join", ["+", "|", ";"])
def test_guides_are_found_in_pairs(key, join):
    table = {"STAT1_1": "STAT1", "JAK2_2": "JAK2", "nt1": "control", "nt2": "control"}
    labels = [f"nt1{join}nt2", f"STAT1_1{join}JAK2_2", f"STAT1_1{join}nt1"]
    parsed = read(make_cells(labels, key=key), guide_to_gene=table)
    assert list(parsed.values()) == [(), ("JAK2", "STAT1"), ("STAT1",)]


# --- one gene under two names -------------------------------------------------------------------


@pytest.mark.parametrize("by_id", [True, False])
@pytest.mark.parametrize(
    "label",
    [f"{IDS[0]}_STAT1", f"STAT1_{IDS[0]}", f"{IDS[0]}|STAT1", f"{IDS[0]}+STAT1"],
)
def test_an_id_beside_its_symbol_is_no_combination(label, by_id):
    genes, var = (IDS, {"gene_name": SYMBOLS}) if by_id else (SYMBOLS, {"gene_ids": IDS})
    cells = make_cells(["control", label, "JAK2"], genes, var)
    with pytest.raises(ValueError, match=r"another name|guide") as error:
        read(cells)
    if "another name" in str(error.value):
        line = str(error.value).partition("for each: ")[2]
        assert read(run(line, cells)).keys() == {"control", "STAT1", "JAK2"}


@pytest.mark.parametrize("other", ["STAT1", f"{IDS[0]}.3"])
@pytest.mark.parametrize("by_id", [True, False])
def test_a_gene_has_one_name_in_a_screen(other, by_id):
    genes, var = (IDS, {"gene_name": SYMBOLS}) if by_id else (SYMBOLS, {"gene_ids": IDS})
    cells = make_cells(["control", IDS[0], other], genes, var)
    text = refused("1 target.*go by another name", cells)
    assert len(read(run(text.partition("for each: ")[2], cells))) == 2


def test_ids_and_symbols_of_different_genes(caplog):
    cells = make_cells(["control", IDS[0], "JAK2", "JAK2+MYC"], IDS, {"gene_name": SYMBOLS})
    assert read(cells)["JAK2+MYC"] == ("JAK2", "MYC")
    assert not caplog.records


# --- controls, guides, genotypes and gaps -------------------------------------------------------


@pytest.mark.parametrize("label", ["STAT1xctrl", "STAT1ctrl", "ctrlSTAT1", "STAT1xNT", "NTxSTAT1"])
def test_controls_glued_to_a_gene(label):
    refused(f"{label!r} could be", make_cells([*PLAIN, label]))


@pytest.mark.parametrize("number", ["", "_2"])
def test_sites_that_are_no_genes_are_controls(number):
    other = f"ONE_NON-GENE_SITE{number}"
    cells = make_cells(["NO_SITE", other, "STAT1", "JAK2"])
    refused("More than one label.*could be the control", cells)
    assert read(cells, control=["NO_SITE", other])[other] == ()


PREFIXED = ["siSTAT1", "shSTAT1", "shSTAT1-1", "sh-STAT1", "siSTAT1_1", "gSTAT1", "gSTAT1_1"]
PREFIXED += ["crSTAT1", "esiSTAT1", "siRNA_STAT1", "\u0394STAT1", "STAT1_sh1", "STAT1_si2"]


@pytest.mark.parametrize("label", PREFIXED)
def test_other_kinds_of_guides(label):
    text = refused("look like guides", make_cells([*PLAIN, label]))
    assert f"guide_to_gene={{{label!r}: 'STAT1'}}" in text


def test_sequences_are_guides():
    refused("look like guides", make_cells([*PLAIN, "ACGTACGTACGTACGTACGT"]))


@pytest.mark.parametrize("label", ["siCtrl", "shNT-1", "gNT", "siScramble"])
def test_controls_of_other_kinds_of_guides(label):
    assert read(make_cells([label, "STAT1"]))[label] == ()


def test_a_gene_beside_a_control_is_no_word_of_guides():
    assert read(make_cells(["control", "SG_control"], ["SG", "A"]))["SG_control"] == ("SG",)


@pytest.mark.parametrize("label", ["STAT1+/-", "STAT1-/-", "STAT1+/+"])
def test_genotypes_are_no_combinations(label):
    text = refused("look like guides", make_cells([*PLAIN, label]))
    table = take_table(text.partition("guide_to_gene=")[2])
    assert read(make_cells([*PLAIN, label]), guide_to_gene=table)[label] == ("STAT1",)


@pytest.mark.parametrize("gap", ["*", "none_detected", "#REF!", "#NAME?", "no call"])
@pytest.mark.parametrize("label", ["{}", "STAT1+{}"])
def test_further_ways_to_say_that_there_is_none(gap, label):
    refused(r"is missing for 1 cell\(s\)", make_cells([*PLAIN, label.format(gap)]))


# --- warnings -----------------------------------------------------------------------------------

OTHERWISE = {"HLA.A": "HLA-A", "NKX2.1": "NKX2-1", "MT.ND1": "MT-ND1", "HLA_A": "HLA-A"}
OTHERWISE |= {"HLAA": "HLA-A", "X7SK": "7SK", "HLA\u2010A": "HLA-A", "HL\u0410-A": "HLA-A"}
OTHERWISE |= {"myc": "MYC"}


@pytest.mark.parametrize("label", OTHERWISE)
def test_genes_in_other_writing_are_warned_of(label, caplog):
    cells = make_cells([*PLAIN, label])
    assert read(cells)[label] == (label,)
    line = caplog.text.partition("If they are these: ")[2]
    assert read(run(line, cells))[OTHERWISE[label]] == (OTHERWISE[label],)
    if label not in ("HLAA", "myc"):
        text = refused("another name", make_cells([*PLAIN, label, OTHERWISE[label]]))
        assert "if they are different targets" in text


def test_genes_in_other_writing_are_not_split():
    cells = make_cells([*PLAIN, "STAT1_JAK2", "HLA_A"])
    text = refused("'HLA_A' could be 'HLA-A'", cells)
    assert "HLA-A" in read(run(text.partition("the genes: ")[2], cells))


@pytest.mark.parametrize("name", ["ATF4", "HLA-C", "NKX2-5", "MYCN", "MT-CO1", "TP53BP1", "7SL"])
def test_unmeasured_genes_are_not_warned_of(name, caplog):
    assert find_written_otherwise([name], GENES, is_loose=True) == {}
    assert read(make_cells([*PLAIN, name]))[name] == (name,)
    assert not caplog.records


@pytest.mark.parametrize("name", ["AAVS1", "LacZ", "EGFP", "GFP", "Luciferase", "ROSA26", "CLYBL"])
def test_stand_ins_are_warned_of_unless_they_are_measured(name, caplog):
    assert read(make_cells([*PLAIN, name]))[name] == (name,)
    assert f"control=['control', {name!r}]" in caplog.text
    assert read(make_cells([*PLAIN, name]), control=["control", name])[name] == ()
    caplog.clear()
    read(make_cells([*PLAIN, name], [*GENES, name]))
    assert not caplog.records


def test_a_hyphen_that_one_label_has_is_warned_of(caplog):
    genes, label = [*GENES, "JMJD7", "PLA2G4B"], "JMJD7-PLA2G4B"
    read(make_cells(["control", label, "STAT1"], genes))
    assert f"Only {label!r} says that '-' stands" in caplog.text
    caplog.clear()
    told = read(make_cells(["control", label], genes), guide_to_gene={label: label})
    assert told[label] == (label,)
    read(make_cells([*PLAIN, "STAT1-JAK2"]))
    assert not caplog.records


def test_contexts_in_other_writing_are_warned_of(caplog):
    lines = ["K562", "K562", "k562", "k562", " K562", " K562"]
    cells = make_cells(["control", "STAT1"] * 3, line=lines)
    read(cells, context_keys="line")
    mended = run(caplog.text.partition("the same: ")[2], cells)
    assert set(mended.obs["line"]) == {"K562"}


def test_missing_labels_are_refused_by_gears():
    with pytest.raises(ValueError, match=r"obs\['perturbation'\] is missing for 1 cell"):
        make_split(make_cells([*PLAIN, None, "MYC", "STAT1+JAK2"]), "gears")
