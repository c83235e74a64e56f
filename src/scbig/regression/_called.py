"""Would a test on the cells call a gene changed, and in which direction?

A gene is called by Wilcoxon's rank-sum test against control cells, adjusted by Benjamini and
Hochberg (1995, doi:10.1111/j.2517-6161.1995.tb02031.x) in each condition. Whether it is depends on
its effect, and on how many cells there are: what is predicted is the call of a measurement like
those of the training conditions.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit, ndtr, ndtri
from scipy.stats import false_discovery_control, norm
from sklearn.linear_model import LogisticRegression

from scbig.data import Effects
from scbig.regression._shrinkage import compute_standard_error

FALSE_DISCOVERY_RATE = 0.05
# Genes of one condition are called or not together: all of them count as so many observations.
_N_WORTH = 3.0
# Conditions with the share of all genes, that the share of one gene starts from.
_N_PRIOR = 5.0
_MAX_ENTRIES = 200_000
_N_FEATURES = 6
_RARE = 1e-4


@dataclass(frozen=True, eq=False)
class CallModel:
    """Probability that a gene is called, from its expected effect and the error of that.

    Attributes
    ----------
    threshold
        Size of effects, in standard errors of measurements, beyond which genes are called,
        shape ``(1,)``.
    rate
        Share of conditions that a gene is called in, shape ``(n_genes,)``.
    weights
        Intercept and weights of the features, shape ``(7,)``.
    """

    threshold: np.ndarray
    rate: np.ndarray
    weights: np.ndarray

    def predict(
        self, mean: np.ndarray, error: np.ndarray, noise: np.ndarray, power: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities of being called up and down.

        Parameters
        ----------
        mean, error, noise
            Expected effects, the variance of the true ones about them, and that of measurements
            about these, shape ``(n, n_genes)``.
        power
            See :func:`compute_power`.
        """
        up, down = _compute_passing(mean, error, noise, power, self.threshold[0])
        features = _describe(up + down, mean, error, noise, power, self.rate)
        changed = expit(self.weights[0] + sum(map(np.multiply, self.weights[1:], features)))
        tiny = np.finfo(np.float64).tiny
        share = (up + tiny) / (up + down + 2 * tiny)
        return share * changed, (1 - share) * changed


def compute_power(effects: Effects) -> np.ndarray:
    """How large the rank-sum statistic is beside the mean difference in standard errors.

    scanpy's test does not correct for ties. Where a share p of cells is at zero, the variance that
    it divides by is too large by the factor ``1 / (1 - p**3)``. The share follows from mean and
    variance, as if all other cells had one value.

    Parameters
    ----------
    effects
        Effects of conditions.

    Returns
    -------
    Factor of each gene, in (0, 1], shape ``(n_genes,)``.
    """
    square = effects.get_control(effects.context).mean(axis=0, dtype=np.float64) ** 2
    total = square + effects.pooled_variance
    expressed = np.divide(square, total, out=np.zeros_like(total), where=total > 0)
    return np.sqrt(np.clip(1 - (1 - expressed) ** 3, 1e-6, 1))


def call_changed(effects: Effects) -> tuple[np.ndarray, np.ndarray]:
    """Call genes by their mean effects alone, nearly as a rank-sum test on the cells would.

    Parameters
    ----------
    effects
        Measured effects. Where their cells do not vary nothing is called.

    Returns
    -------
    Whether each gene is called, and the statistic it is called by, ``(n_groups, n_genes)`` each.
    """
    error = compute_standard_error(effects.pooled_variance, np.diag(effects.noise))
    size = np.divide(effects.delta, error, out=np.zeros_like(error), where=error > 0)
    size *= compute_power(effects)
    adjusted = false_discovery_control(2 * norm.sf(np.abs(size)), axis=1)
    return adjusted < FALSE_DISCOVERY_RATE, size


def find_threshold(is_called: np.ndarray, size: np.ndarray) -> float:
    """Size of the smallest effect that is called: the median of conditions with any."""
    least = np.where(is_called, np.abs(size), np.inf).min(axis=1)
    least = least[np.isfinite(least)]
    alone = norm.isf(FALSE_DISCOVERY_RATE / 2 / max(size.shape[1], 1))
    return float(np.median(least)) if len(least) else float(alone)


