"""State-space blocks over tokens in a fixed order."""

from typing import Literal, cast

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from scbig.nn._s6_mixer import S6Mixer
from scbig.nn._ssd_mixer import SSDMixer

_MIXERS = {"ssd": SSDMixer, "s6": S6Mixer}
_EPS = 1e-5
_N_SOURCES_AT_ONCE = 64


class MambaBlock(nn.Module):
    """Add to each token what a state-space model reads from the others, at linear cost.

    `tokens + mix(RMSNorm(tokens))`, where `mix` is the mixer of Mamba-2 (arXiv 2405.21060) or
    of Mamba (arXiv 2312.00752). It knows the order of the tokens. A second mixer with weights
    of its own reads them backwards; the two are added.

    Parameters
    ----------
    dim
        Width of a token.
    kind
        `"ssd"` for :class:`SSDMixer`, `"s6"` for :class:`S6Mixer`, which gives every channel
        several decays and is slower.
    n_states
        States a channel.
    expand
        Channels a unit of width: `expand * dim` in all.
    n_conv
        Length of the convolution before the scan.
    is_bidirectional
        Read the tokens backwards too. Otherwise each sees only those before it.
    use_checkpoint
        Forget what is inside the block and compute it again for the gradient: less memory
        for about a third more time.

    Raises
    ------
    ValueError
        When `kind` is unknown.
    """

    def __init__(
        self,
        dim: int,
        *,
        kind: Literal["ssd", "s6"] = "ssd",
        n_states: int = 16,
        expand: int = 2,
        n_conv: int = 4,
        is_bidirectional: bool = True,
        use_checkpoint: bool = False,
    ) -> None:
        super().__init__()
        if kind not in _MIXERS:
            raise ValueError(f"kind is {kind!r}; choose from {', '.join(_MIXERS)}.")
        self.norm = nn.RMSNorm(dim, eps=_EPS)
        self.mixers = nn.ModuleList(
            _MIXERS[kind](dim, n_states=n_states, expand=expand, n_conv=n_conv)
            for _ in range(1 + is_bidirectional)
        )
        self.use_checkpoint = use_checkpoint

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Map tokens `(B, L, dim)` to tokens of the same shape."""
        if self.use_checkpoint and torch.is_grad_enabled():
            change = checkpoint(self._mix, tokens, use_reentrant=False, preserve_rng_state=False)
            return tokens + cast(torch.Tensor, change)
        return tokens + self._mix(tokens)

    @torch.no_grad()
    def compute_influence(
        self, tokens: torch.Tensor, sources: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Tell how strongly the scans read each source at each position.

        Parameters
        ----------
        tokens
            Shape `(B, L, dim)`.
        sources
            Positions to look at, integers from 0 of shape `(S,)`; all by default.

        Returns
        -------
        Mean over heads (`"ssd"`) or channels (`"s6"`) of the absolute weight in the kernel of
        the scan, added up over the two directions, shape `(B, L, S)`. A bidirectional block
        reads the diagonal twice; convolutions and skip connections are left out.
        """
        if sources is None:
            sources = torch.arange(tokens.shape[1], device=tokens.device)
        normal = self.norm(tokens)
        pieces = sources.split(_N_SOURCES_AT_ONCE)
        return torch.cat([self._weigh(normal, piece) for piece in pieces], dim=-1)

    def _mix(self, tokens: torch.Tensor) -> torch.Tensor:
        forward, *backward = self.mixers
        normal = self.norm(tokens)
        change = forward(normal)
        for mixer in backward:
            change = change + mixer(normal.flip(1)).flip(1)
        return change

    def _weigh(self, normal: torch.Tensor, sources: torch.Tensor) -> torch.Tensor:
        forward, *backward = cast(list[SSDMixer | S6Mixer], list(self.mixers))
        weight = forward.compute_kernel(normal, sources).abs().mean(1)
        for mixer in backward:
            kernel = mixer.compute_kernel(normal.flip(1), normal.shape[1] - 1 - sources)
            weight = weight + kernel.abs().mean(1).flip(1)
        return weight
