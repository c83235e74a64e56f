"""`train` of DualStreamMamba."""

from collections.abc import Sequence

from scvi.train import Trainer

from scbig.data import (
    make_screen,
)
from scbig.model.base import Fold, OutcomeMixin, choose_steps
from scbig.model.dualstream._fit import Fit, FitSettings
from scbig.model.dualstream._inference import InferenceMixin
from scbig.train import Hardware, join_histories, seeded


class TrainMixin(InferenceMixin, OutcomeMixin):
    """Training, and continued training."""

    trainer: Trainer

    def train(
        self,
        *,
        max_steps: int | None = None,
        validation: Sequence[str | Sequence[str]] | None = None,
        use_refit: bool = True,
        accelerator: str = "auto",
        devices: int | list[int] | str = "auto",
        use_progress_bar: bool = True,
    ) -> None:
        """Train the model, or continue to train it.

        The regression is fitted first. The networks then learn what it misses on training
        conditions that it was not shown, and stop when held-out *conditions* are predicted no
        better. They are kept only if they better the regression on these conditions by more than
        chance (Pearson delta, one-sided paired t-test, p < 0.05) without a larger squared error;
        otherwise the regression predicts alone, which is logged.
        Without an anchor (``use_anchor=False``) the networks always predict.

        A second call goes on from the present weights, and fits the regression to the present
        screen alone.

        At the end the model, as it is before the refit, is compared with the baselines of
        :data:`scbig.baselines.FLOORS`, trained on the same conditions, by Pearson delta on the
        held-out conditions. The result is logged in one line and kept in ``comparison_``, which
        is ``None`` when no conditions were held out. Both sides have made choices on these
        conditions, so that the figures flatter both.

        Parameters
        ----------
        max_steps
            Largest number of steps of the networks; by default that of the settings, or none
            where no condition is held out and the model has an anchor.
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
            When the model has no data, a condition to stop on has no cells, or the screen has
            contexts that the model was not made for.
        """
        adata = self._get_adata(None)
        screen = make_screen(adata.obs, self._schema, self._contexts)
        if new := screen.contexts[len(self._contexts) :]:
            raise ValueError(
                f"The model was made for the contexts {list(self._contexts)}; this screen has "
                f"{list(new)} too. Make a new model of it: {type(self).__name__}(adata)."
            )
        expression = self._read(adata)
        fold = Fold(expression, screen, self._get_validation(screen, validation))
        config = self._blueprint.config
        if max_steps is None:
            max_steps = choose_steps(config.n_steps, fold, use_anchor=config.use_anchor)
        settings = FitSettings(
            max_steps=max_steps,
            use_refit=use_refit,
            seed=self._seed,
            hardware=Hardware(accelerator, devices, use_progress_bar),
        )
        earlier = self.history_ or {}  # scvi-tools overwrites it
        with seeded(self._seed):
            result = Fit(self, self._blueprint, fold, settings).run()
        self._anchor, self._uses_networks = result.anchor, result.uses_networks
        n_steps = self.trainer.global_step if settings.max_steps > 0 else 0
        self._record_outcome(join_histories(earlier, result.history), result.comparison, n_steps)
