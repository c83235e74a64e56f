"""Settings of STRAND, and the switches of its ablations."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from scbig._annotations import check_fields
from scbig._arguments import MAX_STEPS

Sequence = Literal["real", "shuffled", "random", "gene"]
Target = Literal["mask", "window"]
Transport = Literal["bridge", "regression"]
Pairing = Literal["ot", "random"]

_STEPS = ("locus_steps", "bridge_steps")
_ZERO = ("n_convolutions", "n_blocks", "n_readings", "bridge_blocks", *_STEPS)
_SHARES = ("dropout", "drop_locus", "locus_ema", "bridge_ema")


@dataclass(frozen=True)
class STRANDConfig:
    """Settings of :class:`~scbig.model.STRAND`; change one with :func:`dataclasses.replace`.

    Parameters
    ----------
    sequence
        What is read of a locus: its ``"real"`` DNA, the same bases ``"shuffled"``, ``"random"``
        DNA, or only the name of its ``"gene"`` (the twin that cannot tell two start sites of a
        gene apart). With an encoder, shuffled loci have each other's tokens, and random ones
        noise.
    target
        Whether the perturbed bases are known, ``"mask"``, or count as the whole ``"window"``.
    transport
        ``"bridge"`` carries cells by diffusion; ``"regression"`` adds the mean effect to each.
    pairing
        Pairs of control and perturbed cells: by optimal transport, ``"ot"``, or at ``"random"``.
    use_anchor
        Begin the bridge at the control cell shifted by the regression, rather than at the cell.
    use_joint
        Train the encoder of loci on while the bridge learns, by the losses of both stages.
        Training then stops on means, which the encoder tells.
    use_gate
        Leave an anchored bridge out if it is no gain on held-out conditions.
    clip_weight
        Weight of the alignment of loci and effects; 0 for none.
    window
        Bases around a locus that the built-in encoder reads, a multiple of 32.
    n_latent
        Width of the latent space where it is made of principal components.
    dim, n_heads, dropout
        Width of a locus, attention heads and dropout of its encoder.
    n_convolutions, n_blocks
        Convolutions, and blocks of attention, of the built-in encoder.
    n_readings
        Times that the perturbed bases read the window by cross-attention: added to what the
        built-in encoder says of them (0 for none), and all that is read of an encoder's tokens
        (1 or more).
    drop_locus
        Probability of hiding the locus of a training condition.
    locus_lr, locus_steps, conditions_per_step, locus_ema
        Learning rate, largest number of steps, batch size and decay of the averaged weights of
        the first stage, which regresses mean effects.
    bridge_width, bridge_blocks, beta_max, n_solver_steps, use_noise
        Size of the bridge's network, noise, moves from control to perturbed cell, and whether
        it is stochastic.
    bridge_lr, bridge_steps, groups_per_step, cells_per_group, bridge_ema
        The same of the second stage, which learns from cells.
    weight_decay, clip_norm
        Weight decay and largest gradient norm of both stages.

    Raises
    ------
    ValueError
        When a setting is of a wrong type, out of range or an unknown choice; the message says
        what is taken.
    """

    sequence: Sequence = "real"
    target: Target = "mask"
    transport: Transport = "bridge"
    pairing: Pairing = "ot"
    use_anchor: bool = True
    use_joint: bool = False
    use_gate: bool = True
    clip_weight: float = 0.1
    window: int = 1024
    n_latent: int = 32
    dim: int = 128
    n_heads: int = 4
    dropout: float = 0.1
    n_convolutions: int = 0
    n_blocks: int = 1
    n_readings: int = 0
    drop_locus: float = 0.1
    locus_lr: float = 5e-4
    locus_steps: int = 400
    conditions_per_step: int = 64
    locus_ema: float = 0.98
    bridge_width: int = 256
    bridge_blocks: int = 4
    beta_max: float = 0.3
    n_solver_steps: int = 20
    use_noise: bool = True
    bridge_lr: float = 5e-4
    bridge_steps: int = 1000
    groups_per_step: int = 16
    cells_per_group: int = 32
    bridge_ema: float = 0.99
    weight_decay: float = 1e-4
    clip_norm: float = 1.0

    def __post_init__(self) -> None:
        most = dict.fromkeys(_SHARES, 1) | {"window": 2**20, "n_solver_steps": 10**4}
        most |= dict.fromkeys(_STEPS, MAX_STEPS)
        check_fields(self, least=dict.fromkeys(_ZERO, 0), most=most)


PRESETS: Mapping[str, STRANDConfig] = MappingProxyType({"default": STRANDConfig()})
