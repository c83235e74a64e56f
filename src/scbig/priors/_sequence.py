"""DNA as small integers: 0 to 3 for A, C, G and T, 4 for a base that is not known."""

import numpy as np

BASES = "ACGTN"
UNKNOWN = 4

_CODE_OF_BYTE = np.full(256, UNKNOWN, dtype=np.uint8)
for _code, _base in enumerate("ACGT"):
    # Soft-masked repeats are written in lower case and are the same bases.
    _CODE_OF_BYTE[[ord(_base), ord(_base.lower())]] = _code
_BYTE_OF_CODE = np.frombuffer(BASES.encode(), dtype=np.uint8)
_COMPLEMENT = np.array([3, 2, 1, 0, UNKNOWN], dtype=np.uint8)


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
