"""`scbig info`: versions and devices for a report of a bug, or what a saved model is of."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer

from scbig import __version__
from scbig._optional import DISTRIBUTION
from scbig.cli._session import run_session

#: What scbig stands on, and what its extras install.
PACKAGES = (
    "torch", "lightning", "scvi-tools", "anndata", "scanpy", "mudata", "numpy", "scipy", "pandas",
    "scikit-learn", "POT", "torchdiffeq", "safetensors", "typer",
)  # fmt: skip
EXTRAS = ("cell-eval", "cell-eval2", "pdex", "pertpy", "pyfaidx", "transformers")
N_SHOWN = 20

Row = tuple[str, str]


def info(
    context: typer.Context,
    model: Annotated[
        Path | None,
        typer.Argument(
            help="Folder written by scbig train; without, versions and devices are shown.",
            exists=True,
            file_okay=False,
            metavar="[MODEL]",
        ),
    ] = None,
    show_all: Annotated[
        bool, typer.Option("--all", help="Name all targets, genes and contexts of MODEL.")
    ] = False,
) -> None:
    """Show versions and devices, or what a saved model is of.

    Of a model: its class, targets, conditions, genes and contexts, how it was set up and trained,
    and how it compares with the baselines. Paste what `scbig info` shows into a report of a bug.

    Examples
    --------
    - scbig info
    - scbig info model
    """
    with run_session(context, uses_libraries=False):
        if show_all and model is None:
            raise ValueError("--all names what is in a model: scbig info MODEL --all")
        rows = describe_system() if model is None else describe_model(model, show_all=show_all)
        for name, value in rows:
            typer.echo(f"{name + ':':<14} {value}")


def describe_system() -> Iterator[Row]:
    """Describe what scbig runs on, line by line."""
    yield "scbig", f"{__version__} ({DISTRIBUTION}, {Path(__file__).parents[1]})"
    yield "python", f"{platform.python_version()} ({sys.executable})"
    yield "platform", platform.platform()
    for name in PACKAGES:
        yield name, _find_version(name) or "not installed"
    found = [f"{name} {number}" for name in EXTRAS if (number := _find_version(name))]
    yield "extras", ", ".join(found) or "none"
    yield from _describe_devices()


def _find_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _describe_devices() -> Iterator[Row]:
    import psutil
    import torch

    memory = psutil.virtual_memory()
    threads = f"{torch.get_num_threads()} threads of torch"
    yield "cpu", f"{os.cpu_count()} cores, {threads}, {memory.total / 2**30:.0f} GiB of memory"
    for number in range(torch.cuda.device_count()):
        found = torch.cuda.get_device_properties(number)
        name = f"{found.name}, {found.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}"
        yield f"cuda:{number}", name
    if torch.backends.mps.is_available():
        yield "mps", "available"
    if not torch.cuda.is_available():
        yield "cuda", f"none found (torch is built {_name_build(torch.version.cuda)})"


def _name_build(cuda: str | None) -> str:
    return "without CUDA" if cuda is None else f"for CUDA {cuda}"


def describe_model(folder: Path, *, show_all: bool = False) -> Iterator[Row]:
    """Describe a saved model, line by line; its arrays are not read.

    Parameters
    ----------
    folder
        Its folder.
    show_all
        Whether all names are listed.

    Raises
    ------
    FileNotFoundError, ValueError
        When there is no model.
    """
    values = _read_model(folder)
    known = values["vocabulary"]
    limit = None if show_all else N_SHOWN
    yield "model", f"{values['class']}, saved by scbig {values['version']}"
    trained = values.get("effects")
    conditions = [] if trained is None else list(map(tuple, trained["targets"]))
    yield "trained", _describe_training(values) if trained else "no"
    yield "predicts by", "networks" if values.get("uses_networks") else "expected effects"
    yield "compared", _compare(values.get("comparison"))
    yield "targets", _list(known["targets"], limit)
    if conditions:
        combined = {group for group in conditions if len(group) > 1}
        n_single = len(set(conditions)) - len(combined)
        yield "conditions", f"{n_single} of one target, {len(combined)} combinations"
    yield "genes", _list(known["genes"], limit)
    yield "contexts", _list(known["contexts"], limit)
    yield "controls", f"{len(known['controls']['names'])} control cells travel with it"
    yield "set up with", ", ".join(f"{k}={v!r}" for k, v in known["schema"].items() if v)
    for table in known["embeddings"]:
        yield "embedding", f"{table['source']} ({len(table['names'])} names)"
    unknown = values.get("missing_embedding")
    if unknown is not None:
        kinds = {"error": "are refused", "mean": "have the mean effect"}
        yield "others", f"targets of which nothing is known {kinds.get(unknown, unknown)}"


def _read_model(folder: Path) -> dict[str, Any]:
    from scbig.data import read_header

    values = read_header(folder)
    if "vocabulary" not in values:
        raise ValueError(f"{folder} holds {values.get('class')}, of which nothing can be told.")
    return values


def _describe_training(values: dict[str, Any]) -> str:
    """Count the epochs of each stage, by the names of what was logged."""
    epochs: dict[str, int] = {}
    for name, logged in (values.get("history") or {}).items():
        stage = name.partition("_")[0]
        epochs[stage] = max(epochs.get(stage, 0), len(logged))
    stages = ", ".join(f"{stage} {n} epochs" for stage, n in epochs.items())
    steps = f", {values['n_steps']} steps in all" if values.get("n_steps") else ""
    return f"yes (seed {values['seed']}{', ' if stages else ''}{stages}{steps})"


def _compare(comparison: dict[str, Any] | None) -> str:
    if comparison is None:
        return "no conditions were held out"
    scores = {comparison["model"]: comparison["score"], **comparison["floors"]}
    ranked = sorted(scores.items(), key=lambda pair: -pair[1])
    told = ", ".join(f"{name} {score:.2f}" for name, score in ranked)
    return f"Pearson delta on {comparison['n_conditions']} held-out condition(s): {told}"


def _list(names: Sequence[str], limit: int | None) -> str:
    shown = ", ".join(map(str, names[:limit]))
    n_more = len(names) - len(names[:limit])
    return f"{len(names)}: {shown}" + (f", ... and {n_more} more (--all)" if n_more else "")
