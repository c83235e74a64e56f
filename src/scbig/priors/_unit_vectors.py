"""Gene embeddings as a mapping from names to directions."""

from collections.abc import Iterator, Mapping

import numpy as np

from scbig.priors._aliases import GeneAliases
from scbig.priors._embedding import GeneEmbedding


class UnitVectors(Mapping[str, np.ndarray]):
    """A table of embeddings as a mapping from names, or their aliases, to unit vectors.

    Parameters
    ----------
    table
        Gene embeddings; genes with a zero vector have none.
    aliases
        Other names of the genes.
    """

    def __init__(self, table: GeneEmbedding, aliases: GeneAliases | None = None) -> None:
        length = np.linalg.norm(table.vectors, axis=1, keepdims=True)
        self._vectors = table.vectors / np.where(length > 0, length, 1)
        self._rows = {name: row for row, name in enumerate(table.names) if length[row, 0] > 0}
        self._aliases = aliases
        self.dim = table.dim

    def __getitem__(self, name: str) -> np.ndarray:
        if name in self._rows or self._aliases is None:
            return self._vectors[self._rows[name]]
        found = self._aliases.resolve(name, self._rows.keys())
        if found is None:
            raise KeyError(name)
        return self._vectors[self._rows[found]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)
