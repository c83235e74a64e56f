"""The verbs of all models and baselines that work on cells: train, and predict."""

from collections.abc import Collection, Sequence
from contextlib import ExitStack
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from anndata import AnnData
from scvi import settings
from scvi.model.base import BaseModelClass

from scbig import __version__
from scbig._annotations import checked
from scbig._arguments import check_seed
from scbig._console import hush_libraries, show_training
from scbig._constants import REGISTRY
from scbig._scvi_arguments import takes_scvi_arguments
from scbig.data import (
    Lending,
    Perturbations,
    Prediction,
    ScreenCells,
    ScreenSchema,
    Targets,
    check_key,
    take_labels,
    write_prediction,
)
from scbig.nn import seeded
from scbig.predictor._conditions import ConditionTables
from scbig.predictor._judge import CellMover
from scbig.predictor._method import Method
from scbig.predictor._request import (
    Asked,
    Request,
    answer_request,
    make_drawer,
    read_request,
    spread_confidence,
)
from scbig.predictor._stage import Hardware, StageRunner, join_histories
from scbig.predictor._training import Recipe, TrainingRequest, read_validation
from scbig.predictor._vocabulary import Vocabulary, read_vocabulary
from scbig.splits import choose_validation


class BasePredictor(ConditionTables):
    """Predicts perturbed cells by a :class:`~scbig.predictor.Method`.

    A subclass sets ``default_key``, calls `read_screen` and `start` in its constructor, and
    rebuilds its method in `load_method`.

    Parameters
    ----------
    adata
        Screen registered with :meth:`setup_anndata`.
    missing_embedding
        What to do when asked for a target that was not seen in training and has no embedding:
        raise an ``"error"``, or predict the ``"mean"`` effect of a target.
    seed
        Seed of everything random; by default ``scvi.settings.seed``, or else 0.
    """

    #: Name of the layer that is written.
    default_key: ClassVar[str]
    #: Whether training ends by a comparison with the floors.
    compares_with_floors: ClassVar[bool] = True

    @checked
    def __init__(
        self,
        adata: AnnData,
        *,
        missing_embedding: Literal["error", "mean"] = "error",
        seed: int | None = None,
    ) -> None:
        super().__init__(self._check_registered(adata))
        self._missing_embedding = missing_embedding
        # The seed of scvi-tools counts where the user set one.
        self._seed = check_seed((settings.seed or 0) if seed is None else seed)

    def read_screen(self) -> tuple[Vocabulary, ScreenCells]:
        """Read the registered screen, for the constructor of a subclass."""
        self._check_unchanged()
        registry = self.adata_manager.get_state_registry(REGISTRY.PERTURBATION)
        schema = ScreenSchema.from_dict(dict(registry["schema"]))
        rng = np.random.default_rng(self._seed)
        given = {key: self._get_setup(key) for key in ("is_log1p", "counts_layer", "target_sum")}
        return read_vocabulary(self.adata, schema, rng, **given)

    def start(self, vocabulary: Vocabulary, method: Method, init_params: dict[str, Any]) -> None:
        """Begin untrained, given ``locals()`` of the constructor for scvi-tools to know.

        Parameters
        ----------
        vocabulary
            What is known of the screen.
        method
            What the model brings of its own.
        init_params
            ``locals()`` of the constructor.
        """
        self._set_state(vocabulary, method, None, None, not method.is_anchored)
        self._n_steps = 0
        self.comparison_ = None
        self.init_params_ = BaseModelClass._get_init_params(self, init_params)

    # --- training ----------------------------------------------------------------------------

    @takes_scvi_arguments
    @checked
    def train(
        self,
        *,
        validation: Perturbations | None = None,
        use_refit: bool = True,
        use_progress_bar: bool = True,
    ) -> None:
        """Train, or continue to train on a further screen.

        Parameters
        ----------
        validation
            Conditions to choose settings on; by default a tenth of the conditions, or none of
            fewer than ten. An empty list holds none out.
        use_refit
            Learn from the held-out conditions too, once all choices are made.
        use_progress_bar
            Show which stage runs; otherwise nothing is shown.

        Raises
        ------
        ValueError
            When there are no data, a condition to hold out has no cells, or none is left.
        """
        hardware = Hardware(use_progress_bar=use_progress_bar)
        self._train(validation, use_refit=use_refit, hardware=hardware)

    def _train(
        self,
        validation: Perturbations | None,
        *,
        use_refit: bool,
        first_budget: int | None = None,
        max_steps: int | None = None,
        hardware: Hardware | None = None,
    ) -> None:
        """Run the recipe; see :class:`~scbig.predictor.TrainingRequest` for the budgets."""
        hardware = hardware or Hardware()
        with show_training(type(self).__name__, hardware.use_progress_bar) as bar:
            budgets = use_refit, first_budget, max_steps
            self._run_recipe(validation, budgets, StageRunner(self, hardware, bar))

    def _run_recipe(
        self,
        validation: Perturbations | None,
        budgets: tuple[bool, int | None, int | None],
        runner: StageRunner,
    ) -> None:
        adata = self._get_adata(None)
        self._check_unchanged()
        cells = self._vocabulary.read_screen(adata, self._get_setup("responder_key"))
        self._check_trainable(cells.screen.targets)
        if validation is None:
            conditions = [targets for targets in cells.screen.conditions if targets]
            held_out = frozenset(self._choose_validation(conditions))
        else:
            held_out = read_validation(self._vocabulary, cells, validation)
        history = self.history_ or {}  # scvi-tools overwrites it
        request = TrainingRequest(held_out, *budgets, self._seed)
        method, name, known = self._method, type(self).__name__, self._effects
        with ExitStack() as undo, seeded(self._seed):
            # Whatever goes wrong, what was there before is there as it was.
            undo.callback(self._roll_back, method.copy(), history)
            rng = np.random.default_rng(self._seed)
            vocabulary = self._vocabulary.extend(cells, adata.obs, rng)
            method.extend(vocabulary)
            recipe = Recipe(name, method, cells, vocabulary, known, request=request, runner=runner)
            outcome = recipe.run(
                uses_networks=self._uses_networks,
                uses_shape=self._uses_shape,
                compares=self.compares_with_floors,
            )
            undo.pop_all()
        made_of = outcome.cells if self._cells is None else self._cells.extend(outcome.cells)
        used = outcome.uses_networks, outcome.uses_shape
        self._set_state(vocabulary, method, outcome.effects, made_of, *used)
        self.history_ = join_histories(history, runner.history) if runner.history else history
        self._n_steps += runner.n_steps
        self.comparison_ = outcome.comparison
        if self.module is not None:
            self.module.eval()

    def _roll_back(self, method: Method, history: dict[str, pd.DataFrame]) -> None:
        """Return to what was trained before."""
        self._method, self.module, self.history_ = method, method.module, history
        self.is_trained_ = self._effects is not None

    def _choose_validation(self, conditions: Sequence[Targets]) -> Sequence[Targets]:
        """Choose conditions to hold out where none are named."""
        return choose_validation(conditions, np.random.default_rng(self._seed))

    def _check_trainable(self, targets: Collection[str]) -> None:
        """Raise when a target cannot be trained on; by default all can."""

    # --- prediction --------------------------------------------------------------------------

    @hush_libraries()
    @checked
    def predict(
        self,
        adata: AnnData | Perturbations | None = None,
        *,
        perturbations: Perturbations | None = None,
        key_added: str | None = None,
        n_cells: int | None = None,
        contexts: Perturbations | None = None,
        sampling: bool = True,
        n_draws: int | None = None,
        seed: int | None = None,
        borrow_controls: Lending | None = None,
        overwrite: bool = False,
    ) -> AnnData:
        """Predict perturbed cells and write them into a layer.

        With ``perturbations``, a new AnnData is made: cells of the wanted perturbations, in every
        context, and control cells; its ``X`` is the prediction, too. Without, ``adata`` is
        annotated, and its ``X`` left alone: each perturbed row is predicted for its own label
        from a control cell of its context, never from itself, and control rows are their own
        expression. If ``adata.raw`` is set, call scanpy's tools with ``use_raw=False``.

        Cells are made of control cells by count transport: their mean is that of the controls
        and the expected effect, and their counts vary as those of cells do. Where counts cannot
        be told, as after denoising, ``uns[key_added]["cells"]`` is ``"values"``.

        Parameters
        ----------
        adata
            Data with control cells. By default the control cells that came with the training
            data (with ``perturbations``) or the training data (without). A list of labels in
            this place is taken for ``perturbations``.
        perturbations
            Labels as the screen writes them, such as ``["A", "A+B"]``, or sequences of targets.
        key_added
            Name of the layer; by default the name of the model in small letters.
        n_cells
            Cells for each perturbation and context; by default all controls, at most 500.
        contexts
            Contexts to predict perturbations in, such as ``["K562"]``, or values of each of
            several ``context_keys``, ``[("K562", "day 2")]``; by default all.
        sampling
            Make cells; otherwise the expected expression is written, which varies as no cell
            does: it serves means, and no test of differential expression.
        n_draws
            Replicates of each condition, ``n_cells`` each, whose mean effects are drawn as they
            may be, given their errors; ``obs["draw"]`` numbers them, -1 for control cells. By
            default there is one, with the expected effect. Take at least 100 cells a draw.
        seed
            Seed of all that is drawn; by default the model's.
        borrow_controls
            Whose control cells to take in contexts that have none: ``"nearest"``, ``"pooled"``
            for those of all others, or names, ``{"day 7": "day 0"}``. By default those of
            :meth:`setup_anndata`; without any, such a context is an error.
        overwrite
            Write ``key_added`` in any case, over what is not of scbig, too.

        Returns
        -------
        The object that was written into: ``layers[key_added]`` (log1p expression, CSR),
        ``layers[key_added + "_counts"]`` (integers that it is normalised from, CSR),
        ``obs[key_added + "_source"]`` (name of the control cell), ``obs[key_added +
        "_confidence"]`` (see :meth:`get_confidence`; baselines have none), ``obs[key_added +
        "_responds"]`` (where only some cells do) and ``uns[key_added]`` (how it was made).

        Raises
        ------
        RuntimeError
            When the model has not been trained.
        ValueError
            When an argument or the data do not fit, ``key_added`` is in use, nothing is known of
            a target, or nothing of the errors of effects that are to be drawn.
        """
        adata, perturbations = take_labels(adata, perturbations)
        into = self._get_adata(adata) if perturbations is None else None
        schema = self._vocabulary.schema
        key = check_key(key_added, into, schema, self.default_key, overwrite=overwrite)
        asked = perturbations, n_cells, contexts, seed, n_draws, borrow_controls
        request, prediction = self._predict(adata, asked, sampling)
        confidence = self._method.get_confidence(request.targets, request.context)
        return write_prediction(
            request.query,
            key,
            prediction,
            confidence=spread_confidence(request, confidence),
            description={
                "class": type(self).__name__,
                "version": __version__,
                "schema": {k: v for k, v in self._vocabulary.schema.to_dict().items() if v},
                "seed": request.seed,
                "steps": self._n_steps,
                **({} if n_draws is None else {"n_draws": n_draws}),
            },
        )

    @hush_libraries()
    @checked
    def get_predicted_expression(
        self,
        adata: AnnData | Perturbations | None = None,
        *,
        perturbations: Perturbations | None = None,
        n_cells: int | None = None,
        contexts: Perturbations | None = None,
        sampling: bool = True,
        seed: int | None = None,
        borrow_controls: Lending | None = None,
    ) -> np.ndarray:
        """Predict as :meth:`predict` does, and write nothing.

        Parameters
        ----------
        adata, perturbations, n_cells, contexts, sampling, seed, borrow_controls
            See :meth:`predict`.

        Returns
        -------
        Predicted log1p expression, shape ``(n_rows, n_vars)``, in the order of the rows that
        :meth:`predict` returns.
        """
        adata, perturbations = take_labels(adata, perturbations)
        asked = perturbations, n_cells, contexts, seed, None, borrow_controls
        values = self._predict(adata, asked, sampling)[1].expression
        return values if isinstance(values, np.ndarray) else values.toarray()

    def _predict(
        self, adata: AnnData | None, asked: Asked, sampling: bool
    ) -> tuple[Request, Prediction]:
        effects = self._check_trained()
        if adata is None and asked[0] is not None:
            adata = self._vocabulary.controls
        adata = self._get_adata(adata)
        request = read_request(self._vocabulary, self._cells, adata, asked, self._seed)
        self._check_known({target for group in request.targets for target in group})
        control_mean = effects.get_control(request.context)
        method, groups = self._method, (request.targets, request.context)
        change: np.ndarray | CellMover = (
            method.make_mover(*groups, control_mean)
            if self._uses_networks
            else method.predict_effects(*groups)
        )
        cells = self._cells if sampling and method.makes_cells else None
        deviate = None
        if asked[4] is not None:
            deviate = make_drawer(request, method, asked[4], type(self).__name__, cells)
        shaper = method.make_shaper(*groups) if self._uses_shape else None
        return request, answer_request(
            request, self._vocabulary, change, effects, cells, deviate, shaper
        )
