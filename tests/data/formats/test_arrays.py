"""Arrays from .npy, .npz and IDX files that may come from anyone."""

import contextlib
import gzip
import io
import pickle
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from bicoder.data.formats.arrays import npz_names, read_array, read_npz
from bicoder.errors import DataError

IMAGES = np.arange(2 * 3 * 4, dtype="uint8").reshape(2, 3, 4)
HEADER = "{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}"


def npy(array, version=None):
    """A .npy file as bytes."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version, allow_pickle=True)
    return stream.getvalue()


def npy_with(header, body=b""):
    """A .npy file of version 1.0 with this text as its header."""
    text = header.encode("latin1") + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + body


def idx(array, code=8):
    """An IDX file as bytes; `array` is in the byte order of the format."""
    return bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def zipped(content):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inside", content)
    return stream.getvalue()


def read_bytes(folder, content, name="a.npy"):
    """`read_array` of a file with this content."""
    (folder / name).write_bytes(content)
    return read_array(folder / name)


def read_all(path):
    """name -> array, of every member of an .npz file."""
    return read_npz(path, npz_names(path))


class Touch:
    """An object whose unpickling makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


# ---- .npy


@pytest.mark.fault(35)
@pytest.mark.parametrize("dtype", ["uint8", "int16", ">i2", "uint16", "int64", "bool", "float16", ">f4", "float64"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_kind_of_number_comes_back_equal(tmp_path, rng, dtype, order):
    array = np.asarray(rng.integers(0, 2, (5, 4, 3, 2)), dtype, order=order)
    found = read_bytes(tmp_path, npy(array))
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype


@pytest.mark.parametrize("array", [IMAGES[:, ::2, ::-1], np.float32(3), np.empty((0, 28, 28)), np.arange(7)])
def test_every_shape_comes_back_equal(tmp_path, array):
    found = read_bytes(tmp_path, npy(np.asarray(array)))
    np.testing.assert_array_equal(found, array)
    assert found.shape == np.shape(array)


@pytest.mark.fault(31)
@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, zipped])
@pytest.mark.parametrize("name", ["a.npy", "a.pkl", "a.zip", "a.gz", "a"])
def test_the_bytes_decide_and_not_the_name(tmp_path, version, pack, name):
    np.testing.assert_array_equal(read_bytes(tmp_path, pack(npy(IMAGES, version)), name), IMAGES)


@pytest.mark.fault(31)
@pytest.mark.parametrize("version", [(3, 0), (4, 0), (0, 0)])
def test_a_version_that_is_not_known(tmp_path, version):
    content = bytearray(npy(IMAGES))
    content[6:8] = version
    with pytest.raises(DataError, match=r"a\.npy.*(version|magic)"):
        read_bytes(tmp_path, content)


@pytest.mark.fault(32)
def test_objects_are_refused_and_not_unpickled(tmp_path):
    marker = tmp_path / "ran"
    content = npy(np.array([Touch(marker)], dtype=object))
    assert str(marker).encode() in content
    with pytest.raises(DataError, match="expected an array of numbers, received dtype object"):
        read_bytes(tmp_path, content)
    assert not marker.exists()


@pytest.mark.parametrize("dtype", ["U3", "S3", "datetime64[s]", "timedelta64[s]", "complex64", "f4,f4", "V4"])
def test_what_is_no_number_is_refused(tmp_path, dtype):
    with pytest.raises(DataError, match="expected an array of numbers"):
        read_bytes(tmp_path, npy(np.zeros(3, dtype)))


@pytest.mark.fault(30)
@pytest.mark.parametrize("pack", [bytes, gzip.compress, zipped])
def test_truncated_at_every_byte(tmp_path, pack):
    whole = npy(IMAGES)
    for length in range(len(whole)):
        with pytest.raises(DataError, match=r"a\.npy"):
            read_bytes(tmp_path, pack(whole[:length]))


@pytest.mark.fault(33, 34)
@pytest.mark.parametrize(
    "shape",
    [
        "(1125899906842624,)",
        "(2097152, 2097152, 2097152)",
        "(0, 9223372036854775807)",
        "(0, 99999999999999999999999)",
        "(0, 34359738368, 34359738368)",
        f"({'9' * 4000}, {'9' * 4000})",
    ],
)
def test_a_shape_too_large_is_refused_before_anything_is_allocated(tmp_path, shape):
    tracemalloc.start()
    with pytest.raises(DataError, match="would take over"):
        read_bytes(tmp_path, npy_with(HEADER.format(descr="<f4", shape=shape), bytes(64)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**22


@pytest.mark.fault(34)
@pytest.mark.parametrize("shape", ["(-1,)", "(2, -3)", "(True,)", f"({'1, ' * 100})", "('a',)", "3", "(1.0,)", "None"])
def test_a_shape_that_is_none(tmp_path, shape):
    with pytest.raises(DataError, match=r"a\.npy"):
        read_bytes(tmp_path, npy_with(HEADER.format(descr="<f4", shape=shape), bytes(64)))


@pytest.mark.fault(30, 33)
@pytest.mark.parametrize(
    "header",
    [
        "",
        "nonsense",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), ",
        "{'descr': '<f4', ((((",
        "{'descr': '<f4', \0",
        "{'descr': '<f4'}",
        HEADER.format(descr="<f4", shape="(1,)").replace("False", "2"),
        HEADER.format(descr="<q9", shape="(1,)"),
        HEADER.format(descr=[], shape="(1,)"),
        HEADER.format(descr=[("a",)], shape="(1,)"),
        HEADER.format(descr=("<f4", (0,)), shape="(1,)"),
        "(" * 5000,
        "__import__('os').getcwd()",
        "[" * 9000,
        "-" * 9000 + "1",
        "1+" * 4000 + "1",
        "{1:" * 3000,
        "not " * 2000 + "1",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'shape': (2,), 'x': 1}",
        HEADER.format(descr="(99999999,99999999)f4", shape="(1,)"),
        HEADER.format(descr="f4," * 2000, shape="(1,)"),
    ],
    ids=range(21),
)
def test_a_damaged_header(tmp_path, header):
    with pytest.raises(DataError, match=r"a\.npy"):
        read_bytes(tmp_path, npy_with(header, bytes(64)))


