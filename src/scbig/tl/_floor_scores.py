"""The floors: baselines that learn from what the model learned from."""

import logging

import pandas as pd
from anndata import AnnData

from scbig.baselines import FLOORS, Baseline, EmbeddingBaseline
from scbig.metrics import Evaluator
from scbig.priors import GeneEmbedding
from scbig.tl._split_screen import SplitScreen

logger = logging.getLogger(__name__)

# As many as the evaluator compares.
N_CELLS = 200


def score_floors(
    evaluator: Evaluator,
    parts: SplitScreen,
    gene_embedding: GeneEmbedding | None,
    *,
    seed: int = 0,
) -> dict[str, pd.DataFrame]:
    """Train, predict and score each floor.

    Parameters
    ----------
    evaluator
        Holds the test cells.
    parts
        The screen.
    gene_embedding
        For the floors that compare genes.
    seed
        Seed of the control cells that they start from.

    Returns
    -------
    Scores by floor. One that cannot be trained has rows that say why.
    """
    scores = {}
    for floor in FLOORS:
        try:
            predicted = _predict(floor, parts, gene_embedding, seed)
        except ValueError as error:
            logger.warning("%s cannot be trained: %s", floor.__name__, error)
            scores[floor.default_key] = evaluator.get_failed(str(error))
        else:
            scores[floor.default_key] = evaluator.score(
                predicted, layer=floor.default_key, is_paired=True
            )
    return scores


def _predict(
    floor: type[Baseline], parts: SplitScreen, gene_embedding: GeneEmbedding | None, seed: int
) -> AnnData:
    schema = parts.schema
    floor.setup_anndata(
        parts.training,
        perturbation_key=schema.perturbation_key,
        control=schema.control,
        context_keys=schema.context_keys,
        separator=schema.separator or "",
        gene_key=schema.gene_key,
    )
    baseline = (
        floor(parts.training, gene_embedding=gene_embedding, seed=seed)
        if issubclass(floor, EmbeddingBaseline)
        else floor(parts.training, seed=seed)
    )
    baseline.train(validation=parts.validation or None)
    return baseline.predict(parts.controls, perturbations=parts.test, n_cells=N_CELLS, seed=seed)
