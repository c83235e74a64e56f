"""`train` of the baselines, and what each of them fills in."""

import logging
from abc import abstractmethod
from dataclasses import replace
from typing import ClassVar

import numpy as np

from scbig.baselines._inference import InferenceMixin
from scbig.baselines._kernel import KernelSettings, TargetKernel
from scbig.baselines._rule import Embeddings, Rule
from scbig.baselines._state import State
from scbig.data import (
    Effects,
    Expression,
    Perturbations,
    Targets,
    compute_effects,
    get_matrix,
    make_screen,
)
from scbig.splits import choose_validation

logger = logging.getLogger(__name__)


class TrainMixin(InferenceMixin):
    """Makes a rule from the effects of the training conditions."""

    #: Whether something is chosen on validation conditions.
    is_tuned: ClassVar[bool] = False

    @staticmethod
    @abstractmethod
    def _make_rule(effects: Effects, kernel: TargetKernel) -> Rule:
        """Return the rule that these training conditions make.

        ``kernel`` is what :meth:`_choose_kernel` chose.
        """

    @staticmethod
    def _choose_kernel(
        trained: Effects, held_out: Effects, embeddings: Embeddings
    ) -> TargetKernel:
        """Choose how conditions are compared, on held-out ones, of which there may be none."""
        return TargetKernel((), KernelSettings())

    def _set_state(self, state: State) -> None:
        self._state = state
        if state.effects is not None:
            self._rule = self._make_rule(state.effects, state.kernel)

    def train(self, *, validation: Perturbations | None = None, use_refit: bool = True) -> None:
        """Compute the mean effect of every condition, and choose settings if there are any.

        Parameters
        ----------
        validation
            Conditions to choose settings on. By default a tenth of the conditions, or none of
            fewer than ten; and none where there is nothing to choose.
        use_refit
            Learn from the validation conditions too, once all is chosen.

        Raises
        ------
        ValueError
            When there are no data, a validation condition has no cells, or none is left.
        """
        adata = self._get_adata(None)
        screen = make_screen(adata.obs, self._schema, self._contexts)
        effects = compute_effects(Expression(get_matrix(adata, self._schema.layer)), screen)
        trained, held_out = self._hold_out(effects, validation)
        kernel = self._choose_kernel(trained, held_out, self._state.embeddings)
        if self.is_tuned:
            logger.info("%s: %s", self.default_key, kernel.settings)
        effects = effects if use_refit else trained
        self._set_state(replace(self._state, effects=effects, settings=kernel.settings))

    def _hold_out(
        self, effects: Effects, validation: Perturbations | None
    ) -> tuple[Effects, Effects]:
        """Divide effects into those to train on and those to choose on."""
        chosen = self._get_validation(effects, validation)
        is_held_out = np.array([group in chosen for group in effects.targets], dtype=bool)
        if is_held_out.all():
            raise ValueError(
                f"{len(chosen)} of {len(set(effects.targets))} conditions are held out for "
                "validation; none is left to train on."
            )
        return effects.subset(~is_held_out), effects.subset(is_held_out)

    def _get_validation(self, effects: Effects, validation: Perturbations | None) -> set[Targets]:
        if validation is None:
            rng = np.random.default_rng(self._state.seed)
            known = sorted(set(effects.targets))
            return set(choose_validation(known, rng)) if self.is_tuned else set()
        schema = self._schema
        validation = [validation] if isinstance(validation, str) else validation
        labels = [v if isinstance(v, str) else schema.join(list(v)) for v in validation]
        held_out = {schema.parse(label): label for label in labels}
        if unknown := [held_out[t] for t in held_out if t not in effects.targets]:
            raise ValueError(
                f"{len(unknown)} validation condition(s) have no cells: {unknown[:5]}."
            )
        return set(held_out)
