"""A screen as groups of cells: which perturbation, in which context."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from scbig.labels import (
    ScreenSchema,
    Targets,
    check_contexts,
    check_missing,
    get_context_names,
)


@dataclass(frozen=True)
class Screen:
    """Cells by condition (set of targets) and context.

    Attributes
    ----------
    conditions
        Distinct target sets; the empty one, if there, is the control.
    condition
        Index into ``conditions`` of each cell, shape ``(n_cells,)``.
    contexts
        Names of the contexts; a single ``"all"`` when there are no context keys.
    context
        Index into ``contexts`` of each cell, shape ``(n_cells,)``.
    lenders
        Contexts whose control cells serve those that have none of their own.
    """

    conditions: tuple[Targets, ...]
    condition: np.ndarray
    contexts: tuple[str, ...]
    context: np.ndarray
    lenders: Mapping[int, Sequence[int]] = field(default_factory=dict)

    @property
    def is_control(self) -> np.ndarray:
        """Boolean mask of the control cells, shape ``(n_cells,)``."""
        is_empty = np.array([not targets for targets in self.conditions])
        return is_empty[self.condition]

    @property
    def targets(self) -> tuple[str, ...]:
        """All distinct targets, sorted."""
        return tuple(sorted({target for targets in self.conditions for target in targets}))

    def get_controls(self, context: int) -> np.ndarray:
        """Find the control cells of one context, or those that it borrows.

        Parameters
        ----------
        context
            Index into ``contexts``.

        Returns
        -------
        Row numbers, in increasing order.
        """
        own = self.get_own_controls(context)
        if len(own) or context not in self.lenders:
            return own
        return np.flatnonzero(self.is_control & np.isin(self.context, self.lenders[context]))

    def get_own_controls(self, context: int) -> np.ndarray:
        """Find the control cells that are in one context.

        Parameters
        ----------
        context
            Index into ``contexts``.
        """
        return np.flatnonzero(self.is_control & (self.context == context))

    def get_groups(self) -> Iterator[tuple[Targets, int, np.ndarray]]:
        """Yield targets, context and row numbers of each group of perturbed cells."""
        n_contexts = len(self.contexts)
        code = self.condition * n_contexts + self.context
        order = np.argsort(code, kind="stable")
        values, starts = np.unique(code[order], return_index=True)
        for value, rows in zip(values, np.split(order, starts[1:]), strict=True):
            targets = self.conditions[value // n_contexts]
            if targets:
                yield targets, int(value % n_contexts), rows


def make_screen(
    obs: pd.DataFrame,
    schema: ScreenSchema,
    contexts: Sequence[str] | None = None,
    *,
    resolve: Callable[[Targets], Targets] | None = None,
) -> Screen:
    """Parse the labels of all cells.

    Parameters
    ----------
    obs
        Cell annotations.
    schema
        Where they keep their labels.
    contexts
        Known context names, whose order is kept; new ones are appended.
    resolve
        Returns targets under the names that are known; by default all are taken as written.

    Returns
    -------
    The screen.

    Raises
    ------
    ValueError
        When cells lack a label or a context, or a label cannot be read.
    """
    check_missing(obs, (schema.perturbation_key, *schema.context_keys))
    check_contexts(obs, schema.context_keys)
    codes, labels = pd.factorize(obs[schema.perturbation_key].astype(str), sort=True)
    parsed = [schema.parse(label) for label in labels]
    if resolve is not None:
        parsed = [resolve(targets) for targets in parsed]
    conditions = sort_conditions(parsed)
    index = {targets: i for i, targets in enumerate(conditions)}
    condition = np.array([index[targets] for targets in parsed], dtype=np.int64)[codes]
    names, context = _read_contexts(obs, schema.context_keys, contexts or ())
    number = {name: i for i, name in enumerate(names)}
    lenders = {
        number[name]: [number[one] for one in lending if one in number]
        for name, lending in schema.lenders
        if name in number
    }
    return Screen(conditions, condition, names, context, lenders)


def sort_conditions(targets: Iterable[Targets]) -> tuple[Targets, ...]:
    """Return the distinct target sets, the smallest first."""
    return tuple(sorted(set(targets), key=lambda group: (len(group), group)))


def _read_contexts(
    obs: pd.DataFrame, keys: Sequence[str], known: Sequence[str]
) -> tuple[tuple[str, ...], np.ndarray]:
    names = get_context_names(obs, keys)
    new = sorted(set(names) - set(known))
    contexts = (*known, *new)
    return contexts, pd.Index(contexts).get_indexer(names)
