"""The torch module of STRAND: from loci to effects, and from control to perturbed latents."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from scvi.module.base import BaseModuleClass, LossOutput, auto_move_data
from torch import nn

from scbig._constants import REGISTRY
from scbig.data import Expression
from scbig.flow import Bridge, make_bridge_schedule
from scbig.model.strand._config import STRANDConfig
from scbig.nn import (
    AlignmentLoss,
    BridgeNet,
    CellLatent,
    DNATower,
    LocusAttention,
    LocusSet,
    add_change,
)
from scbig.priors import LocusTable

N_PER_BATCH = 64
_TINY = 1e-6


class LocusInput(NamedTuple):
    """What is read of some loci, as a :class:`~scbig.priors.LocusTable` keeps it."""

    values: torch.Tensor
    is_target: torch.Tensor
    is_there: torch.Tensor

    def take(self, rows: torch.Tensor) -> "LocusInput":
        """Choose loci by their rows."""
        return LocusInput(*(part[rows] for part in self))

    def to(self, device: torch.device) -> "LocusInput":
        """Move to a device."""
        return LocusInput(*(part.to(device) for part in self))


class LocusCondition(NamedTuple):
    """B conditions, each a set of loci in a context."""

    given: LocusInput  # what is read of all loci
    members: torch.Tensor  # rows of the loci of each condition, (B, S)
    is_member: torch.Tensor  # False at padding, (B, S)
    context: torch.Tensor  # (B,); -1 for an unknown context

    @classmethod
    def make(
        cls, table: LocusTable, rows: Sequence[Sequence[int]], context: np.ndarray
    ) -> "LocusCondition":
        """Put the rows of the loci of each condition side by side."""
        width = max([1, *map(len, rows)])
        members = np.zeros((len(rows), width), dtype=np.int64)
        is_member = np.zeros((len(rows), width), dtype=bool)
        for row, loci in enumerate(rows):
            members[row, : len(loci)] = loci
            is_member[row, : len(loci)] = True
        arrays = table.values, table.is_target, table.is_there
        given = LocusInput(*map(torch.from_numpy, arrays))
        return cls(given, *map(torch.from_numpy, (members, is_member, context)))

    def select(self, rows: torch.Tensor) -> "LocusCondition":
        """Choose conditions by number."""
        return LocusCondition(self.given, *(part[rows] for part in self[1:]))

    def hide(self) -> "LocusCondition":
        """Take the loci from the conditions, which become unknown ones."""
        return self._replace(is_member=torch.zeros_like(self.is_member))


class STRANDModule(BaseModuleClass):
    """Encoder of loci, regression of mean effects, and bridge.

    The reader turns what is read of loci, a :class:`LocusInput`, into vectors.
    """

    def __init__(
        self, latent: CellLatent, reader: nn.Module, n_contexts: int, config: STRANDConfig
    ) -> None:
        super().__init__()
        self.config = config
        latent.requires_grad_(False)
        self.latent: CellLatent = latent
        self.reader = reader
        n_latent = latent.n_latent
        self.locus_set = LocusSet(config.dim, config.n_heads)
        # A context scales and shifts what a perturbation is; from nothing at the start.
        self.context = nn.Embedding(n_contexts, 2 * config.dim)
        nn.init.zeros_(self.context.weight)
        self.effect = nn.Linear(config.dim, n_latent)
        nn.init.zeros_(self.effect.weight)
        nn.init.zeros_(self.effect.bias)
        self.alignment = AlignmentLoss(config.dim, n_latent)
        self.bridge_net = BridgeNet(
            n_latent, config.dim, width=config.bridge_width, n_blocks=config.bridge_blocks
        )
        self.bridge = Bridge(make_bridge_schedule(beta_max=config.beta_max), config.use_noise)

    # --- cells, in the verbs of scvi-tools ---------------------------------------------------

    def _get_inference_input(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"x": tensors[REGISTRY.X]}

    def _get_generative_input(
        self, tensors: dict[str, torch.Tensor], inference_outputs: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        return {"z": inference_outputs["z"]}

    @auto_move_data
    def inference(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Encode expression ``(B, G)`` into latents ``(B, n_latent)``."""
        return {"z": self.latent.encode(x)}

    @auto_move_data
    def generative(self, z: torch.Tensor) -> dict[str, torch.Tensor]:
        """Decode latents ``(B, n_latent)`` into expression ``(B, G)``."""
        return {"x": self.latent.decode(z)}

    def loss(
        self,
        tensors: dict[str, torch.Tensor],
        inference_outputs: dict[str, torch.Tensor],
        generative_outputs: dict[str, torch.Tensor],
    ) -> LossOutput:
        """Mean squared error of the reconstruction."""
        x = tensors[REGISTRY.X]
        error = (generative_outputs["x"] - x).square().mean()
        return LossOutput(loss=error, n_obs_minibatch=len(x))

    @torch.no_grad()
    def compute_latents(self, expression: Expression) -> np.ndarray:
        """Encode all cells, shape ``(n_cells, n_latent)``."""
        self.eval()
        parts = [
            self.inference(torch.from_numpy(np.ascontiguousarray(x)))["z"].cpu().numpy()
            for _, x in expression.chunks()
        ]
        return np.concatenate(parts)

    # --- perturbations -----------------------------------------------------------------------

    def embed(self, condition: LocusCondition) -> torch.Tensor:
        """Turn conditions into vectors ``(B, dim)``, reading each of their loci once."""
        given, members, is_member, context = condition
        rows, position = torch.unique(members[is_member], return_inverse=True)
        index = torch.zeros_like(members)
        index[is_member] = position
        index, is_member, context = (x.to(self.device) for x in (index, is_member, context))
        if len(rows):
            loci = self.reader(given.take(rows).to(self.device))[index]
        else:
            loci = self.effect.weight.new_zeros(*index.shape, self.config.dim)
        vector = self.locus_set(loci, is_member)
        change = self.context(context.clamp(min=0)) * (context >= 0).unsqueeze(-1)
        scale, shift = change.chunk(2, dim=-1)
        return vector * (1 + scale) + shift

    @torch.no_grad()
    def embed_all(self, condition: LocusCondition) -> torch.Tensor:
        """The same without gradients and dropout, a batch at a time, on the CPU."""
        was_training = self.training
        self.eval()
        rows = torch.arange(len(condition.context)).split(N_PER_BATCH)
        parts = [self.embed(condition.select(i)).cpu() for i in rows]
        self.train(was_training)
        return torch.cat(parts) if parts else torch.empty(0, self.config.dim)

    def get_source(self, z: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
        """Where the bridges of control latents begin; broadcasts as ``z + vector``."""
        return z + self.effect(vector) if self.config.use_anchor else z

    def predict_cells(
        self,
        x: torch.Tensor,
        vector: torch.Tensor,
        control_mean: torch.Tensor,
        generator: torch.Generator,
    ) -> torch.Tensor:
        """Carry N control cells ``(N, G)`` to B conditions ``(B, dim)``; shape ``(B, N, G)``.

        The decoder is only asked for a difference: what the latent space cannot hold of the
        cell is kept, and no effect is exact.
        """
        z, vector = self.latent.encode(x), vector.unsqueeze(1)
        start = z.expand(len(vector), *z.shape)

        def network(t: torch.Tensor, z_t: torch.Tensor) -> torch.Tensor:
            return self.bridge_net(t.to(z.device), z_t.to(z.device), start, vector).cpu()

        # Noise that is drawn on the CPU means the same on every device.
        source, n_steps = self.get_source(start, vector).cpu(), self.config.n_solver_steps
        ends = self.bridge.carry(network, source, n_steps=n_steps, generator=generator)
        change = self.latent.decode(ends.to(z.device)) - self.latent.decode(z)
        return add_change(x, change, control_mean.unsqueeze(1))

    @torch.no_grad()
    def extend_contexts(self, n_contexts: int) -> None:
        """Make room for further contexts, which begin without a change of their own."""
        old = self.context.weight
        weight = old.new_zeros(n_contexts, old.shape[1])
        weight[: len(old)] = old
        # From given weights: a new table would be drawn from the user's random state.
        self.context = nn.Embedding.from_pretrained(weight, freeze=False)


# --- readers: from what is read of loci to vectors (B, dim) ------------------------------------


class DNAReader(nn.Module):
    """The built-in encoder: a tower over the bases, of which the perturbed tokens are averaged.

    The tower's own attention lets the perturbed tokens read the window. With ``n_readings`` what
    cross-attention reads of it is added, from zero at the start.
    """

    def __init__(self, config: STRANDConfig) -> None:
        super().__init__()
        self.tower = DNATower(
            config.dim,
            n_convolutions=config.n_convolutions,
            n_blocks=config.n_blocks,
            n_heads=config.n_heads,
            dropout=config.dropout,
        )
        self.norm = nn.LayerNorm(config.dim)
        self.reading = _make_reading(config.dim, config) if config.n_readings else None
        if self.reading is not None:
            for parameter in self.reading.output[1].parameters():
                nn.init.zeros_(parameter)

    def forward(self, given: LocusInput) -> torch.Tensor:
        """Embed loci."""
        tokens, is_target = self.tower(given.values, given.is_target)
        chosen = is_target | ~is_target.any(1, keepdim=True)
        weight = chosen / chosen.sum(1, keepdim=True)
        vector = self.norm((tokens * weight.unsqueeze(-1)).sum(1))
        return vector if self.reading is None else vector + self.reading(tokens, is_target)


class TokenReader(nn.Module):
    """Cross-attention over the tokens, of so many features, of a frozen encoder."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, n_input: int, config: STRANDConfig) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_input))
        self.register_buffer("std", torch.ones(n_input))
        self.reading = _make_reading(n_input, config)

    @torch.no_grad()
    def set_scale(self, given: LocusInput) -> None:
        """Standardise the features of tokens by those of some loci."""
        tokens = given.values[given.is_there]
        self.mean.copy_(tokens.mean(0))
        spread = tokens.std(0, correction=0)
        # A feature that does not vary says nothing, and is not blown up where it does.
        self.std.copy_(torch.where(spread > _TINY, spread, torch.ones_like(spread)))

    def forward(self, given: LocusInput) -> torch.Tensor:
        """Embed loci."""
        tokens = (given.values - self.mean) / self.std
        return self.reading(tokens, given.is_target, given.is_there)


class GeneReader(nn.Module):
    """The gene-name twin: one learned vector a gene; unseen genes are at the mean."""

    def __init__(self, n_genes: int, dim: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.randn(dim))
        # From zero, and without a gradient for genes that are not trained on: these stay there.
        self.change = nn.Embedding(n_genes + 1, dim)
        nn.init.zeros_(self.change.weight)

    def forward(self, given: LocusInput) -> torch.Tensor:
        """Embed loci."""
        return self.mean + self.change(given.values.squeeze(1))


def _make_reading(n_input: int, config: STRANDConfig) -> LocusAttention:
    return LocusAttention(
        n_input,
        config.dim,
        dim=config.dim,
        n_heads=config.n_heads,
        n_blocks=max(config.n_readings, 1),
        dropout=config.dropout,
    )


def make_reader(kind: str, n_genes: int, n_features: int, config: STRANDConfig) -> nn.Module:
    """Make an untrained reader of DNA, of tokens with so many features, or of so many genes."""
    if kind == "dna":
        return DNAReader(config)
    return GeneReader(n_genes, config.dim) if kind == "gene" else TokenReader(n_features, config)
