"""The judge of the field on a split: which cells it is shown, each context by itself."""

import logging
from collections.abc import Callable
from functools import cache
from importlib.metadata import version

import pandas as pd
from anndata import AnnData

from scbig._constants import COUNTS, JUDGE
from scbig._optional import require
from scbig.benchmark._context_judge import ContextJudge, shorten
from scbig.benchmark._judged_cells import add_counts, count_cells, draw_equal
from scbig.data import ScreenSchema, make_judged, make_judged_real

logger = logging.getLogger(__name__)

COLUMNS = (
    "predictor", "split", "seed", "context", "metric", "value", "scaled", "baseline",
    "replicate", "status",
)  # fmt: skip
# A prediction of as many cells as the largest condition has must fit into memory.
MAX_CELLS = 1000


def describe_judge(name: str) -> str:
    """Name a judge with its version; parts that another one judged are not joined with them."""
    require("cell_eval2", "vcc")
    return f"{name}, cell-eval2 {version('cell-eval2')}"


class FieldJudge:
    """Judges predictions of the test conditions of a split, each context by itself.

    Parameters
    ----------
    name
        Name of a set of rules of cell-eval2.
    real
        Test cells and control cells of the tested contexts.
    train
        Cells that predictors learn from. Where they have as many cells of every tested condition,
        as in the seen task, these are the ceiling.
    schema
        Where both keep their labels.
    seed
        Seed of the cells that are drawn.

    Raises
    ------
    ImportError
        When cell-eval2 is not installed (extra ``vcc``).
    ValueError
        When the cells have no counts.
    """

    def __init__(
        self, name: str, real: AnnData, train: AnnData, schema: ScreenSchema, seed: int
    ) -> None:
        self.name = name
        self._real, self._train, self._schema, self._seed = real, train, schema, seed
        self._cells = make_judged_real(real, schema)
        contexts = self._cells.obs[JUDGE.CONTEXT]
        self._judges = {
            context: ContextJudge(name, self._cells[contexts == context].copy())
            for context in contexts.unique()
        }
        self._n_real = count_cells(real, schema)
        self._tell_combinations()

    @property
    def n_cells(self) -> int:
        """Cells to predict of each condition: as many as the largest has, at most 1,000."""
        return min(max(self._n_real.values()), MAX_CELLS)

    def score(self, predicted: AnnData, layer: str | None = None) -> pd.DataFrame:
        """Score a prediction.

        Parameters
        ----------
        predicted
            Predicted cells, of which as many are taken as there are real ones of the condition.
        layer
            Layer with the prediction.

        Returns
        -------
        Rows as of :class:`ContextJudge`, with their ``context``.
        """
        chosen = draw_equal(predicted, self._schema, self._n_real, self._seed)
        shown = predicted[chosen].copy()
        cells, _ = make_judged(shown, self._real, self._schema, layer, self._cells)
        return self._tabulate(
            lambda name, judge: judge.score(cells[cells.obs[JUDGE.CONTEXT] == name].copy())
        )

    def score_ceiling(self) -> pd.DataFrame:
        """Score real cells: those of training, or one half of the real cells against the other.

        Returns
        -------
        As :meth:`score`. Against half of the cells, an error is larger than against all.
        """
        trained = count_cells(self._train, self._schema)
        if all(trained.get(group, 0) >= 0.9 * n for group, n in self._n_real.items()):
            layer = COUNTS if COUNTS in self._train.layers else None
            return self.score(self._train, layer)
        return self._tabulate(lambda _, judge: judge.score_half(self._seed))

    def get_failed(self, reason: str) -> pd.DataFrame:
        """Make the rows of a predictor that has nothing to judge.

        Parameters
        ----------
        reason
            Why it has nothing.

        Returns
        -------
        As :meth:`score`, without values.
        """
        return self._tabulate(lambda _, judge: judge.get_failed(reason))

    def _tell_combinations(self) -> None:
        """Say what the judge's own warning says, which is hushed."""
        judges = [judge for judge in self._judges.values() if judge.is_excluding]
        labels = {label for judge in judges for label in judge.conditions}
        several = sorted(label for label in labels if len(self._schema.parse(label)) > 1)
        if several:
            _warn_of_combinations(len(several), several[0])

    def _tabulate(self, ask: Callable[[str, ContextJudge], pd.DataFrame]) -> pd.DataFrame:
        """Ask the judge of each context; what its rules refuse in one leaves the others.

        That is a `ValueError`, and will be refused again. Any other error may be an accident:
        it is the caller's, and no context is kept.
        """
        tables = []
        for name, judge in self._judges.items():
            try:
                rows = ask(name, judge)
            except ValueError as error:
                logger.warning("Not judged in %r: %s", name, shorten(error))
                rows = judge.get_failed(shorten(error))
            tables.append(rows.assign(context=name))
        columns = [name for name in COLUMNS if name not in ("predictor", "split", "seed")]
        return pd.concat(tables, ignore_index=True).reindex(columns=columns)


def make_judge(
    name: str, screen: AnnData, real: AnnData, train: AnnData, schema: ScreenSchema, seed: int
) -> FieldJudge:
    """Make the judge of a split, with the counts that the screen keeps beside its expression.

    Parameters
    ----------
    name
        Name of a set of rules.
    screen
        The whole screen, whose ``layers["counts"]`` predictors are not shown.
    real, train, schema, seed
        See :class:`FieldJudge`.

    Returns
    -------
    The judge.
    """
    if COUNTS in screen.layers and screen.obs_names.is_unique:
        real, train = (add_counts(cells, screen) for cells in (real, train))
    return FieldJudge(name, real, train, schema, seed)


@cache  # said once, not with every split
def _warn_of_combinations(n: int, first: str) -> None:
    logger.warning(
        "cell-eval2 leaves the target of a condition out of some scores, by the name of its gene. "
        "%d combinations, such as %r, are no gene to it: they are scored with their targets, "
        "which is easier.",
        n,
        first,
    )
