"""Kill writers at every step, and give every loader hostile files.

``make attack``, or ``python docs/scripts/attack.py [--seed 0] [--files 330] [--kills 120]``.

Each try runs in a child that is forked from this process, where everything is imported and one
model is trained. A *kill* is a SIGKILL at the n-th sync, renaming, removal or opening for writing,
or after a random time. After it the old artefact or the new one has to be there, whole, and the
next call has to work. A hostile *file* is made of a good one, or by hand: it has to be refused by
an error that names it, or be read as what it is, in 10 s and 500 MB. What is sealed by a checksum
(saved models, parts of benchmarks, zip and gzip archives) has to be read as it was, or not at all.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from anndata import AnnData

import scbig
from scbig import benchmark
from scbig._reading import read_h5ad
from scbig.baselines import Additive
from scbig.benchmark import BenchmarkSettings
from scbig.cli import app
from scbig.data import infer_schema, to_cell_eval
from scbig.model import SCBIG
from scbig.splits import make_split, read_splits, write_splits

SECONDS, MEGABYTES = 10.0, 500.0
TARGET = "GENE0019"  # is perturbed in the screen
REFUSALS = ("ValueError", "FileNotFoundError", "FileExistsError")
Check = Callable[[], str]


# --- children ------------------------------------------------------------------------------------


@dataclass
class Ending:
    """How a child ended: what it told, the signal that ended it, and what it took."""

    told: dict[str, Any]
    signal: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0


def run_child(job: Callable[[], dict[str, Any]], limit: float, kill_after: float = 0.0) -> Ending:
    """Fork, do a job in the child, and wait for it; kill it after some time."""
    read, write = os.pipe()
    start = time.perf_counter()
    child = os.fork()
    if not child:
        os.close(read)
        _answer(job, write)
    os.close(write)
    deadline = start + (kill_after or limit)
    done = 0
    while not done and time.perf_counter() < deadline:
        done, status, used = os.wait4(child, os.WNOHANG)
        if not done:
            time.sleep(0.001)
    if not done:
        os.kill(child, signal.SIGKILL)
        _, status, used = os.wait4(child, 0)
    with os.fdopen(read, "rb") as pipe:
        raw = pipe.read()
    told = json.loads(raw) if raw else {}
    cpu = used.ru_utime + used.ru_stime
    return Ending(told, os.WTERMSIG(status), time.perf_counter() - start, cpu)


def _answer(job: Callable[[], dict[str, Any]], write: int) -> None:
    """Do the job in a child, tell what came of it, and end without any clean-up."""
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    try:
        told = job()
    except BaseException as error:  # noqa: BLE001 (whatever it is is what is asked)
        told = {"error": type(error).__name__, "message": str(error)[:2000]}
    with os.fdopen(write, "wb") as pipe:
        pipe.write(json.dumps(told).encode())
    os._exit(0)


def kill_at(last: int) -> Iterator[int]:
    """Have this process killed at its n-th step that touches the disk."""
    steps = iter(range(10**9))

    def stop(call: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **settings: Any) -> Any:
            if next(steps) == last:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **settings)

        return step

    for owner, name in (
        (os, "fsync"), (os, "open"), (Path, "replace"), (Path, "unlink"), (Path, "mkdir"),
        (shutil, "rmtree"),
    ):  # fmt: skip
        setattr(owner, name, stop(getattr(owner, name)))
    return steps


# --- what is attacked ----------------------------------------------------------------------------


@dataclass
class Bench:
    """Good artefacts in a folder, made once."""

    folder: Path
    is_small: bool = False  # without SCBIG, and what the command line and benchmarks write
    adata: AnnData = field(init=False)
    model: Any = field(init=False)
    other: Any = field(init=False)

    def __post_init__(self) -> None:
        adata = scbig.data.simulate_screen(n_cells=400, n_genes=60, n_targets=6, n_doubles=2)
        self.adata = adata
        Additive.setup_anndata(adata)
        self.model, self.other = Additive(adata), Additive(adata, seed=7)
        self.model.train()
        self.other.train()
        self.split = make_split(adata, "unseen", schema=infer_schema(adata), seed=0)
        if self.is_small:
            return
        SCBIG.setup_anndata(adata)
        flow = SCBIG(adata, n_programs=4)
        flow.train(max_steps=0, use_progress_bar=False)
        flow.save(self.folder / "scbig")


def make_splits(bench: Bench) -> dict[str, Any]:
    return {bench.split.name: bench.split}


@dataclass(frozen=True)
class Writing:
    """A call that writes; what it leaves when it is killed is looked at by a check."""

    name: str
    write: Callable[[], object]
    check: Check  # returns "" or what is wrong
    prepare: Callable[[], object] = lambda: None
    again: Callable[[], object] | None = None  # what is called next, if it is another call


def predict_line(folder: Path) -> list[str]:
    """Words of the command line that predict some cells with the model in a folder."""
    return [
        "-q", "predict", str(folder / "scbig"), "--perturbations", TARGET, "--n-cells", "20",
        "--out", str(folder / "predicted.h5ad"), "--overwrite",
    ]  # fmt: skip


def list_writings(bench: Bench, folder: Path) -> list[Writing]:
    saved, fresh, out = folder / "saved", folder / "fresh", folder / "predicted.h5ad"
    splits, judged, bench_out = folder / "splits.json", folder / "judged", folder / "bench"
    predict = predict_line(folder)
    trained, screen = folder / "trained", folder / "screen.h5ad"
    train = ["-q", "train", str(screen), "--max-steps", "0", "--out", str(trained), "--overwrite"]
    bench.adata.write_h5ad(screen)
    settings = BenchmarkSettings(metrics=("pearson_delta",), n_cells=10, n_resamples=10)
    run = partial(
        benchmark.run, bench.adata, [bench.split], ["no_change"], out=bench_out, settings=settings
    )
    reference = pd.DataFrame() if bench.is_small else run(out=folder / "reference").scores
    return [
        Writing(
            "save over a model",
            partial(bench.other.save, saved, overwrite=True),
            partial(_check_model, saved, (0, 7)),
            partial(bench.model.save, saved, overwrite=True),
        ),
        Writing(
            "save anew",
            partial(bench.other.save, fresh),
            lambda: _check_model(fresh, (7,)) if (fresh / "model.json").exists() else "",
            lambda: shutil.rmtree(fresh, ignore_errors=True),
            lambda: bench.other.save(fresh, overwrite=(fresh / "model.json").exists()),
        ),
        Writing(
            "predict --out",
            lambda: app(predict, standalone_mode=False),
            lambda: _check_h5ad(out),
            lambda: None if out.exists() else app(predict, standalone_mode=False),
        ),
        Writing(
            "scbig train",
            lambda: app(train, standalone_mode=False),
            lambda: "" if SCBIG.load(trained).is_trained_ else "not trained",
            lambda: None if trained.exists() else app(train, standalone_mode=False),
        ),
        Writing(
            "write_splits",
            partial(write_splits, splits, make_splits(bench)),
            lambda: _check_splits(bench, splits),
            partial(write_splits, splits, {}),
        ),
        Writing(
            "to_cell_eval",
            partial(to_cell_eval, bench.adata, bench.adata, path=judged, use_overwrite=True),
            lambda: "".join(map(_check_h5ad, (judged / "predicted.h5ad", judged / "real.h5ad"))),
            partial(to_cell_eval, bench.adata, bench.adata, path=judged, use_overwrite=True),
        ),
        Writing(
            "benchmark",
            run,
            lambda: _check_scores(bench_out, reference),
            lambda: shutil.rmtree(bench_out, ignore_errors=True),
        ),
    ]


def _check_model(folder: Path, seeds: tuple[int, ...]) -> str:
    found = Additive.load(folder)._seed
    return "" if found in seeds else f"seed {found}"


def _check_h5ad(path: Path) -> str:
    return "" if read_h5ad(path).n_obs > 0 else "no cells"


def _check_splits(bench: Bench, path: Path) -> str:
    found = read_splits(path, infer_schema(bench.adata))
    return "" if found in ({}, make_splits(bench)) else "other splits"


def _check_scores(folder: Path, reference: pd.DataFrame) -> str:
    """Compare scores, where a benchmark was finished; times differ."""
    if not (folder / "scores.csv").exists():
        return ""
    found = pd.read_csv(folder / "scores.csv")
    is_alike = np.allclose(found["value"], reference["value"], equal_nan=True)
    return "" if is_alike else "other scores"


@dataclass
class Tally:
    """What came of all tries."""

    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def note(self, kind: str, fault: str = "") -> None:
        self.counts[kind] += 1
        if fault:
            self.faults.append(f"{kind}: {fault}")


def attack_writings(bench: Bench, folder: Path, n_random: int, tally: Tally, seed: int) -> None:
    """Kill each call at each of its steps, and some at random times."""
    rng = np.random.default_rng(seed)
    writings = list_writings(bench, folder)
    for writing in writings:
        sys.stderr.write(f"{writing.name}: {kill_each_step(writing, tally)} steps\n")
        seconds = _kill(writing, None, tally).seconds
        for _ in range(n_random // len(writings)):
            _kill(writing, None, tally, float(rng.uniform(0.001, 1.1 * seconds)))


def kill_each_step(writing: Writing, tally: Tally) -> int:
    """Kill a call at its first step, its second, and so on; return how many it has."""
    n_steps = 0
    while _kill(writing, n_steps, tally).signal:
        n_steps += 1
    return n_steps


def attack_command(bench: Bench, folder: Path, n: int, tally: Tally, seed: int) -> None:
    """Kill ``scbig predict`` as a user would see it, in an interpreter of its own."""
    [writing] = [one for one in list_writings(bench, folder) if one.name == "predict --out"]
    rng, line = np.random.default_rng(seed), [sys.executable, "-m", "scbig", *predict_line(folder)]
    writing.prepare()
    start = time.perf_counter()
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    # Most of the time it imports; what it writes, it writes at the end.
    whole = time.perf_counter() - start
    for _ in range(n):
        process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(float(rng.uniform(0.6, 1.0)) * whole)
        process.kill()
        process.wait()
        tally.note("kill: scbig predict", _try(writing.check))


def _try(check: Check) -> str:
    try:
        return check()
    except (Exception, SystemExit) as error:  # noqa: BLE001
        return repr(error)


def _kill(writing: Writing, last: int | None, tally: Tally, after: float = 0.0) -> Ending:
    writing.prepare()

    def job() -> dict[str, Any]:
        if last is not None:
            kill_at(last)
        writing.write()
        return {"done": True}

    ending = run_child(job, 120.0, after)
    fault = "" if ending.signal or "done" in ending.told else str(ending.told)
    try:
        fault = fault or writing.check()
        (writing.again or writing.write)()  # what is left must not be in the way
        fault = fault or writing.check()
    except (Exception, SystemExit) as error:  # noqa: BLE001
        fault = fault or repr(error)
    if ending.signal:
        tally.note(f"kill: {writing.name}", fault and f"step {last}, {after:.3f} s: {fault}")
    elif fault:
        tally.faults.append(f"{writing.name}: {fault}")
    return ending


# --- hostile files -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Loader:
    """A function that reads a file, and a good file of it."""

    name: str
    suffix: str
    load: Callable[[Path], object]
    good: bytes
    is_sealed: bool = False


def attack_loader(loader: Loader, raw: bytes, folder: Path, what: str, tally: Tally) -> None:
    """Have a child read a hostile file, and judge what came of it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    canary = folder / "canary"
    path = folder / f"file{loader.suffix}"
    path.write_bytes(raw.replace(b"CANARY", str(canary).encode()))

    def job() -> dict[str, Any]:
        Path("/proc/self/clear_refs").write_text("5")
        before = _read_peak()
        try:
            found = loader.load(path)
            told = {"digest": digest(found)}
        finally:
            peak = _read_peak() - before
        return told | {"peak": peak}

    # Other processes of the machine do not count: the limit is one of computing.
    ending = run_child(job, 10 * SECONDS)
    kind, fault = f"file: {loader.name}", ""
    told = ending.told
    if ending.cpu_seconds > SECONDS:
        fault = f"{ending.cpu_seconds:.0f} s"
    elif ending.signal:
        fault = f"signal {ending.signal}"
    elif canary.exists():
        fault = "code was run"
    elif "error" in told:
        if told["error"] not in REFUSALS:
            fault = f"{told['error']}: {told['message'][:150]}"
        elif not any(name in told["message"] for name in (path.name, folder.name, "X ", " in X")):
            fault = f"no file is named: {told['message'][:150]}"
    elif told["peak"] > MEGABYTES:
        fault = f"{told['peak']:.0f} MB"
    elif loader.is_sealed and told["digest"] != digest_good(loader, folder):
        fault = "read as something else"
    tally.note(kind, fault and f"{what}: {fault}")
    tally.counts["refused" if "error" in told else "read"] += 1


