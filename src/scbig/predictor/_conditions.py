"""What is told of conditions without a cell: effects, confidence, and how many cells respond."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from anndata import AnnData

from scbig import __version__
from scbig._annotations import checked
from scbig._console import hush_libraries
from scbig.data import (
    ERRORS,
    Expression,
    Forecast,
    Perturbations,
    Targets,
    choose_averaged,
    list_responders,
    list_targets,
    make_effect_table,
    make_screen,
    read_table_rows,
)
from scbig.predictor._folder import StoredModel
from scbig.predictor._judge import average_change


class ConditionTables(StoredModel):
    """Tells of conditions what is known of them."""

    @hush_libraries()
    @checked
    def predict_effects(
        self, perturbations: Perturbations, *, contexts: Perturbations | None = None
    ) -> AnnData:
        """Predict the effects of conditions, and how sure they are, as a table.

        Thousands of conditions take seconds, as no cell is made; only networks, where they are
        kept, have to carry control cells.

        Parameters
        ----------
        perturbations
            Labels as the screen writes them, such as ``["A", "A+B"]``, or sequences of targets.
            Labels of controls, whose effect is 0 by definition, are left out.
        contexts
            Contexts to predict in, as for :meth:`predict`; by default all.

        Returns
        -------
        Conditions by genes, dense float32 in log1p units, a row for each condition and context.
        ``X`` is the expected effect: the difference of the mean to control cells. ``layers`` have
        the mean of control cells, ``"control"``, and with the effect, ``"expected"``, of at least
        0. Where errors of effects are known there are ``"standard_error"``, of the true effect
        about the expected one, and ``"probability_up"`` and ``"probability_down"``, that a test
        calls the gene higher or lower (:class:`scbig.regression.EffectForecast`); they are those
        of the regression, also where networks change what it expects. ``obs`` has the label and
        the contexts, ``n_targets``, ``known`` (``"measured"`` in training, in this context; else
        a ``"combination"`` of targets that all were seen; or ``"unseen"``), ``confidence`` (see
        :meth:`get_confidence`) and ``responder_share``, the share of cells that are made to
        respond (see :meth:`get_responders`), as far as the predictor tells them.
        ``uns["scbig_effects"]`` says how it was made.

        Raises
        ------
        RuntimeError
            When the predictor has not been trained.
        ValueError
            When nothing is asked for or known of a target, or a context has no control cells.
        """
        effects, known = self._check_trained(), self._vocabulary
        place = known.controls, known.schema, known.contexts
        rows = read_table_rows(self._read_wanted(perturbations), contexts, *place)
        description = {
            "class": type(self).__name__,
            "version": __version__,
            "schema": {k: v for k, v in known.schema.to_dict().items() if v},
            "steps": self._n_steps,
            "uses_networks": self._uses_networks,
        }
        cells = self._cells if self._method.makes_cells else None
        return make_effect_table(rows, self._forecast, effects, cells, known.controls, description)

    def _forecast(self, targets: Sequence[Targets], context: np.ndarray) -> Forecast:
        """Tell what is expected of conditions, ``n`` of them."""
        method, errors = self._method, self._method.get_errors(targets, context)
        layers = {} if errors is None else {name: getattr(errors, name) for name in ERRORS}
        if self._uses_networks:
            control_mean = self._check_trained().get_control(context)
            mover = method.make_mover(targets, context, control_mean)
            effect = average_change(mover, context, control_mean.shape[1], self._take_controls)
        else:
            effect = method.predict_effects(targets, context) if errors is None else errors.mean
        return Forecast(effect, layers, method.get_confidence(targets, context))

    def _take_controls(self, context: int) -> np.ndarray:
        """Take the control cells of a context that networks move, shape ``(N, G)``."""
        controls, known = self._vocabulary.controls, self._vocabulary
        rows = make_screen(controls.obs, known.schema, known.contexts).get_controls(context)
        return Expression(controls.X).rows(rows[choose_averaged(len(rows))])

    @checked
    def get_confidence(self, perturbations: Perturbations) -> pd.Series:
        """Forecast how well each condition is predicted.

        The correlation of predicted and real effect (:func:`scbig.metrics.pearson_delta`) that
        is to be expected, calibrated on conditions that were left out. It ranks predictions and
        says nothing of the size of their errors; in a screen unlike the training screen it is
        not calibrated.

        Parameters
        ----------
        perturbations
            Labels, or sequences of targets.

        Returns
        -------
        Expected correlation in [0, 1] by label; the mean over contexts. NaN where there was
        nothing to calibrate on, which training says in the log.

        Raises
        ------
        NotImplementedError
            When the predictor cannot tell, as the baselines cannot.
        """
        self._check_trained()
        wanted = self._read_wanted(perturbations)
        targets, n_contexts = list(wanted.values()), len(self._vocabulary.contexts)
        values = self._method.get_confidence(
            targets * n_contexts, np.repeat(np.arange(n_contexts), len(targets))
        )
        if values is None:
            raise NotImplementedError(
                f"{type(self).__name__} cannot tell how far its predictions are to be trusted."
            )
        mean = values.reshape(n_contexts, len(targets)).mean(axis=0)
        return pd.Series(mean, index=list(wanted), name="confidence")

    @checked
    def get_responders(self, perturbations: Perturbations | None = None) -> pd.DataFrame:
        """Tell which share of the cells of each condition responds.

        Some cells escape a perturbation. Their share is estimated from the training cells, along
        the axis of the effect, as Mixscape does (Papalexi et al. 2021,
        doi:10.1038/s41588-021-00778-2), and shrunk to that of the screen; or it is that of
        ``setup_anndata(responder_key=...)``. Cells are made with it where this was seen to bring
        them nearer to cells that had no part in the estimate.

        Parameters
        ----------
        perturbations
            Labels, or sequences of targets; by default all conditions of training. In a new
            combination cells respond unless they escape each of its targets; a target that was
            not trained on has the mean share of those that could be told.

        Returns
        -------
        By label: ``share``, bounds ``lower`` and ``upper`` of its 90% interval, ``is_used``
        (otherwise all cells that are made respond), and ``n_cells`` that tell it, 0 where they
        cannot. One row for each context, named in ``context``, where there are several.

        Raises
        ------
        NotImplementedError
            When the predictor makes no cells.
        RuntimeError, ValueError
            When it has not been trained, there are no counts, or nothing is known of a target.
        """
        self._check_trained()
        if not self._method.makes_cells:
            raise NotImplementedError(
                f"{type(self).__name__} makes no cells, so that none of them responds."
            )
        known = self._vocabulary
        wanted = None if perturbations is None else self._read_wanted(perturbations)
        return list_responders(self._cells, known.schema, known.contexts, wanted)

    def get_targets(self) -> pd.DataFrame:
        """List what can be asked for, and how each target is known.

        Returns
        -------
        A row for each target, first those that are known best: ``known`` (``"alone"``, perturbed
        by itself in training; ``"combination"``, perturbed with others only; ``"embedding"``,
        never perturbed, but with a vector), ``n_conditions`` of training that it is part of,
        ``is_gene``, whether it is measured, and ``embedding``, the source of its vector. Aliases
        that the model was given are taken, too, and with ``missing_embedding="mean"`` any name.

        Raises
        ------
        RuntimeError
            When the predictor has not been trained.
        """
        known = self._vocabulary
        return list_targets(self._check_trained().targets, known.genes, known.embeddings)

    def _read_wanted(self, perturbations: Perturbations) -> dict[str, Targets]:
        """Read the conditions that are asked about, by label, or raise where nothing is known."""
        labels = self._vocabulary.schema.read_labels(perturbations)
        wanted = {label: self._vocabulary.resolve(group) for label, group in labels.items()}
        self._check_known({target for group in wanted.values() for target in group})
        return wanted
