"""Tools: scores of predictions, and what programs do in each cell."""

from scbig.tl._evaluate import evaluate, evaluate_cells
from scbig.tl._program_scores import program_scores

__all__ = ["evaluate", "evaluate_cells", "program_scores"]
