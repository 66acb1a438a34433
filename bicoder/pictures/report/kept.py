"""What took long to find out for a report, for when it is written again: report.safetensors, beside it."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from bicoder.errors import UsageError
from bicoder.files.named_arrays import opened_arrays, write_arrays

SUFFIX = ".safetensors"
LARGEST = 2**28  # bytes


class Kept(NamedTuple):
    """What stays true as long as a run has the same weights.

    Args:
        chosen: numbers of the test images in the map, (n,).
        points: where they lie, (n, 2).
        near: each sample from the prior, and the training images that are nearest to it: (samples, 1 + nearest,
            height, width[, 3 or 4]), bytes; empty if no training images were there.
        among: how many training images were looked at, and how many there are.
    """

    chosen: np.ndarray
    points: np.ndarray
    near: np.ndarray
    among: np.ndarray


KINDS = {"chosen": ("int64", (1,)), "points": ("float32", (2,)), "near": ("uint8", (1, 4, 5)), "among": ("int64", (1,))}


def path_of(page: Path) -> Path:
    """The file beside a page."""
    return page.with_suffix(SUFFIX)


def write(page: Path, kept: Kept) -> None:
    """Write it beside the page."""
    write_arrays(path_of(page), kept._asdict(), {"format": "bicoder.report", "version": "1"}, UsageError)


def read(page: Path) -> Kept | None:
    """What `write` wrote beside the page; None if there is nothing, or something else, which is found out anew then."""
    path = path_of(page)
    try:
        if path.is_symlink() or path.stat().st_size > LARGEST:
            return None
        with opened_arrays(path) as file:
            found = Kept(**{name: file.get_tensor(name) for name in Kept._fields})
    except Exception:  # of a file of anybody, the reader raises anything
        return None
    return found if is_sound(found) else None


def is_sound(found: Kept) -> bool:
    """Whether the arrays are of the types and shapes that `write` gives them."""
    for name, array in found._asdict().items():
        dtype, axes = KINDS[name]
        if array.dtype != dtype or array.ndim not in axes:
            return False
    same = len(found.points) == len(found.chosen) and found.points.shape[1] == 2 and len(found.among) == 2
    return same and bool(np.isfinite(found.points).all())
