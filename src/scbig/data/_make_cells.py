"""Cells of all groups of a query, made of its control cells."""

import logging
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from anndata import AnnData
from scipy import sparse

from scbig._constants import COUNTS as COUNTS_LAYER
from scbig.cells import (
    MIN_RECOVERED,
    CellCounts,
    ScreenModel,
    bound_target,
    check_counts,
    draw_sources,
    move_values,
    read_counts,
    renew_cells,
    scale_counts,
    take_genes,
    transport_cells,
)
from scbig.data._controls import thin
from scbig.data._expression import Expression, GeneMatch
from scbig.data._query import Query
from scbig.data._raw_counts import read_matrices
from scbig.data._screen import Targets
from scbig.data._write import Prediction

logger = logging.getLogger(__name__)

# Control cells whose mean change is that of a condition, where networks predict it.
N_AVERAGED = 256
# Fewer control cells of a known context do not tell its mean.
MIN_CONTROLS = 20
_N_AT_ONCE = 2048
_N_CHECKED = 1000
COUNTS, VALUES = "counts", "values"


class MeanChange(Protocol):
    """Expected mean change of control cells towards one group of a query."""

    def __call__(self, x: np.ndarray, group: int) -> np.ndarray:
        """Predict it, shape ``(n_genes,)``, given control cells ``(n, n_genes)``."""


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
    """

    targets: Sequence[Targets]
    change: MeanChange
    control_mean: np.ndarray
    is_own: bool
    expected: np.ndarray
    seed: int


@dataclass(frozen=True)
class _Pool:
    """Control cells of one context: row numbers, values and counts over all genes of the query."""

    rows: np.ndarray
    values: sparse.csr_matrix
    mean: np.ndarray  # of all control cells, those that are not in the pool too
    n_controls: int
    counts: CellCounts | None = None


@dataclass(frozen=True)
class _Made:
    """Numbers of source cells in their pool, and what was made of them."""

    drawn: np.ndarray
    values: sparse.csr_matrix
    counts: sparse.csr_matrix | None


@dataclass(frozen=True)
class _Genes:
    """Where the genes that query and model share stand in the one, and in the other."""

    columns: np.ndarray
    of_model: np.ndarray


def make_cells(query: Query, match: GeneMatch, model: ScreenModel, wanted: Wanted) -> Prediction:
    """Make the cells of each condition and context of a query.

    Their mean expression is that of the control cells of the context and the expected change;
    see :func:`scbig.cells.transport_cells`. Where counts cannot be had, values are moved by
    :func:`scbig.cells.move_values`.

    Parameters
    ----------
    query
        What to predict.
    match
        Where the model's genes stand among the genes of the query. Genes that the model does
        not know keep the expression of the source cell.
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
    pools = _read_pools(query, model, genes.columns, wanted.seed)
    has_counts = all(pool.counts is not None for pool in pools.values())
    make = _transport if has_counts else _move
    source_row = query.source_row.copy()
    made, order = [], []
    for group, (_, context, rows) in enumerate(query.groups()):
        pool = pools[context]
        change = wanted.change(_take_dense(pool, match, wanted.expected), group)
        target = np.maximum(_get_mean(pool, match, wanted, group) + change, 0)[shared]
        own = context, wanted.targets[group]
        rng = _spawn(wanted.seed, own[1], query.screen.contexts[context])
        cells = make(pool, genes, model, target, rng, len(rows), own)
        source_row[rows] = pool.rows[cells.drawn]
        made.append(_fill_in(pool, genes.columns, cells))
        order.append(rows)
    for context, pool in pools.items():
        rows = np.flatnonzero(query.screen.is_control & (query.screen.context == context))
        at = np.searchsorted(pool.rows, source_row[rows])
        made.append(_hand_out(pool, at))
        order.append(rows)
    back = np.argsort(np.concatenate(order), kind="stable")
    values = sparse.vstack([part.values for part in made], format="csr")[back]
    if not has_counts:
        return Prediction(values, None, source_row, VALUES)
    counts = sparse.vstack([part.counts for part in made], format="csr")[back]
    return Prediction(values, counts, source_row, COUNTS)


