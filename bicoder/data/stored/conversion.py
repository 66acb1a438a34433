"""Images converted once into a file that can be read from anywhere, in the folder of the downloads.

The file is an ordinary .npy array of bytes or float32. Beside it is its record: what it was made of, what it is, and
what is known about its pixels. The array is renamed first and its record then. So an array without its own record is
made again, whether its maker was killed between the two or its content is another's.
"""

import contextlib
import hashlib
import json
import math
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from bicoder.data.formats.arrays import check_size, read_header
from bicoder.data.pixels import Scaling, Survey, Surveyor
from bicoder.data.pixels import survey as survey_of
from bicoder.data.stored.array_file import kept_as, shape_in_file, write_rows
from bicoder.data.stored.row_files import RowFile
from bicoder.data.stored.sources import Source, StartAgain
from bicoder.data.stored.stored_images import StoredImages
from bicoder.engine.arrays.portions import Portions, portions
from bicoder.errors import DataError
from bicoder.files.cache import ELSEWHERE, data_folder
from bicoder.files.lock import one_at_a_time
from bicoder.files.record import record_path, set_back
from bicoder.files.regular_file import read_regular, regular
from bicoder.files.whole_file import new_file, remove_stale

FORMAT = 2  # of what is converted into what; another one is made again
FOLDER = "converted"
RESERVE = 2**20  # bytes that stay free on the disk
LARGEST_RECORD = 2**24  # bytes; it names the rows that are left out


class StoreError(Exception):
    """The disk does not take the file: full, or not to be written."""


class PixelFile:
    """An array of pixels that lies in a file, or in several, as it was, but for its dtype: its place, its `Survey`."""

    def __init__(
        self,
        files: Sequence[RowFile],
        dtype: np.dtype,
        shape: tuple[int, ...],
        survey: Survey,
        left_out: Sequence[int] = (),
        content: str | None = None,
    ) -> None:
        self.files, self.dtype, self.shape, self.survey, self.content = files, dtype, shape, survey, content
        self.left_out = tuple(left_out)  # rows of its source that it has not

    def images(self, scaling: Scaling) -> StoredImages:
        """The pixels as `StoredImages`, of this shape."""
        return StoredImages(self.files, self.dtype, self.shape, scaling, self.content)


def in_place(array: np.ndarray | Portions, path: Path) -> PixelFile | None:
    """`Portions` of images in colour that lie in the file at `path` as they are, as a `PixelFile`; else None."""
    if not isinstance(array, Portions) or array.offset is None or len(array.shape) != 4 or array.shape[-1] != 3:
        return None
    file = RowFile(path, array.offset, array.shape[0])
    return PixelFile([file], array.dtype, array.shape, survey_of(array, str(path)))


def converted(source: Source, data_dir: str | Path | None = None) -> PixelFile:
    """The array of a `Source` as a `PixelFile`, converted unless it has been already.

    Args:
        source: `Source`.
        data_dir: see `cache.data_folder`.
    Raises:
        StoreError: the disk does not take it.
        DataError: its pixels are no finite numbers, it is no array of images, or it changes meanwhile.
    """
    place = f"{FORMAT} {source.place}".encode("utf-8", "backslashreplace").decode()
    stem = "".join(c if c.isalnum() else "_" for c in Path(source.name.split(": ")[0]).stem)[:40]
    number = hashlib.sha256(place.encode()).hexdigest()[:16]
    path = data_folder(data_dir) / FOLDER / f"{stem}-{number}.npy"
    made_of = {"place": place, **source.identity()}
    if found := known(path, made_of):
        return found
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(path, "converts"):
            found = known(path, made_of)  # another process was faster
            if not found:
                remove_stale(path, record_path(path))
                survey = convert(source, path)
                if {"place": place, **source.identity()} != made_of:
                    path.unlink(missing_ok=True)
                    raise DataError(f"{source.name}: has changed while it was read; leave it alone, and start again")
                record(path, made_of, survey, source.left_out())
                found = known(path, made_of)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror or error}; {ELSEWHERE}") from error
    if not found:
        raise DataError(f"{path}: has changed while it was in use; leave it alone, and start again")
    return found


def known(path: Path, made_of: dict[str, Any]) -> PixelFile | None:
    """The `PixelFile` at `path`, or None if it is not exactly what its record says, or made of something else."""
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        said = json.loads(read_regular(record_path(path), LARGEST_RECORD))
        with open(path, "rb", opener=regular) as file:
            (shape, fortran, dtype), found = read_header(file, path), os.fstat(file.fileno())
            offset = file.tell()
        survey = Survey(**said["survey"])
        numbers = all(isinstance(value, (int, float)) for value in (survey.low, survey.high))
        whole = offset + check_size(shape, dtype, path) == found.st_size and not fortran
        state = said["array"] == [found.st_size, found.st_mtime_ns, list(shape), dtype.str]
        left_out = said["left_out"]
        numbers = numbers and all(type(row) is int and row >= 0 for row in left_out)
        if whole and state and numbers and said["source"] == made_of and dtype.str in ("|u1", "<f4"):
            return PixelFile([RowFile(path, offset, shape[0])], dtype, shape, survey, left_out)
    return None


def check_room(path: Path, size: int) -> None:
    """`StoreError` if the disk has no room for so many bytes."""
    free = shutil.disk_usage(path.parent).free
    if free < size + RESERVE:
        raise StoreError(
            f"{path.parent}: expected {size + RESERVE:,} free bytes for the converted images, received {free:,}; "
            f"{ELSEWHERE}"
        )


def convert(source: Source, path: Path) -> Survey:
    """Write the array to `path`, a portion at a time; returns its `Survey`."""
    while True:
        try:
            with new_file(path) as new:
                survey = written(source.open(), source.name, new)
                set_back(new)
                new.replace(path)
            return survey
        except StartAgain:
            continue


def written(array: np.ndarray | Portions, name: str, path: Path) -> Survey:
    """Fill a new file with an array, which may turn out to have fewer rows than it says; returns its `Survey`."""
    surveyor, shape = Surveyor(array.dtype, name), shape_in_file(array.shape, name)
    check_room(path, math.prod(shape) * kept_as(surveyor.dtype).itemsize)
    with progress(shape[0]) as bar:
        write_rows(path, portions(array), shape, surveyor, bar.update)
    return surveyor.survey()


def progress(count: int) -> tqdm:
    """A bar that shows after five seconds, on a terminal."""
    return tqdm(total=count, desc="converting images", delay=5, leave=False, disable=None)


def record(path: Path, made_of: dict[str, Any], survey: Survey, left_out: Sequence[int] = ()) -> None:
    """Write the record of an array."""
    with open(path, "rb") as file:
        shape, _, dtype = read_header(file, path)
        found = os.fstat(file.fileno())
    array = [found.st_size, found.st_mtime_ns, shape, dtype.str]
    said = {"source": made_of, "array": array, "survey": survey._asdict(), "left_out": list(left_out)}
    text = json.dumps(said) + "\n"
    with new_file(record_path(path)) as new:
        new.write_text(text, encoding="utf-8")
        new.replace(record_path(path))
