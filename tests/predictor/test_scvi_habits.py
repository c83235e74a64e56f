"""What users of scvi-tools are used to: arguments of train, summaries, devices, history."""

from pathlib import Path

import pytest
import torch
from anndata import AnnData
from rich.text import Text

from scbig.baselines import Additive
from scbig.data import simulate_screen
from scbig.model import SCBIG, STRAND, DualStreamMamba, EffectRegression, SCBIGConfig
from scbig.model.scbig._stages import AutoencoderPlan
from scbig.predictor import Hardware

QUIET = {"accelerator": "cpu", "use_progress_bar": False}
CONFIG = SCBIGConfig(
    n_latent=4, n_hidden=8, n_heads=2, n_inducing=2, n_condition=8, velocity_hidden=(8,),
    groups_per_step=2, cells_per_group=4, n_solver_steps=2, ema_decay=0.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def simulated() -> AnnData:
    return simulate_screen(300, 40, n_programs=4, n_targets=10, n_doubles=2, seed=0)


def make(simulated: AnnData, model_class=SCBIG, **init):
    adata = simulated.copy()
    model_class.setup_anndata(adata)
    return model_class(adata, **init)


@pytest.mark.parametrize(
    ("model_class", "name", "remedy"),
    [
        (SCBIG, "plan_kwargs", r"SCBIG\(adata, preset=SCBIGConfig\(\.\.\.=\.\.\.\)\)"),
        (SCBIG, "lr", "flow_lr|_lr="),
        (SCBIG, "enable_progress_bar", "write use_progress_bar="),
        (SCBIG, "use_gpu", "accelerator='gpu'"),
        (SCBIG, "train_size", r"conditions are held out, and not cells: validation=\['A', 'B'\]"),
        (SCBIG, "early_stopping_patience", "max_steps=.*early_stopping=False"),
        (SCBIG, "max_step", r"Did you mean max_steps=\.\.\.\?"),
        (SCBIG, "frobnicate", r"It takes \['max_epochs', "),
        (DualStreamMamba, "batch_size", r"DualStreamConfig\(groups_per_step=\.\.\.\)"),
        (DualStreamMamba, "max_epochs", "trained by steps. Write max_steps="),
        (STRAND, "batch_size", r"STRANDConfig\(groups_per_step=\.\.\.\)"),
        (STRAND, "max_epochs", "trained by steps. Write max_steps="),
        (EffectRegression, "batch_size", "it has no networks to train. Leave it out"),
        (EffectRegression, "max_epochs", "it has no networks to train. Leave it out"),
        (Additive, "early_stopping", "it has no networks to train. Leave it out"),
        (Additive, "train_size", "conditions are held out, and not cells"),
    ],
)
def test_what_train_does_not_take_is_refused_by_name(model_class, name, remedy):
    model = model_class.__new__(model_class)
    with pytest.raises(TypeError, match=rf"^{model_class.__name__}\.train\(\) takes no {name}\b"):
        model.train(**{name: 1})
    with pytest.raises(TypeError, match=remedy):
        model.train(**{name: 1})


@pytest.mark.parametrize(
    ("model_class", "first"),
    [(SCBIG, "max_epochs"), (DualStreamMamba, "max_steps"), (EffectRegression, "validation")],
)
def test_arguments_of_train_are_given_by_name(model_class, first):
    with pytest.raises(TypeError, match=rf"was given 400 by position. Write train\({first}=400\)"):
        model_class.__new__(model_class).train(400)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, "batch_size=0. Give a whole number from 1"),
        ({"batch_size": 2.5}, ValueError, "batch_size=2.5. Give a whole number"),
        ({"check_val_every_n_epoch": True}, ValueError, "check_val_every_n_epoch=True"),
        ({"early_stopping": "no"}, TypeError, "early_stopping='no'. Give True or False"),
    ],
)
def test_what_is_taken_is_checked(given, error, message):
    with pytest.raises(error, match=message):
        Hardware(**given)


