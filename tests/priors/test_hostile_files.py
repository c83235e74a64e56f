"""Files that are damaged, or meant to do harm, are refused by an error that names them."""

import gzip
import io
import os
import pickle
import pickletools
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
import torch

from scbig import _reading
from scbig.priors import Genome, Loci, Locus, load_gene_embedding, load_gene_sets, load_string
from scbig.priors._safe_loading import _FIXED, _LENGTH_BYTES, _LINES, _check_sizes


def write(path: Path, content: bytes | Callable[[Any], object]) -> Path:
    if callable(content):
        buffer = io.BytesIO()
        content(buffer)
        content = buffer.getvalue()
    path.write_bytes(content)
    return path


def pack(name: str, content: bytes, method: int = zipfile.ZIP_DEFLATED) -> Callable[[Any], None]:
    def make(buffer: Any) -> None:
        with zipfile.ZipFile(buffer, "w", method) as archive:
            archive.writestr(name, content)

    return make


# --- pickles -------------------------------------------------------------------------------------


def _nest() -> bytes:
    lists: list[Any] = [1.0, 1.0]
    for _ in range(40):
        lists = [lists, lists]
    return pickle.dumps({"names": ["A"], "vectors": lists})


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"\x80\x02]r\x00\x00\x00\x08.", "numbers 134,217,728 objects in 9 bytes"),
        (b"]p999999999\n.", "numbers 999,999,999 objects"),
        (b"\x80\x04\x8e" + struct.pack("<Q", 1 << 33) + b".", "bytes too many"),
        (b"\x80\x04X" + struct.pack("<I", 1 << 31) + b".", "bytes too many"),
        (b"\x80\x02cnumpy", "ends within a line"),
        (b"\xff.", "unknown operation 0xff"),
        (_nest(), "nested more than 8 deep"),
    ],
)
def test_a_few_bytes_take_no_memory(tmp_path: Path, raw: bytes, message: str):
    path = write(tmp_path / "a.pkl", raw)
    process, start = psutil.Process(), time.perf_counter()
    before = process.memory_info().rss
    with pytest.raises(ValueError, match=rf"a\.pkl.*{message}"):
        load_gene_embedding(path)
    assert process.memory_info().rss - before < 100 << 20
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("protocol", range(6))
def test_plain_pickles_of_all_protocols_pass(protocol: int, rng: np.random.Generator):
    things = [
        {"A": rng.random(5), "B": np.float32(3)}, {"n": np.array(["a", "bé"])}, [1.5] * 300,
        {1: 2**80, "x": -5, "y": True, "z": None, "t": (1, 2, 3, 4), "f": frozenset([1])},
        {"by": b"abc", "ba": bytearray(b"123"), "long": b"x" * 300, "text": "y" * 300},
        {f"g{i}": rng.random(3) for i in range(400)},
    ]  # fmt: skip
    for thing in things:
        _check_sizes(pickle.dumps(thing, protocol=protocol))
        _check_sizes(pickle.dumps(thing, protocol=protocol) + b"\xff what follows is not read")


def test_every_operation_is_known():
    for operation in pickletools.opcodes:
        code = operation.code.encode("latin1")
        is_known = ord(code) in _LENGTH_BYTES or ord(code) in _LINES or code in b"r."
        assert is_known or _FIXED.match(code + bytes(8)), operation.name


# --- tensors and arrays --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.zeros(1).expand(10**10), "announces the shape .10000000000,. and holds fewer"),
        (torch.ones(3, dtype=torch.complex64), "complex64 on cpu"),
        (torch.ones(3).to_sparse(), "sparse_coo; dense tensors of real numbers"),
        (torch.ones(3, device="meta"), "on meta"),
        (torch.tensor([1.0, float("nan")]), "non-finite"),
    ],
)
def test_odd_tensors_are_refused(tmp_path: Path, tensor: torch.Tensor, message: str):
    path = write(tmp_path / "a.pt", lambda file: torch.save({"A": tensor, "B": tensor}, file))
    with pytest.raises(ValueError, match=rf"a\.pt: .*{message}"):
        load_gene_embedding(path)


