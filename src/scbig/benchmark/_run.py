"""The benchmark: every predictor on every split, scored alike."""

import gc
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from os import PathLike
from pathlib import Path

import pandas as pd
from anndata import AnnData

from scbig._annotations import checked
from scbig._protocols import Predictor
from scbig.benchmark._folder import BenchmarkFolder, Config, make_config
from scbig.benchmark._parts import Part, PartResult, ShowProgress, Tracker, make_parts
from scbig.benchmark._report import make_report
from scbig.benchmark._settings import (
    BenchmarkSettings,
    PredictorSpec,
    Resources,
    describe_screen,
    resolve_predictors,
)
from scbig.benchmark._split_run import COLUMNS, SplitLabels, SplitRunner, read_split, take_cells
from scbig.benchmark._summary import compare, find_best_floors, summarise
from scbig.data import (
    ScreenSchema,
    Targets,
    check_expression,
    infer_schema,
    say_once,
    warn_of_depth,
)
from scbig.splits import Split, write_splits

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BenchmarkResult:
    """What a benchmark gave.

    Attributes
    ----------
    scores
        One row for each predictor, split, seed, condition, context and metric, as in
        ``scores.csv``.
    summary
        Means and intervals, see :func:`summarise`; as in ``summary.csv``.
    comparison
        Differences to the best floor, see :func:`compare`; as in ``comparison.csv``.
    failures
        Error of each part whose predictor failed, or its judge, by split, seed and predictor. A
        rerun tries them again.
    folder
        Where everything was written.
    judged
        What the judge of the field said, one row for each predictor, split, seed, context and
        metric: the score as it is, ``scaled`` so that the judge's ``baseline`` is 0 and its
        ``replicate`` 1, and why there is none; as in ``judge.csv``. ``None`` if none was asked.
    """

    scores: pd.DataFrame
    summary: pd.DataFrame
    comparison: pd.DataFrame
    failures: dict[str, str] = field(default_factory=dict)
    folder: Path = Path()
    judged: pd.DataFrame | None = None


@checked
@say_once()
def run(
    adata: AnnData,
    splits: Mapping[str, Split] | Iterable[Split],
    predictors: Iterable[str | type[Predictor] | PredictorSpec],
    *,
    out: str | PathLike[str],
    resources: Resources | None = None,
    schema: ScreenSchema | None = None,
    settings: BenchmarkSettings | None = None,
    progress: ShowProgress | None = None,
) -> BenchmarkResult:
    """Train predictors on splits of a screen and score what they predict.

    Every predictor learns from the same cells (training and validation conditions, and all
    controls), may choose its settings on the validation conditions and then learn from them
    too, predicts the test conditions from the same control cells, and is scored by
    :class:`scbig.metrics.Evaluator` beside the floors (the baselines) and the ceiling (how well
    one half of the real cells predicts the other).

    Finished parts are kept in ``out``: a rerun after an interruption goes on from there, and a
    later run may add predictors, splits and seeds.

    Parameters
    ----------
    adata
        Log1p-normalised expression of single cells with perturbation labels.
    splits
        What is held out, such as :func:`scbig.splits.read_splits` returns.
    predictors
        Names (see :func:`get_predictor_names`), classes that follow the protocol of models and
        baselines, or specs. Where no floor is among them, all of the tasks are added.
    out
        Folder for the results: ``scores.csv``, ``summary.csv``, ``comparison.csv``,
        ``report.html``, ``config.json`` and the finished parts; with a judge ``judge.csv``.
    resources
        Prior knowledge, the same for all predictors.
    schema
        Where the screen keeps its labels; recognised by default.
    settings
        Seeds, metrics and numbers of cells.
    progress
        Called when a part begins, with what is running and the time left.

    Returns
    -------
    The scores, their means and their differences to the best floor.

    Raises
    ------
    FileExistsError
        When ``out`` holds something that is no benchmark.
    ValueError
        When the screen cannot be read, a predictor is unknown, a split does not fit the screen,
        ``out`` holds a benchmark with another configuration, or a judge is asked and the cells
        have no counts.
    ImportError
        When a judge is asked and cell-eval2 is not installed (extra ``vcc``).

    Examples
    --------
    >>> import scbig
    >>> adata = scbig.data.simulate_screen(n_cells=1000, n_genes=200)
    >>> split = scbig.pp.split(adata, "unseen")
    >>> result = scbig.benchmark.run(adata, [split], ["additive"], out="bench")
    """
    settings, resources = settings or BenchmarkSettings(), resources or Resources()
    schema = infer_schema(adata) if schema is None else schema
    check_expression(adata, schema.layer, is_log1p=settings.is_log1p)
    if not settings.is_log1p:
        warn_of_depth(adata, schema.layer)
    splits = list(splits.values() if isinstance(splits, Mapping) else splits)
    tasks = {split.task for split in splits}
    settings, specs = settings.resolve(tasks), resolve_predictors(predictors, tasks)
    parts = make_parts(splits, specs, settings.seeds)
    labels = {split.name: read_split(adata.obs, split, schema) for split in splits}
    config = make_config(
        describe_screen(adata, schema), resources.describe(), splits, specs, settings
    )
    folder = BenchmarkFolder(Path(out), config, use_overwrite=settings.use_overwrite)
    runs = _Run(adata, schema, labels, resources, settings, folder)
    write_splits(folder.path / "splits.json", splits)
    results = runs.run(parts, Tracker(parts, progress))
    tables = [
        _annotate(part, result.scores, labels[part.split.name].kinds, schema)
        for part, result in results.items()
    ]
    scores = pd.concat(tables, ignore_index=True)
    judged = _join_judged(results.values(), folder) if settings.judge is not None else None
    summary, comparison = _conclude(scores, config, folder, judged)
    failures = {part.name: r.error for part, r in results.items() if r.error is not None}
    return BenchmarkResult(
        scores[list(COLUMNS)], summary, comparison, failures, folder.path, judged
    )


