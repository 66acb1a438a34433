"""A film of a training from arrays: a GIF that plays everywhere."""

import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from bicoder.files.whole_file import whole_file
from bicoder.pictures.drawing.plotting import COLOURS, decodable, shortened

SECONDS, LAST = 6.0, 2.0  # of all frames but the last, and of that
FASTEST, SLOWEST = 0.06, 0.6  # seconds of a frame
PALETTE = 256  # colours of all frames together
CELL, NARROW_CELL, CELL_OF_PLANE = 56, 28, 24  # pixels of an image beside others, at least half of them
LEAST_HEIGHT = 8  # pixels of what is a strip of numbers
GAP, MARGIN = 2, 16  # pixels between images, and around all
LINE, CAPTION = 22, 18  # pixels: height of a line of the header, and of what stands above a group
LEAST_WIDTH = 480  # pixels, so that the header has room
BAR = 5  # pixels: height of the bar of progress
WHITE, INK, PALE = (255, 255, 255), (24, 24, 24), (96, 96, 96)
EMPTY = (222, 222, 222)  # of the bar that is not there yet


class Group(NamedTuple):
    """What is below a caption: images of all frames, uint8, (frames, views, n, height, width[, 3]); a plane has no views."""

    caption: str
    images: np.ndarray


class Strip(NamedTuple):
    """All that is in a film.

    Args:
        name: of the data.
        steps: how many there were before each frame.
        bounds: the bound on the training images at each frame, in nats; NaN if it is not known.
        unit: of the bounds.
        epochs: of the whole training.
        steps_per_epoch: as it says.
        views: their names; none if the data are one tensor.
        groups: rows of images, of which each has its place throughout.
        plane: images of a square of codes, (frames, n, height, width[, 3]), or None.
    """

    name: str
    steps: Sequence[int]
    bounds: Sequence[float]
    unit: str
    epochs: int
    steps_per_epoch: int
    views: Sequence[str]
    groups: Sequence[Group]
    plane: Group | None = None


class Size(NamedTuple):
    """Width and height in pixels."""

    width: int
    height: int


def small(images: np.ndarray, most: int) -> np.ndarray:
    """Images (n, height, width[, 3 or 4]) in [0, 1] as uint8 without opacity, over white, no larger than `most`."""
    images = np.nan_to_num(images, nan=0.5)
    if images.shape[3:] == (4,):
        images = 1.0 + images[..., 3:] * (images[..., :3] - 1.0)
    found = np.round(255.0 * np.clip(images, 0.0, 1.0)).astype("uint8")
    height, width = found.shape[1:3]
    factor = max(height, width) / most
    if factor <= 1.0:
        return found
    size = max(1, round(width / factor)), max(1, round(height / factor))
    return np.stack([np.asarray(Image.fromarray(one).resize(size, Image.Resampling.BOX)) for one in found])


def animation(strip: Strip, path: Path) -> Path:
    """Write a GIF of all frames, which goes on and on and rests at its last frame."""
    frames = [Sheet(strip, number).image for number in range(len(strip.steps))]
    each = 1000.0 * min(SLOWEST, max(FASTEST, SECONDS / max(1, len(frames) - 1)))
    durations = [10 * round(each / 10)] * (len(frames) - 1) + [int(1000 * LAST)]
    palette = palette_of(frames)
    first, *others = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    with whole_file(path) as unfinished:
        first.save(
            unfinished, "GIF", save_all=True, append_images=others, duration=durations, loop=0, optimize=True
        )
    return path


