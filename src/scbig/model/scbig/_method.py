"""What SCBIG is: a regression of effects, and a flow between latents that is anchored on it.

Its networks are built from groups of genes: programs, which are made here where none are given,
and pathways.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self, cast

import numpy as np
import torch
from anndata import AnnData

from scbig._constants import UNS
from scbig._types import Arrays, Values
from scbig.data import Effects, PairBatches, ScreenCells, Targets, thin
from scbig.model.scbig._condition import FlowCondition
from scbig.model.scbig._config import SCBIGConfig
from scbig.model.scbig._module import FlowSizes, SCBIGModule
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
)
from scbig.priors import GeneAliases, GeneEmbedding, GeneGraph, GeneSets
from scbig.programs import (
    GenePrograms,
    ProgramConfig,
    average_programs,
    get_gene_programs,
    make_gene_programs,
)

logger = logging.getLogger(__name__)

MIN_GENES_PER_PROGRAM = 4
N_ALIGNED_GROUPS = 3
N_ALIGNED_CELLS = 64


@dataclass(frozen=True, eq=False)
class ProgramPriors:
    """Groups of genes that the networks of SCBIG are built from."""

    programs: GenePrograms
    averaging: np.ndarray  # averages the genes of each program, (K, G)
    semantics: np.ndarray  # mean gene embedding of each program, (K, d)
    pathways: np.ndarray | None  # averages the genes of each pathway, (P, G)


class AnchoredFlow(RegressionMethod):
    """Regression of gene and latent effects, and a flow that learns what they miss."""

    module: SCBIGModule

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
        """Train the autoencoder, unless there is one already, and fit the regression."""
        # An autoencoder that is there is kept, unless it is asked for.
        if (task.first_budget is None and not self.is_encoding) or task.first_budget:
            if n_earlier := len(task.trained) - len(task.measured):
                raise ValueError(
                    f"max_epochs={task.first_budget} would train the autoencoder again, but "
                    f"{n_earlier} effects of an earlier screen are known in its present "
                    "latents only. Leave max_epochs out, or train a new model on both screens."
                )
            fit_autoencoder(self.module, task)
            self.is_encoding = True
        self._latents = compute_latents(self.module, task.cells.expression)
        self._before = self._anchor
        super().fit(task)

    def compute_features(self, task: Task) -> np.ndarray:
        """Latent effects; those of groups that are not in this screen are kept."""
        measured = task.compute_effects(self._latents)
        known, before = {}, self._before
        if before is not None:
            known = dict(zip(before.effects.keys, cast(np.ndarray, before.features), strict=True))
        known |= dict(zip(measured.keys, measured.delta, strict=True))
        return np.stack([known[key] for key in task.trained.keys])

    def release(self) -> None:
        """Forget the latents of the screen, and what was known before it."""
        self._before = None
        self._latents = np.empty((0, self.config.n_latent), dtype=np.float32)

    def fit_networks(self, task: Task, n_steps: int) -> None:
        """Train the condition encoder and the velocity network."""
        config = self.config
        n_epochs, n_steps = plan_epochs(n_steps, config.n_validations)
        stopping, validate = None, self._prepare_score(task)
        if validate is not None:
            # Without training an anchored flow is its anchor; a free one is nothing.
            initial = validate() if config.use_anchor else -np.inf
            stopping = Stopping("flow_validation_score", config.patience, initial)
        data = self._make_data(task)
        n_copies = len(data.effect) // len(task.groups)
        n_batches = n_steps * config.flow_accumulation
        task.runner.run(
            FlowPlan(self.module, data, validate),
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

    def _prepare_score(self, task: Task) -> Callable[[], float] | None:
        """What the flow stops on: the shape of cells, or means where it predicts these alone."""
        judge, by_shape = task.judge, task.shape
        if by_shape is not None and (
            shaper := self.make_shaper(by_shape.targets, by_shape.context)
        ):
            return lambda: by_shape.score(shaper)
        control_mean = task.trained.get_control(judge.context)
        mover = self.make_mover(judge.targets, judge.context, control_mean)
        return (lambda: judge.score_cells(mover)) if len(judge) else None

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


@dataclass(frozen=True, eq=False)
class GivenPriors:
    """What the user gives beside the screen; see :class:`~scbig.model.SCBIG`."""

    programs: GenePrograms | None
    n_programs: int
    gene_embedding: GeneEmbedding | None
    gene_graph: GeneGraph | None
    gene_sets: GeneSets | None
    aliases: GeneAliases | None


def make_program_priors(
    adata: AnnData,
    cells: ScreenCells,
    genes: tuple[str, ...],
    given: GivenPriors,
    coexpression: GeneEmbedding,
    seed: int,
) -> ProgramPriors:
    """Make programs, or take those that are given, and average what is known over them.

    Co-expression stands in for a gene embedding that is not given.
    """
    programs = given.programs
    if programs is None and UNS.PROGRAMS in adata.uns:
        programs = get_gene_programs(adata.uns)
    if programs is None:
        programs = _make_programs(cells, genes, given, seed)
    else:
        programs = _order_programs(programs, genes)
    table = given.gene_embedding or coexpression
    aligned = table.align(genes, aliases=given.aliases)
    averaging = average_programs(programs.labels)
    weights = averaging * aligned.is_found
    # Genes without an embedding do not count.
    total = np.maximum(weights.sum(axis=1, keepdims=True), 1e-12)
    semantics = (weights / total) @ aligned.values
    return ProgramPriors(programs, averaging, semantics, _make_pathways(genes, given))


def _make_programs(
    cells: ScreenCells, genes: tuple[str, ...], given: GivenPriors, seed: int
) -> GenePrograms:
    n_programs = min(given.n_programs, max(len(genes) // MIN_GENES_PER_PROGRAM, 1))
    if n_programs < given.n_programs:
        logger.info(
            "%d gene programs in place of %d: the data have %d genes.",
            n_programs,
            given.n_programs,
            len(genes),
        )
    embedding, graph, aliases = given.gene_embedding, given.gene_graph, given.aliases

    def read_controls() -> np.ndarray:
        rows = np.flatnonzero(cells.screen.is_control)
        return cells.expression.rows(thin(rows, np.random.default_rng(seed)))

    return make_gene_programs(
        genes,
        read_controls,
        embedding=None if embedding is None else embedding.align(genes, aliases=aliases),
        graph=None if graph is None else graph.align(genes, aliases=aliases),
        config=ProgramConfig(n_programs=n_programs, seed=seed),
    )


def _order_programs(programs: GenePrograms, genes: tuple[str, ...]) -> GenePrograms:
    """Bring given programs into the order of the genes."""
    labels = programs.get_labels(genes)
    lacking = [gene for gene, label in zip(genes, labels, strict=True) if label < 0]
    if lacking:
        raise ValueError(
            f"{len(lacking)} genes are in no program: {lacking[:5]}. Make programs for these "
            "genes with scbig.pp.gene_programs(adata)."
        )
    return replace(programs, labels=labels, var_names=genes)


def _make_pathways(genes: tuple[str, ...], given: GivenPriors) -> np.ndarray | None:
    sets = given.gene_sets
    if sets is None:
        return None
    membership = sets.align(genes, aliases=given.aliases).membership.toarray()
    if not len(membership):
        raise ValueError(
            f"{sets.source}: no gene set has between 5 and 500 of the measured genes "
            f"({list(genes[:3])} ...). Give sets with the same kind of gene names."
        )
    return membership / membership.sum(axis=1, keepdims=True)