def check_counts_layer(
    adata: AnnData,
    wanted: str | None,
    layer: str | None,
    *,
    is_log1p: bool = False,
    target_sum: float | None = None,
) -> bool:
    """Raise when the counts of a screen disagree with its expression, as far as 1,000 cells tell.

    Parameters
    ----------
    adata
        Annotated data.
    wanted
        Layer with counts; ``None`` for ``"counts"``, if it is there.
    layer
        Layer with the expression.
    is_log1p
        Take whole values for log1p values.
    target_sum
        What raw counts are to be normalised to.

    Returns
    -------
    Whether the expression is raw counts itself.

    Raises
    ------
    ValueError
        When there is no such layer, or what it holds are not the counts of these cells.
    """
    found = read_matrices(adata, layer, wanted, is_log1p=is_log1p, target_sum=target_sum)
    if found.is_raw or found.counts is None:
        return found.is_raw
    rows = np.arange(min(adata.n_obs, _N_CHECKED))
    try:
        counts = sparse.csr_matrix(found.counts.rows(rows))
        check_counts(counts, found.expression.rows(rows), found.base)
    except ValueError as error:
        raise ValueError(f"layers[{wanted or COUNTS_LAYER!r}]: {error}") from error
    return False


def _spawn(seed: int, targets: Targets, context: str) -> np.random.Generator:
    """Generator of one condition and context, whatever else is asked for."""
    names = (zlib.crc32(repr(name).encode()) for name in (targets, context))
    return np.random.default_rng([seed, *names])


def _read_pools(
    query: Query, model: ScreenModel, columns: np.ndarray, seed: int
) -> dict[int, _Pool]:
    """Control cells of each context: those to make cells of, and those to hand out."""
    is_control = query.screen.is_control
    pools = {}
    for context, controls in enumerate(query.controls):
        if len(controls):
            handed_out = query.source_row[is_control & (query.screen.context == context)]
            rows = np.union1d(thin(controls, np.random.default_rng([seed, context])), handed_out)
            values = _read_sparse(query.source, rows)
            mean = _average(query, controls, rows, values)
            pools[context] = _Pool(rows, values, mean, len(controls))
    return _read_counts(pools, model, query.counts, columns) if model.has_counts else pools


def _read_counts(
    pools: dict[int, _Pool], model: ScreenModel, kept: Expression | None, columns: np.ndarray
) -> dict[int, _Pool]:
    """Find the counts of the cells, or leave them away where too few are known."""
    parts = (
        (pool.values, None if kept is None else _read_sparse(kept, pool.rows))
        for pool in pools.values()
    )
    found = read_counts(parts, model.base)
    owner = np.repeat(list(pools), [len(pool.rows) for pool in pools.values()])
    if not _is_enough(found, owner) and len(columns) < found.counts.shape[1]:
        found = _recover_shared(pools, model, columns)
    is_known = found.is_recovered
    if not _is_enough(found, owner):
        logger.warning(
            "The counts of only %d of %d control cells can be told from their expression: cells "
            "are made without counts.",
            is_known.sum(),
            len(owner),
        )
        return pools
    if not is_known.all():
        logger.info(
            "The counts of %d of %d control cells cannot be told: no cells are made of them, and "
            "their own counts are rounded at the median depth.",
            (~is_known).sum(),
            len(owner),
        )
    found = scale_counts(found, model.target_sum)
    return {
        context: replace(pool, counts=found.subset(owner == context))
        for context, pool in pools.items()
    }


def _is_enough(found: CellCounts, owner: np.ndarray) -> bool:
    """Whether most cells have counts, and some of each context."""
    is_known = found.is_recovered
    return is_known.mean() >= MIN_RECOVERED and len(set(owner[is_known])) == len(set(owner))


def _recover_shared(
    pools: dict[int, _Pool], model: ScreenModel, columns: np.ndarray
) -> CellCounts:
    """Find counts of the model's genes alone: others need not be counts, as surface proteins."""
    found = read_counts(((pool.values[:, columns], None) for pool in pools.values()), model.base)
    n_cells, n_genes = len(found.depth), next(iter(pools.values())).values.shape[1]
    counts = found.counts.tocoo()
    wide = sparse.csr_matrix(
        (counts.data, (counts.row, columns[counts.col])), shape=(n_cells, n_genes)
    )
    logger.info(
        "Expression is log1p of counts in the model's genes only: the %d other genes are left "
        "without counts.",
        n_genes - len(columns),
    )
    return replace(found, counts=wide)


def _average(
    query: Query, controls: np.ndarray, rows: np.ndarray, values: sparse.csr_matrix
) -> np.ndarray:
    """Mean of all control cells, of which ``values`` are at hand."""
    if len(rows) == len(controls):
        return np.asarray(values.mean(axis=0, dtype=np.float64)).ravel()
    total = np.zeros(values.shape[1])
    for start in range(0, len(controls), _N_AT_ONCE):
        piece = query.source.rows(controls[start : start + _N_AT_ONCE])
        total += piece.sum(axis=0, dtype=np.float64)
    return total / len(controls)


