"""What all figures share: the Axes to draw on and the colours."""

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

# From the palette of Okabe and Ito, which colour-blind readers can tell apart.
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#8C8C8C"
CYCLE = (BLUE, ORANGE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def get_axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    """Take the given Axes, or make a figure of one Axes.

    Parameters
    ----------
    ax
        Axes to draw on, or None.
    size
        Width and height of a new figure in inches.

    Returns
    -------
    matplotlib.axes.Axes
        The Axes, without its upper and right frame.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=size, layout="constrained")
    ax.spines[["top", "right"]].set_visible(False)
    return ax
