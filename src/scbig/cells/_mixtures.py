"""How do cells of a condition lie along its effect, beside mixtures of changed control cells?"""

from dataclasses import dataclass, replace

import numpy as np

from scbig.cells._counts import CellCounts, compute_log1p
from scbig.cells._gene_model import GeneModel, take_genes
from scbig.cells._sources import draw_strength, estimate_depth_error
from scbig.cells._transport import TransportedCells, transport_cells

# Shares of changed cells in the mixtures.
SHARES = np.linspace(0.2, 1.0, 9)
# Control cells that are changed, of the up to 2,000 that are looked at: fewer of deep ones.
_N_SOURCES, _MIN_SOURCES, _N_COUNTS = 500, 100, 500_000
# Cells of a condition, and genes of an axis, that are needed, and genes that are looked at.
MIN_CELLS = 60
_MIN_GENES, _MAX_GENES = 2, 50
# Standard errors by which the mean of a gene on the axis differs.
_MIN_T = 4.0
# The same, of a gene that counts for nothing where all genes are looked at.
_NOISE = 2.0
# A mean effect of less than so many standard deviations of control cells has no visible mixture.
_MIN_EFFECT = 0.5
# Width of kernels, in standard deviations of control cells at one cell.
_WIDTH = 0.7
# Standard errors by which the shape is to improve.
_MIN_GAIN = 1.0
# Share of the mean effect that may be lost for it.
_MAX_LOST = 0.05
# Share of cells that may lie anywhere.
_OUTLIERS = 0.01


@dataclass(frozen=True)
class HalfFit:
    """Cells of a condition along an axis that the other cells tell, against mixtures.

    Attributes
    ----------
    log_likelihood
        Of all cells, at each of ``SHARES``.
    distance
        Ranked probability score of each cell and share, both centred, ``(n_shares, n_cells)``.
    """

    log_likelihood: np.ndarray
    distance: np.ndarray