def _announce(shape: str, descr: str = "<f4") -> bytes:
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(64)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_announce("(1, 100000000000)"), "announces 400,000,000,000 bytes and has"),
        (_announce("(1, 2)", "|O"), "array of type object"),
        (_announce("(1, 2)", "<c8"), "array of type complex64"),
        (b"\x93NUMPY\x09\x00" + bytes(50), r"its format is \(9, 0\)"),
        (b"nothing", "magic string"),
    ],
)
def test_odd_arrays_are_refused(tmp_path: Path, content: bytes, message: str):
    path = write(tmp_path / "a.npz", pack("vectors.npy", content))
    with pytest.raises(ValueError, match=rf"a\.npz is not a readable .*{message}"):
        load_gene_embedding(path)


# --- archives and texts --------------------------------------------------------------------------

LINKS = "protein1 protein2 combined_score\np1 p2 900\np2 p3 800\n"
INFO = "#string_protein_id\tpreferred_name\np1\tA\np2\tB\np3\tC\n"


@pytest.mark.parametrize(
    ("name", "make", "line"),
    [
        ("a.gmt.zip", lambda raw: pack("a.gmt", raw), b"  \n"),
        ("a.gmt.gz", gzip.compress, b"  \n"),
        ("a.npz", lambda raw: pack("vectors.npy", raw), bytes(12)),
        ("a.csv.gz", lambda raw: gzip.compress(b"gene,x,y\n" + raw), b"A,0,0\n"),
    ],
)
def test_a_bomb_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, make: Any, line: bytes
):
    monkeypatch.setattr(_reading, "FREE_BYTES", 1 << 20)
    path = write(tmp_path / name, make(line * 2_000_000))
    load = load_gene_sets if ".gmt" in name else load_gene_embedding
    with pytest.raises(ValueError, match=rf"{name} has .* bytes and would take .* in memory"):
        load(path)


def test_a_line_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_reading, "MAX_LINE", 1 << 20)
    path = write(tmp_path / "a.gmt", b"s\td\tA\n" + b"A" * (2 << 20))
    with pytest.raises(ValueError, match=r"a\.gmt, line 2 is longer than 1 MiB"):
        load_gene_sets(path)


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path):
    path = write(tmp_path / "a.gmt", b"\xef\xbb\xbffirst\td\tA\tB\nsecond\td\tA\n")
    assert list(load_gene_sets(path).sets) == ["first", "second"]
    links = write(tmp_path / "links.txt", b"\xef\xbb\xbf" + LINKS.encode())
    info = write(tmp_path / "info.txt", b"\xef\xbb\xbf" + INFO.encode())
    assert load_string(links, info).names == ("A", "B", "C")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, 99])
def test_other_ways_to_zip_are_read_or_named(tmp_path: Path, method: int):
    known = zipfile.ZIP_DEFLATED if method == 99 else method
    path = write(tmp_path / "a.gmt.zip", pack("a.gmt", b"s\td\tA\tB\n", known))
    if method != 99:
        assert load_gene_sets(path).sets == {"s": ("A", "B")}
        return
    raw = bytearray(path.read_bytes())
    raw[raw.find(b"PK\x01\x02") + 10] = 99
    with pytest.raises(ValueError, match=r"a\.gmt\.zip cannot be read as zipped text"):
        load_gene_sets(write(path, bytes(raw)))


@pytest.mark.parametrize("score", ["5000", "-1", "0.9", "x", ""])
def test_scores_that_string_does_not_write_are_refused(tmp_path: Path, score: str):
    links = write(tmp_path / "links.txt", LINKS.replace("800", score).encode())
    info = write(tmp_path / "info.txt", INFO.encode())
    with pytest.raises(ValueError, match=r"links\.txt"):
        load_string(links, info)


@pytest.mark.parametrize("seed", range(20))
def test_a_damaged_parquet_file_is_named(tmp_path: Path, seed: int):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.random((30, 3), dtype=np.float32), [f"G{i}" for i in range(30)])
    frame.set_axis(["a", "b", "c"], axis=1).to_parquet(tmp_path / "a.parquet")
    raw = bytearray((tmp_path / "a.parquet").read_bytes())
    if seed < 10:
        del raw[int(rng.integers(len(raw))) :]
    else:
        at = len(raw) - int(rng.integers(8, 1500))
        raw[at : at + 8] = rng.bytes(8)
    path = write(tmp_path / "b.parquet", bytes(raw))
    try:
        load_gene_embedding(path)
    except ValueError as error:
        assert "b.parquet" in str(error)  # noqa: PT017 (a byte of the notes may mean nothing)


