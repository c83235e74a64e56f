"""Mean effects of the conditions of a screen: what every regression and baseline learns from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from scbig._types import Arrays, Values
from scbig.data._expression import Expression
from scbig.data._screen import Screen
from scbig.labels import (
    Targets,
)

Group = tuple[Targets, int, np.ndarray]
_PARTS = ("context", "delta", "n_cells", "control_mean", "variance", "n_controls")


@dataclass(frozen=True)
class Effects:
    """Mean shift from control of each condition in each context.

    Attributes
    ----------
    targets
        Target set of each group, length ``n_groups``.
    context
        Context index of each group, shape ``(n_groups,)``.
    delta
        Mean of the perturbed cells minus mean of the control cells of the same context,
        log1p units, shape ``(n_groups, n_genes)``.
    n_cells
        Number of perturbed cells, shape ``(n_groups,)``.
    control_mean
        Mean of the control cells of each context, shape ``(n_contexts, n_genes)``.
    variance
        Variance of the cells of each group around their mean, shape ``(n_groups, n_genes)``;
        zero for a single cell.
    n_controls
        Number of control cells of each context, shape ``(n_contexts,)``; ``None`` where it is not
        known, and control means are taken to be without error.
    """

    targets: tuple[Targets, ...]
    context: np.ndarray
    delta: np.ndarray
    n_cells: np.ndarray
    control_mean: np.ndarray
    variance: np.ndarray
    n_controls: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def pooled_variance(self) -> np.ndarray:
        """Variance of cells within groups, shape ``(n_genes,)``.

        The noise of a mean of ``n`` cells is an ``n``-th of it.
        """
        n_free = self.n_cells - 1
        return n_free @ self.variance / max(n_free.sum(), 1)

    @property
    def noise(self) -> np.ndarray:
        """Covariance of the errors of measured effects, where the variance of cells is 1.

        All effects of a context share the error of its control mean, shape
        ``(n_groups, n_groups)``.
        """
        noise = np.diag(1 / self.n_cells)
        if self.n_controls is None:
            return noise
        n = self.n_controls[self.context]
        shared = np.divide(1.0, n, out=np.zeros(len(n)), where=n > 0)
        return noise + shared[:, None] * (self.context[:, None] == self.context)

    @property
    def keys(self) -> list[tuple[Targets, int]]:
        """Targets and context of each group."""
        return list(zip(self.targets, self.context.tolist(), strict=True))

    def get_control(self, context: np.ndarray) -> np.ndarray:
        """Look up control expression, which contexts without controls borrow from the others.

        Parameters
        ----------
        context
            Context of each condition, shape ``(n,)``; contexts that are not numbered are unknown.

        Returns
        -------
        Control expression of each condition, shape ``(n, n_genes)``: that of its context, or the
        mean over contexts.
        """
        is_measured = ~np.isnan(self.control_mean).any(axis=1)
        is_known = (context >= 0) & (context < len(self.control_mean))
        row = np.where(is_known, context, 0)
        is_known &= is_measured[row]
        elsewhere = self.control_mean[is_measured].mean(axis=0)
        return np.where(is_known[:, None], self.control_mean[row], elsewhere)

    def subset(self, rows: np.ndarray) -> "Effects":
        """Choose groups.

        Parameters
        ----------
        rows
            Row numbers, or a mask of shape ``(n_groups,)``.

        Returns
        -------
        The effects of these groups; control means of all contexts stay.
        """
        rows = np.arange(len(self))[rows]
        return Effects(
            tuple(self.targets[i] for i in rows),
            self.context[rows],
            self.delta[rows],
            self.n_cells[rows],
            self.control_mean,
            self.variance[rows],
            self.n_controls,
        )

    def without(self, other: "Effects") -> "Effects":
        """Leave out groups.

        Parameters
        ----------
        other
            Effects whose groups are left out; its contexts are numbered alike.

        Returns
        -------
        The effects of the groups that are not among those of ``other``; control means of all
        contexts stay.
        """
        left_out = set(other.keys)
        return self.subset(np.array([key not in left_out for key in self.keys], dtype=bool))


def compute_effects(expression: Expression, screen: Screen) -> Effects:
    """Average cells into effects, reading the expression once, in chunks.

    Parameters
    ----------
    expression
        Expression of the cells of ``screen``; any matrix of cell features will do.
    screen
        Conditions and contexts of the cells.

    Returns
    -------
    Effects of all groups of perturbed cells.
    """
    controls = [screen.get_controls(i) for i in range(len(screen.contexts))]
    return _average(expression, [(list(screen.get_groups()), controls)])[0]


def compute_half_effects(
    expression: Expression, screen: Screen, groups: Sequence[Group], rng: np.random.Generator
) -> list[Effects]:
    """Average two random halves of the cells, perturbed ones and controls, by themselves.

    Parameters
    ----------
    expression, screen
        As for :func:`compute_effects`.
    groups
        Targets, context and row numbers of groups of cells.
    rng
        Source of randomness.

    Returns
    -------
    Two measurements of the effects of the groups that have two cells or more, and two control
    cells in their context; their errors have nothing in common.
    """
    controls = [rng.permutation(screen.get_controls(i)) for i in range(len(screen.contexts))]
    shuffled = [
        (targets, context, rng.permutation(rows))
        for targets, context, rows in groups
        if min(len(rows), len(controls[context])) > 1
    ]
    halves = [
        ([(name, here, rows[i::2]) for name, here, rows in shuffled], [c[i::2] for c in controls])
        for i in range(2)
    ]
    return _average(expression, halves)


def _average(
    expression: Expression, parts: Sequence[tuple[Sequence[Group], Sequence[np.ndarray]]]
) -> list[Effects]:
    """Effects of each part: groups of perturbed cells, and the control cells of each context."""
    rows = [[*(rows for *_, rows in groups), *controls] for groups, controls in parts]
    means, variances = _compute_moments(expression, [cells for part in rows for cells in part])
    ends = np.cumsum([len(part) for part in rows])[:-1]
    pairs = zip(np.split(means, ends), np.split(variances, ends), strict=True)
    effects = []
    for (groups, controls), (mean, variance) in zip(parts, pairs, strict=True):
        n_groups = len(groups)
        context = np.array([context for _, context, _ in groups], dtype=np.int64)
        effects.append(
            Effects(
                targets=tuple(targets for targets, *_ in groups),
                context=context,
                delta=mean[:n_groups] - mean[n_groups:][context],
                n_cells=np.array([len(cells) for *_, cells in groups], dtype=np.int64),
                control_mean=mean[n_groups:],
                variance=variance[:n_groups],
                n_controls=np.array([len(cells) for cells in controls], dtype=np.int64),
            )
        )
    return effects


def compute_group_means(expression: Expression, groups: list[np.ndarray]) -> np.ndarray:
    """Average cells, reading the expression once, in chunks.

    Parameters
    ----------
    expression
        Expression of the cells.
    groups
        Row numbers of the cells of each group.

    Returns
    -------
    Means, shape ``(n_groups, n_genes)``; NaN for a group without cells.
    """
    return _compute_moments(expression, groups)[0]


def join_effects(old: Effects, new: Effects) -> Effects:
    """Join the groups of an earlier screen with those of a new one.

    Parameters
    ----------
    old
        Effects in the earlier screen; the names of its contexts come first in ``new``.
    new
        Effects in the new screen.

    Returns
    -------
    All effects, the old ones first.
    """
    # A context without control cells in the new screen keeps its earlier mean.
    known = np.full_like(new.control_mean, np.nan)
    known[: len(old.control_mean)] = old.control_mean
    return Effects(
        targets=old.targets + new.targets,
        context=np.concatenate([old.context, new.context]),
        delta=np.vstack([old.delta, new.delta]),
        n_cells=np.concatenate([old.n_cells, new.n_cells]),
        control_mean=np.where(np.isnan(new.control_mean), known, new.control_mean),
        variance=np.vstack([old.variance, new.variance]),
        n_controls=_join_numbers(old.n_controls, new.n_controls),
    )


def _join_numbers(old: np.ndarray | None, new: np.ndarray | None) -> np.ndarray | None:
    """Numbers of controls of all contexts: those of the new screen where it has any."""
    if old is None or new is None:
        return None
    before = np.zeros_like(new)
    before[: len(old)] = old
    return np.where(new > 0, new, before)


def effects_to_plain(effects: Effects) -> tuple[Values, Arrays]:
    """Take effects apart.

    Parameters
    ----------
    effects
        Effects of a screen.

    Returns
    -------
    Their targets as values, and the rest as arrays.
    """
    values = {"targets": [list(group) for group in effects.targets]}
    arrays = {f"effects.{part}": getattr(effects, part) for part in _PARTS}
    return values, {name: array for name, array in arrays.items() if array is not None}


def effects_from_plain(values: Values, arrays: Arrays) -> Effects:
    """Rebuild what :func:`effects_to_plain` took apart.

    Parameters
    ----------
    values, arrays
        What it returned; further arrays do no harm.

    Returns
    -------
    The effects.
    """
    targets = tuple(tuple(group) for group in values["targets"])
    # Folders of version 0.1 do not tell how many control cells there were.
    parts = {part: arrays[f"effects.{part}"] for part in _PARTS if f"effects.{part}" in arrays}
    return Effects(targets, **parts)


def _compute_moments(
    expression: Expression, groups: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return means and variances of the groups; NaN for the mean of a group without cells."""
    sizes = np.array([len(rows) for rows in groups], dtype=np.int64)
    cells = np.concatenate(groups) if groups else np.empty(0, dtype=np.int64)
    member = sparse.csc_array(
        (np.ones(len(cells)), (np.repeat(np.arange(len(groups)), sizes), cells)),
        shape=(len(groups), expression.n_cells),
    )
    total, square = np.zeros((2, len(groups), expression.n_genes))
    for rows, values in expression.chunks():
        total += member[:, rows] @ values
        square += member[:, rows] @ np.square(values, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        means = total / sizes[:, None]
    within = np.maximum(square - total**2 / np.maximum(sizes, 1)[:, None], 0)
    variance = within / np.maximum(sizes - 1, 1)[:, None]
    return means.astype(np.float32), variance.astype(np.float32)
