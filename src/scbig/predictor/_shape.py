"""Is the shape of predicted cells that of real ones, whatever their mean?

A regression tells means, and count transport gives cells that vary as control cells do. What
networks may add is how the cells of a condition differ from each other beyond that. It is judged
on cells that none of them has seen: some of training conditions, and those held out.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.stats import ttest_1samp

from scbig.cells import ScreenModel
from scbig.data import (
    Expression,
    Group,
    ScreenCells,
    Targets,
    Wanted,
    ask_for_cells,
    make_cells,
    match_genes,
    thin,
)
from scbig.metrics import Projection, energy_centred, wasserstein_axis
from scbig.predictor._judge import CellMover, Task, move_to_one
from scbig.predictor._method import Method

logger = logging.getLogger(__name__)

# Training groups of which cells are set apart, and held-out ones, that are looked at.
_N_GROUPS = 8
# Cells of a group that are needed to see its shape, and that are looked at.
_MIN_CELLS, _MAX_CELLS = 30, 200
_SET_APART = 1 / 3
# Control cells that are moved to score a network while it learns.
_N_MOVED = 100
# Cells that components are found in, and control cells that the axis of an effect starts from.
_N_FITTED, _N_CONTROLS = 5000, 500
SIGNIFICANCE = 0.05


@dataclass(frozen=True, eq=False)
class ShapeComparison:
    """Shapes of cells made without networks and with them; lower is better.

    Attributes
    ----------
    before, after
        ``energy_centred`` and ``wasserstein_axis`` of each group, ``(n_groups, 2)``; NaN where
        there is no axis.
    n_trained
        Number of groups, the first, of conditions that were trained on.
    """

    before: np.ndarray
    after: np.ndarray
    n_trained: int

    @property
    def is_gain(self) -> bool:
        """Whether cells are nearer to real ones by more than chance, and on no axis worse.

        The centred energy has to fall by a one-sided paired t-test over groups; neither it nor
        the distance on the axis of the effect may rise in the held-out conditions.
        """
        gain = self.before - self.after
        if len(gain) < 2 or not np.ptp(gain[:, 0]):
            return False
        is_surer = ttest_1samp(gain[:, 0], 0, alternative="greater").pvalue < SIGNIFICANCE
        parts = (gain, gain[: self.n_trained], gain[self.n_trained :])
        return bool(is_surer and all((_average(part) >= 0).all() for part in parts))

    def __str__(self) -> str:
        """Say it in one line."""
        parts = {
            "set-apart cells of training conditions": slice(self.n_trained),
            "held-out conditions": slice(self.n_trained, None),
        }
        said = []
        for name, part in parts.items():
            if n := len(self.before[part]):
                (e0, w0), (e1, w1) = _average(self.before[part]), _average(self.after[part])
                said.append(
                    f"on {name} ({n}) centred energy {e0:.4f} without networks, {e1:.4f} with "
                    f"them, W1 on the axis {w0:.3f} and {w1:.3f}"
                )
        return "; ".join(said)


class ShapeJudge:
    """Real cells of some groups that no network has seen.

    Parameters
    ----------
    cells
        The screen.
    genes
        Names of its genes.
    groups
        Targets, context and rows of the real cells of each group.
    n_trained
        Number of groups, the first, of conditions that are trained on.
    trained_rows
        Rows of training cells, that components are found in.
    seed
        Seed of all that is drawn.
    """

    def __init__(
        self,
        cells: ScreenCells,
        genes: Sequence[str],
        groups: Sequence[Group],
        n_trained: int,
        trained_rows: np.ndarray,
        seed: int,
    ) -> None:
        self._cells, self._genes, self._seed = cells, genes, seed
        self.groups, self.n_trained, self._trained_rows = groups, n_trained, trained_rows
        self.targets: Sequence[Targets] = [targets for targets, *_ in groups]
        self.context = np.array([context for _, context, _ in groups], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.groups)

    def score(self, shaper: CellMover) -> float:
        """Mean of minus ``energy_centred`` of control cells with a shape; higher is better."""
        scores = np.empty(len(self))
        for context in np.unique(self.context).tolist():
            rows = np.flatnonzero(self.context == context)
            controls = self._controls[context]
            step = max(len(controls) // _N_MOVED, 1)
            x = controls[::step][:_N_MOVED]
            for row, deviation in zip(rows, shaper(x, rows), strict=True):
                scores[row] = -self._compare_clouds(int(row), x + deviation)
        return float(scores.mean())

    def compare(
        self,
        change: np.ndarray,  # expected effects of the groups, (n_groups, G)
        control_mean: np.ndarray,  # of the context of each, (n_groups, G)
        shaper: CellMover,
        model: ScreenModel,
    ) -> ShapeComparison:
        """Make cells of the groups without the networks and with them, with the same means."""
        plain = Wanted(
            self.targets,
            lambda x, group: change[group],
            control_mean,
            True,
            control_mean.mean(axis=0),
            self._seed,
        )
        before, after = (
            self._score_made(wanted, model)
            for wanted in (plain, replace(plain, shape=partial(move_to_one, shaper)))
        )
        return ShapeComparison(before, after, self.n_trained)

    def _score_made(self, wanted: Wanted, model: ScreenModel) -> np.ndarray:
        asked = [(targets, context, len(rows)) for targets, context, rows in self.groups]
        query = ask_for_cells(self._cells, self._genes, asked)
        match = match_genes(pd.Index(self._genes), tuple(self._genes))
        made = make_cells(query, match, model, wanted).expression
        ends = np.cumsum([n for *_, n in asked])[:-1]
        return self.score_cells([made[rows] for rows in np.split(np.arange(made.shape[0]), ends)])

    def score_cells(self, cells: Sequence[np.ndarray | sparse.csr_matrix]) -> np.ndarray:
        """Score cells of each group: centred energy, and W1 on the axis, ``(n_groups, 2)``."""
        scores = np.full((len(self), 2), np.nan)
        for i, (_, context, rows) in enumerate(self.groups):
            scores[i, 0] = self._compare_clouds(i, cells[i])
            try:
                real = self._cells.expression.rows(rows)
                scores[i, 1] = wasserstein_axis(real, cells[i], self._controls[context])
            except ValueError:
                # Too weak an effect has no axis.
                continue
        return scores

    def _compare_clouds(self, group: int, cells: np.ndarray | sparse.csr_matrix) -> float:
        given = Expression(cells)
        points = self._project(given, [np.arange(given.n_cells)])[0]
        return energy_centred(self._points[group], points)

    @cached_property
    def _projection(self) -> Projection:
        rows = self._trained_rows
        drawn = Expression(self._cells.expression.rows(thin(rows, self._get_rng(), _N_FITTED)))
        names = np.arange(drawn.n_cells)
        return Projection(drawn, names, np.asarray(self._genes), self._seed)

    @cached_property
    def _points(self) -> list[np.ndarray]:
        rows = [rows for *_, rows in self.groups]
        return self._project(self._cells.expression, rows)

    @cached_property
    def _controls(self) -> dict[int, np.ndarray]:
        """Some control cells of each context that is asked for."""
        return {
            context: self._cells.expression.rows(
                thin(self._cells.screen.get_controls(context), self._get_rng(), _N_CONTROLS)
            )
            for context in np.unique(self.context).tolist()
        }

    def _project(self, expression: Expression, groups: Sequence[np.ndarray]) -> list[np.ndarray]:
        points = self._projection.project_all(expression, groups)
        return [part.values for part in points]  # noqa: PD011

    def _get_rng(self) -> np.random.Generator:
        return np.random.default_rng(self._seed)


def prepare_score(method: Method, task: Task) -> Callable[[], float] | None:
    """What networks stop on: the shape of cells, or means where they predict these alone.

    Parameters
    ----------
    method
        The networks, which are scored as they are at the time of a call.
    task
        What they learn from.

    Returns
    -------
    The score, higher is better; ``None`` where nothing is held out.
    """
    judge, by_shape = task.judge, task.shape
    if by_shape is not None and (shaper := method.make_shaper(by_shape.targets, by_shape.context)):
        return lambda: by_shape.score(shaper)
    control_mean = task.trained.get_control(judge.context)
    mover = method.make_mover(judge.targets, judge.context, control_mean)
    return (lambda: judge.score_cells(mover)) if len(judge) else None


def set_apart(task: Task) -> tuple[Task, ShapeJudge]:
    """Set cells of some training groups apart, to judge shapes on them and on held-out groups.

    Parameters
    ----------
    task
        What is to be learned from. The strongest effects of its groups with enough cells are
        taken: where nothing changes, there is no shape to learn.

    Returns
    -------
    The task without these cells, whose mean effects stay those of all cells; and the judge, whose
    groups may be none.
    """
    rng = np.random.default_rng(task.seed)
    strength = np.linalg.norm(task.measured.delta, axis=1)
    trained, apart = list(task.groups), []
    for i in _choose(task.groups, strength, _MIN_CELLS / _SET_APART):
        targets, context, rows = trained[i]
        n_apart = min(round(len(rows) * _SET_APART), _MAX_CELLS)
        drawn = thin(rows, rng, n_apart)
        trained[i] = targets, context, np.setdiff1d(rows, drawn)
        apart.append((targets, context, drawn))
    held_out = [
        (targets, context, thin(rows, rng, _MAX_CELLS))
        for targets, context, rows in task.held_out
        if len(rows) >= _MIN_CELLS
    ][:_N_GROUPS]
    kept = np.setdiff1d(task.rows, np.concatenate([np.empty(0, int), *(r for *_, r in apart)]))
    genes = task.vocabulary.genes
    judge = ShapeJudge(task.cells, genes, apart + held_out, len(apart), kept, task.seed)
    return replace(task, groups=trained, shape=judge), judge


def _choose(groups: Sequence[Group], strength: np.ndarray, n_least: float) -> list[int]:
    """Choose the groups of strongest effect among those with enough cells."""
    order = np.argsort(-strength, kind="stable").tolist()
    return [i for i in order if len(groups[i][2]) >= n_least][:_N_GROUPS]


def _average(values: np.ndarray) -> np.ndarray:
    """Mean of each column, of those that are told; 0 where none is."""
    is_told = np.isfinite(values)
    return np.where(is_told, values, 0).sum(axis=0) / np.maximum(is_told.sum(axis=0), 1)
