"""Building blocks of the networks, in plain torch."""

from scbig.nn._dna import BP_PER_TOKEN, DNATower
from scbig.nn._dynamics import (
    MLP,
    BridgeNet,
    FourierTime,
    GeometricTime,
    VelocityNet,
    add_change,
)
from scbig.nn._latent import CellLatent, PrincipalComponents, find_components
from scbig.nn._locus import DistanceBias, LocusAttention, LocusSet, compute_distance
from scbig.nn._locus_readers import (
    DNAReader,
    GeneReader,
    LocusCondition,
    LocusInput,
    ReaderSizes,
    TokenReader,
    make_reader,
)
from scbig.nn._losses import (
    AlignmentLoss,
    Posterior,
    autofocus_loss,
    compute_info_nce,
    direction_loss,
    divergence_loss,
    energy_loss,
    gaussian_loss,
    split_weight_decay,
)
from scbig.nn._mamba import MambaBlock, S6Mixer, SSDMixer, compute_block_influence
from scbig.nn._modules import (
    evaluating as evaluating,
    get_weights as get_weights,
    read_weights as read_weights,
    seeded as seeded,
    set_weights as set_weights,
)
from scbig.nn._patches import (
    GatedFusion,
    GenePatches,
    GeneReadout,
    extend_rows,
    sum_pairs,
    take_rows,
)
from scbig.nn._pooling import SeedPooling, SetPooling
from scbig.nn._s6 import s6_kernel, s6_scan
from scbig.nn._ssd import ssd_kernel, ssd_scan
from scbig.nn._tokens import (
    NORM_EPS,
    Attention,
    AttentionMaps,
    InducedBlock,
    ProgramLinear,
    ProgramUnlinear,
    init_lecun_normal,
    make_program_index,
)

__all__ = [
    "BP_PER_TOKEN",
    "MLP",
    "NORM_EPS",
    "AlignmentLoss",
    "Attention",
    "AttentionMaps",
    "BridgeNet",
    "CellLatent",
    "DNAReader",
    "DNATower",
    "DistanceBias",
    "FourierTime",
    "GatedFusion",
    "GenePatches",
    "GeneReader",
    "GeneReadout",
    "GeometricTime",
    "InducedBlock",
    "LocusAttention",
    "LocusCondition",
    "LocusInput",
    "LocusSet",
    "MambaBlock",
    "Posterior",
    "PrincipalComponents",
    "ProgramLinear",
    "ProgramUnlinear",
    "ReaderSizes",
    "S6Mixer",
    "SSDMixer",
    "SeedPooling",
    "SetPooling",
    "TokenReader",
    "VelocityNet",
    "add_change",
    "autofocus_loss",
    "compute_block_influence",
    "compute_distance",
    "compute_info_nce",
    "direction_loss",
    "divergence_loss",
    "energy_loss",
    "extend_rows",
    "find_components",
    "gaussian_loss",
    "init_lecun_normal",
    "make_program_index",
    "make_reader",
    "s6_kernel",
    "s6_scan",
    "split_weight_decay",
    "ssd_kernel",
    "ssd_scan",
    "sum_pairs",
    "take_rows",
]