def _read_peak() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1e3


def digest(found: object) -> str:
    """Hash what was read, as far as it is plain."""
    return hashlib.sha256(repr(_to_plain(found)).encode()).hexdigest()


def _to_plain(found: Any) -> Any:
    if isinstance(found, AnnData):
        return [_to_plain(part) for part in (found.X, found.obs, found.var, dict(found.layers))]
    if isinstance(found, np.ndarray):
        return (found.shape, found.dtype.str, hashlib.sha256(found.tobytes()).hexdigest())
    if isinstance(found, pd.DataFrame):
        return found.to_csv()
    if hasattr(found, "toarray"):
        return _to_plain(found.toarray())
    if isinstance(found, dict):
        return {str(key): _to_plain(value) for key, value in found.items()}
    if isinstance(found, list | tuple):
        return [_to_plain(one) for one in found]
    if hasattr(found, "__dataclass_fields__"):
        return {name: _to_plain(getattr(found, name)) for name in found.__dataclass_fields__}
    return str(found)


def digest_good(loader: Loader, folder: Path) -> str:
    path = folder / f"file{loader.suffix}"
    path.write_bytes(loader.good)
    return digest(loader.load(path))


def mutate(good: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    """Damage a good file in one of the ways in which files are damaged."""
    kind = str(rng.choice(["cut", "bit", "bytes", "zeros", "twice", "hole", "bits"]))
    raw, at = bytearray(good), int(rng.integers(len(good)))
    n = int(rng.integers(1, 64))
    if kind == "cut":
        return kind, bytes(raw[:at])
    if kind in ("bit", "bits"):
        for place in rng.integers(len(raw), size=1 if kind == "bit" else 20):
            raw[place] ^= 1 << int(rng.integers(8))
    elif kind == "bytes":
        raw[at : at + n] = rng.bytes(n)
    elif kind == "zeros":
        raw[at : at + 8 * n] = bytes(8 * n)
    elif kind == "twice":
        return kind, bytes(raw + raw)
    else:
        del raw[at : at + n]
    return f"{kind} at {at}", bytes(raw)


def main() -> int:
    from attack_files import list_loaders, make_by_hand

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--files", type=int, default=330, help="hostile files made of good ones")
    parser.add_argument("--kills", type=int, default=120, help="kills at random times")
    parser.add_argument("--real", type=int, default=10, help="kills of the command line")
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    start, tally = time.perf_counter(), Tally()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bench = Bench(folder)
        attack_writings(bench, folder, given.kills, tally, given.seed)
        attack_command(bench, folder, given.real, tally, given.seed)
        rng = np.random.default_rng(given.seed)
        loaders = list_loaders(bench, folder)
        for i in range(given.files):
            loader = loaders[i % len(loaders)]
            what, raw = mutate(loader.good, rng)
            attack_loader(loader, raw, folder / "hostile", what, tally)
        for loader, what, raw in make_by_hand(loaders):
            attack_loader(loader, raw, folder / "hostile", what, tally)
    return report(tally, time.perf_counter() - start)


def report(tally: Tally, seconds: float) -> int:
    for fault in tally.faults:
        print(f"FAULT {fault}")
    for kind, n in sorted(tally.counts.items()):
        print(f"{n:5d}  {kind}")
    n_kills = sum(n for kind, n in tally.counts.items() if kind.startswith("kill"))
    n_files = sum(n for kind, n in tally.counts.items() if kind.startswith("file"))
    print(
        f"{n_kills} kills and {n_files} hostile files in {seconds:.0f} s: "
        f"{len(tally.faults)} faults."
    )
    return int(bool(tally.faults))


if __name__ == "__main__":
    sys.exit(main())
