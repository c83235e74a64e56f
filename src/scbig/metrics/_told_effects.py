"""What do predicted effects and their errors score against measured effects?"""

import inspect
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from scbig.data import ERRORS, Expression, ScreenSchema, get_context_names, get_matrix
from scbig.metrics._calibration import tabulate_coverage, tabulate_probability
from scbig.metrics._catalogue import Metric
from scbig.metrics._de_calls import call_directions
from scbig.metrics._ground_truth import (
    MAX_REAL_CELLS,
    NOT_PREDICTED,
    GroundTruth,
    Sample,
    draw_rows,
)
from scbig.metrics._inputs import (
    Averages,
    Key,
    Moments,
    compute_moments,
    find_genes,
    get_rounding,
    read_cells,
)
from scbig.metrics._score import CEILING_OK, LONE_CELL, OK, Scores, make_halves

NO_ERRORS = "no errors: the prediction tells effects without {}"
NO_EFFECTS = (
    "needs effects= with {}: Evaluator.score(..., effects=model.predict_effects(perturbations))"
)
NOT_TOLD = "not predicted: effects has no row of this condition in this context"
UNDEFINED = {
    "auroc_changed": "no gene, or every gene, is called differentially expressed in real cells",
    "auroc_direction": "genes called differentially expressed in real cells do not go both ways",
}
# The weight of the variance that all groups share, in cells that express a gene: a group in which
# no cell happens to express it is not without error.
PRIOR_CELLS = 4.0


@dataclass(frozen=True)
class MeasuredEffects:
    """Effects of the conditions by real cells.

    Attributes
    ----------
    real_effect
        Mean less that of the real controls, ``(C, G)``.
    sampling_variance
        Variance of its sampling error, ``(C, G)``; NaN for a gene without variance.
    calls
        1 up, -1 down, 0 neither, NaN where too few cells were measured, ``(C, G)``.
    problems
        By argument, why it is missing for each condition; empty text where it is there.
    """

    real_effect: np.ndarray
    sampling_variance: np.ndarray
    calls: np.ndarray
    problems: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class ToldEffects:
    """What a prediction tells of the same conditions.

    Attributes
    ----------
    predicted_effect
        Expected effect, ``(C, G)``.
    standard_error, probability_up, probability_down
        See :mod:`scbig.metrics._calibration`, ``(C, G)``; ``None`` where they are not told.
    problems
        For each condition, why nothing is told; empty text where something is.
    remark
        What to say where errors are missing.
    """

    predicted_effect: np.ndarray
    standard_error: np.ndarray | None
    probability_up: np.ndarray | None
    probability_down: np.ndarray | None
    problems: Sequence[str]
    remark: str


class EffectScorer:
    """Scores predicted effects of the real conditions, which are measured once.

    Parameters
    ----------
    metrics
        Metrics of the level ``"effects"``, by name.
    truth, sample
        The real cells.
    schema
        Where all keep their labels.
    seed
        Seed of the halving behind the ceiling.
    """

    def __init__(
        self,
        metrics: Mapping[str, Metric],
        truth: GroundTruth,
        sample: Sample,
        schema: ScreenSchema,
        seed: int,
    ) -> None:
        self._metrics, self._truth, self._sample = metrics, truth, sample
        self._schema, self._seed = schema, seed
        # Tests take most of the time.
        self._use_calls = any("calls" in metric.takes for metric in metrics.values())

    @cached_property
    def _measured(self) -> MeasuredEffects:
        groups = self._truth.cells.groups
        return _measure_groups(self._truth, groups, use_calls=self._use_calls)

    def score(self, sample: Sample, effects: AnnData | None) -> dict[str, Scores]:
        """Score effects with their errors; without any, those of the means of predicted cells."""
        truth = self._truth
        told = (
            _take_effects(sample, truth)
            if effects is None
            else _read_effects(effects, truth, self._schema)
        )
        return {
            name: _score(name, metric, self._measured, told)
            for name, metric in self._metrics.items()
        }

    def score_ceiling(self) -> dict[str, Scores]:
        """Score one random half of each condition's real cells against the other.

        The effect of a half is told with its sampling error. Both halves have the controls in
        common, whose error cancels and counts on neither side.
        """
        truth = self._truth
        halves = [half.rows for half in next(make_halves(truth, self._sample, self._seed))]
        one, other = (
            truth.cells.groups | dict(zip(truth.keys, rows, strict=True)) for rows in halves
        )
        measured = _measure_groups(truth, one, use_calls=self._use_calls, has_own_controls=False)
        effect, variance = _estimate(truth.cells.expression, other, truth.keys, False)
        lone = measured.problems["sampling_variance"]
        scores = self._score_measured(measured, effect, variance, lone)
        return {
            name: (values, [CEILING_OK["half"] if text == OK else text for text in texts])
            for name, (values, texts) in scores.items()
        }

    def score_second(self, second: AnnData) -> dict[str, Scores]:
        """Score another measurement of the conditions, which has controls of its own."""
        keys = self._truth.keys
        cells = read_cells(second, self._schema, "measured", like=self._truth.cells)
        effect, variance = _estimate(cells.expression, cells.groups, keys, True)
        problems = ["" if key in cells.groups else NOT_PREDICTED for key in keys]
        return self._score_measured(self._measured, effect, variance, problems)

    def _score_measured(
        self,
        measured: MeasuredEffects,
        effect: np.ndarray,
        variance: np.ndarray,
        problems: Sequence[str],
    ) -> dict[str, Scores]:
        """Score effects that are told with their sampling errors, and without probabilities.

        Genes rank by effect over error, as in a test.
        """
        told = ToldEffects(effect, np.sqrt(variance), None, None, problems, NO_ERRORS)
        ranked = replace(told, predicted_effect=effect / np.sqrt(variance))
        return {
            name: _score(name, metric, measured, ranked if "calls" in metric.takes else told)
            for name, metric in self._metrics.items()
        }

    def tabulate(self, effects: AnnData) -> pd.DataFrame:
        """Put all conditions together: what was predicted, and the share that was observed."""
        told = _read_effects(effects, self._truth, self._schema)
        if lacking := [name for name in ERRORS if getattr(told, name) is None]:
            raise ValueError(
                f"effects has no layers {lacking}: there are no errors to rely on. Give what "
                "predict_effects of a model returns; baselines tell no errors."
            )
        is_there = np.array([not text for text in told.problems])
        calls, real, variance, predicted, error, up, down = (
            np.asarray(values)[is_there]
            for values in (
                self._measured.calls,
                self._measured.real_effect,
                self._measured.sampling_variance,
                told.predicted_effect,
                told.standard_error,
                told.probability_up,
                told.probability_down,
            )
        )
        tenths = tabulate_probability(calls, up, down).assign(kind="probability", genes="all")
        inside = tabulate_coverage(real, variance, predicted, error).assign(kind="coverage")
        table = pd.concat([tenths, inside], ignore_index=True)
        return table[["kind", "genes", "predicted", "observed", "n"]]


