"""Measure the house: files and lines of each room, and what one call of a verb enters.

python docs/scripts/count_rooms.py [--static] [--list train]

The dynamic part makes the screen of `scbig demo`, trains SCBIG for a few steps of every stage,
predicts, and runs `scbig benchmark` with two baselines. It counts our own files and functions that
are entered; what a mere import runs does not count. After so short a training the gate may leave
the networks out of predictions, which is said. `--cells 2000 --genes 300` is quicker and enters
the same. Ends with status 1 when a bound is broken.
"""

import argparse
import ast
import importlib.util
import inspect
import pkgutil
import statistics
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any

from rich.console import Console
from rich.table import Table

import scbig

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "scbig"
MIDDLE = ("model", "predictor", "regression", "baselines", "train")
MODELS = ("SCBIG", "STRAND", "DualStreamMamba")
# The least and the greatest value that is allowed.
BOUNDS: dict[str, tuple[float, float]] = {
    "files entered: constructor": (1, 15),
    "files entered: train": (1, 25),
    "files entered: predict": (1, 15),
    "files entered: benchmark": (1, 45),
    "files of the middle": (1, 60),
    "lines of the middle": (1, 8000),
    "files in src": (1, 200),
    "median lines of a file": (90, 200),
    "class names that are not unique": (0, 0),
    "circles between rooms": (0, 0),
    "imports upward, rooms without a floor": (0, 0),
    **{f"MRO of {name}": (1, 7) for name in MODELS},
}
STEPS = ("constructor", "train", "predict", "benchmark")


def main() -> int:
    """Measure, print, and compare with the bounds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--static", action="store_true", help="count only, run nothing")
    parser.add_argument("--list", choices=STEPS, help="print the files that this step enters")
    parser.add_argument("--cells", type=int, default=6000, help="of the simulated screen")
    parser.add_argument("--genes", type=int, default=800)
    options = parser.parse_args()
    if Path(scbig.__file__).parent != SOURCE:
        parser.error(f"scbig is imported from {scbig.__file__}; write PYTHONPATH={SOURCE.parent}")
    console = Console(width=100)
    console.print(make_room_table(count_rooms()))
    found = measure_source() | measure_models()
    visits = {} if options.static else visit_steps(options.cells, options.genes)
    found |= {
        f"files entered: {name}": Finding(len(visit.files), describe(visit))
        for name, visit in visits.items()
    }
    if options.list in visits:
        list_files(console, visits[options.list])
    return print_bounds(console, found)


@dataclass(frozen=True)
class Finding:
    """A measured value, and words about it."""

    value: float
    remark: str = ""


# What stands in the source.


def count_rooms() -> dict[str, list[int]]:
    """Lines of each file, by room; a room that does not exist yet has none."""
    rooms: dict[str, list[int]] = {room: [] for room in MIDDLE}
    for file in sorted(SOURCE.rglob("*.py")):
        parts = file.relative_to(SOURCE).parts
        room = parts[0] if len(parts) > 1 else "(scbig itself)"
        rooms.setdefault(room, []).append(len(file.read_text("utf-8").splitlines()))
    return dict(sorted(rooms.items()))


def make_room_table(rooms: dict[str, list[int]]) -> Table:
    """Lay out files, lines and median of each room."""
    table = Table("room", "files", "lines", "median", title="Rooms of src/scbig")
    for column in table.columns[1:]:
        column.justify = "right"
    for room, lines in rooms.items():
        median = f"{statistics.median(lines):.0f}" if lines else ""
        table.add_row(room, str(len(lines)), str(sum(lines)), median)
    return table


def measure_source() -> dict[str, Finding]:
    """Sizes, doubled class names and broken floors."""
    rooms = count_rooms()
    middle = [n for room in MIDDLE for n in rooms[room]]
    lines = [n for room in rooms.values() for n in room]
    doubled = find_doubled_classes()
    problems = load_architecture().find_broken_floors(SOURCE)
    circles = [problem for problem in problems if problem.startswith("circle")]
    upward = [problem for problem in problems if problem not in circles]
    return {
        "files of the middle": Finding(len(middle), ", ".join(MIDDLE)),
        "lines of the middle": Finding(sum(middle)),
        "files in src": Finding(len(lines), f"{sum(lines)} lines"),
        "median lines of a file": Finding(statistics.median(lines)),
        "class names that are not unique": Finding(len(doubled), ", ".join(doubled)),
        "circles between rooms": Finding(len(circles), "; ".join(circles)),
        "imports upward, rooms without a floor": Finding(len(upward), "; ".join(upward)),
    }


def find_doubled_classes() -> list[str]:
    """Names of classes that stand more than once in the package, nested ones too."""
    trees = (ast.parse(file.read_text("utf-8")) for file in SOURCE.rglob("*.py"))
    nodes = (node for tree in trees for node in ast.walk(tree))
    names = Counter(node.name for node in nodes if isinstance(node, ast.ClassDef))
    return sorted(name for name, n in names.items() if n > 1)


def load_architecture() -> ModuleType:
    """The checks of the architecture, as the tests have them."""
    path = ROOT / "tests" / "test_architecture.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def measure_models() -> dict[str, Finding]:
    """How many classes stand behind each model, itself included."""
    found = {}
    for name in MODELS:
        bases = getattr(scbig.model, name).__mro__
        n_own = sum(base.__module__.split(".")[0] == "scbig" for base in bases)
        remark = f"{n_own} of ours, {len(bases) - n_own} foreign"
        found[f"MRO of {name}"] = Finding(len(bases), remark)
    return found


# What a call enters.


@dataclass
class Visit:
    """Code that ran during a step, and words about it."""

    codes: dict[int, CodeType] = field(default_factory=dict)
    remark: str = ""

    @property
    def functions(self) -> set[tuple[str, str]]:
        """File and name; what is written inside a function is that function's."""
        return {
            (str(Path(code.co_filename).relative_to(SOURCE)), get_function(code))
            for code in self.codes.values()
            if is_own_function(code)
        }

    @property
    def files(self) -> dict[str, list[str]]:
        """Functions of each file that was entered."""
        files: dict[str, list[str]] = {}
        for file, name in sorted(self.functions):
            files.setdefault(file, []).append(name)
        return files


