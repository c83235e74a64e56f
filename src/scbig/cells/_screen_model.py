"""What of a screen's counts is needed to make cells of its conditions: genes, and depths."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial

import numpy as np
from scipy import sparse

from scbig._types import Arrays, Values
from scbig.cells._counts import CellCounts, check_counts
from scbig.cells._gene_model import GeneModel, fit_gene_model
from scbig.cells._mixtures import MIN_CELLS
from scbig.cells._recovery import recover_counts
from scbig.cells._responders import (
    Responders,
    fit_responders,
    responders_from_plain,
    responders_to_plain,
    take_responders,
)
from scbig.cells._sources import DEPTH_PRIOR, estimate_depth_error, map_depths

logger = logging.getLogger(__name__)

# With fewer of its cells recovered, a screen is taken to have no counts.
MIN_RECOVERED = 0.5
# Cells of a group, of the controls of a context, and of all groups that are looked at, at most.
_N_GROUP, _N_CONTROLS, _N_ALL, _MIN_GROUP = 200, 2000, 40_000, 20
# Screens are taken to have one target sum where theirs differ by less.
_SUM_RATIO = 0.01
# Cells that are read at once where those of all groups are too many.
_N_AT_ONCE = 20_000
_RANKS = np.linspace(0, 1, 101)

Key = tuple[str, ...]
# Values of cells by number, and their counts where these are kept.
ReadCells = Callable[[np.ndarray], tuple[np.ndarray | sparse.csr_matrix, sparse.csr_matrix | None]]


@dataclass(frozen=True)
class ContextModel:
    """Counts of genes and depths of cells in one context.

    Attributes
    ----------
    genes
        Mean and dispersion of each gene.
    control_depths
        Quantiles of the depths of the control cells, shape ``(101,)``.
    depths
        The same of all perturbed training cells.
    own
        Of the conditions that were trained on: their numbers of cells, and quantiles.
    responders
        Of the same, how many of their cells respond.
    target_sum
        Target sum of the values at which depths are told.
    """

    genes: GeneModel
    control_depths: np.ndarray
    depths: np.ndarray
    own: Mapping[Key, tuple[int, np.ndarray]] = field(default_factory=dict)
    responders: Mapping[Key, Responders] = field(default_factory=dict)
    target_sum: float = np.nan

    def compute_depths(self, controls: np.ndarray, condition: Key) -> np.ndarray:
        """Compute the depth that each control cell has as a cell of a condition.

        Parameters
        ----------
        controls
            Depths of all control cells at hand, which may be those of other data, shape
            ``(n_controls,)``.
        condition
            The condition; unless it was trained on, the depths of all perturbed cells count.

        Returns
        -------
        Depths, in which cells change as those of like rank did in the screen, ``(n_controls,)``.
        """
        n, own = self.own.get(condition, (0, None))
        n_prior = DEPTH_PRIOR * len(_RANKS) / max(n, 1)
        after = map_depths(controls, self.depths, own, n_prior)
        return controls * after / map_depths(controls, self.control_depths)

    def get_depth_error(self, condition: Key) -> float:
        """How far the mean depth of a condition may be from that, in logarithms."""
        return estimate_depth_error(self.own.get(condition, (0, None))[0])


@dataclass(frozen=True)
class ScreenModel:
    """What is known of a screen's counts.

    Attributes
    ----------
    contexts
        What is known of each context, by number; empty where counts cannot be had.
    target_sum
        Target sum of the values; of the last screen, where there were several.
    base
        Base of their logarithm; ``None`` for the natural one.
    share
        Share of the cells looked at whose counts are known.
    is_closed
        Whether cells sum to the target sum, as they do unless genes were left out of it.
    """

    contexts: Mapping[int, ContextModel]
    target_sum: float
    base: float | None
    share: float
    is_closed: bool = True

    @property
    def has_counts(self) -> bool:
        """Whether cells can be made as counts."""
        return bool(self.contexts)

    def get_context(self, context: int, controls: CellCounts) -> ContextModel:
        """Return what is known of a context; of a new one, what its control cells tell.

        Parameters
        ----------
        context
            Its number.
        controls
            Its control cells, all recovered.
        """
        if context in self.contexts:
            return self.contexts[context]
        genes = fit_gene_model(controls.counts, controls.depth, np.zeros(len(controls.depth)))
        same = np.quantile(controls.depth, _RANKS)
        return ContextModel(genes, same, same, target_sum=controls.target_sum)

    def get_target_sum(self, context: int) -> float:
        """Return the target sum of the screen that a context is known from.

        Parameters
        ----------
        context
            Its number.
        """
        known = self.contexts.get(context)
        return self.target_sum if known is None else known.target_sum

    def extend(self, further: "ScreenModel") -> "ScreenModel":
        """Add what a further screen tells; what both tell is taken from it.

        Parameters
        ----------
        further
            The model of the further screen, whose contexts are numbered alike.

        Returns
        -------
        The model of both. Depths of a condition that the earlier screen alone has stand to those
        of the new control cells as they did to those of the earlier ones.
        """
        if not (self.has_counts and further.has_counts):
            return self if self.has_counts else further
        sums = self.target_sum, further.target_sum
        if self.is_closed and further.is_closed and not np.isclose(*sums, rtol=_SUM_RATIO):
            logger.warning(
                "The earlier screen is normalised to %g, the further one to %g: effects of both "
                "are taken for alike, and are not. Normalise them alike, or train anew on raw "
                "counts of both.",
                *sums,
            )
        joined = dict(self.contexts)
        for number, context in further.contexts.items():
            if number in joined:
                known = joined[number]
                deeper = context.control_depths / known.control_depths
                earlier = {key: (n, depths * deeper) for key, (n, depths) in known.own.items()}
                own = {**earlier, **context.own}
                responders = {**known.responders, **context.responders}
                context = replace(context, own=own, responders=responders)
            joined[number] = context
        return replace(further, contexts=joined)

    def to_plain(self) -> tuple[Values, Arrays]:
        """Return values for JSON and arrays for safetensors."""
        values: Values = {
            "target_sum": self.target_sum if np.isfinite(self.target_sum) else None,
            "base": self.base,
            "share": self.share,
            "is_closed": self.is_closed,
            "contexts": {},
        }
        arrays: Arrays = {}
        for number, context in self.contexts.items():
            start = f"{number}."
            responders, arrays[start + "responders"] = responders_to_plain(context.responders)
            values["contexts"][str(number)] = {
                "reference": context.genes.reference,
                "target_sum": context.target_sum,
                "responders": responders,
                "own": [list(key) for key in context.own],
                "n_own": [n for n, _ in context.own.values()],
            }
            arrays |= {
                start + name.name: np.ascontiguousarray(getattr(context.genes, name.name))
                for name in fields(GeneModel)
                if name.name != "reference"
            }
            own = [quantiles for _, quantiles in context.own.values()]
            arrays[start + "own"] = np.reshape(own, (len(own), len(_RANKS)))
            arrays[start + "control_depths"] = context.control_depths
            arrays[start + "depths"] = context.depths
        return values, arrays

    @classmethod
    def from_plain(cls, values: Values, arrays: Arrays) -> "ScreenModel":
        """Rebuild what :meth:`to_plain` returned."""
        target_sum = values["target_sum"]
        total = np.nan if target_sum is None else target_sum
        contexts = {}
        for number, plain in values["contexts"].items():
            start = f"{number}."
            own = {
                tuple(key): (n, quantiles)
                for key, n, quantiles in zip(
                    plain["own"], plain["n_own"], arrays[start + "own"], strict=True
                )
            }
            genes = GeneModel(
                reference=plain["reference"],
                **{
                    name.name: arrays[start + name.name]
                    for name in fields(GeneModel)
                    if name.name != "reference"
                },
            )
            depths = arrays[start + "control_depths"], arrays[start + "depths"]
            told = responders_from_plain(plain["responders"], arrays[start + "responders"])
            own_sum = plain.get("target_sum", total)
            contexts[int(number)] = ContextModel(genes, *depths, own, told, own_sum)
        known = values["base"], values["share"], values.get("is_closed", True)
        return cls(contexts, total, *known)


def fit_screen_model(
    read: ReadCells,
    groups: Sequence[tuple[Key, int, np.ndarray]],
    controls: Sequence[np.ndarray],
    rng: np.random.Generator,
    base: float | None = None,
    is_responding: np.ndarray | None = None,
) -> ScreenModel:
    """Fit what cells are made with, looking at some cells of each group.

    Parameters
    ----------
    read
        Reads cells by number.
    groups
        Condition, context and row numbers of each group of perturbed training cells.
    controls
        Row numbers of the control cells of each context.
    rng
        Draws cells: of each group 200, or fewer that all have 40,000, but 20; 2,000 controls. Who
        responds is told by up to 200 of each group, some groups at a time.
    base
        Base of the logarithm; ``None`` for the natural one.
    is_responding
        Probability that each cell responds, where it is known, and NaN elsewhere; shares of
        conditions without any are estimated by :func:`fit_responders`.

    Returns
    -------
    The model; without contexts where the counts of fewer than half of the cells are known.
    """
    n_group = int(np.clip(_N_ALL // max(len(groups), 1), _MIN_GROUP, _N_GROUP))
    drawn = [_thin(rows, _N_CONTROLS, rng) for rows in controls]
    wanted = [_thin(rows, _N_GROUP, rng) for *_, rows in groups]
    drawn += [_thin(rows, n_group, rng) for rows in wanted]
    found = read_counts((read(rows) for rows in drawn if len(rows)), base)
    owner = np.repeat(np.arange(len(drawn)), [len(rows) for rows in drawn])
    share = float(found.is_recovered.mean())
    if share < MIN_RECOVERED:
        return ScreenModel({}, np.nan, base, share)
    contexts = {}
    for number in range(len(controls)):
        members = [i for i, group in enumerate(groups, len(controls)) if group[1] == number]
        rows = found.is_recovered & np.isin(owner, [number, *members])
        if (rows & (owner == number)).any():
            own = {i: groups[i - len(controls)][0] for i in members}
            given = _take_given([groups[i - len(controls)] for i in members], is_responding)
            cells = found.subset(rows)
            context = _fit_context(cells, owner[rows], number, own)
            looked = {
                key: (cells.subset(owner[rows] == i), wanted[i - len(controls)])
                for i, key in own.items()
                if key in context.own and key not in given
            }
            known = cells.subset(owner[rows] == number)
            told = fit_responders(
                _read_groups(read, looked, found),
                known,
                context.genes,
                partial(context.compute_depths, known.depth),
                rng,
            )
            contexts[number] = replace(context, responders={**told, **given})
    return ScreenModel(contexts, found.target_sum, base, share, found.is_closed)


def read_counts(
    parts: Iterable[tuple[np.ndarray | sparse.csr_matrix, sparse.csr_matrix | None]],
    base: float | None,
) -> CellCounts:
    """Read counts of cells: those that are kept with them, or else recovered.

    Parameters
    ----------
    parts
        Values of some cells, and their counts or ``None`` for all parts.
    base
        Base of the logarithm.

    Returns
    -------
    The counts of all cells.

    Raises
    ------
    ValueError
        When counts disagree with the values.
    """
    pairs = [(sparse.csr_matrix(values), counts) for values, counts in parts]
    values = sparse.vstack([part for part, _ in pairs], format="csr")
    kept = [counts for _, counts in pairs if counts is not None]
    if not kept:
        return recover_counts(values, base)
    return check_counts(sparse.vstack(kept, format="csr"), values, base)


def _take_given(
    groups: Sequence[tuple[Key, int, np.ndarray]], is_responding: np.ndarray | None
) -> dict[Key, Responders]:
    """Take who responds of the conditions where it is known."""
    if is_responding is None:
        return {}
    known = {key: is_responding[rows] for key, _, rows in groups}
    known = {key: values[~np.isnan(values)] for key, values in known.items()}
    return {key: take_responders(values) for key, values in known.items() if len(values)}


def _fit_context(
    cells: CellCounts, owner: np.ndarray, control: int, own: Mapping[int, Key]
) -> ContextModel:
    is_control = owner == control
    depth = cells.depth
    perturbed = depth[~is_control] if (~is_control).any() else depth
    return ContextModel(
        fit_gene_model(cells.counts, depth, owner, control),
        np.quantile(depth[is_control], _RANKS),
        np.quantile(perturbed, _RANKS),
        {
            key: (int((owner == i).sum()), np.quantile(depth[owner == i], _RANKS))
            for i, key in own.items()
            if (owner == i).any()
        },
        target_sum=cells.target_sum,
    )


def _read_groups(
    read: ReadCells, looked: Mapping[Key, tuple[CellCounts, np.ndarray]], found: CellCounts
) -> Iterator[tuple[Key, CellCounts]]:
    """Yield the cells of each condition that are at hand, or else read as many as are wanted.

    Of conditions with too few cells to tell anything none are read.
    """
    lacking = {
        key: rows
        for key, (cells, rows) in looked.items()
        if len(rows) >= max(MIN_CELLS, len(cells.depth) + 1)
    }
    yield from ((key, cells) for key, (cells, _) in looked.items() if key not in lacking)
    ends = np.cumsum([len(rows) for rows in lacking.values()])
    for portion in np.unique(ends // _N_AT_ONCE):
        keys = [
            key for key, end in zip(lacking, ends, strict=True) if end // _N_AT_ONCE == portion
        ]
        more = read_counts((read(lacking[key]) for key in keys), found.base)
        if not found.is_closed:
            depth = more.depth * (found.target_sum / more.target_sum)
            more = replace(more, depth=depth, target_sum=found.target_sum)
        owner = np.repeat(np.arange(len(keys)), [len(lacking[key]) for key in keys])
        for i, key in enumerate(keys):
            yield key, more.subset(more.is_recovered & (owner == i))


def _thin(rows: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    return rows if len(rows) <= n else np.sort(rng.choice(rows, n, replace=False))
