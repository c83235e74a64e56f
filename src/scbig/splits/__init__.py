"""Which conditions, or cells of them, are trained on, stopped on and tested on."""

from scbig.splits._assign import ROLES as ROLES, assign_split, get_roles, make_split
from scbig.splits._conditions import (
    choose_validation,
    make_additive,
    make_low_sample,
    make_seen,
    make_unseen,
)
from scbig.splits._context import make_context, make_replicate
from scbig.splits._gears import make_gears
from scbig.splits._split import Split, parse_condition, read_splits, write_splits

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
    "make_seen",
    "make_split",
    "make_unseen",
    "parse_condition",
    "read_splits",
    "write_splits",
]
