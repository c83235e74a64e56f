"""Labels with a doubt: the error says what was found, and its line can be run."""

import ast
import re

import anndata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from hypothesis import given, settings, strategies as st

from scbig import benchmark
from scbig.baselines import Additive
from scbig.data import PerturbationField, infer_schema, make_screen
from scbig.labels._distorted import find_date_gene, find_joined, unwrap
from scbig.splits import make_split

GENES = ["STAT1", "JAK2", "KLF1", "HLA-A", "NKX2-1", "IRF1", "MARCHF1", "SEPTIN2"]
PLAIN = ["control", "STAT1", "JAK2"]


def make_cells(labels, genes=GENES, key="perturbation", **columns) -> AnnData:
    obs = pd.DataFrame({key: labels, **columns})
    obs.index = [f"c{i}" for i in range(len(obs))]
    values = np.ones((len(obs), len(genes)), np.float32)
    return AnnData(values, obs=obs, var=pd.DataFrame(index=genes))


def read(cells: AnnData, **arguments) -> dict[str, tuple[str, ...]]:
    """Read labels as ``setup_anndata`` does."""
    schema = infer_schema(cells, **arguments)
    PerturbationField(schema).validate_field(cells)
    labels = cells.obs[schema.perturbation_key].astype(str).unique()
    parsed = {label: schema.parse(label) for label in labels}
    assert set(make_screen(cells.obs, schema).conditions) == set(parsed.values())
    # What is written is read alike; without a separator it has to be said again.
    assert schema.separator is None or infer_schema(cells, **schema.to_dict()) == schema
    return parsed


def refused(message: str, cells: AnnData, **arguments) -> str:
    with pytest.raises(ValueError, match=message) as error:
        read(cells, **arguments)
    return str(error.value)


LINE = re.compile(r"adata(?:\.obs\[[^\]]+\])? = .*?(?=$|\n|[.] Otherwise)")
ARGUMENT = re.compile(r"\b(separator|control|guide_to_gene|perturbation_key|context_keys)=")


def list_remedies(message: str) -> list[str]:
    """List the lines and arguments that a message proposes, as they stand in it."""
    found = LINE.findall(message)
    text = LINE.sub("", message)
    for start in ARGUMENT.finditer(text):
        value = text[start.end() :]
        stops = [i for i in range(len(value), 0, -1) if is_literal(value[:i])]
        if stops:
            found.append(f"{start[0]}{value[: stops[0]]}")
    return found


def is_literal(text: str) -> bool:
    try:
        value = ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return False
    return isinstance(value, str | list | dict) and value != "..." and ... not in list(value)


def mend(remedy: str, cells: AnnData, arguments: dict) -> tuple[AnnData, dict]:
    """Do what a message proposes."""
    if remedy.startswith("adata"):
        scope = {"adata": cells.copy()}
        exec(remedy, scope)
        return scope["adata"], arguments
    return cells, arguments | eval(f"dict({remedy})")


# --- two readings -------------------------------------------------------------------------------

AMBIGUOUS = ["A", "B_C", "A_B", "C", "D"]


@pytest.mark.parametrize("separator", [None, "_"])
@pytest.mark.parametrize(("choice", "targets"), [(0, ("A", "B_C")), (1, ("A_B", "C"))])
def test_a_label_of_two_readings_is_asked_for(separator, choice, targets):
    cells = make_cells(["control", "A", "C", "A_B_C", "A_D"], AMBIGUOUS)
    text = refused(
        r"1 label\(s\) of obs\['perturbation'\] can be read in more than one way: 'A_B_C' as A "
        "and B_C, or as A_B and C. Say which it is: guide_to_gene=",
        cells,
        separator=separator,
    )
    lines = list_remedies(text)
    assert lines == ["guide_to_gene={'A_B_C': 'A+B_C'}", "guide_to_gene={'A_B_C': 'A_B+C'}"]
    told = mend(lines[choice], cells, {"separator": separator})[1]
    assert read(cells, **told)["A_B_C"] == targets
    assert read(cells, **told)["A_D"] == ("A", "D")


def test_another_separator_tells_readings_apart():
    cells = make_cells(["control", "A", "C", "A_B+C", "A_B"], AMBIGUOUS)
    assert read(cells, separator="+")["A_B+C"] == ("A_B", "C")


