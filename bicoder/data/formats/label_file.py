"""Labels of images from a file: by the names of the images in a CSV, or in their order in a CSV or an array."""

import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from bicoder.data.formats.archives import kind, read_whole
from bicoder.data.formats.arrays import read_array
from bicoder.data.formats.csv_lines import LARGEST, csv_lines
from bicoder.data.pixels import to_labels
from bicoder.errors import DataError, counted

# What stands above a column of labels, in small letters; anything that is no number does, if numbers follow.
HEADERS = {"label", "labels", "class", "classes", "class_name", "target", "y"}
MOST_CLASSES = 2**16  # of labels that are numbers: the largest says how many classes there are

Line: TypeAlias = tuple[int, str, str]  # its number, the name of an image, its label


class NamedLabels(NamedTuple):
    """Labels of a CSV by the names of the images: a header, then a file name and a label a line."""

    path: Path
    lines: list[Line]

    def of(
        self, names: Sequence[Any], every: Sequence[Any] = (), say: Callable[[str], Any] = print
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        """Labels (N,) of images, and the text of every label.

        Args:
            names: of the images, as paths below their folder; the CSV may leave out the way if a name comes once. Rows
                of an array are whole numbers.
            every: of these and of all others that are there; if it is empty, there are no others.
            say: called with a line about names in the CSV that no image has.
        Raises:
            DataError: it names the line that is wrong, or the images that have no label.
        """
        if not all(isinstance(name, str) for name in names):
            expected = "expected one label a line, since the images are no files"
            raise DataError(f"{self.path}: {expected}, received two columns")
        called = [unicodedata.normalize("NFC", name) for name in names]
        numbers = numbers_of(called)
        others = set(numbers_of([unicodedata.normalize("NFC", name) for name in every])) - set(numbers)
        if (first := self.lines[0][1]) in numbers or first in others:
            raise DataError(f"{self.path}: line 1: expected a header, such as file,label, received {first!r}")
        found: dict[int, Line] = {}
        unknown: list[Line] = []
        for line in self.lines[1:]:
            number, name, _ = line
            if name not in numbers:
                unknown += [] if name in others else [line]
                continue
            which = numbers[name]
            if which is None:
                path = "several images are called"
                raise DataError(f"{self.path}: line {number}: {path} {name!r}; write the path below the folder")
            if which in found:
                after = f"after that in line {found[which][0]}"
                raise DataError(f"{self.path}: line {number}: a second label of {name!r}, {after}")
            found[which] = line
        self.check_all_found(names, found, unknown)
        if unknown:
            lines = counted(len(unknown), "line")
            say(f"{self.path}: {lines} of files that are not there, the first {unknown[0][1]!r}.")
        return numbered([found[number][2] for number in range(len(names))])

    def check_all_found(self, names: Sequence[str], found: dict[int, Line], unknown: Sequence[Line]) -> None:
        """`DataError` if images have no label."""
        if missing := [name for number, name in enumerate(names) if number not in found]:
            hint = f"; line {unknown[0][0]} names {unknown[0][1]!r}, which is not there" if unknown else ""
            raise DataError(
                f"{self.path}: expected a label of each of {counted(len(names), 'image')}, received none of "
                f"{len(missing):,}, the first {missing[0]!r}{hint}"
            )


class LabelsInOrder(NamedTuple):
    """Labels of an array, or of a CSV with one a line, in the order of the rows or of the paths of the images."""

    path: Path
    given: np.ndarray | list[tuple[int, str]]  # or the number of each line and its label

    def of(
        self, names: Sequence[Any], every: Sequence[Any] = (), say: Callable[[str], Any] = print
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        """Labels (N,) of images, and the text of every label, which is none if they are numbers.

        Args:
            names, every: as `NamedLabels.of` has them.
            say: never called.
        Raises:
            DataError: it names the line that is wrong, or how many labels were expected.
        """
        order = sorted(every if len(every) else names)
        label_names: tuple[str, ...] = ()
        if isinstance(self.given, np.ndarray):
            labels = self.of_array(self.given, len(order))
        else:
            labels, label_names = self.of_lines(self.given, len(order))
        places = {name: place for place, name in enumerate(order)}
        return labels[[places[name] for name in names]], label_names

    def of_array(self, array: np.ndarray, count: int) -> np.ndarray:
        """The labels of an array."""
        labels = np.asarray(to_labels(array, count, str(self.path)))
        if labels.min(initial=0) < 0:
            first = int(np.argmax(labels < 0))
            raise DataError(f"{self.path}: expected labels of 0 or more, received {labels[first]} at index {first}")
        return labels

    def of_lines(self, lines: Sequence[tuple[int, str]], count: int) -> tuple[np.ndarray, tuple[str, ...]]:
        """The labels of a CSV, and their names unless all are numbers; the first line may be a header."""
        values = [as_number(text) for _, text in lines]
        above_numbers = len(lines) > 1 and values[0] is None and None not in values[1:]
        above_words = len(lines) == count + 1 and values[0] is None
        if above_numbers or above_words or lines[0][1].lower() in HEADERS:
            lines, values = lines[1:], values[1:]
        if len(lines) != count:
            raise DataError(f"{self.path}: expected {counted(count, 'label')}, one a line, received {len(lines):,}")
        if None in values:
            return numbered([text for _, text in lines])
        for (number, text), value in zip(lines, values, strict=True):
            if value is None or not (0 <= value < 2**53 and value == int(value)):
                expected = "expected whole numbers of 0 or more, or words"
                raise DataError(f"{self.path}: line {number}: {expected}, received {text[:80]!r}")
        return np.array(values, "int64"), ()


LabelFile: TypeAlias = NamedLabels | LabelsInOrder


def read_labels(path: str | Path) -> LabelFile:
    """The labels that a file gives: a .npy or IDX array of whole numbers, or a CSV in UTF-8.

    A CSV of two columns has a header, then the name of an image and its label; one of a single column has a label a
    line, a number or a word, and perhaps a header.

    Raises:
        DataError: it is no such file, and what is wrong with it can be told without the images.
    """
    path = Path(path)
    content = read_whole(path, LARGEST)
    if path.suffix.lower() in (".npy", ".npz") or kind(content[:512]) in ("npy", "idx", "zip", "gzip"):
        return LabelsInOrder(path, read_array(path))
    lines = [(number, cells) for number, cells in csv_lines(path, text_of(content, path))]
    while lines and not lines[-1][1]:
        lines.pop()
    if not any(cells for _, cells in lines):
        raise DataError(f"{path}: expected a label for each image, received an empty file")
    if max(len(cells) for _, cells in lines[:1]) > 1:
        return NamedLabels(path, named_lines(path, lines))
    return LabelsInOrder(path, [(number, one_label(path, number, cells)) for number, cells in lines])


def one_label(path: Path, number: int, cells: Sequence[str]) -> str:
    """The label of a line."""
    if len(cells) != 1 or not cells[0].strip():
        received = counted(len(cells), "column") if len(cells) > 1 else "an empty line"
        raise DataError(f"{path}: line {number}: expected one label, as in the first line, received {received}")
    return unicodedata.normalize("NFC", cells[0].strip())


def named_lines(path: Path, lines: Sequence[tuple[int, Sequence[str]]]) -> list[Line]:
    """Line, file name and label of each row."""
    found = []
    for line, cells in lines:
        if not cells:
            continue
        where = f"{path}: line {line}: expected a file name and a label"
        if len(cells) != 2:
            raise DataError(f"{where}, received {counted(len(cells), 'column')}")
        # macOS writes letters and their accents apart, tables write them together: they look the same.
        name, label = (unicodedata.normalize("NFC", cell.strip()) for cell in cells)
        if not (name and label):
            raise DataError(f"{where}, received an empty one")
        found.append((line, name, label))
    return found


def numbers_of(names: Sequence[str]) -> dict[str, int | None]:
    """The place of each name, and of each last part of one; None for a last part that several have."""
    numbers: dict[str, int | None] = {}
    for number, name in enumerate(names):
        short = name.rsplit("/", 1)[-1]
        numbers[short] = None if short in numbers else number
    return numbers | {name: number for number, name in enumerate(names)}


def text_of(content: bytes, path: Path) -> str:
    """The text of a file, UTF-8 with or without a byte order mark."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, byte = content.count(b"\n", 0, error.start) + 1, content[error.start]
        raise DataError(f"{path}: line {line}: expected UTF-8, received the byte 0x{byte:02x}") from error


def as_number(text: str) -> float | None:
    """The number that a text is, NaN and infinity too, or None."""
    try:
        return float(text)
    except ValueError:
        return None


def numbered(texts: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels as numbers (N,), and the text of each, in their order: that of numbers if all are numbers."""
    words = set(texts)
    try:
        names = sorted(sorted(words), key=float)
    except ValueError:
        names = sorted(words)
    order = {text: number for number, text in enumerate(names)}
    return np.array([order[text] for text in texts], "int64"), tuple(names)


def class_count(labels: Sequence[np.ndarray | None], names: Sequence[str], known: int | None) -> int | None:
    """How many classes the labels of some images are of; None if no image has one.

    Args:
        labels: whole numbers (N,) of several kinds of images, or None.
        names: text of every label, may be empty.
        known: how many classes the data set says that it has, or None.
    Raises:
        DataError: labels that have no names are below 0, or beyond `MOST_CLASSES`.
    """
    there = [some for some in labels if some is not None and len(some)]
    if not there:
        return None
    if names or known:
        return len(names) or known
    low, high = min(int(some.min()) for some in there), max(int(some.max()) for some in there)
    if low < 0 or high >= MOST_CLASSES:
        received = f"received {low if low < 0 else high}; number the classes from 0 on"
        raise DataError(f"labels: expected whole numbers from 0 to {MOST_CLASSES - 1:,} to count classes, {received}")
    return high + 1
