"""The recipe: from a screen to a fitted method, once for all models and baselines.

Hold conditions out, fit, train networks and keep them where they help, compare with the floors,
refit, calibrate. Held-out conditions are read here and by the judge, and nowhere else.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from scbig._arguments import check_budget
from scbig.cells import ScreenModel
from scbig.data import (
    Effects,
    ScreenCells,
    Targets,
    check_conditions,
    compute_effects,
    fit_cells,
    join_effects,
)
from scbig.predictor._judge import (
    CellMover,
    EffectMover,
    FloorComparison,
    Group,
    Judge,
    Task,
)
from scbig.predictor._method import Method
from scbig.predictor._shape import ShapeJudge, set_apart
from scbig.predictor._stage import StageRunner
from scbig.predictor._vocabulary import Vocabulary
from scbig.priors import describe_nearest

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingRequest:
    """What a call of `train` asks for; ``None`` takes a method's default budget."""

    validation: frozenset[Targets]
    use_refit: bool
    first_budget: int | None  # epochs or steps of what is trained before the networks
    max_steps: int | None  # of the networks
    seed: int

    def __post_init__(self) -> None:
        # SCBIG calls it max_epochs, and has checked it.
        check_budget("max_locus_steps", self.first_budget)
        check_budget("max_steps", self.max_steps)


@dataclass(frozen=True)
class Outcome:
    """What training leaves beside a fitted method."""

    effects: Effects  # that it was fitted on, of earlier screens too
    cells: ScreenModel  # of this screen
    uses_networks: bool  # for means
    uses_shape: bool  # for what cells differ by
    comparison: FloorComparison | None  # before the refit


