"""The torch module of STRAND: from loci to effects, and from control to perturbed latents."""

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
    LocusCondition,
    LocusSet,
    add_change,
    evaluating,
    extend_rows,
)

N_PER_BATCH = 64


class STRANDModule(BaseModuleClass):
    """Encoder of loci, regression of mean effects, and bridge.

    The reader turns what is read of loci, a ``LocusInput``, into vectors.
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
        given, members, is_member, context = condition.compact().to(self.device)
        if len(given.values):
            loci = self.reader(given)[members]
        else:
            loci = self.effect.weight.new_zeros(*members.shape, self.config.dim)
        vector = self.locus_set(loci, is_member)
        change = self.context(context.clamp(min=0)) * (context >= 0).unsqueeze(-1)
        scale, shift = change.chunk(2, dim=-1)
        return vector * (1 + scale) + shift

    def embed_all(self, condition: LocusCondition) -> torch.Tensor:
        """The same without gradients and dropout, a batch at a time, on the CPU."""
        rows = torch.arange(len(condition.context)).split(N_PER_BATCH)
        with evaluating(self):
            parts = [self.embed(condition.select(i)).cpu() for i in rows]
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
        z = self.latent.encode(x)
        ends, _ = self._carry(z, vector, generator)
        change = self.latent.decode(ends) - self.latent.decode(z)
        return add_change(x, change, control_mean.unsqueeze(1))

    def predict_deviations(
        self, x: torch.Tensor, vector: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        """Predict what the bridge does to each of N cells beyond the mean, ``(B, N, G)``.

        The average change is taken off in latents, and once more of the decoded cells.
        """
        ends, source = self._carry(self.latent.encode(x), vector, generator)
        ends = ends - (ends - source).mean(1, keepdim=True)
        deviation = self.latent.decode(ends) - self.latent.decode(source)
        return deviation - deviation.mean(1, keepdim=True)

    def _carry(
        self, z: torch.Tensor, vector: torch.Tensor, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Where bridges from N control latents to B conditions end, and where they begin."""
        vector = vector.unsqueeze(1)
        start = z.expand(len(vector), *z.shape)

        def network(t: torch.Tensor, z_t: torch.Tensor) -> torch.Tensor:
            return self.bridge_net(t.to(z.device), z_t.to(z.device), start, vector).cpu()

        # Noise that is drawn on the CPU means the same on every device.
        source, n_steps = self.get_source(start, vector).cpu(), self.config.n_solver_steps
        ends = self.bridge.carry(network, source, n_steps=n_steps, generator=generator)
        return ends.to(z.device), source.to(z.device)

    def extend_contexts(self, n_contexts: int) -> None:
        """Make room for further contexts, which begin without a change of their own."""
        weight = extend_rows(self.context.weight, n_contexts)
        # From given weights: a new table would be drawn from the user's random state.
        self.context = nn.Embedding.from_pretrained(weight, freeze=False)