def test_what_is_asked_is_not_read_in_two_ways():
    cells = make_cells(["control", "A", "C", "D", "A_D"], AMBIGUOUS)
    schema = infer_schema(cells)
    assert schema.separator == "_"
    with pytest.raises(ValueError, match="'A_B_C' can be read in more than one way"):
        schema.read_labels(["A_B_C"])
    with pytest.raises(ValueError, match="'A_B_C' can be read in more than one way"):
        schema.read_labels([("A", "B_C")])
    assert schema.read_labels(["A_B", ("A", "D")]) == {"A_B": ("A_B",), "A_D": ("A", "D")}


def test_a_gene_whose_name_joins_two_that_are_perturbed():
    genes = ["TMED7", "TICAM2", "TMED7-TICAM2", "STAT1"]
    labels = ["control", "TMED7", "TICAM2", "TMED7-TICAM2", "TMED7-STAT1", "STAT1"]
    text = refused("'TMED7-TICAM2' as .*TMED7-TICAM2", make_cells(labels, genes))
    found = {
        read(make_cells(labels, genes), **mend(line, None, {})[1])["TMED7-TICAM2"]
        for line in list_remedies(text)
    }
    assert found == {("TMED7-TICAM2",), ("TICAM2", "TMED7")}
    # Where they are not perturbed alone it is a name like others.
    assert read(make_cells(["control", *labels[3:]], genes))["TMED7-TICAM2"] == ("TMED7-TICAM2",)


# --- large and small letters --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "mended"),
    [
        (["stat1"], ["STAT1"]),
        (["stat1+jak2"], ["STAT1+JAK2"]),
        (["Stat1+JAK2", "STAT1+JAK2"], ["STAT1+JAK2", "STAT1+JAK2"]),
        (["stat1", "Jak2+STAT1"], ["STAT1", "JAK2+STAT1"]),
    ],
)
def test_targets_in_two_cases_are_merged(labels, mended):
    cells = make_cells([*PLAIN, *labels])
    text = refused("written in two ways, with large and with small letters, such as '", cells)
    line = next(one for one in list_remedies(text) if one.startswith("adata"))
    better, _ = mend(line, cells, {})
    assert better.obs["perturbation"].tolist() == [*PLAIN, *mended]
    assert set().union(*read(better).values()) == {"STAT1", "JAK2"}
    apart = next(one for one in list_remedies(text) if one.startswith("guide_to_gene"))
    assert len(set().union(*read(cells, **mend(apart, cells, {})[1]).values())) > 2


def test_measured_genes_that_differ_in_case_are_two():
    genes = ["dl", "Dl", "STAT1"]
    assert read(make_cells(["control", "dl", "Dl"], genes))["dl"] == ("dl",)


# --- controls -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "control", "own"),
    [
        ([0.0, 1.0, 2.0], 0, "0.0"),
        ([0, 1, 2], 0.0, "0"),
        ([0.0, 1.0, 2.0], "0", "0.0"),
        ([0.0, 1.0, 2.0], [0], "0.0"),
        (np.array([0, 1, 2], np.int8), np.int64(0), "0"),
        (pd.array([0, 1, 2], dtype="Int64"), 0, "0"),
    ],
)
@pytest.mark.parametrize("table", [{1: "STAT1", 2: "JAK2"}, {1.0: "STAT1", 2.0: "JAK2"}])
def test_controls_and_guides_may_be_numbers(values, control, own, table):
    for arguments in ({"perturbation_key": "perturbation"}, {}):
        parsed = read(make_cells(values), control=control, guide_to_gene=table, **arguments)
        assert list(parsed.values()) == [(), ("STAT1",), ("JAK2",)]
        assert next(iter(parsed)) == own


@pytest.mark.parametrize("control", [True, np.True_, [True]])
def test_truth_values_say_only_whether(control):
    cells = make_cells([True, False, False], gene=["NT", "STAT1", "JAK2"])
    text = refused(
        r"says only whether cells are perturbed: 'False' \(2 cells\). Columns found: "
        r"\['perturbation', 'gene'\]",
        cells,
        control=control,
    )
    assert read(cells, **mend("perturbation_key='gene'", cells, {})[1])["NT"] == ()
    assert "perturbation_key=" in text


@pytest.mark.parametrize(
    "label",
    [
        *("neg_1", "neg-2", "NEG3", "neg.ctrl.1", "NegCtrl_g2", "negative control 4"),
        *("NO_SITE_5", "ONE_SITE_12", "non-targeting_human_0001", "unperturbed_2"),
        *("NonTargetingControlGuideForHuman_0001", "empty vector", "uninfected"),
        *("safe_harbor_1", "scramble-2", "INTERGENIC_12", "CTRL00522", "non_perturbed"),
    ],
)
def test_labels_like_controls_are_no_guides(label):
    cells = make_cells([*PLAIN, label])
    for arguments in ({"control": "control"}, {"control": "control", "separator": "_"}):
        text = refused(f"look like controls.*'{re.escape(label)}'", cells, **arguments)
        for line in list_remedies(text):
            better, told = mend(line, cells, arguments)
            assert set(read(better, **told).values()) == {(), ("STAT1",), ("JAK2",)}
    assert read(make_cells([label, "STAT1"]))[label] == ()


