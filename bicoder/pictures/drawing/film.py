"""A film of a training from arrays: a GIF that plays everywhere."""

import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from bicoder.errors import decodable
from bicoder.files.whole_file import whole_file
from bicoder.pictures.drawing.plotting import COLOURS, shortened

SECONDS, LAST = 6.0, 2.0  # of all frames but the last, and of that
FASTEST, SLOWEST = 0.06, 0.6  # seconds of a frame
PALETTE = 256  # colours of all frames together
CELL, NARROW_CELL, CELL_OF_PLANE = 56, 28, 24  # pixels of an image beside others, at least half of them
LEAST_HEIGHT = 8  # pixels of what is a strip of numbers
GAP, MARGIN = 2, 16  # pixels between images, and around all
LINE, CAPTION, BETWEEN = 22, 18, 8  # pixels: height of a line of the header, of a caption, and from group to group
LEAST_WIDTH = 480  # pixels, so that the header has room
BAR, CURVE = 5, 48  # pixels: height of the bar of progress, and of the curve
FINER = 4  # times, so that a line has no steps
WHITE, INK, PALE = (255, 255, 255), (24, 24, 24), (96, 96, 96)
MINUS = "\N{MINUS SIGN}"
EMPTY = (222, 222, 222)  # of what is still to come


class Group(NamedTuple):
    """What is below a caption: images of all frames, uint8, (frames, views, n, height, width[, 3])."""

    caption: str
    images: np.ndarray


