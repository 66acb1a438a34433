"""Arrays and tables that are written a portion at a time, whole or not at all: .npy, CSV and Parquet."""

import contextlib
import csv
import importlib.util
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from bicoder.errors import UsageError
from bicoder.files.whole_file import whole_file

ROWS = 32_768  # of a table that are written together, into one group of a Parquet file


class Table(NamedTuple):
    """Rows of numbers, with what they are about.

    Args:
        names: of the columns of numbers.
        portions: arrays (n, columns), float32, or float64, of which nine digits are written.
        texts: name of a column -> its values (N,), which come before the numbers.
    """

    names: Sequence[str]
    portions: Iterable[np.ndarray]
    texts: Mapping[str, Sequence[Any]]

    def rows(self) -> Iterator[tuple[dict[str, Sequence[Any]], np.ndarray]]:
        """The portions of the columns of text and of the numbers."""
        start = 0
        for portion in self.portions:
            end = start + len(portion)
            yield {name: values[start:end] for name, values in self.texts.items()}, portion
            start = end


def write_array(path: Path, shape: tuple[int, ...], portions: Iterable[np.ndarray]) -> None:
    """A .npy file of float32 of this shape, (N, ...), whose rows come in portions (n, ...)."""
    with whole_file(path) as new, open(new, "wb") as file:
        write_header(file, shape)
        file.writelines(np.ascontiguousarray(portion, "<f4").data for portion in portions)


def write_header(file: IO[bytes], shape: tuple[int, ...]) -> None:
    """What stands before the numbers of an array of float32 in a .npy file."""
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": tuple(shape)})


def write_arrays(
    path: Path, shapes: Mapping[str, tuple[int, ...]], portions: Iterable[Mapping[str, np.ndarray]]
) -> None:
    """A .npz file of arrays of float32 of these shapes by their names, whose rows come in portions of all of them.

    An archive has one array after the other, so the rows wait in files that have no names.
    """
    with contextlib.ExitStack() as stack:
        new = stack.enter_context(whole_file(path))
        waiting = {name: stack.enter_context(tempfile.TemporaryFile(dir=path.parent)) for name in shapes}
        for portion in portions:
            for name, file in waiting.items():
                file.write(np.ascontiguousarray(portion[name], "<f4").data)
        with zipfile.ZipFile(new, "w") as archive:
            for name, file in waiting.items():
                file.seek(0)
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    write_header(member, shapes[name])
                    shutil.copyfileobj(file, member)


def write_csv(path: Path, table: Table) -> None:
    """A CSV file; nine digits say which float32 a number is, and names of files keep their bytes."""
    numbers = ["%.9g"] * len(table.names)
    with whole_file(path) as new, open(new, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv_writer(file, (text for texts in table.texts.values() for text in texts))
        writer.writerow([*table.texts, *table.names])
        line = ",".join(numbers)
        for texts, portion in table.rows():
            if texts:
                columns = zip(*texts.values(), strict=True)
                for words, row in zip(columns, portion.tolist(), strict=True):
                    writer.writerow([*words, *((line % tuple(row)).split(","))])
            else:
                file.writelines(f"{line % tuple(row)}\n" for row in portion.tolist())


def csv_writer(file: IO[str], texts: Iterable[Any]) -> Any:
    """A `csv.writer` for these texts; a carriage return, which older Pythons do not quote, would end a line."""
    bare = any("\r" in str(text) for text in texts)
    return csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL if bare else csv.QUOTE_MINIMAL)


def write_parquet(path: Path, table: Table) -> None:
    """A Parquet file, by pyarrow."""
    import pyarrow
    from pyarrow import parquet

    kinds = {name: pyarrow.int64() if is_whole(values) else pyarrow.string() for name, values in table.texts.items()}
    schema = pyarrow.schema([*kinds.items(), *((name, pyarrow.float32()) for name in table.names)])
    with whole_file(path) as new, parquet.ParquetWriter(new, schema) as writer:
        for texts, portion in gathered(table.rows()):
            words = [
                pyarrow.array(values if kinds[name] == pyarrow.int64() else [readable(text) for text in values])
                for name, values in texts.items()
            ]
            numbers = [pyarrow.array(column) for column in np.ascontiguousarray(portion.T)]
            writer.write_table(pyarrow.table([*words, *numbers], schema=schema))


def is_whole(values: Sequence[Any]) -> bool:
    """Whether a column holds whole numbers."""
    return np.asarray(values[:1]).dtype.kind in "iu"


def readable(text: Any) -> str:
    """A name of a file as UTF-8, whatever its bytes are."""
    return str(text).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def gathered(rows: Iterator[tuple[dict[str, Any], np.ndarray]]) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """The same rows in portions of about `ROWS`."""
    kept: list[tuple[dict[str, Any], np.ndarray]] = []
    for one in rows:
        kept.append(one)
        if sum(len(portion) for _, portion in kept) >= ROWS:
            yield joined(kept)
            kept = []
    if kept:
        yield joined(kept)


def joined(rows: list[tuple[dict[str, Any], np.ndarray]]) -> tuple[dict[str, Any], np.ndarray]:
    """Portions of rows as one."""
    texts = {name: [value for columns, _ in rows for value in columns[name]] for name in rows[0][0]}
    return texts, np.concatenate([portion for _, portion in rows])


TABLES: dict[str, Callable[[Path, Table], None]] = {".csv": write_csv, ".parquet": write_parquet}


def check_parquet(output: Path) -> None:
    """`UsageError` if a Parquet file is asked for, and there is nothing to write it with."""
    if output.suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise UsageError("output: .parquet needs pyarrow; run: pip install pyarrow; or write a .csv")
