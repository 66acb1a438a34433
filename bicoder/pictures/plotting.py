"""Pictures from arrays; nothing here knows a model. Every function writes one PNG and returns its path."""

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bicoder.files.whole_file import whole_file

# Ten colours that stay apart for colour-blind readers (Petroff 2021); beyond ten classes the marker changes.
COLOURS = matplotlib.color_sequences["petroff10"]
MARKERS = "o^sDvPX*"
GAP = 1  # pixels of background between the images of a grid


def new_figure(width: float, height: float) -> Figure:
    """A figure of its own, in inches: no global state, no display."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def readable(text: str) -> str:
    """Text from names of files, as a font can show it: letters of another encoding, and $, which is no formula."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace").replace("$", r"\$")


def as_images(array: Any, image_shape: Sequence[int] | None = None) -> np.ndarray:
    """(N, ...) -> (N, height, width), or (N, height, width, 3 or 4), in [0, 1], for imshow.

    Vectors take `image_shape`; without one they become a square if they can, else a strip of one row. Of two channels
    the first is shown, of more than four the first three; four are red, green, blue and opacity.
    """
    array = np.clip(np.asarray(array, "float32"), 0.0, 1.0)
    if array.ndim == 2:
        side = math.isqrt(array.shape[1])
        square = (side, side, 1) if side * side == array.shape[1] else (1, array.shape[1], 1)
        array = array.reshape(-1, *(image_shape or square))
    channels = array.shape[-1]
    return array[..., 0] if channels < 3 else array[..., :3] if channels > 4 else array


def tile(images: np.ndarray, columns: int) -> np.ndarray:
    """Lay images (N, height, width[, 3]) out as one, row by row, with white between them."""
    count, height, width, *channels = images.shape
    rows = math.ceil(count / columns)
    canvas = np.ones((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, *channels), "float32")
    for i, image in enumerate(images):
        top, left = GAP + i // columns * (height + GAP), GAP + i % columns * (width + GAP)
        canvas[top : top + height, left : left + width] = image
    return canvas


def draw_grid(axes: Axes, images: np.ndarray, columns: int, title: str) -> None:
    """Show a grid of images on `axes`: grey images in grey, black is 0 and white is 1."""
    canvas = tile(images, columns)
    axes.imshow(canvas, cmap="gray", vmin=0.0, vmax=1.0, interpolation="nearest")
    axes.set_title(readable(title), fontsize=11)
    axes.set_axis_off()


def grid_width(count: int) -> int:
    """Columns of a grid of `count` images: 10 for 100."""
    return math.ceil(math.sqrt(count))


