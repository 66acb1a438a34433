"""Which images are for training, for validation and for testing, and how a run remembers it."""

import io
import numbers
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bicoder.data.formats.archives import read_whole
from bicoder.data.formats.csv_lines import LARGEST, csv_lines
from bicoder.data.stored.stored_images import ImageArray, StoredImages
from bicoder.engine.arrays.aligned import aligned
from bicoder.engine.arrays.masked import on_arrays
from bicoder.errors import DataError, UsageError, counted
from bicoder.files.tables import csv_writer

SHARE = 0.2  # of the images, for testing, if a data set has no test images of its own
PURPOSES = ("training", "validation", "test")
DAMAGED = "damaged"  # what is said of files that were left out
LONGEST = 4096  # characters of a name


class Split(NamedTuple):
    """Images for one purpose, (N, ...), or those of each view; their labels, (N,) or None; what they are called, (N,).

    They are called by the paths of their files, as text, or by their rows in an array.
    """

    images: Any
    labels: np.ndarray | None
    names: np.ndarray

    def take(self, numbers: np.ndarray) -> "Split":
        """The images of these numbers (n,), in this order, with their labels and names."""
        labels, names = None if self.labels is None else self.labels[numbers], self.names[numbers]
        return Split(on_arrays(lambda images: rows_of(images, numbers), self.images), labels, names)

    def hold_out(self, seed: Any, share: float = SHARE) -> "tuple[Split, Split]":
        """What is left to train on, and a random share, see `split`."""
        left, held_out = split(len(self.names), seed, share)
        return self.take(left), self.take(held_out)


def rows_of(images: ImageArray, rows: np.ndarray) -> ImageArray:
    """Images of these numbers, (n,), in this order."""
    if isinstance(images, StoredImages):
        return images.select(rows)
    found = aligned((len(rows), *images.shape[1:]))
    return np.take(images, rows, axis=0, out=found, mode="clip")  # "raise" would copy


def split(count: int, seed: Any, share: float = SHARE) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the images to train on, and of a random share of all, at least one, that is held out.

    Of a single image there is nothing to hold out: it is both.

    Args:
        count: of all images.
        seed: what `numpy.random.default_rng` takes.
        share: that is held out.
    """
    order = np.random.default_rng(seed).permutation(count)
    held_out = max(1, round(share * count))
    return (order, order) if count == 1 else (order[held_out:], order[:held_out])


def known_labels(split: Split, name: str) -> np.ndarray:
    """The labels of all images of a split, (N,) as float32, which is what batches are of.

    Raises:
        DataError: there are none, or not of all.
    """
    if split.labels is None:
        raise DataError(
            f"{name}: expected a label for each image, as a condition needs it, received none; images in a sub-folder "
            "for each class have labels, and --labels FILE, labels= in Python, gives others theirs"
        )
    if count := int((split.labels < 0).sum()):
        first = split.names[int((split.labels < 0).argmax())]
        raise DataError(
            f"{name}: expected a label for each image, as a condition needs it, received {counted(count, 'image')} "
            f"without one, the first is {first}; put them into the sub-folder of their class, or leave them out"
        )
    return split.labels.astype("float32")


def check_share(value: Any) -> float:
    """The share of validation images, if it is a number from 0 and below 1, else `UsageError`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 <= float(value) < 1:
        raise UsageError(f"validation: expected a number from 0 and below 1, received {value!r}")
    return float(value)


def set_aside(
    train: Split, share: float, seed: int | None, name: str, say: Callable[[str], Any]
) -> tuple[Split, Split]:
    """The training images without those that are for validation, and these; drawn apart from the test images.

    Args:
        train: the training images.
        share: that is for validation.
        seed: of the split, or None.
        name: what messages call the data.
        say: called with a line about how many.
    Raises:
        UsageError: the share leaves none.
    """
    left, validation = train.hold_out(None if seed is None else [seed, 1], share)
    images = counted(len(train.names), "training image")
    if not 0 < len(left.names) < len(train.names):
        raise UsageError(
            f"validation: expected a share that leaves some to train on, received {share:g} of {images}; "
            "take a smaller share, or more images"
        )
    say(f"{name}: {len(validation.names):,} of {images} are set aside for validation.")
    return left, validation


def by_purpose(images: Split, purposes: np.ndarray, no_label: int) -> dict[str, Split]:
    """What images are for -> those images, by what is said of each, (N,); labels are None if one of them has none."""
    found = {use: images.take(np.flatnonzero(purposes == use)) for use in PURPOSES if use in purposes}
    return {
        use: part._replace(labels=None) if part.labels is not None and (part.labels == no_label).any() else part
        for use, part in found.items()
    }


def as_recorded(
    images: Split, names: Mapping[str, np.ndarray], path: Path, say: Callable[[str], Any]
) -> dict[str, Split]:
    """What images are for -> those images, as `read_split` has it, in its order.

    Args:
        images: all that there are.
        names: what they are for -> what they are called.
        path: of the file that said so, for messages.
        say: called with a line about images that are not there.
    Raises:
        DataError: none of those for some purpose is there.
    """
    places = {name: place for place, name in enumerate(images.names.tolist())}
    found = {}
    for use, called in names.items():
        there = [places[name] for name in called.tolist() if name in places]
        if len(there) < len(called):
            first = next(name for name in called.tolist() if name not in places)
            received = f"{len(called) - len(there):,} of {counted(len(called), f'{use} image')} are not there"
            if not there:
                raise DataError(f"{path}: {received}, the first {str(first)!r}; give the data that the split is of")
            say(f"{path}: {received}, the first {str(first)!r}.")
        found[use] = images.take(np.array(there, "int64"))
    return found


def split_text(parts: Mapping[str, np.ndarray]) -> str:
    """What `read_split` reads: a CSV of what each image is for, and what it is called, in the order of the images."""
    text = io.StringIO(newline="")
    are_rows = all(names.dtype.kind == "i" for names in parts.values())
    writer = csv_writer(text, () if are_rows else (name for names in parts.values() for name in names))
    writer.writerow(["purpose", "row" if are_rows else "file"])
    for use, names in parts.items():
        writer.writerows((use, name) for name in names.tolist())
    return text.getvalue()


def read_split(path: str | Path) -> dict[str, np.ndarray]:
    """What images are for -> what they are called, from a file that a run wrote, or anyone: names, and no more.

    Raises:
        DataError: it is no such file; the line is named.
    """
    path = Path(path)
    lines = list(csv_lines(path, read_whole(path, LARGEST).decode("utf-8-sig", "surrogateescape")))
    header = lines[0][1] if lines else []
    if header not in (["purpose", "file"], ["purpose", "row"]):
        raise DataError(f"{path}: expected a header purpose,file or purpose,row, received {str(header)[:80]}")
    found: dict[str, list[Any]] = {}
    seen: set[Any] = set()
    for line, cells in lines[1:]:
        use, name = cells if len(cells) == 2 else ("", "")
        row = int(name) if name.isascii() and name.isdigit() and len(name) < 16 else None
        value: Any = name if header[1] == "file" else row
        if use not in (*PURPOSES, DAMAGED) or value in (None, "") or len(name) > LONGEST:
            raise DataError(f"{path}: line {line}: expected a purpose and a {header[1]}, received {str(cells)[:80]}")
        if value in seen and use != "test":  # a single image is both
            raise DataError(f"{path}: line {line}: {str(value)[:80]!r} comes twice")
        seen.add(value)
        found.setdefault(use, []).append(value)
    return {use: np.array(names, object if header[1] == "file" else "int64") for use, names in found.items()}
