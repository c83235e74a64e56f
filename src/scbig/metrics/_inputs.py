"""What do real, predicted and reference cells hold of each condition and context?

Here, once, what a user gives is checked: columns, labels, genes, expression.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import ArrayLike, DTypeLike
from scipy import sparse

from scbig._arguments import check_array
from scbig.data import (
    Expression,
    Screen,
    ScreenSchema,
    Targets,
    check_columns,
    check_expression,
    get_gene_names,
    get_matrix,
    make_screen,
    warn_of_depth,
)

logger = logging.getLogger(__name__)

# Values of one chunk, 64 MB in float64, whatever the number of genes.
CHUNK_VALUES = 2**23

# A condition in a context; without targets, the controls of the context.
Key = tuple[Targets, str]

ReferenceLike: TypeAlias = AnnData | pd.DataFrame | np.ndarray


def get_rounding(dtype: DTypeLike) -> float:
    """Which share of a value may be a rounding error, if it was read in this precision?

    In 32 bits 64 units in the last place, to which the errors of a sum over some 20,000 cells add
    up; in 16 bits one unit, as such values are added up in 32. In 64 bits 1e-12.
    """
    if dtype == np.float16:
        return 2.0**-10 + 2.0**-17
    return 2.0**-17 if dtype == np.float32 else 1e-12


@dataclass(frozen=True)
class Averages:
    """Means over cells, and how much of each may be a rounding error.

    All metrics take them for arrays, and take no difference within the rounding for an effect.

    Attributes
    ----------
    array
        Means, float64, ``(C, G)`` or ``(G,)``.
    rounding
        The largest rounding error of each, of the same shape.
    """

    array: np.ndarray
    rounding: np.ndarray

    @classmethod
    def read(cls, given: "ArrayLike | Averages", dtype: DTypeLike | None = None) -> "Averages":
        """Read an array, whose values have the precision of its type or another that is named."""
        if isinstance(given, Averages):
            return given
        array = np.asarray(given)
        found = array.dtype if dtype is None else np.dtype(dtype)
        values = check_array("values", array)
        # Of the least values of 16 bits the last place is larger than their share.
        least = 2.0**-24 if found == np.float16 else 0.0
        return cls(values, get_rounding(found) * np.abs(values) + least)

    @classmethod
    def stack(cls, parts: "Sequence[Averages]") -> "Averages":
        """Put several of shape ``(G,)`` into rows."""
        return cls(np.array([p.array for p in parts]), np.array([p.rounding for p in parts]))

    @classmethod
    def join(cls, parts: "Sequence[Averages]") -> "Averages":
        """Average over several of one shape, each counting once."""
        rows = cls.stack(parts)
        return cls(rows.array.mean(axis=0), rows.rounding.mean(axis=0))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the means."""
        return self.array.shape

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.array, dtype=dtype) if copy else np.asarray(self.array, dtype)

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, chosen: Any) -> "Averages":
        return Averages(self.array[chosen], self.rounding[chosen])

    def __add__(self, other: "Averages") -> "Averages":
        return Averages(self.array + other.array, self.rounding + other.rounding)

    def __sub__(self, other: "Averages") -> "Averages":
        return Averages(self.array - other.array, self.rounding + other.rounding)

    def where(self, is_kept: np.ndarray, other: "Averages") -> "Averages":
        """Keep the rows that are marked, and take those of the other where they are not."""
        own, rest = ((a.array, a.rounding) for a in (self, other))
        return Averages(
            *(np.where(is_kept[:, None], a, b) for a, b in zip(own, rest, strict=True))
        )

    @property
    def effect(self) -> np.ndarray:
        """What a difference holds; what may be rounding is 0, as it has a sign, too."""
        return np.where(np.abs(self.array) > self.rounding, self.array, 0.0)


@dataclass(frozen=True)
class CellGroups:
    """Cells of one source: real, predicted, or those trained on.

    Attributes
    ----------
    expression
        Their expression, in the genes of the real cells.
    genes
        The names of these genes.
    names
        Names of the cells.
    groups
        Row numbers of each condition and context, in the order of the names of the cells: what
        is drawn from them does not depend on the order of the cells.
    labels
        How the source writes each condition.
    is_log1p
        Whether integers are log1p values.
    """

    expression: Expression
    genes: tuple[str, ...]
    names: np.ndarray
    groups: dict[Key, np.ndarray]
    labels: dict[Targets, str]
    is_log1p: bool

    @property
    def perturbed(self) -> list[Key]:
        """The conditions and contexts without the controls, context by context."""
        keys = [key for key in self.groups if key[0]]
        return sorted(keys, key=lambda key: (key[1], len(key[0]), key[0]))


