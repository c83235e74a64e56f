"""The networks of SCBIG: autoencoder of cells, flow between their latents, and their parts."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import NamedTuple, cast

import numpy as np
import torch
from scvi.module.base import BaseModuleClass, LossOutput, auto_move_data
from torch import nn

from scbig._constants import REGISTRY
from scbig.flow import integrate, integrate_adaptive
from scbig.model.scbig._condition import ConditionEncoder, FlowCondition
from scbig.model.scbig._config import SCBIGConfig
from scbig.nn import (
    NORM_EPS,
    AttentionMaps,
    FourierTime,
    GeometricTime,
    InducedBlock,
    ProgramLinear,
    ProgramUnlinear,
    VelocityNet,
    add_change,
    init_lecun_normal,
)

_TINY = 1e-6


class FlowSizes(NamedTuple):
    """Numbers of seen targets, of contexts and of embedding features."""

    n_targets: int
    n_contexts: int
    n_embedding: int


class SCBIGModule(BaseModuleClass):
    """Autoencoder and conditional flow."""

    gene_mean: torch.Tensor
    latent_mean: torch.Tensor
    latent_std: torch.Tensor
    encoder: ProgramEncoder | LinearEncoder
    decoder: ProgramDecoder | LinearDecoder

    def __init__(
        self,
        labels: torch.Tensor,  # program of each gene, (G,)
        semantics: torch.Tensor,  # mean gene embedding of each program, (K, d)
        gene_mean: torch.Tensor,  # what is taken off before encoding, (G,)
        sizes: FlowSizes,
        config: SCBIGConfig,
    ) -> None:
        super().__init__()
        self.config = config
        if config.autoencoder != "programs":
            self.encoder = LinearEncoder(len(labels), config.n_latent)
            if config.autoencoder == "activity":
                self.encoder.set_programs(labels)
            self.decoder = LinearDecoder(self.encoder)
        else:
            tokens = ProgramSemantics(semantics, config.n_hidden)
            self.encoder = ProgramEncoder(labels, tokens, config)
            self.decoder = ProgramDecoder(labels, tokens, config)
        self.condition = ConditionEncoder(*sizes, config)
        time = FourierTime if config.time == "harmonic" else GeometricTime
        self.velocity = VelocityNet(
            config.n_latent,
            config.n_condition,
            config.velocity_hidden,
            dropout=config.dropout,
            zero_last=config.use_anchor,
            time=time(config.n_time_features),
        )
        if config.initialisation == "lecun":
            init_lecun_normal(self)
        self.register_buffer("gene_mean", gene_mean)
        # Latents may be standardised for the flow once the autoencoder has been trained.
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
        """Encode cells."""
        return {"z": self.encode(x)}

    @auto_move_data
    def generative(self, z: torch.Tensor) -> dict[str, torch.Tensor]:
        """Decode latents."""
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
        """Encode expression ``(B, G)`` into latents ``(B, n_latent)``."""
        return (self.encoder(x - self.gene_mean) - self.latent_mean) / self.latent_std

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """Decode latents ``(B, n_latent)`` into expression ``(B, G)``."""
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
        """Velocity at ``z (..., n_latent)``: what the anchor expects plus what the network adds.

        Times, condition vectors ``(..., n_condition)`` and anchors ``(..., n_latent)`` broadcast.
        """
        velocity = self.velocity(t, z, vector)
        return velocity + anchor if self.config.use_anchor else velocity

    def transport(
        self, z: torch.Tensor, condition: FlowCondition, *, is_fixed: bool = False
    ) -> torch.Tensor:
        """Carry control latents to perturbed ones; shape ``(B, N, n_latent)`` for B conditions.

        A gradient is cheap through fixed steps alone, whatever the solver of predictions.
        """
        vector = self.condition(condition).unsqueeze(1)
        velocity = partial(self.get_velocity, vector=vector, anchor=condition.anchor.unsqueeze(1))
        if is_fixed or self.config.solver == "heun":
            return integrate(velocity, z, method="heun", n_steps=self.config.n_solver_steps)
        return integrate_adaptive(velocity, z, method=self.config.solver)

    def predict_cells(
        self,
        x: torch.Tensor,  # control cells, (B, N, G)
        z: torch.Tensor,  # their latents, (B, N, n_latent)
        condition: FlowCondition,
        effect: torch.Tensor,  # what the anchor expects, (B, G); unused without anchor
        control_mean: torch.Tensor,  # of the context of each condition, (B, G)
        *,
        is_fixed: bool = False,  # see :meth:`transport`
    ) -> torch.Tensor:
        """Predict perturbed cells from control cells: non-negative, ``(B, N, G)``."""
        end = self.transport(z, condition, is_fixed=is_fixed)
        if self.config.decoding == "direct":
            return self._decode_cells(end).clamp(min=0)
        # The decoder is only asked for the difference to the anchored cell, so what the latent
        # space cannot hold of the cell and of the anchor's effect is kept.
        start, change = z, torch.zeros_like(x)
        if self.config.use_anchor:
            start, change = z + condition.anchor.unsqueeze(1), effect.unsqueeze(1)
        change = self._decode_cells(end) - self._decode_cells(start) + change
        return add_change(x, change, control_mean.unsqueeze(1))

    def predict_deviations(self, z: torch.Tensor, condition: FlowCondition) -> torch.Tensor:
        """Predict what the flow does to each cell beyond the mean change, ``(B, N, G)``.

        The average change of the latents is taken off, and once more that of the decoded cells:
        of control latents ``(B, N, n_latent)`` means are the regression's, and shapes the flow's.
        """
        end = self.transport(z, condition)
        start = z + condition.anchor.unsqueeze(1)
        end = end - (end - start).mean(1, keepdim=True)
        deviation = self._decode_cells(end) - self._decode_cells(start)
        return deviation - deviation.mean(1, keepdim=True)

    def _decode_cells(self, z: torch.Tensor) -> torch.Tensor:
        return self.decode(z.flatten(0, 1)).unflatten(0, z.shape[:2])


class ProgramSemantics(nn.Module):
    """What is known of each program beyond its expression: the mean embedding of its genes."""

    embedding: torch.Tensor  # (K, d)

    def __init__(self, embedding: torch.Tensor, n_hidden: int) -> None:
        super().__init__()
        self.register_buffer("embedding", embedding)
        self.project = nn.Linear(embedding.shape[1], n_hidden)
        self.norm = nn.LayerNorm(n_hidden, eps=NORM_EPS)

    def forward(self) -> torch.Tensor:
        """Return one token a program, shape ``(K, n_hidden)``."""
        return self.norm(self.project(self.embedding))


class ProgramEncoder(nn.Module):
    """Gene-cluster-aware encoder (arXiv 2602.04901): programs are tokens, their mean the cell."""

    def __init__(
        self, labels: torch.Tensor, semantics: ProgramSemantics, config: SCBIGConfig
    ) -> None:
        super().__init__()
        self.expression = ProgramLinear(labels, config.n_hidden)
        self.semantics = semantics
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = _make_blocks(config)
        self.latent = nn.Linear(config.n_hidden, config.n_latent)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Encode centred expression ``(B, G)`` into latents ``(B, n_latent)``."""
        tokens = self._tokens(x)
        for block in self.blocks:
            tokens = block(tokens)
        return self.latent(tokens.mean(1))

    def attend(self, x: torch.Tensor) -> list[AttentionMaps]:
        """Return the attention weights of each block for centred expression ``(B, G)``."""
        tokens, maps = self._tokens(x), []
        for block in cast(Iterable[InducedBlock], self.blocks):
            tokens, weights = block.attend(tokens)
            maps.append(weights)
        return maps

    def _tokens(self, x: torch.Tensor) -> torch.Tensor:
        return self.dropout(self.expression(x) + self.semantics())


