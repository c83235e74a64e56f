"""What is known of perturbation targets beyond the screen: their embeddings."""

import logging
from collections.abc import Sequence

import numpy as np

from scbig.priors import GeneAliases, GeneEmbedding, UnitVectors

logger = logging.getLogger(__name__)


class TargetEmbeddings:
    """Embeddings of perturbation targets from several tables, each used for what it has.

    Parameters
    ----------
    tables
        Gene embeddings.
    aliases
        Other names of the genes.
    """

    def __init__(
        self, tables: Sequence[GeneEmbedding], aliases: GeneAliases | None = None
    ) -> None:
        self.tables = tuple(tables)
        self.aliases = aliases
        self.mappings = tuple(UnitVectors(table, aliases) for table in tables)

    @property
    def dim(self) -> int:
        """Length of the joint vector of a target."""
        return sum(mapping.dim for mapping in self.mappings)

    def __contains__(self, target: str) -> bool:
        return any(target in mapping for mapping in self.mappings)

    def get_vector(self, target: str) -> np.ndarray:
        """Return the unit vectors of all tables side by side; zeros where a table lacks it."""
        parts = [mapping.get(target, np.zeros(mapping.dim)) for mapping in self.mappings]
        return np.concatenate([np.empty(0), *parts]).astype(np.float32)

    def describe(self) -> str:
        """Name the tables and how many genes each has, for messages."""
        return ", ".join(
            f"{table.source} ({len(mapping)} genes)"
            for table, mapping in zip(self.tables, self.mappings, strict=True)
        )


def make_target_embeddings(
    table: GeneEmbedding | None,
    coexpression: GeneEmbedding,
    targets: Sequence[str],
    aliases: GeneAliases | None,
) -> TargetEmbeddings:
    """Put the table that a user gave beside co-expression, and say how far it reaches.

    Parameters
    ----------
    table
        The table, or ``None``.
    coexpression
        Embedding of the measured genes.
    targets
        Targets of the screen.
    aliases
        Other names of the genes.

    Returns
    -------
    The embeddings.
    """
    if table is None:
        return TargetEmbeddings([coexpression], aliases)
    logger.info("Perturbation targets: %s", table.get_coverage(targets, aliases=aliases))
    return TargetEmbeddings([table, coexpression], aliases)
