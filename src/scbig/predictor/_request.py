"""What is asked of a predictor, read once, and how it is answered."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from anndata import AnnData

from scbig._arguments import check_seed, check_whole, refuse_ignored
from scbig.cells import ScreenModel
from scbig.data import (
    Effects,
    Lending,
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
    lend_controls,
    make_cells,
    make_query,
    match_genes,
    name_contexts,
    predict_query,
    read_matrices,
    repeat_query,
    spawn,
    warn_of_empty,
)
from scbig.predictor._judge import CellMover, EffectMover, move_to_one
from scbig.predictor._method import Method
from scbig.predictor._vocabulary import Vocabulary

# Perturbations, cells of each, contexts, seed, draws of effects, who lends control cells.
Asked = tuple[
    Perturbations | None,
    int | None,
    Perturbations | None,
    int | None,
    int | None,
    Lending | None,
]
# Differences of drawn effects from the expected one of a group, (n_draws, G).
Drawer = Callable[[int], np.ndarray]


# Tells the generator of effects apart from those of cells.
_EFFECTS = 2**31


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
    perturbations, n_cells, chosen, given_seed, n_draws, lending = asked
    for name, value in {"n_cells": n_cells, "n_draws": n_draws}.items():
        if value is not None:
            check_whole(name, value, hint=f", such as {name}=100, or leave it out")
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
    further = () if chosen is None else name_contexts(chosen)
    schema = lend_controls(adata, schema, lending, lambda: matrices.expression, contexts=further)
    if perturbations is None:
        why = (
            "it is of new cells, of perturbations=[...]: name some. Without, each row of adata is "
        )
        why += "predicted once, in its own context, with the expected effect of its label."
        refuse_ignored(why, contexts=chosen, n_draws=n_draws, n_cells=n_cells)
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
        query = query if n_draws is None else repeat_query(query, n_draws)
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
        guide_to_gene=known.guides,
    )
    schema = replace(schema, names=schema.names | known.names, lenders=known.lenders)
    check_readable(adata, schema.layer, is_log1p=vocabulary.is_log1p)
    warn_of_empty(adata, schema)
    return schema


def answer_request(
    request: Request,
    vocabulary: Vocabulary,
    change: np.ndarray | CellMover,
    effects: Effects,
    cells: ScreenModel | None,
    deviate: Drawer | None = None,
    shaper: CellMover | None = None,
) -> Prediction:
    """Make cells of the groups of a request, or their expected expression without ``cells``.

    The change is that of the mean of each group, in their order, or what a mover makes of control
    cells; a drawer adds to it. A shaper tells how cells differ from their mean.
    """
    names = get_gene_names(request.query.out, vocabulary.schema.gene_key)
    match = match_genes(names, vocabulary.genes, resolve=vocabulary.resolve_gene)
    expected = effects.get_control(np.array([-1]))[0]
    control_mean = effects.get_control(request.context)
    if cells is None:
        mover = EffectMover(change, control_mean) if isinstance(change, np.ndarray) else change

        predict_group = partial(move_to_one, mover)
        return predict_query(request.query, match, predict_group, control_mean=expected)

    def get_change(x: np.ndarray, group: int) -> np.ndarray:
        if isinstance(change, np.ndarray):
            return change[group]
        return (move_to_one(change, x, group) - x).mean(axis=0, dtype=np.float64)

    control_mean[request.context >= len(vocabulary.contexts)] = np.nan
    wanted = Wanted(
        request.targets,
        get_change,
        control_mean,
        request.is_own,
        expected,
        request.seed,
        deviate,
        None if shaper is None else partial(move_to_one, shaper),
    )
    return make_cells(request.query, match, cells, wanted)


def make_drawer(
    request: Request, method: Method, n_draws: int, name: str, cells: ScreenModel | None
) -> Drawer:
    """Prepare to draw effects, each condition with a generator of its own, or raise."""
    if cells is None:
        why = "sampling=False makes none. Leave one of the two out"
        why = why if method.makes_cells else f"{name} makes none. Leave n_draws out"
        raise ValueError(
            f"n_draws={n_draws} draws effects that cells are made with, and {why}; {name}."
            "predict_effects([...]) has the standard errors of effects, where they are known."
        )
    contexts = request.query.screen.contexts

    def deviate(group: int) -> np.ndarray:
        targets, context = [request.targets[group]], request.context[[group]]
        rng = spawn(request.seed, targets[0], contexts[int(context[0])], _EFFECTS)
        drawn = method.draw_effects(targets, context, n_draws, rng)
        if drawn is None:
            raise ValueError(
                f"{name} knows no errors of its effects that could be drawn: leave n_draws out. "
                "Models on a regression do, such as scbig.model.EffectRegression or SCBIG; one "
                "that an earlier version saved does after train()."
            )
        return drawn[:, 0] - method.predict_effects(targets, context)[0]

    deviate(0)  # raises before anything is made
    return deviate


def spread_confidence(request: Request, values: np.ndarray | None) -> np.ndarray | None:
    """Confidence of each row; controls are certain, as they are not predicted."""
    if values is None:
        return None
    confidence = np.ones(request.query.out.n_obs, dtype=np.float32)
    for value, rows in zip(values, request.rows, strict=True):
        confidence[rows] = value
    return confidence