def fit_calls(
    mean: np.ndarray,
    error: np.ndarray,
    noise: np.ndarray,
    power: np.ndarray,
    is_called: np.ndarray,
    owner: np.ndarray,
    threshold: float,
) -> CallModel:
    """Fit to predictions that have not seen the conditions whose calls are to be predicted.

    Logistic regression on the probability that the measured effect passes the threshold if both
    errors are normal, the effect in standard errors, the size of all effects of the condition, how
    often the gene is called in other conditions, and the power of the test.

    Parameters
    ----------
    mean, error, noise, power
        As for :meth:`CallModel.predict`.
    is_called
        Whether the gene was called, shape ``(n, n_genes)``.
    owner
        Condition that each row is of, shape ``(n,)``: it may be predicted in several ways.
    threshold
        See :func:`find_threshold`.
    """
    apart, rate = _compute_rates(is_called, owner)
    up, down = _compute_passing(mean, error, noise, power, threshold)
    features = _describe(up + down, mean, error, noise, power, apart)
    step = -(-is_called.size // _MAX_ENTRIES)
    table = np.stack([one[:, ::step].ravel() for one in features], axis=1)
    weights = _fit_logistic(table, is_called[:, ::step].ravel(), len(np.unique(owner)))
    return CallModel(np.array([threshold]), rate, weights)


def _fit_logistic(features: np.ndarray, answer: np.ndarray, n_conditions: int) -> np.ndarray:
    """Intercept and weights for features ``(n, 6)``; the share alone where all answers agree."""
    if answer.all() or not answer.any():
        share = (answer.sum() + 0.5) / (len(answer) + 1)
        return np.concatenate([[logit(share)], np.zeros(_N_FEATURES)])
    centre, scale = features.mean(axis=0), features.std(axis=0)
    scale[scale < 1e-9] = 1
    strength = _N_WORTH * n_conditions / len(answer)
    model = LogisticRegression(C=strength).fit((features - centre) / scale, answer)
    slopes = model.coef_[0] / scale
    return np.concatenate([model.intercept_ - slopes @ centre, slopes])


def _compute_passing(
    mean: np.ndarray, error: np.ndarray, noise: np.ndarray, power: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that the statistic passes the threshold, upwards and downwards."""
    expected, spread = _standardise(mean, error, noise, power)
    return ndtr((expected - threshold) / spread), ndtr((-expected - threshold) / spread)


def _standardise(
    mean: np.ndarray, error: np.ndarray, noise: np.ndarray, power: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the statistic of a measurement to come."""
    noise = np.maximum(noise, np.finfo(np.float32).tiny)
    return power * mean / np.sqrt(noise), np.sqrt(1 + power**2 * error / noise)


def _describe(
    passing: np.ndarray,
    mean: np.ndarray,
    error: np.ndarray,
    noise: np.ndarray,
    power: np.ndarray,
    rate: np.ndarray,
) -> list[np.ndarray]:
    """Features of the logistic regression, ``(n, n_genes)`` each."""
    expected, spread = _standardise(mean, error, noise, power)
    margin = ndtri(np.clip(passing, 1e-6, 1 - 1e-6))
    certain = np.abs(mean) / np.sqrt(np.maximum(error + noise, np.finfo(np.float32).tiny))
    size = np.log(np.mean(expected**2 + spread**2 - 1, axis=1, keepdims=True) + 0.1)
    common = np.broadcast_arrays(size, logit(rate), np.log(power), mean)[:3]
    return [margin, margin**2, certain, *common]


def _compute_rates(is_called: np.ndarray, owner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of conditions that call each gene: of all others for each row, and of all."""
    _, first, place = np.unique(owner, return_index=True, return_inverse=True)
    calls = is_called[first].astype(np.float64)
    total, prior = calls.sum(axis=0), _N_PRIOR * calls.mean()
    apart = (total - calls + prior) / (len(calls) - 1 + _N_PRIOR)
    rate = (total + prior) / (len(calls) + _N_PRIOR)
    return np.clip(apart[place], _RARE, 1 - _RARE), np.clip(rate, _RARE, 1 - _RARE)
