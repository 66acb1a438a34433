"""Arrays from files that may come from anyone: .npy, .npz and IDX. Nothing in them is ever executed."""

import math
import struct
import zipfile

import numpy as np

from bicoder.archives import LARGEST, damage_as_data_error, kind, kind_of_file, open_content, read_exactly
from bicoder.errors import DataError

IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def check_size(shape, dtype, path):
    """Bytes of an array of this shape; refused before anything is allocated where it makes no sense."""
    if len(shape) > 32 or any(type(n) is not int or n < 0 for n in shape) or dtype.itemsize == 0:
        raise DataError(f"{path}: expected dimensions of 0 or more, received shape {str(shape)[:80]} of {dtype}")
    if dtype.kind not in "buif":
        raise DataError(f"{path}: expected an array of numbers, received dtype {dtype}; save it with a numeric dtype")
    if math.prod(max(n, 1) for n in shape) * dtype.itemsize > LARGEST:
        raise DataError(f"{path}: shape {str(shape)[:80]} of {dtype} would take over {LARGEST:,} bytes; refused")
    return math.prod(shape) * dtype.itemsize


def read_npy(stream, path):
    """One .npy array from a stream at its start; object arrays are refused."""
    with damage_as_data_error(path, ".npy header"):
        version = np.lib.format.read_magic(stream)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if read_header is None:
            raise DataError(f"{path}: .npy format version {version} is not supported; save it again with numpy.save")
        shape, fortran, dtype = read_header(stream)
    content = read_exactly(stream, check_size(shape, dtype, path), path)
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")


def read_idx(stream, path):
    """One IDX array (the format of the original MNIST files), for a stream at its start."""
    head = bytes(read_exactly(stream, 4, path))
    if kind(head) != "idx":
        raise DataError(f"{path}: expected an IDX file (first bytes 00 00 08 03), received {head.hex(' ')}")
    axes = head[3]
    shape = struct.unpack(f">{axes}I", read_exactly(stream, 4 * axes, path))
    dtype = np.dtype(IDX_TYPES[head[2]])
    content = read_exactly(stream, check_size(shape, dtype, path), path)
    if stream.read(1):
        raise DataError(f"{path}: expected {len(content):,} bytes for shape {shape}, received more")
    return np.frombuffer(content, dtype).reshape(shape)


def read_array(path):
    """The array in a .npy or an IDX file, bare or inside a zip or a gzip, whatever the file is called."""
    with open_content(path) as stream:
        head = stream.read(512)
        stream.seek(0)
        found = kind(head)
        if found == "npy":
            array = read_npy(stream, path)
            stream.read(1)  # a gzip checks its sum where it ends
            return array
        if found == "idx":
            return read_idx(stream, path)
    raise DataError(f"{path}: expected a .npy or IDX array, received a file that begins with {head[:8]!r}")


def read_npz(path):
    """name -> array, for every member of an .npz file."""
    if kind_of_file(path) != "zip":
        raise DataError(f"{path}: expected an .npz archive, received something else")
    arrays = {}
    with damage_as_data_error(path, ".npz archive"), zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if not member.filename.endswith(".npy"):
                raise DataError(f"{path}: expected only .npy members, received {member.filename!r}")
            with archive.open(member) as stream:
                arrays[member.filename.removesuffix(".npy")] = read_npy(stream, f"{path}[{member.filename}]")
    return arrays