def _measure_groups(
    truth: GroundTruth,
    groups: Mapping[Key, np.ndarray],
    *,
    use_calls: bool,
    has_own_controls: bool = True,
) -> MeasuredEffects:
    effect, variance = _estimate(truth.cells.expression, groups, truth.keys, has_own_controls)
    calls, errors = np.full(effect.shape, np.nan), [""] * len(truth.keys)
    if use_calls:
        calls, errors = _call_all(truth, groups)
    lone = [LONE_CELL if len(groups[key]) < 2 else "" for key in truth.keys]
    return MeasuredEffects(effect, variance, calls, {"sampling_variance": lone, "calls": errors})


def _read_effects(effects: AnnData, truth: GroundTruth, schema: ScreenSchema) -> ToldEffects:
    """Find the conditions of the real cells in an AnnData of conditions x genes.

    ``X`` has the expected effects, layers the errors; labels are those of ``schema``. Genes and
    conditions are matched by name.
    """
    if not isinstance(effects, AnnData):
        raise ValueError(
            f"effects is a {type(effects).__name__}, and no AnnData of conditions x genes. Give "
            "model.predict_effects([...]) as it is returned."
        )
    wanted = (schema.perturbation_key, *schema.context_keys)
    if missing := [key for key in wanted if key not in effects.obs]:
        raise ValueError(
            f"effects lacks the columns {missing} of obs; it has {list(effects.obs)}. Give what "
            "predict_effects of a predictor of this screen returned."
        )
    labels = effects.obs[schema.perturbation_key].astype(str)
    contexts = get_context_names(effects.obs, schema.context_keys)
    keys = [(schema.parse(label), name) for label, name in zip(labels, contexts, strict=True)]
    row_of = {key: i for i, key in enumerate(keys)}
    if len(row_of) < len(keys):
        (targets, name), n_rows = Counter(keys).most_common(1)[0]
        where = f"{schema.join(targets)!r}" + (f" in {name!r}" if schema.context_keys else "")
        raise ValueError(
            f"effects has {n_rows} rows of {where}, where one is expected of each condition and "
            "context: give model.predict_effects([...]), not cells, with each condition once."
        )
    rows = [row_of.get(key) for key in truth.keys]
    columns = find_genes(effects.var_names, truth.cells.genes, "effects")
    chosen = np.array([0 if row is None else row for row in rows], dtype=np.int64)
    told = {
        name: Expression(get_matrix(effects, name), columns).rows(chosen).astype(np.float64)
        for name in ERRORS
        if name in effects.layers
    }
    expected = Expression(effects.X, columns).rows(chosen).astype(np.float64)
    _check_told({"X": expected, **told})
    problems = [NOT_TOLD if row is None else "" for row in rows]
    return ToldEffects(
        expected,
        told.get("standard_error"),
        told.get("probability_up"),
        told.get("probability_down"),
        problems,
        NO_ERRORS,
    )


def _take_effects(sample: Sample, truth: GroundTruth) -> ToldEffects:
    """Take the effects from the means of predicted cells, which tell no errors."""
    control = Averages.stack([truth.control[context] for _, context in truth.keys])
    effect = (sample.mean - control).effect
    return ToldEffects(effect, None, None, None, sample.problems, NO_EFFECTS)


