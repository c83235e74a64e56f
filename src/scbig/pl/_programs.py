"""Predicted shift of gene programs in each condition."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from scbig._annotations import checked
from scbig.pl._axes import get_axes

_MAX_TICKS = 60


@checked
def programs(
    shifts: pd.DataFrame,
    *,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw a heat map of the mean predicted shift of each program in each condition.

    Parameters
    ----------
    shifts
        Programs x conditions: mean difference of log1p expression to control. Rows and columns
        are drawn in their order.
    title
        Title of the Axes.
    ax
        Axes to draw on; by default a new figure as large as the labels need.

    Returns
    -------
    matplotlib.axes.Axes
        The Axes; the colour bar beside it is centred at no change, white.

    Raises
    ------
    ValueError
        If the table is empty or holds values that are not finite.

    Examples
    --------
    >>> import pandas as pd, scbig
    >>> shifts = pd.DataFrame({"KLF1": [0.4, -0.1], "KLF1+TET2": [0.6, 0.0]}, index=["P1", "P2"])
    >>> ax = scbig.pl.programs(shifts)
    """
    values = shifts.to_numpy(float)
    if not values.size or not np.isfinite(values).all():
        raise ValueError(
            f"shifts has shape {shifts.shape} and {np.count_nonzero(~np.isfinite(values))} values "
            "that are not finite; pass programs x conditions without gaps."
        )
    n_programs, n_conditions = values.shape
    size = 2.6 + 0.2 * min(n_conditions, _MAX_TICKS), 1.6 + 0.2 * min(n_programs, _MAX_TICKS)
    ax = get_axes(ax, size)
    limit = float(np.abs(values).max()) or 1.0
    image = ax.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
    image.set_interpolation("nearest")
    _label_ticks(ax, shifts)
    ax.set_title(title or "")
    bar = ax.figure.colorbar(image, ax=ax, pad=0.02)
    bar.set_label("mean shift (log1p)")
    bar.outline.set_visible(False)
    return ax


def _label_ticks(ax: Axes, shifts: pd.DataFrame) -> None:
    """Label rows and columns, every k-th where there are too many to read."""
    n_programs, n_conditions = shifts.shape
    columns = np.arange(0, n_conditions, -(-n_conditions // _MAX_TICKS))
    rows = np.arange(0, n_programs, -(-n_programs // _MAX_TICKS))
    ax.set_xticks(columns, shifts.columns[columns].astype(str), rotation=90, fontsize=8)
    ax.set_yticks(rows, shifts.index[rows].astype(str), fontsize=8)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
