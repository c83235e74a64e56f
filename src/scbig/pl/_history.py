"""Training curves."""

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from scbig._annotations import checked
from scbig.pl._axes import CYCLE, get_axes


@checked
def history(
    history: Mapping[str, pd.DataFrame],
    *,
    keys: Sequence[str] | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the curves that a training run has logged, as in ``model.history``.

    Parameters
    ----------
    history
        Name of a curve -> table with one column, indexed by epoch or step.
    keys
        The curves to draw, in this order; by default all.
    title
        Title of the Axes.
    ax
        Axes to draw on; by default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        The Axes, with a legend. Epochs without a value are skipped; a curve with a single value
        is a dot.

    Raises
    ------
    ValueError
        If there is nothing to draw or a key is unknown.

    Examples
    --------
    >>> import pandas as pd, scbig
    >>> curve = pd.DataFrame({"train_loss": [1.0, 0.6, 0.5]})
    >>> ax = scbig.pl.history({"train_loss": curve})
    """
    chosen = list(history) if keys is None else list(keys)
    unknown = [key for key in chosen if key not in history]
    if unknown or not chosen:
        raise ValueError(f"keys={chosen}: choose from {list(history)}.")
    ax = get_axes(ax, (5.6, 3.4))
    for number, key in enumerate(chosen):
        curve = history[key].iloc[:, 0].astype(float).dropna()
        style = "-" if number < len(CYCLE) else "--"
        marker = "o" if len(curve) == 1 else None
        color = CYCLE[number % len(CYCLE)]
        ax.plot(curve.index, curve, style, color=color, marker=marker, label=key, linewidth=1.6)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    ax.set_xlabel(history[chosen[0]].index.name or "epoch")
    ax.set_ylabel(chosen[0] if len(chosen) == 1 else "value")
    ax.set_title(title or "")
    ax.legend(frameon=False, fontsize=9)
    return ax