def is_own_function(code: CodeType) -> bool:
    """Whether code is of a function of ours, and not the body of a module or of a class."""
    is_function = bool(code.co_flags & inspect.CO_OPTIMIZED) and code.co_name != "<module>"
    return is_function and Path(code.co_filename).is_relative_to(SOURCE)


def get_function(code: CodeType) -> str:
    """The named function that a comprehension, generator, lambda or inner function is part of."""
    return code.co_qualname.split(".<locals>")[0]


@contextmanager
def record(visit: Visit) -> Iterator[None]:
    """Record all code that runs, in threads that are started too."""
    codes = visit.codes

    def profile(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            # Equal code objects at different places are different code here.
            codes[id(frame.f_code)] = frame.f_code

    threading.setprofile(profile)
    sys.setprofile(profile)
    try:
        yield
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def visit_steps(n_cells: int, n_genes: int) -> dict[str, Visit]:
    """Run every step on the demo's screen, and record what it enters."""
    import_everything()
    from scbig.model import SCBIG

    visits = {step: Visit() for step in STEPS}
    train, held_out = make_screen(n_cells, n_genes)
    SCBIG.setup_anndata(train)
    with record(visits["constructor"]):
        model = SCBIG(train, seed=0)
    with record(visits["train"]):
        model.train(max_epochs=2, max_steps=20, use_progress_bar=False)
    with record(visits["predict"]):
        model.predict(perturbations=held_out, n_cells=200, seed=0)
    words = "on" if model.uses_networks else "off, so no flow is run"
    visits["predict"].remark = f"networks {words}"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "screen.h5ad"
        train.write_h5ad(path)
        run_benchmark(path, lambda: record(visits["benchmark"]))
    return visits


def import_everything() -> None:
    """Import all rooms, so that no step is charged with what a first import calls."""
    for module in pkgutil.walk_packages(scbig.__path__, "scbig."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def make_screen(n_cells: int, n_genes: int) -> tuple[Any, list[str]]:
    """The demo's screen without the conditions that are held out of it, and their labels.

    Every fifth single and every third double is held out. No gene programs are made beforehand:
    the constructor finds them, as it does for a user who gives nothing but cells.
    """
    whole = scbig.data.simulate_screen(n_cells, n_genes, seed=0)
    labels = whole.obs["perturbation"].astype(str)
    singles = sorted(name for name in labels.unique() if "+" not in name and name != "control")
    doubles = sorted(name for name in labels.unique() if "+" in name)
    held_out = [*singles[::5], *doubles[::3]]
    train = whole[~labels.isin(held_out).to_numpy()].copy()
    return train, held_out


def run_benchmark(screen: Path, make_recorder: Callable[[], Any]) -> None:
    """Run the command with two baselines, inside of this process."""
    from typer.testing import CliRunner

    from scbig.cli import app

    arguments = [
        "benchmark", str(screen), "--task", "additive", "--seeds", "0",
        "--predictors", "train_mean,additive", "--out", str(screen.parent / "benchmark"),
    ]  # fmt: skip
    with make_recorder():
        result = CliRunner().invoke(app, arguments)
    if result.exit_code:
        raise RuntimeError(f"scbig {' '.join(arguments)} failed:\n{result.output}")


# What is printed.


def describe(visit: Visit) -> str:
    """Number of functions, and the remark."""
    return "; ".join(filter(None, [f"{len(visit.functions)} functions", visit.remark]))


def list_files(console: Console, visit: Visit) -> None:
    """Print each file that was entered, with its functions."""
    for file, names in visit.files.items():
        console.print(f"[bold]{file}[/bold]  {', '.join(names)}", highlight=False)


def print_bounds(console: Console, found: dict[str, Finding]) -> int:
    """Print measured beside bound; returns the exit status."""
    table = Table("", "measured", "bound", "", "remark", title="Measured and allowed")
    is_broken = False
    for name, (least, greatest) in BOUNDS.items():
        if name not in found:
            continue
        value = found[name].value
        is_kept = least <= value <= greatest
        is_broken |= not is_kept
        bound = f"{least} to {greatest}" if least > 1 else f"at most {greatest}"
        mark = "[green]kept[/green]" if is_kept else "[red]broken[/red]"
        table.add_row(name, f"{value:g}", bound, mark, found[name].remark)
    console.print(table)
    return int(is_broken)


if __name__ == "__main__":
    sys.exit(main())
