"""Which parameters an optimiser may pull towards zero."""

from torch import nn

from scbig.nn._s6_mixer import S6Mixer
from scbig.nn._ssd_mixer import SSDMixer


def split_weight_decay(module: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Make the parameter groups of an optimiser that spares the rates of decay and the skips.

    Pulled towards zero, the log rates of a state-space mixer would all become the same rate.

    Parameters
    ----------
    module
        Holds any number of :class:`SSDMixer` and :class:`S6Mixer`.
    weight_decay
        Weight decay of all other parameters.

    Returns
    -------
    Two groups, for example for :class:`torch.optim.AdamW`: with and without decay.
    """
    mixers = [m for m in module.modules() if isinstance(m, SSDMixer | S6Mixer)]
    spared = {id(p) for mixer in mixers for p in (mixer.log_rate, mixer.skip)}
    groups: dict[bool, list[nn.Parameter]] = {False: [], True: []}
    for parameter in module.parameters():
        groups[id(parameter) in spared].append(parameter)
    return [
        {"params": groups[False], "weight_decay": weight_decay},
        {"params": groups[True], "weight_decay": 0.0},
    ]
