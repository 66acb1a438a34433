"""Pictures from arrays. Every function writes one PNG and returns its path."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bicoder.errors import decodable
from bicoder.files.whole_file import whole_file
from bicoder.pictures.drawing.settings import with_own_settings

# Ten colours that stay apart for colour-blind readers (Petroff 2021), each with a shape; the next ten classes have the
# same colours with other shapes, so that a hundred classes differ.
COLOURS = matplotlib.color_sequences["petroff10"]
MARKERS = "o^sXvPD*<>"
MOST_NAMES = 60  # classes whose names are written among the points
LEAST = 2.0  # of a code on each axis: a prior has a standard deviation of about 1, and a smaller code is a dot
MOST_BARS = 100  # that have a number each
GAP = 1  # pixels of background between the images of a grid
LONGEST_NAME = 24  # characters of a class, so that its legend has room


def new_figure(width: float, height: float) -> Figure:
    """A figure of its own, in inches: no global state, no display."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def readable(text: str) -> str:
    """Text from names of files as Matplotlib can show it, to which $ is no formula."""
    return decodable(text).replace("$", r"\$")


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
    with whole_file(path) as unfinished:
        figure.savefig(unfinished, dpi=150)
    return path


@with_own_settings
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


@with_own_settings
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


@with_own_settings
def scatter(
    points: np.ndarray,
    path: Path,
    title: str,
    labels: np.ndarray | None = None,
    label_names: Sequence[str] = (),
    axes_names: Sequence[str] = (),
) -> Path:
    """Points in the plane, with a colour, a shape and a name for each label.

    Args:
        points: (N, 2).
        path: PNG to write.
        title: line above the points.
        labels: whole numbers (N,), or None.
        label_names: text for every label, or () to show the numbers.
        axes_names: what the two axes are; () if only who is near whom means something, as for t-SNE.
    """
    figure = new_figure(8.0, 7.0)
    axes = figure.subplots()
    axes.set_title(readable(title), fontsize=11)
    if axes_names:
        axes.set(xlabel=axes_names[0], ylabel=axes_names[1])
        low, high = points.min(axis=0), points.max(axis=0)
        centre, reach = (low + high) / 2, np.maximum(high - low, LEAST) / 2
        axes.update_datalim([centre - reach, centre + reach])
    else:
        axes.set(xticks=[], yticks=[], xlabel="t-SNE 1", ylabel="t-SNE 2")
    axes.set_aspect("equal", adjustable="datalim")
    size = float(np.clip(50000 / len(points), 9, 40))
    if labels is None:
        axes.scatter(points[:, 0], points[:, 1], color=COLOURS[0], s=size, alpha=0.7, linewidths=0)
    else:
        draw_labels(axes, points, labels, names_of(labels, label_names), size)
    return save(figure, path)


def names_of(labels: np.ndarray, label_names: Sequence[str] = ()) -> dict[int, str]:
    """label -> its name, of those that occur."""
    return {
        label: readable(shortened(str(label_names[label] if label_names else label))) for label in np.unique(labels)
    }


def shortened(name: str, longest: int = LONGEST_NAME) -> str:
    """A name in one line that leaves room for the points, with its beginning and its end."""
    name, half = " ".join(name.split()), longest // 2
    return name if len(name) <= longest else f"{name[:half]}…{name[1 - half :]}"


