"""Cells of all groups of a query, made of its control cells."""

import logging
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy import sparse

from scbig._console import show_steps
from scbig.cells import (
    CellCounts,
    ContextModel,
    GeneModel,
    ScreenModel,
    bound_target,
    draw_sources,
    draw_strength,
    expect_responders,
    find_most,
    find_offset,
    move_cells,
    renew_cells,
    take_genes,
    transport_cells,
    widen_genes,
)
from scbig.data._control_pools import ControlPool, MadeCells, hand_out, read_pools, take_dense
from scbig.data._expression import GeneMatch
from scbig.data._query import Query
from scbig.data._write import Prediction, announce_size
from scbig.labels import (
    Targets,
)

logger = logging.getLogger(__name__)

# Fewer control cells of a known context do not tell its mean.
MIN_CONTROLS = 20
# Mean log1p expression from which on the fall of a gene is more than chance.
_EXPRESSED = 0.5
COUNTS, VALUES = "counts", "values"
_WITHOUT_COUNTS = (
    "Cells are made without counts: of %.0f%% of the training cells could they be told from the "
    "expression, as is so after denoising, correction or scaling. Values of control cells are "
    "scaled, or drawn for their zeros; uns says that cells are 'values'. For cells with counts, "
    "set up the screen with them: setup_anndata(adata, counts_layer='...')"
)


class MeanChange(Protocol):
    """Expected mean change of control cells towards one group of a query."""

    def __call__(self, x: np.ndarray, group: int) -> np.ndarray:
        """Predict it, shape ``(n_genes,)``, given control cells ``(n, n_genes)``."""


class CellShape(Protocol):
    """Expected differences between the cells of one group of a query."""

    def __call__(self, x: np.ndarray, group: int) -> np.ndarray:
        """Predict them, shape ``(n, n_genes)``, given the control cells ``(n, n_genes)``."""


@dataclass(frozen=True)
class Wanted:
    """What cells are to be.

    Attributes
    ----------
    targets
        Condition of each group of the query, as the model was trained on it.
    change
        Predicts the mean change towards a group.
    control_mean
        Mean control expression in the screen of each group's context, NaN for new contexts,
        shape ``(n_groups, n_genes)``.
    is_own
        Whether the control cells are those that travel with the model, and not other data, which
        tell their own mean.
    expected
        Expression of genes that the query lacks, shape ``(n_genes,)``.
    seed
        Seed, from which each condition and context has a generator of its own.
    deviate
        Returns by how much each draw of a group's change differs from the expected one, shape
        ``(n_draws, n_genes)``; ``None`` where changes are not drawn.
    shape
        Predicts by how much each cell of a group is above or below their mean; ``None`` where
        control cells tell that alone.
    """

    targets: Sequence[Targets]
    change: MeanChange
    control_mean: np.ndarray
    is_own: bool
    expected: np.ndarray
    seed: int
    deviate: Callable[[int], np.ndarray] | None = None
    shape: CellShape | None = None


@dataclass(frozen=True)
class _Genes:
    """Where the genes that query and model share stand in the one, and in the other."""

    columns: np.ndarray
    of_model: np.ndarray


def make_cells(query: Query, match: GeneMatch, model: ScreenModel, wanted: Wanted) -> Prediction:
    """Make the cells of each condition and context of a query.

    Their mean expression is that of the control cells of the context and the expected change;
    see :func:`scbig.cells.transport_cells`. Where counts cannot be had, values are moved by
    :func:`scbig.cells.move_cells`.

    Parameters
    ----------
    query, match
        As for :func:`scbig.data.predict_query`. Genes that the model does not know keep the mean
        of the control cells, and have the depth of the cells that are made; where they have no
        counts, they keep the values of the source cell.
    model
        What is known of the screen's counts.
    wanted
        What cells are to be.

    Returns
    -------
    The prediction; control cells are themselves.
    """
    shared = np.flatnonzero(match.columns >= 0)
    genes = _Genes(match.columns[shared], shared)
    pools = read_pools(query, model, genes.columns, wanted.seed)
    has_counts = all(pool.counts is not None for pool in pools.values())
    if not model.has_counts:
        logger.warning(_WITHOUT_COUNTS, 100 * model.share)
    announce_size(query, _estimate_bytes(query, pools, has_counts=has_counts))
    source_row = query.source_row.copy()
    made: list[MadeCells] = []
    order: list[np.ndarray] = []
    # What all conditions of a context share.
    dense: dict[int, np.ndarray] = {}
    controls: dict[int, _Controls | None] = {}
    n_steps = len(wanted.targets) * (1 if query.draw is None else int(query.draw.max()) + 1)
    unit = "conditions" if query.draw is None else "draws"
    with show_steps("Making cells", n_steps, unit) as advance:
        for group, (_, context, rows) in enumerate(query.groups()):
            pool = pools[context]
            if context not in dense:
                dense[context] = take_dense(pool, match, wanted.expected)
                controls[context] = _prepare(pool, genes, model, context)
            known, condition = controls[context], wanted.targets[group]
            shape = None
            if wanted.shape is not None:
                shape = _Shape(wanted.shape, wanted.expected, pool, match, genes, group)
            mean = _get_mean(pool, match, wanted, group) + wanted.change(dense[context], group)
            for part, draw, deviation in _part_draws(query, wanted, group, rows):
                target = np.maximum(mean + deviation, 0)[shared]
                rng = spawn(wanted.seed, condition, query.screen.contexts[context], *draw)
                if known is None:
                    cells = _move(pool, genes, target, rng, len(part))
                else:
                    cells = _transport(known, target, rng, len(part), condition, shape)
                source_row[part] = pool.rows[cells.drawn]
                made.append(_fill_in(pool, genes.columns, cells))
                order.append(part)
                advance(1)
    for context, pool in pools.items():
        rows = np.flatnonzero(query.screen.is_control & (query.screen.context == context))
        at = np.searchsorted(pool.rows, source_row[rows])
        made.append(hand_out(pool, at))
        order.append(rows)
    values = _stack([part.values for part in made], order)
    if not has_counts:
        return Prediction(values, None, source_row, VALUES)
    counts = _stack([part.counts for part in made], order)
    return Prediction(values, counts, source_row, COUNTS, _join_responds(made, query, order))


