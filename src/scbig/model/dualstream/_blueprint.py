"""Everything that DualStreamMamba is built from and that travels with a saved model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from anndata import AnnData

from scbig.data import ScreenSchema, Targets
from scbig.model.base import TargetEmbeddings
from scbig.model.dualstream._condition import ConditionInput, make_condition_input
from scbig.model.dualstream._config import DualStreamConfig
from scbig.model.dualstream._module import DualStreamModule
from scbig.model.dualstream._records import GeneRecord, ModuleSizes


@dataclass(frozen=True)
class Blueprint:
    """What a model knows before it is trained.

    Attributes
    ----------
    config
        Sizes and schedules.
    schema
        Where screens keep their labels.
    genes
        Gene names, in the order of the screen.
    targets, contexts
        Names of the targets and contexts seen, in the order of the module.
    embeddings
        Embeddings of perturbation targets.
    order_source
        Where the order of the genes comes from, in words.
    controls
        Control cells to predict from when no data are given.
    """

    config: DualStreamConfig
    schema: ScreenSchema
    genes: tuple[str, ...]
    targets: tuple[str, ...]
    contexts: tuple[str, ...]
    embeddings: TargetEmbeddings
    order_source: str
    controls: AnnData

    def describe(self) -> str:
        """Say in three sentences what the model is of."""
        size = self.config.get_token_size(len(self.genes))
        return (
            f"DualStreamMamba of {len(self.genes)} genes in {-(-len(self.genes) // size)} tokens "
            f"of {size}, {len(self.targets)} targets, contexts: {', '.join(self.contexts)}. "
            f"Gene order: {self.order_source}. Target embeddings: {self.embeddings.describe()}."
        )

    def make_module(self, genes: GeneRecord) -> DualStreamModule:
        """Build an untrained module."""
        sizes = ModuleSizes(len(self.targets), len(self.contexts), len(self.embeddings.tables))
        return DualStreamModule(genes, sizes, self.config)

    def make_condition(
        self, targets: Sequence[Targets], context: np.ndarray, effect: np.ndarray
    ) -> ConditionInput:
        """Turn perturbations into tensors; see :func:`make_condition_input`."""
        return make_condition_input(
            targets,
            context,
            effect if self.config.use_anchor else np.zeros_like(effect),
            genes=self.genes,
            seen=self.targets,
            n_contexts=len(self.contexts),
            embeddings=self.embeddings,
        )
