"""A folder of PNG and JPEG files as one array."""

import contextlib
import io
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from tqdm import tqdm

from bicoder.data.formats.archives import damage_as_data_error
from bicoder.data.formats.arrays import check_size
from bicoder.engine.arrays.portions import Portions
from bicoder.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg")
# Images of different sizes, or larger than this, are scaled to DEFAULT pixels if no size is asked for.
LARGEST_SIDE, DEFAULT = 128, (64, 64)


def find_images(folder: Path) -> list[Path]:
    """Paths of the images in a folder and its sub-folders, sorted; hidden files do not count.

    A link to a folder is followed, but no folder is entered twice.
    """

    def refuse(error: OSError) -> None:
        raise DataError(f"{error.filename}: cannot be read: {error.strerror or error}") from error

    found, entered = [], set()
    for root, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        place = os.path.realpath(root)
        if place in entered:
            folders.clear()
            continue
        entered.add(place)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        images = sorted(n for n in names if n.lower().endswith(SUFFIXES) and not n.startswith("."))
        found += [Path(root, name) for name in images]
    if not found:
        raise DataError(f"{folder}: expected PNG or JPEG images, in the folder or its sub-folders, received none")
    return found


class ImageBytes(io.FileIO):
    """An image file that never allocates more than it holds: Pillow asks for as many bytes as a header claims."""

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(0, os.fstat(self.fileno()).st_size - self.tell())
        return super().read(left if size is None or size < 0 else min(size, left))


@contextlib.contextmanager
def open_image(path: Path) -> Iterator[Image.Image]:
    """A PNG or JPEG file as a Pillow image; whatever Pillow raises on it is a `DataError`.

    Pillow warns of images with more than 89 million pixels, which a small file can claim; here that is an error.
    """
    try:
        file = ImageBytes(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    with file, damage_as_data_error(path, "image"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            opened = Image.open(file, formats=("PNG", "JPEG"))
        except UnidentifiedImageError as error:
            raise DataError(f"{path}: expected a PNG or JPEG image, received something else; remove it") from error
        with opened as image:
            yield image


def read_image(path: Path, size: tuple[int, int] | None = None, mode: str | None = None) -> np.ndarray:
    """One image as uint8 (height, width, channels).

    Args:
        path: a PNG or JPEG file.
        size: (height, width) to scale to, after a centred crop to that shape; None to leave it.
        mode: "L" or "RGB"; None takes the image's own: grey stays grey, transparency goes onto white.
    """
    with open_image(path) as opened:
        image = ImageOps.exif_transpose(opened)
        if image.mode.startswith("I"):  # sixteen bits of grey: `convert` would cut them off, not scale them
            image = Image.fromarray((np.asarray(image) >> 8).astype("uint8"))
        if "A" in image.getbands() or "transparency" in image.info:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
        image = image.convert(mode or ("L" if image.mode in ("1", "L", "I", "F") else "RGB"))
        if size is not None and image.size != size[::-1]:
            image = ImageOps.fit(image, size[::-1], Image.Resampling.LANCZOS)
        array = np.asarray(image)
    return array[:, :, None] if array.ndim == 2 else array


def describe(path: Path) -> tuple[tuple[int, int], bool]:
    """((height, width), is it grey) of an image, whose checksums are compared if it has some."""
    with open_image(path) as image:
        image.verify()  # nothing else compares those of a PNG
    with open_image(path) as image:
        width, height = image.size
        if image.getexif().get(0x0112) in (5, 6, 7, 8):  # the orientations that lie on their side
            width, height = height, width
        return (height, width), image.mode in ("1", "L", "I", "F", "I;16", "I;16B")


def common_size(
    sizes: set[tuple[int, int]], size: tuple[int, int] | None, say: Callable[[str], Any] = print
) -> tuple[int, int]:
    """The size of all images: what was asked for, else their own if they agree, else `DEFAULT`."""
    if size is not None:
        return size
    if len(sizes) == 1 and max(next(iter(sizes))) <= LARGEST_SIDE:
        return next(iter(sizes))
    received = f"{len(sizes)} different sizes" if len(sizes) > 1 else "large images"
    say(
        f"The folder holds {received}: cropped and scaled to {DEFAULT[0]}x{DEFAULT[1]}; --image_size sets another size."
    )
    return DEFAULT


def read_folder(
    folder: Path, size: tuple[int, int] | None = None, say: Callable[[str], Any] = print
) -> tuple[np.ndarray, np.ndarray | None, tuple[str, ...]]:
    """All images of a folder.

    Args:
        folder: path; if it has sub-folders, the name of the first one on the way to an image is its label.
        size: (height, width), or None.
        say: called with a line about what was decided.
    Returns:
        images uint8 (N, height, width, channels), labels int (N,) or None, names of the labels.
    """
    paths = find_images(folder)
    pictures = open_images(folder, paths, size, say)
    with damage_as_data_error(folder, "images"):  # of memory
        images = np.empty(pictures.shape, "uint8")
    # One image at a time, so that the bar moves.
    for i, image in enumerate(tqdm(pictures.read(1), "reading images", len(paths), disable=len(paths) < 1000)):
        images[i] = image[0]
    return images, *labels_of(folder, paths)


def open_images(
    folder: Path, paths: list[Path], size: tuple[int, int] | None = None, say: Callable[[str], Any] = print
) -> Portions:
    """The images of a folder as `Portions`, uint8; see `read_folder`."""
    sizes, greys = set(), set()
    for path in tqdm(paths, "looking at images", disable=len(paths) < 1000, leave=False):
        own, grey = describe(path)
        sizes.add(own)
        greys.add(grey)
    size, mode = common_size(sizes, size, say), "L" if greys == {True} else "RGB"
    shape = (len(paths), *size, 1 if mode == "L" else 3)
    check_size(shape, np.dtype("float32"), folder)  # what becomes of the bytes

    def read(rows: int) -> Iterator[np.ndarray]:
        for start in range(0, len(paths), rows):
            yield np.stack([read_image(path, size, mode) for path in paths[start : start + rows]])

    return Portions(shape, "uint8", read)


def labels_of(folder: Path, paths: list[Path]) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Labels int (N,) or None, and their names, of images in a folder."""
    parents = (path.relative_to(folder).parts[0] if path.parent != Path(folder) else "" for path in paths)
    numbers: dict[str, int] = {}
    found = np.array([numbers.setdefault(parent, len(numbers)) for parent in parents])
    if "" in numbers or len(numbers) < 2:
        return None, ()
    names = sorted(numbers)
    return np.argsort(np.argsort(list(numbers)))[found], tuple(names)
