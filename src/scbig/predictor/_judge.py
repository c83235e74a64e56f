"""What a method is given: conditions to learn from, and a judge of those that are held out.

The judge scores predictions, says whether they are a gain, and compares them with the floors.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from scbig.data import (
    Effects,
    Expression,
    Group,
    Screen,
    ScreenCells,
    Targets,
    call_by_ranks,
    compute_effects,
    compute_half_effects,
)
from scbig.metrics import is_gain, score_effects
from scbig.nn import add_change
from scbig.predictor._stage import StageRunner
from scbig.predictor._vocabulary import Vocabulary
from scbig.regression import Embeddings, TargetKernel, predict_floors

# Conditions that are carried at once, each with all drawn control cells.
BATCH_SIZE = 16
MAX_HALVED = 500

KernelChoice = Callable[[Effects, Effects, Embeddings], TargetKernel]


class CellMover(Protocol):
    """Carries control cells towards conditions that were named when it was made."""

    def __call__(self, x: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Predict perturbed cells.

        Parameters
        ----------
        x
            Control cells of one context, shape ``(N, G)``.
        rows
            Numbers of B conditions in that context.

        Returns
        -------
        Non-negative expression, shape ``(B, N, G)``.
        """
        ...


def move_to_one(mover: CellMover, x: np.ndarray, group: int) -> np.ndarray:
    """Ask a mover for a single condition, ``(N, G)`` for control cells ``(N, G)``."""
    return mover(x, np.array([group]))[0]


class ShapeScore(Protocol):
    """Scores the shape of cells against real ones that networks have not seen."""

    targets: Sequence[Targets]
    context: np.ndarray

    def score(self, shaper: CellMover) -> float:
        """Score what tells how cells of the groups differ from their mean; higher is better."""


