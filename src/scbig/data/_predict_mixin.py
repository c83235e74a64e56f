"""`predict` and its pure half, alike for all models and baselines of scbig."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from scbig import __version__
from scbig.data._check_expression import check_expression
from scbig.data._genes import get_gene_names, match_genes
from scbig.data._predict import Prediction, predict_query
from scbig.data._query import Query, annotate_query, make_query
from scbig.data._schema import ScreenSchema, infer_schema
from scbig.data._screen import Targets
from scbig.data._write import write_prediction

Perturbations = Sequence[str | Sequence[str]]


class PredictMixin(ABC):
    """Builds queries, runs the model over them and writes what it predicts.

    A model sets `default_key` and implements what is abstract here.
    """

    default_key: str

    def predict(
        self,
        adata: AnnData | None = None,
        *,
        perturbations: Perturbations | None = None,
        key_added: str | None = None,
        n_cells: int | None = None,
        n_samples: int = 1,
        seed: int | None = None,
    ) -> AnnData:
        """Predict perturbed expression and write it into a layer.

        With ``perturbations``, a new AnnData is made: control cells crossed with the wanted
        perturbations, in every context, and the control cells themselves; its ``X`` is the
        expression of the control cells. Without, ``adata`` is annotated: each perturbed row is
        predicted for its own label from a control cell of its context, never from itself, and
        control rows are their own expression. If ``adata.raw`` is set, call scanpy's tools with
        ``use_raw=False``.

        Parameters
        ----------
        adata
            Data with control cells. By default the control cells that came with the training
            data (with ``perturbations``) or the training data (without).
        perturbations
            Labels as the screen writes them, such as ``["A", "A+B"]``, or sequences of targets.
        key_added
            Name of the layer; by default the name of the model in small letters.
        n_cells
            Cells for each perturbation and context; by default all controls, at most 500.
        n_samples
            Number of predictions for each cell, of which the mean is written, and the standard
            deviation into ``layers[key_added + "_std"]`` if there is more than one.
        seed
            Seed of the control cells drawn and of the samples; by default the model's.

        Returns
        -------
        The object that was written into: ``layers[key_added]`` (non-negative log1p expression),
        ``obs[key_added + "_confidence"]`` (see :meth:`get_confidence`; not for baselines, which
        have none) and ``uns[key_added]`` (how it was made).

        Raises
        ------
        RuntimeError
            When the model has not been trained.
        ValueError
            When the data do not fit, or nothing is known of a target.
        """
        seed = self._get_seed(seed)
        key = self.default_key if key_added is None else key_added
        if perturbations is None and key == self._schema.layer:
            raise ValueError(
                f"layers[{key!r}] holds the measured expression and would be overwritten. "
                f"Choose another name: key_added={self.default_key!r}"
            )
        query, prediction = self._predict(adata, perturbations, n_cells, n_samples, seed)
        return write_prediction(
            query.out,
            key,
            prediction,
            confidence=self._get_row_confidence(query),
            description=self._describe(seed, n_samples),
        )

    def get_predicted_expression(
        self,
        adata: AnnData | None = None,
        *,
        perturbations: Perturbations | None = None,
        n_cells: int | None = None,
        n_samples: int = 1,
        seed: int | None = None,
    ) -> np.ndarray:
        """Predict as :meth:`predict` does, and write nothing.

        Parameters
        ----------
        adata, perturbations, n_cells, n_samples, seed
            See :meth:`predict`.

        Returns
        -------
        Predicted log1p expression, shape ``(n_rows, n_vars)``, in the order of the rows that
        :meth:`predict` returns.
        """
        seed = self._get_seed(seed)
        return self._predict(adata, perturbations, n_cells, n_samples, seed)[1].mean

    def get_confidence(self, perturbations: Perturbations) -> pd.Series:
        """Forecast how well each condition is predicted.

        The correlation of predicted and real effect (:func:`scbig.metrics.pearson_delta`) that
        is to be expected, calibrated on training conditions that were left out. It ranks
        predictions and says nothing of the size of their errors; in a screen unlike the
        training screen it is not calibrated.

        Parameters
        ----------
        perturbations
            Labels, or sequences of targets.

        Returns
        -------
        Expected correlation in [0, 1] by label; the mean over contexts.

        Raises
        ------
        NotImplementedError
            When the predictor cannot tell, as the baselines cannot.
        """
        self._check_trained()
        schema = self._schema
        wanted = [perturbations] if isinstance(perturbations, str) else perturbations
        labels = [p if isinstance(p, str) else schema.join(list(p)) for p in wanted]
        targets = [self._resolve(schema.parse(label)) for label in labels]
        contexts = range(len(self._contexts))
        values = [
            confidence
            for context in contexts
            if (confidence := self._get_confidence(targets, np.full(len(targets), context)))
            is not None
        ]
        if not values:
            raise NotImplementedError(
                f"{type(self).__name__} cannot tell how far its predictions are to be trusted."
            )
        return pd.Series(np.mean(values, axis=0), index=labels, name="confidence")

    def _predict(
        self,
        adata: AnnData | None,
        perturbations: Perturbations | None,
        n_cells: int | None,
        n_samples: int,
        seed: int,
    ) -> tuple[Query, Prediction]:
        self._check_trained()
        rng = np.random.default_rng(seed)
        query = self._make_query(adata, perturbations, n_cells, rng)
        names = get_gene_names(query.out, self._schema.gene_key)
        match = match_genes(names, self._genes, resolve=self._resolve_gene)
        for targets in query.screen.conditions:
            self._check_known(targets)
        prediction = predict_query(
            query,
            match,
            partial(self._predict_cells, is_sampled=n_samples > 1),
            control_mean=self._get_control_mean(-1),
            n_samples=n_samples,
            rng=rng,
        )
        return query, prediction

    def _make_query(
        self,
        adata: AnnData | None,
        perturbations: Perturbations | None,
        n_cells: int | None,
        rng: np.random.Generator,
    ) -> Query:
        if perturbations is None:
            cells = self._get_adata(adata)
            schema = self._check_adata(cells)
            return annotate_query(cells, schema, contexts=self._contexts, rng=rng)
        cells, schema = self._get_control_pool() if adata is None else (adata, self._schema)
        if adata is not None:
            schema = self._check_adata(adata)
        return make_query(
            cells, schema, perturbations, contexts=self._contexts, n_cells=n_cells, rng=rng
        )

    def _check_adata(self, adata: AnnData) -> ScreenSchema:
        """Check that data can be read as the training data were."""
        schema = self._schema
        gene_key = schema.gene_key if schema.gene_key in adata.var else None
        schema = infer_schema(
            adata,
            layer=schema.layer,
            perturbation_key=schema.perturbation_key,
            control=schema.control,
            context_keys=schema.context_keys,
            separator=schema.separator or "",
            gene_key=gene_key,
        )
        check_expression(adata, schema.layer, is_log1p=self._is_log1p)
        return schema

    def _get_row_confidence(self, query: Query) -> np.ndarray | None:
        """Confidence of each row; controls are certain, as they are not predicted."""
        confidence = np.ones(query.out.n_obs, dtype=np.float32)
        groups = list(query.screen.get_groups())
        targets = [self._resolve(targets) for targets, *_ in groups]
        context = np.array([context for _, context, _ in groups], dtype=np.int64)
        values = self._get_confidence(targets, context)
        if values is None:
            return None
        for value, (*_, rows) in zip(values, groups, strict=True):
            confidence[rows] = value
        return confidence

    def _describe(self, seed: int, n_samples: int) -> dict[str, Any]:
        schema = {k: v for k, v in self._schema.to_dict().items() if v is not None and v != []}
        return {
            "class": type(self).__name__,
            "version": __version__,
            "schema": schema,
            "seed": seed,
            "n_samples": n_samples,
            "steps": self._n_training_steps,
        }

    # --- what a model provides -------------------------------------------------------------

    @property
    @abstractmethod
    def _schema(self) -> ScreenSchema:
        """Where screens keep their labels."""

    @property
    @abstractmethod
    def _genes(self) -> Sequence[str]:
        """Gene names, in the order of the model."""

    @property
    @abstractmethod
    def _contexts(self) -> Sequence[str]:
        """Names of the contexts seen in training."""

    @property
    @abstractmethod
    def _is_log1p(self) -> bool:
        """Whether integer values are taken for log1p values."""

    @property
    @abstractmethod
    def _n_training_steps(self) -> int:
        """Number of training steps taken; 0 for closed forms."""

    @abstractmethod
    def _check_trained(self) -> None:
        """Raise when the model has not been trained."""

    @abstractmethod
    def _get_seed(self, seed: int | None) -> int:
        """Return the given seed or the model's."""

    @abstractmethod
    def _get_adata(self, adata: AnnData | None) -> AnnData:
        """Return the given data or the training data."""

    @abstractmethod
    def _get_control_pool(self) -> tuple[AnnData, ScreenSchema]:
        """Return the control cells that travel with the model."""

    @abstractmethod
    def _get_control_mean(self, context: int) -> np.ndarray:
        """Return the mean control expression of a context; the overall mean if it is unknown."""

    @abstractmethod
    def _resolve(self, targets: Targets) -> Targets:
        """Return the targets under the names that the model knows."""

    @abstractmethod
    def _resolve_gene(self, gene: str, known: set[str]) -> str | None:
        """Return the known name of a gene."""

    @abstractmethod
    def _check_known(self, targets: Targets) -> None:
        """Raise when nothing is known of a target."""

    @abstractmethod
    def _get_confidence(
        self, targets: Sequence[Targets], context: np.ndarray
    ) -> np.ndarray | None:
        """Return the confidence in each condition and context; ``None`` if there is no telling."""

    @abstractmethod
    def _predict_cells(
        self,
        x: np.ndarray,
        targets: Targets,
        context: int,
        rng: np.random.Generator,
        *,
        is_sampled: bool,
    ) -> np.ndarray:
        """Predict perturbed cells from control cells ``(n, n_genes)``."""
