import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from scbig.priors import (
    DNAEncoder,
    GeneEmbedding,
    Genome,
    Loci,
    Locus,
    LocusTokens,
    TableEncoder,
    Windows,
    encode_loci,
)

pytest.importorskip("pyfaidx")

BASES = "ACGT"


class CountBases:
    """One token with the number of each base; notes what it was asked, and fails on demand."""

    def __init__(self, width: int = 8, fail_after: int | None = None) -> None:
        self.width, self.dim, self.fingerprint = width, 4, f"count/{width}"
        self.asked: list[str] = []
        self.fail_after = fail_after

    def encode(self, windows: Windows) -> LocusTokens:
        if self.fail_after is not None and len(self.asked) >= self.fail_after:
            raise KeyboardInterrupt
        self.asked += windows.ids
        values = np.array([[[s.count(base) for base in BASES]] for s in windows.sequences])
        is_there = np.ones(values.shape[:2], dtype=bool)
        return LocusTokens(values, is_there, is_there)


@pytest.fixture
def make_genome(tmp_path: Path) -> Callable[..., Genome]:
    def make(seed: int = 0) -> Genome:
        sequence = "".join(np.random.default_rng(seed).choice(list(BASES), 200))
        path = tmp_path / f"{seed}.fa"
        path.write_text(f">c\n{sequence}\n")
        return Genome(path)

    return make


@pytest.fixture
def loci() -> Loci:
    return Loci(tuple(Locus(f"l{i}", "c", 9 * i + 4, 9 * i + 5) for i in range(20)), "toy")