# --- a gene that is called as controls are ------------------------------------------------------


def test_a_measured_gene_with_the_name_of_controls():
    genes = [*GENES, "CTRL"]
    cells = make_cells(["control", "CTRL", "STAT1"], genes)
    text = refused(
        r"could be the control: 'control' .*, 'CTRL' \(1 cells\) \('CTRL' is also measured\). Name it: "  # noqa: E501
        "control='control', if 'CTRL' is the gene that was perturbed, or all that are: control=",
        cells,
    )
    gene, both = (mend(line, cells, {})[1] for line in list_remedies(text))
    assert read(cells, **gene)["CTRL"] == ("CTRL",)
    assert read(cells, **both)["CTRL"] == ()
    assert read(cells, guide_to_gene={"CTRL": "CTRL"})["CTRL"] == ("CTRL",)


def test_a_measured_gene_with_the_name_of_controls_in_combinations():
    cells = make_cells(["control", "CTRL+STAT1", "STAT1"], [*GENES, "CTRL"])
    text = refused("'CTRL' is a measured gene, and a usual name of controls. If it is", cells)
    gene, both = (mend(line, cells, {})[1] for line in list_remedies(text))
    assert read(cells, **gene)["CTRL+STAT1"] == ("CTRL", "STAT1")
    assert read(cells, **both)["CTRL+STAT1"] == ("STAT1",)
    # In another case it is a word of GEARS.
    assert read(make_cells(["ctrl", "STAT1+ctrl"], [*GENES, "CTRL"]))["STAT1+ctrl"] == ("STAT1",)
    schema = infer_schema(make_cells(PLAIN, [*GENES, "CTRL"]))
    with pytest.raises(ValueError, match="'CTRL' is a measured gene"):
        schema.read_labels(["CTRL+STAT1"])


def test_a_control_that_is_also_measured_is_told(caplog):
    assert read(make_cells(["CTRL", "STAT1"], [*GENES, "CTRL"]))["CTRL"] == ()
    assert "'CTRL' is taken for the control, though a gene of that name" in caplog.text


# --- tables of guides ---------------------------------------------------------------------------

GUIDES = ["NT_g1", "STAT1_g1", "STAT1_g2", "JAK2_g1"]
OF_GUIDES = ["control", "STAT1", "STAT1", "JAK2"]
TABLE = pd.DataFrame({"guide": GUIDES, "gene": OF_GUIDES})


@pytest.mark.parametrize(
    "table",
    [
        TABLE,
        TABLE[["gene", "guide"]],
        TABLE.set_index("guide"),
        TABLE.set_index("gene"),
        TABLE.set_index("guide")["gene"],
        TABLE.set_index("gene")["guide"],
        TABLE.assign(sequence=["ACGT", "CCGT", "TTTT", "GGGG"])[["sequence", "gene", "guide"]],
        TABLE.assign(n=range(4))[["n", "guide", "gene"]],
        TABLE.rename(columns={"guide": "x", "gene": "y"})[["y", "x"]],
        TABLE.rename(columns={"guide": "sgRNA", "gene": "Target_Gene"}).assign(chr="chr1"),
        [list(pair) for pair in zip(OF_GUIDES, GUIDES, strict=True)],
        dict(zip(GUIDES, OF_GUIDES, strict=True)),
        dict(zip(GUIDES, [["control"], ["STAT1"], ("STAT1",), {"JAK2"}], strict=True)),
    ],
)
@pytest.mark.parametrize("arguments", [{}, {"perturbation_key": "guide"}])
@pytest.mark.parametrize("beside", [{}, {"gene": OF_GUIDES}])
def test_tables_of_guides_are_read_in_any_form(table, arguments, beside):
    cells = make_cells(GUIDES, key="guide", **beside)
    parsed = read(cells, guide_to_gene=table, **arguments)
    assert parsed == dict(zip(GUIDES, [(), ("STAT1",), ("STAT1",), ("JAK2",)], strict=True))