class EffectMover:
    """Carries cells along expected effects: falls scale a cell, rises are added.

    Parameters
    ----------
    effect
        Expected effect of each condition, shape ``(n, G)``.
    control_mean
        Mean of the control cells of its context, shape ``(n, G)``.
    """

    def __init__(self, effect: np.ndarray, control_mean: np.ndarray) -> None:
        self._effect = torch.from_numpy(effect.astype(np.float32))
        self._mean = torch.from_numpy(control_mean.astype(np.float32))

    def __call__(self, x: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Predict perturbed cells."""
        cells = torch.from_numpy(np.asarray(x, dtype=np.float32))
        effect, mean = self._effect[rows].unsqueeze(1), self._mean[rows].unsqueeze(1)
        return add_change(cells, effect, mean).numpy()


class Judge:
    """Held-out conditions: what may be asked of them, and nothing that could be learned from.

    Parameters
    ----------
    held_out
        Real effects of the held-out groups; may be empty.
    expression, screen
        Cells, of which some control cells are drawn to predict from.
    seed
        Seed of the draw.
    n_cells
        Control cells of each context that are drawn.
    """

    def __init__(
        self,
        held_out: Effects,
        expression: Expression,
        screen: Screen,
        seed: int,
        n_cells: int,
    ) -> None:
        self._held_out = held_out
        self._expression = expression
        rng = np.random.default_rng(seed)
        controls = [screen.get_controls(context) for context in range(len(screen.contexts))]
        # A context of an earlier screen has no cells here, and none is asked for.
        self._rows = [rng.choice(rows, n_cells) if len(rows) else rows for rows in controls]
        self._cells: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self._held_out)

    @property
    def targets(self) -> Sequence[Targets]:
        """Target sets of the held-out groups."""
        return self._held_out.targets

    @property
    def context(self) -> np.ndarray:
        """Contexts of the held-out groups."""
        return self._held_out.context

    @property
    def n_conditions(self) -> int:
        """Number of held-out conditions, whatever the contexts."""
        return len(set(self._held_out.targets))

    def score_each(self, predicted: np.ndarray) -> np.ndarray:
        """Scores of effects that are predicted of the held-out groups, ``(n_groups,)``."""
        return score_effects(predicted, self._held_out)

    def score(self, predicted: np.ndarray) -> float:
        """Mean score of effects that are predicted of the held-out groups."""
        return float(np.mean(self.score_each(predicted)))

    def score_cells(self, mover: CellMover) -> float:
        """Mean score of the cells that are predicted of the held-out groups."""
        return self.score(self.average(mover))

    def is_gain(self, before: np.ndarray, after: np.ndarray) -> bool:
        """Whether predictions got better by more than chance; see :func:`is_gain`."""
        return is_gain(before, after, self._held_out)

    def choose_kernel(
        self, choose: KernelChoice, trained: Effects, embeddings: Embeddings
    ) -> TargetKernel:
        """Let a rule choose how it compares conditions, on the held-out ones."""
        return choose(trained, self._held_out, embeddings)

    def average(self, mover: CellMover) -> np.ndarray:
        """Mean change of some control cells towards each held-out group, ``(n_groups, G)``."""
        return average_change(
            mover, self.context, self._held_out.delta.shape[1], self._get_controls
        )

    def compare_with_floors(
        self, name: str, predicted: np.ndarray, trained: Effects, embeddings: Embeddings
    ) -> "FloorComparison":
        """Score a model and the floors on conditions that all have chosen their settings on.

        Parameters
        ----------
        name
            Name of the model.
        predicted
            Effects that it predicts of the held-out groups, at least one.
        trained
            Effects that the model was trained on, and the floors learn from.
        embeddings
            Unit vectors of targets, for the floors that use them.

        Returns
        -------
        The scores.
        """
        floors = predict_floors(
            trained, self.targets, self.context, embeddings, validation=self._held_out
        )
        # No change has no direction, and correlates with nothing.
        scores = {
            key: self.score(effect) if effect.any() else 0.0 for key, effect in floors.items()
        }
        return FloorComparison(name, self.score(predicted), scores, self.n_conditions)

    def _get_controls(self, context: int) -> np.ndarray:
        """Read the drawn control cells of a context once, shape ``(N, G)``."""
        if context not in self._cells:
            self._cells[context] = self._expression.rows(self._rows[context])
        return self._cells[context]


@torch.no_grad()
def average_change(
    mover: CellMover, context: np.ndarray, n_genes: int, get_controls: Callable[[int], np.ndarray]
) -> np.ndarray:
    """Mean change of control cells of its context towards each condition, ``(n, G)``."""
    effects = np.empty((len(context), n_genes), dtype=np.float32)
    for number in np.unique(context).tolist():
        x = get_controls(number)
        rows = np.flatnonzero(context == number)
        for start in range(0, len(rows), BATCH_SIZE):
            batch = rows[start : start + BATCH_SIZE]
            effects[batch] = (mover(x, batch) - x).mean(axis=1)
    return effects


@dataclass(frozen=True)
class FloorComparison:
    """Scores of a model and of the floors on the same held-out conditions.

    Attributes
    ----------
    model
        Name of the model.
    score
        Its mean Pearson delta over the held-out groups.
    floors
        The same of each floor, by its key.
    n_conditions
        Number of held-out conditions.
    """

    model: str
    score: float
    floors: Mapping[str, float]
    n_conditions: int

    @property
    def best_floor(self) -> str:
        """Key of the best floor."""
        return max(self.floors, key=lambda key: self.floors[key])

    @property
    def margin(self) -> float:
        """By how much the model is better than the best floor; negative where it is worse."""
        return self.score - self.floors[self.best_floor]

    def __str__(self) -> str:
        """Say it in one line."""
        rival = f"{self.best_floor.replace('_', ' ')}, the best floor"
        where = f"on {self.n_conditions} held-out condition{'s' * (self.n_conditions != 1)}"
        figures = f"{self.score:.2f} against {self.floors[self.best_floor]:.2f}"
        # What rounds to nothing is no victory.
        if round(self.margin, 2) > 0:
            gain = f"by {self.margin:.2f} Pearson delta {where}"
            return f"{self.model} beats {rival}, {gain} ({figures})."
        return f"{self.model} does not beat {rival}: Pearson delta {figures} {where}."


@dataclass(frozen=True, eq=False)
class Task:
    """What a method learns from.

    Attributes
    ----------
    cells
        All cells of the screen.
    groups
        Targets, context and row numbers of the training groups of this screen.
    held_out
        The same of the held-out groups, to stop networks on.
    measured
        Effects of ``groups``, in their order.
    trained
        The same, and behind those of earlier screens that were not measured again: what is
        known of earlier groups comes first.
    judge
        The held-out conditions.
    vocabulary
        Names that the predictor knows.
    runner
        Trains a stage of networks.
    first_budget
        Epochs or steps of what is trained before the networks; ``None`` for a method's default.
    seed
        Seed of everything random.
    is_continued
        Whether the method was fitted before.
    shape
        Scores the shape of cells that networks move, for them to stop on; ``None`` where there
        are no cells to judge it on.
    """

    cells: ScreenCells
    groups: Sequence[Group]
    held_out: Sequence[Group]
    measured: Effects
    trained: Effects
    judge: Judge
    vocabulary: Vocabulary
    runner: StageRunner
    first_budget: int | None
    seed: int
    is_continued: bool
    shape: "ShapeScore | None" = None

    @property
    def rows(self) -> np.ndarray:
        """Row numbers of the control cells and of the cells of training conditions, sorted."""
        held = [rows for *_, rows in self.held_out]
        is_held_out = np.zeros(len(self.cells.screen.condition), dtype=bool)
        is_held_out[np.concatenate([np.empty(0, dtype=np.int64), *held])] = True
        return np.flatnonzero(~is_held_out)

    def get_controls(self, groups: Sequence[Group]) -> list[np.ndarray]:
        """Row numbers of the control cells that go with each group.

        Parameters
        ----------
        groups
            Such as ``groups`` or ``held_out``.
        """
        controls = {context: self.cells.screen.get_controls(context) for _, context, _ in groups}
        return [controls[context] for _, context, _ in groups]

    def halve(self) -> list[Effects]:
        """Effects of the training groups in two halves of their cells; of 500 groups at most."""
        chosen = np.linspace(0, len(self.groups) - 1, min(len(self.groups), MAX_HALVED))
        groups = [self.groups[i] for i in chosen.astype(int)]
        rng = np.random.default_rng(self.seed)
        halves = compute_half_effects(self.cells.expression, self.cells.screen, groups, rng)
        return halves if len(halves[0]) else []

    def call_genes(self) -> np.ndarray:
        """Genes that a test calls in the groups of ``trained``: 1 or 0, and -1 if not tested."""
        called = np.full(self.trained.delta.shape, -1, dtype=np.int8)
        own = call_by_ranks(self.cells.expression, self.cells.screen, self.groups)
        called[len(called) - len(own) :] = own
        return called

    def compute_effects(self, features: np.ndarray) -> Effects:
        """Mean effects of the training groups on any features ``(n_cells, n_features)``.

        Parameters
        ----------
        features
            Values of all cells, shape ``(n_cells, n_features)``.
        """
        effects = compute_effects(Expression(features), self.cells.screen)
        known = set(self.measured.keys)
        return effects.subset(np.array([key in known for key in effects.keys], dtype=bool))