def _read_sparse(expression: Expression, rows: np.ndarray) -> sparse.csr_matrix:
    pieces = np.split(rows, np.arange(_N_AT_ONCE, len(rows), _N_AT_ONCE))
    parts = [sparse.csr_matrix(expression.rows(piece)) for piece in pieces]
    return sparse.vstack(parts, format="csr")


def _get_mean(pool: _Pool, match: GeneMatch, wanted: Wanted, group: int) -> np.ndarray:
    """Mean control expression of the model's genes."""
    known = wanted.control_mean[group]
    is_known = not np.isnan(known).any()
    if is_known and (wanted.is_own or pool.n_controls < MIN_CONTROLS):
        return known
    at_hand = pool.mean[match.columns]
    return np.where(match.columns >= 0, at_hand, wanted.expected)


def _take_dense(pool: _Pool, match: GeneMatch, expected: np.ndarray) -> np.ndarray:
    """Some control cells in the genes of the model."""
    n_cells = len(pool.rows)
    rows = np.linspace(0, n_cells - 1, min(n_cells, N_AVERAGED)).astype(np.int64)
    dense = pool.values[rows].toarray().astype(np.float32)
    return np.where(match.columns >= 0, dense[:, match.columns], expected.astype(np.float32))


def _transport(
    pool: _Pool,
    genes: _Genes,
    model: ScreenModel,
    target: np.ndarray,
    rng: np.random.Generator,
    n_cells: int,
    group: tuple[int, Targets],
) -> _Made:
    """Cells by count transport."""
    if pool.counts is None:
        raise RuntimeError("There are no counts to transport.")
    context, condition = group
    usable = np.flatnonzero(pool.counts.is_recovered)
    controls = pool.counts.subset(usable)
    known = model.get_context(context, controls)
    # A new context is modelled in the genes of the query.
    of_model = genes.of_model if context in model.contexts else genes.columns
    depths = known.compute_depths(controls.depth, condition)
    controls, gene_model = take_genes(controls, known.genes, genes.columns, of_model)
    drawn = draw_sources(len(usable), n_cells, rng)
    again = np.arange(len(usable), len(drawn)) if n_cells > len(usable) else drawn[:0]
    sources = renew_cells(controls.subset(drawn), gene_model, again, rng)
    target = bound_target(target, controls)
    cells = transport_cells(sources, gene_model, target, rng, new_depth=depths[drawn])
    first = cells.head(n_cells)
    return _Made(usable[drawn[:n_cells]], first.values, first.counts)


def _move(
    pool: _Pool,
    genes: _Genes,
    model: ScreenModel,
    target: np.ndarray,
    rng: np.random.Generator,
    n_cells: int,
    group: tuple[int, Targets],
) -> _Made:
    """Cells without counts."""
    drawn = draw_sources(len(pool.rows), n_cells, rng)
    dense = pool.values[:, genes.columns].toarray()
    moved = move_values(dense[drawn], target, rng, donors=dense).values[:n_cells]
    return _Made(drawn[:n_cells], sparse.csr_matrix(moved), None)


def _hand_out(pool: _Pool, drawn: np.ndarray) -> _Made:
    """Control cells as they are."""
    values, found = pool.values[drawn], pool.counts
    if found is None:
        return _Made(drawn, values, None)
    counts = found.counts[drawn]
    lacking = np.flatnonzero(~found.is_recovered[drawn])
    if len(lacking):
        # Empty cells would drag down sums over cells.
        depth = np.median(found.depth[found.is_recovered])
        scale = 1.0 if found.base is None else np.log(found.base)
        rounded = ((values[lacking] * scale).expm1() * (depth / found.target_sum)).rint()
        # Cells that are not recovered are empty rows, so that the two add up.
        place = sparse.csr_matrix(
            (np.ones(len(lacking)), (lacking, np.arange(len(lacking)))),
            shape=(len(drawn), len(lacking)),
        )
        counts = (counts + place @ rounded).astype(np.int32)
    return _Made(drawn, values, counts)


def _fill_in(pool: _Pool, columns: np.ndarray, made: _Made) -> _Made:
    """Put made genes among all genes of the query; the others are those of the source."""
    n_genes = pool.values.shape[1]
    others = np.setdiff1d(np.arange(n_genes), columns)
    order = np.argsort(np.concatenate([columns, others]))
    if np.array_equal(order, np.arange(n_genes)) and not len(others):
        return made

    def join(part: sparse.csr_matrix, source: sparse.csr_matrix) -> sparse.csr_matrix:
        rest = source[made.drawn][:, others]
        return sparse.csr_matrix(sparse.hstack([part, rest], format="csc")[:, order])

    values = join(made.values, pool.values)
    if made.counts is None or pool.counts is None:
        return _Made(made.drawn, values, None)
    return _Made(made.drawn, values, join(made.counts, pool.counts.counts))
