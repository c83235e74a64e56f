"""Labels as real screens write them: read as meant, or refused with the line that mends them."""

import ast
import re

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from hypothesis import assume, given, settings, strategies as st

from scbig.data import PerturbationField, ScreenSchema, infer_schema, make_screen
from scbig.labels._reading import CONTROL_LABELS, SEPARATORS, is_control_like, is_missing_like
from scbig.labels._schema import read_guides

GENES = ["A", "B", "C", "AHR", "KLF1", "STAT1", "JAK2", "HLA-A", "HLA-B", "NKX2-1", "Y_RNA"]
ENSEMBL = [f"ENSG0000012345{i}" for i in range(6)]


def make_cells(labels, key="perturbation", var=None, **columns) -> AnnData:
    obs = pd.DataFrame({key: labels, **columns})
    obs.index = [f"c{i}" for i in range(len(obs))]
    var = pd.DataFrame(index=GENES) if var is None else var
    return AnnData(np.ones((len(obs), len(var)), np.float32), obs=obs, var=var)


def read(cells: AnnData, **arguments) -> tuple[ScreenSchema, dict[str, tuple[str, ...]]]:
    """Read labels as ``setup_anndata`` does."""
    schema = infer_schema(cells, **arguments)
    PerturbationField(schema).validate_field(cells)
    labels = cells.obs[schema.perturbation_key].astype(str).unique()
    parsed = {label: schema.parse(label) for label in labels}
    screen = make_screen(cells.obs, schema)
    assert set(screen.conditions) == set(parsed.values())
    return schema, parsed


def refused(message: str, cells: AnnData, **arguments) -> str:
    with pytest.raises(ValueError, match=message) as error:
        read(cells, **arguments)
    return str(error.value)


def mend(message: str, cells: AnnData) -> AnnData:
    """Run the line that the message ends with."""
    scope = {"adata": cells}
    exec(re.search(r"adata(\.obs\[\S+\])? = .*$", message).group(), scope)
    return scope["adata"]


# --- controls -----------------------------------------------------------------------------------


@pytest.mark.parametrize("control", [None, "NegCtrl0_NegCtrl0"])
def test_parts_of_control_labels_are_controls(control):
    labels = [
        "NegCtrl0_NegCtrl0",
        "AHR_NegCtrl0",
        "NegCtrl0_KLF1",
        "AHR_KLF1",
        "NegCtrl1_NegCtrl0",
    ]
    schema, parsed = read(make_cells(labels), control=control)
    assert schema.separator == "_"
    assert list(parsed.values()) == [(), ("AHR",), ("KLF1",), ("AHR", "KLF1"), ()]
    written = schema.unify_labels(pd.Series(labels))
    assert written.iloc[[0, 4]].tolist() == ["NegCtrl0_NegCtrl0"] * 2
    assert schema.parse(written[1]) == ("AHR",)


def test_labels_that_are_said_twice():
    labels = [f"{one}__{one}" for one in ("NegCtrl0_NegCtrl0", "AHR_NegCtrl0", "AHR_KLF1")]
    _, parsed = read(make_cells(labels, "guide_identity"))
    assert list(parsed.values()) == [(), ("AHR",), ("AHR", "KLF1")]


