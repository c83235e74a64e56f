"""What SCBIG's networks learn in each of their two stages: the autoencoder, and the flow."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch.nn import functional as F

from scbig.data import CellBatches, Expression, Pairs, compute_group_means
from scbig.flow import LinearPath
from scbig.model.scbig._condition import FlowCondition
from scbig.model.scbig._config import SCBIGConfig
from scbig.model.scbig._module import LinearEncoder, SCBIGModule
from scbig.nn import find_components
from scbig.ot import pair_batches, sample_pairs, sinkhorn_cost
from scbig.predictor import Schedule, StageData, StagePlan, Stopping, Task

HELD_OUT_CELLS = 0.05
MAX_HELD_OUT_CELLS = 2000
MAX_HELD_OUT_CONTROLS = 300
# Enough cells to find some tens of components; a large screen is not read whole.
MAX_PCA_CELLS = 20_000
N_VALIDATIONS = 20
PATIENCE = 4
# Share of the steps in which a learning rate rises, before it falls.
WARM_UP = 0.05

_MIN_STD = 1e-6
_MAX_STANDARDISED = 10.0

# --- first stage -------------------------------------------------------------------------------


def fit_autoencoder(module: SCBIGModule, task: Task) -> None:
    """Train encoder and decoder, which stop on a few held-out cells, and scale the latents."""
    expression, rows = task.cells.expression, task.rows
    cells = np.random.default_rng(task.seed).permutation(rows)
    module.set_gene_mean(compute_group_means(expression, [rows])[0])
    if isinstance(module.encoder, LinearEncoder):
        if module.config.autoencoder == "pca":
            x = expression.rows(np.sort(cells[:MAX_PCA_CELLS]))
            find_components(x, module.encoder.components, task.seed)
    else:
        _train_autoencoder(module, task, cells)
    if module.config.standardises_latents:
        latents = compute_latents(module, expression)[rows]
        module.set_latent_scale(latents.mean(axis=0), latents.std(axis=0))


def _train_autoencoder(module: SCBIGModule, task: Task, cells: np.ndarray) -> None:
    """Train on shuffled cells, of which some are held out to stop on."""
    config, batch_size = module.config, task.runner.hardware.batch_size
    if batch_size is not None:
        config = replace(config, cells_per_batch=batch_size)
    held_out = hold_out(cells, task.cells.screen.is_control, config)
    trained = np.setdiff1d(cells, held_out)
    n_epochs, n_batches = plan_autoencoder(len(trained), config, task.first_budget)
    batches = CellBatches(
        task.cells.expression,
        trained,
        np.sort(held_out),
        batch_size=config.cells_per_batch,
        seed=task.seed,
        n_batches=n_batches,
    )
    task.runner.run(
        AutoencoderPlan(module),
        batches,
        Schedule(n_epochs, validate_every=max(1, n_epochs // N_VALIDATIONS)),
        Stopping("autoencoder_validation_score", PATIENCE),
    )


def hold_out(cells: np.ndarray, is_control: np.ndarray, config: SCBIGConfig) -> np.ndarray:
    """Choose shuffled cells to stop on: some of all of them, or of the control cells."""
    if config.autoencoder_stops_on == "controls":
        cells = cells[is_control[cells]]
        return cells[: min(max(1, len(cells) // 2), MAX_HELD_OUT_CONTROLS)]
    return cells[: min(max(1, round(HELD_OUT_CELLS * len(cells))), MAX_HELD_OUT_CELLS)]


def plan_autoencoder(n_cells: int, config: SCBIGConfig, max_epochs: int | None) -> tuple[int, int]:
    """Spread the budget of steps over epochs: their number, and that of the batches in each.

    ``max_epochs`` counts epochs over all cells, where the user asked for them.
    """
    n_batches = math.ceil(n_cells / config.cells_per_batch)
    if max_epochs is not None or config.autoencoder_steps < 0:
        return config.autoencoder_epochs if max_epochs is None else max_epochs, n_batches
    n_epochs = min(config.autoencoder_epochs, math.ceil(config.autoencoder_steps / n_batches))
    return n_epochs, min(n_batches, math.ceil(config.autoencoder_steps / n_epochs))


@torch.no_grad()
def compute_latents(module: SCBIGModule, expression: Expression) -> np.ndarray:
    """Encode all cells, shape ``(n_cells, n_latent)``."""
    module.eval()
    latents = np.empty((expression.n_cells, module.config.n_latent), dtype=np.float32)
    for rows, x in expression.chunks():
        cells = torch.from_numpy(np.ascontiguousarray(x)).to(module.device)
        latents[rows] = module.encode(cells).cpu()
    return latents


class AutoencoderPlan(StagePlan):
    """First stage: reconstruct cells."""

    stage = "autoencoder"
    module: SCBIGModule

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        """Reconstruction error of a batch of cells."""
        _, _, loss = self.module(batch)
        self.log_value("train_loss", loss.loss, loss.n_obs_minibatch)
        return loss.loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Reconstruction error of held-out cells, as a score."""
        _, _, loss = self.module(batch)
        self.log_value("validation_score", -loss.loss, loss.n_obs_minibatch)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam on encoder and decoder alone."""
        module = self.module
        # Encoder and decoder share the semantic tokens, which must be listed once.
        weights = {*module.encoder.parameters(), *module.decoder.parameters()}
        in_order = [weight for weight in module.parameters() if weight in weights]
        optimizer = torch.optim.Adam(in_order, lr=module.config.autoencoder_lr)
        return schedule_rate(self, optimizer, module.config)


def schedule_rate(
    plan: StagePlan, optimizer: torch.optim.Optimizer, config: SCBIGConfig
) -> OptimizerLRScheduler:
    """Let the learning rate of a stage rise and fall, where the settings say so."""
    if config.schedule == "constant":
        return optimizer
    share = partial(rise_and_fall, n_steps=int(plan.trainer.estimated_stepping_batches))
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def rise_and_fall(step: int, n_steps: int) -> float:
    """Share of the learning rate at a step: a line up, and then a half of a cosine down."""
    n_up = max(1, round(WARM_UP * n_steps))
    if step < n_up:
        return (step + 1) / n_up
    return (1 + math.cos(math.pi * (step - n_up) / max(1, n_steps - n_up))) / 2


# --- second stage ------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class FlowData(StageData):
    """What the second stage learns from."""

    latents: torch.Tensor  # of all cells, (n_cells, n_latent)
    condition: FlowCondition  # training groups, anchored by regressions that have not seen them
    effect: torch.Tensor  # what the same regressions expect of genes, (n_groups, G)
    control_mean: torch.Tensor  # of the context of each group, (n_groups, G)
    expression: Expression
    programs: torch.Tensor  # averages the genes of each program, (K, G)
    pathways: torch.Tensor | None  # averages the genes of each pathway, (P, G)
    draw: Callable[[], Pairs]  # a batch for the alignment losses
    # Of times and path noise; on the CPU, so that a seed means the same on every device.
    rng: torch.Generator


class FlowPlan(StagePlan):
    """Second stage: regress the velocity from control to perturbed latents.

    Now and then the structure of predicted cells is aligned with that of real ones, by an
    optimiser of its own: summed with the loss of the flow, the two alignment losses would weigh
    a thousandth of it.
    """

    module: SCBIGModule
    _aligner: torch.optim.Adam

    def __init__(
        self,
        module: SCBIGModule,
        data: FlowData,
        validate: Callable[[], float] | None,
        stage: str = "flow",
    ) -> None:
        super().__init__(module, validate)
        self.stage = stage
        self._data = data
        self._path = LinearPath(module.config.sigma)
        self._weights = [*module.condition.parameters(), *module.velocity.parameters()]
        # Mean size of the gradients of the last alignment, until it is compared with the flow's.
        self._alignment_size: torch.Tensor | None = None

    def on_train_start(self) -> None:
        """Keep dropout out of the encoder and the decoder, which are used as they are."""
        self.module.encoder.eval()
        self.module.decoder.eval()

    def training_step(self, batch: Pairs, batch_idx: int) -> torch.Tensor:
        """Flow-matching loss; now and then an alignment comes before it."""
        every = self.module.config.align_every
        if every > 0 and (self.trainer.fit_loop.total_batch_idx + 1) % every == 0:
            self._align()
        loss = self._flow_loss(batch)
        self.log_value("train_loss", loss)
        return loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Log the gradient of an alignment as a share of the flow's, both before clipping."""
        if self._alignment_size is not None:
            flow = _measure([weight.grad for weight in self._weights if weight.grad is not None])
            self.log_value("alignment_ratio", self._alignment_size / flow)
            self._alignment_size = None

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam on the condition encoder and the velocity network alone; one more aligns them."""
        config = self.module.config
        self._aligner = torch.optim.Adam(self._weights, lr=config.align_lr)
        return schedule_rate(self, torch.optim.Adam(self._weights, lr=config.flow_lr), config)

    def _flow_loss(self, batch: Pairs) -> torch.Tensor:
        data, device = self._data, self.device
        z0, z1 = data.latents[batch.control_rows], data.latents[batch.perturbed_rows]
        z0, z1 = self._pair(z0, z1)
        t = torch.rand(z0.shape[:2], generator=data.rng)
        z_t, velocity = (part.to(device) for part in self._path.sample(z0, z1, t, data.rng))
        condition = data.condition.select(batch.group, device)
        vector = self.module.condition(condition).unsqueeze(1)
        predicted = self.module.get_velocity(
            t.to(device), z_t, vector, condition.anchor.unsqueeze(1)
        )
        return F.mse_loss(predicted, velocity)

    def _pair(self, z0: torch.Tensor, z1: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Bring the control and perturbed cells of each group into an order of pairs."""
        if self.module.config.coupling == "exact":
            return z0, _take(z1, pair_batches(z0, z1))
        first, second = sample_pairs(z0, z1, self._data.rng)
        return _take(z0, first), _take(z1, second)

    def _align(self) -> None:
        """Take a step of alignment for each of a few training groups, without dropout."""
        networks, batch = (self.module.condition, self.module.velocity), self._data.draw()
        for network in networks:
            network.eval()
        sizes = [
            self._step_aside(self._alignment_loss(Pairs(*(part[i : i + 1] for part in batch))))
            for i in range(len(batch.group))
        ]
        for network in networks:
            network.train()
        self._alignment_size = torch.stack(sizes).mean()

    def _step_aside(self, loss: torch.Tensor) -> torch.Tensor:
        """Take a step of the aligner, and leave the gradients of the flow as they are."""
        config, weights = self.module.config, self._weights
        gradients = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
        of_flow = [weight.grad for weight in weights]
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = gradient.clamp(-config.align_clip, config.align_clip)
        flow_rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        self._aligner.param_groups[0]["lr"] = config.align_lr * flow_rate / config.flow_lr
        self._aligner.step()
        for weight, kept in zip(weights, of_flow, strict=True):
            weight.grad = kept
        return _measure(gradients)

    def _alignment_loss(self, batch: Pairs) -> torch.Tensor:
        """Compare the structure of predicted and real cells of a group."""
        config, data, device = self.module.config, self._data, self.device
        real = self._read(batch.perturbed_rows)
        predicted = self.module.predict_cells(
            self._read(batch.control_rows),
            data.latents[batch.control_rows].to(device),
            data.condition.select(batch.group, device),
            data.effect[batch.group].to(device),
            data.control_mean[batch.group].to(device),
            is_fixed=True,
        )
        loss = correlation_loss(predicted, real, data.programs.to(device)).mean()
        self.log_value("correlation_loss", loss)
        loss = config.correlation_weight * loss
        if data.pathways is None:
            return loss
        pathway = pathway_loss(predicted, real, data.pathways.to(device)).mean()
        self.log_value("pathway_loss", pathway)
        return loss + config.pathway_weight * pathway

    def _read(self, rows: torch.Tensor) -> torch.Tensor:
        x = self._data.expression.rows(rows.numpy().ravel())
        return torch.from_numpy(np.ascontiguousarray(x)).unflatten(0, rows.shape).to(self.device)