@pytest.mark.parametrize(
    ("table", "message", "line"),
    [
        ("gene", "is a column of obs, and no table.*take it", "perturbation_key='gene'"),
        ("library.csv", "Of a file: guide_to_gene=pandas.read_csv", None),
        (TABLE.assign(gene=[None, *OF_GUIDES[1:]]), "=table.fillna", None),
        (TABLE[["guide"]].reset_index(drop=True), "No column of obs holds a guide", None),
    ],
)
def test_tables_that_are_none(table, message, line):
    cells = make_cells(GUIDES, key="guide", gene=OF_GUIDES)
    text = refused(message, cells, guide_to_gene=table)
    if line is not None:
        assert line in list_remedies(text)
        assert read(cells, **mend(line, cells, {})[1])["control"] == ()


@pytest.mark.parametrize("beside", [{}, {"gene": OF_GUIDES}])
def test_tables_may_list_the_guides_of_each_gene(beside):
    table = {"STAT1": ["STAT1_g1", "STAT1_g2"], "control": ["NT_g1"], "JAK2": ("JAK2_g1",)}
    cells = make_cells(GUIDES, key="guide", **beside)
    parsed = read(cells, guide_to_gene=table)
    assert list(parsed.values()) == [(), ("STAT1",), ("STAT1",), ("JAK2",)]


def test_a_guide_of_two_genes_says_so_at_any_separator():
    table = {"dual": "STAT1+JAK2", "pair": ["KLF1", "JAK2"], "x": "KLF1"}
    cells = make_cells(["control", "dual", "pair", "x", "STAT1_KLF1"])
    parsed = read(cells, guide_to_gene=table)
    assert list(parsed.values())[1:] == [
        ("JAK2", "STAT1"),
        ("JAK2", "KLF1"),
        ("KLF1",),
        ("KLF1", "STAT1"),
    ]
    assert infer_schema(cells, guide_to_gene=table).separator == "_"


# --- missing parts ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "single"),
    [
        ("STAT1+None", "STAT1"),
        ("nan+JAK2", "JAK2"),
        ("STAT1+", "STAT1"),
        ("+STAT1", "STAT1"),
        ("STAT1+JAK2+NA", "STAT1+JAK2"),
        ("STAT1+unassigned", "STAT1"),
        ("STAT1_nan", "STAT1"),
        ("None|JAK2", "JAK2"),
        ("STAT1_", "STAT1"),
        ("nan+None", None),
    ],
)
def test_a_missing_part_is_no_control(label, single):
    cells = make_cells([*PLAIN, "STAT1+JAK2", label])
    text = refused(r"is missing for 1 cell\(s\), by what a part of their labels says", cells)
    lines = list_remedies(text)
    assert all(line.startswith("adata") for line in lines)
    read_as = [mend(line, cells, {})[0] for line in lines]
    assert read_as[-1].obs["perturbation"].tolist() == [*PLAIN, "STAT1+JAK2"]
    if single is None:
        assert len(lines) == 1
    else:
        assert read_as[0].obs["perturbation"].tolist() == [*PLAIN, "STAT1+JAK2", single]
    for better in read_as:
        assert set().union(*read(better).values()) == {"STAT1", "JAK2"}


# --- dates of spreadsheets ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("date", "gene"),
    [
        ("1-Mar", "MARCHF1"),
        ("01-Mar", "MARCHF1"),
        ("Mar-01", "MARCHF1"),
        ("1. Mrz", "MARCHF1"),
        ("2-Sep", "SEPTIN2"),
        ("Sep-02", "SEPTIN2"),
        ("10-Sep", "SEPTIN10"),
        ("2-Sep-23", "SEPTIN2"),
        ("2023-03-01", "MARCHF1"),
        ("2023-03-01 00:00:00", "MARCHF1"),
        ("3/1/2023", "MARCHF1"),
        ("1/3/2023", "MARCHF1"),  # of a spreadsheet that writes the day first
        ("1-Dec", "DELEC1"),
        ("4-Oct", "POU5F1"),
    ],
)
def test_dates_are_genes_of_spreadsheets(date, gene):
    cells = make_cells([*PLAIN, date, f"STAT1+{date}"])
    text = refused(rf"are dates, as spreadsheets make of genes.*was likely {gene}", cells)
    [line] = list_remedies(text)
    better, _ = mend(line, cells, {})
    assert better.obs["perturbation"].tolist() == [*PLAIN, gene, f"STAT1+{gene}"]
    assert read(better)[gene] == (gene,)
    with pytest.raises(ValueError, match=f"looks like a date.*Write '{gene}'"):
        infer_schema(make_cells(PLAIN)).read_labels([date])