def style_of(i: int) -> dict[str, Any]:
    """Colour and shape of the class that is number i."""
    return {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[(i + i // len(COLOURS)) % len(MARKERS)]}


def draw_labels(axes: Axes, points: np.ndarray, labels: np.ndarray, names: dict[int, str], size: float) -> None:
    """The points (N, 2) of each label in a colour and shape of its own, with a legend and names among the points."""
    for i, (label, name) in enumerate(names.items()):
        mine = points[labels == label]
        # Matplotlib leaves out what begins with an underscore: a space before it.
        axes.scatter(mine[:, 0], mine[:, 1], label=f" {name}", s=size, alpha=0.7, linewidths=0, **style_of(i))
    if len(names) <= 30:
        legend = axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
        for handle in legend.findobj(PathCollection):
            handle.set(alpha=1.0, sizes=[60])
    if len(points) >= 100 and len(names) <= MOST_NAMES:  # among few points, a name hides some
        write_names(axes, {name: middle(points[labels == label]) for label, name in names.items()})


def write_names(axes: Axes, places: dict[str, np.ndarray]) -> None:
    """Names at their places (2,) among the points, moved apart where they would lie on each other.

    A line leads from a name that was moved to its place. A name for which there is no room is left out.
    """
    figure: Any = axes.figure
    figure.draw_without_rendering()  # which lays it out: from here on, the axes stay where they are
    texts = [axes.text(x, y, name, ha="center", va="center", weight="bold") for name, (x, y) in places.items()]
    for text in texts:
        text.set_bbox({"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 1.5})
    extents = [text.get_window_extent().padded(4.0) for text in texts]
    sizes = np.array([(extent.width, extent.height) for extent in extents])
    frame = axes.get_window_extent()
    places_on_screen = axes.transData.transform(list(places.values()))
    centres = moved_apart(places_on_screen, sizes, np.array([frame.min, frame.max]))
    kept: list[int] = []
    for i, text in enumerate(texts):
        text.set_in_layout(False)
        if (overlaps(centres[[*kept, i]], sizes[[*kept, i]])[-1] > 0.0).any():
            text.remove()
            continue
        kept.append(i)
        text.set_position(tuple(axes.transData.inverted().transform(centres[i])))
        if (np.abs(centres[i] - places_on_screen[i]) > sizes[i] / 2).any():
            line = axes.transData.inverted().transform([centres[i], places_on_screen[i]])
            axes.plot(*line.T, color="black", linewidth=0.7, scalex=False, scaley=False)


def overlaps(centres: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """How far boxes of these centres (n, 2) and sizes (n, 2) overlap the shorter way, (n, n); 0 if they do not."""
    both = (sizes[:, None] + sizes) / 2 - np.abs(centres[:, None] - centres)
    np.einsum("iij->ij", both)[:] = 0.0
    return np.maximum(both.min(axis=-1), 0.0)


def moved_apart(centres: np.ndarray, sizes: np.ndarray, frame: np.ndarray, rounds: int = 500) -> np.ndarray:
    """Centres (n, 2) of boxes, pushed apart until no two overlap, if there is room for them.

    Args:
        centres: (n, 2).
        sizes: width and height of each box, (n, 2).
        frame: lowest and highest corner that they stay in, (2, 2).
        rounds: at most.
    """
    order = np.sign(np.subtract.outer(np.arange(len(centres)), np.arange(len(centres))))
    centres = np.clip(centres, frame[0] + sizes / 2, frame[1] - sizes / 2)
    for _ in range(rounds):
        apart = centres[:, None] - centres  # (n, n, 2)
        push = overlaps(centres, sizes)
        if not (push > 0.0).any():
            break
        shorter = np.argmin((sizes[:, None] + sizes) / 2 - np.abs(apart), axis=-1)
        way = np.take_along_axis(apart, shorter[..., None], axis=-1)[..., 0]
        step = np.where(way == 0.0, order, np.sign(way)) * np.where(push > 0.0, push / 2 + 0.5, 0.0)
        for axis in (0, 1):
            centres[:, axis] += 0.5 * np.where(shorter == axis, step, 0.0).sum(axis=1)
        centres = np.clip(centres, frame[0] + sizes / 2, frame[1] - sizes / 2)
    return centres


@with_own_settings
def strips(
    values: np.ndarray,
    path: Path,
    title: str,
    labels: np.ndarray | None = None,
    label_names: Sequence[str] = (),
    axis_name: str = "z1",
) -> Path:
    """Numbers on a line: a strip of points for each label, or a histogram if there are no labels.

    Args:
        values: (N,).
        path: PNG to write.
        title: line above them.
        labels, label_names: as `scatter` has them.
        axis_name: what the numbers are.
    """
    names = {} if labels is None else names_of(labels, label_names)
    figure = new_figure(8.0, float(np.clip(1.2 + 0.3 * len(names), 4.0, 14.0)))
    axes = figure.subplots()
    axes.set_title(readable(title), fontsize=11)
    if labels is None:
        axes.hist(values, bins=50, color=COLOURS[0])
        axes.set_ylabel("images")
    for i, label in enumerate(names):
        mine = values[labels == label]
        height = i + np.random.default_rng(i).uniform(-0.35, 0.35, len(mine))  # so that points do not hide each other
        axes.scatter(mine, height, s=9, alpha=0.5, linewidths=0, **style_of(i))
    if names:
        axes.set_yticks(range(len(names)), names.values(), fontsize=min(10.0, 600.0 / len(names)))
        axes.invert_yaxis()
    middle_of_range, reach = (values.min() + values.max()) / 2, max(1.05 * float(np.ptp(values)), LEAST) / 2
    axes.set(xlabel=axis_name, xlim=(middle_of_range - reach, middle_of_range + reach))
    axes.grid(axis="x", alpha=0.3)
    return save(figure, path)


@with_own_settings
def curves(history: Mapping[str, list[float]], path: Path, title: str) -> Path:
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


@with_own_settings
def bars(values: Sequence[float], path: Path, title: str) -> Path:
    """The KL of every latent dimension, the largest first, each with its number; in their own order if they are many.

    Args:
        values: nats per image, one for each dimension.
        path: PNG to write.
        title: line above the bars.
    """
    count = len(values)
    named = count <= MOST_BARS
    order = np.argsort(-np.asarray(values), kind="stable") if named else np.arange(count)
    figure = new_figure(max(8.0, 0.16 * count) if named else 16.0, 4.0)
    axes = figure.subplots()
    axes.bar(np.arange(1, count + 1), np.asarray(values)[order], color=COLOURS[0])
    axes.set(title=readable(title), xlabel="dimension of z" + (", the largest KL first" if named else ""))
    axes.set(ylabel="KL, nats per image", xlim=(0.0, count + 1.0))
    if named:
        axes.set_xticks(np.arange(1, count + 1), order + 1, fontsize=8, rotation=90 if count > 30 else 0)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", alpha=0.3)
    return save(figure, path)
