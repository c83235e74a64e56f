"""Stretches of DNA around places in the genome, and their bases as small integers.

Codes are 0 to 3 for A, C, G and T, and 4 for a base that is not known.
"""

from dataclasses import dataclass

import numpy as np

UNKNOWN = 4

_CODE_OF_BYTE = np.full(256, UNKNOWN, dtype=np.uint8)
for _code, _base in enumerate("ACGT"):
    # Soft-masked repeats are written in lower case and are the same bases.
    _CODE_OF_BYTE[[ord(_base), ord(_base.lower())]] = _code
_BYTE_OF_CODE = np.frombuffer(b"ACGTN", dtype=np.uint8)
_COMPLEMENT = np.array([3, 2, 1, 0, UNKNOWN], dtype=np.uint8)


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


def encode_dna(text: str) -> np.ndarray:
    """Turn letters into codes.

    Parameters
    ----------
    text
        Bases in either case; whatever is not A, C, G or T is unknown.

    Returns
    -------
    Codes, shape (n_bases,), uint8.
    """
    return _CODE_OF_BYTE[np.frombuffer(text.encode("ascii", "replace"), dtype=np.uint8)]


def decode_dna(codes: np.ndarray) -> str:
    """Turn codes into letters.

    Parameters
    ----------
    codes
        Codes, shape (n_bases,).

    Returns
    -------
    Letters in upper case.
    """
    return _BYTE_OF_CODE[codes].tobytes().decode("ascii")


def reverse_complement(codes: np.ndarray) -> np.ndarray:
    """Read the other strand.

    Parameters
    ----------
    codes
        Codes, shape (..., n_bases).

    Returns
    -------
    Codes of the other strand from its own beginning, of the same shape.
    """
    return _COMPLEMENT[codes[..., ::-1]]
