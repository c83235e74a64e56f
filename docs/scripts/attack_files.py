"""The loaders that ``attack.py`` attacks, a good file of each, and hostile ones made by hand."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import torch
from attack import Bench, Loader

from scbig._reading import read_h5ad
from scbig.baselines import Additive
from scbig.data import check_expression, infer_schema
from scbig.data._folders import _hash_values
from scbig.priors import (
    Genome,
    Loci,
    Locus,
    load_aliases,
    load_gene_embedding,
    load_gene_sets,
    load_loci,
    load_string,
)
from scbig.splits import read_splits, write_splits

GENES = [f"GENE{i}" for i in range(30)]
INFO = "#string_protein_id\tpreferred_name\n" + "".join(
    f"p{i}\t{g}\n" for i, g in enumerate(GENES)
)
LINKS = "protein1 protein2 combined_score\n" + "".join(
    f"p{i} p{i + 1} 9{i:02}\n" for i in range(29)
)
GMT = "".join(f"set{i}\tabout\t" + "\t".join(GENES[i : i + 6]) + "\n" for i in range(20))
ALIASES = "symbol\talias_symbol\tprev_symbol\n" + "".join(f"{g}\tA{g}|B{g}\tC{g}\n" for g in GENES)
LOCI = "id\tchrom\tstart\tend\tstrand\n" + "".join(
    f"l{i}\tone\t{i}\t{i + 5}\t+\n" for i in range(20)
)
_DNA = "".join(np.random.default_rng(0).choice(list("ACGTN"), 600))


def _wrap(text: str, width: int = 50) -> str:
    return "\n".join(text[i : i + width] for i in range(0, len(text), width)) + "\n"


FASTA = f">one first\n{_wrap(_DNA)}>two\n{_wrap(_DNA[::-1])}"
FAI = f"one\t600\t11\t50\t51\ntwo\t600\t{11 + 612 + 5}\t50\t51\n"


def _make(write: Callable[[Any], object]) -> bytes:
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def _zip(name: str, content: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    def write(buffer: Any) -> None:
        with zipfile.ZipFile(buffer, "w", method) as archive:
            archive.writestr(name, content)

    return _make(write)


def list_loaders(bench: Bench, folder: Path) -> list[Loader]:
    """Name every loader of files, with a good file."""
    saved, schema = folder / "saved", infer_schema(bench.adata)
    bench.model.save(saved, overwrite=True)
    screen, splits = folder / "good.h5ad", folder / "good.json"
    bench.adata.write_h5ad(screen, compression="gzip")
    write_splits(splits, [bench.split])
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(30, 8)).astype(np.float32)
    frame = pd.DataFrame(vectors, GENES, [f"d{i}" for i in range(8)])
    frame.to_parquet(folder / "good.parquet")
    csv = frame.to_csv().encode()
    npz = {"names": np.array(GENES), "vectors": vectors}
    rows = dict(zip(GENES, vectors, strict=True))
    tensors = {gene: torch.from_numpy(row) for gene, row in rows.items()}
    read: Callable[[Path], object] = load_gene_embedding
    return [
        Loader("model.json", ".json", partial(_load_model, saved, "model.json"),
               (saved / "model.json").read_bytes(), is_sealed=True),
        Loader("arrays", ".safetensors", partial(_load_model, saved, "arrays.safetensors"),
               _find_arrays(saved).read_bytes(), is_sealed=True),
        Loader("screen .h5ad", ".h5ad", _load_screen, screen.read_bytes()),
        Loader("splits", ".json", lambda path: read_splits(path, schema), splits.read_bytes()),
        Loader("embedding .csv", ".csv", read, csv),
        Loader("embedding .csv.gz", ".csv.gz", read, gzip.compress(csv), is_sealed=True),
        Loader("embedding .parquet", ".parquet", read, (folder / "good.parquet").read_bytes()),
        Loader("embedding .npz", ".npz", read, _make(lambda f: np.savez(f, **npz)), True),
        Loader("embedding .pt", ".pt", read, _make(lambda f: torch.save(tensors, f))),
        Loader("embedding .pkl", ".pkl", read, pickle.dumps(rows)),
        Loader("pathways .gmt", ".gmt", load_gene_sets, GMT.encode()),
        Loader("pathways .zip", ".gmt.zip", load_gene_sets, _zip("a.gmt", GMT.encode()), True),
        Loader("aliases", ".tsv", load_aliases, ALIASES.encode()),
        Loader("STRING links", ".txt", _load_links, LINKS.encode()),
        Loader("STRING links .gz", ".txt.gz", _load_links, gzip.compress(LINKS.encode()), True),
        Loader("STRING info", ".txt", _load_info, INFO.encode()),
        Loader("loci", ".tsv", lambda path: load_loci(
            path, assembly="toy", coordinates="0-based"), LOCI.encode()),
        Loader("FASTA", ".fa", _load_genome, FASTA.encode()),
        Loader("index .fai", ".fai", _load_index, FAI.encode(), is_sealed=True),
    ]  # fmt: skip


def _find_arrays(folder: Path) -> Path:
    return next(folder.glob("*.safetensors"))


def _load_model(saved: Path, name: str, path: Path) -> object:
    folder = path.parent / "model"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(saved, folder)
    target = _find_arrays(folder) if name.endswith(".safetensors") else folder / name
    shutil.copy(path, target)
    model = Additive.load(folder)
    return model.controls, list(model._effects.targets), model._effects.delta


def _load_screen(path: Path) -> object:
    adata = read_h5ad(path)
    schema = infer_schema(adata)
    check_expression(adata, schema.layer)
    return adata


def _load_links(path: Path) -> object:
    info = path.parent / "info.txt"
    info.write_text(INFO)
    return load_string(path, info)


def _load_info(path: Path) -> object:
    links = path.parent / "links.txt"
    links.write_text(LINKS)
    return load_string(links, path)


def _load_genome(path: Path) -> object:
    loci = Loci(tuple(Locus(f"l{i}", "one", 30 * i, 30 * i + 9, "+") for i in range(10)), "toy")
    with Genome(path) as genome:
        return genome.get_windows(loci, 64)


def _load_index(path: Path) -> object:
    """Read a good FASTA beside a hostile index, which looks newer."""
    fasta = path.parent / "file.fa"
    fasta.write_text(FASTA)
    shutil.copy(path, f"{fasta}.fai")
    os.utime(fasta, (0, 0))
    return _load_genome(fasta)


# --- made by hand --------------------------------------------------------------------------------


class Runs:
    """Runs a command where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch CANARY",)


