"""How large are the errors of predictions, by what is known beforehand, and what do they share?"""

from dataclasses import dataclass, replace

import numpy as np
from scipy import linalg
from scipy.optimize import nnls

# Conditions that the trend over expression counts as much as.
_N_TREND = 5.0
_TREND_SHARE = 0.05
_N_ROUNDS = 8
_MAX_ENTRIES = 500_000
_MAX_FACTORS = 16
# The share of the variance of a gene that it has in common with others is no larger.
_MAX_COMMON = 0.95
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of n conditions before they are measured.

    Attributes
    ----------
    mean
        Expected effects, ``(n, n_genes)``.
    spread
        Variance that the kernel leaves open, ``(n,)``.
    shares
        How much of the error of each control mean is in the prediction, ``(n, n_contexts)``.
    measured
        Of training conditions that are predicted by their cells, the variance that these leave
        open, and the squared distance that measured effects were shrunk, ``(2, n, n_genes)``.
    """

    mean: np.ndarray
    spread: np.ndarray
    shares: np.ndarray
    measured: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class ErrorModel:
    """Errors of one kind of request.

    Attributes
    ----------
    scale
        Mean squared error of each gene, shrunk to its trend over expression, ``(n_genes,)``.
    weights
        Weights of the parts of the variance, ``(n_parts,)``.
    loadings
        What errors of genes have in common, in their standard deviations,
        ``(n_genes, n_factors)``.
    widest
        Largest spread of the examples, shape ``(1,)``. Where the kernel leaves more open, as in
        contexts of which nothing was learned, all of the variance grows in proportion, once.
    largest
        Largest mean square of the examples' effects, in units of ``scale``, shape ``(1,)``. Errors
        of larger effects are taken to be as large as there: no example tells how they grow.
    """

    scale: np.ndarray
    weights: np.ndarray
    loadings: np.ndarray
    widest: np.ndarray
    largest: np.ndarray

    def get_variance(self, known: Known) -> np.ndarray:
        """Variance of true effects about expected ones, ``(n, n_genes)``."""
        excess = _compute_size(known.mean, self.scale) / np.maximum(self.largest, _TINY)
        mean = known.mean / np.sqrt(np.maximum(excess, 1))
        within = replace(known, mean=mean, spread=np.minimum(known.spread, self.widest))
        variance = _add_up(self.weights, _list_parts(within, self.scale))
        beyond = known.spread / np.maximum(self.widest, _TINY)
        return variance * np.maximum(beyond, 1)[:, None]


def make_posterior_model(n_genes: int) -> ErrorModel:
    """Errors of measured conditions as the posterior has them."""
    weights, loadings = np.array([1.0, 0.0]), np.zeros((n_genes, 0))
    return ErrorModel(np.ones(n_genes), weights, loadings, np.ones(1), np.ones(1))


def fit_errors(
    known: Known,
    residual: np.ndarray,
    noise: np.ndarray,
    owner: np.ndarray,
    expression: np.ndarray,
) -> ErrorModel:
    """Fit to predictions that have not seen what they are compared with.

    Parameters
    ----------
    known
        What was known of the conditions.
    residual
        Measured less expected effects, ``(n, n_genes)``.
    noise
        Variance of the errors of measurement in it, in its shape.
    owner
        Condition that each row is of, ``(n,)``: it may be predicted in several ways.
    expression
        Mean expression of the genes, ``(n_genes,)``.
    """
    excess = residual**2 - noise
    apart, scale = _compute_scale(excess, owner, expression)
    parts = _list_parts(known, apart)
    n_conditions = len(np.unique(owner))
    # Few conditions cannot tell the parts from each other.
    n_fitted = len(parts) if n_conditions > len(parts) else 1
    # Errors of one condition go together: conditions are what the weights are learned from.
    n_free = max(n_conditions - n_fitted, n_conditions / 2)
    weights = np.zeros(len(parts))
    weights[:n_fitted] = _fit_weights(parts[:n_fitted], excess, noise) * n_conditions / n_free
    variance = _add_up(weights, parts)
    # Each condition once, or what its rows have in common would seem common to all.
    first = np.unique(owner, return_index=True)[1]
    loadings = _find_common(residual[first], variance[first], noise[first])
    largest = _compute_size(known.mean, scale).max(keepdims=True)[0]
    return ErrorModel(scale, weights, loadings, known.spread.max(keepdims=True), largest)


def _list_parts(known: Known, scale: np.ndarray) -> list[np.ndarray]:
    """Parts of the variance, whose sum is taken with weights; ``(n, n_genes)`` each."""
    if known.measured is not None:
        return list(known.measured)
    square = known.mean**2
    typical = np.broadcast_to(scale, square.shape)
    return [
        typical,
        known.spread[:, None] * scale,
        _compute_size(known.mean, scale) * scale,
        square,
        np.abs(known.mean) * np.sqrt(scale),
    ]


def _compute_size(mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Mean square of the effects of each condition, in units of the scale, ``(n, 1)``."""
    return np.mean(mean**2 / scale, axis=1, keepdims=True)


