"""Building blocks of the networks, in plain torch."""

from scbig.nn._dna import BP_PER_TOKEN, DNATower
from scbig.nn._dynamics import MLP, BridgeNet, FourierTime, VelocityNet, add_change
from scbig.nn._latent import CellLatent, PrincipalComponents, find_components
from scbig.nn._locus import DistanceBias, LocusAttention, LocusSet, compute_distance
from scbig.nn._losses import AlignmentLoss, compute_info_nce, split_weight_decay
from scbig.nn._mamba import MambaBlock, S6Mixer, SSDMixer
from scbig.nn._s6 import s6_kernel, s6_scan
from scbig.nn._ssd import ssd_kernel, ssd_scan
from scbig.nn._tokens import (
    Attention,
    AttentionMaps,
    InducedBlock,
    ProgramLinear,
    ProgramUnlinear,
    SetPooling,
    make_program_index,
)

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
