"""Building blocks of the networks, in plain torch."""

from scbig.nn._attention import Attention
from scbig.nn._change import add_change
from scbig.nn._inducing import AttentionMaps, InducedBlock
from scbig.nn._mlp import MLP
from scbig.nn._pooling import SetPooling
from scbig.nn._programs import ProgramLinear, ProgramUnlinear, make_program_index
from scbig.nn._time import FourierTime
from scbig.nn._velocity import VelocityNet

__all__ = [
    "MLP",
    "Attention",
    "AttentionMaps",
    "FourierTime",
    "InducedBlock",
    "ProgramLinear",
    "ProgramUnlinear",
    "SetPooling",
    "VelocityNet",
    "add_change",
    "make_program_index",
]