def test_a_column_of_dates():
    dates = pd.to_datetime(["2023-03-01", "2023-09-02"]).tolist()
    text = refused("MARCHF1", make_cells([*dates, "control"]))
    better, _ = mend(list_remedies(text)[0], make_cells([*dates, "control"]), {})
    assert better.obs["perturbation"].tolist() == ["MARCHF1", "SEPTIN2", "control"]


def test_dates_without_a_gene_can_be_dropped():
    cells = make_cells([*PLAIN, "2023-07-14"])
    [line] = list_remedies(refused("are dates.*or drop the cells", cells))
    assert read(mend(line, cells, {})[0])["STAT1"] == ("STAT1",)


@pytest.mark.parametrize(
    "name", ["MARCHF1", "SEPTIN2", "DEC1", "MAR1", "SEP15", "JUN", "1-A", "3-OST"]
)
def test_names_that_are_no_dates(name):
    assert find_date_gene(name, ()) is None


def test_dates_take_the_name_that_is_measured():
    assert find_date_gene("1-Mar", {"March1"}) == "March1"
    assert find_date_gene("2-Sep", {"SEPT2"}) == "SEPT2"
    assert find_date_gene("1-Mar", {"MTARC1"}) == "MTARC1"


# --- combinations in other forms ----------------------------------------------------------------

JOINED = [
    *("STAT1xJAK2", "STAT1 JAK2", "STAT1 and JAK2", "STAT1 x JAK2", "STAT1_and_JAK2"),
    *("STAT1JAK2", "STAT1 or JAK2", "STAT1\tJAK2", "STAT1~JAK2", "STAT1-x-JAK2", "STAT1andJAK2"),
    *("STAT1 with JAK2", "STAT1 vs. JAK2", "STAT1\u00d7JAK2", "STAT1--JAK2", "STAT1 & JAK2"),
    *('"STAT1+JAK2"', "('STAT1', 'JAK2')", "['STAT1','JAK2']", "{'STAT1', 'JAK2'}"),
    *("frozenset({'STAT1', 'JAK2'})", "(STAT1,JAK2)", "['STAT1' 'JAK2']", "'STAT1|JAK2'"),
    *("STAT1&JAK2", "STAT1,JAK2", "STAT1; JAK2", "STAT1:JAK2", "STAT1/JAK2", "STAT1|JAK2"),
]


@pytest.mark.parametrize("others", [[], ["STAT1+KLF1"]])
@pytest.mark.parametrize("label", JOINED)
def test_combinations_in_other_forms(label, others):
    cells = make_cells([*PLAIN, "KLF1", *others, label])
    try:
        assert read(cells)[label] == ("JAK2", "STAT1")
        assert not others  # two ways to write them are always asked for
        return
    except ValueError as error:
        text = str(error)
    assert re.search("STAT1 and JAK2|splits", text)
    mended = [mend(line, cells, {}) for line in list_remedies(text) if "=''" not in line]
    ends = [
        set(read(one, **told).values()) for one, told in mended if told.get("separator") != "+"
    ]
    assert ends
    assert all(("JAK2", "STAT1") in end for end in ends)
    assert all(len(set().union(*end)) == 3 for end in ends)


@pytest.mark.parametrize(
    "label", ["['STAT1']", "('STAT1',)", '"STAT1"', "[STAT1, nan]", "{STAT1}"]
)
def test_lists_of_one_are_singles(label):
    cells = make_cells([*PLAIN, label])
    [line] = list_remedies(refused("brackets or quotes around them", cells))
    assert mend(line, cells, {})[0].obs["perturbation"].tolist() == [*PLAIN, "STAT1"]


def test_many_combinations_are_rewritten_by_a_rule():
    genes = [f"GENE{chr(65 + i)}" for i in range(8)]
    for form in ("{}x{}", "['{}', '{}']"):
        pairs = [form.format(genes[0], other) for other in genes[1:]]
        cells = make_cells(["control", *genes, "GENEB+GENEC", *pairs], genes)
        line = list_remedies(refused("GENEA and GENEB", cells))[0]
        assert len(line) < 200
        parsed = read(mend(line, cells, {})[0])
        assert parsed["GENEA+GENEH"] == ("GENEA", "GENEH")
        assert set().union(*parsed.values()) == set(genes)


@pytest.mark.parametrize("name", ["STAT1X", "xSTAT1", "STAT1xUNKNOWN", "JAK2B", "ANDROGEN"])
def test_names_that_join_nothing_known(name):
    assert find_joined(name, {"STAT1", "JAK2"}.__contains__) is None
    assert unwrap(name) is None
    assert read(make_cells([*PLAIN, name]))[name] == (name,)


# --- contexts -----------------------------------------------------------------------------------


