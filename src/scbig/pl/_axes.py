"""What figures share: the Axes to draw on, colours, and labels that do not cover each other."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.path import Path
from matplotlib.text import Annotation
from matplotlib.textpath import TextPath
from matplotlib.transforms import Bbox

# From the palette of Okabe and Ito, which colour-blind readers can tell apart.
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#8C8C8C"
CYCLE = (BLUE, ORANGE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9")

_FONT_SIZE = 8.0  # points
_RADII = (8, 14, 22, 32, 44, 58, 74)  # points
_ANGLES = np.deg2rad([15, 165, -15, -165, 45, 135, -45, -135, 75, 105, -75, -105])
_OFFSETS = tuple((r * float(np.cos(a)), r * float(np.sin(a))) for r in _RADII for a in _ANGLES)


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


def place_labels(
    ax: Axes, points: np.ndarray, labels: Sequence[str], *, obstacles: np.ndarray
) -> list[Annotation]:
    """Write a label near each point where it covers least.

    Parameters
    ----------
    ax
        Axes with its final limits.
    points
        Positions of the labelled points in data units, ``(n, 2)``.
    labels
        One label a point.
    obstacles
        Positions of all points that should stay visible, ``(N, 2)``.

    Returns
    -------
    list of matplotlib.text.Annotation
        The labels in the order of the points.

    Raises
    ------
    ValueError
        If the Axes belongs to no figure.
    """
    figure = ax.get_figure(root=True)
    if figure is None:
        raise ValueError("ax belongs to no figure; make it with plt.subplots().")
    figure.draw_without_rendering()  # settles the layout, which decides what is near what
    pixels, centres = ax.transData.transform(obstacles), ax.transData.transform(points)
    taken: list[_Place] = []
    for centre, label in zip(centres, labels, strict=True):
        places = [_make_place(label, centre, offset, figure.dpi / 72) for offset in _OFFSETS]
        costs = [_get_cost(place, taken, pixels, centres, ax.bbox) for place in places]
        taken.append(places[int(np.argmin(costs))])
    return [
        _write(ax, point, label, place.offset)
        for point, label, place in zip(points, labels, taken, strict=True)
    ]


@dataclass(frozen=True)
class _Place:
    """A possible place of a label, in pixels."""

    offset: tuple[float, float]  # from the point, in points
    box: Bbox
    leader: Path

    def get_conflict(self, other: "_Place") -> float:
        """Weigh how much this label and its leader line disturb another's."""
        return (
            1000.0 * self.box.overlaps(other.box)
            + 100.0 * self.leader.intersects_bbox(other.box)
            + 100.0 * other.leader.intersects_bbox(self.box)
            + 30.0 * self.leader.intersects_path(other.leader)
        )


def _make_place(
    label: str, centre: np.ndarray, offset: tuple[float, float], scale: float
) -> _Place:
    # Measured from the glyphs: a renderer exists only for some file formats.
    width = (TextPath((0, 0), label, size=_FONT_SIZE).get_extents().width + 4.0) * scale
    height = 1.4 * _FONT_SIZE * scale
    anchor = centre + np.array(offset) * scale
    x, y = anchor
    left = x if offset[0] > 0 else x - width
    box = Bbox.from_bounds(left, y - height / 2, width, height)
    return _Place(offset, box, Path(np.stack([centre, anchor])))


def _get_cost(
    place: _Place, taken: list[_Place], pixels: np.ndarray, centres: np.ndarray, frame: Bbox
) -> float:
    """Weigh unreadable labels most, then hidden labelled points, other points, and distance."""
    box = place.box
    is_outside = box.x0 < frame.x0 or box.x1 > frame.x1 or box.y0 < frame.y0 or box.y1 > frame.y1
    return (
        1000.0 * is_outside
        + sum(place.get_conflict(other) for other in taken)
        + 60.0 * _count_inside(centres, box)
        + 2.0 * _count_inside(pixels, box)
        + 0.2 * float(np.hypot(*place.offset))
    )


def _count_inside(pixels: np.ndarray, box: Bbox) -> int:
    return int(np.count_nonzero(((pixels > box.min) & (pixels < box.max)).all(axis=1)))


def _write(ax: Axes, point: np.ndarray, label: str, offset: tuple[float, float]) -> Annotation:
    return ax.annotate(
        label,
        xy=(float(point[0]), float(point[1])),
        xytext=offset,
        textcoords="offset points",
        fontsize=_FONT_SIZE,
        ha="left" if offset[0] > 0 else "right",
        va="center",
        zorder=4,
        arrowprops={
            "arrowstyle": "-",
            "color": "0.4",
            "linewidth": 0.5,
            # From the point to the near end of the text, not to its middle.
            "relpos": (0.0 if offset[0] > 0 else 1.0, 0.5),
            "shrinkA": 0,
            "shrinkB": 2,
        },
    )
