"""A table of grids of images, whose rows and columns have names."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bicoder.pictures.drawing.plotting import draw_grid, new_figure, readable, save, shortened, tile
from bicoder.pictures.drawing.settings import with_own_settings


@with_own_settings
def matrix(
    cells: Sequence[Sequence[Any]],
    path: Path,
    title: str,
    rows: Sequence[str],
    columns: Sequence[str],
    width: int,
) -> Path:
    """Grids of images in rows and columns.

    Args:
        cells: of each row, the images of each column as `as_images` gives them.
        path: PNG to write.
        title: line above all.
        rows, columns: their names.
        width: images beside each other in a cell.
    """
    sizes = [[tile(images, width).shape for images in row] for row in cells]
    heights = [max(height / across for height, across, *_ in row) for row in sizes]
    each = min(9.0, 14.0 / len(columns))
    figure = new_figure(each * len(columns) + 1.2, each * sum(heights) + 0.8 + 0.05 * len(rows))
    figure.set_layout_engine("constrained", h_pad=0.02, hspace=0.0)
    panels = figure.subplots(len(rows), len(columns), squeeze=False, height_ratios=heights)
    for i, row in enumerate(cells):
        for j, images in enumerate(row):
            axes = panels[i][j]
            draw_grid(axes, images, width, shortened(columns[j]) if i == 0 else "")
            if j == 0:
                axes.text(
                    -0.02,
                    0.5,
                    readable(shortened(rows[i])),
                    transform=axes.transAxes,
                    ha="right",
                    va="center",
                    fontsize=11,
                )
    figure.suptitle(readable(title), fontsize=12)
    return save(figure, path)
