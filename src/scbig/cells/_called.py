"""Would a test on the cells call a gene changed, and in which direction?

A gene is called by Wilcoxon's rank-sum test against control cells, adjusted by Benjamini and
Hochberg (1995, doi:10.1111/j.2517-6161.1995.tb02031.x) in each condition. Whether it is depends on
its effect, and on how many cells there are: what is predicted is the call of a measurement like
those of the training conditions.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, log_ndtr, logit, ndtr, ndtri
from scipy.stats import false_discovery_control, norm
from sklearn.linear_model import LogisticRegression

FALSE_DISCOVERY_RATE = 0.05
# Genes of one condition are called or not together: all of them count as so many observations.
_N_WORTH = 10.0
# Conditions with the share of all genes, that the share of one gene starts from.
_N_PRIOR = 5.0
_MAX_ENTRIES = 200_000
_N_FEATURES = 6
# Those that mean the same whatever the number of cells.
_N_MARGIN = 2
_RARE = 1e-4
# Where to look for the factor of the power, and how often to halve.
_FACTORS = (0.3, 3.0)
_N_HALVINGS = 12
# Genes that tell the threshold of a condition.
_MAX_GENES = 500


@dataclass(frozen=True, eq=False)
class CallModel:
    """Probability that a gene is called, from its expected effect and the error of that.

    Attributes
    ----------
    power
        Power of the test for each gene, see :func:`compute_power`, ``(n_genes,)``.
    rate
        Share of conditions that a gene is called in, shape ``(n_genes,)``.
    coefficients
        Intercept and weights of the features of being called, shape ``(7,)``.
    direction
        Intercept, and weight of the log odds that normal errors give the direction of a call,
        shape ``(2,)``. Rank tests call falls more readily than rises of the same mean.
    """

    power: np.ndarray
    rate: np.ndarray
    coefficients: np.ndarray
    direction: np.ndarray

    def predict(
        self, mean: np.ndarray, error: np.ndarray, noise: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities of being called up and down.

        Parameters
        ----------
        mean, error, noise
            Expected effects, the variance of the true ones about them, and that of measurements
            about these, shape ``(n, n_genes)``.
        """
        test = _Test(mean, error, noise, self.power)
        features = test.describe(self.rate)
        changed = expit(
            self.coefficients[0] + sum(map(np.multiply, self.coefficients[1:], features))
        )
        share = expit(self.direction[0] + self.direction[1] * test.direction)
        return share * changed, (1 - share) * changed


