"""The catalogue of predictors: it says what the classes say, and takes those of others."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from scbig.baselines import FLOORS, Additive
from scbig.benchmark import Resources
from scbig.benchmark.catalogue import (
    CATALOGUE,
    PRIOR_OPTIONS,
    PredictorSpec,
    find_spec,
    get_names,
    load_object,
)
from scbig.cli._options import find_saved, get_model_names

MODELS = [spec for spec in CATALOGUE if spec.is_model]
OWN = """
from scbig.baselines import TrainMean
from scbig.benchmark.catalogue import PredictorSpec

class Median(TrainMean):
    default_key = "median"

RECORD = PredictorSpec(name="kept", predictor_class=Median, is_floor=True)
"""


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    def write(code: str) -> str:
        (tmp_path / "far_module.py").write_text(code)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "far_module", raising=False)
        return "far_module"

    return write


@pytest.mark.parametrize("spec", MODELS, ids=lambda spec: spec.name)
def test_what_is_written_down_is_what_the_class_takes(spec: PredictorSpec):
    read_off = replace(spec, priors=None, options=None)
    assert set(spec.get_priors()) == set(read_off.get_priors())
    assert spec.get_options() == read_off.get_options()
    assert set(spec.needs) <= set(spec.get_priors()) <= set(PRIOR_OPTIONS)
    assert spec.load_class().__name__ == spec.class_name
    assert spec.load_class().default_key == spec.name


def test_the_floors_are_the_baselines_of_every_table():
    floors = {s.name: s.load_class() for s in CATALOGUE if s.is_floor and not s.tasks}
    assert floors == {baseline.default_key: baseline for baseline in FLOORS}


def test_floors_given_as_classes_are_floors():
    floors = [spec for spec in CATALOGUE if spec.is_floor and not spec.tasks]
    assert [find_spec(spec.load_class()) for spec in floors] == floors


def test_every_record_says_in_a_line_what_it_is():
    assert [spec.name for spec in CATALOGUE if not 5 < len(spec.help) < 70] == []
    assert len(set(get_names())) == len(get_names())


def test_models_are_found_by_the_class_that_was_saved():
    assert [find_saved(spec.class_name) for spec in MODELS] == MODELS
    assert find_saved("Additive") is None
    assert get_model_names()[:3] == ("scbig", "dualstream", "strand")


def test_options_of_a_stranger_are_read_off_its_class():
    spec = find_spec("scbig.model:SCBIG")
    assert spec.name == "scbig"
    assert spec.get_options() == find_spec("scbig").get_options()
    assert find_spec("scbig.baselines:KernelRidge").get_options() == {
        "gene_embedding",
        "aliases",
        "missing_embedding",
    }


def test_an_import_path_may_name_a_class_or_a_record(own_module: Callable[[str], str]):
    module = own_module(OWN)
    found = find_spec(f"{module}:Median")
    assert (found.name, found.class_name, found.is_model) == ("median", "Median", True)
    assert find_spec(f"{module}:RECORD").is_floor
    lazy = PredictorSpec(name="late", predictor_class=f"{module}:Median")
    assert lazy.load_class() is find_spec(f"{module}:Median").load_class()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere.at_all:X", "no module 'nowhere'. Install it, or put its folder into"),
        ("scbig.baselines:Luck", "the module 'scbig.baselines' has no 'Luck'"),
    ],
)
def test_what_is_not_there_is_said(path: str, message: str):
    with pytest.raises(ImportError, match=message):
        find_spec(path)


def test_a_module_that_lacks_another_says_which(own_module: Callable[[str], str]):
    module = own_module("import not_installed\n")
    with pytest.raises(ModuleNotFoundError, match=r"^No module named 'not_installed'$"):
        load_object(f"{module}:X")


def test_a_path_to_no_predictor_is_told_what_it_lacks(own_module: Callable[[str], str]):
    module = own_module("class Empty: pass\n")
    with pytest.raises(ValueError, match="Empty is no predictor: it has no attribute default_key"):
        find_spec(f"{module}:Empty")
    lazy = PredictorSpec(name="late", predictor_class=f"{module}:Empty")
    with pytest.raises(ValueError, match="Empty is no predictor"):
        lazy.load_class()


def test_settings_of_a_benchmark_reach_constructor_and_training():
    calls: list[dict] = []

    class Recording(Additive):
        def __init__(self, adata: object, *, seed: int = 0, luck: int = 0) -> None:
            calls.append({"seed": seed, "luck": luck})

        def train(self, **arguments: object) -> None:
            calls.append(arguments)

    spec = PredictorSpec(
        name="recording",
        predictor_class=Recording,
        init_settings={"luck": 3, "unknown": 1},
        train_settings={"max_steps": 2},
    )
    made = spec.make_predictor(None, Resources(), 7)
    spec.train_predictor(made, ["A"])
    assert calls == [
        {"seed": 7, "luck": 3},
        {"validation": ["A"], "use_refit": True, "max_steps": 2},
    ]
    assert spec.describe()["training"] == {"max_steps": 2}


def test_no_lookup_changes_what_the_next_one_finds(own_module: Callable[[str], str]):
    before = get_names()
    find_spec(f"{own_module(OWN)}:RECORD")
    assert get_names() == before
    with pytest.raises(ValueError, match=r"There is no predictor 'kept'. Choose among"):
        find_spec("kept")