class Strip(NamedTuple):
    """All that is in a film.

    Args:
        name: of the data.
        steps: how many there were before each frame.
        bounds: on the training images of the latest steps before each frame, in nats; NaN if there were none.
        unit: of the bounds.
        epochs: of the whole training.
        steps_per_epoch: as it says.
        views: their names; none if the data are one tensor.
        groups: rows of images, of which each has its place throughout.
        plane: images of a square of codes, of one view, or None.
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
    frames = [Sheet(strip, number).drawn() for number in range(len(strip.steps))]
    each = 1000.0 * min(SLOWEST, max(FASTEST, SECONDS / max(1, len(frames) - 1)))
    durations = [10 * round(each / 10)] * (len(frames) - 1) + [int(1000 * LAST)]
    palette = palette_of(frames)
    first, *others = [in_palette(frame, palette) for frame in frames]
    with whole_file(path) as unfinished:
        first.save(unfinished, "GIF", save_all=True, append_images=others, duration=durations, loop=0)
    return path


def palette_of(frames: Sequence[Image.Image]) -> Image.Image:
    """The colours of page and letters, and those of some of the frames, as the palette of an image."""
    some = [frames[number] for number in np.unique(np.linspace(0, len(frames) - 1, 6).round().astype(int))]
    together = Image.new("RGB", (some[0].width, some[0].height * len(some)))
    for number, frame in enumerate(some):
        together.paste(frame, (0, number * frame.height))
    own = [value for colour in (WHITE, INK, PALE, EMPTY, accent()) for value in colour]
    found = together.quantize(PALETTE - len(own) // 3, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    found.putpalette(own + (found.getpalette() or []))
    return found


def in_palette(frame: Image.Image, palette: Image.Image) -> Image.Image:
    """A frame in the colours of a palette, of which Pillow finds one that is near: white shall be white."""
    numbers, pixels = np.array(frame.quantize(palette=palette, dither=Image.Dither.NONE)), np.asarray(frame)
    numbers[(pixels == 255).all(axis=-1)] = 0
    found = Image.fromarray(numbers, "P")
    found.putpalette(palette.getpalette() or [])
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


def tiled_views(images: np.ndarray, cell: int) -> Image.Image:
    """Images of views (views, n, height, width[, 3]), a row for each view."""
    return tiled(images.reshape(-1, *images.shape[2:]), images.shape[1], cell)


def tiled_plane(images: np.ndarray) -> Image.Image:
    """Images of a square of codes (n, height, width[, 3])."""
    return tiled(images, math.isqrt(len(images)), CELL_OF_PLANE)


class Sheet:
    """What is where in a frame, from top to bottom: a header, groups of rows and the curve, beside them the plane.

    Args:
        strip: all that is in the film.
        number: of the frame.
    """

    def __init__(self, strip: Strip, number: int) -> None:
        self.strip, self.number = strip, number
        cell = CELL if len(strip.views) < 3 else NARROW_CELL
        self.grids = [tiled_views(group.images[number], cell) for group in strip.groups]
        planes = [strip.plane] if strip.plane else []
        self.planes = [(tiled_plane(plane.images[number, 0]), plane.caption) for plane in planes]  # one or none
        self.names = [shortened(decodable(name)) for name in strip.views]
        self.left = MARGIN + (max(math.ceil(font(11).getlength(name)) for name in self.names) + 8 if self.names else 0)
        self.top = MARGIN + 2 * LINE + BAR + 8
        captions = [math.ceil(font(11).getlength(group.caption)) for group in strip.groups]
        self.width = max(*(grid.width for grid in self.grids), *captions)  # of the groups
        self.has_curve = sum(map(math.isfinite, strip.bounds)) > 1
        self.image = Image.new("RGB", self.size(), WHITE)
        self.draw = ImageDraw.Draw(self.image)

    def size(self) -> Size:
        """Room for all of it."""
        width = self.left + self.width + sum(MARGIN + plane.width for plane, _ in self.planes) + MARGIN
        heights = [grid.height for grid in self.grids] + [CURVE] * self.has_curve
        rows = sum(CAPTION + height + BETWEEN for height in heights)
        height = max(rows, *(CAPTION + plane.height + BETWEEN for plane, _ in self.planes), 0)
        return Size(max(LEAST_WIDTH, width), self.top + height + MARGIN - BETWEEN)

    def drawn(self) -> Image.Image:
        """The frame."""
        self.draw_header()
        top = self.top
        for group, grid in zip(self.strip.groups, self.grids, strict=True):
            self.draw_group(group.caption, grid, top)
            top += CAPTION + grid.height + BETWEEN
        if self.has_curve:
            self.draw.text((self.left, top), f"training {MINUS}ELBO, frame by frame", PALE, font(11))
            line = curve(self.strip.bounds, self.number, Size(max(grid.width for grid in self.grids), CURVE))
            self.image.paste(line, (self.left, top + CAPTION))
        for plane, caption in self.planes:
            left = self.image.width - MARGIN - plane.width
            self.draw.text((left, self.top), fitting(caption, plane.width, font(11)), PALE, font(11))
            self.image.paste(plane, (left, self.top + CAPTION))
        return self.image

    def draw_header(self) -> None:
        """What is learnt, how far the training is, and the bar of it."""
        said, right, bold = self.where(), self.image.width - MARGIN, font(16, bold=True)
        self.draw.text((right, MARGIN), said, INK, font(13), anchor="ra")
        room = right - 2 * MARGIN - font(13).getlength(said)
        self.draw.text((MARGIN, MARGIN - 2), fitting(one_line(self.strip.name), room, bold), INK, bold)
        self.draw.text((MARGIN, MARGIN + LINE), self.worth(), PALE, font(12))
        top = MARGIN + 2 * LINE
        self.draw.rectangle((MARGIN, top, right - 1, top + BAR - 1), EMPTY)
        done = self.strip.steps[self.number] / max(1, self.strip.epochs * self.strip.steps_per_epoch)
        if width := round((right - MARGIN) * min(1.0, done)):
            self.draw.rectangle((MARGIN, top, MARGIN + width - 1, top + BAR - 1), accent())

    def where(self) -> str:
        """How far the training is, in words."""
        step = self.strip.steps[self.number]
        epoch = math.ceil(step / max(1, self.strip.steps_per_epoch))
        return f"epoch {epoch} of {self.strip.epochs}, step {step:,}" if step else "before the first step"

    def worth(self) -> str:
        """What the training knows of its bound, in words."""
        bound = self.strip.bounds[self.number]
        if math.isnan(bound):
            return "nothing is learnt yet" if self.strip.steps[self.number] == 0 else ""
        number = f"{-bound:,.1f}".replace("-", MINUS)
        return f"training {MINUS}ELBO {number} {self.strip.unit}, mean of the latest steps"

    def draw_group(self, caption: str, grid: Image.Image, top: int) -> None:
        """A caption, and below it the rows of a group, with the names of the views."""
        self.draw.text((self.left, top), caption, PALE, font(11))
        self.image.paste(grid, (self.left, top + CAPTION))
        each = (grid.height + GAP) / max(1, len(self.names))
        for number, name in enumerate(self.names):
            middle = top + CAPTION + (number + 0.5) * each - GAP / 2
            self.draw.text((self.left - 8, middle), name, PALE, font(11), anchor="rm")


def curve(bounds: Sequence[float], number: int, size: Size) -> Image.Image:
    """Minus the bounds of all frames from left to right, the largest at the top, and a dot at that of this frame."""
    width, height = size.width * FINER, size.height * FINER
    image, radius = Image.new("RGB", (width, height), WHITE), 4 * FINER
    draw, values = ImageDraw.Draw(image), -np.asarray(bounds, "float64")
    known = np.flatnonzero(np.isfinite(values))
    low, high = values[known].min(), values[known].max()
    across = radius + (width - 2 * radius) * np.arange(len(values)) / max(1, len(values) - 1)
    down = radius + (height - 2 * radius) * (high - values) / (high - low or 1.0)
    points = [(across[i], down[i]) for i in known]
    past = [(across[i], down[i]) for i in known if i <= number]
    draw.line(points, EMPTY, 2 * FINER, "curve")
    if past:
        draw.line(past, accent(), 2 * FINER, "curve")
        (x, y) = past[-1]
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), accent())
    return image.resize(size, Image.Resampling.BOX)


def accent() -> tuple[int, int, int]:
    """The first colour of all pictures."""
    red, green, blue = matplotlib.colors.to_rgb(COLOURS[0])
    return round(255 * red), round(255 * green), round(255 * blue)


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