class _Test:
    """The statistic of a measurement to come, if all errors are normal.

    It has the mean ``expected`` and the standard deviation ``spread``, ``(n, n_genes)``. Genes are
    called where it passes ``threshold (n, 1)``, which is the lower the more genes pass it.
    """

    def __init__(
        self, mean: np.ndarray, error: np.ndarray, noise: np.ndarray, power: np.ndarray
    ) -> None:
        noise = np.maximum(noise, np.finfo(np.float32).tiny)
        self.certain = np.abs(mean) / np.sqrt(error + noise)
        self.expected = power * mean / np.sqrt(noise)
        self.spread = np.sqrt(1 + power**2 * error / noise)
        self.power = power
        self.threshold = self._find_threshold()

    def _find_threshold(self) -> np.ndarray:
        """Where the share of p-values below is that rate of those that are expected to pass."""
        n_genes = self.expected.shape[1]
        step = -(-n_genes // _MAX_GENES)
        expected, spread = self.expected[:, ::step], self.spread[:, ::step]
        low = np.full((len(expected), 1), norm.isf(FALSE_DISCOVERY_RATE / 2))
        high = np.full((len(expected), 1), norm.isf(FALSE_DISCOVERY_RATE / 2 / n_genes))
        for _ in range(_N_HALVINGS):
            middle = (low + high) / 2
            passing = _compute_passing(expected, spread, middle).mean(axis=1, keepdims=True)
            is_enough = 2 * norm.sf(middle) <= FALSE_DISCOVERY_RATE * passing
            low, high = np.where(is_enough, low, middle), np.where(is_enough, middle, high)
        return high

    @property
    def direction(self) -> np.ndarray:
        """Log odds of passing the threshold above and not below, of those that pass it."""
        above = log_ndtr((self.expected - self.threshold) / self.spread)
        below = log_ndtr((-self.expected - self.threshold) / self.spread)
        return np.clip(above - below, -30, 30)

    def describe(self, rate: np.ndarray) -> list[np.ndarray]:
        """Features of the logistic regression, ``(n, n_genes)`` each."""
        passing = _compute_passing(self.expected, self.spread, self.threshold)
        margin = ndtri(np.clip(passing, 1e-6, 1 - 1e-6))
        square = self.expected**2 + self.spread**2 - 1
        size = np.log(np.mean(square, axis=1, keepdims=True) + 0.1)
        common = np.broadcast_arrays(size, logit(rate), np.log(self.power), margin)[:3]
        return [margin, margin**2, self.certain, *common]


def _compute_passing(
    expected: np.ndarray, spread: np.ndarray, threshold: np.ndarray
) -> np.ndarray:
    """Probability that statistics pass a threshold, to either side."""
    return ndtr((expected - threshold) / spread) + ndtr((-expected - threshold) / spread)


def compute_power(control_mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """How large the rank-sum statistic is beside the mean difference in standard errors.

    scanpy's test does not correct for ties. Where a share p of cells is at zero, the variance that
    it divides by is too large by the factor ``1 / (1 - p**3)``. The share follows from mean and
    variance, as if all other cells had one value.

    Parameters
    ----------
    control_mean
        Mean log1p expression of each gene in control cells, ``(n_genes,)``.
    variance
        Its variance in cells of one condition, in the same shape.

    Returns
    -------
    Factor of each gene, in (0, 1], shape ``(n_genes,)``.
    """
    square = np.square(control_mean, dtype=np.float64)
    total = square + variance
    expressed = np.divide(square, total, out=np.zeros_like(total), where=total > 0)
    return np.sqrt(np.clip(1 - (1 - expressed) ** 3, 1e-6, 1))


def call_genes(statistic: np.ndarray) -> np.ndarray:
    """Whether each gene is called in each condition, by statistics ``(n_groups, n_genes)``."""
    adjusted = false_discovery_control(2 * norm.sf(np.abs(statistic)), axis=1)
    return adjusted < FALSE_DISCOVERY_RATE


def match_calls(statistic: np.ndarray, is_called: np.ndarray | None) -> tuple[float, np.ndarray]:
    """Find the factor at which statistics call as many genes as the cells do, if that is known.

    Parameters
    ----------
    statistic
        Mean effects in standard errors times the power of the test, ``(n_groups, n_genes)``.
    is_called
        Whether cells call each gene, in the same shape; -1 in conditions not tested.

    Returns
    -------
    The factor, and the calls of all conditions, by the cells where they are known. If cells call
    no gene, the factor is the largest up to 1 that calls none; 1 if no condition was tested.
    """
    if is_called is None:
        return 1.0, call_genes(statistic)
    is_tested = (np.asarray(is_called) >= 0).all(axis=1)
    answers = np.asarray(is_called)[is_tested] == 1
    factor = _match_number(statistic[is_tested], answers.sum()) if len(answers) else 1.0
    # Weak conditions that call nothing are no sign of a stronger test.
    factor = factor if answers.any() else min(factor, 1.0)
    calls = call_genes(factor * statistic)
    calls[is_tested] = answers
    return factor, calls


def _match_number(statistic: np.ndarray, n_called: int) -> float:
    """Largest factor of the statistic by which no more genes are called."""
    low, high = _FACTORS
    for _ in range(_N_HALVINGS):
        middle = np.sqrt(low * high)
        is_more = call_genes(middle * statistic).sum() > n_called
        low, high = (low, middle) if is_more else (middle, high)
    return float(low)


def fit_calls(
    predicted: tuple[np.ndarray, np.ndarray, np.ndarray],
    power: np.ndarray,
    is_called: np.ndarray,
    is_up: np.ndarray,
    owner: np.ndarray,
    *,
    is_level: bool = True,
) -> CallModel:
    """Fit to predictions that have not seen the conditions whose calls are to be predicted.

    Logistic regression on the probability that the measured effect passes the threshold if both
    errors are normal, the effect in standard errors, the size of all effects of the condition, how
    often the gene is called in other conditions, and the power of the test.

    Parameters
    ----------
    predicted
        Mean, error and noise as for :meth:`CallModel.predict`.
    power
        Power of the test for each gene.
    is_called, is_up
        Whether the gene was called, and whether its measured effect is positive,
        ``(n, n_genes)``.
    owner
        Condition that each row is of, shape ``(n,)``: it may be predicted in several ways.
    is_level
        Whether there are as many cells as there will be. With other numbers of cells, all but the
        first two features mean something else, and are left out.
    """
    apart, rate = _compute_rates(is_called, owner)
    test = _Test(*predicted, power)
    step = -(-is_called.size // _MAX_ENTRIES)
    features = test.describe(apart)[: None if is_level else _N_MARGIN]
    table = np.stack([one[:, ::step].ravel() for one in features], axis=1)
    n_conditions = len(np.unique(owner))
    coefficients = _fit_logistic(table, is_called[:, ::step].ravel(), n_conditions)
    direction = _fit_direction(test.direction[is_called], is_up[is_called])
    missing = np.zeros(_N_FEATURES - len(features))
    return CallModel(power, rate, np.concatenate([coefficients, missing]), direction)


def _fit_logistic(features: np.ndarray, answer: np.ndarray, n_conditions: int) -> np.ndarray:
    """Intercept and weights for features ``(n, k)``; the share alone where all answers agree."""
    if answer.all() or not answer.any():
        share = (answer.sum() + 0.5) / (len(answer) + 1)
        return np.concatenate([[logit(share)], np.zeros(features.shape[1])])
    centre, scale = features.mean(axis=0), features.std(axis=0)
    scale[scale < 1e-9] = 1
    strength = _N_WORTH * n_conditions / len(answer)
    model = LogisticRegression(C=strength).fit((features - centre) / scale, answer)
    slopes = model.coef_[0] / scale
    return np.concatenate([model.intercept_ - slopes @ centre, slopes])


def _fit_direction(log_odds: np.ndarray, is_up: np.ndarray) -> np.ndarray:
    """Intercept and weight of log odds under which the directions of calls are likeliest."""
    if is_up.all() or not is_up.any():
        return np.array([0.0, 1.0])
    step = -(-len(is_up) // _MAX_ENTRIES)
    model = LogisticRegression().fit(log_odds[::step, None], is_up[::step])
    return np.array([model.intercept_[0], max(model.coef_[0, 0], 0)])


def _compute_rates(is_called: np.ndarray, owner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of conditions that call each gene: of all others for each row, and of all."""
    _, first, place = np.unique(owner, return_index=True, return_inverse=True)
    calls = is_called[first].astype(np.float64)
    total, prior = calls.sum(axis=0), _N_PRIOR * calls.mean()
    apart = (total - calls + prior) / (len(calls) - 1 + _N_PRIOR)
    rate = (total + prior) / (len(calls) + _N_PRIOR)
    return np.clip(apart[place], _RARE, 1 - _RARE), np.clip(rate, _RARE, 1 - _RARE)
