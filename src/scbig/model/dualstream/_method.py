"""What DualStreamMamba is: a regression of effects, and two streams anchored on it."""

from collections.abc import Sequence
from typing import Self

import numpy as np
import torch

from scbig._types import Arrays, Values
from scbig.data import Effects, PairBatches, Targets
from scbig.model.dualstream._config import DualStreamConfig
from scbig.model.dualstream._module import TOKENS_AT_ONCE, DualStreamModule, GeneRecord
from scbig.model.dualstream._perturbation import StreamCondition, StreamSizes
from scbig.model.dualstream._training import DualStreamPlan, StreamData
from scbig.predictor import (
    RegressionMethod,
    Schedule,
    Stopping,
    Task,
    Vocabulary,
    get_weights,
    plan_epochs,
    read_weights,
    set_weights,
)

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
        patches = self.module.patches
        tokens = f"Gene tokens: {patches.n_tokens} of size {patches.size}."
        return f"{tokens} Gene order: {self.order_source}."

    def extend(self, vocabulary: Vocabulary) -> None:
        """Make room for further targets and contexts, which start without a vector."""
        super().extend(vocabulary)
        self.module.perturbation.extend(len(vocabulary.targets), len(vocabulary.contexts))

    def fit_networks(self, task: Task, n_steps: int) -> None:
        """Train both streams, which stop when held-out conditions are predicted no better."""
        config, judge = self.config, task.judge
        n_epochs, n_batches = plan_epochs(n_steps)
        control_mean = task.trained.get_control(judge.context)
        mover = self.make_mover(judge.targets, judge.context, control_mean)
        data = self._make_data(task, n_epochs * n_batches)
        n_copies = len(data.control_mean) // len(task.groups)
        task.runner.run(
            DualStreamPlan(self.module, data, lambda: judge.score_cells(mover)),
            PairBatches(
                [rows for *_, rows in task.groups] * n_copies,
                task.get_controls(task.groups) * n_copies,
                n_groups=config.groups_per_step,
                n_cells=config.cells_per_group,
                n_batches=n_batches,
                seed=task.seed,
            ),
            Schedule(
                n_epochs, 1 if len(judge) else 0, config.clip_norm, ema_decay=config.ema_decay
            ),
            Stopping("networks_validation_score") if len(judge) else None,
        )

    def _make_data(self, task: Task, n_steps: int) -> StreamData:
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
        set_weights(method.module, arrays)
        method.restore(effects, values, arrays)
        return method


class StreamMover:
    """Adds to control cells the effects that the networks predict of them."""

    def __init__(
        self, module: DualStreamModule, condition: StreamCondition, control_mean: torch.Tensor
    ) -> None:
        self._module, self._condition = module, condition
        self._control_mean = control_mean  # of the context of each condition, (n, G)

    @torch.no_grad()
    def __call__(
        self,
        x: np.ndarray,
        rows: np.ndarray,
        rng: np.random.Generator | None = None,
        *,
        is_sampled: bool = False,
    ) -> np.ndarray:
        """Predict perturbed cells; several samples draw the latent of each control cell."""
        module, device = self._module, self._module.device
        was_training = module.training
        module.eval()
        cells = torch.from_numpy(np.asarray(x, dtype=np.float32))
        noise = None
        if is_sampled and rng is not None:
            drawn = rng.normal(size=(len(cells), module.config.n_latent))
            noise = torch.from_numpy(drawn.astype(np.float32))
        # Each condition with each cell, so many at once that their tokens find room.
        condition = torch.from_numpy(np.asarray(rows)).repeat_interleave(len(cells))
        cell = torch.arange(len(cells)).repeat(len(rows))
        size = max(TOKENS_AT_ONCE // module.patches.n_tokens, 1)
        predicted = [
            module.predict_cells(
                cells[one].to(device),
                self._condition.select(which).to(device),
                self._control_mean[which].to(device),
                None if noise is None else noise[one].to(device),
            ).cpu()
            for which, one in zip(condition.split(size), cell.split(size), strict=True)
        ]
        module.train(was_training)
        return torch.cat(predicted).unflatten(0, (len(rows), len(cells))).numpy()
