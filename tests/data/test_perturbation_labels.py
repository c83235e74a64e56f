import pytest
from hypothesis import given
from hypothesis import strategies as st

from scbig.data._labels import (
    CONTROL_LABELS,
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
