"""Control cells that cells are made of, and those that are handed out as they are."""

import logging
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from scbig.cells import MIN_RECOVERED, CellCounts, ScreenModel, read_counts, scale_counts
from scbig.data._controls import thin
from scbig.data._expression import Expression, GeneMatch
from scbig.data._query import Query

logger = logging.getLogger(__name__)

_N_AT_ONCE = 2048
# Control cells whose mean change is that of a condition, where networks predict it.
N_AVERAGED = 256


@dataclass(frozen=True)
class ControlPool:
    """Control cells of one context: row numbers, values and counts over all genes of the query."""

    rows: np.ndarray
    values: sparse.csr_matrix
    mean: np.ndarray  # of all control cells, those that are not in the pool too
    n_controls: int
    counts: CellCounts | None = None


@dataclass(frozen=True)
class MadeCells:
    """Numbers of source cells in their pool, and what was made of them."""

    drawn: np.ndarray
    values: sparse.csr_matrix
    counts: sparse.csr_matrix | None
    responds: np.ndarray | None = None  # where only some of the cells do


def read_pools(
    query: Query, model: ScreenModel, columns: np.ndarray, seed: int
) -> dict[int, ControlPool]:
    """Control cells of each context: those to make cells of, and those to hand out."""
    is_control = query.screen.is_control
    pools = {}
    for context, controls in enumerate(query.controls):
        if len(controls):
            handed_out = query.source_row[is_control & (query.screen.context == context)]
            rows = np.union1d(thin(controls, np.random.default_rng([seed, context])), handed_out)
            values = _read_sparse(query.source, rows)
            mean = _average(query, controls, rows, values)
            pools[context] = ControlPool(rows, values, mean, len(controls))
    return _add_counts(pools, model, query.counts, columns) if model.has_counts else pools


def _add_counts(
    pools: dict[int, ControlPool], model: ScreenModel, kept: Expression | None, columns: np.ndarray
) -> dict[int, ControlPool]:
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
    counts = {
        context: scale_counts(found, model.get_target_sum(context)).subset(owner == context)
        for context in pools
    }
    return {context: replace(pool, counts=counts[context]) for context, pool in pools.items()}


def _is_enough(found: CellCounts, owner: np.ndarray) -> bool:
    """Whether most cells have counts, and some of each context."""
    is_known = found.is_recovered
    return is_known.mean() >= MIN_RECOVERED and len(set(owner[is_known])) == len(set(owner))


def _recover_shared(
    pools: dict[int, ControlPool], model: ScreenModel, columns: np.ndarray
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


def hand_out(pool: ControlPool, drawn: np.ndarray) -> MadeCells:
    """Control cells as they are."""
    values, found = pool.values[drawn], pool.counts
    if found is None:
        return MadeCells(drawn, values, None)
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
    return MadeCells(drawn, values, counts)


def choose_averaged(n_cells: int) -> np.ndarray:
    """Choose the control cells whose mean change networks predict, evenly among so many.

    Parameters
    ----------
    n_cells
        Number of control cells of a context.
    """
    return np.linspace(0, n_cells - 1, min(n_cells, N_AVERAGED)).astype(np.int64)


def take_dense(
    pool: ControlPool, match: GeneMatch, expected: np.ndarray, rows: np.ndarray | None = None
) -> np.ndarray:
    """Take the expression of some control cells in the genes of the model.

    Parameters
    ----------
    pool
        Control cells of a context.
    match
        Where the genes of the model stand among theirs.
    expected
        Expression of genes that they lack, shape ``(n_genes,)``.
    rows
        Numbers of cells in the pool; by default those of :func:`choose_averaged`.

    Returns
    -------
    Shape ``(n_cells, n_genes)``, float32.
    """
    rows = choose_averaged(len(pool.rows)) if rows is None else rows
    dense = pool.values[rows].toarray().astype(np.float32)
    return np.where(match.columns >= 0, dense[:, match.columns], expected.astype(np.float32))
