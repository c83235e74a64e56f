"""What a trained network model tells `PredictMixin` of itself."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from anndata import AnnData

from scbig.data import Effects, ScreenSchema, Targets
from scbig.model.base._known import KnownScreenMixin
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


class KnowledgeMixin(KnownScreenMixin):
    """Answers what can be answered from the blueprint and the effects a model was fitted on."""

    _missing_embedding: str

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
    def _controls(self) -> AnnData:
        return self._known.controls

    @property
    def _control_means(self) -> np.ndarray:
        return self._effects.control_mean

    @property
    def _seen_targets(self) -> set[str]:
        return {target for group in self._effects.targets for target in group}

    def _check_trained(self) -> None:
        _ = self._effects

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
