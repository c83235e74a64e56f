"""What SCBIG tells `PredictMixin`: how to predict cells, and what it knows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from anndata import AnnData

from scbig.data import PredictMixin, ScreenSchema, Targets
from scbig.model.scbig._anchor import Anchor
from scbig.model.scbig._blueprint import Blueprint
from scbig.model.scbig._components import ConditionInput
from scbig.model.scbig._module import SCBIGModule


class InferenceMixin(PredictMixin):
    """Prediction with a trained module and anchor."""

    adata: AnnData | None
    module: SCBIGModule
    registry_: dict[str, Any]
    _blueprint: Blueprint
    _anchor: Anchor | None
    _missing_embedding: str
    _seed: int
    _n_steps: int
    is_trained_: bool

    @torch.no_grad()
    def _predict_cells(
        self,
        x: np.ndarray,
        targets: Targets,
        context: int,
        rng: np.random.Generator,
        *,
        is_sampled: bool,
    ) -> np.ndarray:
        self.module.eval()
        targets, device = self._resolve(targets), self.module.device
        effect, latent = self._fitted.predict([targets], np.array([context]))
        condition = self._blueprint.make_condition([targets], np.array([context]), latent)
        cells = torch.from_numpy(np.asarray(x, dtype=np.float32)).to(device)
        z = self.module.encode(cells)
        if is_sampled:
            # The path starts in a cloud of this width around each control cell.
            noise = rng.normal(scale=self.module.config.sigma, size=z.shape)
            z = z + torch.from_numpy(noise).to(z)
        mean = torch.from_numpy(self._get_control_mean(context)).to(device)
        predicted = self.module.predict_cells(
            cells[None],
            z[None],
            ConditionInput(*(part.to(device) for part in condition)),
            torch.from_numpy(effect).to(z),
            mean[None],
        )
        return predicted[0].cpu().numpy()

    # --- what is known -----------------------------------------------------------------------

    @property
    def _schema(self) -> ScreenSchema:
        return self._blueprint.schema

    @property
    def _genes(self) -> Sequence[str]:
        return self._blueprint.genes

    @property
    def _contexts(self) -> Sequence[str]:
        return self._blueprint.contexts

    @property
    def _is_log1p(self) -> bool:
        return bool(self.registry_["setup_args"]["is_log1p"])

    @property
    def _n_training_steps(self) -> int:
        return self._n_steps

    @property
    def _fitted(self) -> Anchor:
        if self._anchor is None:
            raise RuntimeError("The model has not been trained. Run model.train() first.")
        return self._anchor

    def _check_trained(self) -> None:
        _ = self._fitted

    def _get_seed(self, seed: int | None) -> int:
        return self._seed if seed is None else seed

    def _get_adata(self, adata: AnnData | None) -> AnnData:
        adata = self.adata if adata is None else adata
        if adata is None:
            raise ValueError(
                "The model was loaded without data. Give some: predict(adata), name "
                "perturbations: predict(perturbations=[...]), or load it with the screen to "
                f"train on: {type(self).__name__}.load(path, adata)."
            )
        return adata

    def _get_control_pool(self) -> tuple[AnnData, ScreenSchema]:
        schema = self._schema.to_dict() | {"layer": None, "gene_key": None}
        return self._blueprint.controls, ScreenSchema.from_dict(schema)

    def _get_control_mean(self, context: int) -> np.ndarray:
        means = self._fitted.effects.control_mean
        is_known = 0 <= context < len(means)
        return means[context] if is_known else means.mean(axis=0)

    def _resolve(self, targets: Targets) -> Targets:
        aliases, seen = self._blueprint.embeddings.aliases, self._blueprint.targets
        if aliases is None:
            return targets
        return tuple(sorted({aliases.resolve(t, set(seen)) or t for t in targets}))

    def _resolve_gene(self, gene: str, known: set[str]) -> str | None:
        aliases = self._blueprint.embeddings.aliases
        return None if aliases is None else aliases.resolve(gene, known)

    def _check_known(self, targets: Targets) -> None:
        embeddings = self._blueprint.embeddings
        if self._missing_embedding == "mean":
            return
        seen = self._seen_targets
        unknown = [t for t in self._resolve(targets) if t not in seen and t not in embeddings]
        if unknown:
            raise ValueError(
                f"Nothing is known of the target(s) {unknown}: not seen in training, and without "
                f"a vector in {embeddings.describe()}. Give a table that has them, "
                "SCBIG(adata, perturbation_embedding=...), or predict the mean effect of a "
                "target with SCBIG(adata, missing_embedding='mean')."
            )

    @property
    def _seen_targets(self) -> set[str]:
        return {target for group in self._fitted.effects.targets for target in group}

    def _get_confidence(self, targets: Sequence[Targets], context: np.ndarray) -> np.ndarray:
        return self._fitted.get_confidence(targets, context)
