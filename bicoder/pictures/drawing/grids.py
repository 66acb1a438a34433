"""Grids of images whose rows and columns have names."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure

from bicoder.pictures.drawing.plotting import GAP, draw_grid, new_figure, readable, save, shortened
from bicoder.pictures.drawing.settings import with_own_settings

WIDEST = 14.0  # inches, of all grids together
CELL, LOWEST = 0.45, 0.2  # inches: width of an image at most, height of a row at least
AROUND = 0.85  # grey around small images: white would be taken for their own
TITLE, BETWEEN = 0.35, 0.15  # inches: above a grid, and from one to the next


@with_own_settings
def named_grids(
    grids: Mapping[str, np.ndarray],
    path: Path,
    title: str,
    rows: Sequence[str],
    columns: Sequence[str],
    across: int | None = None,
    axes_names: Sequence[str] = ("", ""),
) -> Path:
    """Grids of images with the same rows and columns.

    Args:
        grids: what a grid is called -> its images, (rows * columns, ...) as `as_images` gives them, row by row.
        path: PNG to write.
        title: line above all.
        rows, columns: their names; "" of those without one.
        across: grids beside each other; all if it is None.
        axes_names: what the columns, and what the rows are.
    """
    across = across or len(grids)
    height, width = next(iter(grids.values())).shape[1:3]
    cell = min(CELL, WIDEST / (len(columns) * across))
    row = max(LOWEST, cell * height / width)
    rows = [shortened(name) for name in rows]
    figure, panels = panels_of(len(grids), across, (cell * len(columns), row * len(rows)), title, rows, columns)
    for i, (axes, (name, images)) in enumerate(zip(panels, grids.items(), strict=True)):
        draw_grid(axes, images, len(columns), shortened(name))
        axes.set_aspect("auto")
        write_names(axes, height, width, rows if i % across == 0 else [""] * len(rows), columns)
        axes.set(xlabel=axes_names[0] if i + across >= len(grids) else "")
        axes.set(ylabel=axes_names[1] if i % across == 0 else "")
    return save(figure, path)


def panels_of(
    count: int, across: int, size: tuple[float, float], title: str, rows: Sequence[str], columns: Sequence[str]
) -> tuple[Figure, list[Axes]]:
    """A figure with room for so many grids of this size, (width, height) in inches, and for what stands around them.

    Matplotlib's own layouts cut off what is below a grid that is high, or leave room around one that is low.
    """
    figure = new_figure(8.0, 4.0)
    figure.set_layout_engine("none")
    wide, high = size
    above, below = TITLE, max(0.25, *(extent(figure, name, 8)[0] + 0.1 for name in columns if turned(columns)), 0.0)
    left = max(extent(figure, name, 9)[0] for name in rows) + 0.45
    named, lines = extent(figure, title, 11)
    content = left + across * wide + (across - 1) * BETWEEN + 0.2
    down = math.ceil(count / across)
    total = max(content, named + 0.4), lines + 0.2 + down * (above + high + below) + 0.35
    figure.set_size_inches(*total)
    figure.suptitle(readable(title), fontsize=11, y=1.0 - 0.1 / total[1])
    left += (total[0] - content) / 2
    panels = []
    for i in range(count):
        x = left + i % across * (wide + BETWEEN)
        y = total[1] - lines - 0.2 - i // across * (above + high + below) - above - high
        panels.append(figure.add_axes((x / total[0], y / total[1], wide / total[0], high / total[1])))
    return figure, panels


def extent(figure: Figure, text: str, size: int) -> tuple[float, float]:
    """Width and height of a text of this size, in inches."""
    drawn = figure.text(0.0, 0.0, readable(text), fontsize=size)
    box = drawn.get_window_extent()
    drawn.remove()
    return box.width / figure.dpi, box.height / figure.dpi


def turned(columns: Sequence[str]) -> bool:
    """Whether the names of so many columns stand upright."""
    return len(columns) > 12


def write_names(axes: Axes, height: int, width: int, rows: Sequence[str], columns: Sequence[str]) -> None:
    """The names of rows and columns of a grid of images of this height and width."""
    axes.set_axis_on()
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, pad=2)
    places = [GAP + i * (height + GAP) + (height - 1) / 2 for i in range(len(rows))]
    set_ticks(axes.yaxis, places, rows, size=9)
    places = [GAP + i * (width + GAP) + (width - 1) / 2 for i in range(len(columns))]
    set_ticks(axes.xaxis, places, columns, size=8, upright=turned(columns))


def set_ticks(axis: Axis, places: Sequence[float], names: Sequence[str], size: int, upright: bool = False) -> None:
    """The names at their places, but for those that are empty: Matplotlib takes its time for each tick."""
    named = {place: readable(name) for place, name in zip(places, names, strict=True) if name}
    axis.set_ticks([*named], [*named.values()], fontsize=size, rotation=90 if upright else 0)


def alike(images: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Images of several views, (N, height, width[, channels]) each, all of one size and of as many channels.

    Smaller ones become larger by a whole factor, if there is room for that, in the middle of light grey.
    """
    if len({array.shape[1:] for array in images.values()}) < 2:
        return dict(images)
    height, width = (max(array.shape[i] for array in images.values()) for i in (1, 2))
    channels = max(array.shape[3] if array.ndim == 4 else 1 for array in images.values())
    found = {}
    for view, array in images.items():
        if channels > 1:
            array = array if array.ndim == 4 else np.repeat(array[..., None], 3, axis=-1)
            opaque = np.ones((*array.shape[:3], channels - array.shape[3]), array.dtype)
            array = np.concatenate([array, opaque], axis=-1)
        factor = max(1, min(height // array.shape[1], width // array.shape[2]))
        array = array.repeat(factor, axis=1).repeat(factor, axis=2)
        room = [(0, 0), margins(height, array.shape[1]), margins(width, array.shape[2])]
        found[view] = np.pad(array, room + [(0, 0)] * (array.ndim - 3), constant_values=AROUND)
    return found


def margins(room: int, size: int) -> tuple[int, int]:
    """What is left before and after so many pixels in the middle of a room for more."""
    return (room - size) // 2, room - size - (room - size) // 2