def _count(genome: Genome, loci: Loci, width: int = 8) -> np.ndarray:
    text = (genome.path).read_text().splitlines()[1]
    starts = [locus.start - width // 2 for locus in loci]
    windows = [text[max(start, 0) : start + width] for start in starts]
    return np.array([[w.count(base) for base in BASES] for w in windows], dtype=np.float32)


def test_loci_are_encoded_in_order(make_genome, loci: Loci):
    genome, encoder = make_genome(), CountBases()
    tokens = encode_loci(loci, encoder, genome=genome, batch_size=7, use_progress=False)
    assert isinstance(encoder, DNAEncoder)
    np.testing.assert_array_equal(tokens.pool(), _count(genome, loci))
    assert encoder.asked == list(loci.ids)


def test_progress_is_shown_on_stderr(make_genome, loci: Loci, capsys: pytest.CaptureFixture):
    encode_loci(loci, CountBases(), genome=make_genome())
    assert capsys.readouterr().out == ""


def test_an_interrupted_run_goes_on_where_it_stopped(make_genome, loci: Loci, tmp_path: Path):
    genome, cache = make_genome(), tmp_path / "cache"
    broken = CountBases(fail_after=10)
    settings = {"genome": genome, "cache_dir": cache, "batch_size": 5, "use_progress": False}
    with pytest.raises(KeyboardInterrupt):
        encode_loci(loci, broken, **settings)
    encoder = CountBases()
    tokens = encode_loci(loci, encoder, **settings)
    assert broken.asked == list(loci.ids[:10])
    assert encoder.asked == list(loci.ids[10:])
    np.testing.assert_array_equal(tokens.pool(), _count(genome, loci))


def test_the_cache_serves_any_order_and_says_so(
    make_genome, loci: Loci, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    genome = make_genome()
    settings = {"genome": genome, "cache_dir": tmp_path, "use_progress": False}
    encode_loci(loci, CountBases(), **settings, batch_size=3)
    reversed_loci, encoder = loci.take(loci.ids[::-1]), CountBases()
    with caplog.at_level(logging.INFO, "scbig.priors"):
        tokens = encode_loci(reversed_loci, encoder, **settings, batch_size=6)
    assert encoder.asked == []
    assert "0 loci encoded" in caplog.text
    np.testing.assert_array_equal(tokens.pool(), _count(genome, reversed_loci))


def test_another_genome_or_encoder_is_not_served_from_the_cache(
    make_genome, loci: Loci, tmp_path: Path
):
    settings = {"cache_dir": tmp_path / "cache", "use_progress": False}
    encode_loci(loci, CountBases(), genome=make_genome(0), **settings)
    for genome, width in ((make_genome(1), 8), (make_genome(0), 6)):
        encoder = CountBases(width)
        tokens = encode_loci(loci, encoder, genome=genome, **settings)
        assert encoder.asked == list(loci.ids)
        np.testing.assert_array_equal(tokens.pool(), _count(genome, loci, width))


def test_a_foreign_file_in_the_cache_is_named(make_genome, loci: Loci, tmp_path: Path):
    settings = {"genome": make_genome(), "cache_dir": tmp_path / "cache", "use_progress": False}
    encode_loci(loci, CountBases(), **settings)
    [first, *_] = sorted((tmp_path / "cache").rglob("*.safetensors"))
    first.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=f"{first.name} is not a file of this cache.*Delete it"):
        encode_loci(loci, CountBases(), **settings)


def test_a_table_needs_no_genome_and_keeps_zero_vectors(loci: Loci, tmp_path: Path):
    vectors = np.arange(40.0).reshape(20, 2)
    vectors[3] = 0
    encoder = TableEncoder(GeneEmbedding(loci.ids[::-1], vectors, "table.npz"))
    for cache_dir in (None, tmp_path, tmp_path):
        tokens = encode_loci(loci, encoder, cache_dir=cache_dir, use_progress=False)
        np.testing.assert_array_equal(tokens.values[:, 0], vectors[::-1])
        assert tokens.is_token.all()


def test_loci_without_a_vector_are_listed(loci: Loci):
    encoder = TableEncoder(GeneEmbedding(loci.ids[:8], np.ones((8, 2)), "table.npz"))
    message = "table.npz has no vector for 12 of 20 loci: l8, .*, l17 and 2 more.* such as 'l0'"
    with pytest.raises(ValueError, match=message):
        encode_loci(loci, encoder, batch_size=20, use_progress=False)


def test_tables_differ_in_their_fingerprint():
    tables = [(("a", "b"), [1, 2]), (("a", "b"), [1, 3]), (("b", "a"), [1, 2])]
    prints = [
        TableEncoder(GeneEmbedding(names, np.array(values)[:, None], "t")).fingerprint
        for names, values in tables
    ]
    assert len(set(prints)) == 3


def test_pooling_takes_the_target_or_else_all_tokens():
    values = np.arange(24.0).reshape(4, 3, 2)
    is_target = np.array([[1, 1, 0], [0, 0, 0], [0, 0, 1], [1, 0, 0]], dtype=bool)
    is_token = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0], [0, 0, 0]], dtype=bool)
    tokens = LocusTokens(values, is_target, is_token)
    expected = [values[0, :2].mean(0), values[1, [0, 2]].mean(0), values[2, :2].mean(0), [0, 0]]
    np.testing.assert_allclose(tokens.pool(), expected)
    assert tokens.values[3].any() == np.False_


def test_bad_requests_are_refused(make_genome, loci: Loci):
    genome = make_genome()
    with pytest.raises(ValueError, match=r"reads 8 bases around each locus; .* genome=Genome\("):
        encode_loci(loci, CountBases())
    with pytest.raises(ValueError, match="batch_size=0"):
        encode_loci(loci, CountBases(), genome=genome, batch_size=0)
    wrong = CountBases()
    wrong.dim = 5
    with pytest.raises(ValueError, match=r"shape \(16, 1, 4\) for 16 loci and dim=5"):
        encode_loci(loci, wrong, genome=genome, use_progress=False)
    with pytest.raises(ValueError, match="vectors of 1 loci are not finite"):
        LocusTokens(np.full((1, 1, 1), np.nan), np.ones((1, 1), bool), np.ones((1, 1), bool))
    with pytest.raises(ValueError, match="must be \\(n_loci, n_tokens, dim\\)"):
        LocusTokens(np.ones((1, 2)), np.ones((1, 2), bool), np.ones((1, 2), bool))
