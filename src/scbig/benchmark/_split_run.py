"""One split: its cells, and each predictor trained on them, asked for the rest and scored."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from anndata import AnnData

from scbig._console import quieten
from scbig._protocols import Predictor
from scbig.benchmark._parts import Attempt, Meter, Part, PartResult
from scbig.benchmark._settings import BenchmarkSettings, PredictorSpec, Resources
from scbig.data import (
    ScreenSchema,
    Targets,
    get_context_names,
    get_gene_names,
    get_matrix,
    make_screen,
    put_sources,
    take_log_base,
)
from scbig.metrics import Evaluator
from scbig.splits import Split, get_roles

if TYPE_CHECKING:
    from scbig.benchmark._field_judge import FieldJudge

LAYER = "prediction"
Ask = Callable[[int | None], AnnData]  # predicts that many cells of each condition and context
COLUMNS = (
    "predictor", "split", "seed", "perturbation", "context", "metric", "value", "status",
    "seconds", "peak_memory_mb",
)  # fmt: skip
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SplitLabels:
    """Parts of a split by cell and by condition.

    Attributes
    ----------
    role
        ``"train"``, ``"val"``, ``"test"``, ``"control"`` or ``"unused"`` by cell.
    test
        Labels and context names of the tested groups of cells.
    kinds
        Kind of question that each tested condition asks.
    val
        Labels of the validation conditions.
    """

    role: np.ndarray
    test: pd.DataFrame
    kinds: dict[Targets, str]
    val: tuple[str, ...]


@dataclass(frozen=True)
class SplitCells:
    """Cells of one split, the expression in ``X`` throughout.

    Attributes
    ----------
    train
        Training and validation cells, and all control cells that are not held out.
    real
        Test cells, and the control cells of their contexts; where controls are held out, these
        are the controls here, and ``train`` has the others.
    schema
        Where both keep their labels.
    """

    train: AnnData
    real: AnnData
    schema: ScreenSchema

    def copy_train(self) -> AnnData:
        """Copy the annotation of the training cells, so that no predictor meets another's."""
        train = self.train
        return AnnData(train.X, obs=train.obs.copy(), var=train.var.copy(), uns=dict(train.uns))

    def get_controls(self) -> AnnData:
        """Return the control cells of the tested contexts that predictions start from.

        They are those of training: what is scored against held-out controls must not be made
        of them, or their noise would be on both sides.
        """
        keys, obs = self.schema.context_keys, self.train.obs
        is_control = obs[self.schema.perturbation_key].astype(str) == self.schema.control
        tested = set(get_context_names(self.real.obs, keys))
        is_there = get_context_names(obs, keys).isin(tested)
        return self.train[(is_control & is_there).to_numpy()].copy()


def read_split(obs: pd.DataFrame, split: Split, schema: ScreenSchema) -> SplitLabels:
    """Sort the cells of a screen into the parts of a split.

    Parameters
    ----------
    obs
        Cell annotations of the screen.
    split
        The split.
    schema
        Where the screen keeps its labels.

    Returns
    -------
    The parts.

    Raises
    ------
    ValueError
        When the split has other contexts than the screen was read with, or no test cells.
    """
    if split.context_keys and split.context_keys != schema.context_keys:
        raise ValueError(
            f"Split {split.name!r} was made within the contexts {list(split.context_keys)}, and "
            f"the screen is read with {list(schema.context_keys) or 'none'}. Give the same: "
            f"context_keys={list(split.context_keys)}"
        )
    role = get_roles(obs, split, schema)
    if "test" not in role:
        raise ValueError(f"Split {split.name!r} tests nothing. Name conditions under 'test'.")
    test = _get_groups(obs[role == "test"], schema)
    test = test[[bool(targets) for targets in test["targets"]]]  # not the held-out controls
    trained = make_screen(obs[np.isin(role, ["train", "val"])], schema).targets
    kinds = {targets: split.get_kind(targets, trained) for targets in set(test["targets"])}
    test = test.drop(columns="targets").reset_index(drop=True)
    return SplitLabels(role, test, kinds, tuple(schema.join(targets) for targets in split.val))


