"""Which conditions are trained on, stopped on and tested on."""

from scbig.splits._validation import choose_validation

__all__ = ["choose_validation"]