def test_the_column_of_labels_is_no_context():
    cells = make_cells(PLAIN, batch=["a"] * 3)
    for keys in (["perturbation"], ["batch", "perturbation"], "perturbation"):
        text = refused(
            "context_keys has 'perturbation', the column of the pert", cells, context_keys=keys
        )
        assert read(cells, **mend(list_remedies(text)[0], cells, {})[1])["STAT1"] == ("STAT1",)


@pytest.mark.parametrize("value", ["none", "unknown", "other", "untreated", "DMSO", "0"])
def test_contexts_without_a_treatment_are_contexts(value):
    cells = make_cells([*PLAIN, "control", "STAT1"], batch=["a", "a", "a", value, value])
    assert read(cells, context_keys="batch")["STAT1"] == ("STAT1",)


@pytest.mark.parametrize(
    "value", ["nan", "None", "unassigned", "", " ", "<NA>", "NA", "null", "-"]
)
@pytest.mark.parametrize("kind", [object, "category"])
def test_contexts_that_say_that_there_is_none(value, kind):
    labels = [*PLAIN, "control", "STAT1"]
    batches = pd.Series(["a", "a", "a", value, value]).astype(kind)
    cells = make_cells(labels, batch=batches.to_numpy())
    text = refused(
        r"obs\['batch'\] is missing for 2 cell\(s\), by what", cells, context_keys="batch"
    )
    named, dropped = (mend(line, cells, {})[0] for line in list_remedies(text))
    assert named.obs["batch"].tolist() == ["a"] * 3 + ["no batch"] * 2
    assert dropped.obs["perturbation"].tolist() == PLAIN
    for better in (named, dropped):
        assert read(better, context_keys="batch")["STAT1"] == ("STAT1",)


@pytest.mark.parametrize("value", ["negative", "other", "unknown", "mock", "untreated", "0"])
def test_contexts_may_have_any_other_name(value):
    cells = make_cells([*PLAIN, "control", "STAT1"], batch=["a", "a", "a", value, value])
    assert read(cells, context_keys="batch")["STAT1"] == ("STAT1",)


# --- conventions of libraries and screens -------------------------------------------------------

OF_SCREENS = [*GENES, "CBL", "PTPN12", "GATA1", "ATF4", "TET2", "RUNX1", "CD28", "AAMP", "TP53"]
READ = {
    ("control", "CBL", "CBL_PTPN12"): [(), ("CBL",), ("CBL", "PTPN12")],
    ("NegCtrl0_NegCtrl0__NegCtrl0_NegCtrl0", "CBL_NegCtrl0__CBL_NegCtrl0"): [(), ("CBL",)],
    ("ctrl", "CBL+ctrl", "ctrl+PTPN12", "CBL+PTPN12"): [
        (),
        ("CBL",),
        ("PTPN12",),
        ("CBL", "PTPN12"),
    ],
    ("ctrl", "FOO1+ctrl", "FOO1+BAR2"): [(), ("FOO1",), ("BAR2", "FOO1")],
    ("NT_NT", "TET2_NT", "TET2_RUNX1"): [(), ("TET2",), ("RUNX1", "TET2")],
    ("NT", "TET2;RUNX1", "TET2;NT"): [(), ("RUNX1", "TET2"), ("TET2",)],
    ("Non-Targeting", "STAT1|JAK2"): [(), ("JAK2", "STAT1")],
    ("NO-TARGET", "CD28"): [(), ("CD28",)],
    ("control", "STAT1,JAK2,KLF1"): [(), ("JAK2", "KLF1", "STAT1")],
    ("non-targeting", "ENSG00000115415+ENSG00000096968"): [
        (),
        ("ENSG00000096968", "ENSG00000115415"),
    ],
    ("non-targeting", "chr8.847_top_two", "GATA1-TSS", "HS2"): [
        (),
        ("chr8.847_top_two",),
        ("GATA1-TSS",),
        ("HS2",),
    ],
    ("NTC", "chr8:128746315-128747680"): [(), ("chr8:128746315-128747680",)],
    ("control", "Belinostat_(PXD101)"): [(), ("Belinostat_(PXD101)",)],
    ("WT", "TP53_R175H"): [(), ("TP53_R175H",)],
}
MENDED = [
    ("NTC", "chr1.5_top_two", "chr2.6_top_two", "chr1.5_top_two_chr2.6_top_two"),
    ("62(mod)_pBA581", "ATF4_pBA576"),
    ("control", "ATF4", "3x_neg_ctrl_pMJ144-1"),
    ("p_INTERGENIC393453", "p_sgGATA1_2", "p_sgELK1_1|p_sgGATA1_2"),
    ("non-targeting_non-targeting", "AAMP_P1P2", "ATF4_P1"),
    ("non-targeting_00001|non-targeting_00002", "AAMP_+_219.23-P1P2|AAMP_-_219.23-P1P2"),
    ("0_non-targeting_non-targeting_non-targeting", "10005_AAMP_P1P2_ENSG00000127837"),
    ("non-targeting_00001|non-targeting_00002", "AAMP_P1P2_A|AAMP_P1P2_B"),
    ("NT", "ATF4g1", "STAT1g2"),
    ("NT", "STAT1 KO", "STAT1 NP", "JAK2 KO"),
    ("NO_SITE_1", "ONE_SITE_1", "STAT1_1", "STAT1_1;JAK2_2"),
    ("control", "STAT1_1;JAK2_2", "STAT1_1"),
    ("control", "STAT1_1__JAK2_2"),
    ("NTC", "scrambled_1", "bassik_mch"),
    ("Non-Targeting-1", "STAT1-1|JAK2-2", "STAT1-1"),
    ("Non-Targeting", "STAT1", "None", "No feature call"),
    ("NT-1", "STAT1-1", "Negative", "Doublet"),
    ("STAT1[1]", "NTC[3]"),
    ("sgNTC", "sgSTAT1+sgJAK2", "sgSTAT1"),
    ("WT", "STAT1KO", "STAT1-KO+JAK2-KO"),
    ("WT", "STAT1-/-", "JAK2-/-"),
    ("mCherry", "KLF1_OE"),
    ("TFORF0001-ATF4", "TFORF3549-mCherry"),
    ("control", "STAT1_i2", "JAK2_i1"),
    ("AAVS1", "STAT1"),
    ("control", "STAT1#1", "JAK2@2", "JAK2:g2", "STAT1_rep1"),
    ("'control'", "'STAT1'"),
    ("['control']", "['STAT1']", "['STAT1', 'JAK2']"),
    ("('ctrl', 'ctrl')", "('STAT1', 'ctrl')", "('STAT1', 'JAK2')"),
    ("b'control'", "b'STAT1'"),
    ("control", "STAT1&amp;JAK2"),
    ("control", "DMSO", "STAT1"),
    ("unassigned", "TP53", "WT"),
]