def make_by_hand(loaders: list[Loader]) -> Iterator[tuple[Loader, str, bytes]]:
    """Files that were not damaged by accident."""
    by_name = {loader.name: loader for loader in loaders}
    for loader in loaders:
        yield loader, "empty", b""
        yield loader, "random", np.random.default_rng(2).bytes(5000)
        yield loader, "zeros", bytes(5000)
        yield loader, "a pickle that runs", pickle.dumps(Runs())
        other = by_name["embedding .npz" if "npz" not in loader.name else "screen .h5ad"]
        yield loader, f"a file of {other.name}", other.good
        yield loader, "one long line", b"A" * (40 << 20)
        yield loader, "byte-order mark", b"\xef\xbb\xbf" + loader.good
    yield from ((by_name[name], what, raw) for name, what, raw in _make_bombs())
    yield from ((by_name["screen .h5ad"], what, raw) for what, raw in _make_h5(by_name))
    yield from ((by_name["model.json"], what, raw) for what, raw in _forge(by_name["model.json"]))
    yield from ((by_name[name], what, raw) for name, what, raw in _make_texts())


def _make_bombs() -> Iterator[tuple[str, str, bytes]]:
    yield "embedding .pkl", "memo", b"\x80\x02]r\x00\x00\x00\x08."
    yield "embedding .pkl", "length", b"\x80\x04\x8e" + struct.pack("<Q", 1 << 33) + b"."
    yield "embedding .pkl", "text length", b"\x80\x04X" + struct.pack("<I", 1 << 31) + b"."
    nested: list[Any] = [1.0, 1.0]
    for _ in range(30):
        nested = [nested, nested]
    yield "embedding .pkl", "shared lists", pickle.dumps({"A": nested, "B": nested})
    yield "embedding .pkl", "shared rows", pickle.dumps({"names": ["A"], "vectors": nested})
    yield "embedding .pkl", "deep", b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."
    wide = {"names": ["A"], "vectors": torch.zeros(1).expand(1, 10**10)}
    yield "embedding .pt", "expanded", _make(lambda f: torch.save(wide, f))
    for what, tensor in {
        "complex": torch.ones(3, dtype=torch.complex64),
        "sparse": torch.eye(3).to_sparse(),
        "not finite": torch.tensor([np.nan, 1.0, 1.0]),
        "meta": torch.ones(3, device="meta"),
        "half": torch.ones(3, dtype=torch.int64) * 2**62,
    }.items():
        yield "embedding .pt", what, _make(lambda f, t=tensor: torch.save({"A": t, "B": t}, f))
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 100000000000), }\n"
    array = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(64)
    yield "embedding .npz", "header", _zip("vectors.npy", array)
    zeros = _make(lambda f: np.save(f, np.zeros((1, 100_000_000), dtype=np.float32)))
    yield "embedding .npz", "zeros", _zip("vectors.npy", zeros)
    objects = _make(lambda f: np.save(f, np.array([Runs()], dtype=object), allow_pickle=True))
    yield "embedding .npz", "objects", _zip("names.npy", objects)
    yield (
        "embedding .npz",
        "complex",
        _make(lambda f: np.savez(f, names=np.array(["A"]), vectors=np.array([[1j, 2.0]]))),
    )
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        yield "pathways .zip", f"method {method}", _zip("a.gmt", GMT.encode(), method)
    odd = bytearray(_zip("a.gmt", b"s\td\tA\tB\n"))
    odd[odd.find(b"PK\x01\x02") + 10] = 99
    yield "pathways .zip", "unknown method", bytes(odd)
    big = b"set\tabout\t" + b"A" * (400 << 20)
    yield "pathways .zip", "bomb", _zip("a.gmt", big)
    lines = b"GENE1,0.0,0.0\n" * (30 << 20)
    yield "embedding .csv.gz", "bomb", gzip.compress(b"g,a,b\n" + lines)
    yield "STRING links .gz", "bomb", gzip.compress(b"p1 p2 0\n" * (60 << 20))