@pytest.mark.fault(33)
@pytest.mark.parametrize(("version", "size"), [(1, 10_001), (1, 2**16 - 1), (2, 10_001), (2, 2**32 - 1)])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, zipped])
def test_a_header_that_is_long_or_says_so_is_not_read(tmp_path, version, size, pack):
    content = b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", size)
    text = HEADER.format(descr="<f4", shape="(1,)").encode().ljust(min(size, 2**16) - 1) + b"\n"
    tracemalloc.start()
    with pytest.raises(DataError, match=rf"a \.npy header of at most 10,000 bytes, received {size:,}"):
        read_bytes(tmp_path, pack(content + text + bytes(4)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zipped])
def test_bytes_after_the_array(tmp_path, pack):
    with pytest.raises(DataError, match="expected the end of the file, received more bytes; save it again"):
        read_bytes(tmp_path, pack(npy(IMAGES) + b"\0"))


@pytest.mark.fault(42)
@pytest.mark.parametrize("name", ["a.npy", "train-images-idx3-ubyte"])
@pytest.mark.parametrize("write", [npy, idx])
def test_a_gzip_with_a_wrong_checksum(tmp_path, rng, write, name):
    packed = bytearray(gzip.compress(write(rng.integers(0, 256, (300, 28, 28), "uint8"))))
    packed[-8] ^= 1
    with pytest.raises(DataError, match="damaged gzip archive"):
        read_bytes(tmp_path, packed, name)


@pytest.mark.fault(31)
@pytest.mark.parametrize(
    ("content", "received"),
    [
        (pickle.dumps({"m0": IMAGES}), "a file that begins with b"),
        (b"hello", "a file that begins with b'hello'"),
        (zipped(b"hello"), "a file that begins with b'hello'"),
        (b"\x89PNG\r\n\x1a\n", "a PNG image; give the folder"),
        (b"\xff\xd8\xff\xe0", "a JPEG image; give the folder"),
        (b"\x89HDF\r\n", "an HDF5 file; save its images"),
    ],
    ids=lambda value: value if isinstance(value, str) else "content",
)
def test_what_is_no_array_says_what_it_is(tmp_path, content, received):
    with pytest.raises(DataError, match=rf"a\.npy: expected a \.npy or IDX array, received {received}"):
        read_bytes(tmp_path, content)


@pytest.mark.fault(42)
@pytest.mark.parametrize("write", [npy, idx])
def test_a_gzip_in_a_gzip(tmp_path, write):
    with pytest.raises(DataError, match="received a gzip archive inside an archive; unpack it first"):
        read_bytes(tmp_path, gzip.compress(gzip.compress(write(IMAGES))), "train-images-idx3-ubyte.gz")


@pytest.mark.fault(29)
@pytest.mark.parametrize("pack", [gzip.compress, zipped])
def test_an_archive_of_an_empty_file(tmp_path, pack):
    with pytest.raises(DataError, match=r"expected a \.npy or IDX array, received an empty file"):
        read_bytes(tmp_path, pack(b""))


@pytest.mark.fault(29)
@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html>"])
def test_what_is_no_data(tmp_path, content):
    with pytest.raises(DataError, match=r"empty|web page"):
        read_bytes(tmp_path, content)


@pytest.mark.fault(46)
def test_no_file_and_a_folder(tmp_path):
    for path in (tmp_path / "absent.npy", tmp_path):
        with pytest.raises(DataError, match="cannot be read"):
            read_array(path)


def test_a_header_that_python_2_wrote(tmp_path, recwarn):
    content = npy_with(HEADER.format(descr="<f4", shape="(2L, 3L)"), np.arange(6, dtype="<f4").tobytes())
    np.testing.assert_array_equal(read_bytes(tmp_path, content), np.arange(6).reshape(2, 3))
    assert not recwarn


# ---- IDX


