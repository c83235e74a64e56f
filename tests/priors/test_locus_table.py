"""What is read of loci, alike each time."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from scbig.data import simulate_locus_screen
from scbig.priors import Loci, LocusSource

pytest.importorskip("pyfaidx")


class Genes(NamedTuple):
    loci: Loci
    fasta: Path


@pytest.fixture(scope="module")
def loci_screen(tmp_path_factory: pytest.TempPathFactory) -> Genes:
    folder = tmp_path_factory.mktemp("loci")
    return Genes(*simulate_locus_screen(folder, n_targets=40, n_genes=40, n_cells=900, seed=1)[1:])


@pytest.mark.parametrize("sequence", ["shuffled", "random"])
def test_replaced_dna_is_alike_each_time_it_is_read(loci_screen, sequence):
    reader = LocusSource(128, sequence)
    real = LocusSource(128).read(loci_screen.loci, loci_screen.fasta)
    first = reader.read(loci_screen.loci, loci_screen.fasta)
    some = reader.read(loci_screen.loci.take(["TARGET003-P1"]), loci_screen.fasta)
    row = loci_screen.loci.ids.index("TARGET003-P1")
    np.testing.assert_array_equal(first.values[row], some.values[0])
    assert (first.values[row] != real.values[row]).mean() > 0.5
    counts = [np.bincount(places.values[row], minlength=5) for places in (first, real)]
    assert np.array_equal(*counts) is (sequence == "shuffled")


def test_without_a_mask_the_whole_window_is_perturbed(loci_screen):
    places = LocusSource(1024, target="window").read(loci_screen.loci, loci_screen.fasta)
    np.testing.assert_array_equal(places.is_target, places.is_there)
    masked = LocusSource(1024).read(loci_screen.loci, loci_screen.fasta)
    assert masked.is_target.sum(1).max() == 501  # 250 bases to either side of the start site
