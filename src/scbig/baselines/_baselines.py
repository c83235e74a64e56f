"""The baselines as predictors: the verbs of the models around a simple rule."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from typing import ClassVar, Literal, Self

import numpy as np
from anndata import AnnData

from scbig._annotations import checked
from scbig._types import Arrays, Values
from scbig.data import Effects, Targets
from scbig.predictor import BasePredictor, Method, Task, Vocabulary
from scbig.priors import (
    GeneAliases,
    GeneEmbedding,
    TargetEmbeddings,
    choose_embedding,
    report_coverage,
)
from scbig.programs import make_coexpression_embedding
from scbig.regression import FLOOR_RULES, OWN_MEAN, FloorRule, KernelSettings, Rule, TargetKernel

logger = logging.getLogger(__name__)


class Baseline(BasePredictor):
    """Predicts the mean effect of each condition and carries control cells along it.

    A baseline of your own sets ``default_key`` and ``rule``, which is pure and can be used
    without cells.

    Parameters
    ----------
    adata
        Screen registered with :meth:`setup_anndata`.
    missing_embedding
        What to do when asked for a target of which nothing is known, neither seen in training nor
        a measured gene: raise an ``"error"``, or predict what the rule says of unseen targets,
        ``"mean"``, as benchmarks have it.
    seed
        Seed of the control cells drawn by :meth:`predict`; by default ``scvi.settings.seed``,
        or else 0.
    """

    #: How conditions are compared, and what is made of their effects.
    rule: ClassVar[FloorRule]
    compares_with_floors = False

    @checked
    def __init__(
        self,
        adata: AnnData,
        *,
        missing_embedding: Literal["error", "mean"] = "error",
        seed: int | None = None,
    ) -> None:
        super().__init__(adata, missing_embedding=missing_embedding, seed=seed)
        vocabulary, _ = self.read_screen()
        self.start(vocabulary, RuleMethod(vocabulary, self.rule), locals())

    def _choose_validation(self, conditions: Sequence[Targets]) -> Sequence[Targets]:
        """Hold nothing out where there is nothing to choose."""
        return super()._choose_validation(conditions) if self.rule.is_tuned else []

    def _check_known(self, targets: Collection[str]) -> None:
        """Raise for what is no gene of the screen; of others the rule says what is expected."""
        super()._check_known(set(targets).difference(self._vocabulary.genes))

    @classmethod
    def load_method(
        cls, vocabulary: Vocabulary, effects: Effects | None, values: Values, arrays: Arrays
    ) -> RuleMethod:
        return RuleMethod.from_plain(vocabulary, effects, values, cls.rule)


class EmbeddingBaseline(Baseline):
    """A baseline that compares targets by their embeddings.

    The embedding is saved with it, so that it knows genes that the screen has not perturbed. A
    target without an embedding is similar to itself alone.

    Parameters
    ----------
    adata
        Screen registered with :meth:`setup_anndata`.
    gene_embedding
        Embedding of perturbation targets; by default the co-expression of the control cells,
        which the targets have that are measured genes.
    aliases
        Other names of genes.
    missing_embedding
        As for :class:`Baseline`; what has an embedding is known, too.
    seed
        Seed of everything random; by default ``scvi.settings.seed``, or else 0.
    """

    @checked
    def __init__(
        self,
        adata: AnnData,
        *,
        gene_embedding: GeneEmbedding | None = None,
        aliases: GeneAliases | None = None,
        missing_embedding: Literal["error", "mean"] = "error",
        seed: int | None = None,
    ) -> None:
        BasePredictor.__init__(self, adata, missing_embedding=missing_embedding, seed=seed)
        vocabulary, cells = self.read_screen()
        table = choose_embedding(gene_embedding) or make_coexpression_embedding(
            cells.expression, cells.screen, vocabulary.genes, np.random.default_rng(self._seed)
        )
        if gene_embedding is not None:
            report_coverage(table, vocabulary.targets, aliases)
        embeddings = TargetEmbeddings((table,), aliases)
        vocabulary = replace(vocabulary, embeddings=embeddings)
        self.start(vocabulary, RuleMethod(vocabulary, self.rule), locals())


class NoChange(Baseline):
    """Predicts control cells: no perturbation does anything.

    Examples
    --------
    >>> import scbig
    >>> adata = scbig.data.simulate_screen(n_cells=1000, n_genes=200)
    >>> scbig.baselines.NoChange.setup_anndata(adata)
    >>> baseline = scbig.baselines.NoChange(adata)
    >>> baseline.train()
    >>> predicted = baseline.predict(perturbations=["GENE0001"])
    """

    default_key = "no_change"
    rule = FLOOR_RULES["no_change"]


class TrainMean(Baseline):
    """Predicts the mean effect of the training conditions, each counting once.

    The mean is over the conditions of the same context, or over all of them where a context has
    none. What hits every perturbed cell alike, it knows; which gene was perturbed, it ignores.
    """

    default_key = "train_mean"
    rule = FLOOR_RULES["train_mean"]


class OwnMean(Baseline):
    """Predicts the mean effect that the condition itself had in training.

    In the same context, or the mean of its effects in other contexts; a condition that was not
    trained on has the prediction of :class:`TrainMean`. It is the floor where other cells of the
    tested conditions are trained on, as in :func:`scbig.splits.make_seen`, and no part of
    :data:`FLOORS`.
    """

    default_key = "own_mean"
    rule = OWN_MEAN


class Additive(Baseline):
    """Predicts the sum of the effects that the targets have alone.

    A target that was perturbed alone contributes its effect in the same context, or the mean of
    its effects in other contexts. One that was never perturbed alone contributes the mean effect
    of those that were. Without any single perturbation in training, each condition's effect is
    shared out evenly among its targets. Simple, and hard to beat (Ahlmann-Eltze et al. 2025,
    doi:10.1038/s41592-025-02772-6).
    """

    default_key = "additive"
    rule = FLOOR_RULES["additive"]


class RidgeIndicator(Baseline):
    """Ridge regression on indicators of the perturbed genes.

    Predicts the number of targets times the mean single effect, and for each target that was
    seen, alone or in combinations, what it adds. A target that was never seen has the mean
    single effect. Conditions weigh by their numbers of cells; the penalty is chosen on validation
    conditions by mean squared error. A linear baseline in the sense of Ahlmann-Eltze et al. 2025
    (doi:10.1038/s41592-025-02772-6).
    """

    default_key = "ridge"
    rule = FLOOR_RULES["ridge"]


class KernelRidge(EmbeddingBaseline):
    """Kernel ridge regression on embeddings of the perturbed genes.

    As :class:`RidgeIndicator`, but targets of similar embedding share what they add: the kernel
    of two targets is one if they are the same, plus a weight times the cosine of their
    embeddings, and that of two conditions is the sum over their targets (Rasmussen & Williams
    2006, chapter 2). So a gene that was never perturbed is predicted from those like it, and one
    without an embedding has the mean single effect. Penalty and weight are chosen on validation
    conditions by mean squared error. The arguments are those of :class:`EmbeddingBaseline`.
    """

    default_key = "kernel_ridge"
    rule = FLOOR_RULES["kernel_ridge"]


class NearestCondition(EmbeddingBaseline):
    """Predicts the effect of the training condition whose targets are most similar.

    Two targets are similar by one if they are the same, plus the cosine of their embeddings; two
    conditions by the sum over their targets, as a cosine. Conditions that are equally near are
    averaged. A condition contributes its effect in the same context, or the mean of its effects
    in other contexts. Where nothing is similar, the prediction is that of :class:`TrainMean`.
    The arguments are those of :class:`EmbeddingBaseline`.
    """

    default_key = "nearest_condition"
    rule = FLOOR_RULES["nearest_condition"]


#: The baselines that every table shows, in its order.
FLOORS: tuple[type[Baseline], ...] = (
    NoChange,
    TrainMean,
    Additive,
    RidgeIndicator,
    KernelRidge,
    NearestCondition,
)


class RuleMethod(Method):
    """Expects what a rule makes of the effects of the training conditions."""

    def __init__(self, vocabulary: Vocabulary, floor: FloorRule) -> None:
        self.vocabulary = vocabulary
        self.floor = floor
        self.makes_cells = floor.makes_cells
        self._kernel: TargetKernel | None = None
        self._rule: Rule | None = None

    def extend(self, vocabulary: Vocabulary) -> None:
        """Take the names of a further screen in."""
        self.vocabulary = vocabulary

    def fit(self, task: Task) -> None:
        """Choose how conditions are compared, and make the rule."""
        self._kernel = task.judge.choose_kernel(
            self.floor.choose_kernel, task.trained, self.vocabulary.embeddings.mappings
        )
        if self.floor.is_tuned:
            logger.info("Chosen on %d conditions: %s", len(task.judge), self._kernel.settings)
        self.refit(task)

    def refit(self, task: Task) -> bool:
        """Make the rule anew, comparing conditions as before."""
        if self._kernel is None:
            raise RuntimeError("Nothing was fitted yet. Run train() first.")
        self._rule = self.floor.make_rule(task.trained, self._kernel)
        return True

    def predict_effects(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray:
        """Expected effects of conditions, shape ``(n, G)``."""
        if self._rule is None:
            raise RuntimeError("Nothing was fitted yet. Run train() first.")
        return self._rule(targets, context)

    def to_plain(self) -> tuple[Values, Arrays]:
        """Settings of the kernel; the rule is made again from the effects."""
        kernel = self._kernel
        if kernel is None:
            return {"kernel": None, "n_tables": 0}, {}
        return {"kernel": asdict(kernel.settings), "n_tables": len(kernel.embeddings)}, {}

    @classmethod
    def from_plain(
        cls, vocabulary: Vocabulary, effects: Effects | None, values: Values, floor: FloorRule
    ) -> Self:
        """Rebuild what :meth:`to_plain` returned."""
        method = cls(vocabulary, floor)
        if effects is not None:
            settings = values["kernel"] | {"embedding": tuple(values["kernel"]["embedding"])}
            tables = vocabulary.embeddings.mappings[: values["n_tables"]]
            method._kernel = TargetKernel(tables, KernelSettings(**settings))
            method._rule = floor.make_rule(effects, method._kernel)
        return method
