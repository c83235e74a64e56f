"""The torch module of DualStreamMamba: what goes into it, how the streams join, what comes out."""

from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from scvi.module.base import BaseModuleClass, LossOutput, auto_move_data

from scbig._constants import REGISTRY
from scbig.model.dualstream._config import DualStreamConfig
from scbig.model.dualstream._networks import (
    BiologicalStream,
    GatedFusion,
    GenePatches,
    GeneReadout,
    Posterior,
    StatisticalStream,
    divergence_loss,
)
from scbig.model.dualstream._perturbation import PerturbationEncoder, StreamCondition
from scbig.nn import add_change

# Genes that hardly vary are not blown up beyond this.
_MIN_STD = 0.05
_MAX_STANDARDISED = 5.0


class GeneRecord(NamedTuple):
    """What the module knows of the measured genes.

    Attributes
    ----------
    order
        Gene numbers in the order of the tokens, shape ``(G,)``.
    vectors
        Embedding of each gene: unit vectors side by side, shape ``(G, D)``.
    mean, std, dropout
        Mean, standard deviation and share of zeros over control cells, each of shape ``(G,)``.
    """

    order: torch.Tensor
    vectors: torch.Tensor
    mean: torch.Tensor
    std: torch.Tensor
    dropout: torch.Tensor

    @classmethod
    def make(
        cls, order: np.ndarray, vectors: np.ndarray, controls: sparse.csr_matrix
    ) -> "GeneRecord":
        """Add the moments over control cells ``(n_cells, G)`` to an order and embeddings."""
        # Squares of sparse float32 columns, in float64: small variances are differences.
        mean, square, positive = (
            np.asarray(part.mean(axis=0, dtype=np.float64)).ravel()
            for part in (controls, controls.power(2), controls > 0)
        )
        moments = (
            torch.from_numpy(part.astype(np.float32))
            for part in (mean, np.sqrt(np.maximum(square - mean**2, 0)), 1 - positive)
        )
        return cls(torch.from_numpy(order), torch.from_numpy(vectors), *moments)


class StreamSizes(NamedTuple):
    """Numbers of seen targets, of seen contexts and of embedding tables."""

    n_targets: int
    n_contexts: int
    n_tables: int


class StreamOutput(NamedTuple):
    """What one pass returns.

    Attributes
    ----------
    effect
        Predicted effect, with that of the anchor, shape ``(B, G)``.
    posterior
        Latent of the control cells, or ``None`` without the statistical stream.
    reconstruction
        Squared error of the standardised control cells, a single number.
    """

    effect: torch.Tensor
    posterior: Posterior | None
    reconstruction: torch.Tensor


