"""Which parameters an optimiser may pull towards zero."""

from torch import nn

from scbig.nn._alignment import AlignmentLoss
from scbig.nn._s6_mixer import S6Mixer
from scbig.nn._ssd_mixer import SSDMixer


def split_weight_decay(module: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Make the parameter groups of an optimiser that spares rates, skips and temperatures.

    Pulled towards zero, the log rates of a state-space mixer would all become the same rate,
    and the temperature of an alignment would become 1.

    Parameters
    ----------
    module
        Holds any number of :class:`SSDMixer`, :class:`S6Mixer` and :class:`AlignmentLoss`.
    weight_decay
        Weight decay of all other parameters.

    Returns
    -------
    Two groups, for example for :class:`torch.optim.AdamW`: with and without decay.
    """
    spared = {id(p) for part in module.modules() for p in _get_spared(part)}
    groups: dict[bool, list[nn.Parameter]] = {False: [], True: []}
    for parameter in module.parameters():
        groups[id(parameter) in spared].append(parameter)
    return [
        {"params": groups[False], "weight_decay": weight_decay},
        {"params": groups[True], "weight_decay": 0.0},
    ]


def _get_spared(module: nn.Module) -> tuple[nn.Parameter, ...]:
    if isinstance(module, SSDMixer | S6Mixer):
        return module.log_rate, module.skip
    return (module.log_excess,) if isinstance(module, AlignmentLoss) else ()