def _add_up(weights: np.ndarray, parts: list[np.ndarray]) -> np.ndarray:
    return np.sum([weight * part for weight, part in zip(weights, parts, strict=True)], axis=0)


def _compute_scale(
    excess: np.ndarray, owner: np.ndarray, expression: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean excess of each gene: for each row by all other conditions, and by all."""
    _, place, n_rows = np.unique(owner, return_inverse=True, return_counts=True)
    sums = np.zeros((len(n_rows), excess.shape[1]))
    np.add.at(sums, place, excess)
    total, n_others = sums.sum(axis=0), len(n_rows) - 1
    order = np.argsort(expression, kind="stable")
    scale = _shrink_to_trend(total / len(owner), n_others + 1, order)
    if not n_others:
        apart = _shrink_to_trend(total / len(owner), 0, order)[None]
    else:
        others = (total - sums) / (len(owner) - n_rows)[:, None]
        apart = np.stack([_shrink_to_trend(one, n_others, order) for one in others])
    return apart[place], scale


def _shrink_to_trend(mean: np.ndarray, n: int, order: np.ndarray) -> np.ndarray:
    """Mean over n conditions, shrunk to those of genes that are next in order; positive."""
    mean = np.maximum(mean, 0)
    reach = max(int(_TREND_SHARE * len(mean)), 5)
    total = np.concatenate([[0.0], np.cumsum(mean[order])])
    place = np.arange(len(mean))
    start, stop = np.maximum(place - reach, 0), np.minimum(place + reach + 1, len(mean))
    trend = np.empty(len(mean))
    trend[order] = (total[stop] - total[start]) / (stop - start)
    trend = np.maximum(trend, 1e-3 * trend.mean() + _TINY)
    return (n * mean + _N_TREND * trend) / (n + _N_TREND)


def _fit_weights(parts: list[np.ndarray], excess: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Fit non-negative weights by quasi-likelihood: squares vary as their squared mean."""
    step = -(-excess.size // _MAX_ENTRIES)
    table = np.stack([part[:, ::step].ravel() for part in parts], axis=1)
    answer, noise = (array[:, ::step].ravel() for array in (excess, noise))
    variance = np.full(len(answer), max(answer.mean(), _TINY))
    weights = np.zeros(len(parts))
    for _ in range(_N_ROUNDS):
        scaled = table / np.maximum(variance + noise, _TINY)[:, None] ** 2
        gram, cross = scaled.T @ table, scaled.T @ answer
        size = np.sqrt(np.diag(gram))
        size[size == 0] = 1
        gram = gram / np.outer(size, size) + 1e-9 * np.eye(len(size))
        factor = linalg.cholesky(gram, lower=True)
        target = linalg.solve_triangular(factor, cross / size, lower=True)
        weights = nnls(factor.T, target)[0] / size
        variance = table @ weights
    return weights


def _find_common(residual: np.ndarray, variance: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Loadings of the genes on what their errors have in common, beyond the noise.

    Principal components of standardised residuals that stand out of what independent ones would
    have, each with the variance that is left of it at the best rotation (spiked covariance:
    Donoho, Gavish & Johnstone 2018, doi:10.1214/17-AOS1601). Errors of measurement thin
    correlations out, which is undone.
    """
    (n_rows, n_genes), total = residual.shape, np.maximum(variance + noise, _TINY)
    standard = residual / np.sqrt(total)
    size = np.sqrt(np.mean(standard**2, axis=0))
    standard = standard / np.where(size > 0, size, 1)
    aspect = n_genes / n_rows
    _, values, vectors = linalg.svd(standard, full_matrices=False)
    stands_out = values**2 / n_rows > (1 + np.sqrt(aspect)) ** 2 + 1e-9
    stands_out[_MAX_FACTORS:] = False
    level = values[stands_out] ** 2 / n_rows + 1 - aspect
    spike = (level + np.sqrt(level**2 - 4 * (level - 1 + aspect))) / 2 - 1
    spike *= np.maximum(1 - aspect / spike**2, 0) / (1 + aspect / spike)
    loadings = vectors[stands_out].T * np.sqrt(spike)
    loadings /= np.sqrt(np.maximum(np.mean(variance / total, axis=0), 0.1))[:, None]
    common = (loadings**2).sum(axis=1, keepdims=True)
    return loadings * np.sqrt(_MAX_COMMON / np.maximum(common, _MAX_COMMON))
