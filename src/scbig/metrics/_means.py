"""How close are predicted means of conditions to the real ones, every gene counting alike?

All functions take mean expression, conditions x genes, and return one float64 a condition.
Effects (deltas) are differences to the mean of the *real* controls, on both sides: a model that
predicts its own controls would otherwise shift all its effects.
"""

import logging
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from scbig.metrics._inputs import Averages

logger = logging.getLogger(__name__)


def pearson_delta(real: ArrayLike, predicted: ArrayLike, control: ArrayLike) -> np.ndarray:
    """Pearson correlation of predicted and real effect over all genes.

    Agrees with ``pearson_delta`` of cell-eval 0.8.2 when the predicted file carries the real
    controls. Where it is undefined, because an effect is the same for all genes (a prediction
    of no change, for example), SciPy and cell-eval give NaN and a mean over conditions is lost;
    here such a condition scores 0.0, no linear relation, and the number of them is logged.

    Parameters
    ----------
    real
        Mean expression of the real cells, ``(C, G)``, log1p-normalised.
    predicted
        Mean expression of the predicted cells, ``(C, G)``.
    control
        Mean expression of the real control cells, ``(G,)`` or one row a condition, ``(C, G)``.

    Returns
    -------
    numpy.ndarray
        Correlations in [-1, 1], ``(C,)``; higher is better.

    Raises
    ------
    ValueError
        If shapes do not fit or a value is not finite.
    """
    return _compute_row_correlation(check_means(real, predicted, control))


def pearson_delta_perturbed(
    real: ArrayLike, predicted: ArrayLike, reference: ArrayLike
) -> np.ndarray:
    """Pearson correlation of predicted and real effect relative to the mean perturbed profile.

    With the mean of the training conditions in place of the controls, the shift that all
    perturbed cells share no longer earns a correlation; what is left is specific to the
    condition (Systema: Viñas Torné et al. 2025, doi:10.1038/s41587-025-02777-8). The mean of the
    training conditions itself predicts no specific effect and scores 0.0, as undefined values
    do in :func:`pearson_delta`.

    Parameters
    ----------
    real, predicted
        As in :func:`pearson_delta`.
    reference
        Mean of the mean profiles of the training conditions, controls left out, ``(G,)`` or one
        row a condition, ``(C, G)``.

    Returns
    -------
    numpy.ndarray
        Correlations in [-1, 1], ``(C,)``; higher is better.

    Raises
    ------
    ValueError
        If shapes do not fit or a value is not finite.
    """
    means = check_means(real, predicted, reference, control_name="reference")
    return _compute_row_correlation(means)


def pearson_delta_top20(
    real: ArrayLike, predicted: ArrayLike, control: ArrayLike, *, n_top: int = 20
) -> np.ndarray:
    """Pearson correlation on the genes of largest real effect, up or down.

    The genes are chosen by absolute real effect, not by variance and not by a test. Among equal
    effects the earlier gene is taken. Undefined values are 0.0 as in :func:`pearson_delta`.

    Parameters
    ----------
    real, predicted, control
        As in :func:`pearson_delta`.
    n_top
        Number of genes, at most G.

    Returns
    -------
    numpy.ndarray
        Correlations in [-1, 1], ``(C,)``; higher is better.

    Raises
    ------
    ValueError
        If there are fewer than ``n_top`` genes, shapes do not fit or a value is not finite.
    """
    return _compute_row_correlation(_take_top(check_means(real, predicted, control), n_top))


def direction_accuracy(real: ArrayLike, predicted: ArrayLike, control: ArrayLike) -> np.ndarray:
    """Share of genes whose predicted effect has the sign of the real one.

    Zero is a sign of its own: a prediction of no change is right only where nothing changed.

    Parameters
    ----------
    real, predicted, control
        As in :func:`pearson_delta`.

    Returns
    -------
    numpy.ndarray
        Shares in [0, 1], ``(C,)``; higher is better.

    Raises
    ------
    ValueError
        If shapes do not fit or a value is not finite.
    """
    return _compute_sign_agreement(check_means(real, predicted, control))