@pytest.mark.parametrize("labels", READ)
def test_conventions_that_are_read(labels):
    assert list(read(make_cells(list(labels), OF_SCREENS)).values()) == READ[labels]


def follow(cells: AnnData, arguments: dict, n_left: int = 6) -> set[tuple[str, ...]]:
    """Do what errors propose, the first of it, until labels are read."""
    try:
        return set(read(cells, **arguments).values())
    except ValueError as error:
        text = str(error)
    remedies = list_remedies(text)
    assert remedies, text
    assert n_left, text
    for remedy in remedies:
        better, told = mend(remedy, cells, arguments)
        try:
            read(better, **told)
        except ValueError as error:
            assert str(error) != text, f"{remedy} does not help: {text}"  # noqa: PT017
    return follow(*mend(remedies[0], cells, arguments), n_left - 1)


@pytest.mark.parametrize("labels", [labels for labels in MENDED if labels[0] != "62(mod)_pBA581"])
def test_conventions_that_are_refused_with_lines_that_help(labels):
    cells = make_cells(list(labels), OF_SCREENS)
    with pytest.raises(ValueError, match="obs"):
        read(cells)
    assert () in follow(cells, {})


def test_genes_inside_names_are_warned_of(caplog):
    read(make_cells(["control", "TP53_R175H", "STAT1"], OF_SCREENS))
    assert "1 target(s) of obs['perturbation'] have the name of a gene in them" in caplog.text
    assert "guide_to_gene={'TP53_R175H': 'TP53'}" in caplog.text
    caplog.clear()
    read(make_cells(["control", "HLA-DRA", "STAT1"], OF_SCREENS))
    assert "name of a gene" not in caplog.text


# --- property: lines help -----------------------------------------------------------------------

FORMS = ["{}", "'{}'", "['{}']", "{}_g1", "sg{}", "{}+nan", "{}_None", "{}-1", "{} KO", "({})"]
JOINS = ["+", "_", "|", "x", " and ", "&", ", ", "', '", " ", "-", "/", "::"]


@st.composite
def distorted(draw):
    genes = st.sampled_from(["STAT1", "JAK2", "KLF1", "stat1", "HLA-A", "1-Mar", "neg_1", "None"])
    picked = draw(st.lists(genes, min_size=1, max_size=3))
    return draw(st.sampled_from(FORMS)).format(draw(st.sampled_from(JOINS)).join(picked))


