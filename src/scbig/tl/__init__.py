"""Tools: what programs do in each cell."""

from scbig.tl._program_scores import program_scores

__all__ = ["program_scores"]
