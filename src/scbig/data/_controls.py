"""Control cells that travel with a predictor, to predict from when no data are given."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from anndata.utils import make_index_unique
from scipy import sparse

from scbig._constants import COUNTS
from scbig._reading import check_sparse, find_damage
from scbig._types import Arrays, Values
from scbig.data._expression import Expression, get_log_base
from scbig.data._screen_cells import ScreenCells

MAX_CONTROLS = 2000  # enough to draw from; a genome-wide screen has far more

_SPARSE_PARTS = ("data", "indices", "indptr")


def make_controls(
    cells: ScreenCells,
    obs: pd.DataFrame,
    genes: Sequence[str],
    rng: np.random.Generator,
    *,
    known: Sequence[str] = (),
) -> AnnData:
    """Draw the control cells that travel with a predictor: at most 2,000 of each context.

    Parameters
    ----------
    cells
        Cells of a screen; counts are kept beside their expression where they are there.
    obs
        Columns of their annotation to keep.
    genes
        Gene names.
    rng
        Draws the cells.
    known
        Contexts to leave out.

    Returns
    -------
    The control cells, context by context.
    """
    drawn = [
        thin(cells.screen.get_own_controls(i), rng)
        for i, name in enumerate(cells.screen.contexts)
        if name not in known
    ]
    rows = np.concatenate([np.empty(0, dtype=np.int64), *drawn])
    counts = cells.counts
    # Context by context: many contexts at once would not fit into memory as dense rows.
    return AnnData(
        _stack_rows(cells.expression, drawn, np.float32),
        obs=obs.iloc[rows].astype(str),
        var=pd.DataFrame(index=list(genes)),
        layers={} if counts is None else {COUNTS: _stack_rows(counts, drawn, np.int32)},
        uns=_note_base(cells.base),
    )


def _note_base(base: float | None) -> dict[str, Any]:
    """As scanpy notes that values are log1p."""
    return {"log1p": {} if base is None else {"base": base}}


def _stack_rows(
    expression: Expression, drawn: Sequence[np.ndarray], dtype: type
) -> sparse.csr_matrix:
    x = [sparse.csr_matrix((0, expression.n_genes), dtype=dtype)]
    x += [sparse.csr_matrix(expression.rows(part).astype(dtype)) for part in drawn]
    return sparse.vstack(x, format="csr")


def join_controls(old: AnnData, new: AnnData) -> AnnData:
    """Append further control cells.

    Parameters
    ----------
    old, new
        Control cells with the same genes and columns, see :func:`make_controls`.

    Returns
    -------
    All of them; names that occur in both are made unique.
    """
    if not new.n_obs:
        return old
    obs = pd.concat([old.obs, new.obs])
    # Barcodes are unique within a screen only.
    obs.index = make_index_unique(obs.index)
    # Counts that only some have would be told apart from those that are recovered.
    has_both = COUNTS in old.layers and COUNTS in new.layers
    layers = {
        name: sparse.vstack([old.layers[name], new.layers[name]], format="csr")
        for name in [COUNTS] * has_both
    }
    x = sparse.vstack([old.X, new.X], format="csr")
    return AnnData(x, obs=obs, var=old.var, layers=layers, uns=old.uns)


def controls_to_plain(controls: AnnData) -> tuple[Values, Arrays]:
    """Take control cells apart.

    Parameters
    ----------
    controls
        Control cells, see :func:`make_controls`.

    Returns
    -------
    Their annotation as values, and their expression as arrays.
    """
    matrices = {"controls": sparse.csr_matrix(controls.X)}
    if COUNTS in controls.layers:
        matrices["control_counts"] = sparse.csr_matrix(controls.layers[COUNTS])
    values = {
        "names": controls.obs_names.tolist(),
        "obs": {key: controls.obs[key].astype(str).tolist() for key in controls.obs},
        "genes": controls.var_names.tolist(),
        "base": get_log_base(controls),
    }
    return values, {
        f"{name}.{part}": getattr(matrix, part)
        for name, matrix in matrices.items()
        for part in _SPARSE_PARTS
    }


def controls_from_plain(values: Values, arrays: Arrays) -> AnnData:
    """Rebuild what :func:`controls_to_plain` took apart.

    Parameters
    ----------
    values, arrays
        As for :func:`scbig.data.effects_from_plain`.

    Returns
    -------
    The control cells.
    """
    shape = len(values["names"]), len(values["genes"])
    x, counts = (_join_parts(arrays, name, shape) for name in ("controls", "control_counts"))
    obs = pd.DataFrame(values["obs"], index=values["names"])
    layers = {} if counts is None else {COUNTS: counts}
    var, uns = pd.DataFrame(index=values["genes"]), _note_base(values.get("base"))
    return AnnData(x, obs=obs, var=var, layers=layers, uns=uns)


def _join_parts(arrays: Arrays, name: str, shape: tuple[int, int]) -> sparse.csr_matrix | None:
    """Rebuild a sparse matrix, or raise where compiled code would reach beyond its parts."""
    if f"{name}.indptr" not in arrays:
        return None
    data, indices, indptr = (arrays[f"{name}.{part}"] for part in _SPARSE_PARTS)
    if problem := find_damage(data, indices, indptr, shape):
        raise ValueError(f"{name} is a damaged sparse matrix: {problem}")
    matrix = sparse.csr_matrix((data, indices, indptr), shape=shape)
    check_sparse(matrix, name)
    return matrix


def thin(rows: np.ndarray, rng: np.random.Generator, n_kept: int = MAX_CONTROLS) -> np.ndarray:
    """Draw at most ``n_kept`` of the row numbers, in their order.

    Parameters
    ----------
    rows
        Row numbers, sorted.
    rng
        Draws them.
    n_kept
        Largest number to keep.

    Returns
    -------
    The kept row numbers, sorted.
    """
    return rows if len(rows) <= n_kept else np.sort(rng.choice(rows, n_kept, replace=False))