def save(figure: Figure, path: Path) -> Path:
    """Write the figure; all pictures have the same resolution."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a label in letters that the font lacks is drawn as boxes
        with whole_file(path) as unfinished:
            figure.savefig(unfinished, dpi=150)
    return path


def image_grid(images: Any, path: Path, title: str, image_shape: Sequence[int] | None = None) -> Path:
    """A grid of images, 10x10 for 100.

    Args:
        images: (N, ...) in [0, 1]; values outside are clipped.
        path: PNG to write.
        title: line above the grid.
        image_shape: (height, width, channels) of vectors.
    """
    images = as_images(images, image_shape)
    columns = grid_width(len(images))
    height, width = tile(images, columns).shape[:2]
    figure = new_figure(6.0, min(6.0 * height / width, 12.0) + 0.4)
    draw_grid(figure.subplots(), images, columns, title)
    return save(figure, path)


def side_by_side(
    grids: Sequence[Any], path: Path, titles: Sequence[str], image_shape: Sequence[int] | None = None
) -> Path:
    """Grids beside each other, such as images on the left and their reconstructions at the same places on the right.

    Args:
        grids: list of images (N, ...) in [0, 1]; values outside are clipped.
        path: PNG to write.
        titles: a line above each grid.
        image_shape: (height, width, channels) of vectors.
    """
    grids = [as_images(images, image_shape) for images in grids]
    columns = grid_width(len(grids[0]))
    height, width = tile(grids[0], columns).shape[:2]
    each = 12.0 / max(2, len(grids))
    figure = new_figure(each * len(grids), min(each * height / width, 12.0) + 0.4)
    panels = figure.subplots(1, len(grids), squeeze=False)[0]
    for axes, images, title in zip(panels, grids, titles, strict=True):
        draw_grid(axes, images, columns, title)
    return save(figure, path)


def middle(points: np.ndarray) -> np.ndarray:
    """The point whose neighbours are nearest: a label there is among its own, even if they fall into groups."""
    some = points[:1000]
    distances = np.square(some[:, None] - some[None]).sum(axis=-1)
    neighbours = min(len(some) - 1, max(1, len(some) // 10))
    return some[np.argmin(np.partition(distances, neighbours, axis=1)[:, neighbours])]


def scatter(
    points: np.ndarray, path: Path, title: str, labels: np.ndarray | None = None, label_names: Sequence[str] = ()
) -> Path:
    """Points in the plane, coloured by label, with a legend and the label written at the middle of its points.

    Args:
        points: (N, 2).
        path: PNG to write.
        title: line above the points.
        labels: whole numbers (N,), or None.
        label_names: text for every label, or () to show the numbers.
    """
    figure = new_figure(8.0, 7.0)
    axes = figure.subplots()
    style: dict[str, Any] = {"s": float(np.clip(12000 / len(points), 4, 40)), "alpha": 0.7, "linewidths": 0}
    if labels is None:
        axes.scatter(points[:, 0], points[:, 1], color=COLOURS[0], **style)
    else:
        names = {label: readable(str(label_names[label] if label_names else label)) for label in np.unique(labels)}
        draw_labels(axes, points, labels, names, style)
    axes.set_title(readable(title), fontsize=11)
    # The axes of t-SNE have no unit and no direction: only who is near whom means something.
    axes.set(xticks=[], yticks=[], xlabel="t-SNE 1", ylabel="t-SNE 2")
    axes.set_aspect("equal", adjustable="datalim")
    return save(figure, path)


def draw_labels(
    axes: Axes, points: np.ndarray, labels: np.ndarray, names: dict[int, str], style: dict[str, Any]
) -> None:
    """The points (N, 2) of each label in a colour and marker of its own, with a legend and names among the points."""
    for i, (label, name) in enumerate(names.items()):
        mine, marker = points[labels == label], MARKERS[i // len(COLOURS) % len(MARKERS)]
        # Matplotlib leaves out what begins with an underscore: a space before it.
        colour = COLOURS[i % len(COLOURS)]
        axes.scatter(mine[:, 0], mine[:, 1], color=colour, marker=marker, label=f" {name}", **style)
    if len(names) <= 30:
        legend = axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
        for handle in legend.findobj(PathCollection):
            handle.set(alpha=1.0, sizes=[60])
    for label, name in names.items() if len(points) >= 100 else ():  # among few points, a label hides some
        x, y = middle(points[labels == label])
        text = axes.annotate(name, (x, y), ha="center", va="center", weight="bold")
        text.set_bbox({"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 1.5})


def curves(history: dict[str, list[float]], path: Path, title: str) -> Path:
    """The bound, distortion and rate for every epoch, training and held-out images in the same panels.

    Args:
        history: name -> list of values, one for each epoch: elbo, distortion, rate, and val_ before each.
        path: PNG to write.
        title: line above the panels.
    """
    panels = {"elbo": "-ELBO = distortion + rate", "distortion": "distortion", "rate": "rate, KL[q(z|x) || p(z)]"}
    figure = new_figure(12.0, 3.8)
    figure.suptitle(readable(title), fontsize=11)
    for axes, (name, label) in zip(figure.subplots(1, 3), panels.items(), strict=True):
        for key, text, style in ((name, "training", "-"), (f"val_{name}", "held out", "--")):
            if key in history:
                epochs = np.arange(1, len(history[key]) + 1)
                colour = COLOURS[0] if style == "-" else COLOURS[1]
                values = -np.asarray(history[key]) if name == "elbo" else history[key]
                marker = "." if len(epochs) < 60 else None
                axes.plot(epochs, values, style, color=colour, label=text, marker=marker)
        axes.set(title=label, xlabel="epoch", ylabel="nats per image")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if len(next(iter(history.values()))) == 1:
            axes.set_xlim(0, 2)
        axes.grid(alpha=0.3)
    figure.axes[0].legend()
    return save(figure, path)


def bars(values: Sequence[float], path: Path, title: str) -> Path:
    """The KL of every latent dimension, the largest first.

    Args:
        values: nats per image, one for each dimension.
        path: PNG to write.
        title: line above the bars.
    """
    figure = new_figure(8.0, 4.0)
    axes = figure.subplots()
    axes.bar(np.arange(1, len(values) + 1), sorted(values, reverse=True), color=COLOURS[0])
    axes.set(title=readable(title), xlabel="latent dimension, the largest first", ylabel="KL, nats per image")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", alpha=0.3)
    return save(figure, path)
