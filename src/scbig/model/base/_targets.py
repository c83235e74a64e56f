"""What is known of perturbation targets beyond the screen: their embeddings."""

from collections.abc import Sequence

import numpy as np

from scbig.priors import GeneAliases, GeneEmbedding, UnitVectors


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
