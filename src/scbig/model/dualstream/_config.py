"""Settings of DualStreamMamba."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from scbig._annotations import check_fields
from scbig._arguments import MAX_STEPS
from scbig.regression import Denoising


@dataclass(frozen=True)
class DualStreamConfig:
    """Settings of :class:`~scbig.model.DualStreamMamba`; change one with ``dataclasses.replace``.

    Parameters
    ----------
    max_tokens
        Largest number of tokens. Genes that are neighbours in the gene order share a token where
        there are more genes than this.
    genes_per_token
        Genes of a token; 1 gives each gene its own, however many there are. By default as few
        as ``max_tokens`` allows.
    kind
        ``"ssd"`` or ``"s6"``, see ``scbig.nn.MambaBlock``.
    n_hidden, n_blocks, n_states, expand, n_conv
        Width of a token, blocks of a stream, states of a channel, channels for each unit of
        width, and length of the convolution.
    use_checkpoint
        Compute blocks again for the gradient: less memory for more time.
    n_latent
        Width of the variational latent of a control cell.
    use_statistics
        Have the statistical stream; otherwise the biological one predicts alone.
    use_pairs
        Have the term for pairs of targets.
    use_anchor
        Start from a regression on the perturbed targets, and learn what it misses.
    use_gate
        Leave anchored networks out if they are no gain on held-out conditions.
    denoising
        What the regression is made of.
    gamma
        The autofocus loss is the error to the power of ``2 + gamma``.
    autofocus_weight, direction_weight, reconstruction_weight, kl_weight
        Weights of the losses beside the likelihood of the effect. That of the Kullback-Leibler
        divergence is reached over the first half of the steps.
    learning_rate, weight_decay, n_steps, clip_norm, ema_decay
        Settings of AdamW, largest number of steps and of the gradient norm, and decay of the
        moving average of the weights (0 for none).
    groups_per_step, cells_per_group
        Conditions in a step, and perturbed cells of each.
    shape_groups
        Conditions in a step that shapes are learned in, from all these cells; 0 learns none.

    Raises
    ------
    ValueError
        When a setting is of a wrong type, out of range or an unknown choice.
    """

    max_tokens: int = 128
    genes_per_token: int | None = None
    kind: Literal["ssd", "s6"] = "ssd"
    n_hidden: int = 64
    n_blocks: int = 2
    n_states: int = 16
    expand: int = 2
    n_conv: int = 4
    use_checkpoint: bool = False
    n_latent: int = 32
    use_statistics: bool = True
    use_pairs: bool = True
    use_anchor: bool = True
    use_gate: bool = True
    denoising: Denoising = field(default_factory=Denoising)
    gamma: float = 2.0
    autofocus_weight: float = 1.0
    direction_weight: float = 0.1
    reconstruction_weight: float = 0.5
    kl_weight: float = 1e-3
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    n_steps: int = 1000
    clip_norm: float = 1.0
    ema_decay: float = 0.99
    groups_per_step: int = 16
    cells_per_group: int = 32
    shape_groups: int = 1

    def __post_init__(self) -> None:
        wide = ("max_tokens", "genes_per_token")
        most = {"ema_decay": 1, "n_steps": MAX_STEPS} | dict.fromkeys(wide, 10**6)
        check_fields(self, least={"n_steps": 0, "n_blocks": 0, "shape_groups": 0}, most=most)

    def get_token_size(self, n_genes: int) -> int:
        """Find how many genes share a token, at least 1.

        Parameters
        ----------
        n_genes
            Number of genes in all.
        """
        return self.genes_per_token or -(-n_genes // self.max_tokens)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "DualStreamConfig":
        """Rebuild settings.

        Parameters
        ----------
        values
            What :meth:`to_dict` returned.
        """
        return cls(**{**values, "denoising": Denoising(**values["denoising"])})


PRESETS: Mapping[str, DualStreamConfig] = MappingProxyType({"default": DualStreamConfig()})
