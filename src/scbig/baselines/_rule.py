"""What a trained baseline is: a rule from conditions to mean effects."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from scbig.data import Targets

# One lookup table from target to unit vector for each source of similarity.
Embeddings = tuple[Mapping[str, np.ndarray], ...]


class Rule(Protocol):
    """Predicts the mean effects of conditions, shape ``(n, n_genes)``.

    ``targets`` has length ``n``; ``context``, of shape ``(n,)``, may hold numbers of contexts
    without training conditions.
    """

    def __call__(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray:
        """Predict."""
        ...
