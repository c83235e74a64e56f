"""How good is a prediction beside floors and ceiling?"""

import logging
from collections.abc import Sequence

import pandas as pd
from anndata import AnnData

from scbig._annotations import checked
from scbig._console import quieten
from scbig._constants import OBS, SOURCE_SUFFIX
from scbig.baselines import FLOORS, Baseline, EmbeddingBaseline, OwnMean
from scbig.data import Guides, ScreenSchema, infer_schema, put_sources, say_once
from scbig.metrics import Evaluator
from scbig.priors import GeneEmbedding
from scbig.tl._annotated import (
    is_made_by_scbig,
    read_schema,
    take_own_controls,
    take_prediction,
)
from scbig.tl._split_screen import SplitScreen, take_apart

logger = logging.getLogger(__name__)

CEILING = "ceiling"
# Cells that floors predict for a condition, as many as the evaluator compares in components.
N_CELLS = 200
# Of the control cells that floors start from.
SEED = 0


@checked
@say_once()
def evaluate(
    adata: AnnData,
    layer: str = "scbig",
    *,
    split_key: str = OBS.SPLIT,
    perturbation_key: str | None = None,
    control: str | Sequence[str] | None = None,
    context_keys: Sequence[str] = (),
    separator: str | None = None,
    gene_key: str | None = None,
    guide_to_gene: Guides | None = None,
    gene_embedding: GeneEmbedding | None = None,
    metrics: str | Sequence[str] | None = None,
    is_log1p: bool = False,
) -> pd.DataFrame:
    """Score the predicted layer of an annotated screen beside floors and ceiling.

    The test cells are compared with what the layer predicts for them. Every floor of
    :data:`scbig.baselines.FLOORS` learns from the training and validation conditions, as a model
    may that is refitted after choosing, and is scored alike; the ceiling is the agreement of two
    halves of the test cells. Where the split holds out cells of conditions that are trained on,
    :class:`scbig.baselines.OwnMean` is a floor, too, the controls held out are those of the
    scores, and the ceiling is the agreement of training and test cells.

    The cells that ``predict`` makes have the predicted mean, whatever control cells were drawn.
    Expected expression (``sampling=False``) has not: there the mean change from the control
    cells named in ``obs`` is added to the mean of all controls, so that the chance of the draw
    adds nothing. The means of another layer are taken as they are.

    Parameters
    ----------
    adata
        Screen with measured and predicted expression, both log1p-normalised.
    layer
        The predicted layer, of any origin.
    split_key
        Column of ``obs`` with ``"train"``, ``"val"``, ``"test"`` and ``"control"``, from
        :func:`scbig.pp.split`.
    perturbation_key, control, context_keys, separator, gene_key, guide_to_gene
        Where the screen keeps its labels, see :func:`scbig.data.infer_schema`; by default as the
        predictor noted in ``uns[layer]``, or else recognised.
    gene_embedding
        For the floors that compare genes; by default they use co-expression in the controls.
    metrics
        Names out of :data:`scbig.metrics.METRICS`, or ``"realism"`` for those that tell predicted
        from real cells; by default all others.
    is_log1p
        Take whole or large values for log1p values, as ``setup_anndata`` does.

    Returns
    -------
    One row a predictor, condition, context and metric: ``predictor`` (the layer, each floor,
    ``"ceiling"``), ``perturbation``, ``context``, ``metric``, ``value``, ``status``.
    :func:`scbig.metrics.summarise` averages them. Nothing is written.

    Raises
    ------
    ValueError
        When the layer, the split or test cells are missing, or labels or values cannot be read.

    Examples
    --------
    >>> import scbig
    >>> adata = scbig.data.simulate_screen(n_cells=1000, n_genes=100, n_targets=8, n_doubles=6)
    >>> split = scbig.pp.split(adata, "additive")
    >>> train = adata[adata.obs["scbig_split"] != "test"].copy()
    >>> scbig.baselines.Additive.setup_anndata(train)
    >>> baseline = scbig.baselines.Additive(train)
    >>> baseline.train()
    >>> adata = baseline.predict(adata, key_added="mine")
    >>> scores = scbig.tl.evaluate(adata, "mine", metrics=["pearson_delta"])
    >>> sorted(scores["predictor"].unique())[:3]
    ['additive', 'ceiling', 'kernel_ridge']
    """
    given = {
        "perturbation_key": perturbation_key,
        "control": control,
        "context_keys": context_keys or None,
        "separator": separator,
        "gene_key": gene_key,
        "guide_to_gene": guide_to_gene,
    }
    told = {name: value for name, value in given.items() if value is not None}
    schema = read_schema(adata, layer, told)
    parts = take_apart(adata, schema, split_key)
    predicted = take_prediction(adata, layer, schema, parts)
    is_paired = layer + SOURCE_SUFFIX in predicted.obs
    evaluator = _make_evaluator(parts, metrics, is_log1p=is_log1p)
    own = take_own_controls(adata, layer, schema) if parts.is_seen else None
    scores = evaluator.score(predicted, layer=layer, is_paired=is_paired, controls=own)
    return _frame(layer, scores, evaluator, parts, gene_embedding, is_log1p=is_log1p)


