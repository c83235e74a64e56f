"""Everything that SCBIG is built from and that travels with a saved model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from anndata import AnnData

from scbig.data import ScreenSchema, Targets
from scbig.model.base import TargetEmbeddings
from scbig.model.scbig._components import ConditionInput
from scbig.model.scbig._conditions import make_condition_input
from scbig.model.scbig._config import SCBIGConfig
from scbig.model.scbig._module import ModuleSizes, SCBIGModule
from scbig.programs import GenePrograms


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
        Gene names, in the order of the module.
    targets, contexts
        Names of the targets and contexts seen, in the order of the module.
    programs
        Gene programs.
    embeddings
        Embeddings of perturbation targets.
    pathways
        Averages the genes of each pathway, shape ``(P, G)``, or ``None``.
    controls
        Control cells to predict from when no data are given.
    """

    config: SCBIGConfig
    schema: ScreenSchema
    genes: tuple[str, ...]
    targets: tuple[str, ...]
    contexts: tuple[str, ...]
    programs: GenePrograms
    embeddings: TargetEmbeddings
    pathways: np.ndarray | None
    controls: AnnData

    @property
    def sizes(self) -> ModuleSizes:
        """Sizes of the module that follow from the screen."""
        return ModuleSizes(len(self.targets), self.embeddings.dim, len(self.contexts))

    def describe(self) -> str:
        """Say in two sentences what the model is of."""
        return (
            f"SCBIG of {len(self.genes)} genes in {self.programs.n_programs} programs, "
            f"{len(self.targets)} targets, contexts: {', '.join(self.contexts)}. "
            f"Target embeddings: {self.embeddings.describe()}."
        )

    def make_module(self, semantics: np.ndarray, gene_mean: np.ndarray) -> SCBIGModule:
        """Build the module.

        Parameters
        ----------
        semantics
            Mean gene embedding of each program, shape ``(K, d)``.
        gene_mean
            Mean expression of the genes, shape ``(G,)``.

        Returns
        -------
        An untrained module.
        """
        return SCBIGModule(
            torch.from_numpy(self.programs.labels.astype(np.int64)),
            torch.from_numpy(semantics.astype(np.float32)),
            torch.from_numpy(gene_mean.astype(np.float32)),
            self.sizes,
            self.config,
        )

    def make_condition(
        self, targets: Sequence[Targets], context: np.ndarray, anchor: np.ndarray
    ) -> ConditionInput:
        """Turn perturbations into tensors; see :func:`make_condition_input`."""
        return make_condition_input(
            targets,
            context,
            anchor,
            seen=self.targets,
            n_contexts=len(self.contexts),
            embeddings=self.embeddings,
        )


def get_averaging(labels: np.ndarray) -> np.ndarray:
    """Return the matrix that averages the genes of each program, shape ``(K, G)``."""
    one_hot = np.eye(labels.max() + 1, dtype=np.float32)[:, labels]
    return one_hot / one_hot.sum(axis=1, keepdims=True)
