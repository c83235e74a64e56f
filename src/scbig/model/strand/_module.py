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
from scbig.model.strand._readers import LocusInput
from scbig.nn import AlignmentLoss, BridgeNet, CellLatent, LocusSet, add_change

N_PER_BATCH = 64


class LocusCondition(NamedTuple):
    """B conditions, each a set of loci in a context.

    Attributes
    ----------
    members
        Rows of their loci, shape ``(B, S)``.
    is_member
        False at padding, of the same shape.
    context
        Their contexts, shape ``(B,)``; ``-1`` for an unknown context.
    """

    members: torch.Tensor
    is_member: torch.Tensor
    context: torch.Tensor

    @classmethod
    def make(cls, rows: Sequence[Sequence[int]], context: np.ndarray) -> "LocusCondition":
        """Put the rows of the loci of each condition side by side."""
        width = max([1, *map(len, rows)])
        members = np.zeros((len(rows), width), dtype=np.int64)
        is_member = np.zeros((len(rows), width), dtype=bool)
        for row, loci in enumerate(rows):
            members[row, : len(loci)] = loci
            is_member[row, : len(loci)] = True
        return cls(*map(torch.from_numpy, (members, is_member, context)))

    def select(self, rows: torch.Tensor) -> "LocusCondition":
        """Choose conditions by number."""
        return LocusCondition(*(part[rows] for part in self))

    def hide(self) -> "LocusCondition":
        """Take the loci from the conditions, which become unknown ones."""
        return self._replace(is_member=torch.zeros_like(self.is_member))


class STRANDModule(BaseModuleClass):
    """Locus encoder, regression of mean effects, and bridge.

    Parameters
    ----------
    latent
        Latent space of cells, see :class:`~scbig.nn.CellLatent`.
    reader
        Turns what is read of loci, see :class:`LocusInput`, into vectors.
    n_contexts
        Number of contexts.
    config
        Sizes.
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

    # --- perturbations -----------------------------------------------------------------------

    def join(self, loci: torch.Tensor, given: LocusCondition) -> torch.Tensor:
        """Join the loci of conditions in their contexts.

        Parameters
        ----------
        loci
            Vectors that the members are rows of, shape ``(n, dim)``.
        given
            The conditions.

        Returns
        -------
        Shape ``(B, dim)``.
        """
        if len(loci):
            members = loci[given.members]
        else:
            members = self.effect.weight.new_zeros(*given.members.shape, self.config.dim)
        vector = self.locus_set(members, given.is_member)
        is_known = (given.context >= 0).unsqueeze(-1)
        change = self.context(given.context.clamp(min=0)) * is_known
        scale, shift = change.chunk(2, dim=-1)
        return vector * (1 + scale) + shift

    def transport(
        self, z: torch.Tensor, vector: torch.Tensor, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """Carry control latents ``(..., n_latent)`` to those of conditions ``(..., dim)``."""

        def network(t: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
            return self.bridge_net(t.to(z.device), x.to(z.device), z, vector).cpu()

        # Noise that is drawn on the CPU means the same on every device.
        source = self.get_source(z, vector).cpu()
        n_steps = self.config.n_solver_steps
        ends = self.bridge.carry(network, source, n_steps=n_steps, generator=generator)
        return ends.to(z.device)

    def get_source(self, z: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
        """Where the bridges of control latents begin; broadcasts as ``z + vector``."""
        return z + self.effect(vector) if self.config.use_anchor else z

    def predict_cells(
        self,
        x: torch.Tensor,
        vector: torch.Tensor,
        control_mean: torch.Tensor,
        generator: torch.Generator | None = None,
    ) -> torch.Tensor:
        """Predict perturbed cells from control cells.

        The decoder is only asked for a difference: what the latent space cannot hold of the
        cell is kept, and no effect is exact.

        Parameters
        ----------
        x
            Control cells, shape ``(N, G)``.
        vector
            The conditions, shape ``(B, dim)``.
        control_mean
            Mean of the control cells of their contexts, shape ``(B, G)``.
        generator
            Source of the bridge's noise, on the CPU.

        Returns
        -------
        Non-negative expression, shape ``(B, N, G)``.
        """
        z = self.latent.encode(x)
        ends = self.transport(z.expand(len(vector), *z.shape), vector.unsqueeze(1), generator)
        change = self.latent.decode(ends) - self.latent.decode(z)
        return add_change(x, change, control_mean.unsqueeze(1))

    @torch.no_grad()
    def extend_contexts(self, n_contexts: int) -> None:
        """Make room for further contexts, which begin without a change of their own."""
        old = self.context.weight
        weight = old.new_zeros(n_contexts, old.shape[1])
        weight[: len(old)] = old
        # From given weights: a new table would be drawn from the user's random state.
        self.context = nn.Embedding.from_pretrained(weight, freeze=False)


# --- loci of conditions, each read once --------------------------------------------------------


def embed_rows(module: STRANDModule, given: LocusInput, rows: torch.Tensor) -> torch.Tensor:
    """Embed loci by their rows, on the module's device; shape ``(n_rows, dim)``."""
    return module.reader(given.take(rows).to(module.device))


def embed_conditions(
    module: STRANDModule, given: LocusInput, condition: LocusCondition
) -> torch.Tensor:
    """Turn conditions into vectors ``(B, dim)``, reading each of their loci once."""
    rows, position = torch.unique(condition.members[condition.is_member], return_inverse=True)
    members = torch.zeros_like(condition.members)
    members[condition.is_member] = position
    on_device = LocusCondition(
        members.to(module.device),
        condition.is_member.to(module.device),
        condition.context.to(module.device),
    )
    loci = embed_rows(module, given, rows) if len(rows) else torch.empty(0, module.config.dim)
    return module.join(loci, on_device)


@torch.no_grad()
def embed_all(module: STRANDModule, given: LocusInput, condition: LocusCondition) -> torch.Tensor:
    """Turn conditions into vectors ``(B, dim)`` without gradients, a batch at a time."""
    was_training = module.training
    module.eval()
    rows = torch.arange(len(condition.context)).split(N_PER_BATCH)
    parts = [embed_conditions(module, given, condition.select(i)).cpu() for i in rows]
    module.train(was_training)
    return torch.cat(parts) if parts else torch.empty(0, module.config.dim)


@torch.no_grad()
def compute_latents(module: STRANDModule, expression: Expression) -> np.ndarray:
    """Encode all cells, shape ``(n_cells, n_latent)``."""
    module.eval()
    parts = [
        module.inference(torch.from_numpy(np.ascontiguousarray(x)))["z"].cpu().numpy()
        for _, x in expression.chunks()
    ]
    return np.concatenate(parts)
