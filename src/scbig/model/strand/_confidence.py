"""How well STRAND can be expected to predict a condition."""

from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import Ridge

from scbig._types import Arrays

# Weak: a dozen conditions outweigh it.
_PENALTY = 1.0
_LEAST_CONDITIONS = 8
_TINY = 1e-3


@dataclass(frozen=True, eq=False)
class Confidence:
    """Expected ``pearson_delta``, calibrated on the held-out conditions.

    What the regression scored on conditions that it was not trained on, regressed on the size
    of the effect that it predicts. These conditions chose when training stopped, which flatters
    it a little; a condition that was trained on is judged as if it had not been.

    Attributes
    ----------
    coefficients
        Intercept, slope, and the limits of the sizes that it was calibrated on, shape ``(4,)``.
    """

    coefficients: np.ndarray

    @classmethod
    def fit(cls, predicted: np.ndarray, scores: np.ndarray) -> "Confidence | None":
        """Calibrate.

        Parameters
        ----------
        predicted
            Predicted effects of held-out conditions, shape ``(n, G)``.
        scores
            What they scored, shape ``(n,)``.

        Returns
        -------
        The calibration; ``None`` for fewer than 8 conditions, from which there is no telling.
        """
        if len(scores) < _LEAST_CONDITIONS:
            return None
        size = _measure(predicted)
        spread = max(float(size.std()), _TINY)
        model = Ridge(alpha=_PENALTY).fit((size / spread)[:, None], scores)
        slope = float(model.coef_[0]) / spread
        limits = size.min(), size.max()
        return cls(np.array([model.intercept_, slope, *limits], dtype=np.float64))

    def predict(self, predicted: np.ndarray) -> np.ndarray:
        """Expected score of predicted effects ``(n, G)``, in [0, 1], shape ``(n,)``."""
        intercept, slope, least, most = self.coefficients
        # Beyond what was seen a line would promise anything.
        size = _measure(predicted).clip(least, most)
        return np.clip(intercept + slope * size, 0, 1)

    def to_arrays(self) -> Arrays:
        """Return what to save."""
        return {"confidence": self.coefficients}


def _measure(predicted: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(np.sqrt(np.mean(np.square(predicted), axis=1)), _TINY))
