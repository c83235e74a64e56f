"""A fourth model has all verbs, a row in the benchmark and a place on the command line."""

from pathlib import Path

import anndata
import numpy as np
import pytest
from anndata import AnnData
from typer.testing import CliRunner

import scbig
from scbig.cli import app

PATH = "fourth_model:SharedDirection"


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch, screen: AnnData):
    monkeypatch.syspath_prepend(Path(__file__).parent)
    from fourth_model import SharedDirection

    SharedDirection.setup_anndata(screen)
    model = SharedDirection(screen, seed=0)
    model.train()
    return model


def test_it_trains_with_gate_and_floors_predicts_and_is_saved(model, screen: AnnData, tmp_path):
    assert len(model.comparison_.floors) == 6
    assert model.uses_networks is False  # on one direction alone nothing correlates better
    out = model.predict(perturbations=["GENE0001", "GENE0001+GENE0002"])
    assert out.layers["shared_direction"].min() >= 0
    assert model.get_confidence(["NEVER"]).to_dict() == {"NEVER": 0.0}
    model.save(tmp_path / "saved")
    loaded = type(model).load(tmp_path / "saved", screen)
    again = loaded.predict(perturbations=["GENE0001", "GENE0001+GENE0002"])
    for layer in ("shared_direction", "shared_direction_counts"):
        np.testing.assert_array_equal(again.layers[layer].toarray(), out.layers[layer].toarray())
    loaded.train(validation=[])


def test_it_has_a_row_in_the_benchmark_and_is_a_choice_on_the_command_line(
    model, screen: AnnData, tmp_path: Path
):
    splits = [scbig.splits.make_split(screen, "unseen", seed=0)]
    result = scbig.benchmark.run(screen, splits, ["train_mean", type(model)], out=tmp_path / "b")
    assert {"train_mean", "shared_direction"} <= set(result.scores["predictor"])
    screen.write_h5ad(tmp_path / "screen.h5ad")
    saved, predicted = tmp_path / "model", tmp_path / "predicted.h5ad"
    train = ["train", str(tmp_path / "screen.h5ad"), "--model", PATH, "--out", str(saved)]
    ask = ["predict", str(saved), "--model-class", PATH, "--perturbations", "GENE0001"]
    for command in (train, [*ask, "--out", str(predicted)]):
        run = CliRunner().invoke(app, command)
        assert run.exit_code == 0, run.output
    assert "shared_direction" in anndata.read_h5ad(predicted).layers
