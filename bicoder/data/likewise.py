"""Other images, treated as a run treated its own: of its size, grey or in colour, and scaled as they were."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bicoder.data.datasets import Folder, Npy, find_dataset
from bicoder.data.formats.folders import Arrangement
from bicoder.data.formats.images import SUFFIXES, Plan
from bicoder.data.formats.reading import Pictures
from bicoder.data.pixels import ROUNDING, Scaling, scaled, to_images, to_labels
from bicoder.data.published import Named
from bicoder.data.sources import StartAgain
from bicoder.data.splits import Split
from bicoder.engine.arrays.portions import Portions, portions, rows_of
from bicoder.errors import DataError, UsageError


def images_like(
    source: Any,
    shape: Sequence[int],
    image_shape: Sequence[int] | None,
    scaling: Scaling,
    skip_damaged: bool = False,
    say: Callable[[str], Any] = print,
) -> Iterator[Split]:
    """Images in portions of a few MB, as a run would have had them, so that memory does not grow with their number.

    Args:
        source: path of a folder of images, of one image, or of a .npy, .npz or IDX file; an array; or a pair (images,
            labels) of arrays.
        shape: of an example, as the model has it.
        image_shape: (height, width, channels), as config.json has it; None if examples are vectors of no known shape.
        scaling: how the run's pixels became what they are, as config.json has it.
        skip_damaged: go on without files that are damaged.
        say: called with a line about what was decided.
    Returns:
        `Split`s of images (n, *shape) of float32 in [0, 1], labels (n,) or None, and names of files, or rows.
    Raises:
        DataError: they are of another shape or range, and cannot be brought to that of the run.
    """
    found = files_of(source, say)
    if found is None:
        parts = of_array(source, image_shape or shape, scaling, say)
    else:
        parts = of_files(Path(source), found, image_shape, scaling, skip_damaged, say)
    for part in parts:
        yield part._replace(images=part.images[:].reshape(len(part.images), *shape))


def files_of(source: Any, say: Callable[[str], Any]) -> Arrangement | None:
    """The image files of a folder, or the one image that a path is of; None for arrays."""
    if isinstance(source, (str, Path)) and (path := Path(source)).is_file() and path.name.lower().endswith(SUFFIXES):
        return Arrangement([path], np.array([path.name], object))
    kind = find_dataset(source)
    if issubclass(kind, Named):
        raise UsageError(f"images: expected a folder, a file or an array, received the data set {source}")
    return kind(source, validation=True, say=say).arranged() if issubclass(kind, Folder) else None


def of_files(
    path: Path,
    found: Arrangement,
    image_shape: Sequence[int] | None,
    scaling: Scaling,
    skip_damaged: bool,
    say: Callable[[str], Any],
) -> Iterator[Split]:
    """Portions of image files; see `images_like`."""
    if image_shape is None or image_shape[-1] not in (1, 3):
        had = "vectors" if image_shape is None else f"{image_shape[-1]} channels"
        raise DataError(f"{path}: expected an array, since the run had {had}, received files of images")
    height, width, channels = image_shape
    folder = path if path.is_dir() else path.parent
    pictures = Pictures(folder, found.paths, (height, width), channels, skip_damaged, say)
    pictures.plan = Plan((height, width), channels == 1, scaling.divisor > 255)
    array, start = pictures.open(), 0
    try:
        for portion in array.read(rows_of(array)):
            rows = np.array(pictures.numbers)
            labels = None if found.labels is None else found.labels[rows]
            yield Split(in_range(portion, scaling, str(path), start), labels, found.names[rows])
            start += len(portion)
    except StartAgain:
        raise DataError(f"{path}: expected images of eight bits, as the run had, received some of 16") from None


def of_array(source: Any, shape: Sequence[int], scaling: Scaling, say: Callable[[str], Any]) -> Iterator[Split]:
    """Portions of an array; see `images_like`."""
    dataset = find_dataset(source)(source, say=say)
    found, name = dataset.sources() if isinstance(dataset, Npy) else dataset.read(), dataset.name
    array: np.ndarray | Portions = found.train.open() if isinstance(dataset, Npy) else found.train
    if found.test is not None:
        say(f"{name}: its test images are left out; those for training are taken.")
    expected = (array.shape[0], *shape)
    if to_images(np.broadcast_to(np.zeros((), array.dtype), array.shape), name).shape != expected:
        raise DataError(f"{name}: expected images of shape {tuple(shape)}, as the run had, received {array.shape[1:]}")
    if array.dtype.kind not in "buif":
        raise DataError(f"{name}: expected numbers, received dtype {array.dtype}")
    labels, start = to_labels(found.train_labels, len(range(array.shape[0])), f"{name}: labels"), 0
    for portion in portions(array):
        rows = np.arange(start, start + len(portion))
        images = in_range(to_images(portion, name), scaling, name, start)
        yield Split(images, None if labels is None else labels[rows], rows)
        start += len(portion)


def in_range(pixels: np.ndarray, scaling: Scaling, name: str, start: int) -> np.ndarray:
    """Pixels in [0, 1], scaled as a run scaled its own.

    Args:
        pixels: (n, ...).
        scaling: of the run.
        name: what messages call them.
        start: row of the first.
    Raises:
        DataError: they are of another range than the run's, or NaN.
    """
    low, high, most = float(pixels.min()), float(pixels.max()), scaling.divisor
    slack = ROUNDING if pixels.dtype.kind == "f" and most == 1 else 0.0
    if not (low >= -slack and high <= most + slack):
        raise DataError(
            f"{name}: expected pixels from 0 to {most}, as the run had, received some from {low:g} to {high:g} in rows "
            f"{start:,} to {start + len(pixels) - 1:,}; rescale them"
        )
    if pixels.dtype.kind == "f" and most > 1 and start == 0 and high <= 1 + ROUNDING:
        raise DataError(
            f"{name}: expected pixels from 0 to {most}, as the run had, received none above 1; rescale them"
        )
    return scaled(pixels, Scaling(most, pixels.dtype.kind == "f" and most == 1))