@checked
@say_once()
def evaluate_cells(
    adata: AnnData,
    predicted: AnnData,
    *,
    layer: str | None = None,
    schema: ScreenSchema | None = None,
    split_key: str = OBS.SPLIT,
    gene_embedding: GeneEmbedding | None = None,
    metrics: str | Sequence[str] | None = None,
    is_log1p: bool = False,
) -> pd.DataFrame:
    """Score predicted cells that are an AnnData of their own beside floors and ceiling.

    As :func:`evaluate`, for the cells that ``predict(perturbations=[...])`` returns, or those of
    any other predictor.

    Parameters
    ----------
    adata
        Screen with the measured cells and the split.
    predicted
        Predicted cells of the test conditions, with the same columns of labels. Expected
        expression is compared with the control cells of ``adata`` that it names.
    layer
        Layer of ``predicted`` with the prediction; ``None`` for ``X``.
    schema
        Where both keep their labels, and ``adata`` its measured expression; by default
        recognised, see :func:`scbig.data.infer_schema`.
    split_key, gene_embedding, metrics, is_log1p
        As for :func:`evaluate`.

    Returns
    -------
    As :func:`evaluate`; the predictor is called as its layer, or ``"predicted"``.

    Raises
    ------
    ValueError
        When the split or test cells are missing, or one side cannot be read.
    """
    schema = infer_schema(adata) if schema is None else schema
    parts = take_apart(adata, schema, split_key)
    evaluator = _make_evaluator(parts, metrics, is_log1p=is_log1p)
    is_paired = False
    if layer is not None and layer + SOURCE_SUFFIX in predicted.obs:
        predicted = predicted.copy()  # what the user has stays as it is
        is_paired = put_sources(predicted, layer, adata, schema.layer)
    # Cells of scbig have effects to the controls that they were trained with.
    is_own = parts.is_seen and not is_paired and is_made_by_scbig(predicted, layer)
    own = parts.controls if is_own else None
    scores = evaluator.score(predicted, layer=layer, is_paired=is_paired, controls=own)
    name = layer or "predicted"
    return _frame(name, scores, evaluator, parts, gene_embedding, is_log1p=is_log1p)


def _make_evaluator(
    parts: SplitScreen, metrics: str | Sequence[str] | None, *, is_log1p: bool
) -> Evaluator:
    return Evaluator(
        parts.real, parts.schema, reference=parts.training, metrics=metrics, is_log1p=is_log1p
    )


def _frame(
    name: str,
    scores: pd.DataFrame,
    evaluator: Evaluator,
    parts: SplitScreen,
    gene_embedding: GeneEmbedding | None,
    *,
    is_log1p: bool,
) -> pd.DataFrame:
    """Put the floors and the ceiling under the scores of a predictor."""
    tables = {name: scores}
    # Copies of control cells would be told from real ones: each is taken once.
    n_cells = None if evaluator.looks_at_cells else N_CELLS
    found = _score_floors(evaluator, parts, gene_embedding, n_cells, is_log1p=is_log1p)
    for floor, floor_scores in found.items():
        # The predictor may be one of the floors.
        tables[f"{floor} (floor)" if floor == name else floor] = floor_scores
    tables[CEILING] = evaluator.score_ceiling(parts.training if parts.is_seen else None)
    return pd.concat(tables, names=["predictor"]).reset_index("predictor").reset_index(drop=True)


def _score_floors(
    evaluator: Evaluator,
    parts: SplitScreen,
    gene_embedding: GeneEmbedding | None,
    n_cells: int | None,
    *,
    is_log1p: bool,
) -> dict[str, pd.DataFrame]:
    """Train, predict and score each floor; one that cannot be trained has rows that say why."""
    scores = {}
    floors: tuple[type[Baseline], ...] = (*FLOORS, OwnMean) if parts.is_seen else FLOORS
    for floor in floors:
        try:
            predicted = _predict_floor(floor, parts, gene_embedding, n_cells, is_log1p=is_log1p)
        except ValueError as error:
            logger.warning("%s cannot be trained: %s", floor.__name__, error)
            scores[floor.default_key] = evaluator.get_failed(str(error))
        else:
            key = floor.default_key
            is_paired = put_sources(predicted, key, parts.controls)
            own = parts.controls if parts.is_seen else None
            scores[key] = evaluator.score(predicted, layer=key, is_paired=is_paired, controls=own)
    return scores


@quieten()
def _predict_floor(
    floor: type[Baseline],
    parts: SplitScreen,
    gene_embedding: GeneEmbedding | None,
    n_cells: int | None,
    *,
    is_log1p: bool,
) -> AnnData:
    schema = parts.schema
    floor.setup_anndata(
        parts.training,
        perturbation_key=schema.perturbation_key,
        control=schema.control,
        context_keys=schema.context_keys,
        separator=schema.separator or "",
        gene_key=schema.gene_key,
        is_log1p=is_log1p,
    )
    baseline = (
        floor(parts.training, gene_embedding=gene_embedding, missing_embedding="mean", seed=SEED)
        if issubclass(floor, EmbeddingBaseline)
        else floor(parts.training, missing_embedding="mean", seed=SEED)
    )
    baseline.train(validation=parts.validation or None)
    return baseline.predict(parts.controls, perturbations=parts.test, n_cells=n_cells, seed=SEED)
