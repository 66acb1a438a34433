"""Where arrays come from that are read only when it must be."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bicoder.data.pixels import drawn
from bicoder.data.stored.stored_images import StoredImages
from bicoder.engine.arrays.portions import Portions, portions
from bicoder.errors import DataError

WITHOUT_DAMAGED = " without damaged ones"  # at the end of a place, if that may be


class StartAgain(Exception):  # noqa: N818 - no error: what an array is was found out while it was read
    """Open the array again: it is another one than was thought."""


def nothing() -> list[int]:
    """No rows."""
    return []


class Source(NamedTuple):
    """Where an array comes from that is only read if it has not been converted yet."""

    open: Callable[[], np.ndarray | Portions]
    name: str  # what messages call it
    place: str  # what it is made of and how: text that stays the same when the content changes
    identity: Callable[[], dict[str, Any]]  # of what is another when the content has changed
    left_out: Callable[[], list[int]] = nothing  # numbers of rows that it turned out not to have, once it was read
    pictures: Any = None  # the `reading.Pictures` that `open` opens, if it is of image files


def identity(paths: Sequence[str | Path], base: Path | None = None) -> dict[str, Any]:
    """What says that files are the ones they were: place, number, and a hash of all names, sizes and times."""
    digest, size = hashlib.sha256(), 0
    for path in paths:
        path = Path(path)
        try:
            found = path.stat()
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
        name = path.relative_to(base) if base else path.name
        digest.update(f"{name}\0{found.st_size}\0{found.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
        size += found.st_size
    return {"files": len(paths), "bytes": size, "sha256": digest.hexdigest()}


def of_files(
    open_it: Callable[[], np.ndarray | Portions],
    name: str | Path,
    paths: Sequence[str | Path],
    how: str = "",
    base: Path | None = None,
    left_out: Callable[[], list[int]] = nothing,
) -> Source:
    """The `Source` of an array that files hold.

    Args:
        open_it: see `Source`.
        name: see `Source`.
        paths: of the files.
        how: what is made of them.
        base: folder that holds all of them.
        left_out: see `Source`.
    """
    place = f"{Path(base or paths[0]).absolute()} {how}"
    return Source(open_it, str(name), place, lambda: identity(paths, base), left_out)


def drawn_again(images: StoredImages, seed: Any) -> Source:
    """The `Source` of stored images drawn once as 0 or 1, with their grey values as probabilities."""

    def draw(_: int) -> Iterator[np.ndarray]:
        return (some.astype("uint8") for some in drawn(portions(images), seed))

    place = f"{images.path} drawn with {seed}"
    return Source(lambda: Portions(images.shape, "uint8", draw), images.path.name, place, images.identity)
