from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from scbig.priors import Loci, Locus, load_loci, make_loci

TABLE = pd.DataFrame(
    {
        "locus": ["a-P1", "a-P2", "b"],
        "chrom": ["chr1", "chr1", "chr2"],
        "start": [100, 2000, 7],
        "end": [123, 2023, 8],
        "strand": ["+", "-", "."],
        "gene": ["A", "A", None],
        "tss_label": ["P1", "P2", None],
        "guide": ["g1", "g2", None],
    }
)
FILES = ["loci.tsv", "loci.csv", "loci.tsv.gz", "loci.txt", "loci.parquet"]


@pytest.fixture
def loci() -> Loci:
    return make_loci(TABLE, assembly="hg19", coordinates="0-based")


@pytest.mark.parametrize("name", FILES)
def test_every_kind_of_file_gives_the_same_loci(tmp_path: Path, loci: Loci, name: str):
    path = tmp_path / name
    if name.endswith(".parquet"):
        TABLE.to_parquet(path)
    else:
        TABLE.to_csv(path, index=False, sep="," if "csv" in name else "\t")
    read = load_loci(path, assembly="hg19", coordinates="0-based")
    assert read.records == loci.records
    assert (read.assembly, read.source) == ("hg19", name)
    assert loci["a-P2"] == Locus("a-P2", "chr1", 2000, 2023, "-", "A", "P2", "g2")
    assert loci["b"].gene is None


def test_the_frame_of_loci_makes_them_again(loci: Loci):
    again = make_loci(loci.to_frame(), assembly="hg19", coordinates="0-based")
    assert again.records == loci.records


def test_conventions_differ_by_one_in_the_start(loci: Loci):
    one_based = make_loci(TABLE, assembly="hg19", coordinates="1-based")
    assert [x.start for x in one_based] == [x.start - 1 for x in loci]
    assert [x.end for x in one_based] == [x.end for x in loci]


def test_a_position_is_one_base():
    frame = TABLE.drop(columns=["start", "end"]).assign(position=[5.0, 6.0, 7.0])
    for coordinates, shift in (("0-based", 0), ("1-based", 1)):
        read = make_loci(frame, assembly="hg19", coordinates=coordinates)
        assert [(x.start, x.end) for x in read] == [(p - shift, p - shift + 1) for p in (5, 6, 7)]


def test_names_of_guides_fill_what_the_table_lacks():
    guides = ["CCNE2_+_95907328.23-P1P2", "OXR1_-_107670422.23"]
    frame = pd.DataFrame({"guide": guides, "chrom": "chr8"})
    first, second = make_loci(frame, assembly="hg19", coordinates="1-based")
    assert first == Locus(
        guides[0], "chr8", 95907327, 95907328, "+", "CCNE2", "P1P2", guides[0]
    )  # fmt: skip
    assert (second.strand, second.gene, second.tss_label) == ("-", "OXR1", None)
    given = frame.assign(gene="X", strand="+")
    assert {(x.gene, x.strand) for x in make_loci(given, assembly="h", coordinates="1-based")} == {
        ("X", "+")
    }


def test_labels_are_looked_up_as_ids_then_guides_then_genes(loci: Loci):
    ids = {label: [x.id for x in found] for label, found in loci.match(["A", "g2", "b"]).items()}
    assert ids == {"A": ["a-P1", "a-P2"], "g2": ["a-P2"], "b": ["b"]}
    shadowed = Loci((Locus("A", "c", 0, 1, gene="B"), Locus("x", "c", 0, 1, gene="A")), "hg19")
    assert [x.id for x in shadowed.match(["A"])["A"]] == ["A"]


def test_unknown_labels_are_listed_with_what_was_perhaps_meant(loci: Loci):
    with pytest.raises(ValueError, match=r"guide or gene for 1 labels: \['a-P3'\]; did you mean"):
        loci.match(["a-P1", "a-P3"])
    with pytest.raises(ValueError, match=r"no locus id for 2 labels: \['A', 'zzz'\]; it has"):
        loci.take(["A", "zzz"])
    assert "a-P1" in loci
    assert "A" not in loci


def test_take_orders_and_keeps_the_assembly(loci: Loci):
    some = loci.take(["b", "a-P1"])
    assert (some.ids, some.assembly, len(some)) == (("b", "a-P1"), "hg19", 2)


