"""What is given where something else is wanted is refused by name, at the border (one place)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Literal

import anndata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

import scbig
from scbig import _arguments as arguments
from scbig._annotations import check_fields, checked
from scbig._arguments import InvalidArgumentError
from scbig.baselines import Additive, KernelRidge, NoChange, RidgeIndicator
from scbig.benchmark.catalogue import find_spec
from scbig.model import (
    SCBIG,
    STRAND,
    DualStreamConfig,
    DualStreamMamba,
    EffectRegression,
    SCBIGConfig,
    STRANDConfig,
)
from scbig.predictor import Hardware
from scbig.splits import Split

# --- one validator for each kind ---------------------------------------------------------------


@pytest.mark.parametrize("value", [0, 7, np.int64(7), np.uint8(3), 2**32 - 1])
def test_whole_numbers_are_taken_numpy_s_too(value):
    found = arguments.check_seed(value)
    assert found == int(value)
    assert type(found) is int


@pytest.mark.parametrize(
    "value", [-1, 2**32, 2.0, "3", None, True, np.bool_(1), np.nan, np.array(3), [1], 1j, b"1"]
)
def test_what_is_no_seed_is_refused_by_name(value):
    with pytest.raises(InvalidArgumentError, match=r"^seed=.* from 0 to 4294967295") as caught:
        arguments.check_seed(value)
    # Whoever expects either of the two catches it.
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.1, "1", None, True, 1j])
def test_numbers_are_finite_and_in_their_bounds(value):
    with pytest.raises(ValueError, match=r"sigma=.*finite number from 0"):
        arguments.check_number("sigma", value)
    assert arguments.check_number("sigma", np.float32(0.5)) == 0.5
    with pytest.raises(ValueError, match=r"sum=0\. Give a finite number above 0"):
        arguments.check_number("sum", 0, is_open=True)


@pytest.mark.parametrize("value", [0, 1, None, "True", np.array([True]), np.nan])
def test_switches_are_true_or_false(value):
    with pytest.raises(ValueError, match=r"sampling=.*True or False"):
        arguments.check_flag("sampling", value)
    assert arguments.check_flag("sampling", np.bool_(True)) is True


@pytest.mark.parametrize("value", [3, [3], [None], [np.nan], {"a": 1}, b"a", np.array(3), [""]])
def test_names_are_text(value):
    with pytest.raises(ValueError, match=r"context_keys=.*columns as text"):
        arguments.check_names("context_keys", value, "columns")


def test_names_may_be_one_several_or_none():
    assert arguments.check_names("context_keys", None) == ()
    assert arguments.check_names("context_keys", "line") == ("line",)
    assert arguments.check_names("context_keys", pd.Index(["a", "b"])) == ("a", "b")
    with pytest.raises(ValueError, match=r"\['line'\] twice"):
        arguments.check_names("context_keys", ["line", "line"])


@pytest.mark.parametrize(
    "value", [3, None, b"A", [None], [np.nan], [["A", ["B"]]], {"A": 1}, np.array("A"), [b"A"]]
)
def test_labels_are_text_or_sequences_of_it(value):
    with pytest.raises(ValueError, match=r"perturbations=.*\[\('A', 'B'\)\]"):
        arguments.check_labels("perturbations", value)


@pytest.mark.parametrize("value", [3, None, "", "a\0b", b"a", ["a"], "x" * 300])
def test_paths_are_paths(value):
    with pytest.raises(ValueError, match=r"dir_path=.*a path"):
        arguments.check_path("dir_path", value)
    assert arguments.check_path("dir_path", "a/b") == Path("a/b")


@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        ("screen.h5ad", r"adata = anndata\.read_h5ad\('screen\.h5ad'\)"),
        (Path("screen.h5ad"), r"adata = anndata\.read_h5ad\('screen\.h5ad'\)"),
        (pd.DataFrame({"a": [1]}), r"anndata\.AnnData\(X, obs=\.\.\., var=\.\.\.\)"),
        (np.ones((2, 2)), r"anndata\.AnnData\(X"),
        (sparse.csr_matrix(np.eye(2)), r"anndata\.AnnData\(X"),
        (3, "read_h5ad"),
        (None, "read_h5ad"),
    ],
)
def test_what_is_no_anndata_is_told_how_to_become_one(value, remedy: str):
    with pytest.raises(ValueError, match=rf"adata=.*{remedy}"):
        arguments.check_adata(value)


def test_long_values_are_shown_in_one_short_line():
    text = arguments.show(pd.DataFrame({"a": range(100)}))
    assert "\n" not in text
    assert len(text) <= 80


# --- by annotation -----------------------------------------------------------------------------


@checked
def _take(
    adata: AnnData | None = None,
    *,
    n_cells: int = 3,
    share: float = 0.5,
    keys: Sequence[str] = (),
    one: str | Sequence[str] | None = None,
    kind: Literal["a", "b"] = "a",
    path: str | PathLike[str] = "here",
    is_on: bool = False,
    pair: tuple[str, str] | None = None,
    splits: Mapping[str, Split] | Iterable[Split] = (),
    table: pd.DataFrame | np.ndarray | None = None,
) -> dict:
    """Take what is given."""
    return {"n_cells": n_cells, "keys": keys, "one": one, "splits": splits, "pair": pair}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"adata": 3}, "adata=3. Give an AnnData"),
        ({"n_cells": -1}, "n_cells=-1. Give a whole number from 1"),
        ({"n_cells": 2.5}, "n_cells=2.5"),
        ({"share": np.nan}, "share=nan"),
        ({"share": "1"}, "share='1'"),
        ({"keys": [1]}, r"keys=\[1\]"),
        ({"one": 3}, "one=3"),
        ({"kind": "c"}, r"kind='c' is unknown. Choose one of \['a', 'b'\]"),
        ({"kind": ["a"]}, r"kind=\['a'\]"),
        ({"path": 3}, "path=3.*a path"),
        ({"is_on": 1}, "is_on=1. Give True or False"),
        ({"pair": "ab"}, "pair='ab'. Give a tuple of 2"),
        ({"pair": ["a"]}, r"pair=\['a'\].*tuple of 2"),
        ({"splits": ["a"]}, "splits='a'.*class Split.*make_split"),
        ({"splits": {"a": 1}}, "splits=1.*class Split"),
        ({"splits": 3}, "splits=3. Give a list"),
        ({"table": "a"}, "table='a'. Give one of: DataFrame, ndarray"),
    ],
)
def test_arguments_are_checked_by_their_annotations(given: dict, message: str):
    with pytest.raises(InvalidArgumentError, match=message):
        _take(**given)


def test_what_is_right_passes_as_plain_python():
    split = Split("a", "custom", 0, (("A",),))
    found = _take(n_cells=np.int64(4), keys="line", one="x", splits=[split], pair=["a", "b"])
    assert type(found["n_cells"]) is int
    assert found == {
        "n_cells": 4, "keys": ("line",), "one": "x", "splits": [split], "pair": ("a", "b")
    }  # fmt: skip
    assert _take(keys=None)["keys"] == ()


def test_other_arguments_are_refused_by_the_function_itself():
    with pytest.raises(TypeError, match=r"_take\(\) got an unexpected keyword argument 'foo'"):
        _take(foo=1)
    assert _take.__doc__ == "Take what is given."


def test_records_are_checked_by_their_fields():
    @dataclass(frozen=True)
    class Record:
        width: int = 3
        rate: float = 0.1
        sizes: tuple[int, ...] = (1, 2)

        def __post_init__(self) -> None:
            check_fields(self, most={"rate": 1})

    assert type(Record(width=np.int32(4)).width) is int
    assert Record(sizes=[np.int64(3)]).sizes == (3,)
    for wrong in ({"width": 0}, {"width": 10**9}, {"rate": 2}, {"rate": -1}, {"sizes": (0,)}):
        with pytest.raises(InvalidArgumentError, match=rf"{next(iter(wrong))}="):
            Record(**wrong)


# --- settings of models ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "name", "value"),
    [
        *((SCBIGConfig, name, value) for name, value in {
            "n_latent": 0, "sigma": np.nan, "cells_per_batch": 0, "dropout": 1.5,
            "n_solver_steps": 2.5, "autoencoder": "vae", "use_anchor": 1, "flow_lr": np.inf,
            "velocity_hidden": 3, "denoising": "no", "autoencoder_steps": -2, "clip_norm": "1",
        }.items()),
        *((DualStreamConfig, name, value) for name, value in {
            "n_hidden": "64", "kind": "s7", "gamma": np.nan, "genes_per_token": 0, "n_steps": -1,
        }.items()),
        *((STRANDConfig, name, value) for name, value in {
            "window": None, "transport": "bus", "beta_max": -1, "n_heads": True,
        }.items()),
        (SCBIGConfig, "n_latent", 10**9),
        (STRANDConfig, "dim", 10**9),
        (DualStreamConfig, "n_latent", 10**9),
    ],
)  # fmt: skip
def test_settings_are_refused_by_name(config: type, name: str, value):
    with pytest.raises(ValueError, match=rf"{name}=") as caught:
        config(**{name: value})
    assert "Give" in str(caught.value) or "Choose" in str(caught.value)


def test_heads_share_the_width():
    with pytest.raises(ValueError, match=r"n_hidden=10 is shared by n_heads=4"):
        SCBIGConfig(n_hidden=10, n_heads=4)


@pytest.mark.parametrize("value", ["tpu9", 3, None, "cuda:0"])
def test_accelerators_are_known(value):
    with pytest.raises(ValueError, match=r"accelerator=.*'auto', 'cpu'"):
        Hardware(value)


@pytest.mark.parametrize("value", [2, 0, -1, "2", [0, 1], None, 1.5, True])
def test_training_is_on_one_device(value):
    with pytest.raises(ValueError, match=r"devices=.*'auto' or 1: .* one device"):
        Hardware("cpu", value)
    assert Hardware("cpu", 1).devices == 1


# --- verbs -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def screen() -> AnnData:
    return scbig.data.simulate_screen(300, 40, n_programs=3, n_targets=6, n_doubles=3)


def _fit(cls: type, screen: AnnData, **settings):
    adata = screen.copy()
    cls.setup_anndata(adata)
    model = cls(adata, **settings)
    model.train()
    return model


@pytest.fixture(scope="module")
def model(screen: AnnData) -> EffectRegression:
    return _fit(EffectRegression, screen)


@pytest.fixture(scope="module")
def single(screen: AnnData) -> str:
    labels = screen.obs["perturbation"].astype(str)
    return next(label for label in labels if label != "control" and "+" not in label)


SMALL = SCBIGConfig(
    n_latent=4, n_hidden=8, n_heads=2, n_inducing=2, n_condition=8, velocity_hidden=(8,),
    autoencoder_epochs=1, autoencoder_steps=2, groups_per_step=2, cells_per_group=4,
)  # fmt: skip


@pytest.mark.parametrize("kind", [list, tuple, np.array, pd.Index, pd.Series, set])
def test_labels_may_stand_in_the_first_place(model: EffectRegression, single: str, kind: Callable):
    """The first call of anybody who comes from GEARS."""
    named = model.predict(perturbations=[single], n_cells=4, seed=1)
    placed = model.predict(kind([single]), n_cells=4, seed=1)
    np.testing.assert_array_equal(placed.X.toarray(), named.X.toarray())
    assert placed.obs.equals(named.obs)
    values = model.get_predicted_expression([single], n_cells=4, seed=1)
    np.testing.assert_array_equal(values, named.X.toarray())


def test_nested_labels_in_the_first_place_are_sets_of_targets(
    model: EffectRegression, single: str
):
    assert model.predict([[single]], n_cells=3).n_obs == 6
    with pytest.raises(ValueError, match=r"perturbations=.*stands where a perturbation is named"):
        model.predict([1.5])


@pytest.mark.parametrize(
    "wrong", ["screen.h5ad", Path("a"), pd.DataFrame({"a": [1]}), 3, {"a": 1}]
)
def test_what_is_no_data_is_refused_in_the_first_place(model: EffectRegression, wrong):
    with pytest.raises(ValueError, match=r"adata="):
        model.predict(wrong)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_cells", 2.5), ("n_cells", "3"), ("n_cells", 0), ("n_cells", True), ("n_cells", 10**12),
        ("seed", -1), ("seed", "one"), ("sampling", 1), ("key_added", 3), ("key_added", ["a"]),
        ("contexts", 3), ("contexts", [None]), ("n_draws", "3"), ("overwrite", "yes"),
        ("perturbations", 3), ("perturbations", [None]), ("perturbations", np.nan),
        ("perturbations", [b"A"]), ("perturbations", [["A", ["B"]]]),
    ],
)  # fmt: skip
def test_arguments_of_predict_are_refused_by_name(
    model: EffectRegression, single: str, name: str, value
):
    with pytest.raises(ValueError, match=rf"{name}="):
        model.predict(**({"perturbations": [single]} | {name: value}))


def test_numbers_of_numpy_are_numbers(model: EffectRegression, single: str):
    asked = {"perturbations": [single], "n_cells": np.int64(3), "seed": np.uint32(2)}
    assert model.predict(**asked).n_obs == 6


@pytest.mark.parametrize("cls", [SCBIG, Additive, EffectRegression])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("adata", "screen.h5ad"), ("adata", pd.DataFrame({"a": [1]})), ("layer", 3),
        ("context_keys", ["perturbation", "perturbation"]), ("context_keys", [1]),
        ("is_log1p", 1), ("target_sum", "x"), ("target_sum", -1), ("separator", 3),
        ("gene_key", ["a"]), ("counts_layer", "nowhere"), ("responder_key", 3),
    ],
)  # fmt: skip
def test_arguments_of_setup_are_refused_by_name(cls: type, screen: AnnData, name: str, value):
    adata = screen.copy()
    with pytest.raises(ValueError, match=name):
        cls.setup_anndata(**({"adata": adata} | {name: value}))
    assert set(adata.obs) == set(screen.obs)


def test_no_contexts_may_be_written_as_none(screen: AnnData):
    adata = screen.copy()
    Additive.setup_anndata(adata, context_keys=None)
    assert Additive(adata).controls.n_obs > 0


def test_views_are_refused_with_a_remedy_that_works(screen: AnnData, tmp_path: Path):
    with pytest.raises(ValueError, match=r"is a view.*adata = adata\.copy\(\)"):
        Additive.setup_anndata(screen[:200])
    screen.write_h5ad(tmp_path / "screen.h5ad")
    backed = anndata.read_h5ad(tmp_path / "screen.h5ad", backed="r")
    view = backed[:200]
    with pytest.raises(ValueError, match=r"is a view.*adata = adata\.to_memory\(\)"):
        Additive.setup_anndata(view)
    Additive.setup_anndata(view.to_memory())
    backed.file.close()


@pytest.mark.parametrize("cls", [SCBIG, DualStreamMamba, EffectRegression, Additive])
def test_data_that_were_not_set_up_are_told_how(cls: type, screen: AnnData):
    adata = screen.copy()
    with pytest.raises(ValueError, match=rf"not set up for {cls.__name__}.*{cls.__name__}\.setup"):
        cls(adata)
    cls.setup_anndata(adata)
    with pytest.raises(ValueError, match=r"is a copy of data that were"):
        cls(adata.copy())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_programs", "3"), ("n_programs", 0), ("seed", -3), ("gene_embedding", "file.csv"),
        ("gene_graph", 3), ("gene_sets", {"a": ("b",)}), ("aliases", {"a": ["b"]}),
        ("missing_embedding", "zero"), ("preset", 3), ("programs", [1, 2]),
    ],
)  # fmt: skip
def test_arguments_of_a_constructor_are_refused_by_name(screen: AnnData, name: str, value):
    adata = screen.copy()
    SCBIG.setup_anndata(adata)
    with pytest.raises(ValueError, match=rf"{name}="):
        SCBIG(adata, **{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_steps", -1), ("max_steps", np.nan), ("max_steps", "3"), ("max_steps", True),
        ("max_epochs", -1), ("max_epochs", 1.5), ("accelerator", "fast"), ("devices", 2),
        ("validation", 3), ("validation", [None]), ("use_refit", "no"), ("use_progress_bar", 0),
    ],
)  # fmt: skip
def test_arguments_of_train_are_refused_by_name(screen: AnnData, name: str, value):
    adata = screen.copy()
    SCBIG.setup_anndata(adata)
    model = SCBIG(adata, preset=SMALL)
    with pytest.raises(ValueError, match=rf"{name}="):
        model.train(**{name: value})
    assert not model.is_trained_


def test_no_steps_train_no_network_at_all_and_the_next_training_does(screen: AnnData):
    adata = screen.copy()
    SCBIG.setup_anndata(adata)
    model = SCBIG(adata, preset=SMALL)
    model.train(max_steps=0, use_progress_bar=False)
    assert model._n_steps == 0
    assert not model.history_
    assert model.predict_effects([adata.obs["perturbation"].iloc[-1]]).n_obs > 0
    # The autoencoder that was left out is trained where a flow has a use for it, once.
    model.train(max_steps=2, use_progress_bar=False)
    assert any(name.startswith("autoencoder") for name in model.history_)
    n_first = model._n_steps
    model.train(max_steps=2, use_progress_bar=False)
    assert model._n_steps == n_first + 2


@pytest.mark.parametrize("cls", [SCBIG, EffectRegression, KernelRidge])
def test_data_that_changed_after_setup_are_refused(cls: type, screen: AnnData):
    settings = {"preset": SMALL} if cls is SCBIG else {}
    for spoil, message in (
        (lambda a: a.obs.pop("perturbation"), r"lost the columns \['perturbation'\]"),
        (lambda a: a.X.data.__setitem__(3, np.nan), "NaN|nan|finite|missing"),
    ):
        adata = screen.copy()
        adata.X = sparse.csr_matrix(adata.X)
        cls.setup_anndata(adata)
        model = cls(adata, **settings)
        spoil(adata)
        with pytest.raises(ValueError, match=message):
            model.train()
        with pytest.raises(ValueError, match=message):
            cls(adata, **settings)


# --- what is written, and what is known ----------------------------------------------------------


@pytest.mark.parametrize("key", ["", " ", "a/b", ".", "counts", "a\0b"])
def test_names_that_files_cannot_hold_are_refused_even_by_force(
    model: EffectRegression, single: str, key: str
):
    with pytest.raises(ValueError, match="key_added="):
        model.predict([single], n_cells=2, key_added=key, overwrite=True)


@pytest.mark.parametrize("place", ["uns", "layers", "obs"])
def test_what_is_the_user_s_is_overwritten_only_when_insisted(
    model: EffectRegression, screen: AnnData, place: str
):
    adata = screen.copy()
    key = {"uns": "pca", "layers": "mine", "obs": "mine"}[place]
    if place == "uns":
        adata.uns[key] = {"variance": np.ones(3)}
    elif place == "layers":
        adata.layers[key] = adata.X.copy()
    else:
        adata.obs[f"{key}_confidence"] = 2.0
    before = adata.copy()
    with pytest.raises(ValueError, match=rf"key_added='{key}'.*overwrite=True"):
        model.predict(adata, key_added=key)
    assert set(adata.layers) == set(before.layers)
    assert adata.obs.equals(before.obs)
    assert adata.uns.keys() == before.uns.keys()
    model.predict(adata, key_added=key, overwrite=True)
    assert adata.uns[key]["class"] == "EffectRegression"
    # What scbig wrote may be written again without a word.
    model.predict(adata, key_added=key)


def test_labels_and_log1p_are_never_overwritten(screen: AnnData):
    adata = screen.copy()
    adata.obs["mine_source"] = "x"
    Additive.setup_anndata(adata, context_keys=["mine_source"])
    model = Additive(adata)
    model.train()
    label = next(iter(set(adata.obs["perturbation"]) - {"control"}))
    for key in ("mine", "log1p"):
        with pytest.raises(ValueError, match=rf"key_added='{key}' would take the place"):
            model.predict([label], n_cells=2, key_added=key, overwrite=True)


@pytest.mark.parametrize("cls", [NoChange, Additive, RidgeIndicator, KernelRidge])
def test_baselines_know_no_more_genes_than_models(cls: type, screen: AnnData):
    baseline = _fit(cls, screen)
    seen = set("+".join(map(str, screen.obs["perturbation"].unique())).split("+"))
    measured = next(gene for gene in screen.var_names if gene not in seen)
    for ask in (
        lambda wanted: baseline.predict(wanted, n_cells=2),
        baseline.predict_effects,
        baseline.get_confidence,
    ):
        with pytest.raises(ValueError, match=r"Nothing is known of the target\(s\) \['NOPE'\]"):
            ask(["NOPE"])
    # Of a gene that is measured the rule for unseen targets is what is wanted.
    assert baseline.predict([measured], n_cells=2).n_obs == 4
    lenient = _fit(cls, screen, missing_embedding="mean")
    assert lenient.predict(["NOPE"], n_cells=2).n_obs == 4


@pytest.mark.parametrize("name", ["no_change", "additive", "kernel_ridge", "own_mean"])
def test_floors_of_a_benchmark_run_on_genes_that_nobody_knows(name: str, screen: AnnData):
    spec = find_spec(name)
    adata = screen.copy()
    spec.load_class().setup_anndata(adata)
    floor = spec.construct(adata, {"seed": 0, **spec.init_settings})
    floor.train()
    assert floor.predict(["NOPE"], n_cells=2).n_obs == 4
    assert find_spec(spec.load_class()).init_settings == spec.init_settings


def test_confidence_of_one_condition_is_not_known(screen: AnnData, caplog, single: str):
    adata = screen[screen.obs["perturbation"].isin(["control", single])].copy()
    EffectRegression.setup_anndata(adata)
    model = EffectRegression(adata)
    with caplog.at_level("WARNING", logger="scbig"):
        model.train()
    assert "confidence cannot be told and is NaN" in caplog.text
    assert model.get_confidence([single]).isna().all()
    out = model.predict([single], n_cells=3)
    is_control = out.obs["perturbation"] == "control"
    assert (out.obs["effect_regression_confidence"].isna() == ~is_control).all()


# --- tools -------------------------------------------------------------------------------------


def test_unknown_parts_of_a_split_are_named(screen: AnnData):
    adata = screen.copy()
    scbig.pp.split(adata, "additive")
    adata.obs["scbig_split"] = adata.obs["scbig_split"].astype(str).replace({"val": "validation"})
    adata.layers["mine"] = adata.X.copy()
    with pytest.raises(ValueError, match=r"obs\['scbig_split'\].*\['validation'\].*'unused'"):
        scbig.tl.evaluate(adata, "mine")


@pytest.mark.parametrize("name", ["x" * 300, "a/b", "", 3, None])
def test_names_of_splits_can_name_files(name):
    with pytest.raises(ValueError, match=r"name="):
        Split(name, "custom", 0, (("A",),))


def test_a_condition_is_no_text():
    """Or else it would be taken for a set of letters."""
    with pytest.raises(ValueError, match=r"conditions='A\+B'.*\('A', 'B'\)"):
        scbig.splits.make_additive(["A+B", "A"])
    with pytest.raises(ValueError, match="conditions='AB'"):
        scbig.splits.make_gears(["AB", "A"])


@pytest.mark.parametrize("cls", [STRAND, SCBIG, EffectRegression, Additive])
@pytest.mark.parametrize("path", [3, None, "x" * 300, "a\0b", ["a"]])
def test_folders_are_paths(cls: type, path):
    with pytest.raises(ValueError, match="dir_path="):
        cls.load(path)


def test_a_record_of_programs_that_is_none_is_named(screen: AnnData):
    adata = screen.copy()
    adata.uns["scbig_programs"] = {"labels": "none"}
    SCBIG.setup_anndata(adata)
    with pytest.raises(ValueError, match=r"uns\['scbig_programs'\] is no record.*gene_programs\("):
        SCBIG(adata, preset=SMALL)