def read_cells(
    adata: AnnData,
    schema: ScreenSchema,
    name: str,
    *,
    layer: str | None = None,
    like: "CellGroups | None" = None,
    is_log1p: bool = False,
) -> CellGroups:
    """Check cells and sort them into groups.

    ``name`` is what errors call them, ``layer`` where they have their expression (``None`` for
    ``X``), ``like`` the real cells, whose genes are read and whose integers are taken for what
    they are there: with ``is_log1p`` for log1p values.
    """
    is_log1p = is_log1p if like is None else like.is_log1p
    check_columns(adata, schema, name, layer)
    try:
        screen = make_screen(adata.obs, schema)
        found = get_gene_names(adata, schema.gene_key)
        check_expression(adata, layer, is_log1p=is_log1p)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    if like is None and not is_log1p:
        warn_of_depth(adata, layer)
    genes = tuple(map(str, found)) if like is None else like.genes
    columns = None if like is None else find_genes(found, genes, name)
    names = adata.obs_names.to_numpy().astype(str)
    return CellGroups(
        Expression(get_matrix(adata, layer), columns),
        genes,
        names,
        _get_groups(screen, names),
        _get_labels(adata, schema),
        is_log1p,
    )


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

    mean: Mapping[str, Averages] = field(default_factory=dict)
    cells: CellGroups | None = None


def read_reference(
    given: ReferenceLike | None,
    schema: ScreenSchema,
    real: CellGroups,
    control: Mapping[str, Averages],
) -> Reference:
    """Read the mean of the training conditions for each context of the real cells.

    ``real`` are the real cells, ``control`` the means of their controls by context. Of training
    cells it is the mean over the training conditions of that context; a context without any gets
    its own controls plus the mean effect in the others.
    """
    if given is None:
        return Reference()
    if isinstance(given, AnnData):
        return _read_training(given, schema, real, control)
    if isinstance(given, pd.DataFrame):
        is_kept = [bool(schema.parse(str(label))) for label in given.index]
        columns = find_genes(given.columns.astype(str), real.genes, "reference")
        table = given.to_numpy()[is_kept]
        rows = Averages.read(table if columns is None else table[:, columns])
    else:
        rows = Averages.read(given)
    _check_table(rows.array, len(real.genes))
    return Reference(dict.fromkeys(control, Averages.join([rows[i] for i in range(len(rows))])))


@dataclass(frozen=True)
class Moments:
    """Numbers of cells ``(n_groups,)``, sums and sums of squares ``(n_groups, n_genes)``.

    The squares are ``None`` where they were not asked for; ``dtype`` is the precision of what was
    added up.
    """

    n_cells: np.ndarray
    total: np.ndarray
    dtype: np.dtype
    square: np.ndarray | None = None

    @property
    def mean(self) -> Averages:
        """Means, shape ``(n_groups, n_genes)``; NaN for groups without cells."""
        with np.errstate(invalid="ignore"):
            return Averages.read(self.total / self.n_cells[:, None], self.dtype)

    def select(self, groups: slice) -> "Moments":
        """Choose groups by where they stand."""
        square = None if self.square is None else self.square[groups]
        return Moments(self.n_cells[groups], self.total[groups], self.dtype, square)