def direction_accuracy_top20(
    real: ArrayLike, predicted: ArrayLike, control: ArrayLike, *, n_top: int = 20
) -> np.ndarray:
    """Share of right signs among the genes of largest real effect.

    Parameters
    ----------
    real, predicted, control
        As in :func:`pearson_delta`.
    n_top
        Number of genes, at most G.

    Returns
    -------
    numpy.ndarray
        Shares in [0, 1], ``(C,)``; higher is better.

    Raises
    ------
    ValueError
        If there are fewer than ``n_top`` genes, shapes do not fit or a value is not finite.
    """
    return _compute_sign_agreement(_take_top(check_means(real, predicted, control), n_top))


def mse(real: ArrayLike, predicted: ArrayLike, control: ArrayLike) -> np.ndarray:
    """Mean squared error of mean expression over genes.

    Agrees with ``mse`` of cell-eval 0.8.2.

    Parameters
    ----------
    real
        Mean expression of the real cells, ``(C, G)``, log1p-normalised.
    predicted
        Mean expression of the predicted cells, ``(C, G)``.
    control
        Mean expression of the real control cells, ``(G,)`` or ``(C, G)``. Checked but not used:
        all metrics on means are called alike.

    Returns
    -------
    numpy.ndarray
        Errors, ``(C,)``; lower is better.

    Raises
    ------
    ValueError
        If shapes do not fit or a value is not finite.
    """
    means = check_means(real, predicted, control)
    return np.square(means.predicted.array - means.real.array).mean(axis=1)


def mae(real: ArrayLike, predicted: ArrayLike, control: ArrayLike) -> np.ndarray:
    """Mean absolute error of mean expression over genes.

    Agrees with ``mae`` of cell-eval 0.8.2.

    Parameters
    ----------
    real, predicted, control
        As in :func:`mse`.

    Returns
    -------
    numpy.ndarray
        Errors, ``(C,)``; lower is better.

    Raises
    ------
    ValueError
        If shapes do not fit or a value is not finite.
    """
    means = check_means(real, predicted, control)
    return np.abs(means.predicted.array - means.real.array).mean(axis=1)


def mse_delta(real: ArrayLike, predicted: ArrayLike, control: ArrayLike) -> np.ndarray:
    """Mean squared error of effects over genes.

    With the real controls on both sides this is :func:`mse` up to rounding. It agrees with
    ``mse_delta`` of cell-eval 0.8.2 when the predicted file carries the real controls.

    Parameters
    ----------
    real, predicted, control
        As in :func:`mse`; the control is subtracted from both.

    Returns
    -------
    numpy.ndarray
        Errors, ``(C,)``; lower is better.

    Raises
    ------
    ValueError
        If shapes do not fit or a value is not finite.
    """
    means = check_means(real, predicted, control)
    return np.square(means.predicted_delta.array - means.real_delta.array).mean(axis=1)


def mae_delta(real: ArrayLike, predicted: ArrayLike, control: ArrayLike) -> np.ndarray:
    """Mean absolute error of effects over genes.

    With the real controls on both sides this is :func:`mae` up to rounding. It agrees with
    ``mae_delta`` of cell-eval 0.8.2 when the predicted file carries the real controls.

    Parameters
    ----------
    real, predicted, control
        As in :func:`mse`; the control is subtracted from both.

    Returns
    -------
    numpy.ndarray
        Errors, ``(C,)``; lower is better.

    Raises
    ------
    ValueError
        If shapes do not fit or a value is not finite.
    """
    means = check_means(real, predicted, control)
    return np.abs(means.predicted_delta.array - means.real_delta.array).mean(axis=1)


