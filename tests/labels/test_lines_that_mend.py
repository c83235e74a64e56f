"""Each line that a message about labels proposes is run, and does what the message says."""

import ast
import re
from contextlib import suppress
from time import perf_counter

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from scbig.baselines import Additive
from scbig.data import PerturbationField, infer_schema
from scbig.labels import ScreenSchema
from scbig.splits import make_split

GENES = ["STAT1", "JAK2", "KLF1", "MYC", "HLA-A", "GATA1", "TP53"]


def make_cells(labels, key="perturbation", **columns) -> AnnData:
    obs = pd.DataFrame({key: pd.Series(labels, dtype=object), **columns})
    obs.index = [f"c{i}" for i in range(len(obs))]
    values = np.ones((len(obs), len(GENES)), np.float32)
    return AnnData(values, obs=obs, var=pd.DataFrame(index=GENES))


_START = re.compile(
    r"adata(\.obs\[[^\]]*\])? = |\b(?:control|separator|guide_to_gene|perturbation_key)="
)
_STOP = re.compile(r"\.?$|\. |; |, | or |\n")


def list_lines(message: str) -> list[str]:
    """List all that a message proposes, lines of code and arguments, as they stand in it."""
    found = []
    for start in _START.finditer(message):
        text = message[start.start() :]
        lines = (text[: stop.start()] for stop in _STOP.finditer(text))
        found.append(next(line for line in lines if can_be_read(line)))
    return found


def can_be_read(line: str) -> bool:
    try:
        ast.parse(line if line.startswith("adata") else f"dict({line})")
    except SyntaxError:
        return False
    return True


def refuse(cells: AnnData, **arguments) -> tuple[str, list[str]]:
    with pytest.raises(ValueError, match=r".") as error:
        infer_schema(cells, **arguments)
    return str(error.value), list_lines(str(error.value))


def run(line: str, cells: AnnData, **arguments) -> tuple[AnnData, ScreenSchema]:
    """Read a screen after doing what a line says."""
    scope = {"adata": cells.copy(), "pandas": pd}
    if line.startswith("adata"):
        exec(line, scope)
    else:
        arguments |= eval(f"dict({line})", scope)
    return scope["adata"], infer_schema(scope["adata"], **arguments)


def read(line: str, cells: AnnData, **arguments) -> dict[str, str]:
    """Read all labels after doing what a line says; an empty text is a control."""
    mended, schema = run(line, cells, **arguments)
    labels = map(str, mended.obs[schema.perturbation_key].unique())
    return {label: "+".join(schema.parse(label)) for label in labels}


@pytest.mark.parametrize("missing", [["nan"], ["nan", "unassigned"], ["None", "NA", "doublet"]])
def test_missing_labels_are_named_beside_the_control(missing):
    cells = make_cells(["control", *missing, "STAT1"])
    _, (named, dropped) = refuse(cells)
    assert named == f"control={['control', *missing]}"
    assert read(named, cells) == {"control": "", **dict.fromkeys(missing, ""), "STAT1": "STAT1"}
    assert read(dropped, cells) == {"control": "", "STAT1": "STAT1"}


@pytest.mark.parametrize(
    ("labels", "lines"),
    [
        (["CTRL", "control", "STAT1"], ["control='control'", "control='CTRL'"]),
        (["CTRL", "CTRL", "control", "STAT1"], ["control='CTRL'", "control='control'"]),
        (
            ["NT", "ctrl", "ctrl", "Control", "STAT1"],
            ["control='ctrl'", "control='NT'", "control='Control'"],
        ),
    ],
)
def test_each_control_is_offered_the_likeliest_first(labels, lines):
    cells = make_cells(labels)
    *offered, both = refuse(cells)[1]
    assert offered == lines
    assert set(read(both, cells).values()) == {"", "STAT1"}
    for line in offered:
        # What is left is a control, too: the next message names all.
        _, (named, *_) = refuse_left(line, cells)
        assert set(read(named, cells).values()) == {"", "STAT1"}


def refuse_left(line: str, cells: AnnData) -> tuple[str, list[str]]:
    schema = run(line, cells)[1]
    with pytest.raises(ValueError, match="Name all that are") as error:
        PerturbationField(schema).validate_field(cells)
    return str(error.value), list_lines(str(error.value))


GUIDES = [
    ["AHR_1", "AHR_2", "STAT1_1"],
    ["10005_AAMP_P1P2_ENSG00000127837", "10006_STAT1_P1_ENSG00000115415"],
    ["AAMP_+_2345.23-P1P2", "STAT1_-_99.23-P1P2"],
]


