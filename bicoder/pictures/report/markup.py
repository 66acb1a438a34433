"""Pieces of the page: whatever comes from outside is text in them, never markup."""

import base64
import hashlib
import html
import io
import json
import math
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bicoder.errors import decodable
from bicoder.pictures.drawing.plotting import GAP, tile

WIDTH = 1100  # pixels of the page for images beside each other
JPEG = 92  # quality of sheets that would be too large without loss
SMALLER = 0.6  # of the pixels of a picture of Matplotlib's, whose letters are as large as those of the page then
LOSSLESS = 2_000_000  # bytes of a sheet that is kept as it is


def text(value: Any) -> str:
    """A value as text of the page."""
    return html.escape(decodable(value), quote=True)


def encoded(content: bytes) -> str:
    """Bytes as letters."""
    return base64.b64encode(content).decode("ascii")


def floats(array: Any) -> str:
    """Numbers as the script reads them: float32, the lowest byte first."""
    return encoded(np.ascontiguousarray(array, "<f4").tobytes())


def block(data: Any) -> str:
    """Data for the script as JSON that no parser of HTML takes for markup."""
    found = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for letter in "<>&\u2028\u2029":
        found = found.replace(letter, f"\\u{ord(letter):04x}")
    return found


def digest(content: str) -> str:
    """What the policy of the page calls a script or a style: no other runs."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def as_bytes(images: np.ndarray) -> np.ndarray:
    """Images in [0, 1] as bytes; what is no number is black."""
    return np.round(255.0 * np.clip(np.nan_to_num(images), 0.0, 1.0)).astype("uint8")


def bytes_of(image: np.ndarray, **how: Any) -> bytes:
    """An image (height, width[, 3 or 4]) in [0, 1], or of bytes, as a file."""
    from PIL import Image

    if image.dtype != np.uint8:
        image = as_bytes(image)
    file = io.BytesIO()
    Image.fromarray(image).save(file, **(how or {"format": "png", "optimize": True}))
    return file.getvalue()


def address(content: bytes, kind: str = "png") -> str:
    """An image file as an address that holds it."""
    return f"data:image/{kind};base64,{encoded(content)}"


def figure(image: np.ndarray, alt: str, caption: str = "", scale: int = 1) -> str:
    """An image (height, width[, 3 or 4]) of pixels that stay sharp, each `scale` times as wide and high."""
    height, width = image.shape[0] * scale, image.shape[1] * scale
    return shown(address(bytes_of(image)), alt, caption, f' width="{width}" height="{height}"', "pixels")


def drawn(draw: Callable[[Path], Path | None], alt: str, identity: str = "") -> str:
    """A picture that a function draws into a file, which is gone afterwards; nothing if it has nothing to draw."""
    with tempfile.TemporaryDirectory(prefix="bicoder-") as folder:
        path = draw(Path(folder) / "picture.png")
        return "" if path is None else picture(path, alt, identity=identity)


def picture(path: Path, alt: str, caption: str = "", identity: str = "") -> str:
    """A picture of Matplotlib's that lies in a file."""
    from PIL import Image

    with Image.open(path) as image:
        width, height = (round(size * SMALLER) for size in image.size)
    more = f' width="{width}" height="{height}"' + (f' id="{identity}"' if identity else "")
    return shown(address(path.read_bytes()), alt, caption, more, "plot")


def shown(source: str, alt: str, caption: str, more: str, kind: str) -> str:
    """An image of the page, with what it shows in words."""
    below = f"<figcaption>{text(caption)}</figcaption>" if caption else ""
    image = f'<img class="{kind}" src="{source}" alt="{text(alt)}"{more}>'
    return f'<figure class="picture"><div class="scroll">{image}</div>{below}</figure>'


def scale_of(images: np.ndarray) -> int:
    """By how much images (n, height, width[, 3 or 4]) are enlarged: small ones by a whole factor."""
    return max(1, min(6, round(56 / images.shape[1])))


def most_columns(images: np.ndarray, most: int) -> int:
    """How many of these images stand beside each other in the page, at most so many."""
    return max(1, min(most, WIDTH // (scale_of(images) * (images.shape[2] + GAP))))


def grid(images: np.ndarray, columns: int, alt: str, caption: str = "") -> str:
    """Images (n, height, width[, 3 or 4]) beside each other, row by row."""
    return figure(tile(images, columns), alt, caption, scale_of(images))


def sheet(images: np.ndarray, columns: int, identity: str) -> tuple[str, bool]:
    """Images without gaps for the script, of the last row as many as there are, and whether they lost nothing.

    PNG keeps every grey value. Many colours take so much room that they come as JPEG then.
    """
    count, height, width, *channels = images.shape
    rows = math.ceil(count / columns)
    canvas = np.zeros((rows * columns, height, width, *channels), images.dtype)
    canvas[:count] = images
    laid = canvas.reshape(rows, columns, height, width, *channels).swapaxes(1, 2)
    laid = laid.reshape(rows * height, columns * width, *channels)
    content, kind = bytes_of(laid), "png"
    exact = len(content) <= LOSSLESS or laid.shape[-1] == 4
    if not exact:
        content, kind = bytes_of(laid, format="jpeg", quality=JPEG, subsampling=0), "jpeg"
    return f'<img id="{identity}" hidden alt="" src="{address(content, kind)}">', exact


def table(rows: Mapping[str, Any]) -> str:
    """Names and values."""
    cells = (f'<tr><th scope="row">{text(name)}</th><td>{text(value)}</td></tr>' for name, value in rows.items())
    return f'<div class="scroll"><table class="facts">{"".join(cells)}</table></div>'


def card(name: str, value: str, unit: str, meaning: str) -> str:
    """A number with what it means."""
    return (
        f'<div class="card"><span>{text(name)}</span><b>{text(value)}</b><span class="unit">{text(unit)}</span>'
        f'<p class="note">{text(meaning)}</p></div>'
    )


def note(sentence: str) -> str:
    """A sentence beside a picture."""
    return f'<p class="note">{text(sentence)}</p>'


def items(sentences: Iterable[str]) -> str:
    """Sentences as a list."""
    return f'<ul class="doctor">{"".join(f"<li>{text(sentence)}</li>" for sentence in sentences)}</ul>'