@pytest.mark.parametrize(
    ("labels", "controls"),
    [
        (["non-targeting_00002", "non-targeting_00001"], None),
        (["NT", "NT_2", "NTg3"], None),
        (["control_1", "control_2", "control_17"], None),
        (["sgNT-1", "sgNT-2"], None),
        (["NegCtrl0", "NegCtrl10"], None),
        (["negative_control_1", "negative_control_2"], None),
        (["Non targeting control", "nontargeting-guide-7"], None),
        (["non-targeting_00001|non-targeting_00002", "non-targeting_00001"], None),
        (["safe1", "mock"], ["safe1", "mock"]),
        (["control", "NT_1", "unassigned"], ["control", "NT_1", "unassigned"]),
    ],
)
def test_several_controls_are_one_pool(labels, controls):
    cells = make_cells([*labels, "A", "B", "A"])
    schema, parsed = read(cells, control=controls)
    assert parsed == dict.fromkeys(labels, ()) | {"A": ("A",), "B": ("B",)}
    assert schema.controls == (tuple(controls) if controls else tuple(sorted(labels)))
    assert make_screen(cells.obs, schema).is_control.sum() == len(labels)
    written = schema.unify_labels(cells.obs["perturbation"]).tolist()
    assert written == [schema.control] * len(labels) + ["A", "B", "A"]
    again = ScreenSchema.from_dict(schema.to_dict())
    assert again == schema
    assert infer_schema(cells, **schema.to_dict()) == schema


@pytest.mark.parametrize("separator", [*SEPARATORS, "-", "."])
def test_a_control_beside_a_target_is_no_target(separator):
    labels = ["control", f"AHR{separator}control", f"ctrl{separator}KLF1", f"AHR{separator}KLF1"]
    schema, parsed = read(make_cells([*labels, f"control{separator}control"]))
    assert schema.separator == separator
    assert list(parsed.values()) == [(), ("AHR",), ("KLF1",), ("AHR", "KLF1"), ()]


@pytest.mark.parametrize("token", ["non_targeting", "non-targeting_00001", "NT_2", "NegCtrl3"])
def test_control_tokens_with_the_separator_in_them(token):
    labels = ["control", "A", "B", "A_B", f"A_{token}", f"{token}_B"]
    assert list(read(make_cells(labels))[1].values())[-2:] == [("A",), ("B",)]


def test_several_kinds_of_controls_are_listed():
    text = refused(
        r"control: 'control' \(1 cells\), 'NTg1' \(1 cells\).*control=\['control', 'NTg1'\]",
        make_cells(["control", "NTg1", "A"]),
    )
    named = re.search(r"control=(\[.*\])", text)[1]
    _, parsed = read(make_cells(["control", "NTg1", "A"]), control=ast.literal_eval(named))
    assert parsed["control"] == parsed["NTg1"] == ()


@pytest.mark.parametrize("other", ["NT", "non-targeting_00001", "NegCtrl0_NegCtrl0", "ctrl"])
def test_controls_that_were_not_named_are_refused(other, caplog):
    cells = make_cells(["control", other, other, "A"])
    text = refused(
        rf"look like controls, which are 'control': '{other}' \(2 cells\). Name all that are: "
        rf"control=\['control', '{other}'\]",
        cells,
        control="control",
    )
    assert f"['{other}'] of obs['perturbation'] look like controls" in caplog.text
    assert mend(text, cells).obs["perturbation"].tolist() == ["control", "A"]
    assert read(cells, control=["control", other])[1][other] == ()


def test_many_controls_that_were_not_named():
    others = [f"non-targeting_{i:05d}" for i in range(30)]
    cells = make_cells(["control", *others, "A"])
    text = refused("30 label.*look like controls", cells, control="control")
    named = eval(re.search(r"control=(.*); or drop", text)[1], {"adata": cells})
    assert read(cells, control=named)[0].controls == ("control", *others)
    text = refused("No control cells", make_cells([*others[:2], "A"]), control="non-targeting")
    named = eval(text.rpartition("control=")[2])
    assert read(make_cells([*others[:2], "A"]), control=named)[0].controls == tuple(others[:2])


def test_a_measured_gene_is_no_control():
    var = pd.DataFrame(index=["CTRL", "A", "NT1"])
    _, parsed = read(make_cells(["control", "CTRL", "A"], var=var), control="control")
    assert parsed["CTRL"] == ("CTRL",)
    assert read(make_cells(["CTRL", "A", "NT1"], var=var))[1]["CTRL"] == ()
    assert infer_schema(make_cells(["CTRL", "NT1"], var=var)).parse("NT1") == ("NT1",)


