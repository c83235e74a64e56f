"""What a model brings of its own: a method, such as the regression of effects."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from copy import copy, deepcopy
from dataclasses import asdict, replace
from typing import Any, Self, TypeVar

import numpy as np

from scbig._types import Arrays, Values
from scbig.data import Effects, Targets
from scbig.metrics import score_effects
from scbig.predictor._judge import CellMover, EffectMover, Task
from scbig.predictor._vocabulary import Vocabulary
from scbig.regression import (
    Anchor,
    Confidence,
    Denoising,
    EffectErrors,
    EffectForecast,
    KernelSettings,
    TargetKernel,
    UnseenAnchor,
    anchor_as_unseen,
    choose_kernel,
    choose_particular,
)

logger = logging.getLogger(__name__)

Config = TypeVar("Config")


class Method(ABC):
    """Learns effects of conditions from effects of conditions, and may add networks to that.

    A model hands one to :class:`~scbig.predictor.BasePredictor`, which does all else. Subclasses
    implement ``fit``, ``predict_effects`` and ``to_plain``; those with networks override the
    second half too.
    """

    #: Torch module of the networks, where there are any.
    module: Any = None
    #: Largest number of network steps by default; 0 without networks.
    n_steps: int = 0
    #: Whether effects are expected without the networks, which are then kept only where they help.
    is_anchored: bool = True
    #: Whether networks that were trained before go on to hold when :meth:`fit` runs again.
    keeps_networks: bool = True
    #: Whether anchored networks have to pass tests, for means and for shapes.
    use_gate: bool = True
    #: Whether cells are made that have the expected expression as their mean; otherwise the mover
    #: hands cells out.
    makes_cells: bool = True
    #: Control cells of each context that the networks are scored on.
    n_validation_cells: int = 64

    @abstractmethod
    def fit(self, task: Task) -> None:
        """Learn the effects of the training conditions; settings may be chosen by the judge.

        Parameters
        ----------
        task
            What to learn from.
        """

    @abstractmethod
    def predict_effects(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray:
        """Expected effects of conditions, shape ``(n, G)``, in log1p units.

        Parameters
        ----------
        targets
            Target set of each condition, length ``n``.
        context
            Context of each condition, shape ``(n,)``; numbers that are not known are new contexts.
        """

    def refit(self, task: Task) -> bool:
        """Learn once more from all conditions, with settings chosen before; whether it did.

        Parameters
        ----------
        task
            The same screen, with nothing held out.
        """
        return False

    def extend(self, vocabulary: Vocabulary) -> None:
        """Take the names of a further screen in.

        Parameters
        ----------
        vocabulary
            Names of all screens so far.
        """

    def copy(self) -> Self:
        """Return what training leaves as it is: networks of its own.

        All else is replaced by training and never changed in place.
        """
        twin = copy(self)
        twin.module = deepcopy(self.module)
        return twin

    def release(self) -> None:
        """Forget what was needed for training alone."""

    def describe(self) -> str:
        """Say in a few words what the method is made of."""
        return ""

    # --- networks ----------------------------------------------------------------------------

    def fit_networks(self, task: Task, n_steps: int) -> None:
        """Train the networks for at most so many steps, on top of :meth:`fit`.

        Parameters
        ----------
        task
            What to learn from.
        n_steps
            Largest number of steps.
        """

    def make_trial(self) -> "Method | None":
        """Return a fitted method with cheaper networks, which have to gain something first.

        Returns
        -------
        The method, which shares the regression; ``None`` where networks are trained at once.
        """
        return None

    def make_mover(
        self, targets: Sequence[Targets], context: np.ndarray, control_mean: np.ndarray
    ) -> CellMover:
        """Prepare conditions to carry cells to, with the networks where there are any.

        Parameters
        ----------
        targets, context
            As for :meth:`predict_effects`.
        control_mean
            Mean of the control cells of the context of each, shape ``(n, G)``.
        """
        return EffectMover(self.predict_effects(targets, context), control_mean)

    def make_shaper(self, targets: Sequence[Targets], context: np.ndarray) -> CellMover | None:
        """Prepare to tell how cells of conditions differ from their mean; ``None`` if it cannot.

        Parameters
        ----------
        targets, context
            As for :meth:`predict_effects`.

        Returns
        -------
        Called as a mover is; what it returns is the difference of each cell from the mean change,
        whose average over the cells is 0.
        """
        return None

    # --- confidence and errors ---------------------------------------------------------------

    def calibrate(self, task: Task) -> None:
        """Prepare :meth:`get_confidence` and :meth:`get_errors`, when all else is fitted.

        Parameters
        ----------
        task
            What was learned from, and the judge of what was held out.
        """

    def get_confidence(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray | None:
        """Expected score of conditions, in [0, 1], shape ``(n,)``; ``None`` without any.

        Parameters
        ----------
        targets, context
            As for :meth:`predict_effects`.
        """
        return None

    def get_errors(self, targets: Sequence[Targets], context: np.ndarray) -> EffectForecast | None:
        """Errors of the expected effects; ``None`` where they are not known.

        Parameters
        ----------
        targets, context
            As for :meth:`predict_effects`.
        """
        return None

    def draw_effects(
        self,
        targets: Sequence[Targets],
        context: np.ndarray,
        n_draws: int,
        rng: np.random.Generator,
    ) -> np.ndarray | None:
        """Draw effects as they may be, ``(n_draws, n, G)``; ``None`` without errors.

        Parameters
        ----------
        targets, context
            As for :meth:`predict_effects`.
        n_draws
            Number of draws of each.
        rng
            Draws them.
        """
        return None

    # --- saving ------------------------------------------------------------------------------

    @abstractmethod
    def to_plain(self) -> tuple[Values, Arrays]:
        """Values for JSON, and arrays, that the method is rebuilt from."""


class RegressionMethod(Method):
    """Expects effects by :class:`~scbig.regression.DenoisedRegression`.

    Parameters
    ----------
    vocabulary
        Names that the predictor knows, and embeddings of targets.
    denoising
        Parts of the regression.
    """

    # Models that were pickled before there were errors lack it.
    _errors: EffectErrors | None = None

    def __init__(self, vocabulary: Vocabulary, denoising: Denoising) -> None:
        self.vocabulary = vocabulary
        self.denoising = denoising
        self._anchor: Anchor | None = None
        self._confidence: Confidence | None = None

    @property
    def anchor(self) -> Anchor:
        """The fitted regression.

        Raises
        ------
        RuntimeError
            When nothing was fitted yet.
        """
        if self._anchor is None:
            raise RuntimeError("Nothing was fitted yet. Run train() first.")
        return self._anchor

    def extend(self, vocabulary: Vocabulary) -> None:
        """Take the names of a further screen in."""
        self.vocabulary = vocabulary

    def fit(self, task: Task) -> None:
        """Choose a kernel by the evidence of the training conditions, and fit the regression."""
        kernel = choose_kernel(task.measured, self.vocabulary.embeddings.mappings)
        if self.denoising.use_measured and (halves := task.halve()):
            kernel = choose_particular(halves, kernel, self.vocabulary.genes, self.denoising)
        shown = replace(kernel.settings, particular=round(kernel.settings.particular, 2))
        logger.debug("Regression of effects: %s", shown)
        self._fit_anchor(task, kernel)

    def refit(self, task: Task) -> bool:
        """Fit the regression on all conditions, with the kernel chosen before."""
        self._fit_anchor(task, self.anchor.kernel)
        return True

    def _fit_anchor(self, task: Task, kernel: TargetKernel) -> None:
        features = self.compute_features(task)
        genes = self.vocabulary.genes
        self._anchor = Anchor(task.trained, kernel, genes, self.denoising, features)

    def compute_features(self, task: Task) -> np.ndarray | None:
        """Further effects of the groups of ``task.trained`` to regress, ``(n_groups, n)``.

        Parameters
        ----------
        task
            What to learn from.
        """
        return None

    def anchor_groups(self, task: Task) -> list[UnseenAnchor]:
        """Expected effects of the training groups of this screen, each as if it were unseen.

        Parameters
        ----------
        task
            What to learn from.
        """
        rng = np.random.default_rng(task.seed)
        unseen = anchor_as_unseen(self.anchor, task.judge.targets, rng)
        return [one.take_last(len(task.measured)) for one in unseen]

    def predict_effects(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray:
        """Expected effects of conditions, shape ``(n, G)``."""
        return self.anchor.predict(targets, context)

    def calibrate(self, task: Task) -> None:
        """Learn what predictions of left-out training conditions score, and how far they err."""
        regression = self.anchor.regression
        self._confidence = Confidence.calibrate(regression, score_effects)
        halves = task.halve() if self.denoising.use_measured else []
        # Networks that predict without the regression have errors of their own.
        self._errors = None
        if self.is_anchored:
            self._errors = EffectErrors.calibrate(regression, halves, task.call_genes())

    def get_confidence(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray | None:
        """Expected ``pearson_delta`` of the expected effects, in [0, 1]."""
        if self._confidence is None:
            return None
        return self._confidence.predict(targets, context)

    def get_errors(self, targets: Sequence[Targets], context: np.ndarray) -> EffectForecast | None:
        """Errors of the expected effects, and the probabilities of a rise and a fall."""
        return None if self._errors is None else self._errors.predict(targets, context)

    def draw_effects(
        self,
        targets: Sequence[Targets],
        context: np.ndarray,
        n_draws: int,
        rng: np.random.Generator,
    ) -> np.ndarray | None:
        """Draw effects about the expected ones, ``(n_draws, n, G)``."""
        errors = self._errors
        return None if errors is None else errors.draw(targets, context, n_draws, rng)

    def to_plain(self) -> tuple[Values, Arrays]:
        """Values and arrays of the fitted regression, beside the effects it was fitted on."""
        values: Values = {"denoising": asdict(self.denoising), "kernel": None}
        arrays: Arrays = {}
        if self._anchor is not None:
            values["kernel"] = asdict(self._anchor.kernel.settings)
            if self._anchor.features is not None:
                arrays["features"] = self._anchor.features
        if self._confidence is not None:
            arrays["confidence"] = self._confidence.weights
        return values, arrays if self._errors is None else arrays | self._errors.to_plain()

    def restore(self, effects: Effects | None, values: Values, arrays: Arrays) -> None:
        """Take back what :meth:`to_plain` returned.

        Parameters
        ----------
        effects
            Effects that the regression was fitted on; ``None`` before training.
        values, arrays
            What was saved.
        """
        if effects is None or values["kernel"] is None:
            return
        settings = values["kernel"] | {"embedding": tuple(values["kernel"]["embedding"])}
        kernel = TargetKernel(self.vocabulary.embeddings.mappings, KernelSettings(**settings))
        features, genes = arrays.get("features"), self.vocabulary.genes
        self._anchor = Anchor(effects, kernel, genes, self.denoising, features)
        if "confidence" in arrays:
            self._confidence = Confidence(self._anchor.regression, arrays["confidence"])
        if any(name.startswith("errors.") for name in arrays):
            self._errors = EffectErrors.from_plain(self._anchor.regression, arrays)
        elif self.is_anchored:
            logger.info(
                "This model was saved without errors of its effects: predict_effects() tells none "
                "until it is trained again."
            )


def choose_preset(
    preset: str | Config, presets: Mapping[str, Config], config_class: type[Config]
) -> Config:
    """Return the settings of a preset by its name, or the settings that are given."""
    if isinstance(preset, config_class):
        return preset
    if not isinstance(preset, str) or preset not in presets:
        raise ValueError(
            f"preset={preset!r} is unknown. Choose one of {list(presets)}, "
            f"or give a {config_class.__name__}."
        )
    return presets[preset]
