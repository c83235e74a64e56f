"""The torch module of DualStreamMamba: how the streams join, and which genes they read where."""

from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from scvi.module.base import BaseModuleClass, LossOutput, auto_move_data
from torch import nn

from scbig._constants import REGISTRY
from scbig.model.dualstream._config import DualStreamConfig
from scbig.model.dualstream._networks import (
    BiologicalStream,
    CellReader,
    PerturbationEncoder,
    StatisticalStream,
    StreamCondition,
    StreamSizes,
)
from scbig.nn import (
    GatedFusion,
    GenePatches,
    GeneReadout,
    Posterior,
    add_change,
    compute_block_influence,
    divergence_loss,
)

# Genes that hardly vary are not blown up beyond this.
_MIN_STD = 0.05
_MAX_STANDARDISED = 5.0
# Gene tokens held at once; more go one batch after the other.
TOKENS_AT_ONCE = 16_384
_Tensors = dict[str, torch.Tensor]


class GeneRecord(NamedTuple):
    """What the module knows of the measured genes; moments are over control cells."""

    order: torch.Tensor  # gene numbers in the order of the tokens, (G,)
    vectors: torch.Tensor  # unit vectors of each gene, side by side, (G, D)
    mean: torch.Tensor  # (G,)
    std: torch.Tensor  # (G,)
    dropout: torch.Tensor  # share of zeros, (G,)

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


class StreamOutput(NamedTuple):
    """What one pass returns."""

    effect: torch.Tensor  # with that of the anchor, (B, G)
    posterior: Posterior | None  # of the control cells; None without the statistical stream
    reconstruction: torch.Tensor  # squared error of the standardised control cells, ()


