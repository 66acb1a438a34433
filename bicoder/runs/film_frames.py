"""The frames of a film of a training, kept in the run folder so that a training that goes on goes on with its film."""

import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bicoder.errors import ModelError
from bicoder.files.named_arrays import opened_arrays, write_arrays

FRAMES = 30  # of a film, at most
NUMBERS = ("total", "step", "bound", "originals")  # what the file has beside the pictures of the frames


class Frame(NamedTuple):
    """A moment of a training.

    Args:
        step: how many steps there were before it.
        bound: on the training images of the latest steps, in nats; NaN before the first.
        pictures: name -> images, uint8.
    """

    step: int
    bound: float
    pictures: dict[str, np.ndarray]


def next_step(step: int, left: int, total: int) -> int:
    """When the next frame is due, if so many are left and the last is that of the last step: they lie geometrically.

    Args:
        step: of the last frame.
        left: frames.
        total: steps of the whole training.
    """
    start = max(1, step)
    geometric = start * (total / start) ** (1.0 / left) if left > 0 and total > start else total
    return max(step + 1, min(total, round(geometric)))


def room_for_more(frames: list[Frame], then: int, total: int) -> list[Frame]:
    """The frames of a training that shall have more steps than it had: the longer it gets, the fewer of them stay."""
    if total == then:
        return frames
    more = max(FRAMES - len(frames), math.ceil(FRAMES * (1.0 - frames[-1].step / total)))
    kept = np.linspace(0, len(frames) - 1, max(2, FRAMES - more)).round().astype(int)
    return [frames[number] for number in np.unique(kept)]


def save(path: Path, frames: list[Frame], originals: np.ndarray, total: int) -> None:
    """Write the frames, whole or not at all.

    Args:
        path: of the file.
        frames: one or more.
        originals: the test images that they show, uint8.
        total: steps that the training shall have.
    Raises:
        ModelError: they cannot be written.
    """
    arrays = {name: np.stack([frame.pictures[name] for frame in frames]) for name in frames[0].pictures}
    numbers = {
        "total": np.array([total], "int64"),
        "step": np.array([frame.step for frame in frames], "int64"),
        "bound": np.array([frame.bound for frame in frames], "float64"),
        "originals": originals,
    }
    write_arrays(path, arrays | numbers, {}, ModelError)


def read(path: Path, originals: np.ndarray, pictures: Mapping[str, np.ndarray]) -> tuple[list[Frame], int]:
    """The frames of a file that may come from anyone, and the steps that the training should have then.

    Args:
        path: of the file.
        originals: the test images that the frames must show.
        pictures: name -> images as every frame must have them.
    Raises:
        ValueError, or whatever the reader raises: it is damaged, or of another training.
    """
    with opened_arrays(path) as file:
        found = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
        count = shape_of(found, "step")[0] if len(shape_of(found, "step")) == 1 else 0
        if not 1 <= count <= FRAMES:
            raise ValueError(f"expected 1 to {FRAMES} frames, received {count:,}")
        expected: dict[str, Any] = {"total": ("I64", [1]), "step": ("I64", [count]), "bound": ("F64", [count])}
        expected |= {"originals": ("U8", [*originals.shape])}
        expected |= {name: ("U8", [count, *array.shape]) for name, array in pictures.items()}
        if {name: (one.get_dtype(), list(one.get_shape())) for name, one in found.items()} != expected:
            raise ValueError("expected the pictures of this model, received others")
        arrays = {name: file.get_tensor(name) for name in expected}
    if (arrays["originals"] != originals).any():
        raise ValueError("expected these test images, received others")
    steps = arrays["step"].tolist()
    if steps[0] < 0 or any(later <= step for step, later in itertools.pairwise(steps)):
        raise ValueError("expected steps that follow each other")
    bounds = arrays["bound"].tolist()
    frames = [Frame(steps[i], bounds[i], {name: arrays[name][i] for name in pictures}) for i in range(count)]
    return frames, int(arrays["total"][0])


def shape_of(found: Mapping[str, Any], name: str) -> list[int]:
    """The shape of an array of the file, [] if there is none."""
    return list(found[name].get_shape()) if name in found else []
