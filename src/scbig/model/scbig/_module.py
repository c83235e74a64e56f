"""The torch module of SCBIG: autoencoder of cells, and flow between their latents."""

from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from scvi.module.base import BaseModuleClass, LossOutput, auto_move_data

from scbig._constants import REGISTRY
from scbig.flow import integrate, integrate_adaptive
from scbig.model.scbig._config import SCBIGConfig
from scbig.model.scbig._networks import (
    ConditionEncoder,
    FlowCondition,
    LinearDecoder,
    LinearEncoder,
    ProgramDecoder,
    ProgramEncoder,
    ProgramSemantics,
)
from scbig.nn import VelocityNet, add_change

_TINY = 1e-6


class FlowSizes(NamedTuple):
    """Numbers of seen targets, of contexts and of embedding features."""

    n_targets: int
    n_contexts: int
    n_embedding: int


class SCBIGModule(BaseModuleClass):
    """Autoencoder and conditional flow.

    Parameters
    ----------
    labels
        Program of each gene, shape ``(G,)``.
    semantics
        Mean gene embedding of each program, shape ``(K, d)``.
    gene_mean
        Mean expression that is taken off before encoding, shape ``(G,)``.
    sizes
        Sizes that follow from the screen.
    config
        Sizes that are chosen.
    """

    gene_mean: torch.Tensor
    latent_mean: torch.Tensor
    latent_std: torch.Tensor

    encoder: ProgramEncoder | LinearEncoder
    decoder: ProgramDecoder | LinearDecoder

    def __init__(
        self,
        labels: torch.Tensor,
        semantics: torch.Tensor,
        gene_mean: torch.Tensor,
        sizes: FlowSizes,
        config: SCBIGConfig,
    ) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.decoder = _make_autoencoder(labels, semantics, config)
        self.condition = ConditionEncoder(*sizes, config)
        self.velocity = VelocityNet(
            config.n_latent,
            config.n_condition,
            config.velocity_hidden,
            dropout=config.dropout,
            zero_last=config.use_anchor,
        )
        self.register_buffer("gene_mean", gene_mean)
        # Latents are standardised for the flow once the autoencoder has been trained.
        self.register_buffer("latent_mean", torch.zeros(config.n_latent))
        self.register_buffer("latent_std", torch.ones(config.n_latent))

    # --- the autoencoder, in the verbs of scvi-tools ---------------------------------------

    def _get_inference_input(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"x": tensors[REGISTRY.X]}

    def _get_generative_input(
        self, tensors: dict[str, torch.Tensor], inference_outputs: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        return {"z": inference_outputs["z"]}

    @auto_move_data
    def inference(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Encode expression ``(B, G)`` into standardised latents ``(B, n_latent)``."""
        return {"z": self.encode(x)}

    @auto_move_data
    def generative(self, z: torch.Tensor) -> dict[str, torch.Tensor]:
        """Decode standardised latents ``(B, n_latent)`` into expression ``(B, G)``."""
        return {"x": self.decode(z)}

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

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Encode expression ``(B, G)`` into standardised latents ``(B, n_latent)``."""
        return (self.encoder(x - self.gene_mean) - self.latent_mean) / self.latent_std

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """Decode standardised latents ``(B, n_latent)`` into expression ``(B, G)``."""
        return self.decoder(z * self.latent_std + self.latent_mean) + self.gene_mean

    @torch.no_grad()
    def set_gene_mean(self, mean: np.ndarray) -> None:
        """Take this mean expression ``(G,)`` off before encoding, and add it when decoding."""
        self.gene_mean.copy_(torch.from_numpy(mean))

    @torch.no_grad()
    def set_latent_scale(self, mean: np.ndarray, std: np.ndarray) -> None:
        """Standardise the latents once more, given their present moments ``(n_latent,)``."""
        self.latent_mean += self.latent_std * torch.from_numpy(mean).to(self.latent_std)
        self.latent_std *= torch.from_numpy(std).to(self.latent_std).clamp(min=_TINY)

    # --- the flow --------------------------------------------------------------------------

    def get_velocity(
        self, t: torch.Tensor, z: torch.Tensor, vector: torch.Tensor, anchor: torch.Tensor
    ) -> torch.Tensor:
        """Velocity at ``z``: what the anchor expects plus what the network adds.

        Parameters
        ----------
        t
            Times, broadcastable to ``(...)``.
        z
            Latents, shape ``(..., n_latent)``.
        vector
            Condition vectors, broadcastable to ``(..., n_condition)``.
        anchor
            Latent effect that the anchor expects, broadcastable to ``(..., n_latent)``.

        Returns
        -------
        Velocity of shape ``(..., n_latent)``.
        """
        velocity = self.velocity(t, z, vector)
        return velocity + anchor if self.config.use_anchor else velocity

    def transport(self, z: torch.Tensor, condition: FlowCondition) -> torch.Tensor:
        """Carry control latents to perturbed ones; shape ``(B, N, n_latent)`` for B conditions."""
        vector = self.condition(condition).unsqueeze(1)
        velocity = partial(self.get_velocity, vector=vector, anchor=condition.anchor.unsqueeze(1))
        if self.config.solver == "heun":
            return integrate(velocity, z, method="heun", n_steps=self.config.n_solver_steps)
        return integrate_adaptive(velocity, z, method=self.config.solver)

    def predict_cells(
        self,
        x: torch.Tensor,
        z: torch.Tensor,
        condition: FlowCondition,
        effect: torch.Tensor,
        control_mean: torch.Tensor,
    ) -> torch.Tensor:
        """Predict perturbed cells from control cells.

        Parameters
        ----------
        x
            Control cells, shape ``(B, N, G)``.
        z
            Their latents, shape ``(B, N, n_latent)``.
        condition
            The B conditions.
        effect
            Effect that the anchor expects for each gene, shape ``(B, G)``; unused without anchor.
        control_mean
            Mean of the control cells of each condition's context, shape ``(B, G)``.

        Returns
        -------
        Non-negative expression, shape ``(B, N, G)``.
        """
        end = self.transport(z, condition)
        if self.config.decoding == "direct":
            return self._decode_cells(end).clamp(min=0)
        # The decoder is only asked for the difference to the anchored cell, so what the latent
        # space cannot hold of the cell and of the anchor's effect is kept.
        start, change = z, torch.zeros_like(x)
        if self.config.use_anchor:
            start, change = z + condition.anchor.unsqueeze(1), effect.unsqueeze(1)
        change = self._decode_cells(end) - self._decode_cells(start) + change
        return add_change(x, change, control_mean.unsqueeze(1))

    def _decode_cells(self, z: torch.Tensor) -> torch.Tensor:
        return self.decode(z.flatten(0, 1)).unflatten(0, z.shape[:2])


def _make_autoencoder(
    labels: torch.Tensor, semantics: torch.Tensor, config: SCBIGConfig
) -> tuple[ProgramEncoder | LinearEncoder, ProgramDecoder | LinearDecoder]:
    if config.autoencoder == "pca":
        encoder = LinearEncoder(len(labels), config.n_latent)
        return encoder, LinearDecoder(encoder)
    tokens = ProgramSemantics(semantics, config.n_hidden)
    return ProgramEncoder(labels, tokens, config), ProgramDecoder(labels, tokens, config)