@pytest.mark.parametrize("n", [1, 9])
@pytest.mark.parametrize("guides", GUIDES)
def test_guides_of_genes_that_are_not_measured(guides, n):
    """Few are a table; many, a rule for all."""
    more = [guides[0].replace("AHR", f"AHR{i}").replace("AAMP", f"AAMP{i}") for i in range(3 * n)]
    guides = list(dict.fromkeys([*guides, *(more if n > 1 else ())]))
    cells = make_cells(["control", *guides])
    text, lines = refuse(cells)
    assert "..." not in text
    lines = [line for line in lines if line != "separator=''"]
    assert [line[:5] for line in lines] == (["guide"] if len(guides) <= 24 else []) + ["adata"]
    for line in lines:
        found = set(read(line, cells).values())
        assert {"", "STAT1"} <= found or guides[0].startswith("p_sg")
        assert all(re.fullmatch(r"|STAT1|AHR\d*|AAMP\d*", one) for one in found)


def test_guides_without_a_rule_are_told_in_words():
    cells = make_cells(["control", "STAT1_1", "2_JAK2", "x_+_33", "MYC-P1P2"])
    text, lines = refuse(cells)
    assert "'...'" not in text and "...}" not in text  # noqa: PT018
    for line in lines:
        run(line, cells)


@pytest.mark.parametrize(
    "several", [["STAT1", "JAK2"], {"JAK2", "STAT1"}, np.array(["STAT1", "JAK2"])]
)
@pytest.mark.parametrize(
    "border", [infer_schema, Additive.setup_anndata, lambda a: make_split(a, "unseen")]
)
def test_lists_as_objects(several, border):
    cells = make_cells(["control", several, "STAT1", "JAK2"])
    with pytest.raises(ValueError, match=r"obs\['perturbation'\] has values of type") as error:
        border(cells)
    [line] = list_lines(str(error.value))
    assert set(read(line, cells).values()) == {"", "JAK2+STAT1", "STAT1", "JAK2"}


def test_lists_elsewhere_are_nobody_s_labels():
    cells = make_cells(["control", "STAT1"], guides=pd.Series([["a"], ["b"]]).to_list())
    assert infer_schema(cells).perturbation_key == "perturbation"


@pytest.mark.parametrize("missing", ["unassigned", "nan", "None"])
def test_a_table_that_has_no_gene_for_a_guide(missing):
    cells = make_cells(["g0", "g1", "g2"])
    table = {"g0": "control", "g1": missing, "g2": "STAT1"}
    text, (given, dropped) = refuse(cells, guide_to_gene=table)
    assert f"'g1' is '{missing}'" in text
    assert read(given, cells, guide_to_gene=table) == {"g0": "", "g1": "", "g2": "STAT1"}
    assert read(dropped, cells, guide_to_gene=table) == {"g0": "", "g2": "STAT1"}


@pytest.mark.parametrize(
    "label", ["STAT1 (ctrl)", "STAT1 [control]", "STAT1 (NT)", "(ctrl) STAT1"]
)
def test_a_control_in_brackets_is_beside_a_gene(label):
    cells = make_cells(["control", label, "JAK2"])
    lines = [line for line in refuse(cells)[1] if line != "separator=''"]
    for line in lines:
        assert set(read(line, cells).values()) == {"", "STAT1", "JAK2"}


@pytest.mark.parametrize("other", [("ctrl", "stim", "stim"), ("control", "IFNG", "IFNG")])
@pytest.mark.parametrize(
    ("key", "beside"), [("gene_target", "condition"), ("target_gene", "perturbation")]
)
def test_of_several_columns_that_with_genes_comes_first(other, key, beside):
    cells = make_cells(["control", "STAT1", "JAK2"], key, **{beside: other})
    lines = refuse(cells)[1]
    assert lines == [f"perturbation_key={key!r}", f"perturbation_key={beside!r}"]
    assert set(read(lines[0], cells).values()) == {"", "STAT1", "JAK2"}


def test_the_one_column_with_labels_is_named():
    cells = make_cells(["control", "STAT1"], "Target Gene", leiden=["1", "2"])
    _, lines = refuse(cells)
    assert lines == ["perturbation_key='Target Gene'"]
    assert set(read(lines[0], cells).values()) == {"", "STAT1"}


