"""Building blocks of the networks, in plain torch."""

from scbig.nn._alignment import AlignmentLoss, compute_info_nce
from scbig.nn._attention import Attention
from scbig.nn._bridge_net import BridgeNet
from scbig.nn._change import add_change
from scbig.nn._distance import DistanceBias, compute_distance
from scbig.nn._dna import BP_PER_TOKEN, DNATower
from scbig.nn._inducing import AttentionMaps, InducedBlock
from scbig.nn._latent import CellLatent, PrincipalComponents, find_components
from scbig.nn._locus import LocusAttention
from scbig.nn._locus_set import LocusSet
from scbig.nn._mamba_block import MambaBlock
from scbig.nn._mlp import MLP
from scbig.nn._pooling import SetPooling
from scbig.nn._programs import ProgramLinear, ProgramUnlinear, make_program_index
from scbig.nn._s6 import s6_kernel, s6_scan
from scbig.nn._s6_mixer import S6Mixer
from scbig.nn._ssd import ssd_kernel, ssd_scan
from scbig.nn._ssd_mixer import SSDMixer
from scbig.nn._time import FourierTime
from scbig.nn._velocity import VelocityNet
from scbig.nn._weight_decay import split_weight_decay

__all__ = [
    "BP_PER_TOKEN",
    "MLP",
    "AlignmentLoss",
    "Attention",
    "AttentionMaps",
    "BridgeNet",
    "CellLatent",
    "DNATower",
    "DistanceBias",
    "FourierTime",
    "InducedBlock",
    "LocusAttention",
    "LocusSet",
    "MambaBlock",
    "PrincipalComponents",
    "ProgramLinear",
    "ProgramUnlinear",
    "S6Mixer",
    "SSDMixer",
    "SetPooling",
    "VelocityNet",
    "add_change",
    "compute_distance",
    "compute_info_nce",
    "find_components",
    "make_program_index",
    "s6_kernel",
    "s6_scan",
    "split_weight_decay",
    "ssd_kernel",
    "ssd_scan",
]
