"""Arrays from files that may come from anyone: .npy, .npz and IDX. Nothing in them is ever executed."""

import io
import math
import struct
import warnings
from collections.abc import Collection
from pathlib import Path

import numpy as np

from bicoder.data.formats.archives import (
    LARGEST,
    Stream,
    check_end,
    damage_as_data_error,
    kind,
    kind_of_file,
    no_data,
    open_content,
    open_member,
    open_zip,
    read_exactly,
)
from bicoder.data.formats.rows_in_file import rows_in_file
from bicoder.engine.arrays.portions import Portions
from bicoder.errors import DataError

IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
MOST_HEADER = 10_000  # bytes; that of an array of numbers has about a hundred
# Version of the format -> bytes that hold the length of the header, and NumPy's reader of both.
NPY_VERSIONS = {
    (1, 0): (2, np.lib.format.read_array_header_1_0),
    (2, 0): (4, np.lib.format.read_array_header_2_0),
}
# First bytes of what people give in place of an array -> what it is, and what to do.
ELSE = {
    b"PK": "a zip archive inside an archive; unpack it first",
    b"\x1f\x8b": "a gzip archive inside an archive; unpack it first",
    b"\x89PNG": "a PNG image; give the folder that holds it",
    b"\xff\xd8\xff": "a JPEG image; give the folder that holds it",
    b"GIF8": "a GIF image; give the folder that holds it",
    b"\x89HDF": "an HDF5 file; save its images with numpy.save",
    b"MATLAB": "a MATLAB file; save its images with numpy.save",
    b"PAR1": "a Parquet file; save its images with numpy.save",
    b"BZh": "a bzip2 archive; unpack it first",
    b"\xfd7zXZ": "an xz archive; unpack it first",
    b"\x28\xb5\x2f\xfd": "a Zstandard archive; unpack it first",
    b"7z\xbc\xaf": "a 7z archive; unpack it first",
    b"Rar!": "a RAR archive; unpack it first",
}


def check_size(shape: tuple[int, ...], dtype: np.dtype, path: str | Path) -> int:
    """Bytes of an array of this shape; refused before anything is allocated if it makes no sense."""
    if len(shape) > 32 or any(type(n) is not int or n < 0 for n in shape) or dtype.itemsize == 0:
        raise DataError(f"{path}: expected dimensions of 0 or more, received shape {str(shape)[:80]} of {dtype}")
    if dtype.kind not in "buif":
        raise DataError(f"{path}: expected an array of numbers, received dtype {dtype}; save it with a numeric dtype")
    if math.prod(max(n, 1) for n in shape) * dtype.itemsize > LARGEST:
        raise DataError(f"{path}: shape {str(shape)[:80]} of {dtype} would take over {LARGEST:,} bytes; refused")
    return math.prod(shape) * dtype.itemsize


def read_header(stream: Stream, path: str | Path) -> tuple[tuple[int, ...], bool, np.dtype]:
    """(shape, whether it is in Fortran's order, dtype) of one .npy array, from a stream at its start."""
    with damage_as_data_error(path, ".npy header"):
        head = bytes(read_exactly(stream, np.lib.format.MAGIC_LEN, path))
        version = np.lib.format.read_magic(io.BytesIO(head))
        if version not in NPY_VERSIONS:
            raise DataError(f"{path}: .npy format version {version} is not supported; save it again with numpy.save")
        width, parse = NPY_VERSIONS[version]
        length = bytes(read_exactly(stream, width, path))
        size = int.from_bytes(length, "little")
        if size > MOST_HEADER:  # NumPy would read all of it first
            raise DataError(f"{path}: expected a .npy header of at most {MOST_HEADER:,} bytes, received {size:,}")
        header = io.BytesIO(length + read_exactly(stream, size, path))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of headers that Python 2 wrote
            return parse(header)


def read_npy(stream: Stream, path: str | Path) -> np.ndarray:
    """One .npy array from a stream at its start, which must end there too; object arrays are refused."""
    shape, fortran, dtype = read_header(stream, path)
    content = read_exactly(stream, check_size(shape, dtype, path), path)
    check_end(stream, path)
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")


def read_idx(stream: Stream, path: str | Path) -> np.ndarray:
    """One IDX array (the format of the original MNIST files), for a stream at its start."""
    head = bytes(read_exactly(stream, 4, path))
    if kind(head) != "idx":
        raise DataError(f"{path}: expected an IDX file (first bytes 00 00 08 03), received {head.hex(' ')}")
    axes = head[3]
    shape = struct.unpack(f">{axes}I", read_exactly(stream, 4 * axes, path))
    dtype = np.dtype(IDX_TYPES[head[2]])
    content = read_exactly(stream, check_size(shape, dtype, path), path)
    check_end(stream, path)
    return np.frombuffer(content, dtype).reshape(shape)


def read_array(path: str | Path) -> np.ndarray:
    """The array in a .npy or an IDX file, bare or inside a zip or a gzip, whatever the file is called."""
    with open_content(path) as stream:
        head = stream.read(512)
        stream.seek(0)
        found = kind(head)
        if found == "npy":
            return read_npy(stream, path)
        if found == "idx":
            return read_idx(stream, path)
    received = no_data(found) or next((text for magic, text in ELSE.items() if head.startswith(magic)), None)
    received = received or f"a file that begins with {head[:8]!r}"
    raise DataError(f"{path}: expected a .npy or IDX array, received {received}")


def open_array(path: str | Path) -> np.ndarray | Portions:
    """`read_array` as `Portions` if its rows lie one after the other, in a .npy file, bare or in an archive."""
    with open_content(path) as stream:
        head = stream.read(512)
        stream.seek(0)
        if kind(head) == "npy":
            shape, fortran, dtype = read_header(stream, path)
            check_size(shape, dtype, path)
            if shape and not fortran:
                return rows_in_file(path, stream.tell(), shape, dtype, to_end=True)
    return read_array(path)


def npz_names(path: str | Path) -> list[str]:
    """The names of the arrays in an .npz file, in its own order."""
    if kind_of_file(path) != "zip":
        raise DataError(f"{path}: expected an .npz archive, received a file of another kind; save it with numpy.savez")
    with open_zip(path) as (_, members):
        for member in members:
            if not member.filename.endswith(".npy"):
                raise DataError(f"{path}: expected only .npy members, received {member.filename!r}")
        return [member.filename.removesuffix(".npy") for member in members]


def read_npz(path: str | Path, names: Collection[str | None]) -> dict[str, np.ndarray]:
    """name -> array, for these members of an .npz file; the others are not read."""
    arrays = {}
    with open_zip(path) as (archive, members):
        for member in members:
            name = member.filename.removesuffix(".npy")
            if name in names:
                with open_member(archive, member, path) as stream:
                    arrays[name] = read_npy(stream, f"{path}[{member.filename}]")
    return arrays