# --- labels that say that there is none ---------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "nan",
        "NaN",
        "None",
        "NA",
        "N/A",
        "<NA>",
        "unassigned",
        "Unassigned",
        "unknown",
        "",
        "  ",
        "null",
        "-",
        "multiplet",
        "doublet",
        "Negative",
        "multiple guides",
        "not_assigned",
    ],
)
@pytest.mark.parametrize("with_nan", [False, True])
def test_missing_like_labels_are_listed_with_the_line_that_drops_them(text, with_nan):
    labels = ["control", text, "A", text, *([None] if with_nan else [])]
    cells = make_cells(pd.Categorical(labels))
    n = 3 if with_nan else 2
    message = (
        rf"obs\['perturbation'\] is missing for {n} cell\(s\).*: '{text.strip()}' \(2 cells\)"
    )
    told = refused(message, cells)
    assert ("NaN (1 cells)" in told) == with_nan
    mended = mend(told, cells)
    assert mended.obs["perturbation"].tolist() == ["control", "A"]
    assert read(mended)[1] == {"control": (), "A": ("A",)}


def test_missing_like_labels_may_be_the_controls():
    assert read(make_cells(["None", "A"]), control="None")[1] == {"None": (), "A": ("A",)}


@pytest.mark.parametrize("label", ["A+nan", "None+A", "A_unassigned"])
def test_missing_like_parts_are_refused(label):
    pair = "A_B" if "_" in label else "A+B"
    cells = make_cells(["control", "A", "B", pair, label])
    text = refused(rf"is missing for 1 cell.*: '{re.escape(label)}' \(1 cells\)", cells)
    assert pair in read(mend(text, cells))[1]


# --- separators ---------------------------------------------------------------------------------


@pytest.mark.parametrize("separator", [*SEPARATORS, "-", ".", " | ", "+ "])
def test_pairs_are_read_at_any_separator(separator):
    labels = ["control", "AHR", "KLF1", f"AHR{separator}KLF1"]
    schema, parsed = read(make_cells(labels))
    assert parsed[labels[-1]] == ("AHR", "KLF1")
    assert schema.separator == separator.strip()


@pytest.mark.parametrize("join", ["--", " and ", " ", "::", "~", "*", "#", "\\", "=>", "||"])
def test_other_joins_are_named(join):
    labels = ["control", "AHR", "KLF1", f"AHR{join}KLF1"]
    text = refused("'AHR.*KLF1' could be AHR and KLF1", make_cells(labels))
    named = eval(text.rpartition("separator=")[2])
    assert read(make_cells(labels), separator=named)[1][labels[-1]] == ("AHR", "KLF1")
    assert read(make_cells(labels), separator="")[1][labels[-1]] == (labels[-1],)


@pytest.mark.parametrize("join", [":", "/", "-", "."])
@pytest.mark.parametrize("own", ["+", "_"])
def test_a_second_separator_is_refused(own, join):
    labels = ["control", "A", "B", f"A{own}B", f"A{join}B"]
    cells = make_cells(labels)
    arguments = {"separator": own} if join in ":/" else {}
    text = refused(rf"'A{re.escape(join)}B' \(1 cells\); .* could be A and B", cells, **arguments)
    line = re.search(r"adata.obs\[.*$", text).group()
    exec(line, {"adata": cells})
    assert read(cells)[1] == {"control": (), "A": ("A",), "B": ("B",), f"A{own}B": ("A", "B")}


@pytest.mark.parametrize("join", "|;,&:/")
def test_no_gene_is_called_so(join):
    # Neither part is known.
    text = refused("look like combinations", make_cells(["control", "A", f"XYZ1{join}XYZ2"]))
    assert text.endswith(f"separator='{join}'")