def _join_responds(
    made: Sequence[MadeCells], query: Query, rows: list[np.ndarray]
) -> np.ndarray | None:
    """Which rows respond: perturbed ones, unless it was drawn; ``None`` where it never was."""
    if all(part.responds is None for part in made):
        return None
    parts = [
        np.ones(len(part.drawn), dtype=bool) if part.responds is None else part.responds
        for part in made
    ]
    back = np.argsort(np.concatenate(rows), kind="stable")
    return np.concatenate(parts)[back] & ~query.screen.is_control


def _estimate_bytes(query: Query, pools: dict[int, ControlPool], *, has_counts: bool) -> float:
    """Memory of the layers and of ``X``, made as full as control cells are."""
    n_cells = np.bincount(query.screen.context, minlength=len(query.screen.contexts))
    n_stored = sum(
        n_cells[context] * pool.values.nnz / len(pool.rows) for context, pool in pools.items()
    )
    # A value and the number of its column each.
    return n_stored * 8 * (1 + has_counts + query.is_new)


def _stack(parts: list[sparse.csr_matrix], rows: list[np.ndarray]) -> sparse.csr_matrix:
    """Put parts together, each in its own rows."""
    first = np.argsort([part[0] if len(part) else 0 for part in rows], kind="stable")
    stacked = sparse.vstack([parts[i] for i in first], format="csr")
    row = np.concatenate([rows[i] for i in first])
    # New cells lie one condition after the other, and need not be moved.
    return stacked if (np.diff(row) > 0).all() else stacked[np.argsort(row, kind="stable")]


def spawn(seed: int, targets: Targets, context: str, *numbers: int) -> np.random.Generator:
    """Generator of one condition and context, whatever else is asked for.

    Parameters
    ----------
    seed
        Seed of the request.
    targets, context
        The condition and the name of its context.
    numbers
        What tells further generators apart, such as the number of a draw.
    """
    names = (zlib.crc32(repr(name).encode()) for name in (targets, context))
    return np.random.default_rng([seed, *names, *numbers])


def _part_draws(
    query: Query, wanted: Wanted, group: int, rows: np.ndarray
) -> Iterator[tuple[np.ndarray, list[int], np.ndarray | float]]:
    """Yield the rows of each draw, its number, and by how much it differs; all without draws."""
    if query.draw is None or wanted.deviate is None:
        yield rows, [], 0.0
        return
    deviation, draw = wanted.deviate(group), query.draw[rows]
    for number in np.unique(draw).tolist():
        yield rows[draw == number], [number], deviation[number]


def _get_mean(pool: ControlPool, match: GeneMatch, wanted: Wanted, group: int) -> np.ndarray:
    """Mean control expression of the model's genes."""
    known = wanted.control_mean[group]
    is_known = not np.isnan(known).any()
    if is_known and (wanted.is_own or pool.n_controls < MIN_CONTROLS):
        return known
    at_hand = pool.mean[match.columns]
    return np.where(match.columns >= 0, at_hand, wanted.expected)


@dataclass(frozen=True)
class _Controls:
    """Control cells of a context that have counts, and what is known of them."""

    usable: np.ndarray
    counts: CellCounts
    known: ContextModel
    genes: GeneModel
    shared: np.ndarray  # which of the genes the model predicts
    most: float
    mean: np.ndarray