# --- genomes -------------------------------------------------------------------------------------

DNA = "".join(np.random.default_rng(3).choice(list("ACGT"), 100))


def _write_fasta(path: Path, texts: dict[str, str], width: int = 10, end: str = "\n") -> Path:
    lines = [
        line
        for name, text in texts.items()
        for line in (f">{name} about", *(text[i : i + width] for i in range(0, 100, width)))
    ]
    path.write_bytes((end.join(lines) + end).encode())
    return path


def _read(path: Path, chrom: str = "one") -> str:
    with Genome(path) as genome:
        [text] = genome.get_windows(Loci((Locus("x", chrom, 40, 60),), "toy"), 30).sequences
    return text


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    pytest.importorskip("pyfaidx")
    return _write_fasta(tmp_path / "a.fa", {"zero": DNA[::-1], "one": DNA})


OLDER: dict[str, dict[str, Any]] = {
    "other order": {"texts": {"one": DNA, "zero": DNA[::-1]}},
    "other lines": {"texts": {"zero": DNA[::-1], "one": DNA}, "width": 20},
    "other ends": {"texts": {"zero": DNA[::-1], "one": DNA}, "end": "\r\n"},
    "one more": {"texts": {"zero": DNA[::-1], "one": DNA, "two": DNA}},
    "one less": {"texts": {"one": DNA}},
    "another name": {"texts": {"nought": DNA[::-1], "one": DNA}},
}


@pytest.mark.parametrize("kind", OLDER)
def test_an_index_of_another_file_is_made_anew(
    fasta: Path, tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
):
    assert _read(fasta) == DNA[35:65]
    index = Path(f"{fasta}.fai")
    other = _write_fasta(tmp_path / "other.fa", **OLDER[kind])
    _read(other)
    index.write_bytes(Path(f"{other}.fai").read_bytes())
    os.utime(fasta, (0, 0))  # the index is the younger one, and would be believed
    assert _read(fasta) == DNA[35:65]
    assert "is not the index of" in caplog.text
    caplog.clear()
    assert _read(fasta) == DNA[35:65]
    assert caplog.text == ""


@pytest.mark.parametrize(
    "index",
    [
        "", "one", "one\t1\n", "one\t-5\t11\t0\t0\n", "one\t100\t11\t0\t0\n", "\x00\xff",
        "one\t100\t11\t10\t5\n", "one\t99999999999\t11\t10\t11\n", "a\tb\tc\td\te",
    ],
)  # fmt: skip
def test_a_damaged_index_is_made_anew(fasta: Path, index: str):
    path = Path(f"{fasta}.fai")
    path.write_text(index)
    os.utime(fasta, (0, 0))
    assert _read(fasta) == DNA[35:65]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f">one\n{DNA}\n>one\n{DNA}\n", "the sequence 'one' is there twice"),
        (f">one\n{DNA.replace('A', 'E')}\n", r"holds the letters \['E'\] at one:35-65"),
        (f">one\n{DNA[:50]}\n\n{DNA[50:]}\n", "Line length of fasta file is not consistent"),
        ("<html>no</html>", "cannot be read as a FASTA"),
        ("\x00\x01\x02", "cannot be read as a FASTA"),
    ],
)
def test_what_is_no_genome_is_named(tmp_path: Path, text: str, message: str):
    pytest.importorskip("pyfaidx")
    path = write(tmp_path / "a.fa", text.encode())
    with pytest.raises(ValueError, match=rf"a\.fa.*{message}"):
        _read(path)


def test_comments_and_empty_lines_do_no_harm(tmp_path: Path):
    pytest.importorskip("pyfaidx")
    path = write(tmp_path / "a.fa", f";a comment\n> one about\n{DNA}\n\n>two\nACGT\n\n".encode())
    assert _read(path) == DNA[35:65]
