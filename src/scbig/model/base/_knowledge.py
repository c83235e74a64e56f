"""What a trained network model tells `PredictMixin` of itself."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from anndata import AnnData

from scbig.data import Effects, PredictMixin, ScreenSchema, Targets
from scbig.model.base._targets import TargetEmbeddings


class Known(Protocol):
    """What a model knows before it is trained."""

    @property
    def schema(self) -> ScreenSchema:
        """Where screens keep their labels."""

    @property
    def genes(self) -> tuple[str, ...]:
        """Gene names, in the order of the screen."""

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the targets seen."""

    @property
    def contexts(self) -> tuple[str, ...]:
        """Names of the contexts seen."""

    @property
    def embeddings(self) -> TargetEmbeddings:
        """Embeddings of perturbation targets."""

    @property
    def controls(self) -> AnnData:
        """Control cells that travel with the model."""


class KnowledgeMixin(PredictMixin):
    """Answers what can be answered from the blueprint and the effects a model was fitted on."""

    adata: AnnData | None
    registry_: dict[str, Any]
    _missing_embedding: str
    _seed: int
    _n_steps: int

    @property
    @abstractmethod
    def _known(self) -> Known:
        """What the model knew before it was trained."""

    @property
    @abstractmethod
    def _effects(self) -> Effects:
        """Effects that it was fitted on; raises where there are none."""

    @property
    def _schema(self) -> ScreenSchema:
        return self._known.schema

    @property
    def _genes(self) -> Sequence[str]:
        return self._known.genes

    @property
    def _contexts(self) -> Sequence[str]:
        return self._known.contexts

    @property
    def _is_log1p(self) -> bool:
        return bool(self.registry_["setup_args"]["is_log1p"])

    @property
    def _n_training_steps(self) -> int:
        return self._n_steps

    @property
    def _seen_targets(self) -> set[str]:
        return {target for group in self._effects.targets for target in group}

    def _check_trained(self) -> None:
        _ = self._effects

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
        return self._known.controls, ScreenSchema.from_dict(schema)

    def _get_control_mean(self, context: int) -> np.ndarray:
        means = self._effects.control_mean
        is_known = 0 <= context < len(means)
        return means[context] if is_known else means.mean(axis=0)

    def _resolve(self, targets: Targets) -> Targets:
        aliases, seen = self._known.embeddings.aliases, self._known.targets
        if aliases is None:
            return targets
        return tuple(sorted({aliases.resolve(t, set(seen)) or t for t in targets}))

    def _resolve_gene(self, gene: str, known: set[str]) -> str | None:
        aliases = self._known.embeddings.aliases
        return None if aliases is None else aliases.resolve(gene, known)

    def _check_known(self, targets: Targets) -> None:
        embeddings = self._known.embeddings
        if self._missing_embedding == "mean":
            return
        seen = self._seen_targets
        unknown = [t for t in self._resolve(targets) if t not in seen and t not in embeddings]
        if unknown:
            name = type(self).__name__
            raise ValueError(
                f"Nothing is known of the target(s) {unknown}: not seen in training, and without "
                f"a vector in {embeddings.describe()}. Give a table that has them, "
                f"{name}(adata, perturbation_embedding=...), or predict the mean effect of a "
                f"target with {name}(adata, missing_embedding='mean')."
            )
