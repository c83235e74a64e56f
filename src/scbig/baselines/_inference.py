"""What baselines tell `PredictMixin`: how to predict cells, and what they know."""

from collections.abc import Sequence

import numpy as np
import torch
from anndata import AnnData

from scbig.baselines._rule import Rule
from scbig.baselines._state import State
from scbig.data import Effects, PredictMixin, ScreenSchema, Targets
from scbig.nn import add_change


class InferenceMixin(PredictMixin):
    """Carries control cells along a predicted mean effect; gives no confidence."""

    _adata: AnnData | None
    _state: State
    _rule: Rule

    def _predict_effect(self, targets: Targets, context: int) -> np.ndarray:
        """Predict the mean effect of a condition, shape ``(n_genes,)``."""
        self._check_trained()
        return self._rule([self._resolve(targets)], np.array([context]))[0]

    def _predict_cells(
        self,
        x: np.ndarray,
        targets: Targets,
        context: int,
        rng: np.random.Generator,
        *,
        is_sampled: bool,
    ) -> np.ndarray:
        cells, effect, mean = (
            torch.from_numpy(np.asarray(values, dtype=np.float32))
            for values in (
                x,
                self._predict_effect(targets, context),
                self._get_control_mean(context),
            )
        )
        return add_change(cells, effect, mean).numpy()

    # --- what is known -----------------------------------------------------------------------

    @property
    def _effects(self) -> Effects:
        if self._state.effects is None:
            raise RuntimeError(
                f"{type(self).__name__} has not been trained. Call train() on it first."
            )
        return self._state.effects

    @property
    def _schema(self) -> ScreenSchema:
        return self._state.schema

    @property
    def _genes(self) -> Sequence[str]:
        return self._state.genes

    @property
    def _contexts(self) -> Sequence[str]:
        return self._state.contexts

    @property
    def _is_log1p(self) -> bool:
        return self._state.is_log1p

    @property
    def _n_training_steps(self) -> int:
        return 0

    def _check_trained(self) -> None:
        _ = self._effects

    def _get_seed(self, seed: int | None) -> int:
        return self._state.seed if seed is None else seed

    def _get_adata(self, adata: AnnData | None) -> AnnData:
        adata = self._adata if adata is None else adata
        if adata is None:
            raise ValueError(
                f"{type(self).__name__} was loaded without data. Give some: predict(adata), or "
                "name perturbations: predict(perturbations=[...])."
            )
        return adata

    def _get_control_pool(self) -> tuple[AnnData, ScreenSchema]:
        schema = self._schema.to_dict() | {"layer": None, "gene_key": None}
        return self._state.controls, ScreenSchema.from_dict(schema)

    def _get_control_mean(self, context: int) -> np.ndarray:
        means = self._effects.control_mean
        is_known = 0 <= context < len(means)
        return means[context] if is_known else means.mean(axis=0)

    def _resolve(self, targets: Targets) -> Targets:
        aliases = self._state.aliases
        if aliases is None:
            return targets
        seen = {target for group in self._effects.targets for target in group}
        return tuple(sorted({aliases.resolve(target, seen) or target for target in targets}))

    def _resolve_gene(self, gene: str, known: set[str]) -> str | None:
        aliases = self._state.aliases
        return None if aliases is None else aliases.resolve(gene, known)

    def _check_known(self, targets: Targets) -> None:
        """Accept any target: each baseline has a rule for those that it never saw."""

    def _get_confidence(self, targets: Sequence[Targets], context: np.ndarray) -> None:
        return None
