"""EffectRegression: the regression of effects by itself, in a second and without networks."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from anndata import AnnData

from scbig._annotations import checked
from scbig._types import Arrays, Values
from scbig.data import Effects, Targets
from scbig.predictor import (
    BasePredictor,
    CellMover,
    EffectMover,
    RegressionMethod,
    Vocabulary,
)
from scbig.priors import GeneAliases, GeneEmbedding
from scbig.regression import Denoising


class EffectRegression(BasePredictor):
    """Perturbation responses by a denoised regression of effects on the perturbed targets.

    What SCBIG and DualStreamMamba start from, alone: Gaussian processes over conditions, one for
    each principal component of the effects with its own noise, mixed with a regression gene by
    gene (:class:`scbig.regression.DenoisedRegression`). It is fitted in a second, has no networks,
    and is what they predict with where their networks do not help.

    Parameters
    ----------
    adata
        Screen registered with :meth:`setup_anndata`.
    gene_embedding, perturbation_embedding
        Embedding of perturbation targets, under either of the names that all models have for it;
        the second counts where both are given. Co-expression serves beside it for targets that
        are measured genes.
    denoising
        Parts of the regression, see :class:`scbig.regression.Denoising`.
    missing_embedding
        What to do when asked for a target that was not seen in training and has no embedding:
        raise an ``"error"``, or predict the ``"mean"`` effect of a target.
    aliases
        Other names of genes.
    seed
        Seed of the held-out conditions and of the control cells drawn; by default
        ``scvi.settings.seed``, or else 0.

    Examples
    --------
    >>> import scbig
    >>> adata = scbig.data.simulate_screen(n_cells=1000, n_genes=200)
    >>> scbig.model.EffectRegression.setup_anndata(adata)
    >>> model = scbig.model.EffectRegression(adata)
    >>> model.train()
    >>> predicted = model.predict(perturbations=["GENE0001"])
    """

    default_key = "effect_regression"
    method_class: ClassVar[type[RegressionMethod]] = RegressionMethod

    @checked
    def __init__(
        self,
        adata: AnnData,
        *,
        gene_embedding: GeneEmbedding | None = None,
        perturbation_embedding: GeneEmbedding | None = None,
        denoising: Denoising | None = None,
        missing_embedding: Literal["error", "mean"] = "error",
        aliases: GeneAliases | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(adata, missing_embedding=missing_embedding, seed=seed)
        vocabulary, cells = self.read_screen()
        tables = perturbation_embedding, gene_embedding
        vocabulary, _ = vocabulary.add_embeddings(cells, tables, aliases, self._seed)
        method = self.method_class(vocabulary, denoising or Denoising())
        self.start(vocabulary, method, locals())

    @classmethod
    def load_method(
        cls, vocabulary: Vocabulary, effects: Effects | None, values: Values, arrays: Arrays
    ) -> RegressionMethod:
        method = cls.method_class(vocabulary, Denoising(**values["denoising"]))
        method.restore(effects, values, arrays)
        return method


class ShiftMethod(RegressionMethod):
    """The regression, with cells carried by :class:`~scbig.predictor.EffectMover` for good.

    It is not anchored, so that its own mover predicts and not what others are carried by.
    """

    is_anchored = False
    makes_cells = False

    def make_mover(
        self, targets: Sequence[Targets], context: np.ndarray, control_mean: np.ndarray
    ) -> CellMover:
        """Shift control cells, as version 0.1 does."""
        return EffectMover(self.predict_effects(targets, context), control_mean)


class Shifted(EffectRegression):
    """Control cells shifted along the effects of the regression: a floor for cells."""

    default_key = "shifted"
    method_class = ShiftMethod
