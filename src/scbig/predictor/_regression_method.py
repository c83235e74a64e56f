"""The regression of effects as a method: alone, or as what networks are anchored on."""

import logging
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from scbig._types import Arrays, Values
from scbig.data import Effects, Targets
from scbig.predictor._judge import score_effects
from scbig.predictor._method import Method
from scbig.predictor._training import Task
from scbig.predictor._vocabulary import Vocabulary
from scbig.regression import (
    Anchor,
    Confidence,
    Denoising,
    KernelSettings,
    TargetKernel,
    UnseenAnchor,
    anchor_as_unseen,
    choose_kernel,
)

logger = logging.getLogger(__name__)


class RegressionMethod(Method):
    """Expects effects by :class:`~scbig.regression.DenoisedRegression`.

    Parameters
    ----------
    vocabulary
        Names that the predictor knows, and embeddings of targets.
    denoising
        Parts of the regression.
    """

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
        logger.info("Regression of effects: %s", kernel.settings)
        self._fit_anchor(task, kernel)

    def refit(self, task: Task) -> None:
        """Fit the regression on all conditions, with the kernel chosen before."""
        self._fit_anchor(task, self.anchor.kernel)

    def _fit_anchor(self, task: Task, kernel: TargetKernel) -> None:
        features = self.compute_features(task)
        genes = self.vocabulary.genes
        self._anchor = Anchor(task.trained, kernel, genes, self.denoising, features)

    def compute_features(self, task: Task) -> np.ndarray | None:
        """Further effects of the groups of ``task.trained`` to regress, ``(n_groups, n)``."""
        return None

    def anchor_groups(self, task: Task) -> list[UnseenAnchor]:
        """Expected effects of the training groups of this screen, each as if it were unseen."""
        rng = np.random.default_rng(task.seed)
        unseen = anchor_as_unseen(self.anchor, task.judge.targets, rng)
        return [one.take_last(len(task.measured)) for one in unseen]

    def predict_effects(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray:
        """Expected effects of conditions, shape ``(n, G)``."""
        return self.anchor.predict(targets, context)

    def calibrate(self, task: Task) -> None:
        """Learn what predictions of left-out training conditions score."""
        self._confidence = Confidence.calibrate(self.anchor.regression, score_effects)

    def get_confidence(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray | None:
        """Expected ``pearson_delta`` of the expected effects, in [0, 1]."""
        if self._confidence is None:
            return None
        return self._confidence.predict(targets, context)

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
        return values, arrays

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