def take_cells(adata: AnnData, labels: SplitLabels, schema: ScreenSchema) -> SplitCells:
    """Copy the cells of a split out of a screen.

    What predictors could learn the test conditions from stays behind: other layers, ``uns`` and
    all that goes with cells other than ``obs``.

    Parameters
    ----------
    adata
        The screen.
    labels
        Parts of the split.
    schema
        Where the screen keeps its labels.

    Returns
    -------
    The cells.
    """
    contexts = get_context_names(adata.obs, schema.context_keys)
    is_tested = contexts.isin(labels.test["context"]).to_numpy()
    is_control = labels.role == "control"
    is_trained = np.isin(labels.role, ["train", "val"]) | is_control
    is_real = labels.role == "test"
    is_held_control = make_screen(adata.obs, schema).is_control & is_real
    if not is_held_control.any():
        is_real |= is_control & is_tested
    logger.debug("%d cells to learn from, %d to score.", is_trained.sum(), is_real.sum())
    train, real = (_take(adata, rows, schema) for rows in (is_trained, is_real))
    return SplitCells(train, real, replace(schema, layer=None, gene_key=None))


class SplitRunner:
    """Runs the parts of one split.

    Parameters
    ----------
    labels, cells
        The split.
    resources
        Prior knowledge.
    settings
        How to run.
    seed
        Seed of the ceiling and of the cells that are drawn for scoring.
    judge
        Judge of the field, if one is asked.
    """

    def __init__(
        self,
        labels: SplitLabels,
        cells: SplitCells,
        resources: Resources,
        settings: BenchmarkSettings,
        seed: int,
        judge: "FieldJudge | None" = None,
    ) -> None:
        self._labels = labels
        self._cells = cells
        self._judge = judge
        self._resources = resources
        self._settings = settings
        self._controls = cells.get_controls()
        self._evaluator = Evaluator(
            cells.real,
            cells.schema,
            reference=cells.train,
            metrics=settings.metrics,
            is_log1p=settings.is_log1p,
            seed=seed,
        )

    def run(self, part: Part) -> PartResult:
        """Run one part.

        Parameters
        ----------
        part
            The part.

        Returns
        -------
        Its scores, or rows that say why there are none.
        """
        start = time.perf_counter()
        meter, attempt = Meter(), Attempt(part.name)
        effects = Attempt(f"{part.name}, asked for its effects")
        ask: Ask | None = None
        # What a model says once would be said for every part.
        with attempt, quieten():
            scores, ask = self._score(part, meter, effects)
        if attempt.error is not None:
            scores = self._evaluator.get_failed(attempt.error)
        scores = scores.assign(
            predictor=part.predictor,
            split=part.split.name,
            seed=part.seed,
            seconds=meter.seconds,
            peak_memory_mb=meter.peak_memory_mb,
        )
        judged, error = self._ask_judge(part, ask, attempt.error)
        if effects.error is not None:
            error = error or f"predict_effects: {effects.error}"
        seconds = time.perf_counter() - start
        return PartResult(scores[list(COLUMNS)], seconds, error, judged)

    def _score(
        self, part: Part, meter: Meter, effects: Attempt
    ) -> tuple[pd.DataFrame, Ask | None]:
        """Return the scores, and how to ask the predictor again; the ceiling has none.

        Where it cannot tell its effects, its cells are scored all the same.
        """
        if part.spec is None:
            with meter:
                return self._score_ceiling(part.split), None
        with meter:
            predictor = self._train(part.spec, part.seed)
            ask = partial(self._ask, predictor, part.seed)
            predicted = ask(self._settings.n_cells)
        told: AnnData | None = None
        with effects:
            told = self._ask_effects(predictor)
        is_paired = put_sources(predicted, LAYER, self._controls)
        # Where controls are divided, effects are those to the ones that a predictor was given.
        is_divided = part.split.cell_share is not None and not is_paired
        scores = self._evaluator.score(
            predicted,
            layer=LAYER,
            is_paired=is_paired,
            controls=self._controls if is_divided else None,
            effects=told,
        )
        return scores, ask

    def _score_ceiling(self, split: Split) -> pd.DataFrame:
        """Score real cells: those of training where a split divides conditions, else halves."""
        return self._evaluator.score_ceiling(
            None if split.cell_share is None else self._cells.train
        )

    def _ask_judge(
        self, part: Part, ask: Ask | None, error: str | None
    ) -> tuple[pd.DataFrame | None, str | None]:
        """Have the judge, if there is one, score a part, and return what went wrong so far."""
        judge = self._judge
        if judge is None:
            return None, error
        if error is not None:
            return _name_part(judge.get_failed(error), part), error
        attempt = Attempt(f"{part.name}, judged by {judge.name}")
        with attempt:
            rows = judge.score(ask(judge.n_cells), LAYER) if ask else judge.score_ceiling()
            return _name_part(rows, part), None
        error = f"{judge.name}: {attempt.error}"
        return _name_part(judge.get_failed(error), part), error

    def _ask_effects(self, predictor: Predictor) -> AnnData | None:
        """Ask for effects and their errors, where they are scored and the predictor tells them."""
        tell = getattr(predictor, "predict_effects", None)
        if tell is None or not self._evaluator.looks_at_effects:
            return None
        return tell(self._get_tested())

    def _get_tested(self) -> list[str]:
        return self._labels.test["perturbation"].unique().tolist()

    def _train(self, spec: PredictorSpec, seed: int) -> Predictor:
        schema, train = self._cells.schema, self._cells.copy_train()
        spec.load_class().setup_anndata(
            train,
            perturbation_key=schema.perturbation_key,
            control=schema.control,
            context_keys=schema.context_keys,
            separator=schema.separator or "",
            is_log1p=self._settings.is_log1p,
        )
        predictor = spec.make_predictor(train, self._resources, seed)
        spec.train_predictor(predictor, list(self._labels.val) or None)
        return predictor

    def _ask(self, predictor: Predictor, seed: int, n_cells: int | None) -> AnnData:
        """Predict from the control cells of the tested contexts, the same for all."""
        predicted = predictor.predict(
            self._controls.copy(),
            perturbations=self._get_tested(),
            key_added=LAYER,
            n_cells=n_cells,
            seed=seed,
        )
        if LAYER not in predicted.layers:
            raise ValueError(
                f"predict(key_added={LAYER!r}) returned an AnnData with the layers "
                f"{[name for name in predicted.layers if name is not None]}."
            )
        return predicted