def _score(name: str, metric: Metric, measured: MeasuredEffects, told: ToldEffects) -> Scores:
    given = {key: getattr(measured, key, getattr(told, key, None)) for key in metric.takes}
    # What a function can do without is None by default.
    arguments = inspect.signature(metric.function).parameters
    lacking = [k for k, v in given.items() if v is None and arguments[k].default is not None]
    if lacking:
        text = told.remark.format(" and ".join(f"layers[{key!r}]" for key in lacking))
        return np.full(len(told.problems), np.nan), [text] * len(told.problems)
    values = metric.function(**given)
    missing = [measured.problems[key] for key in metric.takes if key in measured.problems]
    sides = zip(told.problems, *missing, strict=True)
    problems = [next(filter(None, texts), "") for texts in sides]
    values = np.where([not problem for problem in problems], values, np.nan)
    undefined = UNDEFINED.get(name, "undefined: no gene has a variance or a call")
    return values, [
        problem or (undefined if np.isnan(value) else OK)
        for problem, value in zip(problems, values, strict=True)
    ]


def _estimate(
    expression: Expression,
    groups: Mapping[Key, np.ndarray],
    keys: Sequence[Key],
    has_own_controls: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Estimate the effects of some groups, and the variances of their sampling errors.

    The error of the control mean is a part, where controls are of this measurement alone.
    """
    none = np.empty(0, dtype=np.int64)
    contexts = list(dict.fromkeys(context for _, context in keys))
    rows = [groups.get(key, none) for key in keys] + [groups[(), name] for name in contexts]
    context = [contexts.index(name) for _, name in keys]
    moments = compute_moments(expression, rows, use_squares=True)
    variance = _share_variances(moments, np.array([*context, *range(len(contexts))]))
    n, control = len(keys), len(keys) + np.array(context)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = variance / moments.n_cells[:, None]
    mean = moments.mean.array
    sampling = error[:n] + error[control] if has_own_controls else error[:n]
    return mean[:n] - mean[control], sampling


def _share_variances(moments: Moments, context: np.ndarray) -> np.ndarray:
    """Estimate the variance of cells in each group, ``(n_groups, G)``.

    Of a gene that few cells express, the variance in a group is itself a matter of chance, and 0
    where none happens to: it is drawn to the variance within all groups of the context. The group
    counts for as many cells as express the gene (the squared sum over the sum of squares), the
    others for four. NaN for a lone cell, and for a gene that is constant in all groups.
    """
    n = moments.n_cells[:, None]
    total, square = moments.total, np.asarray(moments.square)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(n > 0, total / n, 0.0)
        within = np.maximum(square - total * mean, 0.0)
        own = within / (n - 1)
        n_expressing = np.where(square > 0, total**2 / square, 0.0)
    shared = np.empty_like(own)
    for i in np.unique(context):
        is_here = context == i
        n_free = np.maximum(moments.n_cells[is_here] - 1, 0).sum()
        pooled = within[is_here].sum(axis=0) / max(n_free, 1)
        rounding = get_rounding(moments.dtype) * np.abs(mean[is_here]).max(axis=0)
        shared[is_here] = np.where(pooled > rounding**2, pooled, np.nan)
    drawn = (n_expressing * own + PRIOR_CELLS * shared) / (n_expressing + PRIOR_CELLS)
    return np.where(n > 1, drawn, np.nan)


def _call_all(
    truth: GroundTruth, groups: Mapping[Key, np.ndarray]
) -> tuple[np.ndarray, list[str]]:
    """Test each condition against the real controls, and say where that cannot be done."""
    expression, n_genes = truth.cells.expression, len(truth.cells.genes)
    calls, errors = np.full((len(truth.keys), n_genes), np.nan), [""] * len(truth.keys)
    for context, block in truth.get_blocks():
        drawn = draw_rows(truth.cells.groups[(), context], MAX_REAL_CELLS, 0, 0)
        control = sparse.csr_matrix(_read_stored(expression, drawn))
        for i in range(block.start, block.stop):
            rows = draw_rows(groups[truth.keys[i]], MAX_REAL_CELLS, 0, i)
            try:
                calls[i] = call_directions(_read_stored(expression, rows), control)
            except ValueError as error:
                errors[i] = str(error)
    return calls, errors


def _read_stored(expression: Expression, rows: np.ndarray) -> np.ndarray:
    """Read cells in the precision in which they are stored."""
    return expression.rows(rows).astype(expression.dtype, copy=False)


def _check_told(told: Mapping[str, np.ndarray]) -> None:
    for name, values in told.items():
        if not np.isfinite(values).all():
            raise ValueError(f"effects holds values in {name} that are not finite.")
        if name != "X" and (values < 0).any():
            raise ValueError(f"effects holds negative values in layers[{name!r}].")
        if name.startswith("probability") and (values > 1 + 1e-6).any():
            raise ValueError(f"effects holds values above 1 in layers[{name!r}].")