class DualStreamModule(BaseModuleClass):
    """Predicts the effect of perturbations on control cells.

    Parameters
    ----------
    genes
        What is known of the genes.
    sizes
        Sizes that follow from the screen.
    config
        Sizes that are chosen.
    """

    mean: torch.Tensor
    std: torch.Tensor
    dropout: torch.Tensor
    vectors: torch.Tensor

    def __init__(self, genes: GeneRecord, sizes: StreamSizes, config: DualStreamConfig) -> None:
        super().__init__()
        self.config = config
        self.patches = GenePatches(genes.order, config.get_token_size(len(genes.order)))
        self.register_buffer("mean", genes.mean)
        self.register_buffer("std", genes.std)
        self.register_buffer("dropout", genes.dropout)
        self.register_buffer("vectors", genes.vectors)
        vectors = self.patches.cut(genes.vectors.T).permute(1, 2, 0)
        place = vectors.mean(1)
        self.perturbation = PerturbationEncoder(
            place,
            sizes.n_tables,
            sizes.n_targets,
            sizes.n_contexts,
            config.n_hidden,
            use_pairs=config.use_pairs,
        )
        self.biological = BiologicalStream(place, 3 * self.patches.size, config)
        self.effect = GeneReadout(vectors, config.n_hidden)
        self.log_sigma = torch.nn.Parameter(self.get_noise().log())
        self.statistical: StatisticalStream | None = None
        if config.use_statistics:
            self.statistical = StatisticalStream(place, self._get_statistics(), config)
            self.cell = GeneReadout(vectors, config.n_hidden)
            self.fusion = GatedFusion(config.n_hidden)

    def get_noise(self) -> torch.Tensor:
        """Standard error of an effect to learn, as the control cells have it, shape ``(G,)``."""
        return self._get_scale() / self.config.cells_per_group**0.5

    def forward_cells(
        self, x: torch.Tensor, condition: StreamCondition, noise: torch.Tensor | None = None
    ) -> StreamOutput:
        """Predict the effect of B conditions on B control cells.

        Parameters
        ----------
        x
            Control cells, shape ``(B, G)``.
        condition
            The conditions.
        noise
            Standard normal numbers that the latent is drawn with, shape ``(B, n_latent)``; by
            default it is the posterior mean.

        Returns
        -------
        The effects, and what the losses need.
        """
        return self._finish(x, condition, *self.get_biological_input(x, condition), noise)

    def forward_without(
        self, x: torch.Tensor, condition: StreamCondition, tokens: torch.Tensor
    ) -> torch.Tensor:
        """Predict the effect of one condition with one token after the other taken out.

        Parameters
        ----------
        x
            One control cell, shape ``(1, G)``.
        condition
            One condition.
        tokens
            Tokens to take out, shape ``(S,)``. What a token says of its genes goes, and what a
            target among them tells the others.

        Returns
        -------
        Effects, shape ``(S, G)``.
        """
        condition = condition.select(torch.zeros_like(tokens))
        where = self.patches.token[condition.gene.clamp(min=0)]
        is_out = (condition.gene >= 0) & (where == tokens.unsqueeze(-1))
        heard = condition._replace(mask=condition.mask & ~is_out)
        x = x.expand(len(tokens), -1)
        channels, message = self.get_biological_input(x, heard)
        is_kept = torch.arange(self.patches.n_tokens, device=x.device) != tokens.unsqueeze(-1)
        parts = (part * is_kept.unsqueeze(-1) for part in (channels, message))
        return self._finish(x, condition, *parts).effect

    def _finish(
        self,
        x: torch.Tensor,
        condition: StreamCondition,
        channels: torch.Tensor,
        message: torch.Tensor,
        noise: torch.Tensor | None = None,
    ) -> StreamOutput:
        """Run the streams, given what enters the biological one."""
        tokens = self.biological(channels, message)
        posterior, error = None, x.new_zeros(())
        if self.statistical is not None:
            standard = self.patches.cut(self._standardise(x))
            posterior = self.statistical.encode(standard)
            z = posterior.mean if noise is None else posterior.sample(noise)
            statistical = self.statistical(z)
            error = (self.cell(statistical) - standard).square().mean()
            tokens = self.fusion(statistical, tokens)
        effect = self._get_scale() * self.patches.join(self.effect(tokens))
        if self.config.use_anchor:
            effect = effect + condition.effect
        return StreamOutput(effect, posterior, error)

    def get_biological_input(
        self, x: torch.Tensor, condition: StreamCondition
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Channels of the genes of each token, ``(B, L, 3 P)``, and messages ``(B, L, d)``."""
        is_target = torch.zeros_like(x)
        is_measured = (condition.gene >= 0).to(x)
        is_target = is_target.scatter_add(1, condition.gene.clamp(min=0), is_measured)
        expected = condition.effect / self._get_scale()
        values = torch.stack([self._standardise(x), expected, is_target], dim=1)
        channels = self.patches.cut(values).transpose(1, 2).flatten(2)
        return channels, self.perturbation(condition, self.patches.token)

    def predict_cells(
        self,
        x: torch.Tensor,
        condition: StreamCondition,
        control_mean: torch.Tensor,
        noise: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Predict perturbed cells, non-negative, shape ``(B, G)``, from as many control cells."""
        return add_change(x, self.forward_cells(x, condition, noise).effect, control_mean)

    def _standardise(self, x: torch.Tensor) -> torch.Tensor:
        standard = (x - self.mean) / self._get_scale()
        return standard.clamp(-_MAX_STANDARDISED, _MAX_STANDARDISED)

    def _get_scale(self) -> torch.Tensor:
        return self.std.clamp(min=_MIN_STD)

    def _get_statistics(self) -> torch.Tensor:
        values = torch.stack([self.mean, self.std, self.dropout])
        return self.patches.cut(values).transpose(0, 1).flatten(1)

    # --- the autoencoder of control cells, in the verbs of scvi-tools ----------------------

    def _get_inference_input(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"x": tensors[REGISTRY.X]}

    def _get_generative_input(
        self, tensors: dict[str, torch.Tensor], inference_outputs: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        return {"z": inference_outputs["z"]}

    @auto_move_data
    def inference(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Encode control cells ``(B, G)`` into the latent of the statistical stream."""
        posterior = self._statistical_stream.encode(self.patches.cut(self._standardise(x)))
        return {"z": posterior.mean, "log_variance": posterior.log_variance}

    @auto_move_data
    def generative(self, z: torch.Tensor) -> dict[str, torch.Tensor]:
        """Decode latents ``(B, n_latent)`` into expression ``(B, G)``."""
        standard = self.patches.join(self.cell(self._statistical_stream(z)))
        return {"x": standard * self._get_scale() + self.mean}

    def loss(
        self,
        tensors: dict[str, torch.Tensor],
        inference_outputs: dict[str, torch.Tensor],
        generative_outputs: dict[str, torch.Tensor],
    ) -> LossOutput:
        """Negative evidence lower bound of control cells, with unit variance, for each gene."""
        x = tensors[REGISTRY.X]
        error = ((generative_outputs["x"] - x) / self._get_scale()).square().mean()
        kl = divergence_loss(inference_outputs["z"], inference_outputs["log_variance"])
        return LossOutput(loss=0.5 * error + kl / x.shape[1], n_obs_minibatch=len(x))

    @property
    def _statistical_stream(self) -> StatisticalStream:
        if self.statistical is None:
            raise ValueError(
                "This model has no statistical stream. Make one with "
                "DualStreamConfig(use_statistics=True)."
            )
        return self.statistical