def _get_groups(obs: pd.DataFrame, schema: ScreenSchema) -> pd.DataFrame:
    """List the perturbations and contexts of some cells, each pair of targets by one label."""
    groups = pd.DataFrame(
        {
            "perturbation": schema.unify_labels(obs[schema.perturbation_key]),
            "context": get_context_names(obs, schema.context_keys),
        }
    ).drop_duplicates()
    groups["targets"] = [schema.parse(label) for label in groups["perturbation"]]
    label = groups.groupby("targets", sort=False)["perturbation"].transform("first")
    return groups.assign(perturbation=label).drop_duplicates(["targets", "context"])


def _name_part(rows: pd.DataFrame, part: Part) -> pd.DataFrame:
    """Say whose rows they are, in the first columns."""
    names = {"predictor": part.predictor, "split": part.split.name, "seed": part.seed}
    return rows.assign(**names)[[*names, *rows.columns]]


def _take(adata: AnnData, is_taken: np.ndarray, schema: ScreenSchema) -> AnnData:
    var = adata.var.copy()
    var.index = pd.Index(map(str, get_gene_names(adata, schema.gene_key)))
    obs = adata.obs[is_taken].copy()
    labels = schema.unify_labels(obs[schema.perturbation_key])
    if (labels != obs[schema.perturbation_key].astype(str)).any():
        obs[schema.perturbation_key] = labels
    for name in obs.select_dtypes("category"):
        # Their categories would name the conditions that are held out.
        obs[name] = obs[name].cat.remove_unused_categories()
    matrix = get_matrix(adata, schema.layer)[is_taken]
    return AnnData(matrix, obs=obs, var=var, uns=take_log_base(adata))
