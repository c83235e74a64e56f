"""What a trained model knows of its screen, as `predict` asks for it."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from anndata import AnnData

from scbig.data import (
    Expression,
    PredictMixin,
    Screen,
    ScreenSchema,
    Targets,
    get_gene_names,
    get_matrix,
    match_genes,
)
from scbig.splits import choose_validation

# Labels that a message lists.
N_SHOWN = 5


class KnownScreenMixin(PredictMixin):
    """Answers of :class:`~scbig.data.PredictMixin` that do not depend on the model.

    A model says which control cells travel with it, and their means.
    """

    adata: AnnData | None
    registry_: dict[str, Any]
    _seed: int
    _n_steps: int

    @property
    @abstractmethod
    def _controls(self) -> AnnData:
        """Control cells that travel with the model, in its genes."""

    @property
    @abstractmethod
    def _control_means(self) -> np.ndarray:
        """Their mean in each context, shape ``(n_contexts, n_genes)``."""

    @property
    @abstractmethod
    def _expected_expression(self) -> np.ndarray:
        """What is assumed of genes that some data lack, shape ``(n_genes,)``."""

    @property
    def _is_log1p(self) -> bool:
        return bool(self.registry_["setup_args"]["is_log1p"])

    @property
    def _n_training_steps(self) -> int:
        return self._n_steps

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

    def _read(self, adata: AnnData, layer: str | None = None) -> Expression:
        """Return the model's genes of some data, in its order."""
        names = get_gene_names(adata, self._schema.gene_key)
        match = match_genes(names, self._genes, resolve=self._resolve_gene)
        layer = self._schema.layer if layer is None else layer
        if layer is not None and layer not in adata.layers:
            found = [name for name in adata.layers if name is not None]
            raise ValueError(f"There is no layer {layer!r}. Layers found: {found}.")
        matrix = get_matrix(adata, layer)
        if match.is_identity:
            return Expression(matrix)
        return Expression(matrix, match.columns, self._expected_expression)

    def _get_control_pool(self) -> tuple[AnnData, ScreenSchema]:
        schema = self._schema.to_dict() | {"layer": None, "gene_key": None}
        return self._controls, ScreenSchema.from_dict(schema)

    def _get_control_mean(self, context: int) -> np.ndarray:
        means = self._control_means
        is_known = 0 <= context < len(means)
        return means[context] if is_known else means.mean(axis=0)

    def _get_validation(
        self, screen: Screen, validation: Sequence[str | Sequence[str]] | None
    ) -> frozenset[Targets]:
        """Conditions to stop training on: those that are named, or else some of the screen."""
        known = [targets for targets in screen.conditions if targets]
        if validation is None:
            return frozenset(self._choose_validation(known))
        schema = self._schema
        validation = [validation] if isinstance(validation, str) else validation
        labels = [v if isinstance(v, str) else schema.join(list(v)) for v in validation]
        chosen = frozenset(schema.parse(label) for label in labels)
        if unknown := sorted(map(schema.join, chosen.difference(known))):
            raise ValueError(
                f"{len(unknown)} validation condition(s) have no perturbed cells: "
                f"{unknown[:N_SHOWN]}. Choose among "
                f"{[schema.join(targets) for targets in sorted(known)[:N_SHOWN]]} ..."
            )
        return chosen

    def _choose_validation(self, conditions: Sequence[Targets]) -> Sequence[Targets]:
        return choose_validation(conditions, np.random.default_rng(self._seed))
