"""Labels as sets of targets, and the conventions of a screen, recognised or named."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from hypothesis import given, strategies as st

from scbig.data import ScreenSchema, infer_schema
from scbig.labels import (
    CONTROL_LABELS,
    PERTURBATION_KEYS,
    SEPARATORS,
    find_separator,
    is_control_token,
    parse_perturbation,
)

LETTERS = st.text("ABCXYZ019", min_size=1, max_size=5)
GENES = st.one_of(LETTERS, st.builds("{}-{}".format, LETTERS, LETTERS))
SEPARATOR = st.sampled_from(SEPARATORS)


@given(genes=st.lists(GENES, min_size=1, max_size=5), separator=SEPARATOR, data=st.data())
def test_order_repeats_and_spaces_do_not_matter(genes, separator, data):
    written = data.draw(st.permutations(genes + genes[:1]))
    pad = data.draw(st.sampled_from(["", " "]))
    label = f"{pad}{separator}{pad}".join(written)
    expected = tuple(sorted(set(genes)))
    assert parse_perturbation(label, control="control", separator=separator) == expected
    again = parse_perturbation(separator.join(expected), control="control", separator=separator)
    assert again == expected


@given(gene=GENES, separator=st.sampled_from("+|;,&"), control=st.sampled_from(CONTROL_LABELS))
def test_a_control_part_is_no_target(gene, separator, control):
    for label in (f"{gene}{separator}{control}", f"{control}{separator}{gene}"):
        assert parse_perturbation(label, control="control", separator=separator) == (gene,)
    both = f"{control}{separator}{control}"
    assert parse_perturbation(both, control="control", separator=separator) == ()


@given(label=st.text(min_size=1, max_size=12).filter(lambda s: s.strip()))
def test_without_a_separator_a_label_is_one_target(label):
    targets = parse_perturbation(label, control="control", separator=None)
    assert targets == (() if label.strip() == "control" else (label.strip(),))


@given(genes=st.lists(GENES, min_size=2, max_size=4, unique=True), separator=SEPARATOR)
def test_separator_of_combinations_of_known_singles_is_found(genes, separator):
    labels = ["control", *genes, separator.join(genes)]
    assert find_separator(labels, control="control", gene_names=()) == separator
    measured = find_separator([separator.join(genes)], control="control", gene_names=set(genes))
    assert measured == separator


@pytest.mark.parametrize(
    ("label", "control", "separator", "targets"),
    [
        ("non_targeting", "non_targeting", "_", ()),
        (" control", "control", None, ()),
        ("control ", "control", "+", ()),
        ("NT", "control", "+", ("NT",)),
        ("NT", "control", None, ("NT",)),
        ("A+safe", "safe", "+", ("A",)),
        ("", "", None, ()),
        ("GATA1-A", "control", "_", ("GATA1-A",)),
        ("A_B_C", "control", "_", ("A", "B", "C")),
    ],
)
def test_labels_of_usual_screens(label, control, separator, targets):
    assert parse_perturbation(label, control=control, separator=separator) == targets


@pytest.mark.parametrize(
    ("label", "separator", "message"),
    [
        ("A+", "+", r"'A\+' has an empty target.*separator=''"),
        ("A__B", "_", r"'A__B' has an empty target. Write labels as 'A_B'"),
        ("  ", None, "A perturbation label is empty: '  '"),
        ("", "+", "A perturbation label is empty: ''"),
    ],
)
def test_empty_parts_are_refused(label, separator, message):
    with pytest.raises(ValueError, match=message):
        parse_perturbation(label, control="control", separator=separator)


@pytest.mark.parametrize(
    ("labels", "genes", "separator"),
    [
        (["A", "B", "A+B"], (), "+"),
        (["X+Y"], (), "+"),
        (["A+ctrl", "ctrl"], (), "+"),
        (["ctrl+A", "B+ctrl", "A+B"], (), "+"),
        (["A", "B", "A_B"], (), "_"),
        (["A_NT", "B_NT"], ("A", "B"), "_"),
        (["A_ctrl"], ("A",), "_"),
        (["A|B"], ("A", "B"), "|"),
        (["A", "B"], (), None),
        (["GATA1-A", "HLA-A", "NT"], ("GATA1", "A"), None),
        (["A_1", "A_2"], ("A",), None),
        (["HLA_DRA", "A"], ("A",), None),
        (["CD4+", "CD8+"], (), None),
        (["non-targeting_1", "A_1"], ("A",), None),
        ([], (), None),
    ],
)
def test_separator_of_usual_conventions(labels, genes, separator):
    assert find_separator(labels, control="ctrl", gene_names=genes) == separator


def test_named_control_is_a_known_part():
    assert find_separator(["A", "A_safe", "safe"], control="safe", gene_names=()) == "_"


def test_two_readings_are_listed():
    message = r"more than one separator: '\+' splits 'A\+C'; '_' splits 'A_B'. Name it: separator="
    with pytest.raises(ValueError, match=message):
        find_separator(["A", "B", "A_B", "A+C"], control="control", gene_names=())


@pytest.mark.parametrize("token", ["control", "CTRL", "Non-Targeting", "nt", "Unperturbed"])
def test_control_tokens_in_any_case(token):
    assert is_control_token(token)
    assert not is_control_token(token + "1")


def make_cells(var=None, **columns) -> AnnData:
    obs = pd.DataFrame(columns)
    obs.index = [f"c{i}" for i in range(len(obs))]
    var = pd.DataFrame(index=["A", "B", "C"]) if var is None else var
    return AnnData(np.ones((len(obs), len(var)), np.float32), obs=obs, var=var)


@pytest.mark.parametrize("key", PERTURBATION_KEYS)
@pytest.mark.parametrize("control", [*CONTROL_LABELS, "Control", "CTRL", "nt"])
def test_usual_names_are_recognised(key, control):
    schema = infer_schema(make_cells(**{key: [control, "A", "B"]}))
    assert (schema.perturbation_key, schema.control) == (key, control)


@pytest.mark.parametrize(
    ("labels", "separator", "parsed"),
    [
        (["control", "A", "B", "A+B"], "+", [(), ("A",), ("B",), ("A", "B")]),
        (["ctrl", "A+ctrl", "ctrl+B", "B+A"], "+", [(), ("A",), ("B",), ("A", "B")]),
        (["non-targeting", "A", "B", "A_B"], "_", [(), ("A",), ("B",), ("A", "B")]),
        (["non_targeting", "B_A", "C"], "_", [(), ("A", "B"), ("C",)]),
        (["NT", "GATA1-A", "HLA_DRA"], "+", [(), ("GATA1-A",), ("HLA_DRA",)]),
        (["NT", "CD4+", "A"], None, [(), ("CD4+",), ("A",)]),
    ],
)
def test_usual_conventions_are_read(labels, separator, parsed):
    schema = infer_schema(make_cells(perturbation=pd.Categorical(labels)))
    assert schema.separator == separator
    assert [schema.parse(label) for label in labels] == parsed


def test_singles_can_be_combined():
    schema = infer_schema(make_cells(condition=["control", "A", "B"]))
    assert schema.parse(schema.join(["B", "A"])) == ("A", "B")
    assert schema.join([]) == "control"
    none = infer_schema(make_cells(condition=["control", "A_B", "A", "B"]), separator="")
    assert none.separator is None
    assert none.parse("A_B") == ("A_B",)
    assert none.join(["A"]) == "A"
    with pytest.raises(ValueError, match=r"\['A', 'B'\] cannot be combined.*separator='\+'"):
        none.join(["A", "B"])


def test_what_is_given_is_taken():
    cells = make_cells(mine=["safe", "A", "A_B", "NT"], line=["x"] * 4, batch=[1, 1, 2, 2])
    cells.layers["log"] = cells.X.copy()
    cells.var["symbol"] = ["a", "b", "c"]
    schema = infer_schema(
        cells,
        layer="log",
        perturbation_key="mine",
        control="safe",
        context_keys=["line", "batch"],
        separator="_",
        gene_key="symbol",
    )
    assert schema == ScreenSchema("mine", "safe", "_", ("line", "batch"), "log", "symbol")
    assert ScreenSchema.from_dict(schema.to_dict()) == schema
    assert schema.to_dict()["context_keys"] == ["line", "batch"]
    one = infer_schema(cells, perturbation_key="mine", control="safe", context_keys="line")
    assert one.context_keys == ("line",)


def test_the_column_with_controls_is_taken():
    cells = make_cells(gene=["A", "B", "C"], condition=["ctrl", "A", "B"])
    assert infer_schema(cells).perturbation_key == "condition"
    cells = make_cells(gene=["safe", "A", "B"], condition=["ctrl", "A", "B"])
    assert infer_schema(cells, control="safe").perturbation_key == "gene"


def test_gene_names_of_the_column_decide_on_the_separator():
    var = pd.DataFrame({"symbol": ["A", "B"]}, index=["ENSG1", "ENSG2"])
    cells = make_cells(var, perturbation=["control", "A_B", "ENSG1_x"])
    assert infer_schema(cells, gene_key="symbol").separator == "_"
    assert infer_schema(cells).separator == "+"


def test_missing_labels_are_left_to_the_checks():
    cells = make_cells(perturbation=["control", None, "A"])
    assert infer_schema(cells).control == "control"


def raises(message: str, cells: AnnData, **arguments) -> None:
    with pytest.raises(ValueError, match=message) as error:
        infer_schema(cells, **arguments)
    # Other functions than setup_anndata take these arguments too.
    assert "setup_anndata" not in str(error.value)


def test_two_columns_are_listed():
    cells = make_cells(perturbation=["control", "A"], gene=["NT", "A"])
    raises(
        r"hold the perturbations: \['perturbation', 'gene'\]. Name it: perturbation_key=", cells
    )


def test_two_control_labels_are_listed():
    cells = make_cells(perturbation=["control", "NT", "A"])
    raises(
        r"could be the control: 'NT' .*, 'control' .*. Name it: control='NT' or control='control'",
        cells,
    )
    assert infer_schema(cells, control="NT").control == "NT"


@pytest.mark.parametrize("key", [None, "perturbation"])
def test_wrong_control_is_told_the_labels(key):
    cells = make_cells(perturbation=["control", "A"])
    message = r"perturbation'.*label 'x'. Labels found: 'control', 'A'. Name it: control='control'"
    raises(message, cells, control="x", perturbation_key=key)


@pytest.mark.parametrize("key", [None, "gene"])
def test_no_control_is_told_the_labels(key):
    cells = make_cells(gene=[f"T{i}" for i in range(12)])
    message = (
        r"gene'.*control label any of \['control'.*Labels found: 'T0', .*'T7' and 4 more. "
        "Name that of the control cells with the argument control"
    )
    raises(message, cells, perturbation_key=key)


def test_no_column_is_told_the_columns():
    cells = make_cells(leiden=["1", "2"], donor=["x", "y"])
    message = r"Columns found: \['leiden', 'donor'\]. Name the one that .* with perturbation_key"
    raises("No column of obs is recognised.*" + message, cells)
    raises("No column of obs is recognised.*" + message, cells, control="x")


def test_absent_names_are_told_those_there():
    cells = make_cells(perturbation=["control", "A"])
    cells.layers["log"] = cells.X.copy()
    cells.var["symbol"] = ["a", "b", "c"]
    raises(r"layer 'x'. Layers found: \['log'\]", cells, layer="x")
    found = r" is not a column of obs. Columns found: \['perturbation'\]"
    raises("perturbation_key='x'" + found, cells, perturbation_key="x")
    raises("context_keys='batch'" + found, cells, context_keys=["batch"])
    found = r" is not a column of var. Columns found: \['symbol'\]"
    raises("gene_key='x'" + found, cells, gene_key="x")


def test_two_separators_are_listed():
    cells = make_cells(perturbation=["control", "A", "B", "A_B", "A+B"])
    raises(r"'\+' splits 'A\+B'; '_' splits 'A_B'. Name it: separator='\+'", cells)