class ProgramDecoder(nn.Module):
    """Decoder that mirrors :class:`ProgramEncoder`, whose arguments it takes."""

    def __init__(
        self, labels: torch.Tensor, semantics: ProgramSemantics, config: SCBIGConfig
    ) -> None:
        super().__init__()
        self.latent = nn.Linear(config.n_latent, config.n_hidden)
        self.semantics = semantics
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = _make_blocks(config)
        self.expression = ProgramUnlinear(labels, config.n_hidden)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Decode latents ``(B, n_latent)`` into centred expression ``(B, G)``."""
        tokens = self.dropout(self.latent(z).unsqueeze(1) + self.semantics())
        for block in self.blocks:
            tokens = block(tokens)
        return self.expression(tokens)


def _make_blocks(config: SCBIGConfig) -> nn.ModuleList:
    return nn.ModuleList(
        InducedBlock(config.n_hidden, config.n_heads, config.n_inducing, config.dropout)
        for _ in range(config.n_layers)
    )


class LinearEncoder(nn.Module):
    """Principal components in place of the encoder, to compare it with; ``components (n, G)``."""

    components: torch.Tensor

    def __init__(self, n_genes: int, n_latent: int) -> None:
        super().__init__()
        self.register_buffer("components", torch.zeros(n_latent, n_genes))

    @torch.no_grad()
    def set_programs(self, labels: torch.Tensor) -> None:
        """Take sums over programs, scaled to unit length, given that of each gene ``(G,)``."""
        if (n_programs := int(labels.max()) + 1) > len(self.components):
            raise ValueError(
                f"{n_programs} programs do not fit into n_latent={len(self.components)}. Give "
                f"SCBIGConfig(n_latent={n_programs}), or fewer programs."
            )
        self.components[labels, torch.arange(len(labels))] = 1.0
        self.components /= self.components.norm(dim=1, keepdim=True).clamp(min=_TINY)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Encode centred expression ``(B, G)`` into latents ``(B, n_latent)``."""
        return x @ self.components.T


class LinearDecoder(nn.Module):
    """Rebuilds expression from the principal components of an encoder."""

    def __init__(self, encoder: LinearEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Decode latents ``(B, n_latent)`` into centred expression ``(B, G)``."""
        return z @ self.encoder.components
