"""Images from a path, treated as a run treated its own: size, channels and scaling are those of the run."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bicoder.data.datasets import Idx, Npz
from bicoder.data.formats.arrays import open_array, read_array
from bicoder.data.formats.folders import DEFAULT, describe, find_images, labels_of, read_image
from bicoder.data.loader import TEST_SEED
from bicoder.data.pixels import Scaling, scaled, scaling, survey, to_images, to_labels
from bicoder.engine.arrays.portions import Portions
from bicoder.errors import DataError


class Treatment(NamedTuple):
    """What a run did to its images.

    Args:
        shape: of one example x.
        image_shape: (height, width, channels), or None for vectors that are no images.
        scaling: of the pixels, or None if the run does not say.
        image_size: (height, width) that images of a folder were scaled to, or None if nobody asked for one.
        binarize: whether pixels were drawn as 0 or 1.
    """

    shape: tuple[int, ...]
    image_shape: tuple[int, ...] | None
    scaling: Scaling | None
    image_size: tuple[int, int] | None
    binarize: bool


class Others(NamedTuple):
    """Examples that are read when they are asked for.

    Args:
        total: N.
        read: function (rows) -> iterator of float32 arrays (n, ...) of so many examples at most.
        labels: whole numbers (N,), or None.
        label_names: text for every label, or ().
        files: names (N,), or None.
    """

    total: int
    read: Callable[[int], Iterator[np.ndarray]]
    labels: np.ndarray | None = None
    label_names: tuple[str, ...] = ()
    files: Any = None


def others_of(images: Any, **more: Any) -> Others:
    """`Others` of an array or of `StoredImages`, (N, ...)."""
    return Others(len(images), lambda n: (images[i : i + n] for i in range(0, len(images), n)), **more)


def read_others(path: Path, how: Treatment) -> Others:
    """The images of a folder or of an array file, as `Others` for the model of a run.

    Raises:
        DataError: they cannot be read, or do not fit; of what is read later, when it is read.
    """
    if path.is_dir() and not Idx.accepts(path):
        return of_folder(path, how)
    if not path.exists():
        raise DataError(f"images: expected a folder or an array file, received the path {str(path)!r}: not there")
    array, labels = array_of(path)
    name = str(path)
    check_shape(to_images(np.broadcast_to(np.zeros((), array.dtype), array.shape), name).shape[1:], how, name)
    count = array.shape[0]
    pixels = array.read if isinstance(array, Portions) else others_of(array).read
    return Others(count, treated(pixels, how, name), to_labels(labels, count, f"{name}: labels"))


def array_of(path: Path) -> tuple[np.ndarray | Portions, Any]:
    """The array of images in a file, and its labels if there are some."""
    if Npz.accepts(path):
        found = Npz(path).read()
        if found.test is not None and found.train is not None:
            raise DataError(
                f"{path}: expected one array of images, received training and test images; save one of them"
            )
        return (found.train, found.train_labels) if found.test is None else (found.test, found.test_labels)
    labels = Idx.beside(path, "images-idx3", "labels-idx1") if "images-idx3" in path.name else None
    file = Idx.training_file(path) or path
    return open_array(file), None if labels is None else read_array(labels)


def of_folder(folder: Path, how: Treatment) -> Others:
    """The images of a folder; they are scaled if the run scaled its own."""
    if how.image_shape is None or how.image_shape[-1] not in (1, 3):
        raise DataError(f"{folder}: expected an array file, as the run had, of examples {how.shape}, received a folder")
    height, width, channels = how.image_shape
    size = (height, width)
    may_be_scaled = how.image_size is not None or size == DEFAULT
    paths = find_images(folder)

    def pixels(path: Path) -> np.ndarray:
        own, is_grey = describe(path)
        if own != size and not may_be_scaled:
            received = f"{own[0]}x{own[1]}"
            raise DataError(
                f"{path}: expected an image of {height}x{width} pixels, as the run had, received {received}"
            )
        if channels == 1 and not is_grey:
            raise DataError(f"{path}: expected a grey image, as the run had, received one in colour")
        return read_image(path, size, "L" if channels == 1 else "RGB")

    def read(rows: int) -> Iterator[np.ndarray]:
        for start in range(0, len(paths), rows):
            yield np.stack([pixels(path) for path in paths[start : start + rows]])

    labels, names = labels_of(folder, paths)
    bytes_of_run = how if how.scaling else how._replace(scaling=Scaling(255, False))
    return Others(len(paths), treated(read, bytes_of_run, str(folder)), labels, names, [str(path) for path in paths])


def check_shape(shape: tuple[int, ...], how: Treatment, name: str) -> None:
    """`DataError` unless images of this shape are those of the run, or its vectors."""
    expected = how.image_shape or how.shape
    if shape != expected and not (len(shape) == 1 and shape == (math.prod(how.shape),)):
        raise DataError(f"{name}: expected images of shape {tuple(expected)}, as the run had, received {shape}")


def treated(read: Callable[[int], Iterator[np.ndarray]], how: Treatment, name: str) -> Callable[[int], Iterator]:
    """`read`, whose arrays of pixels become float32 (n, *how.shape) in [0, 1]."""

    def go_on(rows: int) -> Iterator[np.ndarray]:
        rng, known = np.random.default_rng(TEST_SEED), how.scaling or overall(read, name)
        for portion in read(rows):
            found = scaling(survey(portion, name), name, lambda line: None, known.divisor)
            if found.divisor != known.divisor:
                raise DataError(
                    f"{name}: expected pixels from 0 to {known.divisor}, as the run had, received values up to "
                    f"{portion.max():g}; scale them as those were"
                )
            x = scaled(to_images(portion, name), found).reshape(len(portion), *how.shape)
            yield (rng.random(x.shape, "float32") < x).astype("float32") if how.binarize else x

    return go_on


def overall(read: Callable[[int], Iterator[np.ndarray]], name: str) -> Scaling:
    """The `Scaling` that fits all portions, for a run that does not say how its own were scaled."""
    surveys = [survey(portion, name) for portion in read(1000)]
    peak = max(found.high for found in surveys)
    return scaling(max(surveys, key=lambda found: found.high), name, lambda line: None, peak)
