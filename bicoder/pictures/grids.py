"""Grids of images whose rows and columns have names; as in `plotting`, nothing here knows a model."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from bicoder.pictures.plotting import GAP, draw_grid, new_figure, readable, save, shortened
from bicoder.pictures.settings import with_own_settings

WIDEST = 14.0  # inches, of all grids together
CELL, LOWEST = 0.45, 0.2  # inches: width of an image at most, height of a row at least


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
    down = math.ceil(len(grids) / across)
    size = (max(8.0, cell * len(columns) * across + 1.6), down * (row * len(rows) + 0.7) + 0.8)
    figure = new_figure(*size)
    figure.suptitle(readable(title), fontsize=11)
    panels = figure.subplots(down, across, squeeze=False)
    for axes in panels.flat[len(grids) :]:
        axes.set_axis_off()
    for i, (axes, (name, images)) in enumerate(zip(panels.flat, grids.items(), strict=False)):
        draw_grid(axes, images, len(columns), shortened(name))
        axes.set_aspect(row / cell * width / height)
        write_names(axes, height, width, rows if i % across == 0 else [""] * len(rows), columns)
        axes.set(xlabel=axes_names[0], ylabel=axes_names[1] if i % across == 0 else "")
    return save(figure, path)


def write_names(axes: Axes, height: int, width: int, rows: Sequence[str], columns: Sequence[str]) -> None:
    """The names of rows and columns of a grid of images of this height and width."""
    axes.set_axis_on()
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, pad=2)
    middle = [GAP + i * (height + GAP) + (height - 1) / 2 for i in range(len(rows))]
    axes.set_yticks(middle, [readable(shortened(name)) for name in rows], fontsize=9)
    middle = [GAP + i * (width + GAP) + (width - 1) / 2 for i in range(len(columns))]
    turned = 90 if len(columns) > 12 else 0
    axes.set_xticks(middle, [readable(name) for name in columns], fontsize=8, rotation=turned)


def alike(images: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Images of several views, (N, height, width[, channels]) each, all of one size and of as many channels.

    Smaller ones become larger by a whole factor, if there is room for that, in the middle of white.
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
        found[view] = np.pad(array, room + [(0, 0)] * (array.ndim - 3), constant_values=1.0)
    return found


def margins(room: int, size: int) -> tuple[int, int]:
    """What is left before and after so many pixels in the middle of a room for more."""
    return (room - size) // 2, room - size - (room - size) // 2
