"""Other images, treated as a run treated its own: of its size, grey or in colour, and scaled as they were."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bicoder.data.dataset import Dataset
from bicoder.data.datasets import Folder, Npy, find_dataset, missing
from bicoder.data.formats.folders import Arrangement
from bicoder.data.formats.images import SUFFIXES, Plan
from bicoder.data.formats.reading import DEFAULT, Pictures
from bicoder.data.loader import TEST_SEED
from bicoder.data.pixels import ROUNDING, Scaling, drawn, scaled, scaling, seed_of_view, survey, to_images, to_labels
from bicoder.data.published import Named
from bicoder.data.splits import Split
from bicoder.data.stored.sources import StartAgain
from bicoder.engine.arrays.masked import arrays_in
from bicoder.engine.arrays.portions import Portions, portions, portions_of_examples, rows_of
from bicoder.errors import DataError, UsageError

Say = Callable[[str], Any]


class Treatment(NamedTuple):
    """What a run did to its images.

    Args:
        shape: of an example, as the model has it.
        image_shape: (height, width, channels), or None if examples are vectors of no known shape.
        scaling: how the pixels became what they are; None if the run does not say.
        image_size: (height, width) that images of a folder were scaled to, or None if nobody asked for one.
        binarize: whether test images were drawn as 0 or 1.
        view: which view they are, "" of one tensor.
    """

    shape: tuple[int, ...]
    image_shape: tuple[int, ...] | None
    scaling: Scaling | None
    image_size: tuple[int, int] | None = None
    binarize: bool = False
    view: str = ""


class Likewise(NamedTuple):
    """Images that are read when they are asked for, so that memory does not grow with their number.

    Args:
        total: N.
        portions: iterator of arrays (n, *shape) of float32 in [0, 1], of a few MB; or of those of each view.
        labels: whole numbers (N,), or None.
        label_names: text of every label, may be empty.
        names: of the files, text (N,); or rows of an array, whole numbers (N,); None for all rows in their order.
    """

    total: int
    portions: Iterator[Any]
    labels: np.ndarray | None = None
    label_names: tuple[str, ...] = ()
    names: np.ndarray | None = None

    def batches(self, size: int) -> Iterator[Any]:
        """The images in batches of this size at most."""
        return (some for portion in self.portions for some in portions_of_examples(portion, size))

    def first(self, count: int) -> list[Any]:
        """The first so many images, in portions."""
        found: list[Any] = []
        for portion in self.portions:
            some = next(portions_of_examples(portion, count))
            found.append(some)
            count -= len(arrays_in(some)[0])
            if not count:
                break
        return found

    def texts(self, images: str | None = None) -> dict[str, list[Any]]:
        """What a table says of each image before its numbers: its file or row, and its label, if there are some.

        Args:
            images: where they are, for the paths of the files; None for paths as the run has them.
        """
        found: dict[str, list[Any]] = {}
        if self.names is not None:
            if self.names.dtype.kind in "iu":
                found["row"] = self.names.tolist()
            else:
                path = Path(images or "")
                folder = path.parent if path.is_file() else path
                found["file"] = [str(folder / name) for name in self.names]
        if self.labels is not None:
            names, labels = self.label_names, self.labels.tolist()
            found["label"] = [names[label] if label >= 0 else "" for label in labels] if names else labels
        return found


def images_like(source: Any, how: Treatment, say: Say = print) -> Likewise:
    """Images as a run would have had them.

    Args:
        source: path of a folder of images, of one image, or of a .npy, .npz or IDX file; an array; or a pair (images,
            labels) of arrays.
        how: what the run did to its own.
        say: called with a line about what was decided.
    Raises:
        DataError: they are of another shape, colour or range; of what is read later, when it is read.
    """
    return likewise(source, files_of(source, say), how, say)


def likewise(source: Any, files: Arrangement | None, how: Treatment, say: Say) -> Likewise:
    """What `images_like` gives, of the files that `files_of` found."""
    if files is None:
        found = of_array(source, how, say)
    else:
        pixels = of_files(Path(source), files, how, say)
        found = Likewise(len(files.paths), pixels, files.labels, tuple(files.label_names), files.names)
    return found._replace(portions=prepared(found.portions, how))


def own(split: Split, label_names: tuple[str, ...]) -> Likewise:
    """The images of a run itself, which it has prepared."""
    return Likewise(len(split.names), portions_of_examples(split.images), split.labels, label_names, split.names)


def prepared(arrays: Iterator[np.ndarray], how: Treatment) -> Iterator[np.ndarray]:
    """Images in the shape of the model's examples, and drawn as 0 or 1 if the run's test images were."""
    shaped = (images.reshape(len(images), *how.shape) for images in arrays)
    seed = seed_of_view(TEST_SEED, how.view)
    return (some.astype("float32") for some in drawn(shaped, seed)) if how.binarize else shaped


def files_of(source: Any, say: Say) -> Arrangement | None:
    """The image files of a folder, or the one image that a path is of; None for arrays."""
    if isinstance(source, (str, Path)) and (path := Path(source)).is_file() and path.name.lower().endswith(SUFFIXES):
        return Arrangement([path], np.array([path.name], object))
    check_there(source)
    kind = find_dataset(source)
    return kind(source, validation=True, say=say).arranged() if issubclass(kind, Folder) else None


def check_there(source: Any) -> None:
    """`DataError` if nothing is at a path; `UsageError` if it is the name of a data set."""
    if isinstance(source, (str, Path)) and not Path(source).exists():
        if str(source) in Named.members():
            raise UsageError(f"images: expected a folder, a file or an array, received the data set {source}")
        raise DataError(f"images: expected a folder or a file, received {missing(source)}")


def of_files(path: Path, found: Arrangement, how: Treatment, say: Say) -> Iterator[np.ndarray]:
    """Portions of image files; they are scaled to the run's size if the run scaled its own."""
    if how.image_shape is None or how.image_shape[-1] not in (1, 3):
        had = "vectors" if how.image_shape is None else f"{how.image_shape[-1]} channels"
        raise DataError(f"{path}: expected an array, since the run had {had}, received files of images")
    known, (height, width, channels) = how.scaling or Scaling(255, False), how.image_shape
    folder = path if path.is_dir() else path.parent
    pictures = Pictures(folder, found.paths, (height, width), channels, None, say)
    pictures.plan = Plan((height, width), channels == 1, known.divisor > 255)
    return of_pictures(pictures, how, known, path)


