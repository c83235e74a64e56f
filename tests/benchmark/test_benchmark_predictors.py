"""What is a predictor, how it is made, and where it is found."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from anndata import AnnData

from scbig.baselines import FLOORS, Additive, KernelRidge
from scbig.benchmark import PredictorSpec, Resources, get_predictor_names, get_predictors
from scbig.benchmark._settings import resolve_predictors
from scbig.model import SCBIG
from scbig.priors import GeneEmbedding


class Empty:
    """Has nothing of a predictor."""


def test_a_class_that_is_no_predictor_is_told_what_it_lacks():
    with pytest.raises(ValueError, match="Empty is no predictor: it has no attribute default_key"):
        PredictorSpec("empty", Empty)
    with pytest.raises(ValueError, match=r"setup_anndata\(\); .*no method train\(\); .*predict"):
        PredictorSpec("empty", Empty)


def test_arguments_that_are_missing_are_named(shift_class: type):
    class Narrow(shift_class):
        def train(self, *, validation: object = None) -> None: ...

    with pytest.raises(ValueError, match=r"train\(\) lacks the argument\(s\) use_refit"):
        PredictorSpec("narrow", Narrow)


def test_keyword_arguments_of_any_name_will_do(shift_class: type):
    class Wide(shift_class):
        def train(self, **settings: object) -> None: ...

    assert PredictorSpec("wide", Wide).name == "wide"


def test_an_object_is_no_class(screen: AnnData, shift_class: type):
    with pytest.raises(ValueError, match="type Shift, where a class is expected"):
        resolve_predictors([shift_class(screen)])


def test_a_constructor_is_given_what_it_names(screen: AnnData, shift_class: type):
    table = GeneEmbedding(tuple(screen.var_names), np.eye(40, dtype=np.float32), "mine")
    adata, resources = screen.copy(), Resources(gene_embedding=table)
    KernelRidge.setup_anndata(adata)
    made = PredictorSpec("k", KernelRidge).make_predictor(adata, resources, 7)
    assert (type(made), made._seed) == (KernelRidge, 7)
    assert PredictorSpec("s", shift_class).make_predictor(adata, resources, 7).adata is adata


def test_own_functions_make_and_train(screen: AnnData, shift_class: type):
    calls: list[object] = []
    spec = PredictorSpec(
        "own",
        shift_class,
        lambda adata, resources, seed: calls.append(seed) or shift_class(adata),
        lambda predictor, validation: calls.append(validation),
    )
    spec.train_predictor(spec.make_predictor(screen, Resources(), 3), ["A"])
    assert calls == [3, ["A"]]


def test_baselines_and_scbig_are_built_in():
    specs = get_predictors()
    floors = [*(cls.default_key for cls in FLOORS), "own_mean", "shifted"]
    assert [name for name, spec in specs.items() if spec.is_floor] == floors
    models = ["scbig_anchor", "scbig", "dualstream", "strand"]
    assert list(specs)[len(floors) :] == models
    assert specs["scbig"].predictor_class is SCBIG
    assert get_predictor_names()[: len(specs)] == tuple(specs)


def test_names_classes_and_specs_are_resolved(shift_class: type):
    own = PredictorSpec("own", shift_class)
    specs = resolve_predictors([own, shift_class, "additive"])
    assert [spec.name for spec in specs] == ["additive", "own", "shift"]


def test_floors_are_added_where_there_are_none(shift_class: type):
    names = [spec.name for spec in resolve_predictors([shift_class])]
    assert names == [*(cls.default_key for cls in FLOORS), "shift"]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (["ridgy"], r"no predictor 'ridgy'. Choose among \['no_change', .*'scbig'"),
        (["additive", "additive"], r"same name: \['additive'\]"),
        ([PredictorSpec("ceiling", Additive)], "cannot be named 'ceiling'"),
    ],
)
def test_bad_names_are_refused(wanted: list, message: str):
    with pytest.raises(ValueError, match=message):
        resolve_predictors(wanted)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Install a package with an entry point, as far as Python can tell."""

    def make(code: str, target: str) -> None:
        (tmp_path / "far_away.py").write_text(code)
        folder = tmp_path / "far_away-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: far-away\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(f"[scbig.predictors]\nfar = far_away:{target}\n")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "far_away", raising=False)

    return make


def test_an_entry_point_may_be_a_class(install: Callable[[str, str], None]):
    install("from scbig.baselines import TrainMean\nclass Far(TrainMean): pass\n", "Far")
    assert get_predictor_names()[-1] == "far"
    [_, spec] = resolve_predictors(["additive", "far"])
    assert (spec.name, spec.predictor_class.__name__) == ("far", "Far")


def test_an_entry_point_may_be_a_spec(install: Callable[[str, str], None]):
    install(
        "from scbig.baselines import TrainMean\nfrom scbig.benchmark import PredictorSpec\n"
        "spec = PredictorSpec('far', TrainMean, is_floor=True)\n",
        "spec",
    )
    [spec] = resolve_predictors(["far"])
    assert (spec.name, spec.is_floor) == ("far", True)


def test_an_entry_point_that_is_no_predictor_is_an_error(install: Callable[[str, str], None]):
    install("class Far: pass\n", "Far")
    with pytest.raises(ValueError, match="Far is no predictor"):
        resolve_predictors(["far"])