def test_named_separators_leave_hyphens_alone():
    # Of a readthrough, say.
    labels = ["control", "A", "B", "A+B", "AHR-KLF1"]
    refused("'AHR-KLF1' could be AHR and KLF1", make_cells(labels))
    assert read(make_cells(labels), separator="+")[1]["AHR-KLF1"] == ("AHR-KLF1",)


def test_names_that_a_hyphen_would_split_are_asked_for():
    labels = ["control", "A", "B", "A-B", "HLA-DRA"]
    cells = make_cells(labels)
    refused("'A-B' could be A and B", cells)
    text = refused(
        "splits 1 label.*neither measured nor perturbed alone.*HLA", cells, separator="-"
    )
    table = eval(re.search(r"guide_to_gene=(\{.*?\})", text)[1])
    parsed = read(make_cells(labels), separator="-", guide_to_gene=table)[1]
    assert (parsed["HLA-DRA"], parsed["A-B"]) == (("HLA-DRA",), ("A", "B"))


@pytest.mark.parametrize(
    ("label", "targets"),
    [
        ("HLA-A", ("HLA-A",)),
        ("HLA-A-HLA-B", ("HLA-A", "HLA-B")),
        ("NKX2-1-HLA-A", ("HLA-A", "NKX2-1")),
        ("AHR-NKX2-1", ("AHR", "NKX2-1")),
    ],
)
@pytest.mark.parametrize("given", [{}, {"separator": "-"}])
def test_measured_genes_with_hyphens_are_kept_whole(label, targets, given):
    schema, parsed = read(make_cells(["control", "AHR", "AHR-KLF1", label]), **given)
    assert (schema.separator, parsed[label]) == ("-", targets)
    assert schema.parse(schema.join(targets)) == targets


def test_gencode_names_with_underscores_are_kept_whole():
    labels = ["control", "Y_RNA", "A", "B", "A_B", "Y_RNA_A", "HLA-A_Y_RNA"]
    _, parsed = read(make_cells(labels))
    assert list(parsed.values())[1:] == [
        ("Y_RNA",),
        ("A",),
        ("B",),
        ("A", "B"),
        ("A", "Y_RNA"),
        ("HLA-A", "Y_RNA"),
    ]


def test_pairs_of_symbols_beside_ensembl_ids():
    labels = ["control", "AHR_KLF1", "KLF1_FEV"]
    symbols = ["AHR", "KLF1", "FEV", "X", "Y", "Z"]
    named = make_cells(labels, var=pd.DataFrame({"symbol": symbols}, index=ENSEMBL))
    assert read(named)[1]["AHR_KLF1"] == ("AHR", "KLF1")
    blind = make_cells(labels, var=pd.DataFrame(index=ENSEMBL))
    text = refused("'AHR_KLF1' could be AHR and KLF1", blind)
    assert text.endswith("separator='_'")
    assert read(blind, separator="_")[1]["KLF1_FEV"] == ("FEV", "KLF1")
    singles = make_cells([*labels, "AHR", "KLF1", "FEV"], var=pd.DataFrame(index=ENSEMBL))
    assert read(singles)[1]["AHR_KLF1"] == ("AHR", "KLF1")


# --- numbers and guides -------------------------------------------------------------------------


@pytest.mark.parametrize("as_type", [int, float, "category"])
def test_numbers_name_no_genes(as_type):
    cells = make_cells(pd.Series([0, 1, 2, 1]).astype(as_type))
    control = "0.0" if as_type is float else 0
    text = refused(
        r"holds numbers, which name no gene: '1(\.0)?' \(2 cells\)", cells, control=control
    )
    assert "what they stand for: guide_to_gene, a table of all 2, with the gene for '1" in text
    if as_type is not float:
        table = {1: "A", 2: "A+B"}
        parsed = read(cells, control=0, guide_to_gene=table)[1]
        assert parsed == {"0": (), "1": ("A",), "2": ("A", "B")}
    as_text = make_cells(cells.obs["perturbation"].astype(str))
    refused("holds numbers, which name no gene", as_text, control=control)
    for screen in (cells, as_text):
        assert read(screen, control=control, separator="")[0].controls == (str(control),)