def _make_h5(by_name: dict[str, Loader]) -> Iterator[tuple[str, bytes]]:
    def change(do: Callable[[h5py.File], object]) -> bytes:
        buffer = io.BytesIO(by_name["screen .h5ad"].good)
        with h5py.File(buffer, "r+") as file:
            do(file)
        return buffer.getvalue()

    def put(part: str, at: int, value: int) -> Callable[[h5py.File], object]:
        def do(file: h5py.File) -> None:
            values = file[f"X/{part}"][...]
            values[at] = value
            file[f"X/{part}"][...] = values

        return do

    def replace(name: str, values: Any, **settings: Any) -> Callable[[h5py.File], object]:
        def do(file: h5py.File) -> None:
            attrs = dict(file[name].attrs)
            del file[name]
            made = file.create_dataset(name, data=values, **settings)
            made.attrs.update(attrs)

        return do

    for part, at, value in (
        ("indices", 5, 60), ("indices", 5, -1), ("indices", 5, 2**31 - 1), ("indices", 1, 0),
        ("indptr", 3, 2**31 - 1), ("indptr", 3, 0), ("indptr", -1, 7), ("indptr", 0, 3),
        ("indptr", 3, -5),
    ):  # fmt: skip
        yield f"X/{part}[{at}] = {value}", change(put(part, at, value))
    yield "float indices", change(lambda f: replace("X/indices", f["X/indices"][:] + 0.5)(f))
    yield "short data", change(lambda f: replace("X/data", f["X/data"][:-3])(f))
    yield "texts in data", change(lambda f: replace("X/data", ["a"] * len(f["X/data"]))(f))
    yield "complex data", change(lambda f: replace("X/data", f["X/data"][:] * 1j)(f))
    yield "NaN in data", change(lambda f: replace("X/data", f["X/data"][:] * np.nan)(f))
    for shape in ([10**12, 60], [400, 10**12], [-1, 60], [400], [400, 60, 1], [0, 0]):
        yield f"shape {shape}", change(lambda f, s=shape: f["X"].attrs.__setitem__("shape", s))
    yield "no obs", change(lambda f: f.__delitem__("obs"))
    yield (
        "encoding from the future",
        change(lambda f: f["X"].attrs.__setitem__("encoding-version", "9.9.9")),
    )
    yield "unknown encoding", change(lambda f: f["X"].attrs.__setitem__("encoding-type", "cube"))

    def announce(file: h5py.File) -> None:
        file["layers"].create_dataset("big", (400, 10**9), dtype="f4", chunks=(1, 1024))

    yield "a layer of zeros", change(announce)

    def circle(file: h5py.File) -> None:
        file["uns/self"] = file["uns"]

    yield "a circle", change(circle)
    yield (
        "another file",
        change(lambda f: f["layers"].__setitem__("x", h5py.ExternalLink("/etc/hostname", "/"))),
    )


