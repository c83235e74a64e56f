"""Which conditions are trained on, stopped on and tested on."""

from scbig.splits._additive import make_additive
from scbig.splits._assign import assign_split, get_roles
from scbig.splits._conditions import parse_condition
from scbig.splits._context import make_context, make_replicate
from scbig.splits._gears import make_gears
from scbig.splits._json import read_splits, write_splits
from scbig.splits._low_sample import make_low_sample
from scbig.splits._make import make_split
from scbig.splits._split import Split
from scbig.splits._unseen import make_unseen
from scbig.splits._validation import choose_validation

__all__ = [
    "Split",
    "assign_split",
    "choose_validation",
    "get_roles",
    "make_additive",
    "make_context",
    "make_gears",
    "make_low_sample",
    "make_replicate",
    "make_split",
    "make_unseen",
    "parse_condition",
    "read_splits",
    "write_splits",
]