def test_numbers_may_be_the_names_of_genes():
    cells = make_cells([0, 7157, 25], var=pd.DataFrame(index=["7157", "25"]))
    assert read(cells, control=0)[1] == {"0": (), "7157": ("7157",), "25": ("25",)}


GUIDES = [
    "STAT1_KO",
    "STAT1 KD",
    "sgSTAT1",
    "STAT1_g2",
    "sgSTAT1-1",
    "STAT1-1",
    "STAT1g2",
    "STAT1_sg1",
    "STAT1_1",
    "STAT1.g2",
]
LIBRARY = ["STAT1_+_219134860.23-P1P2", "STAT1_-_219134860-P1", "STAT1_P1P2_A"]
TRANSCRIPTS = ["10005_STAT1_P1P2_ENSG00000127837", "STAT1_ENST00000358951", "STAT1_NM_007315"]


@pytest.mark.parametrize("guide", [*GUIDES, *LIBRARY, "10005_STAT1_P1P2_ENSG00000127837"])
def test_names_of_guides_are_refused_and_the_column_of_genes_named(guide):
    genes = ["non-targeting", "STAT1", "JAK2"]
    cells = make_cells(["NT_1", guide, "JAK2_g1"], "guide_id", gene_of_guide=genes)
    text = refused("look like guides and not like genes", cells, perturbation_key="guide_id")
    assert repr(guide) in text
    assert "perturbation_key='gene_of_guide'" in text
    assert list(read(cells, perturbation_key="gene_of_guide")[1]) == genes
    table = {"NT_1": "control", guide: "STAT1", "JAK2_g1": "JAK2"}
    _, parsed = read(cells, guide_to_gene=table)
    assert parsed == {"NT_1": (), guide: ("STAT1",), "JAK2_g1": ("JAK2",)}


def test_guides_of_genes_that_are_not_measured():
    guides = [f"GENE{i}_{n}" for i in range(4) for n in (1, 2)]
    refused("8 label.* look like guides", make_cells(["control", *guides]))
    refused("3 label.* look like guides", make_cells(["control", "sgX1", "sgX2", "sgY"]))
    assert read(make_cells(["control", *guides]), separator="")[1][guides[0]] == (guides[0],)


@pytest.mark.parametrize("labels", [["GATA1-A", "GATA1-B", "MYC-D"], ["HLA-DRA", "NKX2-5", "IL2"]])
def test_names_of_genes_and_enhancers_are_no_guides(labels):
    assert read(make_cells(["control", *labels]))[1] == {"control": ()} | {k: (k,) for k in labels}


TABLE = {"NT_g1": "control", "NT_g2": "control", "STAT1_g1": "STAT1", "STAT1_g2": "STAT1"} | {
    "AHR_g1": "AHR",
    "dual": "AHR+STAT1",
}


@pytest.mark.parametrize(
    "form",
    [
        dict,
        pd.Series,
        lambda table: pd.DataFrame(table.items(), columns=["guide", "gene"]),
        lambda table: [list(pair) for pair in table.items()],
        lambda table: np.array(list(table.items())),
    ],
)
@pytest.mark.parametrize("key", ["assigned_guide", "guide_assignment", "my_guides"])
def test_a_table_tells_the_genes_of_guides(form, key):
    labels = [*TABLE, "STAT1_g1+AHR_g1", "STAT1_g1+STAT1_g2", "NT_g1+AHR_g1"]
    cells = make_cells(labels, key)
    schema, parsed = read(cells, guide_to_gene=form(TABLE))
    assert schema.perturbation_key == key
    assert schema.control == "control"
    both, one = ("AHR", "STAT1"), ("STAT1",)
    assert list(parsed.values()) == [(), (), one, one, ("AHR",), both, both, one, ("AHR",)]
    assert make_screen(cells.obs, schema).conditions == ((), ("AHR",), one, both)
    assert schema.unify_labels(cells.obs[key])[2:6].tolist() == [
        "STAT1",
        "STAT1",
        "AHR",
        "AHR+STAT1",
    ]
    assert infer_schema(cells, **schema.to_dict()) == schema
    assert ScreenSchema.from_dict(schema.to_dict()).parse("STAT1_g2") == one