LISTED = [("STAT1", ["g1", "g2"]), ("JAK2", ["g3"]), ("control", "g0")]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0), (2, 1, 0)])
@pytest.mark.parametrize("arguments", [{}, {"perturbation_key": "perturbation"}])
def test_tables_of_lists_and_texts(order, arguments):
    cells = make_cells(["g0", "g1", "g2", "g3"])
    schema = infer_schema(cells, guide_to_gene=dict(LISTED[i] for i in order), **arguments)
    read = ["+".join(schema.parse(f"g{i}")) for i in range(4)]
    assert read == ["", "STAT1", "STAT1", "JAK2"]


def test_a_table_without_a_header():
    cells = make_cells(["g0", "g1", "g2"])
    table = pd.DataFrame({"g0": ["g1", "g2"], "control": ["STAT1", "JAK2"]})
    schema = infer_schema(cells, guide_to_gene=table)
    assert [schema.parse(f"g{i}") for i in range(3)] == [(), ("STAT1",), ("JAK2",)]


@pytest.mark.parametrize("label", ["control-rep1", "ctrl_rep2", "NT-replicate3"])
def test_a_control_with_a_replicate(label):
    control = re.split(r"[-_]", label)[0]
    schema = infer_schema(make_cells([control, label, "STAT1"]))
    assert schema.controls == (control, label)


@pytest.mark.parametrize(
    ("labels", "arguments", "found"),
    [
        (["control", "HLA.A.NKX2.1", "NKX2.1", "HLA.A"], {}, {"", "HLA.A+NKX2.1", "NKX2.1", "HLA.A"}),  # noqa: E501
        (["SCR", "SCR_STAT1", "STAT1+SCR"], {"control": "SCR", "separator": "+"}, {"", "STAT1"}),
        (["control", "STAT1_JAK2__MYC_KLF1", "STAT1_JAK2"], {}, {"", "JAK2+STAT1", "JAK2+KLF1+MYC+STAT1"}),  # noqa: E501
        (["control", "STAT1_+_JAK2", "STAT1"], {}, {"", "JAK2+STAT1", "STAT1"}),
        (["control", "p_INTERGENIC393453", "STAT1"], {}, {"", "STAT1"}),
        *(([own, "STAT1"], {}, {"", "STAT1"}) for own in ("SCR", "EV")),
    ],
)  # fmt: skip
def test_lines_that_lead_out_at_once(labels, arguments, found):
    cells = make_cells(labels)
    text, lines = refuse(cells, **arguments)
    assert "is missing" not in text
    line = next(line for line in lines if line != "separator=''")
    assert set(read(line, cells, **arguments).values()) == found


@pytest.mark.parametrize("own", ["siControl", "shScramble"])
def test_controls_of_interfering_rna(own):
    assert infer_schema(make_cells([own, "STAT1"])).control == own


@pytest.mark.parametrize("separator", ["A", "1", "x", "T1_"])
def test_a_separator_is_no_letter(separator):
    with pytest.raises(ValueError, match="begins or ends with a letter") as error:
        infer_schema(make_cells(["control", "STAT1_JAK2"]), separator=separator)
    text = str(error.value)
    assert text.startswith(f"separator={separator!r} begins or ends with a letter or digit")
    assert text.endswith("separator=''")


def test_an_empty_control_is_told():
    with pytest.raises(ValueError, match=r"control=\[''\] has an empty text"):
        infer_schema(make_cells(["control", "", "STAT1"]), control=[""])


def test_names_of_other_animals_have_colons():
    labels = ["control", "zgc:123456", "si:dkey-1b2.3", "His2Av:mRFP", "STAT1"]
    schema = infer_schema(make_cells(labels))
    assert [schema.parse(label) for label in labels[1:]] == [(label,) for label in labels[1:]]


def test_nothing_to_go_by_is_told_in_words():
    text, lines = refuse(make_cells(["STAT1", "JAK2"]))
    assert text.endswith("with the argument control")
    assert lines == []
    text, lines = refuse(make_cells(["a", "b"], "leiden"))
    assert text.endswith("with perturbation_key")
    assert lines == []


@pytest.mark.parametrize("form", ["{0}_GENE{0}_P1P2_ENSG{0:011d}", "LOC{0}", "XX{0}-YY.{0}"])
def test_many_labels_are_read_in_time_that_grows_with_them(form):
    def measure(n: int) -> float:
        cells = make_cells(["control", *(form.format(i) for i in range(n))])
        start = perf_counter()
        with suppress(ValueError):
            infer_schema(cells)
        return perf_counter() - start

    measure(100)
    # Where all are compared with all, four times as many take sixteen times as long.
    assert measure(2000) < 12 * max(measure(500), 0.1)
