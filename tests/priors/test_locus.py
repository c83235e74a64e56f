import re

import pytest
from hypothesis import given, strategies as st

from scbig.priors import GuideName, Locus, parse_guide, parse_locus

positions = st.integers(min_value=1, max_value=300_000_000)


@given(positions, st.integers(1, 10_000), st.sampled_from(["", ":+", ":-"]))
def test_both_conventions_name_the_same_bases(first: int, width: int, strand: str):
    one_based = parse_locus(f"chr8:{first}-{first + width - 1}{strand}")
    zero_based = parse_locus(
        f"chr8:{first - 1}-{first - 1 + width}{strand}", coordinates="0-based"
    )
    for locus in (one_based, zero_based):
        assert (locus.chrom, locus.start, locus.end) == ("chr8", first - 1, first - 1 + width)
        assert locus.strand == (strand[1:] or ".")


@given(positions)
def test_a_position_is_one_base_and_commas_do_not_matter(position: int):
    locus = parse_locus(f"chrX:{position:,}")
    assert (locus.start, locus.end) == (position - 1, position)
    assert locus.id == f"chrX:{position:,}"


@pytest.mark.parametrize(
    "text", ["chr8", "chr8:", "chr8:a", "chr8:1-", "8 :1", "chr8:1-2:x", ":5", "chr8:-5", "chr8:,"]
)
def test_other_texts_are_refused(text: str):
    with pytest.raises(ValueError, match=re.escape(repr(text)) + " is not a place in the genome"):
        parse_locus(text)


@pytest.mark.parametrize("text", ["chr8:0", "chr8:10-9"])
def test_impossible_intervals_are_refused(text: str):
    with pytest.raises(ValueError, match="start must be at least 0 and less than end"):
        parse_locus(text)


def test_an_unknown_convention_is_refused():
    with pytest.raises(ValueError, match=r"coordinates='bed'.*'0-based'"):
        parse_locus("chr8:5", coordinates="bed")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strand": "1"}, r"'a' has strand '1'; it must be one of \('\+', '-', '\.'\)"),
        ({"id": ""}, "needs an id and a chromosome"),
        ({"chrom": ""}, "needs an id and a chromosome"),
        ({"start": -1}, "runs from -1 to 6"),
    ],
)
def test_impossible_loci_are_refused(changes: dict, message: str):
    with pytest.raises(ValueError, match=message):
        Locus(**{"id": "a", "chrom": "chr1", "start": 5, "end": 6, **changes})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("CCNE2_+_95907328.23-P1P2", GuideName("CCNE2", "+", 95907328, 23, "P1P2")),
        ("PHF20L1_-_133787636-P1P2", GuideName("PHF20L1", "-", 133787636, None, "P1P2")),
        ("OXR1_+_107670422.23", GuideName("OXR1", "+", 107670422, 23, None)),
        ("HLA-A_B_-_1.20-ENST1,ENST2", GuideName("HLA-A_B", "-", 1, 20, "ENST1,ENST2")),
    ],
)
def test_names_of_guides_are_read(name: str, expected: GuideName):
    assert parse_guide(name) == expected


@given(
    st.from_regex(r"[A-Z][A-Z0-9-]{0,8}", fullmatch=True), st.sampled_from("+-"), positions,
    st.none() | st.integers(17, 30), st.none() | st.from_regex(r"P[1-9]{1,3}", fullmatch=True),
)  # fmt: skip
def test_what_a_guide_is_named_after_comes_back(gene, strand, position, length, tss):
    name = f"{gene}_{strand}_{position}"
    name += "" if length is None else f".{length}"
    name += "" if tss is None else f"-{tss}"
    assert parse_guide(name) == GuideName(gene, strand, position, length, tss)


@pytest.mark.parametrize("name", ["MYC-D", "non-targeting_00012", "A_+_x.23", "_+_5", ""])
def test_other_names_are_refused(name: str):
    with pytest.raises(ValueError, match="is not a guide name of the form"):
        parse_guide(name)
