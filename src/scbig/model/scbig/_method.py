"""What SCBIG is: a regression of effects, and a flow between latents of cells anchored on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import torch

from scbig._types import Arrays, Values
from scbig.data import Effects, PairBatches, Targets
from scbig.model.scbig._config import SCBIGConfig
from scbig.model.scbig._module import FlowSizes, SCBIGModule
from scbig.model.scbig._networks import FlowCondition
from scbig.model.scbig._stages import FlowData, FlowPlan, compute_latents, fit_autoencoder
from scbig.predictor import (
    RegressionMethod,
    Schedule,
    Stopping,
    Task,
    Vocabulary,
    get_weights,
    plan_epochs,
    set_weights,
)
from scbig.programs import GenePrograms, average_programs

N_ALIGNED_GROUPS = 3
N_ALIGNED_CELLS = 64


@dataclass(frozen=True, eq=False)
class ProgramPriors:
    """Groups of genes that the networks of SCBIG are built from.

    Attributes
    ----------
    programs
        Gene programs.
    semantics
        Mean gene embedding of each program, shape ``(K, d)``.
    pathways
        Averages the genes of each pathway, shape ``(P, G)``, or ``None``.
    """

    programs: GenePrograms
    semantics: np.ndarray
    pathways: np.ndarray | None

    @cached_property
    def averaging(self) -> np.ndarray:
        """Averages the genes of each program, shape ``(K, G)``."""
        return average_programs(self.programs.labels)


class AnchoredFlow(RegressionMethod):
    """Regression of gene and latent effects, and a flow that learns what they miss.

    Parameters
    ----------
    vocabulary
        Names that the predictor knows, and embeddings of targets.
    config
        Sizes and schedules.
    priors
        Programs and pathways.
    gene_mean
        Mean expression of the genes, shape ``(G,)``.
    """

    module: SCBIGModule

    def __init__(
        self,
        vocabulary: Vocabulary,
        config: SCBIGConfig,
        priors: ProgramPriors,
        gene_mean: np.ndarray,
    ) -> None:
        super().__init__(vocabulary, config.denoising)
        self.config = config
        self.priors = priors
        self.n_steps = config.flow_steps
        self.is_anchored = config.use_anchor
        self.use_gate = config.use_gate
        sizes = FlowSizes(
            len(vocabulary.targets), len(vocabulary.contexts), vocabulary.embeddings.dim
        )
        self.module = SCBIGModule(
            torch.from_numpy(priors.programs.labels.astype(np.int64)),
            torch.from_numpy(priors.semantics.astype(np.float32)),
            torch.from_numpy(gene_mean.astype(np.float32)),
            sizes,
            config,
        )
        self._latents: np.ndarray | None = None

    def describe(self) -> str:
        """Say how many programs there are."""
        return f"Gene programs: {self.priors.programs.n_programs}."

    def extend(self, vocabulary: Vocabulary) -> None:
        """Make room for further targets and contexts, which start without a vector."""
        super().extend(vocabulary)
        self.module.condition.extend(len(vocabulary.targets), len(vocabulary.contexts))

    # --- training ----------------------------------------------------------------------------

    def fit(self, task: Task) -> None:
        """Train the autoencoder, unless there is one already, and fit the regression."""
        # An autoencoder that is there is kept, unless it is asked for.
        if (task.first_budget is None and not task.is_continued) or task.first_budget:
            self._check_first_stage(task)
            fit_autoencoder(self.module, task)
        self._latents = compute_latents(self.module, task.cells.expression)
        super().fit(task)

    def _check_first_stage(self, task: Task) -> None:
        n_earlier = len(task.trained) - len(task.measured)
        if n_earlier:
            raise ValueError(
                f"max_epochs={task.first_budget} would train the autoencoder again, but "
                f"{n_earlier} effects of an earlier screen are known in its present "
                "latents only. Leave max_epochs out, or train a new model on both screens."
            )

    def compute_features(self, task: Task) -> np.ndarray:
        """Latent effects; those of groups that are not in this screen are kept."""
        if self._latents is None:
            raise RuntimeError("The latents of the screen were released.")
        measured = task.compute_effects(self._latents)
        known = (
            {}
            if self._anchor is None
            else dict(zip(self._anchor.effects.keys, self._anchor.features, strict=True))
        )
        known |= dict(zip(measured.keys, measured.delta, strict=True))
        return np.stack([known[key] for key in task.trained.keys])

    def release(self) -> None:
        """Forget the latents of the screen."""
        self._latents = None

    def fit_networks(self, task: Task, n_steps: int) -> None:
        """Train the condition encoder and the velocity network."""
        config = self.config
        n_epochs, n_steps = plan_epochs(n_steps)
        judge, stopping = task.judge, None
        control_mean = task.trained.get_control(judge.context)
        mover = self.make_mover(judge.targets, judge.context, control_mean)
        if len(judge):
            # Without training an anchored flow is its anchor; a free one is nothing.
            initial = judge.score_cells(mover) if config.use_anchor else -np.inf
            stopping = Stopping("flow_validation_score", initial=initial)
        data = self._make_data(task)
        n_copies = len(data.effect) // len(task.groups)
        n_batches = n_steps * config.flow_accumulation
        task.runner.run(
            FlowPlan(self.module, data, lambda: judge.score_cells(mover)),
            _pair(task, n_copies, config.groups_per_step, config.cells_per_group, n_batches),
            Schedule(
                n_epochs,
                validate_every=1 if len(judge) else 0,
                clip_norm=config.clip_norm,
                accumulation=config.flow_accumulation,
                ema_decay=config.ema_decay,
            ),
            stopping,
        )

    def _make_data(self, task: Task) -> FlowData:
        if self._latents is None:
            raise RuntimeError("The latents of the screen were released.")
        targets, context = task.measured.targets, task.measured.context
        unseen = self.anchor_groups(task)
        conditions = []
        for one in unseen:
            condition = FlowCondition.make(self.vocabulary, targets, context, one.features)
            if one.forgotten is not None:
                condition = condition.forget(targets, one.forgotten)
            conditions.append(condition)
        pathways, control_mean = self.priors.pathways, task.measured.get_control(context)
        return FlowData(
            latents=torch.from_numpy(self._latents),
            condition=FlowCondition(*map(torch.cat, zip(*conditions, strict=True))),
            effect=torch.from_numpy(np.concatenate([one.effect for one in unseen])).float(),
            control_mean=torch.from_numpy(np.tile(control_mean, (len(unseen), 1))).float(),
            expression=task.cells.expression,
            programs=torch.from_numpy(self.priors.averaging),
            pathways=None if pathways is None else torch.from_numpy(pathways),
            draw=_pair(task, len(unseen), N_ALIGNED_GROUPS, N_ALIGNED_CELLS, 1).draw,
            rng=torch.Generator().manual_seed(task.seed),
        )

    # --- prediction --------------------------------------------------------------------------

    def make_mover(
        self, targets: Sequence[Targets], context: np.ndarray, control_mean: np.ndarray
    ) -> "FlowMover":
        """Prepare conditions to carry cells to."""
        latent = self.anchor.predict_features(targets, context)
        return FlowMover(
            self.module,
            FlowCondition.make(self.vocabulary, targets, context, latent),
            torch.from_numpy(self.predict_effects(targets, context)).float(),
            torch.from_numpy(control_mean).float(),
        )

    # --- saving ------------------------------------------------------------------------------

    def to_plain(self) -> tuple[Values, Arrays]:
        """Values and arrays of regression, programs and networks."""
        values, arrays = super().to_plain()
        programs = self.priors.programs.to_dict()
        arrays["programs.labels"] = programs.pop("labels")
        for key in ("names", "var_names"):
            programs[key] = [str(name) for name in programs[key]]
        arrays["semantics"] = self.priors.semantics
        if self.priors.pathways is not None:
            arrays["pathways"] = self.priors.pathways
        values |= {"config": self.config.to_dict(), "programs": programs}
        return values, arrays | get_weights(self.module)

    @classmethod
    def from_plain(
        cls, vocabulary: Vocabulary, effects: Effects | None, values: Values, arrays: Arrays
    ) -> Self:
        """Rebuild what :meth:`to_plain` returned."""
        programs = values["programs"] | {"labels": arrays["programs.labels"]}
        priors = ProgramPriors(
            GenePrograms.from_dict(programs), arrays["semantics"], arrays.get("pathways")
        )
        config, gene_mean = SCBIGConfig.from_dict(values["config"]), arrays["module.gene_mean"]
        method = cls(vocabulary, config, priors, gene_mean)
        set_weights(method.module, arrays)
        method.restore(effects, values, arrays)
        return method


def _pair(task: Task, n_copies: int, n_groups: int, n_cells: int, n_batches: int) -> PairBatches:
    """Draw cells of training groups, each of which is there in so many copies."""
    return PairBatches(
        [rows for *_, rows in task.groups] * n_copies,
        task.get_controls(task.groups) * n_copies,
        n_groups=n_groups,
        n_cells=n_cells,
        n_batches=n_batches,
        seed=task.seed,
    )


class FlowMover:
    """Carries control cells along the flow.

    Parameters
    ----------
    module
        The networks.
    condition
        The n conditions.
    effect
        Effect that the regression expects of each, shape ``(n, G)``.
    control_mean
        Mean of the control cells of the context of each, shape ``(n, G)``.
    """

    def __init__(
        self,
        module: SCBIGModule,
        condition: FlowCondition,
        effect: torch.Tensor,
        control_mean: torch.Tensor,
    ) -> None:
        self._module = module
        self._condition = condition
        self._effect = effect
        self._control_mean = control_mean

    @torch.no_grad()
    def __call__(
        self,
        x: np.ndarray,
        rows: np.ndarray,
        rng: np.random.Generator | None = None,
        *,
        is_sampled: bool = False,
    ) -> np.ndarray:
        """Predict perturbed cells; several samples start in a cloud around each control cell."""
        module, device = self._module, self._module.device
        was_training = module.training
        module.eval()
        cells = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32)).to(device)
        z = module.encode(cells)
        if is_sampled and rng is not None:
            noise = rng.normal(scale=module.config.sigma, size=z.shape)
            z = z + torch.from_numpy(noise).to(z)
        chosen = torch.from_numpy(np.asarray(rows))
        predicted = module.predict_cells(
            cells.expand(len(rows), -1, -1),
            z.expand(len(rows), -1, -1),
            self._condition.select(chosen, device),
            self._effect[chosen].to(device),
            self._control_mean[chosen].to(device),
        )
        module.train(was_training)
        return predicted.cpu().numpy()
