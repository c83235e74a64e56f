"""How much of a measured effect is to be believed, gene by gene?"""

import numpy as np

# Prior variances of effects, in those of their noise; what is not there at all comes first.
_VARIANCES = np.concatenate([[0.0], 2.0 ** np.arange(-4, 11)])
# Sizes of effects, in standard errors, at which the posterior is tabulated.
_SIZES = np.concatenate([np.arange(0, 8, 0.05), 8 * 1.05 ** np.arange(80)])
# Genes of all conditions that count as much as the own ones of a condition.
_N_POOLED = 20.0
_N_ROUNDS = 50
# Genes that hardly vary have at least this share of the mean variance.
_LEAST_VARIANCE = 1e-3
# What a condition keeps at least, of what all conditions together would, or of everything.
_LEAST_KEPT = 0.2, 0.01


def compute_standard_error(variance: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Compute standard errors of measured effects.

    Parameters
    ----------
    variance
        Variance of cells within conditions, shape ``(n_genes,)``.
    noise
        Variance of the effect of each condition where that of cells is 1, ``(n_conditions,)``.

    Returns
    -------
    Standard errors, positive unless no gene varies, shape ``(n_conditions, n_genes)``.
    """
    floored = np.maximum(variance, _LEAST_VARIANCE * variance.mean())
    return np.sqrt(np.outer(noise, floored))


def shrink(effect: np.ndarray, standard_error: np.ndarray) -> np.ndarray:
    """Shrink measured effects by how large the effects of their condition are beside the noise.

    Adaptive shrinkage (Stephens 2017, doi:10.1093/biostatistics/kxw041): effects are drawn from a
    mixture of normal distributions about zero, in units of their standard errors, whose weights
    are those under which the measured ones are likeliest. Each condition has weights of its own,
    with those of all conditions as the prior. So a condition without any effect goes to zero, and
    of one with many the large ones stay as they are.

    Parameters
    ----------
    effect
        Measured effects, shape ``(n_conditions, n_genes)``.
    standard_error
        Their standard errors, positive, of the same shape.

    Returns
    -------
    Posterior means.
    """
    return compute_posterior(effect, standard_error)[0]


def compute_posterior(
    effect: np.ndarray, standard_error: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Means and variances of the effects that :func:`shrink` believes in, in its shapes."""
    # Without any noise, all is believed.
    size = np.full(effect.shape, _SIZES[-1])
    np.divide(np.abs(effect), standard_error, out=size, where=standard_error > 0)
    size = np.minimum(size, _SIZES[-1])
    likelihood = _compute_likelihood()
    counts = np.stack([_count_sizes(row) for row in size])
    everywhere = np.full(len(_VARIANCES), 1 / len(_VARIANCES))
    pooled = _fit_weights(counts.sum(axis=0)[None], likelihood, everywhere, 0.0)[0]
    weights = _fit_weights(counts, likelihood, pooled, _N_POOLED)
    # Share that is kept at each size: mean over the normals, by how likely each is there.
    share = _VARIANCES / (1 + _VARIANCES)
    kept, square = ((weights * one) @ likelihood.T for one in (share, share**2))
    total = weights @ likelihood.T
    kept, square = kept / total, square / total
    # A normal by itself leaves the variance `share`; its mean differs from those of the others.
    variance = kept + _SIZES**2 * (square - kept**2)
    gain, left = (
        np.stack([np.interp(row, _SIZES, one) for row, one in zip(size, table, strict=True)])
        for table in (kept, variance)
    )
    return gain * effect, np.maximum(left, 0) * standard_error**2


def shrink_evenly(effect: np.ndarray, standard_error: np.ndarray) -> np.ndarray:
    """Shrink all measured effects of a condition by one factor, and keep their direction.

    The factor is the share of their squared length that is not noise (James & Stein 1961).
    Where effects are too weak to be told from noise one by one, as :func:`shrink` does, this is
    what is left to do.

    Parameters
    ----------
    effect, standard_error
        As for :func:`shrink`.

    Returns
    -------
    Shrunk effects.
    """
    noise, size = (np.sum(x**2, axis=1) for x in (standard_error, effect))
    noise, size = np.append(noise, noise.sum()), np.append(size, size.sum())
    *kept, everywhere = 1 - np.divide(noise, size, out=np.ones_like(size), where=size > 0)
    share, least = _LEAST_KEPT
    return np.maximum(kept, max(share * everywhere, least))[:, None] * effect


def _compute_likelihood() -> np.ndarray:
    """Likelihood of each size under each normal, up to a factor, ``(n_sizes, n_variances)``."""
    total = 1 + _VARIANCES
    log = -0.5 * (np.log(total) + _SIZES[:, None] ** 2 / total)
    return np.exp(log - log.max(axis=1, keepdims=True))


def _count_sizes(size: np.ndarray) -> np.ndarray:
    """Number of genes about each of the tabulated sizes."""
    middle = (_SIZES[1:] + _SIZES[:-1]) / 2
    return np.bincount(np.searchsorted(middle, size), minlength=len(_SIZES)).astype(np.float64)


def _fit_weights(
    counts: np.ndarray, likelihood: np.ndarray, prior: np.ndarray, n_prior: float
) -> np.ndarray:
    """Weights of the mixture in each row of ``counts``, by expectation-maximisation."""
    weights = np.tile(prior, (len(counts), 1))
    for _ in range(_N_ROUNDS):
        share = counts / (weights @ likelihood.T)
        weights = weights * (share @ likelihood) + n_prior * prior
        weights /= weights.sum(axis=1, keepdims=True)
    return weights
