"""Building an untrained DualStreamMamba from a screen and what is known beside it."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from anndata import AnnData

from scbig.data import (
    Expression,
    ScreenSchema,
    get_gene_names,
    get_matrix,
    make_controls,
    make_screen,
)
from scbig.model.base import TargetEmbeddings, make_target_embeddings
from scbig.model.dualstream._blueprint import Blueprint
from scbig.model.dualstream._config import DualStreamConfig
from scbig.model.dualstream._order import (
    compute_position_order,
    compute_spectral_order,
    make_neighbour_graph,
    read_order,
)
from scbig.model.dualstream._records import GeneRecord
from scbig.model.dualstream._state import State
from scbig.priors import GeneAliases, GeneEmbedding, GeneGraph
from scbig.programs import make_coexpression_embedding

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Priors:
    """What is known beside the screen; see :class:`~scbig.model.DualStreamMamba`."""

    gene_embedding: GeneEmbedding | None = None
    gene_graph: GeneGraph | None = None
    perturbation_embedding: GeneEmbedding | None = None
    gene_order: Sequence[str] | None = None
    position_keys: tuple[str, str] | None = None
    aliases: GeneAliases | None = None


class Builder:
    """Builds the blueprint and the module of one model.

    Parameters
    ----------
    adata
        Registered screen.
    schema
        Where it keeps its labels.
    priors
        What is known beside it.
    seed
        Seed of everything random.
    """

    def __init__(self, adata: AnnData, schema: ScreenSchema, priors: Priors, seed: int) -> None:
        self._adata = adata
        self._schema = schema
        self._priors = priors
        self._genes = tuple(map(str, get_gene_names(adata, schema.gene_key)))
        self._expression = Expression(get_matrix(adata, schema.layer))
        self._screen = make_screen(adata.obs, schema)
        self._coexpression = make_coexpression_embedding(
            self._expression, self._screen, self._genes, np.random.default_rng(seed)
        )
        self._controls = make_controls(
            self._expression,
            self._screen,
            adata.obs[[schema.perturbation_key, *schema.context_keys]],
            self._genes,
            np.random.default_rng(seed),
        )

    def build(self, config: DualStreamConfig) -> State:
        """Return an untrained model."""
        order, source = self._make_order()
        logger.info("Gene order: %s", source)
        blueprint = Blueprint(
            config=config,
            schema=self._schema,
            genes=self._genes,
            targets=self._screen.targets,
            contexts=self._screen.contexts,
            embeddings=self._make_target_embeddings(),
            order_source=source,
            controls=self._controls,
        )
        vectors = np.stack([blueprint.embeddings.get_vector(gene) for gene in self._genes])
        module = blueprint.make_module(self._describe_genes(order, vectors))
        return State(blueprint, module, None, uses_networks=True)

    def _make_order(self) -> tuple[np.ndarray, str]:
        """Return gene numbers in their order, and where it comes from."""
        priors = self._priors
        if priors.gene_order is not None:
            return read_order(priors.gene_order, self._genes), "as given"
        if priors.position_keys is not None:
            return self._read_positions(priors.position_keys)
        if priors.gene_graph is not None:
            graph = priors.gene_graph.align(self._genes, aliases=priors.aliases)
            order = compute_spectral_order(graph.adjacency)
            return order, f"spectral order of {priors.gene_graph.source}"
        graph = make_neighbour_graph(self._coexpression.vectors)
        return compute_spectral_order(graph), f"spectral order of {self._coexpression.source}"

    def _read_positions(self, keys: tuple[str, str]) -> tuple[np.ndarray, str]:
        var = self._adata.var
        if missing := [key for key in keys if key not in var]:
            raise ValueError(
                f"position_keys: {missing} are not columns of var. Columns found: {list(var)}. "
                "Name those of chromosome and position, or leave position_keys out."
            )
        chromosome, position = keys
        order = compute_position_order(var[chromosome], var[position])
        return order, f"chromosome positions in var[{chromosome!r}] and var[{position!r}]"

    def _make_target_embeddings(self) -> TargetEmbeddings:
        priors = self._priors
        table = priors.perturbation_embedding or priors.gene_embedding
        return make_target_embeddings(
            table, self._coexpression, self._screen.targets, priors.aliases
        )

    def _describe_genes(self, order: np.ndarray, vectors: np.ndarray) -> GeneRecord:
        """Moments over the control cells that travel with the model."""
        x = self._controls.X
        # Squares of sparse float32 columns, in float64: small variances are differences.
        mean, square, positive = (
            np.asarray(part.mean(axis=0, dtype=np.float64)).ravel()
            for part in (x, x.power(2), x > 0)
        )
        moments = (
            torch.from_numpy(part.astype(np.float32))
            for part in (mean, np.sqrt(np.maximum(square - mean**2, 0)), 1 - positive)
        )
        return GeneRecord(torch.from_numpy(order), torch.from_numpy(vectors), *moments)