class Recipe:
    """Fits a method to a screen, given the effects of earlier ones."""

    def __init__(
        self,
        name: str,
        method: Method,
        cells: ScreenCells,
        vocabulary: Vocabulary,
        earlier: Effects | None,
        *,
        request: TrainingRequest,
        runner: StageRunner,
    ) -> None:
        check_conditions(cells, request.validation)
        self.name = name
        self.method = method
        self.cells = cells
        self.vocabulary = vocabulary
        self.request = request
        self.runner = runner
        self._measured = compute_effects(cells.expression, cells.screen)
        self._is_continued = earlier is not None
        # What is measured again counts as it is now, be it held out or not.
        self._earlier = None if earlier is None else earlier.without(self._measured)

    def run(self, *, uses_networks: bool, uses_shape: bool, compares: bool) -> Outcome:
        """Run the recipe; networks of an earlier training may be in use already."""
        bar = self.runner.bar
        bar.begin("regression of effects")
        task = self._make_task(self.request.validation)
        self.method.fit(task)
        uses_networks, uses_shape = self._fit_networks(task, (uses_networks, uses_shape))
        comparison = None
        if compares and len(task.judge):
            bar.begin("comparison with the floors")
            comparison = self._compare(task, uses_networks=uses_networks)
        bar.begin("last fit")
        if self.request.use_refit and len(task.judge):
            whole = self._make_task(frozenset(), judge=task.judge)
            task = whole if self.method.refit(whole) else task
        self.method.calibrate(task)
        self.method.release()
        bar.begin("counts of cells")
        cells = fit_cells(self.cells, task.groups, self.request.seed)
        if compares:
            nothing = f"No conditions were held out: {self.name} was not compared with the floors."
            logger.info("%s", comparison or nothing)
        return Outcome(task.trained, cells, uses_networks, uses_shape, comparison)

    def _fit_networks(self, task: Task, used: tuple[bool, bool]) -> tuple[bool, bool]:
        """Train the networks, and say whether they are to predict means, and shapes."""
        method, n_steps = self.method, self._choose_steps(task)
        if not n_steps and method.is_anchored and not (any(used) and method.keeps_networks):
            return False, False
        # Who names a budget wants the networks themselves.
        is_default = self.request.max_steps is None and self.request.first_budget is None
        trial = method.make_trial() if n_steps and is_default and len(task.judge) else None
        if trial is not None:
            logger.info("A trial of cheaper networks comes first.")
            if not any(self._try_networks(trial, task, n_steps, used)):
                return False, False
        return self._try_networks(method, task, n_steps, used)

    def _try_networks(
        self, method: Method, task: Task, n_steps: int, used: tuple[bool, bool]
    ) -> tuple[bool, bool]:
        """Train networks of a method, and judge them on what is held out."""
        judge = task.judge
        if n_steps > 0:
            logger.info(
                "Training networks on %d groups of cells, stopping on %d.",
                len(task.groups),
                len(judge),
            )
            task, shape = set_apart(task)
            method.fit_networks(task if len(shape) else replace(task, shape=None), n_steps)
            used = (used[0], self._judge_shape(method, task, shape))
        if not (method.is_anchored and method.use_gate and len(judge)):
            # What is not judged is used for means, as a whole.
            return True, used[1]
        before = judge.average(self._make_mover(method, task, uses_networks=False))
        after = judge.average(self._make_mover(method, task, uses_networks=True))
        is_gain = judge.is_gain(before, after)
        logger.info(
            "Pearson delta of the held-out conditions: %.4f without networks, %.4f with them; "
            "they are %s.",
            judge.score(before),
            judge.score(after),
            "kept" if is_gain else "left out, as that is no gain beyond chance",
        )
        return is_gain, used[1]

    def _judge_shape(self, method: Method, task: Task, shape: ShapeJudge) -> bool:
        """Say whether networks make cells more like real ones, given their mean."""
        if not (method.is_anchored and method.makes_cells and len(shape)):
            return False
        groups = shape.targets, shape.context
        if (shaper := method.make_shaper(*groups)) is None:
            return False
        model = fit_cells(self.cells, task.groups, self.request.seed)
        if not (method.use_gate and model.has_counts):
            return model.has_counts
        control_mean = task.trained.get_control(shape.context)
        found = shape.compare(method.predict_effects(*groups), control_mean, shaper, model)
        logger.info(
            "Shape of cells: %s; networks %s.",
            found,
            "make cells with it" if found.is_gain else "gain nothing there beyond chance",
        )
        return found.is_gain

    def _make_mover(self, method: Method, task: Task, *, uses_networks: bool) -> CellMover:
        """Carry cells to the held-out groups."""
        targets, context = task.judge.targets, task.judge.context
        control_mean = task.trained.get_control(context)
        if uses_networks:
            return method.make_mover(targets, context, control_mean)
        return EffectMover(method.predict_effects(targets, context), control_mean)

    def _compare(self, task: Task, *, uses_networks: bool) -> FloorComparison:
        judge = task.judge
        if uses_networks:
            predicted = judge.average(self._make_mover(self.method, task, uses_networks=True))
        else:
            predicted = self.method.predict_effects(judge.targets, judge.context)
        # The table given, or else co-expression: what the floors take by themselves.
        tables = self.vocabulary.embeddings.mappings[:1]
        return judge.compare_with_floors(self.name, predicted, task.trained, tables)

    def _choose_steps(self, task: Task) -> int:
        """Steps of networks; none on top of expected effects where nothing can check them."""
        default, wanted = self.method.n_steps, self.request.max_steps
        if wanted is not None:
            return wanted
        if default == 0 or len(task.judge) or not self.method.is_anchored:
            return default
        logger.info(
            "No conditions are held out to check the networks on: expected effects predict "
            "alone. Name some, train(validation=[...]), or insist: train(max_steps=%d).",
            default,
        )
        return 0

    def _make_task(self, validation: frozenset[Targets], judge: Judge | None = None) -> Task:
        """Divide the screen; a judge that is given has nothing held out from the task."""
        is_held_out = np.array([group in validation for group in self._measured.targets], bool)
        measured, earlier = self._measured.subset(~is_held_out), self._earlier
        if earlier is not None:
            # What is held out is not known from another context either.
            is_kept = np.array([group not in validation for group in earlier.targets], bool)
            earlier = earlier.subset(is_kept)
        groups: list[Group] = list(self.cells.screen.get_groups())
        cells, seed = self.cells, self.request.seed
        if judge is None:
            held_out, n_cells = self._measured.subset(is_held_out), self.method.n_validation_cells
            judge = Judge(held_out, cells.expression, cells.screen, seed, n_cells)
        return Task(
            cells=cells,
            groups=[group for group in groups if group[0] not in validation],
            held_out=[group for group in groups if group[0] in validation],
            measured=measured,
            trained=measured if earlier is None else join_effects(earlier, measured),
            judge=judge,
            vocabulary=self.vocabulary,
            runner=self.runner,
            first_budget=self.request.first_budget,
            seed=seed,
            is_continued=self._is_continued,
        )


def read_validation(
    vocabulary: Vocabulary, cells: ScreenCells, validation: Sequence[str | Sequence[str]]
) -> frozenset[Targets]:
    """Read the conditions that a user wants to hold out, or raise when one has no cells."""
    schema = vocabulary.schema
    known = [targets for targets in cells.screen.conditions if targets]
    chosen = frozenset(map(vocabulary.resolve, schema.read_labels(validation).values()))
    if unknown := sorted(map(schema.join, chosen.difference(known))):
        labels = list(map(schema.join, sorted(known)))
        raise ValueError(
            f"{len(unknown)} validation condition(s) have no perturbed cells: {unknown[:5]}. "
            f"{describe_nearest(unknown, labels)}Choose among {labels[:5]} ..."
        )
    return chosen
