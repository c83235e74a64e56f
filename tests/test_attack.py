"""A slice of ``make attack``: kills of two writers at each step, a few hostile files."""

import os
import signal
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[1] / "docs" / "scripts"
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")


def _load(name: str) -> ModuleType:
    spec = spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = module_from_spec(spec)
    sys.modules[name] = module  # the one imports the other, and dataclasses look it up
    spec.loader.exec_module(module)
    return module


attack = _load("attack")
attack_files = _load("attack_files")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory):
    return attack.Bench(tmp_path_factory.mktemp("bench"), is_small=True)


@pytest.mark.parametrize("name", ["save over a model", "save anew", "write_splits"])
def test_a_kill_at_any_step_leaves_what_was_or_what_is_new(bench, tmp_path: Path, name: str):
    tally = attack.Tally()
    [writing] = [one for one in attack.list_writings(bench, tmp_path) if one.name == name]
    n_steps = attack.kill_each_step(writing, tally)
    assert tally.faults == []
    assert n_steps >= 4
    assert tally.counts == {f"kill: {name}": n_steps}


def test_hostile_files_are_refused_or_read_as_what_they_are(bench, tmp_path: Path):
    tally, rng = attack.Tally(), np.random.default_rng(5)
    loaders = attack_files.list_loaders(bench, tmp_path)
    for loader in loaders:
        what, raw = attack.mutate(loader.good, rng)
        attack.attack_loader(loader, raw, tmp_path / "hostile", what, tally)
    assert tally.faults == []
    assert tally.counts["refused"] + tally.counts["read"] == len(loaders) >= 19


def test_faults_are_seen(tmp_path: Path):
    """A loader that crashes, one that says nothing of the file, one that reads what is wrong."""
    tally = attack.Tally()

    def fail(path: Path) -> object:
        raise ValueError("no")

    for name, load in {
        "crash": lambda _: os.kill(os.getpid(), signal.SIGKILL),
        "nameless": fail,
        "bare": lambda path: {}["x"],
        "misread": lambda path: path.read_bytes(),
        "code": lambda path: (path.parent / "canary").write_text("run"),
    }.items():
        loader = attack.Loader(name, ".x", load, b"good", is_sealed=True)
        attack.attack_loader(loader, b"bad", tmp_path / "hostile", "", tally)
    found = [fault.partition(": : ")[2][:14] for fault in tally.faults]
    assert found == [
        "signal 9",
        "no file is nam",
        "KeyError: 'x'",
        "read as someth",
        "code was run",
    ]
