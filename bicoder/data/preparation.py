"""From what a data set gives to images in [0, 1], with their labels and names."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from bicoder.data.dataset import Dataset, Images
from bicoder.data.pixels import Scaling, scaled, scaling, survey, to_images, to_labels, to_scaling
from bicoder.data.splits import Split
from bicoder.data.stored.conversion import PixelFile
from bicoder.errors import DataError, counted


class Read(NamedTuple):
    """What was read of a data set, or of one view of it.

    Args:
        train, test: in [0, 1], None if there are none.
        scaling: how their pixels were scaled, or view -> how.
        purposes: what each image is for, text (N,), if the data set says so.
        label_names: text for every label, may be empty.
        damaged: names of files that were left out, text (n,).
        are_files: whether `names` are those of files.
    """

    train: Split | None
    test: Split | None
    scaling: Any
    purposes: np.ndarray | None
    label_names: tuple[str, ...]
    damaged: np.ndarray
    are_files: bool


def without_damaged(images: Images, name: str, say: Callable[[str], Any]) -> tuple[Images, np.ndarray]:
    """The same with the names, labels and purposes of those images alone that could be read; and names of the others.

    Args:
        images: of a data set.
        name: what messages call it.
        say: called with a line if some could not.
    """
    array = images.test if images.train is None else images.train
    out = list(array.left_out if isinstance(array, PixelFile) else images.left_out)
    if not out or images.names is None:
        return images, np.array([], object)
    damaged, keep = images.names[out], np.delete(np.arange(len(images.names)), out)
    listed = ", ".join(damaged[:10]) + (" ..." if len(out) > 10 else "")
    say(f"{name}: {len(out):,} of {counted(len(images.names), 'image')} are damaged and left out: {listed}")
    arrays = {field: getattr(images, field) for field in ("names", "purposes", "train_labels", "test_labels")}
    return images._replace(**{field: array[keep] for field, array in arrays.items() if array is not None}), damaged


def scaled_splits(
    images: Images, name: str, classes: int | None, alone: Scaling | None, divisor: int, say: Callable[[str], Any]
) -> tuple[Split | None, Split | None, Scaling]:
    """Training and test images in [0, 1], with labels and names, None if there are none; and how the last were scaled.

    All are scaled in the same way, even if one of them happens to be dark.

    Args:
        images: of a data set.
        name: what messages call it.
        classes: how many labels there are, or None.
        alone: how the test images must be scaled, if they come without the training images.
        divisor: what 16-bit pixels are divided by at least.
        say: called with a line about what was decided.
    """
    both = {name: (images.train, images.train_labels), f"{name}: test images": (images.test, images.test_labels)}
    given = {title: pair for title, pair in both.items() if pair[0] is not None}
    surveys, arrays, splits = {}, {}, {}
    for title, (array, _) in given.items():
        in_file = isinstance(array, PixelFile)
        surveys[title] = array.survey if in_file else survey(array, title)
        arrays[title] = array if in_file else to_images(array, title)
    labels = {
        title: to_labels(found, arrays[title].shape[0], f"{title}: labels", classes)
        for title, (_, found) in given.items()
    }
    peak = alone.divisor if alone else max(divisor, *(found.high for found in surveys.values()))
    for title, array in arrays.items():
        how = scaling(surveys[title], title, say, peak)
        if alone and how.divisor != alone.divisor:
            raise DataError(
                f"{title}: expected pixels to be divided by {alone.divisor}, as beside the training images, "
                f"received some to be divided by {how.divisor}; take the test images that were there then"
            )
        pixels = array.images(how) if isinstance(array, PixelFile) else scaled(array, how)
        called = np.arange(len(pixels)) if images.names is None else images.names
        splits[title] = Split(pixels, labels[title], called)
    return splits.get(name), splits.get(f"{name}: test images"), how


def labelled(images: Images, dataset: Dataset) -> Images:
    """The same with the labels of a file that the user gave; a data set of files has looked at it itself.

    Args:
        images: as the data set gave them.
        dataset: which one.
    Raises:
        DataError: they are not as many as the images, or they are words beside test labels that are numbers.
    """
    if dataset.labels is None or images.train is None or images.names is not None:
        return images
    file, rows = dataset.labels(), range(images.train.shape[0])
    labels, label_names = file.of(rows)
    if label_names and images.test_labels is not None:
        raise DataError(
            f"{file.path}: expected whole numbers, as the test labels of {dataset.name} are, received "
            f"{label_names[0][:80]!r}"
        )
    return images._replace(train_labels=labels, label_names=label_names)


def prepared(images: Images, dataset: Dataset, only_test: Any, known: Any, say: Callable[[str], Any]) -> Read:
    """What was read of a data set, in [0, 1].

    Args:
        images: as the data set gave them.
        dataset: which one.
        only_test: how the test images must be scaled, if they come without the training images; or None.
        known: how 16-bit pixels were scaled before; or None.
        say: called with a line about what was decided.
    """
    images, damaged = without_damaged(labelled(images, dataset), dataset.name, say)
    alone = only_test if images.train is None else None
    divisor = 0 if known is None else known.divisor
    train, test, how = scaled_splits(images, dataset.name, dataset.classes, alone, divisor, say)
    return Read(train, test, how, images.purposes, images.label_names, damaged, images.names is not None)


def known_scalings(views: Iterable[str], only_test: Any, scaling: Any) -> dict[str, tuple[Any, Any]]:
    """view -> the two scalings of `DataLoader`, each a `Scaling` or None; they are given as one, or as view -> one."""

    def of(given: Any, name: str, view: str) -> Scaling | None:
        found = given.get(view) if view and isinstance(given, dict) else given
        return None if found is None else to_scaling(found, name)

    return {view: (of(only_test, "only_test", view), of(scaling, "scaling", view)) for view in views}
