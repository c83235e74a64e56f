"""Do the errors that a prediction tells of its effects hold, and its probabilities of a change?

All functions take arrays of conditions x genes. A NaN leaves a gene out of its condition, such as
one that no cell expresses; a condition of which nothing can be said is NaN.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import ndtri

LEVELS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
TOP_SHARE = 0.1
N_BINS = 10
# Half the width of an interval that holds 90% of a normal distribution, in standard deviations.
HALF_90 = float(ndtri(0.95))


def coverage_90(
    real_effect: ArrayLike,
    sampling_variance: ArrayLike,
    predicted_effect: ArrayLike,
    standard_error: ArrayLike,
) -> np.ndarray:
    """Share of measured effects inside the 90% intervals of the prediction.

    The interval is the predicted effect and 1.645 times the square root of
    ``standard_error**2 + sampling_variance``, to both sides: a measured effect is the true one, of
    which the prediction tells the error, and the error of measuring it, which is known from its
    cells. Errors that are told too small have a share below 0.9, too large ones above.

    Parameters
    ----------
    real_effect
        Measured effects, ``(C, G)``: mean expression less that of the controls, log1p units.
    sampling_variance
        Variance of their own sampling errors, ``(C, G)``, in squared log1p units; NaN leaves a
        gene out.
    predicted_effect
        Predicted effects, ``(C, G)``.
    standard_error
        Standard errors of the true effects about the predicted ones, ``(C, G)``, log1p units.

    Returns
    -------
    numpy.ndarray
        Shares in [0, 1], ``(C,)``; 0.9 is best. NaN without genes.

    Raises
    ------
    ValueError
        If the shapes differ, or a variance or error is negative.
    """
    surprise = _get_surprise(real_effect, sampling_variance, predicted_effect, standard_error)
    return _average(surprise <= HALF_90, ~np.isnan(surprise))


def coverage_90_top(
    real_effect: ArrayLike,
    sampling_variance: ArrayLike,
    predicted_effect: ArrayLike,
    standard_error: ArrayLike,
) -> np.ndarray:
    """Share inside the 90% intervals among the tenth of genes with the largest predicted effects.

    Most genes of a screen hardly change, and a share over all of them says little of those that
    are looked at. They are chosen in each condition by absolute predicted effect; among equal
    ones the earlier gene is taken.

    Parameters
    ----------
    real_effect, sampling_variance, predicted_effect, standard_error
        As in :func:`coverage_90`.

    Returns
    -------
    numpy.ndarray
        Shares in [0, 1], ``(C,)``; 0.9 is best. NaN without genes.

    Raises
    ------
    ValueError
        If the shapes differ, or a variance or error is negative.
    """
    surprise = _get_surprise(real_effect, sampling_variance, predicted_effect, standard_error)
    return _average(surprise <= HALF_90, choose_top(predicted_effect, ~np.isnan(surprise)))


def interval_width(sampling_variance: ArrayLike, standard_error: ArrayLike) -> np.ndarray:
    """Mean width of the 90% intervals of measured effects, in log1p units.

    Wide intervals hold everything: of two predictions with the same :func:`coverage_90` the one
    with the narrower intervals knows more. As these are intervals of measured effects, a
    prediction without any error has a width, too; the ceiling, one half of the real cells about
    the other, is what to read it beside. The unit is that of the effects and not their standard
    deviation, so that a width can be held against the changes that are of interest.

    Parameters
    ----------
    sampling_variance, standard_error
        As in :func:`coverage_90`.

    Returns
    -------
    numpy.ndarray
        Widths, ``(C,)``, from 0. NaN without genes.

    Raises
    ------
    ValueError
        If the shapes differ, or a variance or error is negative.
    """
    spread = _get_spread(*_read(sampling_variance=sampling_variance, error=standard_error))
    return _average(2 * HALF_90 * spread, ~np.isnan(spread))


def auroc_changed(
    calls: ArrayLike,
    predicted_effect: ArrayLike,
    probability_up: ArrayLike | None = None,
    probability_down: ArrayLike | None = None,
) -> np.ndarray:
    """How well the genes that change in real cells are told from all others.

    The area under the ROC curve (``sklearn.metrics.roc_auc_score``): the chance that a gene that
    is called differentially expressed in the real cells ranks above one that is not.
    Genes rank by the sum of both probabilities where a prediction tells them, and by
    absolute predicted effect where it does not.

    Parameters
    ----------
    calls
        What real cells call, ``(C, G)``: 1 up, -1 down, 0 neither, see :func:`call_directions`.
    predicted_effect
        Predicted effects, ``(C, G)``.
    probability_up, probability_down
        Predicted probabilities that a gene is higher, and lower, than in the controls,
        ``(C, G)``; both or none.

    Returns
    -------
    numpy.ndarray
        Areas in [0, 1], ``(C,)``; higher is better, 0.5 is chance. NaN where all genes are called
        or none is.

    Raises
    ------
    ValueError
        If the shapes differ or one probability is given without the other.
    """
    truth, effect, up, down = _read_told(calls, predicted_effect, probability_up, probability_down)
    score = np.abs(effect) if up is None or down is None else up + down
    return _rank_rows(truth != 0, score, ~np.isnan(truth))


def auroc_direction(
    calls: ArrayLike,
    predicted_effect: ArrayLike,
    probability_up: ArrayLike | None = None,
    probability_down: ArrayLike | None = None,
) -> np.ndarray:
    """How well genes that go up are told from genes that go down, among those that change.

    The area under the ROC curve over the genes that real cells call: the chance that one that is
    called up ranks above one that is called down. Genes rank by the probability of up over the
    sum of both where a prediction tells them (0.5 where both are 0), and by predicted effect
    where it does not.

    Parameters
    ----------
    calls, predicted_effect, probability_up, probability_down
        As in :func:`auroc_changed`.

    Returns
    -------
    numpy.ndarray
        Areas in [0, 1], ``(C,)``; higher is better, 0.5 is chance. NaN where called genes do not
        go both ways.

    Raises
    ------
    ValueError
        If the shapes differ or one probability is given without the other.
    """
    truth, effect, up, down = _read_told(calls, predicted_effect, probability_up, probability_down)
    score = effect
    if up is not None and down is not None:
        either = up + down
        score = np.divide(up, either, out=np.full_like(up, 0.5), where=either > 0)
        score = np.where(np.isnan(either), np.nan, score)
    return _rank_rows(truth > 0, score, np.abs(truth) == 1)


def brier_changed(
    calls: ArrayLike, probability_up: ArrayLike, probability_down: ArrayLike
) -> np.ndarray:
    """Mean squared difference of the probability of a change and what real cells call.

    The score of Brier (1950, doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2). A constant
    probability that equals the share of called genes, r, has r (1 - r): as shares differ between
    conditions, compare predictions with each other, on the same conditions.

    Parameters
    ----------
    calls, probability_up, probability_down
        As in :func:`auroc_changed`.

    Returns
    -------
    numpy.ndarray
        Scores in [0, 1], ``(C,)``; lower is better. NaN where no call could be made.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    truth, up, down = _read(calls=calls, probability_up=probability_up, down=probability_down)
    error = np.square(up + down - (truth != 0))
    return _average(error, ~np.isnan(error + truth))


