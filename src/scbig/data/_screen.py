"""A screen as groups of cells: which perturbation, in which context.

Labels are read here, and here alone.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

Targets = tuple[str, ...]
Perturbations = Sequence[str | Sequence[str]]

CONTROL_LABELS = (
    "control",
    "ctrl",
    "non-targeting",
    "non_targeting",
    "nontargeting",
    "NT",
    "NTC",
    "unperturbed",
)
DEFAULT_SEPARATOR = "+"
CONTEXT_JOIN = " | "

_CONTROL_TOKENS = frozenset(label.casefold() for label in CONTROL_LABELS)


@dataclass(frozen=True)
class ScreenSchema:
    """The columns and conventions of one screen.

    Attributes
    ----------
    perturbation_key
        Column of ``obs`` with the perturbation labels.
    control
        Label of the control cells.
    separator
        What stands between the targets of a combined label; ``None`` when no label is one.
    context_keys
        Columns of ``obs`` within which controls are matched to perturbed cells.
    layer
        Layer with log1p-normalised expression; ``None`` for ``X``.
    gene_key
        Column of ``var`` with the gene names; ``None`` for ``var_names``.
    other_controls
        Further labels of control cells, where they have several.
    """

    perturbation_key: str
    control: str
    separator: str | None = None
    context_keys: tuple[str, ...] = ()
    layer: str | None = None
    gene_key: str | None = None
    other_controls: tuple[str, ...] = ()

    def parse(self, label: str) -> tuple[str, ...]:
        """Read one label.

        Parameters
        ----------
        label
            Label as the screen writes it.

        Returns
        -------
        Its targets, sorted; empty for controls.
        """
        return parse_perturbation(label, control=self.controls, separator=self.separator)

    def read_labels(self, perturbations: Perturbations) -> dict[str, tuple[str, ...]]:
        """Read what a user asks for, each label once.

        Parameters
        ----------
        perturbations
            A label, labels such as ``["A", "A+B"]``, or sequences of targets.

        Returns
        -------
        Target sets by label, in the order given; that of the control is empty.

        Raises
        ------
        ValueError
            When something else than text stands in place of a label or target.
        """
        is_one = isinstance(perturbations, str) or not isinstance(perturbations, Iterable)
        wanted = [perturbations] if is_one else perturbations
        labels = [one if isinstance(one, str) else self.join(_list_targets(one)) for one in wanted]
        return {label: self.parse(label) for label in labels}

    def join(self, targets: Sequence[str]) -> str:
        """Write targets as a label of this screen.

        Parameters
        ----------
        targets
            Names of the targets; none for control cells.

        Returns
        -------
        The label, which :meth:`parse` reads.

        Raises
        ------
        ValueError
            When there are several targets but the screen has no separator.
        """
        if len(targets) > 1 and self.separator is None:
            raise ValueError(
                f"{list(targets)} cannot be combined: this screen was set up without a separator. "
                f"Name one at setup: separator={DEFAULT_SEPARATOR!r}"
            )
        return (self.separator or "").join(targets) if targets else self.control

    @property
    def controls(self) -> tuple[str, ...]:
        """All labels of control cells, first the one under which they leave."""
        return self.control, *self.other_controls

    def name_controls(self, labels: pd.Series) -> pd.Series:
        """Give control cells one label.

        Parameters
        ----------
        labels
            Labels as the screen writes them.

        Returns
        -------
        The same as text, with the first label of controls in place of the others.
        """
        labels = labels.astype(str)
        return labels.mask(labels.isin(self.other_controls), self.control)

    @property
    def obs_keys(self) -> list[str]:
        """Columns of ``obs`` that are read."""
        return [self.perturbation_key, *self.context_keys]

    def without_places(self) -> "ScreenSchema":
        """Return the conventions of data with expression in ``X`` and genes as ``var_names``."""
        return replace(self, layer=None, gene_key=None)

    def describe(self) -> str:
        """Say what was taken for what, for the log."""
        return (
            f"Took obs[{self.perturbation_key!r}] as perturbations "
            f"(control {', '.join(map(repr, self.controls))}, "
            f"separator {self.separator!r}, contexts {list(self.context_keys) or 'none'})."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the schema as plain values, ready for JSON, as ``setup_anndata`` takes them."""
        values = asdict(self) | {"context_keys": list(self.context_keys)}
        others = values.pop("other_controls")
        return values | {"control": list(self.controls)} if others else values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ScreenSchema":
        """Rebuild a schema.

        Parameters
        ----------
        values
            What :meth:`to_dict` returned.

        Returns
        -------
        The schema.
        """
        first, *others = read_controls(values["control"])
        keys = tuple(values["context_keys"])
        given = {"control": first, "other_controls": tuple(others), "context_keys": keys}
        return cls(**(values | given))


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
    """

    conditions: tuple[Targets, ...]
    condition: np.ndarray
    contexts: tuple[str, ...]
    context: np.ndarray

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
        """Find the control cells of one context.

        Parameters
        ----------
        context
            Index into ``contexts``.

        Returns
        -------
        Row numbers, in increasing order.
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
    codes, labels = pd.factorize(obs[schema.perturbation_key].astype(str), sort=True)
    parsed = [schema.parse(label) for label in labels]
    if resolve is not None:
        parsed = [resolve(targets) for targets in parsed]
    conditions = sort_conditions(parsed)
    index = {targets: i for i, targets in enumerate(conditions)}
    condition = np.array([index[targets] for targets in parsed], dtype=np.int64)[codes]
    names, context = _read_contexts(obs, schema.context_keys, contexts or ())
    return Screen(conditions, condition, names, context)


