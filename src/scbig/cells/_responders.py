"""Which share of a condition's cells respond, told by how they lie along the effect's axis.

Some cells of a knock-out escape it, so that those that changed and those that did not make up
the mean effect together. Mixscape (Papalexi et al. 2021, doi:10.1038/s41588-021-00778-2) tells
them apart along the axis of the effect. Here the two groups are control cells: as they are, and
changed by count transport until the mixture has the mean of the condition. So the share is all
that is to be found, and that cells vary less where a gene is lost is no sign of it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import Akima1DInterpolator
from scipy.special import betaincinv

from scbig.cells._counts import CellCounts
from scbig.cells._gene_model import GeneModel
from scbig.cells._mixtures import (
    SHARES,
    HalfFit,
    MixtureControls,
    compare_cells,
    compare_halves,
    is_nearer,
)

Key = tuple[str, ...]

# Shares between those at which cells are compared.
_FINE = np.linspace(0.2, 1.0, 81)
_LEVELS = (0.05, 0.95)
# Standard error of a share because mixtures are drawn, and smoothed.
_ERROR = 0.045
# True shares of a screen vary at least so much, however alike the estimates are.
_MIN_SPREAD = 0.1
# Fewer responders that are given are not used.
_LEAST_USED = 0.1


@dataclass(frozen=True)
class Responders:
    """How many cells of a condition respond.

    Attributes
    ----------
    share
        Share of the cells.
    lower, upper
        Bounds of its 90% interval.
    is_used
        Whether cells are made with it; otherwise all of them respond.
    n_cells
        Number of cells that tell it; 0 where those of other conditions do.
    """

    share: float
    lower: float
    upper: float
    is_used: bool
    n_cells: int

    @property
    def used_share(self) -> float:
        """Share of the cells that are made to respond."""
        return self.share if self.is_used else 1.0


_UNKNOWN = Responders(1.0, float(_FINE[0]), 1.0, False, 0)


def fit_responders(
    cells: Iterable[tuple[Key, CellCounts]],
    controls: CellCounts,
    genes: GeneModel,
    depths: Callable[[Key], np.ndarray],
    rng: np.random.Generator,
) -> dict[Key, Responders]:
    """Estimate the share of the cells that respond, for all conditions of one context.

    The cells of a condition are divided in two. Either half tells the axis, the genes that change
    and how surely, along which the cells of the other are compared with mixtures of control cells
    and of control cells that are changed until the mixture has the mean of these cells. Shares are
    shrunk to that of those in use, by how certain each is. A share is used where cells that had
    no part in its estimate lie nearer to the mixture than to cells that all respond, by more than
    one standard error of the ranked probability score, after means are taken off: the energy
    distance along the axis. Then whole cells are made with it and without, which have to pass the
    same test along the effect of all genes, and to have the mean.

    Parameters
    ----------
    cells
        Conditions, and cells of each, all recovered. They are looked at one by one.
    controls
        Control cells.
    genes
        Mean and dispersion of genes.
    depths
        Tells the depth that each control cell has as a cell of a condition, ``(n_controls,)``.
    rng
        Divides cells, and draws control cells and their counts.

    Returns
    -------
    The responders of each condition. Where the effect is too weak to tell, the share is that of
    the screen, and is not used.
    """
    control = MixtureControls(controls, genes, rng)
    n_cells, likelihood, used = {}, {}, set()
    for key, found in cells:
        own = np.random.default_rng(rng.integers(2**63))
        n_cells[key], depth = len(found.depth), depths(key)
        halves = compare_halves(found, control, depth, own)
        if halves:
            likelihood[key] = _interpolate(halves)
            share = _measure(likelihood[key])[0]
            is_better = _is_better(halves) and compare_cells(found, control, depth, share, own)
            used |= {key} if is_better else set()
    prior = _fit_prior([known for key, known in likelihood.items() if key in used])
    return {
        key: _decide(likelihood.get(key), prior, n, is_used=key in used)
        for key, n in n_cells.items()
    }


def take_responders(is_responding: np.ndarray) -> Responders:
    """Take who responds as it is given.

    Parameters
    ----------
    is_responding
        Probability that each cell of a condition responds, in [0, 1], shape ``(n_cells,)``.

    Returns
    -------
    Their share, and the interval that Jeffreys' prior gives. It is used if it is at least 0.1:
    fewer cells cannot carry a mean effect.
    """
    n_cells, n_in = len(is_responding), float(np.sum(is_responding))
    share = n_in / n_cells
    lower, upper = betaincinv(n_in + 0.5, n_cells - n_in + 0.5, _LEVELS)
    return Responders(share, float(lower), float(upper), share >= _LEAST_USED, n_cells)


def expect_responders(known: Mapping[Key, Responders], condition: Key) -> Responders:
    """Expect how many cells of a condition respond.

    Parameters
    ----------
    known
        The responders of the conditions that were trained on, in the same context.
    condition
        The condition.

    Returns
    -------
    What is known of it. In a new combination a cell responds unless it escapes each target, as if
    it escaped each by itself: shares that escape multiply, of those that are used. A target that
    was not trained on takes the mean of those that could be told.
    """
    if condition in known:
        return known[condition]
    pooled = _pool(known.values())
    parts = [known.get((target,), pooled) for target in condition]
    share = 1 - float(np.prod([1 - part.used_share for part in parts]))
    lower = 1 - float(np.prod([1 - part.lower for part in parts]))
    upper = 1 - float(np.prod([1 - part.upper for part in parts]))
    return Responders(share, min(lower, share), max(upper, share), share < 1, 0)


def responders_to_plain(known: Mapping[Key, Responders]) -> tuple[list[list[str]], np.ndarray]:
    """Return conditions, and what is known of each, ``(n_conditions, 5)``."""
    rows = [[r.share, r.lower, r.upper, r.is_used, r.n_cells] for r in known.values()]
    return [list(key) for key in known], np.reshape(np.array(rows, dtype=np.float64), (-1, 5))


def responders_from_plain(
    conditions: Sequence[Sequence[str]], values: np.ndarray
) -> dict[Key, Responders]:
    """Rebuild what :func:`responders_to_plain` returned."""
    return {
        tuple(key): Responders(
            float(row[0]), float(row[1]), float(row[2]), bool(row[3]), int(row[4])
        )
        for key, row in zip(conditions, values, strict=True)
    }


def _interpolate(halves: list[HalfFit]) -> np.ndarray:
    """Log-likelihood of the shares between those that were compared.

    Cells tell how many of them respond. What share they were drawn with is less certain, and
    changed control cells are not quite what responders are.
    """
    coarse = np.sum([half.log_likelihood for half in halves], axis=0)
    values = Akima1DInterpolator(SHARES, coarse)(_FINE)
    n_cells = sum(half.distance.shape[1] for half in halves)
    width = np.sqrt(_FINE * (1 - _FINE) / n_cells + _ERROR**2)
    drawn = np.exp(-0.5 * ((_FINE[:, None] - _FINE) / width[:, None]) ** 2)
    drawn /= drawn.sum(axis=1, keepdims=True)
    return np.log(np.maximum(drawn @ np.exp(values - values.max()), np.finfo(float).tiny))


def _measure(log_density: np.ndarray) -> tuple[float, float]:
    """Mean and variance of a share."""
    p = np.exp(log_density - log_density.max())
    p /= p.sum()
    mean = float(p @ _FINE)
    return mean, float(p @ (_FINE - mean) ** 2)


def _fit_prior(likelihoods: list[np.ndarray]) -> np.ndarray | None:
    """Log-density of the shares of a screen: normal, with moments by DerSimonian and Laird."""
    if not likelihoods:
        return None
    mean, noise = np.array([_measure(one) for one in likelihoods]).T
    noise = noise + np.diff(_FINE)[0] ** 2
    weight = 1 / noise
    center = np.average(mean, weights=weight)
    free = weight.sum() - (weight**2).sum() / weight.sum()
    excess = weight @ (mean - center) ** 2 - (len(mean) - 1)
    spread = max(excess / free, 0.0) if free > 0 else 0.0
    spread = max(spread, _MIN_SPREAD**2)
    center = np.average(mean, weights=1 / (noise + spread))
    return -0.5 * (_FINE - center) ** 2 / spread


def _decide(
    likelihood: np.ndarray | None, prior: np.ndarray | None, n_cells: int, *, is_used: bool
) -> Responders:
    if prior is None and likelihood is None:
        return _UNKNOWN
    log_density = np.sum([one for one in (prior, likelihood) if one is not None], axis=0)
    p = np.exp(log_density - log_density.max())
    lower, upper = np.interp(_LEVELS, np.cumsum(p) / p.sum(), _FINE)
    n_told = 0 if likelihood is None else n_cells
    return Responders(_measure(log_density)[0], float(lower), float(upper), is_used, n_told)


def _is_better(halves: list[HalfFit]) -> bool:
    """Whether the share that one half tells improves the shape of the other."""
    gain = []
    for telling, told in (halves, halves[::-1]):
        share = _measure(_interpolate([telling]))[0]
        nearest = int(np.argmin(np.abs(SHARES - share)))
        gain.append(told.distance[-1] - told.distance[nearest])
    return is_nearer(np.concatenate(gain))


def _pool(known: Iterable[Responders]) -> Responders:
    """Take the mean of what is used, of all conditions whose share could be told."""
    told = [one for one in known if one.n_cells]
    if not told:
        return _UNKNOWN
    share = np.array([one.used_share for one in told])
    lower, upper = np.quantile(share, _LEVELS)
    return Responders(float(share.mean()), float(lower), float(upper), True, 0)
