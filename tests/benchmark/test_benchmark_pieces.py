"""Measuring, counting and keeping: what a benchmark does besides predicting."""

import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from scbig.benchmark import BenchmarkSettings, PredictorSpec, Progress, Resources
from scbig.benchmark._folder import BenchmarkFolder, Config, find_changes, make_config
from scbig.benchmark._parts import Attempt, Meter, Part, PartResult, Tracker, make_parts
from scbig.benchmark._settings import describe_screen, make_fingerprint, resolve_predictors
from scbig.data import infer_schema
from scbig.priors import GeneAliases, GeneEmbedding, GeneGraph, GeneSets
from scbig.splits import Split

SPLIT = Split("one", "custom", 3, (("A",),))


@pytest.fixture
def specs(shift_class: type) -> list[PredictorSpec]:
    return [PredictorSpec("a", shift_class), PredictorSpec("b/c", shift_class)]


def make(specs: list[PredictorSpec], split: Split = SPLIT, **settings: object) -> Config:
    resolved = BenchmarkSettings(**settings).resolve({split.task})
    return make_config({"n_cells": 5}, {}, [split], specs, resolved)


# --- measuring -----------------------------------------------------------------------------


def test_time_and_memory_are_measured():
    with Meter() as small:
        time.sleep(0.05)
    with Meter() as meter:
        held = np.ones(30_000_000)
        time.sleep(0.1)
    assert held.nbytes == 240_000_000
    assert 0.05 <= small.seconds < 1
    assert 200 < meter.peak_memory_mb - small.peak_memory_mb < 300


def test_an_error_becomes_a_line_and_an_interruption_does_not(failing_class: type):
    attempt = Attempt("part")
    with attempt:
        failing_class(AnnData()).train()
    assert attempt.error == "HiddenError: no luck today"
    with pytest.raises(KeyboardInterrupt), Attempt("part"):
        raise KeyboardInterrupt


# --- parts and progress --------------------------------------------------------------------


def test_parts_go_split_by_split(specs: list[PredictorSpec]):
    other = Split("two", "custom", 5, (("A",),))
    parts = make_parts([SPLIT, other], specs, None)
    assert [(p.split.name, p.seed, p.predictor) for p in parts] == [
        ("one", 3, "a"), ("one", 3, "b/c"), ("one", 3, "ceiling"),
        ("two", 5, "a"), ("two", 5, "b/c"), ("two", 5, "ceiling"),
    ]  # fmt: skip
    assert [p.seed for p in make_parts([SPLIT], specs[:1], (7, 8))] == [7, 8, 7]


@pytest.mark.parametrize("names", [[], ["one", "one"], ["pooled"]])
def test_splits_need_names_of_their_own(names: list[str], specs: list[PredictorSpec]):
    splits = [Split(name, "custom", 0, (("A",),)) for name in names]
    with pytest.raises(ValueError, match="give at least one, each name once, and none named"):
        make_parts(splits, specs, None)


def test_the_time_left_is_that_of_finished_parts(specs: list[PredictorSpec]):
    parts = make_parts([SPLIT], specs[:1], (0, 1, 2))
    shown: list[Progress] = []
    tracker = Tracker(parts, shown.append)
    tracker.begin(parts[0])
    tracker.finish(parts[0], 2.0)
    tracker.begin(parts[1])
    tracker.finish(parts[1], 4.0)
    tracker.finish(parts[3], 10.0)
    tracker.begin(parts[2])
    tracker.finish(parts[2], 1.0)
    assert [(p.n_done, p.n_total, p.seconds_left, p.untimed) for p in shown] == [
        (0, 4, 0.0, ("a", "ceiling")), (1, 4, 4.0, ("ceiling",)), (3, 4, 3.0, ()), (4, 4, 0.0, ()),
    ]  # fmt: skip
    assert [p.running for p in shown][::3] == ["one, seed 0, a", ""]


# --- fingerprints --------------------------------------------------------------------------


def test_a_fingerprint_is_that_of_the_content(screen: AnnData):
    schema = infer_schema(screen)
    first = describe_screen(screen, schema)["fingerprint"]
    dense = screen.copy()
    dense.X = dense.X.toarray()
    assert describe_screen(dense, schema)["fingerprint"] == first
    for change in ("value", "label", "gene"):
        other = dense.copy()
        if change == "value":
            other.X[3, 4] += 0.01
        elif change == "label":
            other.obs.iloc[0, 0] = other.obs["perturbation"].iloc[-1]
        else:
            other.var_names = ["X1", *other.var_names[1:]]
        if change == "label" and other.obs.iloc[0, 0] == dense.obs.iloc[0, 0]:
            continue
        assert describe_screen(other, schema)["fingerprint"] != first, change