def palette_of(frames: Sequence[Image.Image]) -> Image.Image:
    """The colours of some of the frames, and exactly those of page and letters, as the palette of an image."""
    some = [frames[number] for number in np.unique(np.linspace(0, len(frames) - 1, 6).round().astype(int))]
    together = Image.new("RGB", (some[0].width, some[0].height * len(some)))
    for number, frame in enumerate(some):
        together.paste(frame, (0, number * frame.height))
    own = [WHITE, INK, PALE, EMPTY, accent()]
    found = together.quantize(PALETTE - len(own), Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    found.putpalette([value for colour in own for value in colour] + (found.getpalette() or []))
    return found


@functools.cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """The font that all pictures have."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)


def tiled(images: np.ndarray, columns: int, cell: int) -> Image.Image:
    """Images (n, height, width[, 3]) row by row, each pixel of them larger by a whole factor, with white between."""
    count, height, width = images.shape[:3]
    factor = max(1, cell // max(height, width))
    across, down = factor, max(factor, math.ceil(LEAST_HEIGHT / height))
    images = images.repeat(down, axis=1).repeat(across, axis=2)
    height, width, rows = height * down + GAP, width * across + GAP, math.ceil(count / columns)
    canvas = np.full((rows * height - GAP, columns * width - GAP, *images.shape[3:]), 255, "uint8")
    for number, image in enumerate(images):
        top, left = number // columns * height, number % columns * width
        canvas[top : top + height - GAP, left : left + width - GAP] = image
    return Image.fromarray(canvas).convert("RGB")


class Sheet:
    """One frame, from top to bottom.

    Args:
        strip: all that is in the film.
        number: of the frame.
    """

    def __init__(self, strip: Strip, number: int) -> None:
        self.strip, self.number = strip, number
        cell = CELL if len(strip.views) < 3 else NARROW_CELL
        self.grids = [tiled_views(group.images[number], cell) for group in strip.groups]
        plane = strip.plane
        self.plane = None if plane is None else tiled(plane.images[number], math.isqrt(plane.images.shape[1]), CELL_OF_PLANE)
        self.names = [shortened(decodable(name)) for name in strip.views]
        self.left = MARGIN + (max(math.ceil(font(11).getlength(name)) for name in self.names) + 8 if self.names else 0)
        size = self.size()
        self.image = Image.new("RGB", size, WHITE)
        self.draw = ImageDraw.Draw(self.image)
        self.header(size.width)
        self.rows()

    def size(self) -> Size:
        """Room for the rows below each other, and for the plane beside them."""
        width = self.left + max(grid.width for grid in self.grids)
        height = self.top() + sum(CAPTION + grid.height + 8 for grid in self.grids)
        if self.plane is not None:
            width += MARGIN + self.plane.width
            height = max(height, self.top() + CAPTION + self.plane.height + 8)
        return Size(max(LEAST_WIDTH, width + MARGIN), height + MARGIN - 8)

    def top(self) -> int:
        """Where the rows begin."""
        return MARGIN + 2 * LINE + BAR + 8

    def header(self, width: int) -> None:
        """What is learnt, how far the training is, and the bar of it."""
        said, where = self.where(), width - MARGIN
        self.draw.text((where, MARGIN), said, INK, font(13), anchor="ra")
        room = where - 2 * MARGIN - font(13).getlength(said)
        self.draw.text((MARGIN, MARGIN - 2), fitting(one_line(self.strip.name), room, font(16, bold=True)), INK, font(16, bold=True))
        self.draw.text((MARGIN, MARGIN + LINE), self.worth(), PALE, font(12))
        top = MARGIN + 2 * LINE
        self.draw.rectangle((MARGIN, top, where - 1, top + BAR - 1), EMPTY)
        done = self.strip.steps[self.number] / max(1, self.strip.epochs * self.strip.steps_per_epoch)
        if end := round((where - MARGIN) * min(1.0, done)):
            self.draw.rectangle((MARGIN, top, MARGIN + end - 1, top + BAR - 1), accent())

    def where(self) -> str:
        """How far the training is, in words."""
        step = self.strip.steps[self.number]
        epoch = math.ceil(step / max(1, self.strip.steps_per_epoch))
        return f"epoch {epoch} of {self.strip.epochs}, step {step:,}" if step else "before the first step"

    def worth(self) -> str:
        """What the training knows of its bound, in words."""
        bound = self.strip.bounds[self.number]
        if math.isnan(bound):
            return "nothing is learnt yet"
        return f"training \N{MINUS SIGN}ELBO {number_of(-bound)} {self.strip.unit}, the mean of the epoch so far"

    def rows(self) -> None:
        """The groups below each other, and the plane beside them."""
        top = self.top()
        for group, grid in zip(self.strip.groups, self.grids, strict=True):
            self.draw.text((self.left, top), group.caption, PALE, font(11))
            self.image.paste(grid, (self.left, top + CAPTION))
            each = (grid.height + GAP) / max(1, len(self.names))
            for number, name in enumerate(self.names):
                middle = top + CAPTION + (number + 0.5) * each - GAP / 2
                self.draw.text((self.left - 8, middle), name, PALE, font(11), anchor="rm")
            top += CAPTION + grid.height + 8
        if self.plane is not None and self.strip.plane is not None:
            left = self.image.width - MARGIN - self.plane.width
            self.draw.text((left, self.top()), fitting(self.strip.plane.caption, self.plane.width, font(11)), PALE, font(11))
            self.image.paste(self.plane, (left, self.top() + CAPTION))


def tiled_views(images: np.ndarray, cell: int) -> Image.Image:
    """Images of views (views, n, height, width[, 3]), a row for each view."""
    return tiled(images.reshape(-1, *images.shape[2:]), images.shape[1], cell)


def accent() -> tuple[int, int, int]:
    """The first colour of all pictures."""
    red, green, blue = matplotlib.colors.to_rgb(COLOURS[0])
    return round(255 * red), round(255 * green), round(255 * blue)


def number_of(value: float) -> str:
    """A number of nats, with the minus of print."""
    return f"{value:,.1f}".replace("-", "\N{MINUS SIGN}")


def one_line(name: str) -> str:
    """A name, whatever it holds, in one line."""
    return " ".join(decodable(name).split())


def fitting(text: str, room: float, of: ImageFont.FreeTypeFont) -> str:
    """A text that is no wider than there is room, cut off with dots."""
    if of.getlength(text) <= room:
        return text
    while text and of.getlength(f"{text}…") > room:
        text = text[:-1]
    return f"{text}…"
