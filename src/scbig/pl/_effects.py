"""Predicted against real effect, gene by gene."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from scbig._annotations import checked
from scbig._arguments import check_array
from scbig.pl._axes import BLUE, GREY, ORANGE, get_axes, place_labels


@checked
def effect_scatter(
    real_delta: ArrayLike,
    predicted_delta: ArrayLike,
    *,
    gene_names: Sequence[str] | None = None,
    n_labels: int = 8,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the predicted effect of one condition against the real one.

    Parameters
    ----------
    real_delta
        Real effect of each gene, ``(G,)``, difference of mean log1p expression to control.
    predicted_delta
        Predicted effect of each gene, ``(G,)``.
    gene_names
        Names of the G genes; without them nothing is labelled.
    n_labels
        Number of genes of largest real effect to label.
    title
        Title, for example the condition; the Pearson correlation is added below it.
    ax
        Axes to draw on; by default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The Axes. Labels are placed for its present limits: set others before, not after.

    Raises
    ------
    ValueError
        If the arrays differ in length.

    Examples
    --------
    >>> import scbig
    >>> ax = scbig.pl.effect_scatter([0.1, 0.9, -0.4], [0.2, 0.7, -0.1], title="KLF1")
    """
    real = check_array("real_delta", real_delta)
    predicted = check_array("predicted_delta", predicted_delta)
    _check_lengths(real, predicted, gene_names)
    ax = get_axes(ax, (4.2, 4.2))
    named = np.argsort(-np.abs(real), kind="stable")[: n_labels if gene_names is not None else 0]
    ax.scatter(real, predicted, s=12, color=BLUE, alpha=0.45, linewidths=0, zorder=2)
    ax.scatter(real[named], predicted[named], s=20, color=ORANGE, linewidths=0, zorder=3)
    _draw_reference_lines(ax, real, predicted)
    ax.set_xlabel("real effect (mean log1p difference)")
    ax.set_ylabel("predicted effect (mean log1p difference)")
    ax.set_title("\n".join(filter(None, [title, _describe_correlation(real, predicted)])))
    if gene_names is not None:
        points = np.column_stack([real, predicted])
        place_labels(ax, points[named], [gene_names[i] for i in named], obstacles=points)
    return ax


def _check_lengths(
    real: np.ndarray, predicted: np.ndarray, gene_names: Sequence[str] | None
) -> None:
    if real.ndim != 1 or real.shape != predicted.shape or not len(real):
        raise ValueError(
            f"real_delta has shape {real.shape} and predicted_delta {predicted.shape}; "
            "pass one value a gene, of a single condition, to both."
        )
    if gene_names is not None and len(gene_names) != len(real):
        raise ValueError(f"gene_names holds {len(gene_names)} names for {len(real)} genes.")


def _describe_correlation(real: np.ndarray, predicted: np.ndarray) -> str:
    if np.ptp(real) == 0 or np.ptp(predicted) == 0:
        return "Pearson r undefined (constant effect)"
    return f"Pearson r = {np.corrcoef(real, predicted)[0, 1]:.2f}"


def _draw_reference_lines(ax: Axes, real: np.ndarray, predicted: np.ndarray) -> None:
    """Draw identity and zero lines in a square with equal scales."""
    values = np.concatenate([real, predicted, [0.0]])
    margin = 0.12 * np.ptp(values) or 1.0
    limits = values.min() - margin, values.max() + margin
    ax.set(xlim=limits, ylim=limits, aspect="equal")
    ax.axhline(0, color=GREY, linewidth=0.6, zorder=1)
    ax.axvline(0, color=GREY, linewidth=0.6, zorder=1)
    ax.axline((0, 0), slope=1, color=GREY, linewidth=0.9, linestyle="--", zorder=1)
