"""What SCBIG is: a regression of effects, and a flow between latents that is anchored on it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self, cast

import numpy as np
import torch

from scbig._types import Arrays, Values
from scbig.data import Effects, Expression, PairBatches, Targets
from scbig.model.scbig._condition import FlowCondition
from scbig.model.scbig._config import SCBIGConfig
from scbig.model.scbig._module import FlowSizes, SCBIGModule
from scbig.model.scbig._program_priors import ProgramPriors
from scbig.model.scbig._stages import FlowData, FlowPlan, compute_latents, fit_autoencoder
from scbig.nn import evaluating, get_weights, set_weights
from scbig.predictor import (
    CellMover,
    RegressionMethod,
    Schedule,
    Stopping,
    Task,
    Vocabulary,
    plan_epochs,
    prepare_score,
)
from scbig.programs import (
    GenePrograms,
    average_programs,
)

N_ALIGNED_GROUPS = 3
N_ALIGNED_CELLS = 64


class AnchoredFlow(RegressionMethod):
    """Regression of gene and latent effects, and a flow that learns what they miss."""

    module: SCBIGModule
    stage = "flow"

    def __init__(
        self,
        vocabulary: Vocabulary,
        config: SCBIGConfig,
        priors: ProgramPriors,
        gene_mean: np.ndarray,  # mean expression of the cells, (G,)
    ) -> None:
        super().__init__(vocabulary, config.denoising)
        self.config = config
        self.priors = priors
        self.n_steps = config.flow_steps
        self.is_anchored = config.use_anchor
        self.use_gate = config.use_gate
        self.is_encoding = False  # until its autoencoder is trained
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
        self.release()

    def describe(self) -> str:
        """Say how many programs there are."""
        return f"Gene programs: {len(self.priors.programs.names)}."

    def extend(self, vocabulary: Vocabulary) -> None:
        """Make room for further targets and contexts, which start without a vector."""
        super().extend(vocabulary)
        self.module.condition.extend(len(vocabulary.targets), len(vocabulary.contexts))

    # --- training ----------------------------------------------------------------------------

    def fit(self, task: Task) -> None:
        """Fit the regression; of latent effects, too, where networks are there or asked for."""
        self._before = self._anchor
        if task.first_budget:
            self._train_autoencoder(task)
        elif self._before is not None and self._before.features is not None:
            self._latents = compute_latents(self.module, task.cells.expression)
        super().fit(task)

    def _train_autoencoder(self, task: Task) -> None:
        """Train it, and encode the cells; what is known in other latents would hold no more."""
        n_earlier = len(task.trained) - len(task.measured)
        if n_earlier and self._before is not None and self._before.features is not None:
            raise ValueError(
                f"max_epochs={task.first_budget} would train the autoencoder again, but "
                f"{n_earlier} effects of an earlier screen are known in its present "
                "latents only. Leave max_epochs out, or train a new model on both screens."
            )
        fit_autoencoder(self.module, task)
        self._latents = compute_latents(self.module, task.cells.expression)
        self.is_encoding = True

    def compute_features(self, task: Task) -> np.ndarray | None:
        """Latent effects, where cells are encoded.

        Of groups that are not in this screen they are as they were, or else those that the
        encoder sees between the means of cells.
        """
        if not len(self._latents):
            return None
        measured = task.compute_effects(self._latents)
        earlier = task.trained.subset(np.arange(len(task.trained) - len(measured)))
        known = dict(zip(earlier.keys, self._encode_effects(earlier), strict=True))
        before = self._before
        if before is not None and before.features is not None:
            known |= dict(zip(before.effects.keys, before.features, strict=True))
        known |= dict(zip(measured.keys, measured.delta, strict=True))
        return np.stack([known[key] for key in task.trained.keys])

    def _encode_effects(self, effects: Effects) -> np.ndarray:
        control_mean = effects.get_control(effects.context)
        moved, start = (
            compute_latents(self.module, Expression(means.astype(np.float32)))
            for means in (control_mean + effects.delta, control_mean)
        )
        return moved - start

    def release(self) -> None:
        """Forget the latents of the screen, and what was known before it."""
        self._before = None
        self._latents = np.empty((0, self.config.n_latent), dtype=np.float32)

    def fit_networks(self, task: Task, n_steps: int) -> None:
        """Train the condition encoder and the velocity network, after the autoencoder."""
        config = self.config
        self._prepare_latents(task)
        n_epochs, n_steps = plan_epochs(n_steps, config.n_validations)
        stopping, validate = None, prepare_score(self, task)
        if validate is not None:
            # Without training an anchored flow is its anchor; a free one is nothing.
            initial = validate() if config.use_anchor else -np.inf
            stopping = Stopping(f"{self.stage}_validation_score", config.patience, initial)
        data = self._make_data(task)
        n_copies = len(data.effect) // len(task.groups)
        n_batches = n_steps * config.flow_accumulation
        task.runner.run(
            FlowPlan(self.module, data, validate, self.stage),
            _pair(task, n_copies, config.groups_per_step, config.cells_per_group, n_batches),
            Schedule(
                n_epochs,
                validate_every=int(validate is not None),
                clip_norm=config.clip_norm,
                accumulation=config.flow_accumulation,
                ema_decay=config.ema_decay,
            ),
            stopping,
        )

    def _prepare_latents(self, task: Task) -> None:
        """Train the autoencoder, unless there is one or none is wanted, and encode the cells."""
        if task.first_budget is None and not self.is_encoding:
            self._train_autoencoder(task)
        elif not len(self._latents):
            self._latents = compute_latents(self.module, task.cells.expression)
        self._anchor = self.anchor.with_features(cast(np.ndarray, self.compute_features(task)))

    def make_trial(self) -> "AnchoredFlow | None":
        """A flow between principal components, which need no training."""
        if not (self.is_anchored and self.use_gate) or self.is_encoding:
            return None
        if self.config.autoencoder != "programs":
            return None
        config = replace(self.config, autoencoder="pca")
        gene_mean = self.vocabulary.expected_expression
        trial = AnchoredFlow(self.vocabulary, config, self.priors, gene_mean)
        trial.stage, trial._anchor = "trial", self._anchor
        return trial

    def _make_data(self, task: Task) -> FlowData:
        targets, context = task.measured.targets, task.measured.context
        unseen = self.anchor_groups(task)
        conditions = []
        for one in unseen:
            features = cast(np.ndarray, one.features)
            condition = FlowCondition.make(self.vocabulary, targets, context, features)
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

    def make_shaper(self, targets: Sequence[Targets], context: np.ndarray) -> CellMover | None:
        """Prepare to tell how the flow moves cells beyond the mean change."""
        if not self.config.use_anchor:
            return None
        control_mean = np.zeros((len(context), len(self.vocabulary.genes)), dtype=np.float32)
        return self.make_mover(targets, context, control_mean).deviate

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
        values["is_encoding"] = self.is_encoding
        return values, arrays | get_weights(self.module)

    @classmethod
    def from_plain(
        cls, vocabulary: Vocabulary, effects: Effects | None, values: Values, arrays: Arrays
    ) -> Self:
        """Rebuild what :meth:`to_plain` returned."""
        programs = values["programs"] | {"labels": arrays["programs.labels"]}
        priors = ProgramPriors(
            GenePrograms.from_dict(programs),
            average_programs(arrays["programs.labels"]),
            arrays["semantics"],
            arrays.get("pathways"),
        )
        config, gene_mean = SCBIGConfig.from_dict(values["config"]), arrays["module.gene_mean"]
        method = cls(vocabulary, config, priors, gene_mean)
        set_weights(method.module, arrays)
        method.is_encoding = values.get("is_encoding", effects is not None)
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


@dataclass(frozen=True, eq=False)
class FlowMover:
    """Carries control cells along the flow, to n conditions."""

    module: SCBIGModule
    condition: FlowCondition
    effect: torch.Tensor  # what the regression expects, (n, G)
    control_mean: torch.Tensor  # of the context of each condition, (n, G)

    def __call__(self, x: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Predict perturbed cells."""
        module, device = self.module, self.module.device
        cells, chosen = self._take(x, rows)
        with evaluating(module):
            z = module.encode(cells)
            predicted = module.predict_cells(
                cells.expand(len(rows), -1, -1),
                z.expand(len(rows), -1, -1),
                self.condition.select(chosen, device),
                self.effect[chosen].to(device),
                self.control_mean[chosen].to(device),
            )
        return predicted.cpu().numpy()

    def deviate(self, x: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Predict by how much each cell is moved beyond the mean, ``(B, N, G)``."""
        module = self.module
        cells, chosen = self._take(x, rows)
        with evaluating(module):
            z = module.encode(cells)
            condition = self.condition.select(chosen, module.device)
            deviation = module.predict_deviations(z.expand(len(rows), -1, -1), condition)
        return deviation.cpu().numpy()

    def _take(self, x: np.ndarray, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        cells = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))
        return cells.to(self.module.device), torch.from_numpy(np.asarray(rows))