@given(labels=st.lists(distorted(), min_size=1, max_size=3, unique=True))
@settings(max_examples=60, deadline=None)
def test_each_line_leads_on(labels):
    cells = make_cells([*PLAIN, *labels])
    try:
        read(cells)
        return
    except ValueError as error:
        text = str(error)
    remedies = list_remedies(text)
    assert remedies, text
    for remedy in remedies:
        better, told = mend(remedy, cells, {})
        try:
            assert () in read(better, **told).values()
        except ValueError as error:
            assert str(error) != text, remedy  # noqa: PT017


# --- one condition, however it is written -------------------------------------------------------


def make_mixed() -> AnnData:
    labels = [*["control"] * 30, *["STAT1", "JAK2", "KLF1"] * 8]
    labels += [*["STAT1+JAK2", "JAK2+STAT1", "control+KLF1"] * 4, *["KLF1+JAK2"] * 6]
    cells = make_cells(labels)
    counts = np.random.default_rng(3).poisson(3, cells.shape)
    cells.X = np.log1p(counts * 1.3).astype(np.float32)
    return cells


def test_labels_of_one_condition_are_one():
    cells = make_mixed()
    schema = infer_schema(cells)
    screen = make_screen(cells.obs, schema)
    assert screen.conditions == (
        (),
        ("JAK2",),
        ("KLF1",),
        ("STAT1",),
        ("JAK2", "KLF1"),
        ("JAK2", "STAT1"),
    )
    written = schema.unify_labels(cells.obs["perturbation"])
    assert set(written) == {"control", "STAT1", "JAK2", "KLF1", "STAT1+JAK2", "KLF1+JAK2"}
    assert (written == "STAT1+JAK2").sum() == 8
    assert (written == "KLF1").sum() == 12


def test_labels_of_one_condition_are_held_out_and_scored_as_one(tmp_path):
    cells, alike = make_mixed(), make_mixed()
    alike.obs["perturbation"] = infer_schema(alike).unify_labels(alike.obs["perturbation"])
    tables = []
    for name, screen in (("mixed", cells), ("alike", alike)):
        split = make_split(screen, "unseen", seed=2, share=0.5)
        tables.append(
            benchmark.run(screen, [split], ["additive"], out=tmp_path / name).scores.drop(
                columns=["peak_memory_mb", "seconds"], errors="ignore"
            )
        )
    held_out = split.test
    assert ("JAK2", "STAT1") in held_out
    keys = ["predictor", "perturbation", "context", "metric"]
    mixed, one = (table.set_index(keys)["value"].sort_index() for table in tables)
    pd.testing.assert_series_equal(mixed, one)
    assert {"STAT1+JAK2", "JAK2+STAT1"} & set(tables[0]["perturbation"]) == {"STAT1+JAK2"}


def test_labels_of_one_condition_are_predicted_alike():
    cells = make_mixed()
    Additive.setup_anndata(cells)
    model = Additive(cells)
    model.train()
    out = model.predict(["STAT1+JAK2", "JAK2+STAT1", "KLF1"], n_cells=5, seed=1)
    # Both stay under the labels that were asked for, and are one condition to whoever reads them.
    assert set(out.obs["perturbation"]) == {"control", "STAT1+JAK2", "JAK2+STAT1", "KLF1"}
    screen = make_screen(out.obs, infer_schema(out))
    assert screen.conditions == ((), ("KLF1",), ("JAK2", "STAT1"))
    effects = model.predict_effects(["STAT1+JAK2", "JAK2+STAT1"])
    np.testing.assert_array_equal(effects.X[0], effects.X[1])


def test_control_cells_alone_teach_nothing():
    cells = make_mixed()[:30].copy()
    Additive.setup_anndata(cells)
    with pytest.raises(ValueError, match=r"control cells only.*perturbation_key='...'\)"):
        Additive(cells).train()


@pytest.mark.data_kit
def test_real_screens_are_read_without_a_doubt(data_kit, caplog):
    for file in sorted(data_kit.glob("*.h5ad")):
        screen = anndata.read_h5ad(file, backed="r")
        schema = infer_schema(screen)
        PerturbationField(schema).validate_field(screen)
        assert (schema.perturbation_key, schema.control) == ("perturbation", "control")
        n_targets = screen.obs["n_targets"].to_numpy()
        read_as = [len(schema.parse(label)) for label in screen.obs["perturbation"].astype(str)]
        np.testing.assert_array_equal(read_as, n_targets)
    assert not caplog.records