class Means(NamedTuple):
    """Checked means of real and predicted cells and of the real controls.

    ``real`` and ``predicted`` are ``(C, G)``, ``control`` is ``(G,)`` or ``(C, G)``.
    """

    real: Averages
    predicted: Averages
    control: Averages

    @property
    def real_delta(self) -> Averages:
        """Real effects, ``(C, G)``."""
        return self.real - self.control

    @property
    def predicted_delta(self) -> Averages:
        """Predicted effects, ``(C, G)``, against the *real* controls."""
        return self.predicted - self.control


def check_means(
    real: ArrayLike, predicted: ArrayLike, control: ArrayLike, *, control_name: str = "control"
) -> Means:
    """Check shapes and values of condition means and of what effects are differences to."""
    means = Means(*check_pair(real, predicted), Averages.read(control))
    shape = means.real.shape
    if means.control.shape not in (shape, shape[1:]):
        raise ValueError(
            f"{control_name} has shape {means.control.shape}; expected {shape[1:]} or {shape}."
        )
    _check_finite(means.control, control_name)
    return means


def check_pair(real: ArrayLike, predicted: ArrayLike) -> tuple[Averages, Averages]:
    """Check shapes and values of real and predicted condition means."""
    one, other = Averages.read(real), Averages.read(predicted)
    if len(one.shape) != 2 or 0 in one.shape:
        raise ValueError(
            f"real has shape {one.shape}; expected conditions x genes. "
            "For a single condition pass real[None, :]."
        )
    if other.shape != one.shape:
        raise ValueError(
            f"predicted has shape {other.shape} but real has {one.shape}: "
            "select the same conditions and genes in the same order."
        )
    _check_finite(one, "real")
    _check_finite(other, "predicted")
    return one, other


def _check_finite(means: Averages, name: str) -> None:
    if not np.isfinite(means.array).all():
        n_bad = np.count_nonzero(~np.isfinite(means.array))
        raise ValueError(
            f"{name} holds {n_bad} values that are not finite. "
            "Drop conditions without cells before scoring."
        )


def centre(delta: Averages, weights: ArrayLike = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Centre effects over genes, ``(C, G)``, and say whose are the same for all, ``(C,)``.

    Differences to the mean effect that may be rounding are none, nor are those of genes without
    weight.
    """
    share = np.broadcast_to(weights, delta.shape)
    share = share / share.sum(axis=1, keepdims=True)
    mean, rounding = (
        (share * array).sum(axis=1, keepdims=True) for array in (delta.effect, delta.rounding)
    )
    centred = delta.effect - mean
    differs = (np.abs(centred) > delta.rounding + rounding) & (share > 0)
    return centred, ~differs.any(axis=1)


def _take_top(means: Means, n_top: int) -> Means:
    n_genes = means.real.shape[1]
    if not 1 <= n_top <= n_genes:
        raise ValueError(f"n_top={n_top} must be between 1 and the number of genes, {n_genes}.")
    order = np.argsort(-np.abs(means.real_delta.effect), axis=1, kind="stable")[:, :n_top]
    rows = np.arange(len(order))[:, None]
    is_shared = len(means.control.shape) == 1
    control = means.control[order] if is_shared else means.control[rows, order]
    return Means(means.real[rows, order], means.predicted[rows, order], control)


def _compute_row_correlation(means: Means) -> np.ndarray:
    (real, is_constant), (predicted, is_same) = map(
        centre, (means.real_delta, means.predicted_delta)
    )
    is_defined = ~(is_constant | is_same)
    if not is_defined.all():
        logger.info(
            "%d of %d conditions have a constant real or predicted effect; their correlation "
            "is undefined and scored 0.0",
            np.count_nonzero(~is_defined),
            len(is_defined),
        )
    product = np.linalg.norm(real, axis=1) * np.linalg.norm(predicted, axis=1)
    correlation = (real * predicted).sum(axis=1) / np.where(is_defined, product, 1.0)
    return np.clip(np.where(is_defined, correlation, 0.0), -1.0, 1.0)


def _compute_sign_agreement(means: Means) -> np.ndarray:
    signs = np.sign(means.real_delta.effect), np.sign(means.predicted_delta.effect)
    return (signs[0] == signs[1]).mean(axis=1)
