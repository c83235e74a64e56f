"""The cells of a screen with their conditions, and what their counts tell."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from scbig.cells import Responders, ScreenModel, expect_responders, fit_screen_model
from scbig.data._expression import Expression
from scbig.data._query import Query
from scbig.data._screen import Screen
from scbig.labels import (
    ScreenSchema,
    Targets,
)

logger = logging.getLogger(__name__)

# Last words of Mixscape's classes, as in "STAT1 KO" and "STAT1 NP".
_RESPONDS = {"KO": 1.0, "KD": 1.0, "OE": 1.0, "NP": 0.0}
_N_SHOWN = 5


@dataclass(frozen=True, eq=False)
class ScreenCells:
    """The cells of a screen, as a predictor reads them.

    Attributes
    ----------
    expression
        Log1p expression of all cells, in the genes of the predictor.
    screen
        Condition and context of all cells.
    base
        Base of the logarithm; ``None`` for the natural one.
    counts
        Counts of all cells, where they are kept.
    is_responding
        Probability that each cell responds, where it is known, else NaN, shape ``(n_cells,)``.
    """

    expression: Expression
    screen: Screen
    base: float | None = None
    counts: Expression | None = None
    is_responding: np.ndarray | None = None

    def read_pair(self, rows: np.ndarray) -> tuple[np.ndarray, sparse.csr_matrix | None]:
        """Read values of cells by number, and their counts where these are kept."""
        counts = None if self.counts is None else sparse.csr_matrix(self.counts.rows(rows))
        return self.expression.rows(rows), counts


def ask_for_cells(
    cells: ScreenCells, genes: Sequence[str], groups: Sequence[tuple[Targets, int, int]]
) -> Query:
    """Ask for cells of some groups, to be made of the control cells of their screen.

    Parameters
    ----------
    cells
        The screen.
    genes
        Names of its genes.
    groups
        Condition, context, and number of cells of each; each group once.

    Returns
    -------
    The query, whose rows are those of one group after the other.
    """
    n_cells = [n for *_, n in groups]
    screen = cells.screen
    asked = Screen(
        tuple(targets for targets, *_ in groups),
        np.repeat(np.arange(len(groups)), n_cells),
        screen.contexts,
        np.repeat([context for _, context, _ in groups], n_cells),
    )
    wanted = set(asked.context.tolist())
    none = np.empty(0, dtype=np.int64)
    controls = [
        screen.get_controls(i) if i in wanted else none for i in range(len(screen.contexts))
    ]
    out = AnnData(
        obs=pd.DataFrame(index=np.arange(sum(n_cells)).astype(str)),
        var=pd.DataFrame(index=list(genes)),
    )
    names = np.arange(cells.expression.n_cells).astype(str)
    first = np.array([controls[i][0] for i in asked.context.tolist()])
    return Query(out, asked, cells.expression, first, controls, names, True, cells.counts)


def check_conditions(cells: ScreenCells, validation: frozenset[Targets]) -> None:
    """Raise when no perturbation is left to train on."""
    known = {targets for targets in cells.screen.conditions if targets}
    if not known:
        raise ValueError(
            "The screen has control cells only: there is nothing to train on. If another column "
            "of obs has the perturbations, name it: setup_anndata(adata, perturbation_key='...')"
        )
    if not known - validation:
        raise ValueError(
            f"All {len(known)} perturbations of the screen are held out for validation; "
            "none is left to train on."
        )


def fit_cells(
    cells: ScreenCells, groups: Sequence[tuple[Targets, int, np.ndarray]], seed: int
) -> ScreenModel:
    """Learn how counts are distributed.

    Parameters
    ----------
    cells
        Cells of a screen.
    groups
        Condition, context and row numbers of each group of training cells.
    seed
        Seed of the cells that are looked at.

    Returns
    -------
    What cells are made with, see :func:`scbig.cells.fit_screen_model`.
    """
    controls = [cells.screen.get_controls(i) for i in range(len(cells.screen.contexts))]
    rng = np.random.default_rng(seed)
    given = cells.is_responding
    model = fit_screen_model(cells.read_pair, groups, controls, rng, cells.base, given)
    rest = "" if model.has_counts else ": too few to make cells of counts"
    share = 100 * model.share
    level = logging.DEBUG if round(share, 1) == 100 else logging.INFO
    logger.log(level, "The counts of %.1f%% of the cells looked at are known%s.", share, rest)
    told = [one for part in model.contexts.values() for one in part.responders.values()]
    if n_used := sum(one.used_share < 1 for one in told):
        logger.info("Only some cells respond in %d of %d conditions.", n_used, len(told))
    return model


def read_responding(obs: pd.DataFrame, schema: ScreenSchema, key: str | None) -> np.ndarray | None:
    """Read which cells respond, as Mixscape tells it.

    Parameters
    ----------
    obs, schema
        As for :func:`scbig.data.make_screen`.
    key
        Column with probabilities, or with classes that end in ``KO`` (or ``KD``, ``OE``) for cells
        that respond and in ``NP`` for those that do not; ``None`` for none.

    Returns
    -------
    Probability of each cell, NaN for controls and where it is missing, shape ``(n_cells,)``.

    Raises
    ------
    ValueError
        When there is no such column, or it holds something else.
    """
    if key is None:
        return None
    if key not in obs:
        raise ValueError(
            f"There is no column obs[{key!r}]. Columns found: {list(obs)}. Mixscape writes "
            "'mixscape_class_p_ko' and 'mixscape_class': name one, responder_key="
            "'mixscape_class_p_ko', or leave it away, to have responders estimated."
        )
    column = obs[key]
    is_control = schema.unify_labels(obs[schema.perturbation_key]) == schema.control
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        is_bad = (values < 0) | (values > 1)
    else:
        values = column.astype(str).str.split().str[-1].map(_RESPONDS).to_numpy(dtype=np.float64)
        is_bad = np.isnan(values) & column.notna().to_numpy()
    is_bad &= ~is_control.to_numpy()
    if is_bad.any():
        shown = column[is_bad].unique()[:_N_SHOWN].tolist()
        raise ValueError(
            f"obs[{key!r}] of {int(is_bad.sum())} perturbed cells is neither a probability in "
            f"[0, 1] nor a class that ends in 'KO' or 'NP': {shown}. Name the column that "
            "Mixscape wrote, or let it be missing where it is not known: "
            f"adata.obs[{key!r}] = adata.obs[{key!r}].where(is_known)"
        )
    return np.where(is_control, np.nan, values)


def list_responders(
    model: ScreenModel | None,
    schema: ScreenSchema,
    contexts: Sequence[str],
    wanted: Mapping[str, Targets] | None,
) -> pd.DataFrame:
    """List how many cells of conditions respond.

    Parameters
    ----------
    model
        What cells are made with.
    schema
        How conditions are written.
    contexts
        Names of the contexts.
    wanted
        Conditions by label; ``None`` for all that were trained on.

    Returns
    -------
    One row for each condition, and context where there are several, by label.

    Raises
    ------
    ValueError
        When there are no counts to make cells of.
    """
    if model is None or not model.has_counts:
        raise ValueError(
            "The screen has no counts to tell responders by, nor are they to be told from its "
            "expression. Name the layer that has them, setup_anndata(adata, "
            "counts_layer='counts'), and train again."
        )
    rows = []
    for number, context in sorted(model.contexts.items()):
        own = {schema.join(key): key for key in context.responders} if wanted is None else wanted
        for label, key in own.items():
            told = asdict(expect_responders(context.responders, key))
            rows.append({"label": label, "context": contexts[number], **told})
    columns = ["label", "context", *(part.name for part in fields(Responders))]
    table = pd.DataFrame(rows, columns=columns).set_index("label")
    return table if len(model.contexts) > 1 else table.drop(columns="context")
