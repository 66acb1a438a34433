"""One image file, which may come from anyone, as an array."""

import contextlib
import io
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    ImageOps,
    TiffImagePlugin,
    UnidentifiedImageError,
    features,
)
from PIL.Image import Transpose

from bicoder.data.formats.archives import damage_as_data_error, read_whole
from bicoder.errors import DataError

# What is read, by the suffixes of the files; what is in a file decides how. The imports above register the formats
# that Pillow does not know from its start.
NAMES = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "WEBP": (".webp",),
    TiffImagePlugin.TiffImageFile.format: (".tif", ".tiff"),
    BmpImagePlugin.BmpImageFile.format: (".bmp",),
    GifImagePlugin.GifImageFile.format: (".gif",),
    "AVIF": (".avif",),
}
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # an older Pillow does not know the word
    OPTIONAL = {name: features.check(name.lower()) for name in ("WEBP", "AVIF")}
FORMATS = tuple(name for name in NAMES if OPTIONAL.get(name, True))
SUFFIXES = tuple(suffix for name in FORMATS for suffix in NAMES[name])
LISTED = "PNG, JPEG, " + ", ".join({"WEBP": "WebP"}.get(name, name) for name in FORMATS[2:])

LARGEST_FILE = 2**30  # bytes; the most pixels that are read, 89 million, have as many if each takes twelve
# Of a TIFF: what Pillow and libtiff unpack with little code; the others are of fax machines and cameras.
COMPRESSIONS = ("raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate")
GREYS = ("1", "L", "I", "F", "I;16", "I;16B", "I;16L", "I;16N")
# How the orientation that a camera wrote is undone.
TURNS = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
ON_THEIR_SIDE = (5, 6, 7, 8)
EXIF = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")


class Look(NamedTuple):
    """What the header of an image says."""

    size: tuple[int, int]  # height and width, as one looks at it
    grey: bool
    deep: bool  # whether it has more than eight bits of grey
    turn: int  # the orientation that a camera wrote
    pages: bool  # whether it has several pages or frames, of which the first is read
    cut: bool  # whether it has 16 bits of each colour, of which Pillow reads eight

    @property
    def colour(self) -> bool:
        """Whether it is not grey."""
        return not self.grey


class Plan(NamedTuple):
    """How all images of a set are read."""

    size: tuple[int, int]  # height and width
    grey: bool
    deep: bool  # 16 bits in place of eight


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Inside, Pillow warns of nothing, and an image that it would warn of for its size is an error.

    A small file can claim billions of pixels; from 89 million on, Pillow would warn. Filters of warnings belong to the
    process: whoever reads in threads enters this before it starts them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def check_png(content: bytes) -> None:
    """`ValueError` unless the checksums of a PNG, which Pillow does not compare, are right up to its end."""
    place = 8
    while True:
        if place + 12 > len(content):
            raise ValueError("broken PNG file: it is cut off")
        length, name = struct.unpack_from(">I4s", content, place)
        end = place + 8 + length
        if end + 4 > len(content):
            raise ValueError("broken PNG file: it is cut off")
        if zlib.crc32(memoryview(content)[place + 4 : end]) != int.from_bytes(content[end : end + 4], "big"):
            raise ValueError(f"broken PNG file: wrong checksum of the block {name!r}")
        if name == b"IEND":
            return
        place = end + 4