def test_resources_are_described_by_content():
    graph = sparse.csr_array(np.array([[0.0, 1.0], [1.0, 0.0]]))
    vectors = np.eye(2, dtype=np.float32)
    resources = Resources(
        GeneEmbedding(("A", "B"), vectors, "table"),
        GeneGraph(("A", "B"), graph, "graph"),
        GeneSets({"s": ("A",)}, "sets"),
        GeneAliases({"A": ("C",)}),
    )
    described = resources.describe()
    assert [value["source"] for value in described.values()] == [
        "table", "graph", "sets", "GeneAliases",
    ]  # fmt: skip
    assert len({value["fingerprint"] for value in described.values()}) == 4
    other = Resources(GeneEmbedding(("A", "B"), vectors[::-1], "table")).describe()
    assert other["gene_embedding"] != described["gene_embedding"]
    assert make_fingerprint([1, "a"]) != make_fingerprint([1, "b"])


# --- the folder ----------------------------------------------------------------------------


def test_a_part_is_read_as_it_was_written(tmp_path: Path, specs: list[PredictorSpec]):
    folder = BenchmarkFolder(tmp_path / "out", make(specs))
    part = Part(SPLIT, 0, specs[1])
    assert folder.read_part(part) is None
    scores = pd.DataFrame({"perturbation": ["NA", "nan"], "value": [0.1, np.nan]})
    folder.write_part(part, PartResult(scores, 1.5))
    again = BenchmarkFolder(tmp_path / "out", make(specs)).read_part(part)
    pd.testing.assert_frame_equal(again.scores, scores)
    assert again.seconds == 1.5
    files = sorted(p.name for p in (tmp_path / "out" / "parts").iterdir())
    assert files == ["one--seed0--b%2Fc.parquet"]


def _damage(content: bytes, kind: str, seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    if kind == "cut":
        return content[: int(rng.integers(len(content)))]
    if kind == "nothing":
        return b""
    if kind == "other":
        return rng.bytes(len(content))
    flipped = bytearray(content)
    flipped[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
    return bytes(flipped)


@pytest.mark.parametrize("kind", ["cut", "nothing", "other", "bit"])
def test_a_damaged_part_is_computed_again_and_said_so(
    tmp_path: Path, specs: list[PredictorSpec], kind: str, caplog: pytest.LogCaptureFixture
):
    folder, part = BenchmarkFolder(tmp_path / "out", make(specs)), Part(SPLIT, 0, specs[0])
    scores = pd.DataFrame({"perturbation": ["A", "B"] * 20, "value": np.linspace(0, 1, 40)})
    folder.write_part(part, PartResult(scores, 1.5))
    [file] = (tmp_path / "out" / "parts").iterdir()
    whole, n_damaged = file.read_bytes(), 0
    for seed in range(60 if kind == "bit" else 5):
        file.write_bytes(_damage(whole, kind, seed))
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger="scbig"):
            found = folder.read_part(part)
        if found is None:
            n_damaged += 1
            assert f"{file} is damaged and is computed again" in caplog.text
        else:  # a bit that means nothing
            pd.testing.assert_frame_equal(found.scores, scores)
            assert found.seconds == 1.5
    assert n_damaged >= 5
    folder.write_part(part, PartResult(scores, 2.5))
    assert folder.read_part(part).seconds == 2.5


def test_a_part_whose_judge_is_gone_is_computed_again(tmp_path: Path, specs: list[PredictorSpec]):
    config = make(specs)
    config.fixed["judge"] = "some"
    folder, part = BenchmarkFolder(tmp_path, config), Part(SPLIT, 0, specs[0])
    told = pd.DataFrame({"value": [1.0]})
    folder.write_part(part, PartResult(told, 1.0, judged=told))
    pd.testing.assert_frame_equal(folder.read_part(part).judged, told)
    (tmp_path / "parts" / "one--seed0--a.judge.parquet").unlink()
    assert folder.read_part(part) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"other": 1}'])
def test_a_damaged_configuration_says_how_to_go_on(
    tmp_path: Path, specs: list[PredictorSpec], text: str
):
    BenchmarkFolder(tmp_path, make(specs))
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config\.json cannot be read.*use_overwrite=True"):
        BenchmarkFolder(tmp_path, make(specs))
    BenchmarkFolder(tmp_path, make(specs), use_overwrite=True)
    BenchmarkFolder(tmp_path, make(specs))


