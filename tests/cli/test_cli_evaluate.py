"""`scbig evaluate`: the table that it writes, what it says, and how it refuses."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from anndata import AnnData

from scbig.baselines import Additive
from scbig.cli._evaluate import describe_failures, make_tables
from scbig.tl import evaluate

METRICS = ["mse", "pearson_delta"]


@pytest.fixture
def split_file(small_screen: AnnData, tmp_path: Path) -> Path:
    doubles = sorted({label for label in small_screen.obs["perturbation"] if "+" in label})
    path = tmp_path / "splits.json"
    # Targets in the other order: labels are compared as sets.
    test = ["+".join(reversed(label.split("+"))) for label in doubles[:3]]
    path.write_text(json.dumps({"first": {"test": test}}))
    return path


@pytest.fixture
def predicted_file(small_screen: AnnData, split_file: Path, tmp_path: Path) -> Path:
    test = json.loads(split_file.read_text())["first"]["test"]
    wanted = ["+".join(sorted(label.split("+"))) for label in test]
    train = small_screen[~small_screen.obs["perturbation"].isin(wanted)].copy()
    Additive.setup_anndata(train)
    baseline = Additive(train, seed=0)
    baseline.train()
    out = baseline.predict(perturbations=wanted, key_added="scbig", n_cells=500)
    out.write_h5ad(tmp_path / "predicted.h5ad")
    return tmp_path / "predicted.h5ad"


def test_predicted_cells_are_scored_on_a_split_of_a_file(
    scbig_command: Callable, screen_file: Path, predicted_file: Path, split_file: Path,
    tmp_path: Path,
):  # fmt: skip
    out = tmp_path / "scores.csv"
    result = scbig_command(
        "evaluate", screen_file, "--predicted", predicted_file, "--split-file", split_file,
        "--split", "first", "--metrics", ",".join(METRICS), "--out", out,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    scores = pd.read_csv(out)
    assert list(scores["predictor"].unique())[:2] == ["scbig", "no_change"]
    assert list(scores["predictor"].unique())[-1] == "ceiling"
    assert set(scores["metric"]) == set(METRICS)
    assert scores["perturbation"].nunique() == 3
    means = scores.pivot_table(index="predictor", columns="metric", values="value")
    assert means.loc["scbig", "mse"] == pytest.approx(means.loc["additive", "mse"], rel=0.02)
    assert f"{means.loc['scbig', 'mse']:#.3g}" in result.output
    assert f"Wrote {len(scores)} scores" in result.output


def test_an_annotated_screen_scores_as_in_python(
    scbig_command: Callable, small_screen: AnnData, tmp_path: Path
):
    annotated = small_screen.copy()
    labels = annotated.obs["perturbation"].astype(str)
    test = sorted({label for label in labels if "+" in label})[:2]
    annotated.obs["mine"] = labels.isin(test).map({True: "test", False: "train"})
    annotated.layers["guess"] = annotated.X.copy()
    annotated.write_h5ad(tmp_path / "annotated.h5ad")
    result = scbig_command(
        "--quiet", "evaluate", tmp_path / "annotated.h5ad", "--layer", "guess", "--split-key",
        "mine", "--metrics", "mse", "--out", tmp_path / "scores.csv",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "Wrote" not in result.output
    expected = evaluate(annotated, "guess", split_key="mine", metrics=["mse"])
    written = pd.read_csv(tmp_path / "scores.csv")
    pd.testing.assert_frame_equal(written, expected.astype(written.dtypes))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "There is no layer 'scbig' to score"),
        (["--split", "first"], "--split first needs --split-file"),
        (["--metrics", "r2"], "There is no layer"),
    ],
)
def test_what_cannot_be_scored_is_an_error(
    scbig_command: Callable, screen_file: Path, tmp_path: Path, options: list[str], message: str
):
    out = tmp_path / "scores.csv"
    result = scbig_command("evaluate", screen_file, *options, "--out", out)
    assert (result.exit_code, message in result.output) == (1, True)
    assert not out.exists()


def test_a_screen_without_a_split_says_how_to_make_one(
    scbig_command: Callable, screen_file: Path, predicted_file: Path, tmp_path: Path
):
    result = scbig_command(
        "evaluate", screen_file, "--predicted", predicted_file, "--out", tmp_path / "scores.csv"
    )
    assert result.exit_code == 1
    assert "scbig.pp.split" in result.output
    assert "--split-file" in result.output


def test_the_output_is_a_table(scbig_command: Callable, screen_file: Path, tmp_path: Path):
    result = scbig_command("evaluate", screen_file, "--out", tmp_path / "scores.h5ad")
    assert (result.exit_code, "does not end in .csv" in result.output) == (1, True)


def test_tables_fit_the_terminal_and_name_the_best():
    rows = [
        (predictor, metric, mean)
        for predictor, means in {"mine": (0.5, 0.25, 0.9), "ceiling": (0.1, 0.7, None)}.items()
        for metric, mean in zip(("mse", "pearson_delta", "des"), means, strict=True)
    ]
    summary = pd.DataFrame(rows, columns=["predictor", "metric", "mean"])
    assert [len(table.columns) for table in make_tables(summary, 200)] == [4]
    narrow = list(make_tables(summary, 45))
    assert [len(table.columns) for table in narrow] == [3, 2]
    assert list(narrow[0].columns[1].cells) == ["[bold green]0.500[/bold green]", "0.100"]
    assert narrow[0].columns[2].header == "pearson\ndelta ↑"
    assert list(narrow[1].columns[1].cells) == ["[bold green]0.900[/bold green]", "-"]


def test_failures_are_said_once_for_each_reason():
    scores = pd.DataFrame(
        {
            "predictor": ["a", "b", "a", "a"],
            "perturbation": ["P", "P", "Q", "Q"],
            "context": "all",
            "metric": ["des", "des", "mse", "des"],
            "value": [None, None, None, 0.5],
            "status": ["not installed", "not installed", "not predicted", "ok"],
        }
    )
    assert list(describe_failures(scores)) == [
        "No des of 2 predictors on 1 condition(s): not installed",
        "No mse of a on 1 condition(s): not predicted",
    ]


def test_what_is_not_logged_is_refused_unless_one_insists(
    scbig_command: Callable, small_screen: AnnData, predicted_file: Path, split_file: Path,
    tmp_path: Path,
):  # fmt: skip
    wrong = small_screen.copy()
    wrong.X = wrong.X.expm1() / 40
    del wrong.layers["counts"]
    wrong.write_h5ad(tmp_path / "wrong.h5ad")
    given = (
        "evaluate", tmp_path / "wrong.h5ad", "--predicted", predicted_file, "--split-file",
        split_file, "--split", "first", "--metrics", "mse", "--out", tmp_path / "scores.csv",
    )  # fmt: skip
    result = scbig_command(*given)
    assert result.exit_code == 1
    assert "real: X reaches" in result.output
    result = scbig_command(*given, "--is-log1p")
    assert result.exit_code == 0, result.output
