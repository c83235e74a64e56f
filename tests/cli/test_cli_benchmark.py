"""`scbig benchmark`: splits of a task and of a file, errors, and the exit status."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from anndata import AnnData

from scbig.baselines import Additive
from scbig.benchmark import Progress
from scbig.benchmark._settings import JUDGES
from scbig.cli._benchmark import FieldRules, split_numbers
from scbig.cli._session import describe, format_seconds

QUICK = ("--predictors", "no_change,additive", "--metrics", "pearson_delta,mse")


def read(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "scores.csv", keep_default_na=False)


def test_a_task_is_run_for_each_seed_and_goes_on(
    scbig_command: Callable, screen_file: Path, tmp_path: Path
):
    out = tmp_path / "bench"
    arguments = ["benchmark", screen_file, "--task", "additive", *QUICK, "--out", out]
    result = scbig_command(*arguments, "--seeds", "0,1")
    assert result.exit_code == 0, result.output
    scores = read(out)
    assert set(scores["split"]) == {"additive_seed0", "additive_seed1"}
    assert set(scores["predictor"]) == {"no_change", "additive", "ceiling"}
    assert scores.groupby("split")["seed"].unique().map(list).tolist() == [[0], [1]]
    assert "additive_seed1, seed 1, ceiling: about " in result.output
    assert "pearson delta ↑" in result.output
    assert "report.html" in {path.name for path in out.iterdir()}
    again = scbig_command(*arguments, "--seeds", "0,1")
    assert "6 of 6 parts were finished before." in again.output
    assert "ceiling: about" not in again.output


def test_splits_of_a_file_and_counts(
    scbig_command: Callable, counts_file: Path, small_screen: AnnData, tmp_path: Path
):
    single, double = (
        small_screen.obs.loc[small_screen.obs["n_targets"] == n, "perturbation"].iloc[0]
        for n in (1, 2)
    )
    turned = "+".join(reversed(double.split("+")))
    splits = {"one": {"test": [single]}, "two": {"test": [turned, single]}, "no": {"test": ["X"]}}
    (tmp_path / "splits.json").write_text(json.dumps(splits))
    arguments = [
        "benchmark", counts_file, "--split-file", tmp_path / "splits.json", "--split", "two",
        "--predictors", "no_change", "--metrics", "mse", "--seeds", "3,4", "--out",
        tmp_path / "bench",
    ]  # fmt: skip
    unasked = scbig_command(*arguments)
    assert (unasked.exit_code, "X holds raw counts" in unasked.output) == (0, True)
    result = scbig_command(*arguments, "--normalize", "--split", "one")
    assert result.exit_code == 0, result.output
    scores = read(tmp_path / "bench")
    assert set(scores["split"]) == {"one", "two"}
    assert set(scores["perturbation"]) == {single, double}
    assert scores.loc[scores["predictor"] == "no_change", "seed"].unique().tolist() == [3, 4]


def test_the_contexts_of_the_splits_are_taken(
    scbig_command: Callable, screen_file: Path, tmp_path: Path
):
    splits = tmp_path / "bench" / "splits.json"
    first = scbig_command(
        "benchmark", screen_file, "--task", "replicate", "--context-keys", "batch",
        "--held-out-context", "batch_2", *QUICK, "--out", splits.parent,
    )  # fmt: skip
    assert first.exit_code == 0, first.output
    assert set(read(splits.parent)["context"]) == {"batch_2"}
    second = scbig_command(
        "benchmark", screen_file, "--split-file", splits, *QUICK, "--out", tmp_path / "again"
    )
    assert second.exit_code == 0, second.output
    assert set(read(tmp_path / "again")["context"]) == {"batch_2"}


def test_a_failure_is_said_and_sets_the_exit_status(
    scbig_command: Callable, screen_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fail(self: Additive, **arguments: object) -> None:
        raise RuntimeError("no [luck]")

    monkeypatch.setattr(Additive, "train", fail)
    result = scbig_command(
        "benchmark", screen_file, "--task", "low_sample", "--n-cells", "4,8", *QUICK, "--out",
        tmp_path,
    )  # fmt: skip
    assert result.exit_code == 1
    assert "2 part(s) failed" in result.output
    assert "low_sample8_seed0, seed 0, additive: RuntimeError: no [luck]" in result.output
    scores = read(tmp_path)
    assert set(scores.loc[scores["predictor"] == "no_change", "status"]) == {"ok"}
    failed = scores.loc[scores["predictor"] == "additive", "status"]
    assert failed.str.startswith("RuntimeError").all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "Say what is held out: --task unseen, or --split-file"),
        (["--task", "unseen", "--split", "one"], "--split one needs --split-file"),
        (["--task", "unseen", "--seeds", "0,x"], "--seeds 0,x: 'x' is no whole number"),
        (["--task", "unseen", "--predictors", "luck"], "There is no predictor 'luck'"),
        (["--task", "unseen", "--metrics", "luck"], "There are no metrics ['luck']"),
        (["--task", "context"], "needs the columns of obs with the contexts"),
        (["--task", "unseen", "--n-cells", "4"], "--n-cells cannot be set for task 'unseen'"),
        (["--split-file", "{splits}", "--split", "two"], "holds no split 'two'"),
    ],
)
def test_what_cannot_be_run_is_an_error(
    scbig_command: Callable, screen_file: Path, tmp_path: Path, options: list[str], message: str
):
    (tmp_path / "s.json").write_text('{"one": {"test": ["GENE0001"]}}')
    options = [option.format(splits=tmp_path / "s.json") for option in options]
    result = scbig_command("benchmark", screen_file, *options, "--out", tmp_path / "bench")
    assert (result.exit_code, message in result.output) == (1, True), result.output
    assert not (tmp_path / "bench").exists()


def test_an_existing_folder_is_kept(scbig_command: Callable, screen_file: Path, tmp_path: Path):
    options = ["--task", "unseen", "--predictors", "no_change", "--out", tmp_path]
    for metric, extra, status in (("mse", [], 0), ("mae", [], 1), ("mae", ["--overwrite"], 0)):
        result = scbig_command("benchmark", screen_file, *options, "--metrics", metric, *extra)
        assert result.exit_code == status, result.output
        if status:
            assert "metrics: mse are not asked for now; metrics: mae are new" in result.output
            assert "Begin anew with --overwrite" in " ".join(result.output.split())
    assert set(read(tmp_path)["metric"]) == {"mae"}


def test_help_names_the_options(scbig_command: Callable):
    output = scbig_command("benchmark", "--help").output
    options = [
        "--task",
        "--seeds",
        "--split-file",
        "--predictors",
        "--n-cells",
        "--overwrite",
        "judge.csv",
    ]
    assert [option for option in options if option not in output] == []


def test_time_left_in_words():
    assert [format_seconds(s) for s in (3.4, 600, 9000)] == ["3 s", "10 min", "2.5 h"]
    assert describe(Progress("a", 0, 3, 0.0, ("x",))) == "0/3 a"
    assert describe(Progress("a", 1, 3, 5.0, ())) == "1/3 a: about 5 s left"
    assert describe(Progress("a", 1, 3, 5.0, ("x", "y"))) == (
        "1/3 a: at least 5 s left, without x, y"
    )
    assert describe(Progress("a", 1, 3, 5.0, ("x", "y", "z"))).endswith(
        "at least 5 s left, without 3 predictors not timed yet"
    )
    assert describe(Progress("", 3, 3, 0.0, ())) == "3/3 done"
    assert split_numbers("--seeds", "1, 2") == (1, 2)


def test_an_unknown_judge_is_an_error_that_names_those_known(
    scbig_command: Callable, screen_file: Path, tmp_path: Path
):
    result = scbig_command(
        "benchmark", screen_file, "--task", "seen", "--judge", "luck", "--out", tmp_path / "b"
    )
    assert (result.exit_code, (tmp_path / "b").exists()) == (2, False)
    assert "'luck' is not one of 'vcc2026'" in result.output
    assert tuple(FieldRules) == JUDGES


@pytest.mark.slow
def test_the_judge_of_the_field(scbig_command: Callable, screen_file: Path, tmp_path: Path):
    pytest.importorskip("cell_eval2", reason="the extra 'vcc' is not installed")
    options = ["--task", "seen", "--seeds", "0", "--predictors", "no_change", "--metrics", "mse"]
    judge = ["--judge", "vcc2026", "--out", tmp_path / "judged"]
    result = scbig_command("benchmark", screen_file, *options, *judge)
    assert result.exit_code == 0, result.output
    assert "Judged by vcc2026, cell-eval2 " in result.output
    assert "comparison.csv, judge.csv and report.html" in result.output
    judged = pd.read_csv(tmp_path / "judged" / "judge.csv")
    assert set(judged["predictor"]) == {"no_change", "ceiling"}
    refused = scbig_command("benchmark", screen_file, *options, "--out", tmp_path / "judged")
    assert refused.exit_code == 1
    assert "to go on with these, ask the earlier judge" in " ".join(refused.output.split())
    assert "--judge ..." in " ".join(refused.output.split())


def test_cells_of_known_conditions_are_held_out(
    scbig_command: Callable, screen_file: Path, tmp_path: Path
):
    result = scbig_command(
        "benchmark", screen_file, "--task", "seen", "--seeds", "0", "--predictors",
        "scbig_anchor,own_mean", "--metrics", "mse", "--out", tmp_path,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert set(read(tmp_path)["predictor"]) == {"own_mean", "scbig_anchor", "ceiling"}
    assert (tmp_path / "report.html").is_file()