def _take(points: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Points ``(B, N, d)`` by their positions ``(B, N)`` in each group."""
    return points.gather(1, rows.unsqueeze(-1).expand(-1, -1, points.shape[-1]))


def _measure(gradients: Sequence[torch.Tensor]) -> torch.Tensor:
    """Euclidean norm of all gradients together."""
    return torch.stack([gradient.norm() for gradient in gradients]).norm()


def correlation_loss(
    predicted: torch.Tensor, real: torch.Tensor, programs: torch.Tensor
) -> torch.Tensor:
    """Distance between the correlations of programs in predicted and in real cells.

    ``||R(predicted) - R(real)||_F / K`` with R the Pearson correlation of program means over
    cells (arXiv 2602.04901), of cells ``(..., N, G)`` and ``(..., M, G)``; shape ``(...)``.
    """
    difference = _correlation(predicted @ programs.T) - _correlation(real @ programs.T)
    return torch.linalg.matrix_norm(difference) / len(programs)


def pathway_loss(
    predicted: torch.Tensor, real: torch.Tensor, pathways: torch.Tensor
) -> torch.Tensor:
    """Entropic transport cost between the same cells in pathway space, over P."""
    return sinkhorn_cost(predicted @ pathways.T, real @ pathways.T) / len(pathways)


def _correlation(activity: torch.Tensor) -> torch.Tensor:
    """Pearson correlation of columns, shape ``(..., N, K)`` to ``(..., K, K)``."""
    centred = activity - activity.mean(-2, keepdim=True)
    std = centred.square().mean(-2, keepdim=True).clamp(min=_MIN_STD**2).sqrt()
    # A program that hardly varies would otherwise dominate through a few cells.
    standardised = (centred / std).clamp(-_MAX_STANDARDISED, _MAX_STANDARDISED)
    return standardised.mT @ standardised / activity.shape[-2]
