"""Images converted once into a file that can be read from anywhere, in the folder of the downloads.

The file is an ordinary .npy array of bytes or float32. Beside it is its record: what it was made of, what it is, and
what is known about its pixels. The array is renamed first and its record then, so an array without its own record, be
its maker killed between the two or its content another's, is made again.
"""

import contextlib
import hashlib
import json
import math
import os
import shutil
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from bicoder.data.formats.arrays import check_size, read_header
from bicoder.data.pixels import Survey, Surveyor, to_images
from bicoder.data.pixels import survey as survey_of
from bicoder.data.stored_images import StoredImages
from bicoder.engine.portions import Portions, portions
from bicoder.errors import DataError
from bicoder.files.cache import ELSEWHERE, data_folder, exit_on_sigterm, one_at_a_time
from bicoder.files.record import record_path
from bicoder.files.unfinished import new_part, remove_stale_parts

FORMAT = 1  # of what is converted into what; another one is made again
FOLDER = "converted"
RESERVE = 2**20  # bytes that stay free on the disk


class StoreError(Exception):
    """The disk does not take the file: full, or not to be written."""


class Stored:
    """A converted array: where it is, and the `Survey` of its pixels, which are as they were but for their dtype."""

    def __init__(self, path, offset, dtype, shape, survey):
        self.path, self.offset, self.dtype, self.shape, self.survey = path, offset, dtype, shape, survey

    def images(self, scaling):
        """The pixels as `StoredImages`."""
        return StoredImages(self.path, self.offset, self.dtype, self.shape, scaling)


def in_place(array, path):
    """`Portions` of images in colour that lie in the file at `path` as they are, as `Stored`; None for all else."""
    if not isinstance(array, Portions) or array.offset is None or len(array.shape) != 4 or array.shape[-1] != 3:
        return None
    return Stored(path, array.offset, array.dtype, array.shape, survey_of(array, path))


def store(source, data_dir=None):
    """The array of a `Source` as `Stored`, converted unless it has been already.

    Args:
        source: `Source`.
        data_dir: see `download.data_folder`.
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
        with exit_on_sigterm(), one_at_a_time(path, "converts"):
            found = known(path, made_of)  # another process was faster
            if not found:
                remove_stale_parts(path)
                survey = convert(source, path)
                if {"place": place, **source.identity()} != made_of:
                    path.unlink(missing_ok=True)
                    raise DataError(f"{source.name}: has changed while it was read; leave it alone, and start again")
                write_record(path, made_of, survey)
                found = known(path, made_of)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror or error}; {ELSEWHERE}") from error
    if not found:
        raise DataError(f"{path}: has changed while it was in use; leave it alone, and start again")
    return found


def known(path, made_of):
    """The `Stored` array at `path`, or None where it is not exactly what its record says, or made of something else."""
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        with open(record_path(path), "rb") as file:
            record = json.loads(file.read(2**16))
        with open(path, "rb") as file:
            (shape, fortran, dtype), found = read_header(file, path), os.fstat(file.fileno())
            offset = file.tell()
        survey = Survey(**record["survey"])
        numbers = all(isinstance(value, (int, float)) for value in (survey.low, survey.high))
        whole = offset + check_size(shape, dtype, path) == found.st_size and not fortran
        state = record["array"] == [found.st_size, found.st_mtime_ns, list(shape), dtype.str]
        if whole and state and numbers and record["source"] == made_of and dtype.str in ("|u1", "<f4"):
            return Stored(path, offset, dtype, shape, survey)
    return None


def check_room(path, size):
    """`StoreError` where the disk has no room for so many bytes."""
    free = shutil.disk_usage(path.parent).free
    if free < size + RESERVE:
        raise StoreError(
            f"{path.parent}: expected {size + RESERVE:,} free bytes for the converted images, received {free:,}; "
            f"{ELSEWHERE}"
        )


def convert(source, path):
    """Write the array to `path`, a portion at a time; returns its `Survey`."""
    array, name = source.open(), source.name
    surveyor = Surveyor(array.dtype, name)
    shape = to_images(np.broadcast_to(np.zeros((), array.dtype), array.shape), name).shape
    # Bytes stay bytes, a quarter of float32; all other numbers are float32 in the end.
    dtype = np.dtype("u1" if surveyor.dtype.str[1:] in ("u1", "b1") else "<f4")
    check_room(path, math.prod(shape) * dtype.itemsize)
    part = new_part(path)
    try:
        with open(part, "wb") as file, progress(shape[0]) as bar:
            header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for portion in portions(array):
                surveyor.add(portion)
                if not surveyor.wrong:
                    with np.errstate(over="ignore"):  # what is too large for float32 is refused when it is scaled
                        file.write(np.ascontiguousarray(to_images(portion, name), dtype).data)
                bar.update(len(portion))
        survey = surveyor.survey()
        # A time in the past, so that whatever is changed later changes the time too, be it in the same millisecond.
        past = int(time.time()) - 2
        os.utime(part, (past, past))
        part.replace(path)
        return survey
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def progress(count):
    """A bar that shows after five seconds, on a terminal."""
    return tqdm(total=count, desc="converting images", delay=5, leave=False, disable=None)


def write_record(path, made_of, survey):
    """The record of an array, whole or not at all."""
    with open(path, "rb") as file:
        shape, _, dtype = read_header(file, path)
        found = os.fstat(file.fileno())
    array = [found.st_size, found.st_mtime_ns, shape, dtype.str]
    record = {"source": made_of, "array": array, "survey": survey._asdict()}
    part = new_part(path)
    try:
        part.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        part.replace(record_path(path))
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