def test_guides_in_no_table_are_listed():
    cells = make_cells([*TABLE, "STAT1_g9", "KLF1"], "assigned_guide")
    text = refused(
        r"1 label\(s\).*neither in guide_to_gene nor.*'STAT1_g9' \(1 cells\)",
        cells,
        guide_to_gene=TABLE,
    )
    assert read(mend(text, cells), guide_to_gene=TABLE)[1]["KLF1"] == ("KLF1",)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"a": 3}, r"has \('a', 3\) where a guide and its gene are expected"),
        ({"a": ""}, "where a guide and its gene are expected"),
        ({"a": None}, "where a guide and its gene are expected"),
        ([("a", "X"), ("a", "Y")], r"two genes for 1 guide\(s\): \['a'"),
        ([("a",)], "where a guide and its gene are expected"),
        (7, "where a guide and its gene are expected"),
        ("ab", "where a guide and its gene are expected"),
    ],
)
def test_bad_tables(table, message):
    with pytest.raises(ValueError, match=message):
        read_guides(table)


def test_a_table_without_its_column():
    refused(
        "No column of obs holds a guide of guide_to_gene: .*Name it: perturbation_key='...'",
        make_cells(["control", "A"]),
        guide_to_gene={"x": "A"},
    )


# --- columns of the usual sources ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "key"),
    [
        # scPerturb
        ({"perturbation": ["control", "A", "A_B"], "guide_id": ["x", "A_g1", "A_g1;B_g1"]}, None),
        (
            {
                "perturbation": ["control", "A", "B"],
                "guide_id": ["NegCtrl0_NegCtrl0", "A_g1", "B"],
            },
            "perturbation",
        ),
        (
            {
                "perturbation": ["control", "A", "B"],
                "gene": ["non-targeting", "A", "B"],
                "nperts": [0, 1, 1],
            },
            "perturbation",
        ),
        # GEARS
        (
            {
                "condition": ["ctrl", "A+ctrl", "A+B"],
                "condition_name": ["K_ctrl_1", "K_A", "K_B"],
                "control": [1, 0, 0],
            },
            "condition",
        ),
        # pertpy
        (
            {
                "perturbation": ["NT", "Perturbed", "Perturbed"],
                "gene_target": ["NT", "A", "B"],
                "guide_ID": ["NTg1", "Ag1", "Bg1"],
            },
            "gene_target",
        ),
        # Virtual Cell Challenge
        (
            {
                "target_gene": ["non-targeting", "A", "B"],
                "guide_id": ["non-targeting_00001", "A_P1P2_A|A_P1P2_B", "B_P1P2_A"],
            },
            "target_gene",
        ),
        # cell-load
        ({"gene": ["non-targeting", "A", "B"], "cell_type": ["x", "x", "x"]}, "gene"),
        # The same labels twice, and in another case
        ({"Perturbation": ["control", "A", "B"]}, "Perturbation"),
        ({"perturbation": ["control", "A", "B"], "gene": ["control", "A", "B"]}, "perturbation"),
        ({"guide_id": ["NT", "A", "B"], "gene": ["NT", "A", "B"]}, "gene"),
    ],
)
def test_columns_of_usual_sources(columns, key):
    key = key or next(iter(columns))
    labels = columns.pop(key)
    schema, parsed = read(make_cells(labels, key, **columns))
    assert schema.perturbation_key == key
    assert set(parsed.values()) <= {(), ("A",), ("B",), ("A", "B")}
    assert parsed[labels[0]] == ()


