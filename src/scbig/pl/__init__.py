"""Figures: each function draws on one Axes and returns it."""

from scbig.pl._effects import effect_scatter
from scbig.pl._history import history
from scbig.pl._programs import programs
from scbig.pl._reliability import reliability
from scbig.pl._scores import scores

__all__ = ["effect_scatter", "history", "programs", "reliability", "scores"]