class DualStreamModule(BaseModuleClass):
    """Predicts the effect of perturbations on control cells."""

    mean: torch.Tensor
    std: torch.Tensor
    dropout: torch.Tensor

    def __init__(self, genes: GeneRecord, sizes: StreamSizes, config: DualStreamConfig) -> None:
        super().__init__()
        self.config = config
        self.patches = GenePatches(genes.order, config.get_token_size(len(genes.order)))
        # The vectors are cut into the parts below, and kept to rebuild the module from.
        for name in ("mean", "std", "dropout", "vectors"):
            self.register_buffer(name, getattr(genes, name))
        vectors = self.patches.cut(genes.vectors.T).permute(1, 2, 0)
        place = vectors.mean(1)
        self.perturbation = PerturbationEncoder(place, sizes, config)
        self.biological = BiologicalStream(place, 3 * self.patches.size, config)
        self.effect = GeneReadout(vectors, config.n_hidden)
        self.log_sigma = nn.Parameter(self.get_noise().log())
        self.statistical: StatisticalStream | None = None
        if config.use_statistics:
            moments = self.patches.cut(torch.stack(genes[2:])).transpose(0, 1).flatten(1)
            self.statistical = StatisticalStream(place, moments, config)
            self.cell = GeneReadout(vectors, config.n_hidden)
            self.fusion = GatedFusion(config.n_hidden)
        self.shape = CellReader(vectors, config)

    def get_noise(self) -> torch.Tensor:
        """Standard error of an effect to learn, as the control cells have it, shape ``(G,)``."""
        return self._get_scale() / self.config.cells_per_group**0.5

    def forward_cells(
        self, x: torch.Tensor, condition: StreamCondition, noise: torch.Tensor | None = None
    ) -> StreamOutput:
        """Predict the effect of B conditions on B control cells ``(B, G)``.

        The latent is drawn with standard normal noise ``(B, n_latent)``; by default it is the
        posterior mean.
        """
        return self._finish(x, condition, *self.get_biological_input(x, condition), noise)

    def forward_without(
        self, x: torch.Tensor, condition: StreamCondition, tokens: torch.Tensor
    ) -> torch.Tensor:
        """Predict the effect of one condition on a cell ``(1, G)`` without each of S tokens.

        What a token says of its genes goes, and what a target among them tells the others.
        Returns effects ``(S, G)``.
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
        """Run the streams, given what enters the biological one, and read the effect."""
        tokens, posterior, error = self._run(x, channels, message, noise)
        effect = self._get_scale() * self.patches.join(self.effect(tokens))
        if self.config.use_anchor:
            effect = effect + condition.effect
        return StreamOutput(effect, posterior, error)

    def _run(
        self,
        x: torch.Tensor,
        channels: torch.Tensor,
        message: torch.Tensor,
        noise: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, Posterior | None, torch.Tensor]:
        """Tokens of both streams, with posterior and error of the control cells."""
        tokens = self.biological(channels, message)
        if self.statistical is None:
            return tokens, None, x.new_zeros(())
        standard = self.patches.cut(self._standardise(x))
        posterior = self.statistical.encode(standard)
        z = posterior.mean if noise is None else posterior.sample(noise)
        statistical = self.statistical(z)
        error = (self.cell(statistical) - standard).square().mean()
        return self.fusion(statistical, tokens), posterior, error

    def forward_shapes(self, x: torch.Tensor, condition: StreamCondition) -> torch.Tensor:
        """Predict how B cells ``(B, G)`` of B conditions differ from the means of these.

        The streams are read as they are: what shapes learn leaves the predicted means alone.
        """
        with torch.no_grad():
            tokens, _, _ = self._run(x, *self.get_biological_input(x, condition))
        read = self.shape(tokens, self.patches.cut(self._standardise(x)))
        return self._get_scale() * self.patches.join(read)

    def get_biological_input(
        self, x: torch.Tensor, condition: StreamCondition
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Channels of the genes of each token, ``(B, L, 3 P)``, and messages ``(B, L, d)``."""
        is_measured = (condition.gene >= 0).to(x)
        is_target = torch.zeros_like(x).scatter_add(1, condition.gene.clamp(min=0), is_measured)
        expected = condition.effect / self._get_scale()
        values = torch.stack([self._standardise(x), expected, is_target], dim=1)
        channels = self.patches.cut(values).transpose(1, 2).flatten(2)
        return channels, self.perturbation(condition, self.patches.token)

    def predict_cells(
        self, x: torch.Tensor, condition: StreamCondition, control_mean: torch.Tensor
    ) -> torch.Tensor:
        """Predict perturbed cells, non-negative, shape ``(B, G)``, from as many control cells."""
        return add_change(x, self.forward_cells(x, condition).effect, control_mean)

    def _standardise(self, x: torch.Tensor) -> torch.Tensor:
        standard = (x - self.mean) / self._get_scale()
        return standard.clamp(-_MAX_STANDARDISED, _MAX_STANDARDISED)

    def _get_scale(self) -> torch.Tensor:
        return self.std.clamp(min=_MIN_STD)

    # --- the autoencoder of control cells, in the verbs of scvi-tools ----------------------

    def _get_inference_input(self, tensors: _Tensors) -> _Tensors:
        return {"x": tensors[REGISTRY.X]}

    def _get_generative_input(self, tensors: _Tensors, inference_outputs: _Tensors) -> _Tensors:
        return {"z": inference_outputs["z"]}

    @auto_move_data
    def inference(self, x: torch.Tensor) -> _Tensors:
        """Encode control cells ``(B, G)`` into the latent of the statistical stream."""
        posterior = self._statistical_stream.encode(self.patches.cut(self._standardise(x)))
        return {"z": posterior.mean, "log_variance": posterior.log_variance}

    @auto_move_data
    def generative(self, z: torch.Tensor) -> _Tensors:
        """Decode latents ``(B, n_latent)`` into expression ``(B, G)``."""
        standard = self.patches.join(self.cell(self._statistical_stream(z)))
        return {"x": standard * self._get_scale() + self.mean}

    def loss(
        self, tensors: _Tensors, inference_outputs: _Tensors, generative_outputs: _Tensors
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


@torch.no_grad()
def compute_occlusion(
    module: DualStreamModule, cell: torch.Tensor, condition: StreamCondition, genes: torch.Tensor
) -> np.ndarray:
    """Absolute change of the effect on each of n genes (row) for want of the token of each.

    Given one control cell ``(1, G)``, one condition and the numbers of the genes.
    """
    sources, column = torch.unique(module.patches.token[genes], return_inverse=True)
    whole = module.forward_cells(cell, condition).effect[0, genes]
    changes = [
        (module.forward_without(cell, condition, part)[:, genes] - whole).abs()
        for part in sources.split(max(TOKENS_AT_ONCE // module.patches.n_tokens, 1))
    ]
    return torch.cat(changes).T[:, column].cpu().numpy()


@torch.no_grad()
def compute_scan_influence(
    module: DualStreamModule, cell: torch.Tensor, condition: StreamCondition, genes: torch.Tensor
) -> np.ndarray:
    """Weight with which the biological scans read each of n genes (column) at each (row)."""
    tokens = module.biological.embed(*module.get_biological_input(cell, condition))
    influence = compute_block_influence(module.biological.blocks, tokens)[0]
    token = module.patches.token[genes]
    return influence[token][:, token].cpu().numpy()