def sort_conditions(targets: Iterable[Targets]) -> tuple[Targets, ...]:
    """Return the distinct target sets, the smallest first."""
    return tuple(sorted(set(targets), key=lambda group: (len(group), group)))


def get_context_names(obs: pd.DataFrame, keys: Sequence[str]) -> pd.Series:
    """Name the context of each cell: its values of the context keys, joined.

    Parameters
    ----------
    obs
        Cell annotations.
    keys
        Columns that make up a context.

    Returns
    -------
    Context names by cell; ``"all"`` for every cell when there are no keys.
    """
    if not keys:
        return pd.Series("all", index=obs.index)
    columns = [obs[key].astype(str) for key in keys]
    return columns[0].str.cat(columns[1:], sep=CONTEXT_JOIN) if len(columns) > 1 else columns[0]


def _read_contexts(
    obs: pd.DataFrame, keys: Sequence[str], known: Sequence[str]
) -> tuple[tuple[str, ...], np.ndarray]:
    names = get_context_names(obs, keys)
    new = sorted(set(names) - set(known))
    contexts = (*known, *new)
    return contexts, pd.Index(contexts).get_indexer(names)


def read_controls(control: str | Sequence[str]) -> tuple[str, ...]:
    """Return the labels of control cells as text, whether one is given or several."""
    return (control,) if isinstance(control, str) else tuple(dict.fromkeys(map(str, control)))


def parse_perturbation(
    label: str, *, control: str | Sequence[str], separator: str | None
) -> tuple[str, ...]:
    """Read a perturbation label as the sorted set of its targets.

    Parameters
    ----------
    label
        Label such as ``"A"``, ``"A+B"``, ``"A+ctrl"`` or the control label.
    control
        The control label of the screen, or all of them.
    separator
        What stands between two targets; ``None`` or ``""`` when labels name one target each.

    Returns
    -------
    Target names, sorted, without controls. Empty for control cells. The order of targets in
    the label does not matter, and a target that is named twice counts once. A label of one part
    is a control only if it is the control label itself: of two control labels, the one that was
    not named is a perturbation like any other.

    Raises
    ------
    ValueError
        When the label, or a part of it, is empty.

    Examples
    --------
    >>> parse_perturbation("B+A", control="control", separator="+")
    ('A', 'B')
    >>> parse_perturbation("A+ctrl", control="ctrl", separator="+")
    ('A',)
    """
    controls = {name.strip() for name in read_controls(control)}
    if label.strip() in controls:
        return ()
    if not label.strip():
        raise ValueError(
            f"A perturbation label is empty: {label!r}. Label its cells or drop them."
        )
    parts = [part.strip() for part in (label.split(separator) if separator else [label])]
    if not all(parts):
        raise ValueError(
            f"The perturbation label {label!r} has an empty target. Write labels as "
            f"'A{separator}B', or say that none is a combination: separator=''"
        )
    if len(parts) == 1:
        return tuple(parts)
    return tuple(sorted({p for p in parts if p not in controls and not is_control_token(p)}))


def is_control_token(token: str) -> bool:
    """Whether a label, or one part of a label such as the ``ctrl`` of ``A+ctrl``, is a control."""
    return token.casefold() in _CONTROL_TOKENS


def check_missing(obs: pd.DataFrame, keys: Sequence[str]) -> None:
    """Raise when cells lack a value in one of the columns."""
    for key in keys:
        n_missing = int(obs[key].isna().sum())
        if n_missing:
            raise ValueError(
                f"obs[{key!r}] is missing for {n_missing} cell(s). "
                f"Drop them: adata = adata[adata.obs[{key!r}].notna()].copy()"
            )


def _list_targets(given: Any) -> list[str]:
    """List the targets that stand in place of a label, or say what stands there."""
    listed = list(given) if isinstance(given, Iterable) else [given]
    if not isinstance(given, Iterable) or not all(isinstance(one, str) for one in listed):
        raise ValueError(
            f"{given!r} stands where a perturbation is named. Give labels, such as ['A', 'A+B'], "
            "or sequences of targets, such as [('A', 'B')]; all of them are text."
        )
    return listed