@pytest.mark.parametrize("is_there", [False, True])
def test_a_start_that_ends_at_any_step_does_not_block_the_next(
    tmp_path: Path, specs: list[PredictorSpec], monkeypatch: pytest.MonkeyPatch, is_there: bool
):
    """Each writing, renaming, removal and new folder in turn is the last that a start does."""
    for last in range(100):
        out, steps = tmp_path / str(last), count()
        if is_there:
            BenchmarkFolder(out, make(specs)).write_text("scores.csv", "old")

        def stop(call: Callable, steps: Iterator = steps, last: int = last) -> Callable:
            def step(*args: object, **settings: object) -> object:
                if next(steps) >= last:
                    raise KeyboardInterrupt
                return call(*args, **settings)

            return step

        with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
            for owner, name in (
                (os, "fsync"), (os, "open"), (Path, "replace"), (Path, "unlink"),
                (Path, "mkdir"), (shutil, "rmtree"),
            ):  # fmt: skip
                patch.setattr(owner, name, stop(getattr(owner, name)))
            BenchmarkFolder(out, make(specs, n_cells=9), use_overwrite=is_there)
        BenchmarkFolder(out, make(specs, n_cells=9), use_overwrite=is_there)
        if next(steps) <= last:
            break
    assert last >= 6


def test_a_folder_keeps_one_configuration(tmp_path: Path, specs: list[PredictorSpec]):
    BenchmarkFolder(tmp_path, make(specs))
    BenchmarkFolder(tmp_path, make(specs[:1], n_resamples=7))  # changes no part
    with pytest.raises(ValueError, match=r"n_cells was 500 and is 9. Begin anew with use_over"):
        BenchmarkFolder(tmp_path, make(specs, n_cells=9))
    BenchmarkFolder(tmp_path, make(specs, n_cells=9), use_overwrite=True)
    assert json.loads((tmp_path / "config.json").read_text())["fixed"]["n_cells"] == 9


def test_parts_of_another_split_or_predictor_are_refused(
    tmp_path: Path, specs: list[PredictorSpec], failing_class: type
):
    part = Part(SPLIT, 0, specs[0])
    BenchmarkFolder(tmp_path, make(specs)).write_part(part, PartResult(pd.DataFrame(), 1.0))
    changed = Split("one", "custom", 3, (("B",),))
    for config in (make(specs, changed), make([PredictorSpec("a", failing_class)])):
        with pytest.raises(ValueError, match="another split 'one' or another predictor 'a'"):
            BenchmarkFolder(tmp_path, config).read_part(part)


def test_only_what_a_benchmark_wrote_is_removed(tmp_path: Path, specs: list[PredictorSpec]):
    folder = BenchmarkFolder(tmp_path, make(specs))
    folder.write_part(Part(SPLIT, 0, specs[0]), PartResult(pd.DataFrame(), 1.0))
    folder.write_text("scores.csv", "old")
    (tmp_path / "notes.txt").write_text("mine")
    BenchmarkFolder(tmp_path, make(specs), use_overwrite=True)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["config.json", "notes.txt", "parts"]


def test_other_folders_and_files_are_left_alone(tmp_path: Path, specs: list[PredictorSpec]):
    (tmp_path / "notes.txt").write_text("mine")
    for use_overwrite in (False, True):
        with pytest.raises(FileExistsError, match="is not empty and holds no benchmark"):
            BenchmarkFolder(tmp_path, make(specs), use_overwrite=use_overwrite)
    with pytest.raises(FileExistsError, match="is a file, where a folder is expected"):
        BenchmarkFolder(tmp_path / "notes.txt", make(specs))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_cells": 0}, "n_cells=0.*whole number from 1"),
        ({"seeds": ()}, "give each seed once, and at least one"),
        ({"seeds": (1, 1)}, "give each seed once, and at least one"),
        ({"metrics": ("mse", "luck")}, r"no metrics \['luck'\]. Choose from \['pearson_delta'"),
    ],
)
def test_settings_are_checked(settings: dict, message: str):
    with pytest.raises(ValueError, match=message):
        BenchmarkSettings(**settings)


def test_changed_lists_are_told_by_what_came_and_went():
    changes = find_changes({"metrics": ["mse", "mae"]}, {"metrics": ["mse", "des"]})
    assert changes == ["metrics: mae are not asked for now", "metrics: des are new"]


def test_a_predictor_of_another_task_is_told_apart(caplog):
    with caplog.at_level(logging.WARNING, logger="scbig"):
        resolve_predictors(["own_mean"], {"unseen"})
    assert "own_mean is made for the task seen" in caplog.text