def _prepare(
    pool: ControlPool, genes: _Genes, model: ScreenModel, context: int
) -> _Controls | None:
    """Take what of the control cells is alike for all conditions; ``None`` without counts."""
    if pool.counts is None:
        return None
    usable = np.flatnonzero(pool.counts.is_recovered)
    found = pool.counts.subset(usable)
    known = model.get_context(context, found)
    # A new context is modelled in the genes of the query.
    of_model = genes.of_model if context in model.contexts else genes.columns
    given, columns = (found, known.genes, genes.columns, of_model), genes.columns
    others = np.setdiff1d(np.arange(found.counts.shape[1]), columns)
    if found.counts[:, others].nnz:
        counts, gene_model, shared, mean = found, widen_genes(*given), columns, pool.mean
    else:
        # All genes are known, or the others are no counts.
        counts, gene_model = take_genes(*given)
        shared, mean = np.arange(len(columns)), pool.mean[columns]
    return _Controls(usable, counts, known, gene_model, shared, find_most(counts), mean)


@dataclass(frozen=True)
class _Shape:
    """How the cells of one group differ from their mean."""

    predict: CellShape
    expected: np.ndarray
    pool: ControlPool
    match: GeneMatch
    genes: _Genes
    group: int

    def find_offset(
        self,
        controls: _Controls,
        drawn: np.ndarray,
        target: np.ndarray,
        strength: np.ndarray | None,
    ) -> np.ndarray:
        """Log ratios of cells and genes; cells that do not respond, and other genes, have none."""
        x = take_dense(self.pool, self.match, self.expected, controls.usable[drawn])
        deviation = self.predict(x, self.group)[:, self.genes.of_model]
        counts = controls.counts
        unit = 1.0 if counts.base is None else float(np.log(counts.base))
        scale = counts.target_sum / float(np.median(counts.depth))
        offset = np.zeros((len(drawn), len(target)), dtype=np.float32)
        offset[:, controls.shared] = find_offset(deviation, target[controls.shared], scale, unit)
        return offset if strength is None else offset * (strength > 0).astype(np.float32)[:, None]


def _transport(
    controls: _Controls,
    target: np.ndarray,
    rng: np.random.Generator,
    n_cells: int,
    condition: Targets,
    shape: _Shape | None,
) -> MadeCells:
    """Cells by count transport."""
    n_controls = len(controls.usable)
    depths = controls.known.compute_depths(controls.counts.depth, condition)
    drawn = draw_sources(n_controls, n_cells, rng)
    again = np.arange(n_controls, len(drawn)) if n_cells > n_controls else drawn[:0]
    sources = renew_cells(controls.counts.subset(drawn), controls.genes, again, rng)
    wanted = controls.mean.copy()
    wanted[controls.shared] = target
    target = bound_target(wanted, controls.counts, controls.most)
    told = controls.known.responders
    share = expect_responders(told, condition).used_share
    if condition not in told:
        share = _raise_share(share, target, controls.mean)
    # Who responds does not follow from a control cell's state: it is drawn.
    strength = draw_strength(len(drawn), share, rng) if share < 1 else None
    cells = transport_cells(
        sources,
        controls.genes,
        target,
        rng,
        new_depth=depths[drawn],
        depth_error=controls.known.get_depth_error(condition),
        strength=strength,
        offset=None if shape is None else shape.find_offset(controls, drawn, target, strength),
    )
    first, responds = cells.head(n_cells), None
    if strength is not None:
        responds = strength[:n_cells] > 0
    return MadeCells(controls.usable[drawn[:n_cells]], first.values, first.counts, responds)


def _raise_share(share: float, target: np.ndarray, mean: np.ndarray) -> float:
    """Let as many cells respond as expressed genes that fall ask for: others keep theirs."""
    is_expressed = mean > _EXPRESSED
    lost = 1 - target[is_expressed] / mean[is_expressed]
    return float(min(max(share, lost.max(initial=0.0)), 1.0))


def _move(
    pool: ControlPool, genes: _Genes, target: np.ndarray, rng: np.random.Generator, n_cells: int
) -> MadeCells:
    """Cells without counts."""
    drawn = draw_sources(len(pool.rows), n_cells, rng)
    moved = move_cells(pool.values[:, genes.columns], drawn, target, rng, n_cells)
    return MadeCells(drawn[:n_cells], moved, None)


def _fill_in(pool: ControlPool, columns: np.ndarray, made: MadeCells) -> MadeCells:
    """Put made genes among all genes of the query; others, if any, are those of the source."""
    n_genes = pool.values.shape[1]
    if made.values.shape[1] > len(columns):
        return made
    others = np.setdiff1d(np.arange(n_genes), columns)
    order = np.argsort(np.concatenate([columns, others]))
    if np.array_equal(order, np.arange(n_genes)) and not len(others):
        return made

    def join(part: sparse.csr_matrix, source: sparse.csr_matrix) -> sparse.csr_matrix:
        rest = source[made.drawn][:, others]
        return sparse.csr_matrix(sparse.hstack([part, rest], format="csc")[:, order])

    values = join(made.values, pool.values)
    if made.counts is None or pool.counts is None:
        return MadeCells(made.drawn, values, None)
    counts = join(made.counts, pool.counts.counts)
    return MadeCells(made.drawn, values, counts, made.responds)
