"""Vectors of places that somebody has computed."""

from functools import cached_property
from hashlib import blake2b

import numpy as np

from scbig.priors._embedding import GeneEmbedding
from scbig.priors._locus_tokens import LocusTokens
from scbig.priors._windows import Windows

_N_SHOWN = 10


class TableEncoder:
    """Looks vectors up by locus id; needs no DNA.

    Parameters
    ----------
    table
        One vector per locus id, as :func:`load_gene_embedding` reads them from a file. A row of
        zeros is a vector like any other here.
    """

    def __init__(self, table: GeneEmbedding) -> None:
        self.table = table
        self._rows = {name: row for row, name in enumerate(table.names)}

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self.table.dim

    @property
    def width(self) -> int:
        """0: it reads no DNA."""
        return 0

    @cached_property
    def fingerprint(self) -> str:
        """Changes with ids and vectors."""
        digest = blake2b("\n".join(self.table.names).encode(), digest_size=16)
        digest.update(np.ascontiguousarray(self.table.vectors).data)
        return f"table-{digest.hexdigest()}"

    def encode(self, windows: Windows) -> LocusTokens:
        """Look vectors up.

        Parameters
        ----------
        windows
            Windows of any width; only their ids are read.

        Returns
        -------
        One token per locus.

        Raises
        ------
        ValueError
            When a locus has no vector; the message lists them.
        """
        missing = [id for id in windows.ids if id not in self._rows]
        if missing:
            more = f" and {len(missing) - _N_SHOWN} more" if len(missing) > _N_SHOWN else ""
            raise ValueError(
                f"{self.table.source} has no vector for {len(missing)} of {len(windows)} loci: "
                f"{', '.join(missing[:_N_SHOWN])}{more}. Its names must be locus ids, such as "
                f"{self.table.names[0]!r}."
            )
        rows = [self._rows[id] for id in windows.ids]
        is_there = np.ones((len(rows), 1), dtype=bool)
        return LocusTokens(self.table.vectors[rows][:, None], is_there, is_there)
