"""The lines of a CSV, each with its number, for errors that name it."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from bicoder.errors import DataError

LARGEST = 2**28  # bytes of a file that names images; those of 100,000 are five million


def csv_lines(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Number and cells of each line of a text, that of the file at `path`; `DataError` if it is no CSV."""
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        for cells in reader:
            yield reader.line_num, cells
    except csv.Error as error:
        raise DataError(f"{path}: line {reader.line_num}: no CSV: {error}") from error
