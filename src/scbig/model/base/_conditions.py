"""Perturbations as padded arrays, alike for all condition encoders."""

from collections.abc import Sequence

import numpy as np

from scbig.data import Targets
from scbig.model.base._targets import TargetEmbeddings


def index_targets(targets: Sequence[Targets], names: Sequence[str]) -> np.ndarray:
    """Find targets among names.

    Parameters
    ----------
    targets
        Target sets of B conditions, of at most T targets each.
    names
        Unique names.

    Returns
    -------
    Positions in ``names``, ``-1`` where a target is not there and at padding, ``(B, T)``.
    """
    position = {name: i for i, name in enumerate(names)}
    index = np.full((len(targets), _get_width(targets)), -1, dtype=np.int64)
    for row, group in zip(index, targets, strict=True):
        row[: len(group)] = [position.get(target, -1) for target in group]
    return index


def embed_targets(targets: Sequence[Targets], embeddings: TargetEmbeddings) -> np.ndarray:
    """Vectors of targets, zeros where nothing is known and at padding, float32 ``(B, T, D)``."""
    vectors = np.zeros((len(targets), _get_width(targets), embeddings.dim), dtype=np.float32)
    for rows, group in zip(vectors, targets, strict=True):
        for row, target in zip(rows, group, strict=False):
            row[:] = embeddings.get_vector(target)
    return vectors


def mask_targets(targets: Sequence[Targets]) -> np.ndarray:
    """True at targets, False at padding, shape ``(B, T)``."""
    sizes = np.array([len(group) for group in targets], dtype=np.int64)
    return np.arange(_get_width(targets)) < sizes[:, None]


def hide_unseen(context: np.ndarray, n_contexts: int) -> np.ndarray:
    """Numbers of contexts, ``-1`` for those without a learned vector, shape ``(B,)``."""
    return np.where((context >= 0) & (context < n_contexts), context, -1).astype(np.int64)


def _get_width(targets: Sequence[Targets]) -> int:
    return max((len(group) for group in targets), default=1)
