"""A slice of the odd inputs of ``make fuzz``; the whole of them is marked slow."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[1] / "docs" / "scripts" / "fuzz.py"


def _load() -> ModuleType:
    spec = spec_from_file_location("fuzz", SCRIPT)
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


fuzz = _load()


@pytest.mark.parametrize("word", ["EffectRegression.predict:", "SCBIGConfig:", "splits.Split:"])
def test_odd_inputs_work_or_are_refused(word: str):
    tally = fuzz.run(8, seed=3, only=word)
    assert tally.n_worked + tally.n_refused == 8
    assert tally.bare == []


@pytest.mark.slow
def test_all_odd_inputs_work_or_are_refused():
    tally = fuzz.run(1500, seed=0)
    assert tally.n_worked + tally.n_refused >= 600
    assert tally.bare == []


def test_every_argument_has_its_turn_before_any_has_two():
    verbs = fuzz.make_verbs()
    groups = [group for group in fuzz.list_cases(verbs) if len(group) > 20][:6]
    drawn = fuzz.draw_cases(groups, (), 12, seed=1)
    names = [case.what.partition("=")[0] + case.verb for case in drawn]
    assert len(set(names[:6])) == 6
    assert sorted(names[:6]) == sorted(names[6:])
    assert [str(case) for case in fuzz.draw_cases(groups, (), 12, seed=1)] == list(map(str, drawn))


# --- the judge ---------------------------------------------------------------------------------


def _case(run, inputs=()):
    words, values = ("n_cells",), ("'3'",)
    return fuzz.Case("verb", "n_cells='3'", words, values, lambda _: (run, list(inputs)))


def _raise_plainly():
    raise ValueError("n_cells='3'")


@pytest.mark.parametrize(
    ("run", "complaint"),
    [
        (lambda: np.ones(3), None),
        (lambda: np.array([1.0, np.nan]), "not finite"),
        # Raised here, and not in scbig.
        (_raise_plainly, "raised elsewhere"),
        (lambda: [].pop(), "IndexError"),
        (lambda: fuzz.scbig.splits.make_additive([("A",)], seed=-1), "does not name 'n_cells'"),
    ],
)
def test_the_judge_tells_bare_errors(run, complaint: str | None):
    _, found = fuzz.judge(_case(run), None)
    assert (found is None) if complaint is None else complaint in found


def test_the_judge_sees_what_changed():
    adata = fuzz.make_screen()

    def spoil():
        adata.X = adata.X * 2

    def add():
        adata.obs["new"] = 1.0

    assert "changed: [['X']]" in fuzz.judge(_case(spoil, [adata]), None)[1]
    assert fuzz.judge(_case(add, [adata]), None) == (True, None)
