"""Labels of the images of a folder, from a CSV of file names and labels."""

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bicoder.data.formats.archives import read_whole
from bicoder.data.formats.csv_lines import LARGEST, csv_lines
from bicoder.errors import DataError, counted


def read_labels(
    path: Path, names: Sequence[str], say: Callable[[str], Any] = print
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels (N,) of images, and the text of every label, from a CSV: a header, then a file name and a label a line.

    Args:
        path: of the CSV, in UTF-8.
        names: of the images, as paths below their folder; the CSV may leave out the way if a name comes once.
        say: called with a line about names in the CSV that no image has.
    Raises:
        DataError: it names the line that is wrong, or the images that have no label.
    """
    numbers: dict[str, int | None] = {}
    called = [unicodedata.normalize("NFC", name) for name in names]
    for number, name in enumerate(called):
        short = name.rsplit("/", 1)[-1]
        numbers[short] = None if short in numbers else number
    numbers.update({name: number for number, name in enumerate(called)})
    found: dict[int, tuple[str, int]] = {}
    unknown: list[tuple[int, str]] = []
    for line, name, label in rows(path, numbers):
        which = numbers.get(name, -1)
        if which is None:
            raise DataError(f"{path}: line {line}: several images are called {name!r}; write the path below the folder")
        if which < 0:
            unknown.append((line, name))
        elif which in found:
            raise DataError(f"{path}: line {line}: a second label of {name!r}, after that in line {found[which][1]}")
        else:
            found[which] = (label, line)
    if missing := [name for number, name in enumerate(names) if number not in found]:
        line, name = unknown[0] if unknown else (0, "")
        hint = f"; line {line} names {name!r}, which is not there" if unknown else ""
        raise DataError(
            f"{path}: expected a label of each of {counted(len(names), 'image')}, received none of {len(missing):,}, "
            f"the first {missing[0]!r}{hint}"
        )
    if unknown:
        say(f"{path}: {counted(len(unknown), 'line')} of files that are not there, the first {unknown[0][1]!r}.")
    texts = [found[number][0] for number in range(len(names))]
    label_names = in_order(set(texts))
    order = {text: number for number, text in enumerate(label_names)}
    return np.array([order[text] for text in texts]), label_names


def rows(path: Path, numbers: Mapping[str, int | None]) -> list[tuple[int, str, str]]:
    """Line, file name and label of each row below the header, which names no image."""
    found = []
    for line, cells in csv_lines(path, read_text(path)):
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
    if not found:
        raise DataError(f"{path}: expected a header and a line for each image, received an empty file")
    if found[0][1] in numbers:
        raise DataError(f"{path}: line 1: expected a header, such as file,label, received {found[0][1]!r}")
    return found[1:]


def read_text(path: Path) -> str:
    """The text of a file of a bounded size, UTF-8 with or without a byte order mark."""
    content = read_whole(path, LARGEST)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, byte = content.count(b"\n", 0, error.start) + 1, content[error.start]
        raise DataError(f"{path}: line {line}: expected UTF-8, received the byte 0x{byte:02x}") from error


def in_order(texts: set[str]) -> tuple[str, ...]:
    """Labels in their order: that of numbers if all are numbers."""
    try:
        return tuple(sorted(sorted(texts), key=float))
    except ValueError:
        return tuple(sorted(texts))
