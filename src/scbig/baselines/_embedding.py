"""What baselines share that compare targets by their embeddings."""

import logging
from dataclasses import replace

import numpy as np
from anndata import AnnData

from scbig.baselines._base import Baseline
from scbig.data import Expression, get_matrix, make_screen
from scbig.priors import GeneAliases, GeneEmbedding
from scbig.programs import make_coexpression_embedding

logger = logging.getLogger(__name__)


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
    seed
        Seed of everything random; by default ``scvi.settings.seed``, or else 0.
    """

    def __init__(
        self,
        adata: AnnData,
        *,
        gene_embedding: GeneEmbedding | None = None,
        aliases: GeneAliases | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(adata, seed=seed)
        screen = make_screen(adata.obs, self._schema)
        if gene_embedding is None:
            gene_embedding = make_coexpression_embedding(
                Expression(get_matrix(adata, self._schema.layer)),
                screen,
                self._genes,
                np.random.default_rng(self._state.seed),
            )
        logger.info(
            "Perturbation targets: %s",
            gene_embedding.get_coverage(screen.targets, aliases=aliases),
        )
        self._set_state(replace(self._state, embedding=gene_embedding, aliases=aliases))