def check_webp(content: bytes) -> None:
    """`ValueError` if a WebP claims too many pixels: older Pillows make room for them before they look."""
    kind, sides = content[12:16], (0, 0)
    if kind == b"VP8X":
        sides = (1 + int.from_bytes(content[24:27], "little"), 1 + int.from_bytes(content[27:30], "little"))
    elif kind == b"VP8 ":
        sides = (int.from_bytes(content[26:28], "little") & 0x3FFF, int.from_bytes(content[28:30], "little") & 0x3FFF)
    elif kind == b"VP8L":
        bits = int.from_bytes(content[21:25], "little")
        sides = ((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    check_pixels(*sides)


def check_pixels(width: int, height: int) -> None:
    """`ValueError` if these are more pixels than Pillow takes without a warning."""
    most = Image.MAX_IMAGE_PIXELS
    if most is not None and width * height > most:
        raise ValueError(f"Image size ({width * height} pixels) exceeds limit of {most} pixels")


def check_tiff(image: Image.Image) -> None:
    """`ValueError` if a TIFF is packed in a way that is not read, or in tiles that are larger than any image."""
    if (found := image.info.get("compression", "raw")) not in COMPRESSIONS:
        raise ValueError(f"a TIFF that is packed as {found} is not read")
    tags = image.tag_v2  # type: ignore[attr-defined]  # of a TIFF
    check_pixels(*(int(tags.get(side, 1)) for side in (322, 323)))


@contextlib.contextmanager
def open_image(path: Path) -> Iterator[ImageFile.ImageFile]:
    """An image file as a Pillow image; whatever Pillow raises on it is a `DataError`. To be entered inside `quiet`."""
    content = read_whole(path, LARGEST_FILE)
    with damage_as_data_error(path, "image"):
        if content.startswith(b"\x89PNG"):
            check_png(content)
        elif content.startswith(b"RIFF"):
            check_webp(content)
        try:
            opened = Image.open(io.BytesIO(content), formats=FORMATS)
        except UnidentifiedImageError as error:
            raise DataError(f"{path}: expected an image, {LISTED}, received something else; remove it") from error
        with opened as image:
            if image.format == "TIFF":
                check_tiff(image)
            yield image


def look_at(image: ImageFile.ImageFile) -> Look:
    """What an image is like, as its header says."""
    args: Any = image.tile[0].args if image.tile else None
    rawmode = args[0] if isinstance(args, tuple) and args else args
    cut = image.mode in ("RGB", "RGBA") and isinstance(rawmode, str) and ";16" in rawmode
    turn = turn_of(image)
    width, height = image.size
    return Look(
        (width, height) if turn in ON_THEIR_SIDE else (height, width),
        image.mode in GREYS,
        image.mode.startswith("I"),
        turn,
        bool(getattr(image, "is_animated", False)),
        cut,
    )


def turn_of(image: Image.Image) -> int:
    """The orientation that a camera wrote, from 1 to 8; Pillow undoes that of a TIFF by itself."""
    if image.format == "PNG":
        image.load()  # what says how to turn it may follow the pixels
    if image.format == "TIFF" or not any(name in image.info for name in EXIF):
        return 1
    found = image.getexif().get(0x0112, 1)
    return found if found in TURNS else 1


def pixels(image: Image.Image, turn: int, plan: Plan) -> np.ndarray:
    """An image as uint8, or uint16 if the plan is deep, (height, width, channels).

    A JPEG that is at least twice as large as it shall be is scaled by 2, 4 or 8 while it is unpacked (`draft`).
    """
    image.draft(None, plan.size if turn in ON_THEIR_SIDE else plan.size[::-1])  # (width, height); of a JPEG alone
    deep = image.mode.startswith("I")
    if deep:
        image = image.convert("I")
        low, high = map(int, image.getextrema())  # type: ignore[arg-type]  # of one channel, numbers
        if not 0 <= low <= high <= 65535:
            raise ValueError(f"expected grey values of 8 or 16 bits, received some from {low} to {high}")
    elif image.mode == "F":
        raise ValueError("expected grey values of 8 or 16 bits, received real numbers; save them as one .npy array")
    else:
        if "A" in image.getbands() or "transparency" in image.info:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
        mode = "L" if plan.grey else "RGB"
        image = image if image.mode == mode else image.convert(mode)
    if turn in TURNS:
        image = image.transpose(TURNS[turn])
    if image.size != plan.size[::-1]:
        image = ImageOps.fit(image, plan.size[::-1], Image.Resampling.LANCZOS)
    array = np.asarray(image)
    if plan.deep:
        array = array.clip(0, 65535).astype("uint16") if deep else array * np.uint16(257)
    array = array[:, :, None] if array.ndim == 2 else array
    return array if plan.grey or array.shape[-1] == 3 else array.repeat(3, axis=-1)


def read_image(path: Path, choose: Callable[[Look], Plan | None]) -> tuple[Look, np.ndarray | None]:
    """What an image is like, and its pixels; to be called inside `quiet`.

    Args:
        path: of the file.
        choose: function of the `Look` that says how to read it; None to leave the pixels.
    """
    with open_image(path) as image:
        look = look_at(image)
        plan = choose(look)
        return look, None if plan is None else pixels(image, look.turn, plan)