def tabulate_probability(
    calls: ArrayLike, probability_up: ArrayLike, probability_down: ArrayLike
) -> pd.DataFrame:
    """Compare probabilities of a change with the share of genes that change, tenth by tenth.

    Parameters
    ----------
    calls, probability_up, probability_down
        As in :func:`auroc_changed`; all conditions and genes are put together.

    Returns
    -------
    pandas.DataFrame
        For :func:`scbig.pl.reliability`, a row for each tenth of [0, 1] that holds a gene:
        ``predicted``, the mean probability; ``observed``, the share that real cells call; ``n``,
        the number of genes of all conditions.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    truth, up, down = _read(calls=calls, probability_up=probability_up, down=probability_down)
    is_used = ~np.isnan(truth + up + down)
    predicted, is_called = np.clip((up + down)[is_used], 0, 1), (truth != 0)[is_used]
    tenth = np.minimum((predicted * N_BINS).astype(np.int64), N_BINS - 1)
    rows = pd.DataFrame({"predicted": predicted, "observed": is_called, "tenth": tenth})
    groups = rows.groupby("tenth")
    return groups[["predicted", "observed"]].mean().assign(n=groups.size()).reset_index(drop=True)


def tabulate_coverage(
    real_effect: ArrayLike,
    sampling_variance: ArrayLike,
    predicted_effect: ArrayLike,
    standard_error: ArrayLike,
    levels: Sequence[float] = LEVELS,
) -> pd.DataFrame:
    """Compare the share that intervals are to hold with the share that they hold.

    Parameters
    ----------
    real_effect, sampling_variance, predicted_effect, standard_error
        As in :func:`coverage_90`; all conditions and genes are put together.
    levels
        Shares that intervals are to hold, each between 0 and 1.

    Returns
    -------
    pandas.DataFrame
        For :func:`scbig.pl.reliability`, a row for each level and group of genes: ``genes``,
        ``"all"`` or ``"top tenth"`` (see :func:`coverage_90_top`); ``predicted``, the level;
        ``observed``, the share of measured effects inside; ``n``, the number of genes of all
        conditions.

    Raises
    ------
    ValueError
        If the shapes differ, or a variance or error is negative.
    """
    surprise = _get_surprise(real_effect, sampling_variance, predicted_effect, standard_error)
    is_used = ~np.isnan(surprise)
    chosen = {"all": is_used, "top tenth": choose_top(predicted_effect, is_used)}
    rows = []
    for name, genes in chosen.items():
        values = np.sort(surprise[genes])
        inside = np.searchsorted(values, ndtri((1 + np.array(levels)) / 2), side="right")
        observed = inside / len(values) if len(values) else np.nan
        table = {"genes": name, "predicted": levels, "observed": observed, "n": len(values)}
        rows.append(pd.DataFrame(table))
    return pd.concat(rows, ignore_index=True)


def choose_top(predicted_effect: ArrayLike, is_used: np.ndarray) -> np.ndarray:
    """Choose the tenth of the usable genes with the largest predicted effects, at least one.

    Parameters
    ----------
    predicted_effect
        Predicted effects, ``(C, G)``.
    is_used
        Genes to choose from, ``(C, G)``.

    Returns
    -------
    numpy.ndarray
        Mask of the chosen genes, ``(C, G)``.
    """
    strength = np.where(is_used, np.abs(np.asarray(predicted_effect, np.float64)), -1.0)
    order = np.argsort(-strength, axis=1, kind="stable")
    n_top = np.ceil(TOP_SHARE * is_used.sum(axis=1, keepdims=True))
    is_top = np.zeros(strength.shape, dtype=bool)
    np.put_along_axis(is_top, order, np.arange(strength.shape[1]) < n_top, axis=1)
    return is_top


def _read(**given: ArrayLike) -> list[np.ndarray]:
    """Read arrays, which must be conditions x genes of one shape."""
    arrays = {name: np.asarray(value, dtype=np.float64) for name, value in given.items()}
    shapes = {name: array.shape for name, array in arrays.items()}
    if len(set(shapes.values())) > 1 or any(len(shape) != 2 for shape in shapes.values()):
        raise ValueError(f"All arrays are conditions x genes of one shape; found {shapes}.")
    return list(arrays.values())


def _read_told(
    calls: ArrayLike, effect: ArrayLike, up: ArrayLike | None, down: ArrayLike | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:
    if (up is None) != (down is None):
        raise ValueError("Give both probability_up and probability_down, or neither.")
    if up is None or down is None:
        truth, values = _read(calls=calls, predicted_effect=effect)
        return truth, values, None, None
    truth, values, high, low = _read(
        calls=calls, predicted_effect=effect, probability_up=up, probability_down=down
    )
    return truth, values, high, low


def _get_spread(sampling_variance: np.ndarray, standard_error: np.ndarray) -> np.ndarray:
    """Standard deviation of a measured effect about the predicted one."""
    if (sampling_variance < 0).any() or (standard_error < 0).any():
        raise ValueError("sampling_variance and standard_error cannot be negative.")
    return np.sqrt(np.square(standard_error) + sampling_variance)


def _get_surprise(
    real: ArrayLike, variance: ArrayLike, predicted: ArrayLike, error: ArrayLike
) -> np.ndarray:
    """Distances of measured from predicted effects in standard deviations, ``(C, G)``."""
    found, sampling, told, standard_error = _read(
        real_effect=real,
        sampling_variance=variance,
        predicted_effect=predicted,
        standard_error=error,
    )
    distance, spread = np.abs(found - told), _get_spread(sampling, standard_error)
    # What is known for sure and right is no surprise.
    far = np.where(np.isnan(distance + spread), np.nan, np.where(distance > 0, np.inf, 0.0))
    return np.divide(distance, spread, out=far, where=spread > 0)


def _average(values: np.ndarray, is_used: np.ndarray) -> np.ndarray:
    """Average the used values of each row; NaN where there are none."""
    n = is_used.sum(axis=1)
    total = np.where(is_used, values, 0.0).sum(axis=1)
    return np.divide(total, n, out=np.full(len(n), np.nan), where=n > 0)


def _rank_rows(is_true: np.ndarray, score: np.ndarray, is_used: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of each row; NaN where only one side is there."""
    from sklearn.metrics import roc_auc_score

    is_used = is_used & ~np.isnan(score)
    areas = np.full(len(score), np.nan)
    for i, (truth, values, used) in enumerate(zip(is_true, score, is_used, strict=True)):
        if 0 < truth[used].sum() < used.sum():
            areas[i] = roc_auc_score(truth[used], values[used])
    return areas
