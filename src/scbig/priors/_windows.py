"""Stretches of DNA around places in the genome."""

from dataclasses import dataclass

import numpy as np

from scbig.priors._sequence import UNKNOWN, decode_dna


@dataclass(frozen=True, eq=False)
class Windows:
    """The DNA around each of some places, read along their strands.

    Parameters
    ----------
    ids
        Ids of the places.
    codes
        Bases as 0 to 3 for A, C, G and T, 4 where they are not known, shape
        (n_loci, width), uint8.
    is_inside
        Whether a base is on the chromosome, shape (n_loci, width).
    is_target
        Whether a base is perturbed, shape (n_loci, width).
    """

    ids: tuple[str, ...]
    codes: np.ndarray
    is_inside: np.ndarray
    is_target: np.ndarray

    def __post_init__(self) -> None:
        shapes = {array.shape for array in (self.codes, self.is_inside, self.is_target)}
        if len(shapes) > 1 or self.codes.ndim != 2 or len(self.codes) != len(self.ids):
            raise ValueError(
                f"codes, is_inside and is_target have the shapes {sorted(shapes)}; each must be "
                f"({len(self.ids)}, width) for {len(self.ids)} ids"
            )

    @classmethod
    def without_sequence(cls, ids: tuple[str, ...]) -> "Windows":
        """Windows of no width, for an encoder that reads no DNA.

        Parameters
        ----------
        ids
            Ids of the places.

        Returns
        -------
        Windows of shape (n_loci, 0).
        """
        is_nothing = np.zeros((len(ids), 0), dtype=bool)
        return cls(ids, np.zeros((len(ids), 0), dtype=np.uint8), is_nothing, is_nothing)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def width(self) -> int:
        """Number of bases of a window."""
        return self.codes.shape[1]

    @property
    def sequences(self) -> tuple[str, ...]:
        """The bases as letters, ``N`` where they are not known."""
        return tuple(decode_dna(row) for row in self.codes)

    def take(self, rows: np.ndarray) -> "Windows":
        """Some of the windows.

        Parameters
        ----------
        rows
            Their numbers, shape (n_rows,).

        Returns
        -------
        These windows.
        """
        ids = tuple(self.ids[row] for row in rows)
        return Windows(ids, self.codes[rows], self.is_inside[rows], self.is_target[rows])

    def shuffle(self, rng: np.random.Generator) -> "Windows":
        """The same windows with their known bases in random order, which holds no motif.

        Parameters
        ----------
        rng
            Source of randomness.

        Returns
        -------
        Windows of the same composition and masks.
        """
        codes = self.codes.copy()
        for row in codes:
            is_known = row != UNKNOWN
            row[is_known] = rng.permutation(row[is_known])
        return Windows(self.ids, codes, self.is_inside, self.is_target)
