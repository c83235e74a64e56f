"""The mean of the training conditions, and the training cells if they are there."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import pandas as pd
from anndata import AnnData

from scbig.data import ScreenSchema
from scbig.metrics._match import find_genes
from scbig.metrics._moments import compute_moments
from scbig.metrics._real import Real
from scbig.metrics._sides import Key, Side, read_side

logger = logging.getLogger(__name__)

ReferenceLike: TypeAlias = AnnData | pd.DataFrame | np.ndarray


@dataclass(frozen=True)
class Reference:
    """What is known of training.

    Attributes
    ----------
    mean
        Mean of the means of the training conditions, ``(G,)``, by context.
    cells
        The training cells; ``None`` if only means are known.
    """

    mean: Mapping[str, np.ndarray] = field(default_factory=dict)
    cells: Side | None = None


def read_reference(given: ReferenceLike | None, schema: ScreenSchema, real: Real) -> Reference:
    """Read what is known of the training conditions.

    Parameters
    ----------
    given
        Training cells, or means of the training conditions: as an AnnData with one row each, as
        a table (labels x genes) or as an array ``(n_conditions, G)`` in the genes of real.
    schema
        Where labels are kept.
    real
        The real side.

    Returns
    -------
    The mean for each context of the real side. In an AnnData it is the mean over the training
    conditions of that context; a context without any gets its own controls plus the mean effect
    in the others.

    Raises
    ------
    ValueError
        When genes or training conditions are missing.
    """
    if given is None:
        return Reference()
    if isinstance(given, AnnData):
        return _read_cells(given, schema, real)
    if isinstance(given, pd.DataFrame):
        is_kept = [bool(schema.parse(str(label))) for label in given.index]
        columns = find_genes(given.columns.astype(str), real.side.genes, "reference")
        table = given.to_numpy(np.float64)[is_kept]
        rows = table if columns is None else table[:, columns]
    else:
        rows = np.asarray(given, dtype=np.float64)
    _check_means(rows, len(real.side.genes))
    return Reference(dict.fromkeys(real.control, rows.mean(axis=0)))


def _check_means(rows: np.ndarray, n_genes: int) -> None:
    if rows.ndim != 2 or rows.shape[1] != n_genes or not len(rows):
        raise ValueError(
            f"reference has shape {rows.shape}; expected training conditions x {n_genes} genes."
        )
    if not np.isfinite(rows).all():
        raise ValueError(
            f"reference holds {np.count_nonzero(~np.isfinite(rows))} values that are not finite. "
            "Drop these conditions."
        )


def _read_cells(given: AnnData, schema: ScreenSchema, real: Real) -> Reference:
    side = read_side(given, schema, "reference", layer=schema.layer, genes=real.side.genes)
    keys = side.perturbed
    if not keys:
        raise ValueError(
            "reference has no perturbed cells. Give those of the training conditions."
        )
    _warn_of_shared(keys, real)
    moments = compute_moments(side.expression, list(side.groups.values()))
    mean_of = dict(zip(side.groups, moments.mean, strict=True))
    control = {**real.control, **{name: mean_of[t, name] for t, name in mean_of if not t}}
    perturbed: dict[str, list[np.ndarray]] = {}
    for key in keys:
        perturbed.setdefault(key[1], []).append(mean_of[key])
    by_context = {name: np.mean(means, axis=0) for name, means in perturbed.items()}
    mean = {name: _get_mean(name, by_context, control) for name in real.control}
    is_cells = sum(len(side.groups[key]) for key in keys) > len(keys)
    return Reference(mean, side if is_cells else None)


def _warn_of_shared(keys: Sequence[Key], real: Real) -> None:
    if both := sorted(set(keys) & set(real.keys)):
        logger.warning(
            "%d of the %d conditions to score are in the reference, too, such as %r: a reference "
            "holds training conditions only.",
            len(both),
            len(real.keys),
            real.side.labels[both[0][0]],
        )


def _get_mean(
    context: str, means: Mapping[str, np.ndarray], control: Mapping[str, np.ndarray]
) -> np.ndarray:
    if context in means:
        return means[context]
    effects = [mean - control[name] for name, mean in means.items() if name in control]
    if effects:
        return control[context] + np.mean(effects, axis=0)
    return np.mean(list(means.values()), axis=0)