def compute_moments(
    expression: Expression, groups: Sequence[np.ndarray], *, use_squares: bool = False
) -> Moments:
    """Add up the cells of each group, reading the expression once, in chunks.

    ``groups`` holds the row numbers of each; groups may share cells.
    """
    n_cells = np.array([len(rows) for rows in groups], dtype=np.int64)
    rows = np.concatenate([np.empty(0, dtype=np.int64), *groups])
    member = sparse.csc_array(
        (np.ones(len(rows)), (np.repeat(np.arange(len(groups)), n_cells), rows)),
        shape=(len(groups), expression.n_cells),
    )
    total = np.zeros((len(groups), expression.n_genes))
    square = np.zeros_like(total) if use_squares else None
    for chunk, values in expression.chunks(max(1, CHUNK_VALUES // expression.n_genes)):
        part = member[:, chunk]
        if part.nnz:
            # Squares in float64: the difference of two large float32 sums is no variance.
            wide = values.astype(np.float64)
            total += part @ wide
            if square is not None:
                square += part @ np.square(wide, out=wide)
    return Moments(n_cells, total, expression.dtype, square)


def _get_groups(screen: Screen, names: np.ndarray) -> dict[Key, np.ndarray]:
    rank = np.empty(len(names), dtype=np.int64)
    rank[np.argsort(names, kind="stable")] = np.arange(len(names))
    groups: dict[Key, np.ndarray] = {}
    for i, name in enumerate(screen.contexts):
        if len(controls := screen.get_controls(i)):
            groups[(), name] = controls
    for targets, context, rows in screen.get_groups():
        groups[targets, screen.contexts[context]] = rows
    return {key: rows[np.argsort(rank[rows])] for key, rows in groups.items()}


def _get_labels(adata: AnnData, schema: ScreenSchema) -> dict[Targets, str]:
    """Return the spelling of each condition, the first of the alphabet if there are several."""
    spellings = sorted(set(adata.obs[schema.perturbation_key].astype(str)), reverse=True)
    return {schema.parse(label): label for label in spellings}


def find_genes(found: pd.Index, genes: Sequence[str], name: str) -> np.ndarray | None:
    """Find the column of each real gene; ``None`` where genes and columns agree one by one.

    A missing gene is refused: a filled-in value would be scored as if it had been predicted.
    """
    columns = found.get_indexer(pd.Index(genes))
    missing = [genes[i] for i in np.flatnonzero(columns < 0).tolist()]
    if missing:
        raise ValueError(
            f"{name} lacks {len(missing)} of the {len(genes)} genes of real: {missing[:5]}; it "
            f"has {list(found[:5])}. Score the genes that both have: "
            f"real = real[:, real.var_names.isin({name}.var_names)].copy()"
        )
    if len(found) > len(genes):
        logger.info("%d further genes of %s are left out.", len(found) - len(genes), name)
    is_same = len(found) == len(genes) and np.array_equal(columns, np.arange(len(genes)))
    return None if is_same else columns


def _read_training(
    given: AnnData,
    schema: ScreenSchema,
    real: CellGroups,
    real_control: Mapping[str, Averages],
) -> Reference:
    cells = read_cells(given, schema, "reference", layer=schema.layer, like=real)
    keys = cells.perturbed
    if not keys:
        raise ValueError(
            "reference has no perturbed cells. Give those of the training conditions."
        )
    _warn_of_shared(cells, real)
    moments = compute_moments(cells.expression, list(cells.groups.values()))
    mean = moments.mean
    mean_of = {key: mean[i] for i, key in enumerate(cells.groups)}
    control = {**real_control, **{name: mean_of[t, name] for t, name in mean_of if not t}}
    perturbed: dict[str, list[Averages]] = {}
    for key in keys:
        perturbed.setdefault(key[1], []).append(mean_of[key])
    by_context = {name: Averages.join(means) for name, means in perturbed.items()}
    reference = {name: _get_reference_mean(name, by_context, control) for name in real_control}
    is_cells = sum(len(cells.groups[key]) for key in keys) > len(keys)
    return Reference(reference, cells if is_cells else None)


def _check_table(rows: np.ndarray, n_genes: int) -> None:
    if rows.ndim != 2 or rows.shape[1] != n_genes or not len(rows):
        raise ValueError(
            f"reference has shape {rows.shape}; expected training conditions x {n_genes} genes."
        )
    if not np.isfinite(rows).all():
        raise ValueError(
            f"reference holds {np.count_nonzero(~np.isfinite(rows))} values that are not finite. "
            "Drop these conditions."
        )


def _warn_of_shared(trained: CellGroups, real: CellGroups) -> None:
    # Other cells of a condition may be trained on; the very cells that are scored may not, and
    # of means it cannot be told.
    is_means = all(len(trained.groups[key]) == 1 for key in trained.perturbed)
    both = sorted(
        key
        for key in set(trained.perturbed) & set(real.perturbed)
        if is_means or set(trained.names[trained.groups[key]]) & set(real.names[real.groups[key]])
    )
    if both:
        logger.warning(
            "%d of the %d conditions to score are in the reference, too, such as %r: a reference "
            "holds training conditions only, or other cells of them.",
            len(both),
            len(real.perturbed),
            real.labels[both[0][0]],
        )


def _get_reference_mean(
    context: str, means: Mapping[str, Averages], control: Mapping[str, Averages]
) -> Averages:
    if context in means:
        return means[context]
    effects = [mean - control[name] for name, mean in means.items() if name in control]
    if effects:
        return control[context] + Averages.join(effects)
    return Averages.join(list(means.values()))