def test_places_as_text_are_their_own_ids():
    loci = Loci.from_text(["chr8:127735434", "chr8:5-9:-"], assembly="hg38")
    assert loci.ids == ("chr8:127735434", "chr8:5-9:-")
    assert [(x.start, x.end) for x in loci] == [(127735433, 127735434), (4, 9)]


def test_groups_join_genes_and_overlapping_windows():
    places = [("c1", 100, "A"), ("c1", 5000, "A"), ("c1", 5400, "B"), ("c2", 5400, "C"),
              ("c1", 9000, None), ("c1", 9499, None), ("c1", 9999, None)]  # fmt: skip
    records = [Locus(f"l{i}", c, p, p + 1, gene=g) for i, (c, p, g) in enumerate(places)]
    group = Loci(tuple(records), "hg19").group(500)
    assert len(set(group[:3])) == 1  # B's window meets that of A's second place
    assert group[4] == group[5]
    assert len({group[0], group[3], group[4], group[6]}) == 4


def test_groups_are_those_of_comparing_all_pairs(rng: np.random.Generator):
    n, width = 60, 400
    chrom, position = rng.integers(0, 2, n), rng.integers(0, 12_000, n)
    gene = rng.integers(0, 40, n)
    records = [
        Locus(f"l{i}", f"c{chrom[i]}", int(position[i]), int(position[i]) + 1, gene=f"g{gene[i]}")
        for i in range(n)
    ]
    near = (np.abs(position[:, None] - position) < width) & (chrom[:, None] == chrom)
    linked = (near | (gene[:, None] == gene)).astype(float)
    reach = np.linalg.matrix_power(linked, n) > 0
    group = Loci(tuple(records), "hg19").group(width)
    np.testing.assert_array_equal(group[:, None] == group, reach)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (TABLE.drop(columns="chrom"), r"lacks the columns \['chrom'\]; .* do not state the chrom"),
        (TABLE.drop(columns=["locus", "guide"]), r"lacks the columns \['locus'\]"),
        (TABLE.drop(columns="end"), r"lacks the columns \['position \(or start and end\)'\]"),
        (TABLE.assign(locus="x"), "the locus id 'x' occurs twice"),
        (TABLE.assign(strand=["+", "*", "-"]), r"row 2 after the header: .* strand '\*'"),
        (TABLE.assign(start=[1, 2, "x"]), "row 3 after the header: start is 'x'"),
        (TABLE.assign(start=[1.5, 2, 3]), r"row 1 after the header: start is 1\.5"),
        (TABLE.assign(end=[1, 2, 3]), "row 1 after the header: .* runs from 100 to 1"),
        (TABLE.assign(chrom=[None, "c", "c"]), "row 1 after the header: .*needs an id"),
        (TABLE[:0], "there are no loci"),
        (
            pd.DataFrame({"guide": ["MYC-D"], "chrom": ["chr8"]}),
            "no position, nor start and end, and 'MYC-D' is not a guide name",
        ),
    ],
)
def test_bad_tables_are_refused(frame: pd.DataFrame, message: str):
    with pytest.raises(ValueError, match=message):
        make_loci(frame, assembly="hg19", coordinates="0-based")


def test_the_genome_must_be_named_and_the_suffix_known(tmp_path: Path):
    with pytest.raises(ValueError, match="name the genome, for example assembly='hg38'"):
        make_loci(TABLE, assembly="", coordinates="0-based")
    with pytest.raises(ValueError, match="unknown suffix; known are"):
        load_loci(tmp_path / "loci.xlsx", assembly="hg19", coordinates="0-based")


@pytest.mark.data_kit
def test_guides_of_a_real_screen(data_kit: Path):
    with h5py.File(data_kit / "schraivogel2020.h5ad") as file:
        labels = file["obs/guide/categories"].asstr()[:]
    guides = [label for label in labels if "_+_" in label or "_-_" in label]
    frame = pd.DataFrame({"guide": guides, "chrom": "chr8"})
    loci = make_loci(frame, assembly="hg19", coordinates="1-based")
    assert len(loci) == 40
    genes = {locus.gene for locus in loci}
    assert {"CCNE2", "OXR1", "CPQ"} < genes
    assert [x.id for x in loci.match(["OXR1"])["OXR1"]] == [g for g in guides if "OXR1_" in g]