@pytest.mark.parametrize("label", ["Perturbed", "targeting", True])
def test_columns_that_say_only_whether(label):
    text = "says only whether cells are perturbed.*\\['is_ko', 'gene'\\].*perturbation_key="
    cells = make_cells(["NT", label], "is_ko", gene=["ctrl", "A"])
    refused(text, cells, perturbation_key="is_ko")
    parsed = read(cells, perturbation_key="is_ko", separator="")[1]
    assert parsed == {"NT": (), str(label): (str(label),)}


# --- what predict is asked ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("AHR:KLF1", "looks like AHR and KLF1, with ':' between.*write 'AHR_KLF1'"),
        ("AHR+KLF1", r"looks like AHR and KLF1, with '\+' between.*write 'AHR_KLF1'"),
        ("AHR-KLF1", "looks like AHR and KLF1, with '-' between"),
        ("STAT1_g2", "'g2' of 'STAT1_g2' is no known target; it looks like the name of a guide"),
        ("sgSTAT1", "looks like the name of a guide. Name the gene: 'STAT1'"),
        ("nan", "says that nothing is perturbed"),
        ("AHR_None", "'None' of 'AHR_None' says that nothing is perturbed"),
        ("NT_4", "'NT_4' looks like a label of control cells, but those are 'ctrl'. Write 'ctrl'"),
    ],
)
def test_what_is_asked_is_read_alike(asked, message):
    schema = infer_schema(make_cells(["ctrl", "AHR", "KLF1", "AHR_KLF1"]))
    with pytest.raises(ValueError, match=message):
        schema.read_labels([asked])
    fine = schema.read_labels(["KLF1_AHR", "ctrl_AHR", "UNSEEN", ("HLA-A", "Y_RNA"), "ctrl"])
    assert list(fine.values()) == [
        ("AHR", "KLF1"),
        ("AHR",),
        ("UNSEEN",),
        ("HLA-A", "Y_RNA"),
        (),
    ]


def test_combinations_in_an_embedding_are_no_names():
    schema = ScreenSchema("perturbation", "ctrl", "-").with_names(
        ["AHR", "KLF1", "HLA-A"], ["AHR-KLF1", "HLA-DRA", "FEV"]
    )
    assert schema.names == {"AHR", "KLF1", "HLA-A", "HLA-DRA", "FEV"}
    assert schema.parse("AHR-KLF1") == ("AHR", "KLF1")
    assert schema.parse("HLA-DRA-AHR") == ("AHR", "HLA-DRA")


# --- properties ---------------------------------------------------------------------------------

JOINS = st.sampled_from([*SEPARATORS, "-", ".", "::", " and ", "--", " ", "~"])
WORD = st.text("ABCDEFGHKLMPRSTX", min_size=1, max_size=4)
NAME = st.one_of(
    WORD,
    st.builds("{}{}".format, WORD, st.integers(1, 20)),
    st.builds("{}-{}".format, WORD, WORD),
    st.builds("{}-{}".format, WORD, st.integers(1, 9)),
    st.builds("{}.{}".format, WORD, st.integers(1, 9)),
    st.builds("{}_{}".format, WORD, WORD),
)
CONTROL = st.one_of(
    st.sampled_from(CONTROL_LABELS),
    st.builds("{}_{}".format, st.sampled_from(CONTROL_LABELS), st.integers(0, 99)),
    st.builds("NegCtrl{}".format, st.integers(0, 12)),
)


@st.composite
def screens(draw):
    genes = draw(st.lists(NAME, min_size=2, max_size=6, unique=True))
    assume(not any(is_control_like(gene) or is_missing_like(gene) for gene in genes))
    join, control = draw(JOINS), draw(CONTROL)
    picked = st.lists(st.sampled_from([*genes, control]), min_size=2, max_size=3)
    combined = draw(st.lists(picked, min_size=1, max_size=5))
    truth = {join.join(parts): frozenset(parts) - {control} for parts in combined}
    singles = draw(st.lists(st.sampled_from(genes), max_size=4))
    truth |= {gene: frozenset({gene}) for gene in singles} | {control: frozenset()}
    return genes, join, control, truth