def of_pictures(pictures: Pictures, how: Treatment, known: Scaling, path: Path) -> Iterator[np.ndarray]:
    """What is read of image files, once it is seen to fit."""
    array, start = pictures.open(), 0
    try:
        for portion in array.read(rows_of(array)):
            check_fit(pictures, how, path)
            yield in_range(portion, known, str(path), start)
            start += len(portion)
    except StartAgain:
        raise DataError(f"{path}: expected images of eight bits, as the run had, received some of 16") from None


def check_fit(pictures: Pictures, how: Treatment, path: Path) -> None:
    """`DataError` if an image is in colour for a run of grey ones, or of a size that the run never had."""
    height, width, channels = how.image_shape or (0, 0, 0)
    others = pictures.sizes - {(height, width)}
    if others and how.image_size is None and (height, width) != DEFAULT:
        received = "x".join(map(str, min(others)))
        raise DataError(f"{path}: expected images of {height}x{width} pixels, as the run had, received {received}")
    if channels == 1 and pictures.counts["colour"]:
        raise DataError(f"{path}: expected grey images, as the run had, received {pictures.some('colour')} in colour")


def of_array(source: Any, how: Treatment, say: Say) -> Likewise:
    """The images of an array; vectors of as many numbers are taken as images."""
    dataset = source if isinstance(source, Dataset) else find_dataset(source)(source, say=say)
    found, name = dataset.sources() if isinstance(dataset, Npy) else dataset.read(), dataset.name
    array: np.ndarray | Portions = found.train.open() if isinstance(dataset, Npy) else found.train
    if found.test is not None:
        say(f"{name}: its test images are left out; those for training are taken.")
    count, shape = array.shape[0], tuple(how.image_shape or how.shape)
    received = to_images(np.broadcast_to(np.zeros((), array.dtype), array.shape), name).shape[1:]
    if received not in (shape, (math.prod(shape),)):
        raise DataError(f"{name}: expected images of shape {shape}, as the run had, received {array.shape[1:]}")
    if array.dtype.kind not in "buif":
        raise DataError(f"{name}: expected numbers, received dtype {array.dtype}")
    labels = to_labels(found.train_labels, count, f"{name}: labels")
    known = how.scaling or scaling(survey(array, name), name, say)
    return Likewise(count, of_portions(array, known, name), labels)


def of_portions(array: np.ndarray | Portions, known: Scaling, name: str) -> Iterator[np.ndarray]:
    """The portions of an array, scaled."""
    start = 0
    for portion in portions(array):
        yield in_range(to_images(portion, name), known, name, start)
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
    if not math.isfinite(low) or not math.isfinite(high):
        rows = f"rows {start:,} to {start + len(pixels) - 1:,}"
        raise DataError(f"{name}: expected finite pixels, received NaN or infinity in {rows}")
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
