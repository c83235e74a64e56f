"""What is refused, or warned of, where cells enter: other objects, expression and counts."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from scbig._arguments import check_adata, check_labels, refuse, show
from scbig._constants import COUNTS
from scbig.cells import check_counts
from scbig.data._check_numbers import iter_pieces, mark_rows, name_matrix
from scbig.data._check_values import check_expression, describe_no_values, warn_of_depth
from scbig.data._expression import get_matrix
from scbig.data._raw_counts import (
    TARGET_SUM,
    choose_cells,
    find_largest_count,
    read_matrices,
)
from scbig.data._screen import make_screen
from scbig.labels import (
    Perturbations,
    ScreenSchema,
)

logger = logging.getLogger(__name__)

# Counts are kept in 32 bits.
_MAX_COUNT = 2**31 - 1
# Files that warn of what a screen holds.
_WARNING = ("_check_cells", "_check_values", "_transforms", "_target_names")


def take_labels(
    adata: Any, perturbations: Perturbations | None
) -> tuple[AnnData | None, Perturbations | None]:
    """Tell data from perturbations that stand in their place, as in ``predict(["A"])``.

    Parameters
    ----------
    adata, perturbations
        What a user gave.

    Returns
    -------
    Both, with what is no AnnData in the second place.

    Raises
    ------
    ValueError
        When something else stands there, such as a path.
    """
    is_list = isinstance(adata, list | tuple | set | pd.Index | pd.Series | np.ndarray)
    if is_list and perturbations is None:
        return None, check_labels("perturbations", adata)
    if isinstance(adata, str):
        raise refuse(
            "adata",
            adata,
            f"an AnnData, anndata.read_h5ad({show(adata)}), or name perturbations: "
            f"perturbations=[{show(adata)}]",
        )
    return None if adata is None else check_adata(adata), perturbations


def check_matrices(
    adata: AnnData,
    layer: str | None,
    counts_layer: str | None = None,
    *,
    is_log1p: bool = False,
    target_sum: float | None = None,
) -> None:
    """Raise when counts disagree with the expression, as far as 1,000 cells tell.

    That raw counts are to be normalised is logged.

    Parameters
    ----------
    adata, layer, counts_layer, is_log1p, target_sum
        See :func:`read_matrices`.

    Raises
    ------
    ValueError
        When the named layer is not there, what it holds are not the counts of these cells, or the
        target sum is not positive, or there is nothing to normalise.
    """
    found = read_matrices(adata, layer, counts_layer, is_log1p=is_log1p, target_sum=target_sum)
    if target_sum is not None and not found.is_raw:
        raise ValueError(
            f"target_sum={target_sum:g} is what raw counts are normalised to, and "
            f"{name_matrix(layer)} holds log1p values, which are read as they are. Leave "
            "target_sum out, or name a layer with counts: layer='counts'"
        )
    if found.is_raw:
        logger.info(
            "%s holds raw counts: each cell is normalised to %g, and log1p is taken. Another sum: "
            "target_sum=...",
            name_matrix(layer),
            TARGET_SUM if target_sum is None else target_sum,
        )
    elif found.counts is not None:
        rows = choose_cells(adata.n_obs)
        try:
            counts = sparse.csr_matrix(found.counts.rows(rows))
            check_counts(counts, found.expression.rows(rows), found.base)
        except ValueError as error:
            raise ValueError(f"{name_matrix(counts_layer or COUNTS)}: {error}") from error


def check_readable(adata: AnnData, layer: str | None, *, is_log1p: bool) -> None:
    """Raise when expression is neither raw counts nor log1p values; warn when they look odd.

    Parameters
    ----------
    adata, layer
        See :func:`holds_counts`.
    is_log1p
        Take whole values for log1p values.

    Raises
    ------
    ValueError
        See :func:`check_expression`; or counts are more than 32 bits hold.
    """
    largest = 0.0 if is_log1p else find_largest_count(adata, layer)
    if largest > _MAX_COUNT:
        pieces = iter_pieces(get_matrix(adata, layer))
        is_none = mark_cells(adata.n_obs, pieces, lambda values: values > _MAX_COUNT)
        name = name_matrix(layer)
        raise ValueError(describe_no_values(is_none, largest, name, adata, _MAX_COUNT))
    if not largest:
        check_expression(adata, layer, is_log1p=is_log1p)
    if not largest and not is_log1p:
        warn_of_depth(adata, layer)
    if largest == 1:
        logger.warning(
            "%s holds nothing but zeros and ones. They are read as counts, of which none is above "
            "1; if they say whether a gene was found at all, effects are of that alone. Give the "
            "counts: layer='...'",
            name_matrix(layer),
        )


def warn_of_empty(adata: AnnData, schema: ScreenSchema) -> None:
    """Warn of cells that express nothing, which are averaged as others are.

    Parameters
    ----------
    adata
        Annotated data; may be backed, and is read in pieces.
    schema
        Where they keep labels and expression.
    """
    pieces = iter_pieces(get_matrix(adata, schema.layer))
    is_empty = ~mark_cells(adata.n_obs, pieces, lambda values: values != 0)
    if not is_empty.any():
        return
    is_control = make_screen(adata.obs, schema).is_control
    name = name_matrix(schema.layer)
    rest = f"adata = adata[np.ravel(adata.{name}.sum(axis=1)) > 0].copy()"
    logger.warning(
        "%d of %d control cells and %d of %d perturbed cells have nothing but zeros in %s. They "
        "are counted in all means, which they bias. Remove them: %s",
        (is_empty & is_control).sum(),
        is_control.sum(),
        (is_empty & ~is_control).sum(),
        (~is_control).sum(),
        name,
        "sc.pp.filter_cells(adata, min_counts=1)" if schema.layer is None else rest,
    )


def mark_cells(
    n_cells: int,
    pieces: Iterable[tuple[str, int, Any]],
    is_marked: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """Mark the cells that hold a marked value, reading the matrix in pieces."""
    found = np.zeros(n_cells, dtype=bool)
    for _, start, piece in pieces:
        stored = piece.data if sparse.issparse(piece) else piece
        found[start : start + piece.shape[0]] |= mark_rows(piece, is_marked(stored))
    return found


@contextmanager
def say_once() -> Iterator[None]:
    """Give each kind of warning of cells once, where several models read parts of one screen."""
    said: set[str] = set()

    def is_new(record: logging.LogRecord) -> bool:
        is_old = record.levelno >= logging.WARNING and record.msg in said
        said.add(record.msg)
        return not is_old

    loggers = [logging.getLogger(f"scbig.data.{name}") for name in _WARNING]
    for one in loggers:
        one.addFilter(is_new)
    try:
        yield
    finally:
        for one in loggers:
            one.removeFilter(is_new)
