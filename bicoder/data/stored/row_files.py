"""Rows of equal length that lie in one file, or one after the other in several."""

import itertools
import os
import threading
from collections.abc import Sequence
from io import FileIO
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bicoder.errors import DataError
from bicoder.files.regular_file import open_regular

KEPT = 256  # files that stay open; a process may have a thousand, and is used for other things too


class RowFile(NamedTuple):
    """A file with rows."""

    path: Path
    offset: int  # bytes in front of the first row
    rows: int


class RowFiles:
    """The rows of some files, read by their numbers.

    What is open stays what it was, even if it is replaced under its name; what is opened again must be what it was.

    Args:
        files: in the order of their rows.
        size: bytes of a row.
    """

    def __init__(self, files: Sequence[RowFile], size: int) -> None:
        self.files, self.size = list(files), size
        self.ends = np.cumsum([file.rows for file in self.files])
        self.kept: dict[int, FileIO] = {}
        self.lock = threading.Lock()
        self.states: list[tuple[int, int]] = []
        for number, (path, _, _) in enumerate(self.files):
            file = open_regular(path)
            self.states.append(state(file))
            if number < KEPT:
                self.kept[number] = file
            else:
                file.close()

    def read(self, rows: np.ndarray, found: np.ndarray) -> None:
        """Fill an array (n, ...) with the rows of these numbers (n,).

        Raises:
            DataError: a file has changed since it was opened first.
        """
        if not len(rows):
            return
        order = np.argsort(rows, kind="stable")  # in that of the files, which is faster on every disk
        sorted_rows = rows[order]
        numbers = np.searchsorted(self.ends, sorted_rows, side="right")
        bounds = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(rows)]
        with self.lock:
            for start, stop in itertools.pairwise(bounds):
                self.read_of(int(numbers[start]), sorted_rows[start:stop], order[start:stop], found)

    def read_of(self, number: int, rows: np.ndarray, places: np.ndarray, found: np.ndarray) -> None:
        """Rows of one file, in its order, to these places (n,) of an array."""
        path, offset, count = self.files[number]
        rows = rows - (int(self.ends[number]) - count)
        file = self.kept.get(number) or self.open_again(path)
        try:
            if rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all() and (np.diff(places) == 1).all():
                self.fill(file, path, offset + int(rows[0]) * self.size, found[places[0] : places[-1] + 1])
            else:
                for row, place in zip(rows.tolist(), places.tolist(), strict=True):
                    self.fill(file, path, offset + row * self.size, found[place])
            if state(file) != self.states[number]:
                raise DataError(f"{path}: has changed while it was in use; leave it alone, and start again")
        finally:
            if number not in self.kept:
                file.close()

    @staticmethod
    def open_again(path: Path) -> FileIO:
        """A file that is not kept open."""
        try:
            return open_regular(path)
        except OSError as error:
            reason = error.strerror or error
            raise DataError(f"{path}: cannot be read any more: {reason}; leave it alone, and start again") from error

    @staticmethod
    def fill(file: FileIO, path: Path, place: int, found: np.ndarray) -> None:
        """Fill an array with a file from a place on."""
        left = found.data.cast("B")
        file.seek(place)
        while left.nbytes:  # two GB at most come at a time
            count = file.readinto(left)
            if not count:
                raise DataError(f"{path}: has been cut short while it was in use; leave it alone, and start again")
            left = left[count:]


def state(file: FileIO) -> tuple[int, int]:
    """Size and time of a file that is open."""
    found = os.fstat(file.fileno())
    return found.st_size, found.st_mtime_ns
