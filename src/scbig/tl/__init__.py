"""Tools: scores of predictions, what programs do in each cell, and what cells are made of."""

from scbig.tl._evaluate import evaluate, evaluate_cells
from scbig.tl._program_scores import program_scores
from scbig.tl._source_expression import source_expression

__all__ = ["evaluate", "evaluate_cells", "program_scores", "source_expression"]