class MixtureControls:
    """Control cells, and those of them that are changed."""

    def __init__(self, controls: CellCounts, genes: GeneModel, rng: np.random.Generator) -> None:
        self.genes, self.found = genes, controls
        values = _compute_values(controls)
        self.mean, self.spread, self.n_cells = values.mean(axis=0), values.var(axis=0), len(values)
        self.rows = rng.permutation(self.n_cells)[:_N_SOURCES]

    def change(
        self,
        columns: np.ndarray,
        targets: np.ndarray,
        depths: np.ndarray,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Values of changed cells for each row of wanted means, ``(n_rows, n_cells, n_genes)``."""
        # As if genes were there several times: one transport is faster than many.
        tiled = np.tile(columns, len(targets))
        found, genes = take_genes(self.found, self.genes, tiled, tiled)
        # Depths and sizes are those of whole cells, whichever genes are looked at.
        found = replace(found, total=np.zeros(self.n_cells))
        is_dominant, reference = np.zeros(len(tiled), dtype=bool), float(self.found.depth.mean())
        genes = replace(genes, is_dominant=is_dominant, reference=reference)
        n_counts = found.counts.sum() / self.n_cells
        rows = self.rows[: int(np.clip(_N_COUNTS / max(n_counts, 1), _MIN_SOURCES, _N_SOURCES))]
        sources, new_depth = found.subset(rows), depths[rows]
        made = transport_cells(sources, genes, targets.ravel(), rng, new_depth=new_depth)
        shape = (len(rows), len(targets), len(columns))
        return made.values.toarray().reshape(shape).swapaxes(0, 1)

    def transport(
        self,
        target: np.ndarray,
        depths: np.ndarray,
        depth_error: float,
        strength: np.ndarray | None,
        rng: np.random.Generator,
    ) -> TransportedCells:
        """Make cells of all genes."""
        return transport_cells(
            self.found.subset(self.rows),
            self.genes,
            target,
            rng,
            new_depth=depths[self.rows],
            depth_error=depth_error,
            strength=strength,
        )


def is_nearer(gain: np.ndarray) -> bool:
    """Whether cells gain on average, beyond chance."""
    error = gain.std() / np.sqrt(len(gain))
    return bool(gain.mean() > _MIN_GAIN * error)


def compare_cells(
    found: CellCounts,
    controls: MixtureControls,
    depths: np.ndarray,
    share: float,
    rng: np.random.Generator,
) -> bool:
    """Whether cells of which a share responds are nearer to those of a condition, in their shape.

    The cells that are made have the mean of the condition. They are compared with each half of
    its cells, along the effect that the other half has.
    """
    values = _compute_values(found)
    target, strength = values.mean(axis=0), draw_strength(len(controls.rows), share, rng)
    error = estimate_depth_error(len(values))
    made = [controls.transport(target, depths, error, who, rng) for who in (None, strength)]
    lost = [float(np.linalg.norm(cells.missing)) for cells in made]
    if lost[1] > lost[0] + _MAX_LOST * np.linalg.norm(target - controls.mean):
        return False
    order, gain = rng.permutation(len(values)), []
    halves = values[order[::2]], values[order[1::2]]
    for telling, told in (halves, halves[::-1]):
        change, t = _measure_change(telling, controls)[:2]
        # Of the many genes whose change is chance, each would add its noise.
        axis = change * np.maximum(1 - (_NOISE / np.maximum(np.abs(t), _NOISE)) ** 2, 0)
        plain, mixed = (_rank_score(told @ axis, cells.values @ axis) for cells in made)
        gain.append(plain - mixed)
    return is_nearer(np.concatenate(gain))


def _compute_values(found: CellCounts) -> np.ndarray:
    values = compute_log1p(found.counts, found.depth, found.target_sum, found.base)
    return values.toarray().astype(np.float64)


def compare_halves(
    found: CellCounts, controls: MixtureControls, depths: np.ndarray, rng: np.random.Generator
) -> list[HalfFit]:
    """Compare both halves of a condition's cells with mixtures; none where these look alike."""
    n_cells = len(found.depth)
    if min(n_cells, controls.n_cells) < MIN_CELLS:
        return []
    values, order = _compute_values(found), rng.permutation(n_cells)
    first, second = values[order[::2]], values[order[1::2]]
    halves = [
        _compare_half(*pair, controls, depths, rng) for pair in ((first, second), (second, first))
    ]
    known = [half for half in halves if half is not None]
    return known if len(known) == 2 else []


def _compare_half(
    telling: np.ndarray,
    told: np.ndarray,
    controls: MixtureControls,
    depths: np.ndarray,
    rng: np.random.Generator,
) -> HalfFit | None:
    genes, effect, weight = _find_axis(telling, controls)
    if len(genes) < _MIN_GENES:
        return None
    mean = controls.mean[genes]
    along = (told[:, genes] - mean) @ weight
    # The effect is large by chance where the axis was found: its size is that of the other half.
    effect = effect * (along.mean() / (effect @ weight))
    targets = mean + np.concatenate([[0.0], 1 / SHARES])[:, None] * effect
    # No group has a mean that no cell has.
    targets = np.clip(targets, 0, np.maximum(telling.max(axis=0)[genes], mean))
    changed = (controls.change(genes, targets, depths, rng) - mean) @ weight
    scale = float(changed[0].std())
    if not along.mean() > _MIN_EFFECT * scale:
        return None
    own, others = changed[1:], changed[0]
    # Means are matched as well as the share allows; distances are those of shapes alone.
    pairs = list(zip(SHARES, own, strict=True))
    likelihood = [_log_likelihood(along, others, new, share, scale) for share, new in pairs]
    distance = [
        _rank_score(along, np.concatenate([others, new]), _weigh(others, new, share))
        for share, new in pairs
    ]
    return HalfFit(np.array(likelihood), np.array(distance))


def _measure_change(
    values: np.ndarray, controls: MixtureControls
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean change of each gene, over its standard error, and the variance of cells."""
    change = values.mean(axis=0) - controls.mean
    spread = np.maximum(values.var(axis=0, ddof=1), controls.spread)
    error = spread * (1 / len(values) + 1 / controls.n_cells)
    t = np.divide(change, np.sqrt(error), out=np.zeros(len(change)), where=error > 0)
    return change, t, spread


def _find_axis(
    values: np.ndarray, controls: MixtureControls
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Genes that surely change, their mean change, shrunk, and its weight by their noise."""
    change, t, spread = _measure_change(values, controls)
    order = np.argsort(-np.abs(t), kind="stable")[:_MAX_GENES]
    genes = np.sort(order[np.abs(t[order]) > _MIN_T])
    effect = change[genes] * (1 - 1 / t[genes] ** 2)
    return genes, effect, effect / spread[genes]


def _log_likelihood(
    along: np.ndarray, others: np.ndarray, new: np.ndarray, share: float, scale: float
) -> float:
    """Log-likelihood of cells under a mixture of two smoothed groups of cells."""
    width = _WIDTH * scale * len(others) ** -0.2
    density = (1 - share) * _smooth(along, others, width) + share * _smooth(along, new, width)
    return float(np.log((1 - _OUTLIERS) * density + _OUTLIERS / (20 * scale)).sum())


def _smooth(along: np.ndarray, cells: np.ndarray, width: float) -> np.ndarray:
    """Kernel density, of one width for all mixtures: or the narrowest would be the likeliest."""
    z = (along[:, None] - cells) / width
    return np.exp(-0.5 * z**2).mean(axis=1) / (width * np.sqrt(2 * np.pi))


def _weigh(others: np.ndarray, new: np.ndarray, share: float) -> np.ndarray:
    return np.repeat([(1 - share) / len(others), share / len(new)], [len(others), len(new)])


def _rank_score(
    along: np.ndarray, cells: np.ndarray, weight: np.ndarray | None = None
) -> np.ndarray:
    """Continuous ranked probability score of each cell, both sides centred."""
    if weight is None:
        weight = np.full(len(cells), 1 / len(cells))
    order = np.argsort(cells, kind="stable")
    cells, weight = cells[order], weight[order]
    cells = cells - weight @ cells
    y = along - along.mean()
    away = np.abs(y[:, None] - cells) @ weight
    below = np.cumsum(weight) - weight / 2
    # Half the mean distance of two of the cells, from their ranks.
    return away - weight @ (cells * (2 * below - 1))
