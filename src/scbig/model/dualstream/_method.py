"""What DualStreamMamba is and learns: a regression of effects, two streams anchored on it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np
import torch

from scbig._types import Arrays, Values
from scbig.data import Effects, Expression, PairBatches, Pairs, Targets, thin
from scbig.model.dualstream._config import DualStreamConfig
from scbig.model.dualstream._module import TOKENS_AT_ONCE, DualStreamModule, GeneRecord
from scbig.model.dualstream._networks import StreamCondition, StreamSizes
from scbig.nn import (
    autofocus_loss,
    direction_loss,
    divergence_loss,
    energy_loss,
    evaluating,
    find_components,
    gaussian_loss,
    get_weights,
    read_weights,
    set_weights,
    split_weight_decay,
)
from scbig.predictor import (
    CellMover,
    RegressionMethod,
    Schedule,
    StageData,
    StagePlan,
    Stopping,
    Task,
    Vocabulary,
    plan_epochs,
)

N_COMPONENTS, MAX_PCA_CELLS = 50, 5000
# To score shapes, every gene of some hundred cells is read for each condition.
N_SHAPE_EPOCHS, SHAPE_PATIENCE = 10, 3
_GENE_PARTS = ("patches.order", "vectors", "mean", "std", "dropout")


class AnchoredStreams(RegressionMethod):
    """Regression of gene effects, and streams of gene tokens that learn what it misses."""

    module: DualStreamModule
    n_validation_cells = 8

    def __init__(
        self,
        vocabulary: Vocabulary,
        config: DualStreamConfig,
        genes: GeneRecord,
        order_source: str,  # where the order of the genes comes from, in words
    ) -> None:
        super().__init__(vocabulary, config.denoising)
        self.config = config
        self.order_source = order_source
        self.n_steps = config.n_steps
        self.is_anchored = config.use_anchor
        self.use_gate = config.use_gate
        tables, targets = vocabulary.embeddings.tables, vocabulary.targets
        sizes = StreamSizes(len(tables), len(targets), len(vocabulary.contexts))
        self.module = DualStreamModule(genes, sizes, config)

    def describe(self) -> str:
        """Say how the genes are cut into tokens, and in which order."""
        n_tokens, size = self.module.patches.n_tokens, self.module.patches.size
        return f"Gene tokens: {n_tokens} of size {size}. Gene order: {self.order_source}."

    def extend(self, vocabulary: Vocabulary) -> None:
        """Make room for further targets and contexts, which start without a vector."""
        super().extend(vocabulary)
        self.module.perturbation.extend(len(vocabulary.targets), len(vocabulary.contexts))

    def fit_networks(self, task: Task, n_steps: int) -> None:
        """Train both streams for means, and what reads shapes of cells in their tokens."""
        n_epochs, n_batches = plan_epochs(n_steps)
        data = self._make_data(task, n_epochs * n_batches)
        self._fit_means(task, data, n_epochs, n_batches)
        by_shape = task.shape if self.config.shape_groups else None
        if by_shape is not None and (
            shaper := self.make_shaper(by_shape.targets, by_shape.context)
        ):
            score = partial(by_shape.score, shaper)
            self._fit_shapes(task, data, score, *plan_epochs(n_steps, N_SHAPE_EPOCHS))

    def _fit_means(self, task: Task, data: "StreamData", n_epochs: int, n_batches: int) -> None:
        """Train the streams, which stop when held-out conditions are predicted no better."""
        config, judge, is_judged = self.config, task.judge, len(task.judge) > 0
        control_mean = task.trained.get_control(judge.context)
        mover = self.make_mover(judge.targets, judge.context, control_mean)
        task.runner.run(
            DualStreamPlan(self.module, data, lambda: judge.score_cells(mover)),
            self._pair(task, data, config.groups_per_step, n_batches),
            Schedule(n_epochs, int(is_judged), config.clip_norm, ema_decay=config.ema_decay),
            Stopping("networks_validation_score") if is_judged else None,
        )

    def _fit_shapes(
        self,
        task: Task,
        data: "StreamData",
        score: Callable[[], float],
        n_epochs: int,
        n_batches: int,
    ) -> None:
        """Train on clouds of cells, until these get no more like real ones."""
        config = self.config
        task.runner.run(
            ShapePlan(self.module, data, ShapeSpace.fit(task), score),
            self._pair(task, data, config.shape_groups, n_batches),
            Schedule(n_epochs, 1, config.clip_norm, ema_decay=config.ema_decay),
            # Untrained, it changes no cell.
            Stopping("shape_validation_score", SHAPE_PATIENCE, initial=score()),
        )

    def _pair(self, task: Task, data: "StreamData", n_groups: int, n_batches: int) -> PairBatches:
        """Draw cells of training groups, each of which is there as often as it has anchors."""
        n_copies = len(data.control_mean) // len(task.groups)
        return PairBatches(
            [rows for *_, rows in task.groups] * n_copies,
            task.get_controls(task.groups) * n_copies,
            n_groups=n_groups,
            n_cells=self.config.cells_per_group,
            n_batches=n_batches,
            seed=task.seed,
        )

    def _make_data(self, task: Task, n_steps: int) -> "StreamData":
        targets, context = task.measured.targets, task.measured.context
        conditions = []
        for one in self.anchor_groups(task):
            condition = self.make_condition(targets, context, one.effect)
            if one.forgotten is not None:
                condition = condition.forget(targets, one.forgotten)
            conditions.append(condition)
        control_mean = np.tile(task.measured.get_control(context), (len(conditions), 1))
        return StreamData(
            condition=StreamCondition(*map(torch.cat, zip(*conditions, strict=True))),
            control_mean=torch.from_numpy(control_mean).float(),
            expression=task.cells.expression,
            n_warm_up=max(n_steps // 2, 1),
            rng=torch.Generator().manual_seed(task.seed),
        )

    def make_condition(
        self, targets: Sequence[Targets], context: np.ndarray, effect: np.ndarray | None = None
    ) -> StreamCondition:
        """Turn conditions into tensors, with the effects that are expected of them.

        By default those of the regression; without an anchor no effect is expected.
        """
        effect = self.predict_effects(targets, context) if effect is None else effect
        effect = effect if self.config.use_anchor else np.zeros_like(effect)
        return StreamCondition.make(self.vocabulary, targets, context, effect)

    def make_mover(
        self, targets: Sequence[Targets], context: np.ndarray, control_mean: np.ndarray
    ) -> "StreamMover":
        """Prepare conditions to carry cells to."""
        condition = self.make_condition(targets, context)
        return StreamMover(self.module, condition, torch.from_numpy(control_mean).float())

    def make_shaper(self, targets: Sequence[Targets], context: np.ndarray) -> CellMover | None:
        """Prepare to tell how the effects of single cells differ from their mean."""
        if not self.config.use_anchor:
            return None
        control_mean = np.zeros((len(context), len(self.vocabulary.genes)), dtype=np.float32)
        return self.make_mover(targets, context, control_mean).deviate

    def to_plain(self) -> tuple[Values, Arrays]:
        """Values and arrays of regression and networks."""
        values, arrays = super().to_plain()
        values |= {"config": self.config.to_dict(), "order_source": self.order_source}
        return values, arrays | get_weights(self.module)

    @classmethod
    def from_plain(
        cls, vocabulary: Vocabulary, effects: Effects | None, values: Values, arrays: Arrays
    ) -> Self:
        """Rebuild what :meth:`to_plain` returned."""
        weights = read_weights(arrays)
        genes = GeneRecord(*(weights[part] for part in _GENE_PARTS))
        config = DualStreamConfig.from_dict(values["config"])
        method = cls(vocabulary, config, genes, values["order_source"])
        # Models that were saved before shapes were learned have no weights of these.
        set_weights(method.module, get_weights(method.module) | arrays)
        method.restore(effects, values, arrays)
        return method


@dataclass(frozen=True, eq=False)
class StreamMover:
    """Adds to control cells the effects that the networks predict of them."""

    module: DualStreamModule
    condition: StreamCondition
    control_mean: torch.Tensor  # of the context of each condition, (n, G)

    def __call__(self, x: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Predict perturbed cells."""

        def predict(cells: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
            condition, mean = self.condition.select(which), self.control_mean[which]
            device = cells.device
            return self.module.predict_cells(cells, condition.to(device), mean.to(device))

        return self._run(predict, x, rows)

    def deviate(self, x: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Predict by how much the effect on each cell differs from the mean, ``(B, N, G)``."""

        def predict(cells: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
            condition = self.condition.select(which).to(cells.device)
            return self.module.forward_shapes(cells, condition)

        deviation = self._run(predict, x, rows)
        return deviation - deviation.mean(axis=1, keepdims=True)

    def _run(
        self,
        predict: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        x: np.ndarray,
        rows: np.ndarray,
    ) -> np.ndarray:
        """Ask for each condition with each cell, so many at once that their tokens find room."""
        module, device = self.module, self.module.device
        cells = torch.from_numpy(np.asarray(x, dtype=np.float32))
        condition = torch.from_numpy(np.asarray(rows)).repeat_interleave(len(cells))
        cell = torch.arange(len(cells)).repeat(len(rows))
        size = max(TOKENS_AT_ONCE // module.patches.n_tokens, 1)
        with evaluating(module):
            predicted = [
                predict(cells[one].to(device), which).cpu()
                for which, one in zip(condition.split(size), cell.split(size), strict=True)
            ]
        return torch.cat(predicted).unflatten(0, (len(rows), len(cells))).numpy()


@dataclass(frozen=True, eq=False)
class StreamData(StageData):
    """What the networks learn from."""

    condition: StreamCondition  # training groups; their anchors have not seen them
    control_mean: torch.Tensor  # mean control cell of each group's context, (n_groups, G)
    expression: Expression  # of all cells
    n_warm_up: int  # steps until the divergence has its full weight
    # Source of the noise of the latents, on the CPU, so that a seed means the same everywhere.
    rng: torch.Generator

    def read(self, rows: torch.Tensor) -> torch.Tensor:
        """Read expression of cells ``(B, N)``, shape ``(B, N, G)``."""
        x = self.expression.rows(rows.numpy().ravel())
        return torch.from_numpy(np.ascontiguousarray(x)).unflatten(0, rows.shape)


@dataclass(frozen=True, eq=False)
class ShapeSpace(StageData):
    """Principal components, in which clouds of cells are compared."""

    components: torch.Tensor  # (d, G)
    points: torch.Tensor  # all cells in them, (n_cells, d)

    @classmethod
    def fit(cls, task: Task) -> "ShapeSpace":
        """Find the components of training cells."""
        expression, rng = task.cells.expression, np.random.default_rng(task.seed)
        controls = np.flatnonzero(task.cells.screen.is_control)
        rows = np.sort(np.concatenate([controls, *(rows for *_, rows in task.groups)]))
        drawn = thin(rows, rng, MAX_PCA_CELLS)
        components = torch.zeros(N_COMPONENTS, expression.n_genes)
        find_components(expression.rows(drawn), components, task.seed)
        points = torch.empty(expression.n_cells, N_COMPONENTS)
        for chunk, x in expression.chunks():
            points[chunk] = torch.from_numpy(np.ascontiguousarray(x)) @ components.T
        return cls(components, points)


class DualStreamPlan(StagePlan):
    """Regress the mean effect of some perturbed cells on a single control cell.

    The effect is taken against the mean of all control cells. Taken against the one control
    cell, which was never this perturbed cell, it would teach the networks to undo that cell's
    noise.
    """

    stage = "networks"
    module: DualStreamModule

    def __init__(
        self, module: DualStreamModule, data: StreamData, validate: Callable[[], float]
    ) -> None:
        super().__init__(module, validate)
        self._data = data

    def training_step(self, batch: Pairs, batch_idx: int) -> torch.Tensor:
        """Sum of the losses of a batch of conditions."""
        config, data = self.module.config, self._data
        cells = data.read(batch.perturbed_rows).mean(1).to(self.device)
        real = cells - data.control_mean[batch.group].to(self.device)
        noise = torch.randn(len(real), config.n_latent, generator=data.rng)
        output = self.module.forward_cells(
            data.read(batch.control_rows[:, :1]).squeeze(1).to(self.device),
            data.condition.select(batch.group).to(self.device),
            noise.to(self.device),
        )
        error = output.effect - real
        losses = {
            "likelihood": gaussian_loss(error, self.module.log_sigma),
            "autofocus": config.autofocus_weight * autofocus_loss(error, config.gamma),
            "direction": config.direction_weight
            * direction_loss(output.effect, real, self.module.get_noise()),
        }
        if output.posterior is not None:
            weight = config.kl_weight * min(self.global_step / data.n_warm_up, 1)
            losses["reconstruction"] = config.reconstruction_weight * output.reconstruction
            losses["divergence"] = weight * divergence_loss(*output.posterior)
        for name, value in losses.items():
            self.log_value(f"{name}_loss", value)
        return torch.stack(list(losses.values())).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW that spares the rates of decay of the scans."""
        config = self.module.config
        groups = split_weight_decay(self.module, config.weight_decay)
        return torch.optim.AdamW(groups, lr=config.learning_rate)


class ShapePlan(StagePlan):
    """Make control cells of a condition vary as its perturbed cells do, about any mean.

    Clouds are compared, and no cell with the one that it is paired with: as neither has ever been
    the other, a regression on pairs would teach cells to give up what is their own. The streams
    are not trained here.
    """

    stage = "shape"
    module: DualStreamModule

    def __init__(
        self,
        module: DualStreamModule,
        data: StreamData,
        space: ShapeSpace,
        validate: Callable[[], float],
    ) -> None:
        super().__init__(module, validate)
        self._data, self._space = data, space

    def training_step(self, batch: Pairs, batch_idx: int) -> torch.Tensor:
        """Energy distance of the moved control cells and the perturbed cells of some groups."""
        data, space, (n_groups, n_cells) = self._data, self._space, batch.control_rows.shape
        deviation = self.module.forward_shapes(
            data.read(batch.control_rows).flatten(0, 1).to(self.device),
            data.condition.select(batch.group.repeat_interleave(n_cells)).to(self.device),
        )
        moved = (deviation @ space.components.T.to(self.device)).unflatten(0, (n_groups, n_cells))
        start, end = (space.points[rows].to(self.device) for rows in batch[1:])
        loss = energy_loss(start + moved, end)
        self.log_value("train_loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW on what reads shapes alone."""
        config = self.module.config
        groups = split_weight_decay(self.module.shape, config.weight_decay)
        return torch.optim.AdamW(groups, lr=config.learning_rate)