class _Run:
    """Runs what is not finished yet, split by split."""

    def __init__(
        self,
        adata: AnnData,
        schema: ScreenSchema,
        labels: Mapping[str, SplitLabels],
        resources: Resources,
        settings: BenchmarkSettings,
        folder: BenchmarkFolder,
    ) -> None:
        self._adata = adata
        self._schema = schema
        self._labels = labels
        self._resources = resources
        self._settings = settings
        self._folder = folder

    def run(self, parts: Sequence[Part], tracker: Tracker) -> dict[Part, PartResult]:
        """Return the results of all parts, in their order."""
        results: dict[Part, PartResult] = {}
        for part in parts:
            finished = self._folder.read_part(part)
            if finished is not None:
                results[part] = finished
                tracker.finish(part, finished.seconds)
        if results:
            logger.info("%d of %d parts were finished before.", len(results), len(parts))
        left = [part for part in parts if part not in results]
        for split, group in groupby(left, key=lambda part: part.split):
            results |= self._run_split(split, list(group), tracker)
        return {part: results[part] for part in parts}

    def _run_split(
        self, split: Split, parts: Sequence[Part], tracker: Tracker
    ) -> dict[Part, PartResult]:
        runner: SplitRunner | None = None
        results = {}
        for part in parts:
            tracker.begin(part)
            runner = runner or self._prepare(split)
            results[part] = runner.run(part)
            if results[part].error is None:
                self._folder.write_part(part, results[part])
            tracker.finish(part, results[part].seconds)
            if part.spec is not None and not part.spec.is_floor:
                gc.collect()  # models hold circles of references; the next needs the memory
        return results

    def _prepare(self, split: Split) -> SplitRunner:
        labels = self._labels[split.name]
        cells = take_cells(self._adata, labels, self._schema)
        judge = None
        if self._settings.judge is not None:
            from scbig.benchmark._field_judge import make_judge

            judge = make_judge(
                self._settings.judge,
                self._adata,
                cells.real,
                cells.train,
                cells.schema,
                split.seed,
            )
        return SplitRunner(labels, cells, self._resources, self._settings, split.seed, judge)


def _join_judged(results: Iterable[PartResult], folder: BenchmarkFolder) -> pd.DataFrame:
    """Put together what the judge said, and write it."""
    judged = pd.concat([r.judged for r in results if r.judged is not None], ignore_index=True)
    folder.write_text("judge.csv", judged.to_csv(index=False))
    return judged


def _conclude(
    scores: pd.DataFrame, config: Config, folder: BenchmarkFolder, judged: pd.DataFrame | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Average, compare, and write everything."""
    n_resamples = config.settings["n_resamples"]
    floors = [name for name, values in config.predictors.items() if values["is_floor"]]
    summary = summarise(scores, n_resamples=n_resamples)
    best = find_best_floors(scores, floors)
    comparison = compare(scores, best, n_resamples=n_resamples)
    for name, table in (
        ("scores.csv", scores[list(COLUMNS)]),
        ("summary.csv", summary),
        ("comparison.csv", comparison),
    ):
        folder.write_text(name, table.to_csv(index=False))
    table = None
    if judged is not None:
        from scbig.benchmark._judge_tables import describe_judged, make_judge_table

        table = make_judge_table(judged, *describe_judged(config.to_dict()))
    folder.write_text("report.html", make_report(scores, summary, comparison, config, table))
    return summary, comparison


def _annotate(
    part: Part, scores: pd.DataFrame, kinds: Mapping[Targets, str], schema: ScreenSchema
) -> pd.DataFrame:
    """Add the task, splits of which are pooled, and the kind of each condition."""
    split = part.split
    task = split.task if split.n_cells is None else f"{split.task}{split.n_cells}"
    kind = [kinds[schema.parse(label)] for label in scores["perturbation"]]
    return scores.assign(task=task, kind=kind)
