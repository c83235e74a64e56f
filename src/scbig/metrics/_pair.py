"""The two sides of one context, as the metrics take them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from anndata import AnnData

from scbig.metrics._cells import PreparedCells

# The same tests on both sides: real and predicted cells with the real controls, the column of
# labels and the label of the controls.
TestInputs = tuple[AnnData, AnnData, str, str]


@dataclass(frozen=True)
class Pair:
    """Conditions of one context, real and predicted.

    Attributes
    ----------
    real, predicted
        Mean expression, ``(C, G)``. A condition that is not predicted holds its real mean, so
        that the others can be ranked among all; ``problems`` keeps it from being scored.
    control
        Mean expression of the real controls, ``(G,)``.
    target_mask
        The genes that each condition perturbs, ``(C, G)``.
    reference
        Mean of the training conditions, ``(G,)``, or ``None``.
    weights
        Weights of the genes, ``(C, G)``, or ``None`` if no metric takes them.
    real_cells, predicted_cells
        Cells of each condition as points, ``(n, d)``; empty if no metric takes them.
    make_tests
        Makes what tests on cells take.
    problems
        By argument, why it is missing for each condition; empty text where it is there.
    """

    real: np.ndarray
    predicted: np.ndarray
    control: np.ndarray
    target_mask: np.ndarray
    reference: np.ndarray | None
    weights: np.ndarray | None
    real_cells: Sequence[PreparedCells]
    predicted_cells: Sequence[PreparedCells]
    make_tests: Callable[[], TestInputs]
    problems: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.real)

    def get_problems(self, takes: Sequence[str]) -> list[str]:
        """Say for each condition what is missing of some arguments; empty if nothing is."""
        found = [self.problems[name] for name in takes if name in self.problems]
        return [next(filter(None, texts), "") for texts in zip(*found, strict=True)] or [""] * len(
            self
        )
