"""Callbacks of the training stages."""

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback


class KeepBest(Callback):
    """Keep the weights with the best validation score, and go back to them at the end.

    Parameters
    ----------
    monitor
        Name of the logged score; higher is better.
    patience
        Number of validations without a better score after which training stops.
    initial
        Score of the untrained weights, which are kept when nothing beats them.
    """

    def __init__(self, monitor: str, *, patience: int, initial: float = -float("inf")) -> None:
        self.monitor = monitor
        self.patience = patience
        self.best = initial
        self.n_waited = 0
        self._weights: dict[str, torch.Tensor] = {}

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remember the untrained weights, if they have a score."""
        if self.best > -float("inf"):
            self._remember(pl_module)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remember better weights, and stop when there have been none for long."""
        score = float(trainer.callback_metrics[self.monitor])
        self.n_waited += 1
        if score > self.best:
            self.best, self.n_waited = score, 0
            self._remember(pl_module)
        trainer.should_stop = trainer.should_stop or self.n_waited >= self.patience

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Go back to the best weights."""
        if self._weights:
            pl_module.load_state_dict(self._weights)
        self._weights = {}

    def _remember(self, pl_module: pl.LightningModule) -> None:
        self._weights = {
            name: weight.detach().clone() for name, weight in pl_module.state_dict().items()
        }
