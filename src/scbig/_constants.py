"""Every key that scbig reads from or writes into an AnnData, once."""

from typing import NamedTuple


class _UnsKeys(NamedTuple):
    PROGRAMS: str = "scbig_programs"
    EFFECTS: str = "scbig_effects"
    TRUTH: str = "truth"


class _VarKeys(NamedTuple):
    PROGRAM: str = "scbig_program"


class _ObsKeys(NamedTuple):
    SPLIT: str = "scbig_split"
    DRAW: str = "draw"


class _JudgeKeys(NamedTuple):
    """What the judges of the field read in ``obs``: two columns, and the label of controls."""

    TARGET: str = "target"
    CONTEXT: str = "context"
    CONTROL: str = "non-targeting"


class _RegistryKeys(NamedTuple):
    X: str = "X"
    PERTURBATION: str = "perturbation"


UNS = _UnsKeys()
VAR = _VarKeys()
OBS = _ObsKeys()
JUDGE = _JudgeKeys()
REGISTRY = _RegistryKeys()

COUNTS = "counts"
COUNTS_SUFFIX = "_counts"
SOURCE_SUFFIX = "_source"
CONFIDENCE_SUFFIX = "_confidence"
RESPONDS_SUFFIX = "_responds"
