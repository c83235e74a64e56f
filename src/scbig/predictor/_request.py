"""What is asked of a predictor, read once, and how it is answered."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from anndata import AnnData

from scbig.cells import ScreenModel
from scbig.data import (
    Effects,
    Perturbations,
    Prediction,
    Query,
    ScreenSchema,
    Targets,
    Wanted,
    annotate_query,
    check_readable,
    get_gene_names,
    infer_schema,
    make_cells,
    make_query,
    match_genes,
    predict_query,
    read_matrices,
    warn_of_empty,
)
from scbig.nn import check_seed
from scbig.predictor._judge import CellMover, EffectMover
from scbig.predictor._vocabulary import Vocabulary

# Perturbations, cells of each, contexts, seed.
Asked = tuple[Perturbations | None, int | None, Perturbations | None, int | None]


@dataclass(frozen=True, eq=False)
class Request:
    """Rows to predict, by groups of one condition and context.

    Each row of the query starts from a control cell; targets have the names of the vocabulary.
    """

    query: Query
    targets: Sequence[Targets]  # of each group
    context: np.ndarray  # (n_groups,)
    rows: Sequence[np.ndarray]  # row numbers of each group
    seed: int
    is_own: bool  # whether it starts from the control cells that travel with the predictor


def read_request(
    vocabulary: Vocabulary,
    cells: ScreenModel | None,
    adata: AnnData,
    asked: Asked,
    default_seed: int,
) -> Request:
    """Read what is to be predicted; without perturbations, each row of ``adata`` for its label."""
    perturbations, n_cells, chosen, given_seed = asked
    seed = check_seed(default_seed if given_seed is None else given_seed)
    rng = np.random.default_rng(seed)
    if adata is vocabulary.controls:
        schema = vocabulary.schema.without_places()
    else:
        schema = _check_adata(adata, vocabulary)
    contexts = vocabulary.contexts
    wanted = vocabulary.counts_layer if vocabulary.counts_layer in adata.layers else None
    # Where genes were left out after normalising, sums are not what cells are normalised to.
    has_sum = cells is not None and cells.has_counts and cells.is_closed
    own_sum = cells.target_sum if cells is not None and has_sum else None
    matrices = read_matrices(
        adata,
        schema.layer,
        wanted,
        # The control cells that travel are log1p values, however few.
        is_log1p=vocabulary.is_log1p or adata is vocabulary.controls,
        target_sum=vocabulary.target_sum or own_sum,
    )
    if perturbations is None and chosen is not None:
        raise ValueError(
            f"contexts={chosen!r} chooses where perturbations=[...] are predicted: name some. "
            "Without, each row of adata is predicted in its own context; give fewer rows."
        )
    if perturbations is None:
        query = annotate_query(adata, schema, contexts=contexts, rng=rng, matrices=matrices)
    else:
        query = make_query(
            adata,
            schema,
            perturbations,
            contexts=contexts,
            n_cells=n_cells,
            rng=rng,
            matrices=matrices,
            chosen=chosen,
        )
    groups = list(query.screen.get_groups())
    return Request(
        query=query,
        targets=[vocabulary.resolve(targets) for targets, *_ in groups],
        context=np.array([context for _, context, _ in groups], dtype=np.int64),
        rows=[rows for *_, rows in groups],
        seed=seed,
        is_own=adata is vocabulary.controls,
    )


def _check_adata(adata: AnnData, vocabulary: Vocabulary) -> ScreenSchema:
    """Check that data can be read as the training data were."""
    known = vocabulary.schema
    schema = infer_schema(
        adata,
        layer=known.layer,
        perturbation_key=known.perturbation_key,
        control=known.controls,
        context_keys=known.context_keys,
        separator=known.separator or "",
        gene_key=known.gene_key if known.gene_key in adata.var else None,
    )
    check_readable(adata, schema.layer, is_log1p=vocabulary.is_log1p)
    warn_of_empty(adata, schema)
    return schema


def answer_request(
    request: Request,
    vocabulary: Vocabulary,
    change: np.ndarray | CellMover,
    effects: Effects,
    cells: ScreenModel | None,
) -> Prediction:
    """Make cells of the groups of a request, or their expected expression without ``cells``.

    The change is that of the mean of each group, in their order, or what a mover makes of control
    cells.
    """
    names = get_gene_names(request.query.out, vocabulary.schema.gene_key)
    match = match_genes(names, vocabulary.genes, resolve=vocabulary.resolve_gene)
    expected = effects.get_control(np.array([-1]))[0]
    control_mean = effects.get_control(request.context)
    if cells is None:
        mover = EffectMover(change, control_mean) if isinstance(change, np.ndarray) else change

        def predict_group(x: np.ndarray, group: int) -> np.ndarray:
            return mover(x, np.array([group]))[0]

        return predict_query(request.query, match, predict_group, control_mean=expected)

    def get_change(x: np.ndarray, group: int) -> np.ndarray:
        if isinstance(change, np.ndarray):
            return change[group]
        return (change(x, np.array([group]))[0] - x).mean(axis=0, dtype=np.float64)

    control_mean[request.context >= len(vocabulary.contexts)] = np.nan
    wanted = Wanted(
        request.targets, get_change, control_mean, request.is_own, expected, request.seed
    )
    return make_cells(request.query, match, cells, wanted)


def spread_confidence(request: Request, values: np.ndarray | None) -> np.ndarray | None:
    """Confidence of each row; controls are certain, as they are not predicted."""
    if values is None:
        return None
    confidence = np.ones(request.query.out.n_obs, dtype=np.float32)
    for value, rows in zip(values, request.rows, strict=True):
        confidence[rows] = value
    return confidence
