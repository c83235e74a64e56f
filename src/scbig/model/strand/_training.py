"""`train` of STRAND."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from scvi.train import Trainer

from scbig.data import (
    Targets,
    compute_group_means,
    join_controls,
    make_controls,
    make_screen,
)
from scbig.model.base import Fold
from scbig.model.strand._fit import FitSettings, fit
from scbig.model.strand._io import StateMixin
from scbig.model.strand._state import compute_control_mean
from scbig.model.strand._validation import choose_validation_loci
from scbig.train import Hardware, join_histories, seeded


class TrainMixin(StateMixin):
    """Training, and continued training on further screens."""

    trainer: Trainer

    def train(
        self,
        *,
        max_locus_steps: int | None = None,
        max_steps: int | None = None,
        validation: Sequence[str | Sequence[str]] | None = None,
        use_refit: bool = True,
        accelerator: str = "auto",
        devices: int | list[int] | str = "auto",
        use_progress_bar: bool = True,
    ) -> None:
        """Train the model, or continue to train it.

        Two stages: the encoder of loci with a regression on the mean effects of conditions, then
        the bridge on pairs of control and perturbed cells. The first stops when held-out loci
        are predicted no better, the second when the bridges of their cells are. A model that was
        trained before keeps its latent space.

        At the end the regression is compared with the floors on the held-out loci; see
        ``comparison_``. They chose when training stopped, which flatters the model.

        Parameters
        ----------
        max_locus_steps, max_steps
            Largest numbers of steps of the two stages; by default those of the settings.
        validation
            Conditions to stop on; by default a tenth of the genes, each with all of its loci and
            whatever overlaps them, or none of fewer than ten. An empty list holds none out.
        use_refit
            For the protocol of all models: STRAND has no closed form to fit once more.
        accelerator, devices
            As scvi-tools takes them.
        use_progress_bar
            Show a progress bar.

        Raises
        ------
        ValueError
            When the model has no data, a perturbation has no locus, or a condition to stop on
            has no cells.
        """
        adata = self._get_adata(None)
        expression = self._read(adata)
        screen = make_screen(adata.obs, self._schema, self._contexts)
        for targets in screen.conditions:
            self._check_known(targets)
        fold = Fold(expression, screen, self._get_validation(screen, validation))
        self._extend(fold, adata.obs)
        config = self._blueprint.config
        settings = FitSettings(
            locus_steps=config.locus_steps if max_locus_steps is None else max_locus_steps,
            bridge_steps=config.bridge_steps if max_steps is None else max_steps,
            use_latent=self.is_trained_,
            seed=self._seed,
            hardware=Hardware(accelerator, devices, use_progress_bar),
        )
        earlier = self.history_ or {}  # scvi-tools overwrites it
        with seeded(self._seed):
            result = fit(self, self._blueprint, fold, settings)
        self._confidence = result.confidence
        history = join_histories(earlier, result.history)
        self._record_outcome(history, result.comparison, result.n_steps)

    def _extend(self, fold: Fold, obs: pd.DataFrame) -> None:
        """Make room for contexts that are new, and keep some of their controls."""
        schema, blueprint, screen = self._schema, self._blueprint, fold.screen
        columns, rng = [schema.perturbation_key, *schema.context_keys], np.random.default_rng(0)
        controls = make_controls(
            fold.expression, screen, obs[columns], self._genes, rng, known=blueprint.contexts
        )
        groups = [screen.get_controls(i) for i in range(len(screen.contexts))]
        means = compute_group_means(fold.expression, groups)
        self._blueprint = replace(
            blueprint,
            contexts=screen.contexts,
            controls=join_controls(blueprint.controls, controls),
            control_mean=compute_control_mean(means, blueprint.control_mean),
        )
        self.module.extend_contexts(len(screen.contexts))

    def _choose_validation(self, conditions: Sequence[Targets]) -> Sequence[Targets]:
        rng = np.random.default_rng(self._seed)
        return choose_validation_loci(self._blueprint, conditions, rng)