def _forge(loader: Loader) -> Iterator[tuple[str, bytes]]:
    """Values of a model that were changed by somebody who knows the checksum."""
    good = json.loads(loader.good)

    def forge(do: Callable[[dict[str, Any]], object]) -> bytes:
        values = json.loads(loader.good)
        do(values)
        values["checksum"] = _hash_values(values)
        return json.dumps(values).encode()

    yield "format from the future", forge(lambda v: v.update(format=99))
    yield "reversed genes, forged", forge(lambda v: v["vocabulary"]["genes"].reverse())
    yield "another class", forge(lambda v: v.update({"class": "Runs"}))
    yield "a path for arrays", forge(lambda v: v.update(arrays="../../etc/passwd"))
    for key in good:
        if key not in ("checksum", "version", "uses_shape", "not_finite", "arrays", "cells"):
            yield f"{key} is gone", forge(lambda v, k=key: v.pop(k))
            yield (
                f"{key} is a text",
                forge(lambda v, k=key: v.update({k: "?" if v[k] != "?" else 1})),
            )
    for key in ("genes", "contexts", "schema", "controls", "embeddings", "is_log1p"):
        yield f"no {key}", forge(lambda v, k=key: v["vocabulary"].pop(k))
    values = json.loads(loader.good)
    values["vocabulary"]["genes"].reverse()
    yield "reversed genes", json.dumps(values).encode()


def _make_texts() -> Iterator[tuple[str, str, bytes]]:
    yield "STRING links", "score 5000", LINKS.replace(" 900", " 5000").encode()
    yield "STRING links", "score -1", LINKS.replace(" 900", " -1").encode()
    yield "STRING links", "score 0.9", LINKS.replace(" 900", " 0.9").encode()
    yield "FASTA", "twice", (FASTA + FASTA).encode()
    yield "FASTA", "protein", FASTA.replace("A", "E").encode()
    yield "FASTA", "uneven lines", FASTA.replace("\n", "\n\nA", 3).encode()
    yield "index .fai", "other lines", FAI.replace("50\t51", "60\t61").encode()
    yield "index .fai", "swapped", FAI.replace("one", "x").replace("two", "one").encode()
    yield "index .fai", "shifted", FAI.replace("\t11\t", "\t12\t").encode()
    yield "index .fai", "longer", FAI.replace("600", "10000000000").encode()
    yield "splits", "deep", b"[" * 100_000
    yield "splits", "of numbers", b'{"a": {"test": [1, 2]}}'
