"""The torch module of STRAND: from loci to effects, and from control to perturbed latents."""

from functools import partial
from typing import NamedTuple

import torch
from scvi.module.base import BaseModuleClass, LossOutput, auto_move_data
from torch import nn

from scbig._constants import REGISTRY
from scbig.flow import Bridge, make_bridge_schedule
from scbig.model.base import CellLatent
from scbig.model.strand._components import LocusInput
from scbig.model.strand._config import STRANDConfig
from scbig.nn import AlignmentLoss, BridgeNet, LocusSet, add_change


class ConditionInput(NamedTuple):
    """B conditions, each a set of loci in a context.

    Attributes
    ----------
    members
        Rows of their loci, shape ``(B, S)``.
    is_member
        False at padding, of the same shape.
    context
        Their contexts, shape ``(B,)``; beyond the known ones for an unknown context.
    """

    members: torch.Tensor
    is_member: torch.Tensor
    context: torch.Tensor


class STRANDModule(BaseModuleClass):
    """Locus encoder, regression of mean effects, and bridge.

    Parameters
    ----------
    latent
        Latent space of cells, see :class:`~scbig.model.CellLatent`.
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

    def join(self, loci: torch.Tensor, given: ConditionInput) -> torch.Tensor:
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
        is_known = given.context < self.context.num_embeddings
        row = given.context.where(is_known, torch.zeros_like(given.context))
        scale, shift = (self.context(row) * is_known.unsqueeze(-1)).chunk(2, dim=-1)
        return vector * (1 + scale) + shift

    def transport(
        self, z: torch.Tensor, vector: torch.Tensor, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """Carry control latents ``(N, n_latent)`` to those of a condition ``(dim,)``."""
        source = self.get_source(z, vector)
        if self.config.transport == "regression":
            return source
        network = partial(self.bridge_net, source=z, condition=vector)
        n_steps = self.config.n_solver_steps
        return self.bridge.carry(network, source, n_steps=n_steps, generator=generator)

    def get_source(self, z: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
        """Where the bridges of control latents begin; broadcasts as ``z + vector``."""
        is_shifted = self.config.use_anchor or self.config.transport == "regression"
        return z + self.effect(vector) if is_shifted else z

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
            The condition, shape ``(dim,)``.
        control_mean
            Mean of the control cells of the context, shape ``(G,)``.
        generator
            Source of the bridge's noise.

        Returns
        -------
        Non-negative expression, shape ``(N, G)``.
        """
        z = self.latent.encode(x)
        end = self.transport(z, vector, generator)
        change = self.latent.decode(end) - self.latent.decode(z)
        return add_change(x, change, control_mean)

    @torch.no_grad()
    def extend_contexts(self, n_contexts: int) -> None:
        """Make room for further contexts, which begin without a change of their own."""
        old = self.context.weight
        if n_contexts > len(old):
            self.context = nn.Embedding(n_contexts, old.shape[1]).to(old.device)
            self.context.weight.zero_()
            self.context.weight[: len(old)] = old


def embed_rows(module: STRANDModule, given: LocusInput, rows: torch.Tensor) -> torch.Tensor:
    """Embed loci by their rows, on the module's device; shape ``(n_rows, dim)``."""
    return module.reader(LocusInput(*(part[rows].to(module.device) for part in given)))