@pytest.mark.parametrize(("code", "dtype"), [(8, "u1"), (9, "i1"), (11, ">i2"), (12, ">i4"), (13, ">f4"), (14, ">f8")])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, zipped])
def test_idx_of_every_type(tmp_path, code, dtype, pack):
    array = (np.arange(24) - (0 if dtype == "u1" else 12)).reshape(2, 3, 4).astype(dtype)
    np.testing.assert_array_equal(read_bytes(tmp_path, pack(idx(array, code))), array)


def test_idx_labels_have_one_axis(tmp_path):
    labels = np.array([3, 1, 4], "uint8")
    np.testing.assert_array_equal(read_bytes(tmp_path, idx(labels), "train-labels-idx1-ubyte"), labels)


@pytest.mark.fault(42)
@pytest.mark.parametrize("head", [b"\0\0\x0a\x03", b"\0\x01\x08\x03", b"\0\0\x08\x00", b"\0\0\x08\x09"])
def test_idx_with_a_wrong_magic_number(tmp_path, head):
    with pytest.raises(DataError, match="received a file that begins with"):
        read_bytes(tmp_path, head + idx(IMAGES)[4:])


@pytest.mark.fault(42)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_idx_truncated_at_every_byte(tmp_path, pack):
    whole = idx(IMAGES)
    for length in range(len(whole)):
        with pytest.raises(DataError, match=r"a\.npy"):
            read_bytes(tmp_path, pack(whole[:length]))


@pytest.mark.fault(42)
def test_idx_with_bytes_to_spare(tmp_path):
    for pack in (bytes, gzip.compress, zipped):
        with pytest.raises(DataError, match="expected the end of the file, received more bytes"):
            read_bytes(tmp_path, pack(idx(IMAGES) + b"\0"))


@pytest.mark.fault(33, 34, 42)
def test_idx_that_claims_too_much(tmp_path):
    with pytest.raises(DataError, match="would take over"):
        read_bytes(tmp_path, b"\0\0\x08\x03" + b"\xff" * 12 + bytes(64))


@pytest.mark.fault(42)
@pytest.mark.parametrize("count", [0, 1, 3, 2**31, 2**32 - 1])
def test_idx_with_a_count_that_is_not_that_of_its_body(tmp_path, count):
    content = idx(IMAGES)
    changed = content[:4] + struct.pack(">I", count) + content[8:]
    with pytest.raises(DataError, match=r"truncated|received more bytes"):
        read_bytes(tmp_path, changed)


@pytest.mark.fault(34)
@pytest.mark.parametrize("shape", [(0, 28, 28), (2, 0, 28), (2**32 - 1, 0, 2**32 - 1)])
def test_idx_with_a_dimension_of_zero(tmp_path, shape):
    content = b"\0\0\x08\x03" + struct.pack(">3I", *shape)
    if shape[-1] == 28:
        assert read_bytes(tmp_path, content).shape == shape
    else:
        with pytest.raises(DataError, match="would take over"):
            read_bytes(tmp_path, content)


# ---- .npz


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_comes_back_equal(tmp_path, save):
    save(tmp_path / "a.npz", images=IMAGES, labels=np.arange(2))
    found = read_all(tmp_path / "a.npz")
    assert list(found) == ["images", "labels"]
    np.testing.assert_array_equal(found["images"], IMAGES)
    np.testing.assert_array_equal(found["labels"], [0, 1])


@pytest.mark.fault(32)
def test_npz_with_objects_is_refused_and_not_unpickled(tmp_path):
    marker = tmp_path / "ran"
    np.savez(tmp_path / "a.npz", images=IMAGES, labels=np.array([Touch(marker)], dtype=object))
    with pytest.raises(DataError, match=r"a\.npz\[labels\.npy\].*dtype object"):
        read_all(tmp_path / "a.npz")
    assert not marker.exists()


def test_npz_gives_what_is_asked_for_and_looks_at_nothing_else(tmp_path, rng):
    """As in dSprites: what is beside the images may be text or objects."""
    large = rng.integers(0, 256, (2**22,), "uint8")
    np.savez(tmp_path / "a.npz", imgs=IMAGES, metadata=np.array({"a": 1}, dtype=object), large=large)
    tracemalloc.start()
    found = read_npz(tmp_path / "a.npz", ["imgs"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert list(found) == ["imgs"]
    np.testing.assert_array_equal(found["imgs"], IMAGES)
    assert peak < 2**21


@pytest.mark.fault(176)
def test_npz_with_something_else_in_it(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("notes.txt", "hello")
    with pytest.raises(DataError, match=r"expected only \.npy members, received 'notes\.txt'"):
        read_all(tmp_path / "a.npz")


@pytest.mark.fault(31)
@pytest.mark.parametrize("content", [npy(IMAGES), gzip.compress(npy(IMAGES)), b"hello"])
def test_npz_that_is_no_zip(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"expected an \.npz archive"):
        read_all(tmp_path / "a.npz")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_truncated_or_with_a_flipped_byte_at_every_place(tmp_path, save):
    path = tmp_path / "a.npz"
    save(path, images=IMAGES)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"a\.npz"):
            read_all(path)
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        with contextlib.suppress(DataError):
            [found] = read_all(path).values()
            np.testing.assert_array_equal(found, IMAGES)
