"""A model that scbig does not know, as docs/developer/adding_a_model.md has it."""

import numpy as np

from scbig.predictor import BasePredictor, EffectMover, Method


class SharedDirectionMethod(Method):
    """Expects the mean effect; its "network" learns how strongly each target follows it."""

    n_steps = 10

    def __init__(self, mean=None, strength=None):
        self.mean = mean
        self.strength = strength or {}

    def fit(self, task):
        self.mean = task.trained.delta.mean(axis=0)

    def refit(self, task):
        self.fit(task)
        return True

    def predict_effects(self, targets, context):
        return np.tile(self.mean, (len(targets), 1))

    def fit_networks(self, task, n_steps):
        along = task.trained.delta @ self.mean / (self.mean @ self.mean)
        pairs = zip(task.trained.targets, along, strict=True)
        self.strength = {t: float(value) / len(group) for group, value in pairs for t in group}

    def make_mover(self, targets, context, control_mean):
        strength = [sum(self.strength.get(t, 1.0) for t in group) for group in targets]
        return EffectMover(np.outer(strength, self.mean), control_mean)

    def get_confidence(self, targets, context):
        seen = [sum(t in self.strength for t in group) / max(len(group), 1) for group in targets]
        return np.array(seen)

    def to_plain(self):
        arrays = {} if self.mean is None else {"mean": self.mean}
        return {"strength": self.strength}, arrays


class SharedDirection(BasePredictor):
    """Every perturbation pushes cells the same way, more or less far."""

    default_key = "shared_direction"

    def __init__(self, adata, *, seed=None):
        super().__init__(adata, missing_embedding="mean", seed=seed)
        vocabulary, _ = self.read_screen()
        self.start(vocabulary, SharedDirectionMethod(), locals())

    @classmethod
    def load_method(cls, vocabulary, effects, values, arrays):
        return SharedDirectionMethod(arrays.get("mean"), values["strength"])