def test_batch_size_is_that_of_the_autoencoder(simulated: AnnData, monkeypatch):
    seen = []

    def watch(self, batch, batch_idx):
        seen.append(len(batch["X"]))
        return training_step(self, batch, batch_idx)

    training_step = AutoencoderPlan.training_step
    monkeypatch.setattr(AutoencoderPlan, "training_step", watch)
    model = make(simulated, preset=CONFIG, n_programs=4)
    model.train(max_epochs=1, max_steps=0, batch_size=100, **QUIET)
    assert seen[0] == 100
    # 5% of the training cells are held out to stop on; the last batch has the rest.
    n_cells = sum(seen)
    assert len(seen) == -(-n_cells // 100)


def count_epochs(model) -> tuple[int, int]:
    """Epochs of the autoencoder, and how often it was validated."""
    loss, score = (model.history[f"autoencoder_{name}"] for name in NAMES)
    return len(loss), int(score.iloc[:, 0].notna().sum())


NAMES = ("train_loss", "validation_score")


def test_early_stopping_and_validations(simulated: AnnData, monkeypatch):
    def find_no_better(self, batch, batch_idx):
        self.log_value("validation_score", torch.tensor(0.5))

    monkeypatch.setattr(AutoencoderPlan, "validation_step", find_no_better)
    stopped, whole, rare = (make(simulated, preset=CONFIG, n_programs=4) for _ in range(3))
    stopped.train(max_epochs=12, max_steps=0, **QUIET)
    whole.train(max_epochs=12, max_steps=0, early_stopping=False, **QUIET)
    rare.train(
        max_epochs=12, max_steps=0, early_stopping=False, check_val_every_n_epoch=5, **QUIET
    )
    # The first score is the best so far; after four more that are no better it stops.
    assert count_epochs(stopped) == (5, 5)
    assert count_epochs(whole) == (12, 12)
    assert count_epochs(rare) == (12, 2)


def test_summary_and_history(simulated: AnnData, capsys):
    model = make(simulated, EffectRegression)
    assert (model.is_trained, model.history) == (False, None)
    assert repr(model).endswith("Training status: Not Trained")
    model.train(validation=["GENE0001", "GENE0008"], use_progress_bar=False)
    assert (model.is_trained, model.history) == (True, {})
    assert "Training status: Trained" in model.summary_string
    assert repr(model) == str(model) == model.summary_string
    assert repr(model).endswith(str(model.comparison_))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("model_class", [EffectRegression, SCBIG])
def test_a_model_is_moved_to_a_device(simulated: AnnData, model_class):
    model = make(simulated, model_class)
    for device in ("cpu", torch.device("cpu")):
        assert model.to_device(device) is None
        assert model.device == torch.device("cpu")
    with pytest.raises(RuntimeError, match="nowhere"):
        model.to_device("nowhere")


def test_a_loaded_model_shows_its_setup_and_takes_a_screen(
    simulated: AnnData, tmp_path: Path, capsys
):
    model = make(simulated, EffectRegression)
    model.train(validation=[], use_progress_bar=False)
    model.save(tmp_path / "model")
    loaded = EffectRegression.load(tmp_path / "model")
    assert (loaded.adata, loaded.is_trained, repr(loaded)) == (None, True, repr(model))
    loaded.view_anndata_setup()
    shown = Text.from_ansi(capsys.readouterr().out).plain
    assert "Setup via `EffectRegression.setup_anndata`" in shown
    assert "│ perturbation_key │ perturbation │" in shown
    loaded.view_anndata_setup(hide_state_registries=True)
    assert "│ perturbation_key" not in capsys.readouterr().out
    further = simulated.copy()
    loaded.adata = further
    assert loaded.adata is further
    loaded.view_anndata_setup()
    assert "n_conditions" in capsys.readouterr().out
    loaded.train(validation=[], use_progress_bar=False)
    assert loaded.get_var_names() is not None
