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
_N_WORTH = 10.0
# Conditions with the share of all genes, that the share of one gene starts from.
_N_PRIOR = 5.0
_MAX_ENTRIES = 200_000
_N_FEATURES = 6
_RARE = 1e-4
# Where to look for the factor of the power, and how often to halve.
_FACTORS = (0.3, 3.0)
_N_HALVINGS = 12


@dataclass(frozen=True, eq=False)
class CallModel:
    """Probability that a gene is called, from its expected effect and the error of that.

    Attributes
    ----------
    power
        Power of the test for each gene, see :func:`compute_power`, ``(n_genes,)``.
    threshold
        Size of the statistic beyond which genes are called, shape ``(1,)``.
    rate
        Share of conditions that a gene is called in, shape ``(n_genes,)``.
    coefficients
        Intercept and weights of the features of being called, shape ``(7,)``.
    direction
        Intercept, and weight of the log odds that normal errors give the direction of a call,
        shape ``(2,)``. Rank tests call falls more readily than rises of the same mean.
    """

    power: np.ndarray
    threshold: np.ndarray
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
        test = _Test(mean, error, noise, self.power, self.threshold[0])
        features = test.describe(self.rate)
        changed = expit(
            self.coefficients[0] + sum(map(np.multiply, self.coefficients[1:], features))
        )
        share = expit(self.direction[0] + self.direction[1] * test.direction)
        return share * changed, (1 - share) * changed


class _Test:
    """The statistic of a measurement to come, if all errors are normal.

    It has the mean ``expected`` and the standard deviation ``spread``, ``(n, n_genes)``.
    """

    def __init__(
        self,
        mean: np.ndarray,
        error: np.ndarray,
        noise: np.ndarray,
        power: np.ndarray,
        threshold: float,
    ) -> None:
        noise = np.maximum(noise, np.finfo(np.float32).tiny)
        self.certain = np.abs(mean) / np.sqrt(error + noise)
        self.expected = power * mean / np.sqrt(noise)
        self.spread = np.sqrt(1 + power**2 * error / noise)
        self.power, self.threshold = power, threshold

    @property
    def direction(self) -> np.ndarray:
        """Log odds of being called up and not down, nearly."""
        return np.clip(2 * self.threshold * self.expected / self.spread**2, -30, 30)

    def describe(self, rate: np.ndarray) -> list[np.ndarray]:
        """Features of the logistic regression, ``(n, n_genes)`` each."""
        sides = (self.expected, -self.expected)
        passing = sum(ndtr((side - self.threshold) / self.spread) for side in sides)
        margin = ndtri(np.clip(passing, 1e-6, 1 - 1e-6))
        square = self.expected**2 + self.spread**2 - 1
        size = np.log(np.mean(square, axis=1, keepdims=True) + 0.1)
        common = np.broadcast_arrays(size, logit(rate), np.log(self.power), margin)[:3]
        return [margin, margin**2, self.certain, *common]


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


@dataclass(frozen=True, eq=False)
class MeanTest:
    """Calls genes by their mean effects alone, nearly as a rank-sum test on the cells would.

    Attributes
    ----------
    power
        Power of the test for each gene, ``(n_genes,)``.
    threshold
        Size of the statistic of the weakest gene that is called, the median of conditions.
    """

    power: np.ndarray
    threshold: float = np.nan

    def compute_statistic(self, effects: Effects) -> np.ndarray:
        """Effects in standard errors times the power; 0 where cells do not vary."""
        error = compute_standard_error(effects.pooled_variance, np.diag(effects.noise))
        size = np.divide(effects.delta, error, out=np.zeros_like(error), where=error > 0)
        return self.power * size

    def match_threshold(self, statistic: np.ndarray) -> tuple["MeanTest", np.ndarray]:
        """Return the test with the threshold of other measurements, and what it calls there."""
        is_called = call_genes(statistic)
        return MeanTest(self.power, find_threshold(statistic, is_called)), is_called


def call_genes(statistic: np.ndarray) -> np.ndarray:
    """Whether each gene is called in each condition, by statistics ``(n_groups, n_genes)``."""
    adjusted = false_discovery_control(2 * norm.sf(np.abs(statistic)), axis=1)
    return adjusted < FALSE_DISCOVERY_RATE


def match_test(effects: Effects, is_called: np.ndarray | None) -> tuple[MeanTest, np.ndarray]:
    """Make a test that calls as many genes as the test of the cells did, where this was made.

    Parameters
    ----------
    effects
        Measured effects.
    is_called
        Whether cells call each gene, ``(n_groups, n_genes)``; -1 in conditions not tested.

    Returns
    -------
    The test, and the calls of all conditions, by the cells where they are known.
    """
    power = compute_power(effects)
    statistic = MeanTest(power).compute_statistic(effects)
    calls = call_genes(statistic)
    if is_called is not None:
        is_tested = (np.asarray(is_called) >= 0).all(axis=1)
        answers = np.asarray(is_called)[is_tested] == 1
        factor = _match_number(statistic[is_tested], answers.sum()) if answers.any() else 1.0
        power, statistic = factor * power, factor * statistic
        calls = call_genes(statistic)
        calls[is_tested] = answers
    return MeanTest(power, find_threshold(statistic, calls)), calls


def find_threshold(statistic: np.ndarray, is_called: np.ndarray) -> float:
    """Size of the weakest gene that is called: the median of conditions with any."""
    least = np.where(is_called, np.abs(statistic), np.inf).min(axis=1)
    least = least[np.isfinite(least)]
    alone = norm.isf(FALSE_DISCOVERY_RATE / 2 / max(statistic.shape[1], 1))
    return float(np.median(least) if len(least) else alone)


def _match_number(statistic: np.ndarray, n_called: int) -> float:
    """Factor of the statistic by which so many genes are called."""
    low, high = _FACTORS
    for _ in range(_N_HALVINGS):
        middle = np.sqrt(low * high)
        is_more = call_genes(middle * statistic).sum() > n_called
        low, high = (low, middle) if is_more else (middle, high)
    return float(np.sqrt(low * high))


def fit_calls(
    predicted: tuple[np.ndarray, np.ndarray, np.ndarray],
    mean_test: MeanTest,
    is_called: np.ndarray,
    is_up: np.ndarray,
    owner: np.ndarray,
) -> CallModel:
    """Fit to predictions that have not seen the conditions whose calls are to be predicted.

    Logistic regression on the probability that the measured effect passes the threshold if both
    errors are normal, the effect in standard errors, the size of all effects of the condition, how
    often the gene is called in other conditions, and the power of the test.

    Parameters
    ----------
    predicted
        Mean, error and noise as for :meth:`CallModel.predict`.
    mean_test
        How genes are called.
    is_called, is_up
        Whether the gene was called, and whether its measured effect is positive,
        ``(n, n_genes)``.
    owner
        Condition that each row is of, shape ``(n,)``: it may be predicted in several ways.
    """
    apart, rate = _compute_rates(is_called, owner)
    test = _Test(*predicted, mean_test.power, mean_test.threshold)
    step = -(-is_called.size // _MAX_ENTRIES)
    table = np.stack([one[:, ::step].ravel() for one in test.describe(apart)], axis=1)
    n_conditions = len(np.unique(owner))
    coefficients = _fit_logistic(table, is_called[:, ::step].ravel(), n_conditions)
    direction = _fit_direction(test.direction[is_called], is_up[is_called])
    threshold = np.array([mean_test.threshold])
    return CallModel(mean_test.power, threshold, rate, coefficients, direction)


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
