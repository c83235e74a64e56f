from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from scbig.priors import Genome, Loci, Locus, Windows
from scbig.priors._genome import check_assembly, normalize_assembly
from scbig.priors._windows import decode_dna, encode_dna, reverse_complement

pytest.importorskip("pyfaidx")

COMPLEMENT = str.maketrans("ACGTN", "TGCAN")
LENGTH = 61


@pytest.fixture(scope="module")
def sequence() -> str:
    return "".join(np.random.default_rng(1).choice(list("ACGTNacgt"), LENGTH))


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory, sequence: str) -> Genome:
    path = tmp_path_factory.mktemp("genome") / "genome.fa"
    mirrored = sequence.upper().translate(COMPLEMENT)[::-1]
    texts = {"one": sequence, "mirror": mirrored, "two": "ACGT"}
    lines = [f">{name}\n" + "\n".join(_cut(text)) + "\n" for name, text in texts.items()]
    path.write_text("".join(lines))
    return Genome(path)


def _cut(text: str) -> list[str]:
    return [text[i : i + 10] for i in range(0, len(text), 10)]


def _make(chrom: str, start: int, end: int, strand: str = "+") -> Loci:
    return Loci((Locus("x", chrom, start, end, strand),), "toy")


@given(st.text("ACGTN"))
def test_letters_come_back(text: str):
    assert decode_dna(encode_dna(text)) == text
    assert decode_dna(encode_dna(text.lower())) == text


@given(st.text("ACGTN"))
def test_the_reverse_complement_is_that_of_the_letters(text: str):
    codes = encode_dna(text)
    assert decode_dna(reverse_complement(codes)) == text.translate(COMPLEMENT)[::-1]
    np.testing.assert_array_equal(reverse_complement(reverse_complement(codes)), codes)


def test_other_letters_are_unknown():
    assert encode_dna("ARNü-").tolist() == [0, 4, 4, 4, 4]


intervals = st.tuples(st.integers(0, LENGTH - 1), st.integers(1, LENGTH)).map(
    lambda pair: (pair[0], min(pair[0] + pair[1], LENGTH))
)
reuse = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@reuse
@given(intervals, st.integers(1, 150), st.integers(0, 80))
def test_windows_are_those_of_counting_base_by_base(genome, sequence, interval, width, flank):
    start, end = interval
    windows = genome.get_windows(_make("one", start, end), width, target_flank=flank)
    if end - start > 1:
        flank = 0
    for i in range(width):
        place = (start + end) // 2 - width // 2 + i
        is_inside = 0 <= place < LENGTH
        assert windows.sequences[0][i] == (sequence[place].upper() if is_inside else "N")
        assert windows.is_inside[0, i] == is_inside
        assert windows.is_target[0, i] == (is_inside and start - flank <= place < end + flank)


@reuse
@given(intervals, st.integers(1, 150))
def test_a_place_and_its_mirror_image_have_the_same_window(genome, interval, width):
    start, end = interval
    plain = genome.get_windows(_make("one", start, end, "+"), width)
    mirror = genome.get_windows(_make("mirror", LENGTH - end, LENGTH - start, "-"), width)
    for name in ("codes", "is_inside", "is_target"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(mirror, name))


def test_the_middle_base_is_in_the_middle_on_both_strands(genome: Genome, sequence: str):
    for position in (0, 30, LENGTH - 1):
        base = sequence[position].upper()
        for width in (8, 9):
            for strand, expected in (("+", base), ("-", base.translate(COMPLEMENT))):
                loci = _make("one", position, position + 1, strand)
                [window] = genome.get_windows(loci, width).sequences
                assert window[width // 2] == expected


def test_shuffling_keeps_composition_and_masks(genome: Genome, rng: np.random.Generator):
    windows = genome.get_windows(_make("one", 3, 4), 80)
    shuffled = windows.shuffle(rng)
    np.testing.assert_array_equal(shuffled.codes == 4, windows.codes == 4)
    assert np.bincount(shuffled.codes[0]).tolist() == np.bincount(windows.codes[0]).tolist()
    assert (shuffled.codes != windows.codes).mean() > 0.2
    assert shuffled.is_target is windows.is_target


def test_windows_check_their_shapes_and_can_be_empty():
    empty = Windows.without_sequence(("a", "b"))
    assert (len(empty), empty.width, empty.sequences) == (2, 0, ("", ""))
    with pytest.raises(ValueError, match=r"must be \(1, width\) for 1 ids"):
        Windows(("a",), empty.codes, empty.is_inside, empty.is_target)


@pytest.mark.parametrize(
    ("loci", "width", "message"),
    [
        (_make("chr9", 1, 2), 8, r"has no chromosome \['chr9'\].*'one', 'mirror', 'two'"),
        (_make("two", 3, 5), 8, "'x' at two:3-5 lies outside of its chromosome, which has 4"),
        (_make("two", 3, 4), 0, "width=0"),
    ],
)
def test_impossible_places_are_refused(genome: Genome, loci: Loci, width: int, message: str):
    with pytest.raises(ValueError, match=message):
        genome.get_windows(loci, width)
    with pytest.raises(ValueError, match="target_flank=-1"):
        genome.get_windows(_make("two", 0, 1), 8, target_flank=-1)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "x.fa"
        path.write_text(text)
        return path

    return write


def test_a_missing_or_broken_file_is_refused(write: Callable[[str], Path], tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="There is no FASTA at"):
        Genome(tmp_path / "none.fa")
    with pytest.raises(ValueError, match=r"x\.fa (cannot be read as a FASTA|holds no sequence)"):
        Genome(write("chrom\tposition\n"))


def test_a_header_that_states_another_genome_is_refused(write: Callable[[str], Path]):
    path = write(">s8 dna:chromosome chromosome:GRCh38:8:1:8:1 REF\nACGTACGT\n")
    loci = Loci((Locus("x", "s8", 2, 3),), "hg19")
    with Genome(path) as genome:
        with pytest.raises(ValueError, match=r"header of s8 states \['hg38'\], .* belong to hg19"):
            genome.check(loci)
        genome.check(Loci(loci.records, "GRCh38.p14"))
        assert genome.get_windows(Loci(loci.records, "hg38"), 2).sequences == ("CG",)


def test_lengths_of_chromosomes_tell_genomes_apart():
    lengths = {"chr8": 145138636, "chrUn_1": 5}
    for name in ("hg38", "GRCh38", "GRCh38.p13"):
        check_assembly(name, lengths, {}, "x.fa")
    check_assembly("my own genome", lengths, {}, "x.fa")
    message = "chr8 has 145,138,636 bases as in hg38, but 146,364,022 in hg19"
    with pytest.raises(ValueError, match=message):
        check_assembly("hg19", lengths, {}, "x.fa")
    with pytest.raises(ValueError, match="8 has 5 bases, but 146,364,022 in GRCh37"):
        check_assembly("GRCh37", {"8": 5}, {}, "x.fa")
    assert normalize_assembly("GRCm39") == "mm39"
