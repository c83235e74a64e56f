"""Every key that scbig reads from or writes into an AnnData, once."""

from typing import NamedTuple


class _UnsKeys(NamedTuple):
    PROGRAMS: str = "scbig_programs"
    TRUTH: str = "truth"


class _VarKeys(NamedTuple):
    PROGRAM: str = "scbig_program"


class _ObsKeys(NamedTuple):
    SPLIT: str = "scbig_split"
    SOURCE: str = "scbig_source"


class _RegistryKeys(NamedTuple):
    X: str = "X"
    PERTURBATION: str = "perturbation"


UNS = _UnsKeys()
VAR = _VarKeys()
OBS = _ObsKeys()
REGISTRY = _RegistryKeys()

STD_SUFFIX = "_std"
CONFIDENCE_SUFFIX = "_confidence"
