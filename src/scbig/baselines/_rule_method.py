"""A simple rule from effects to effects, as the method of a predictor."""

import logging
from collections.abc import Sequence
from dataclasses import asdict
from typing import Self

import numpy as np

from scbig._types import Arrays, Values
from scbig.data import Effects, Targets
from scbig.predictor import Method, Task, Vocabulary
from scbig.regression import FloorRule, KernelSettings, Rule, TargetKernel

logger = logging.getLogger(__name__)


class RuleMethod(Method):
    """Expects what a rule makes of the effects of the training conditions.

    Parameters
    ----------
    vocabulary
        Names that the predictor knows, and embeddings of targets.
    floor
        How it compares conditions, and the rule that it makes.
    """

    def __init__(self, vocabulary: Vocabulary, floor: FloorRule) -> None:
        self.vocabulary = vocabulary
        self.floor = floor
        self._kernel: TargetKernel | None = None
        self._rule: Rule | None = None

    def extend(self, vocabulary: Vocabulary) -> None:
        """Take the names of a further screen in."""
        self.vocabulary = vocabulary

    def fit(self, task: Task) -> None:
        """Choose how conditions are compared, and make the rule."""
        self._kernel = task.judge.choose_kernel(
            self.floor.choose_kernel, task.trained, self.vocabulary.embeddings.mappings
        )
        if self.floor.is_tuned:
            logger.info("Chosen on %d conditions: %s", len(task.judge), self._kernel.settings)
        self.refit(task)

    def refit(self, task: Task) -> None:
        """Make the rule anew, comparing conditions as before."""
        self._rule = self.floor.make_rule(task.trained, self._fitted_kernel)

    def predict_effects(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray:
        """Expected effects of conditions, shape ``(n, G)``."""
        if self._rule is None:
            raise RuntimeError("Nothing was fitted yet. Run train() first.")
        return self._rule(targets, context)

    @property
    def _fitted_kernel(self) -> TargetKernel:
        if self._kernel is None:
            raise RuntimeError("Nothing was fitted yet. Run train() first.")
        return self._kernel

    def to_plain(self) -> tuple[Values, Arrays]:
        """Settings of the kernel; the rule is made again from the effects."""
        settings = None if self._kernel is None else asdict(self._kernel.settings)
        n_tables = 0 if self._kernel is None else len(self._kernel.embeddings)
        return {"kernel": settings, "n_tables": n_tables}, {}

    @classmethod
    def from_plain(
        cls, vocabulary: Vocabulary, effects: Effects | None, values: Values, floor: FloorRule
    ) -> Self:
        """Rebuild what :meth:`to_plain` returned."""
        method = cls(vocabulary, floor)
        if effects is not None:
            settings = values["kernel"] | {"embedding": tuple(values["kernel"]["embedding"])}
            tables = vocabulary.embeddings.mappings[: values["n_tables"]]
            method._kernel = TargetKernel(tables, KernelSettings(**settings))
            method._rule = floor.make_rule(effects, method._kernel)
        return method