@given(screen=screens(), is_named=st.booleans(), is_told=st.booleans())
@settings(max_examples=150, deadline=None)
def test_no_label_of_known_targets_becomes_a_new_gene(screen, is_named, is_told):
    genes, join, control, truth = screen
    cells = make_cells(list(truth), var=pd.DataFrame(index=genes))
    arguments = {"control": control} if is_named else {}
    try:
        _, parsed = read(cells, **arguments, **({"separator": join} if is_told else {}))
    except ValueError:
        return
    assert {target for targets in parsed.values() for target in targets} <= set(genes)
    if not any(join in gene for gene in genes):
        assert {k: frozenset(v) for k, v in parsed.items()} == truth


@given(screen=screens(), data=st.data())
@settings(max_examples=100, deadline=None)
def test_nothing_asked_of_known_targets_becomes_a_new_gene(screen, data):
    genes, join, control, _ = screen
    schema = infer_schema(
        make_cells([control, *genes], var=pd.DataFrame(index=genes)),
        control=control,
        separator="+",
    )
    parts = data.draw(st.lists(st.sampled_from([*genes, control]), min_size=1, max_size=3))
    try:
        targets = schema.parse(join.join(parts))
    except ValueError:
        return
    assert set(targets) <= set(genes)


@given(genes=st.lists(WORD, min_size=3, max_size=6, unique=True), join=st.sampled_from(SEPARATORS))
@settings(deadline=None)
def test_plain_names_are_always_read(genes, join):
    assume(not any(is_control_like(gene) or is_missing_like(gene) for gene in genes))
    labels = ["control", *genes[:2], join.join(genes[:2]), f"{genes[2]}{join}control"]
    schema, parsed = read(make_cells(labels, var=pd.DataFrame(index=genes)))
    assert schema.separator == join
    assert parsed[labels[3]] == tuple(sorted(genes[:2]))
    assert parsed[labels[4]] == (genes[2],)


def _set_up(label: str) -> ScreenSchema:
    labels = ["control", "STAT1", "JAK2", label]
    adata = AnnData(
        np.ones((16, 4), dtype=np.float32),
        obs=pd.DataFrame({"perturbation": np.repeat(labels, 4)}),
        var=pd.DataFrame(index=["STAT1", "JAK2", "IRF1", "MYC"]),
    )
    adata.obs_names = [f"c{i}" for i in range(16)]
    return infer_schema(adata)


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("('STAT1', 'JAK2')", "could be STAT1 and JAK2"),
        ("[STAT1,JAK2]", "could be STAT1 and JAK2"),
        ("'STAT1'", "brackets or quotes around them.*could be STAT1[.]"),
        ("STAT1 (KO)", r"guide_to_gene=\{'STAT1 \(KO\)': 'STAT1'"),
        ("STAT1*", "look like guides"),
        ("STAT1\u200b", "look like guides"),
        ('"STAT1+JAK2"', "could be STAT1 and JAK2"),
        ("neg", "could be the control"),
        ("intergenic_1", "could be the control"),
        ("mock", "could be the control"),
        ("WT", "could be the control"),
        ("undefined", "is missing for 4 cell"),
        ("Multiplets", "is missing for 4 cell"),
        ("NA_1", "is missing for 4 cell"),
    ],
)
def test_marks_and_further_words_are_no_genes(label, message):
    with pytest.raises(ValueError, match=message):
        _set_up(label)


@pytest.mark.parametrize("gene", ["NT5E", "WT1", "SAFB", "MOCOS", "NEGR1", "OTHER1"])
def test_genes_that_begin_like_controls_are_genes(gene):
    assert _set_up(gene).parse(gene) == (gene,)
