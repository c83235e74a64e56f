"""`train` of SCBIG."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scvi.train import Trainer

from scbig.data import make_controls, make_screen
from scbig.model.base import Fold, OutcomeMixin, choose_steps
from scbig.model.scbig._fit import Fit, FitSettings
from scbig.model.scbig._representation import RepresentationMixin
from scbig.model.scbig._state import extend_blueprint
from scbig.train import Hardware, join_histories, seeded


class TrainMixin(RepresentationMixin, OutcomeMixin):
    """Training, and continued training on further screens."""

    trainer: Trainer
    _model_summary_string: str

    def train(
        self,
        *,
        max_epochs: int | None = None,
        max_steps: int | None = None,
        validation: Sequence[str | Sequence[str]] | None = None,
        use_refit: bool = True,
        accelerator: str = "auto",
        devices: int | list[int] | str = "auto",
        use_progress_bar: bool = True,
    ) -> None:
        """Train the model, or continue to train it.

        Two stages: the autoencoder on all training cells, then the flow on pairs of control and
        perturbed cells, which stops by itself when held-out *conditions* are predicted no
        better. A model that was trained before keeps its autoencoder; its effects are joined
        with those of the present screen, and new targets and contexts are added.

        At the end the model, as it is before the refit, is compared with the baselines of
        :data:`scbig.baselines.FLOORS`, trained on the same conditions, by Pearson delta on the
        held-out conditions. The result is logged in one line and kept in ``comparison_``, which
        is ``None`` when no conditions were held out. Both sides have made choices on these
        conditions (the model when to stop, the regressions their settings), so that the figures
        flatter both; for others, predict conditions that took no part.

        Parameters
        ----------
        max_epochs
            Largest number of epochs of the autoencoder over all cells; by default the preset's
            budget.
        max_steps
            Largest number of steps of the flow; by default the preset's, or none where no
            condition is held out and the model has an anchor: an unchecked flow can do harm.
        validation
            Conditions to stop on; by default a tenth of the conditions, or none of fewer
            than ten. An empty list holds none out.
        use_refit
            Fit the anchor once more, on held-out conditions too, when all choices are made.
        accelerator, devices
            As scvi-tools takes them.
        use_progress_bar
            Show a progress bar.

        Raises
        ------
        ValueError
            When the model has no data, or a condition to stop on has no cells.
        """
        adata = self._get_adata(None)
        is_continued = self._anchor is not None
        expression = self._read(adata)
        screen = make_screen(adata.obs, self._schema, self._contexts)
        fold = Fold(expression, screen, self._get_validation(screen, validation))
        self._extend(fold, adata.obs)
        config = self._blueprint.config
        if max_steps is None:
            max_steps = choose_steps(config.flow_steps, fold, use_anchor=config.use_anchor)
        settings = FitSettings(
            max_epochs=0 if is_continued and max_epochs is None else max_epochs,
            max_steps=max_steps,
            use_refit=use_refit,
            seed=self._seed,
            hardware=Hardware(accelerator, devices, use_progress_bar),
        )
        earlier = self.history_ or {}  # scvi-tools overwrites it
        with seeded(self._seed):
            result = Fit(self, self._blueprint, fold, self._anchor, settings).run()
        self._anchor = result.anchor
        n_steps = self.trainer.global_step if settings.max_steps > 0 else 0
        self._record_outcome(join_histories(earlier, result.history), result.comparison, n_steps)

    def _extend(self, fold: Fold, obs: pd.DataFrame) -> None:
        """Make room for targets and contexts that are new, and keep some of their controls."""
        schema, rng = self._schema, np.random.default_rng(self._seed)
        columns = obs[[schema.perturbation_key, *schema.context_keys]]
        controls = make_controls(
            fold.expression, fold.screen, columns, self._genes, rng, known=self._contexts
        )
        self._blueprint = extend_blueprint(self._blueprint, fold.screen, controls)
        self._model_summary_string = self._blueprint.describe()
        sizes = self._blueprint.sizes
        self.module.condition.extend(sizes.n_targets, sizes.n_contexts)
