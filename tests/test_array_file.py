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
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bicoder.array_file import read_array, read_npz
from bicoder.errors import DataError

few = settings(
    max_examples=50, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
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


class Touch:
    """An object whose unpickling makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


# ---- .npy


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


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, zipped])
@pytest.mark.parametrize("name", ["a.npy", "a.pkl", "a.zip", "a.gz", "a"])
def test_the_bytes_decide_and_not_the_name(tmp_path, version, pack, name):
    np.testing.assert_array_equal(read_bytes(tmp_path, pack(npy(IMAGES, version)), name), IMAGES)


@pytest.mark.parametrize("version", [(3, 0), (4, 0), (0, 0)])
def test_a_version_that_is_not_known(tmp_path, version):
    content = bytearray(npy(IMAGES))
    content[6:8] = version
    with pytest.raises(DataError, match=r"a\.npy.*(version|magic)"):
        read_bytes(tmp_path, content)


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


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zipped])
def test_truncated_at_every_byte(tmp_path, pack):
    whole = npy(IMAGES)
    for length in range(len(whole)):
        with pytest.raises(DataError, match=r"a\.npy"):
            read_bytes(tmp_path, pack(whole[:length]))


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


@pytest.mark.parametrize("shape", ["(-1,)", "(2, -3)", "(True,)", f"({'1, ' * 100})", "('a',)", "3", "(1.0,)", "None"])
def test_a_shape_that_is_none(tmp_path, shape):
    with pytest.raises(DataError, match=r"a\.npy"):
        read_bytes(tmp_path, npy_with(HEADER.format(descr="<f4", shape=shape), bytes(64)))


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
        " " * 20000 + HEADER.format(descr="<f4", shape="(1,)"),
    ],
)
def test_a_damaged_header(tmp_path, header):
    with pytest.raises(DataError, match=r"a\.npy"):
        read_bytes(tmp_path, npy_with(header, bytes(64)))


@few
@given(data=st.data())
def test_a_changed_byte_gives_an_array_or_a_data_error(tmp_path, data):
    content = bytearray(data.draw(st.sampled_from([npy(IMAGES), idx(IMAGES), gzip.compress(npy(IMAGES))])))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(DataError):
        assert isinstance(read_bytes(tmp_path, content), np.ndarray)


@pytest.mark.parametrize("name", ["a.npy", "train-images-idx3-ubyte"])
@pytest.mark.parametrize("write", [npy, idx])
def test_a_gzip_with_a_wrong_checksum(tmp_path, rng, write, name):
    packed = bytearray(gzip.compress(write(rng.integers(0, 256, (300, 28, 28), "uint8"))))
    packed[-8] ^= 1
    with pytest.raises(DataError, match="damaged gzip archive"):
        read_bytes(tmp_path, packed, name)


@pytest.mark.parametrize(
    "content", [pickle.dumps({"m0": IMAGES}), b"hello", gzip.compress(gzip.compress(npy(IMAGES))), zipped(b"hello")]
)
def test_what_is_no_array_says_what_it_begins_with(tmp_path, content):
    with pytest.raises(DataError, match=r"a\.npy: expected a \.npy or IDX array, received a file that begins with b"):
        read_bytes(tmp_path, content)


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html>"])
def test_what_is_no_data(tmp_path, content):
    with pytest.raises(DataError, match=r"empty|web page"):
        read_bytes(tmp_path, content)


def test_no_file_and_a_folder(tmp_path):
    for path in (tmp_path / "absent.npy", tmp_path):
        with pytest.raises(DataError, match="cannot be read"):
            read_array(path)


# ---- IDX


@pytest.mark.parametrize(("code", "dtype"), [(8, "u1"), (9, "i1"), (11, ">i2"), (12, ">i4"), (13, ">f4"), (14, ">f8")])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, zipped])
def test_idx_of_every_type(tmp_path, code, dtype, pack):
    array = (np.arange(24) - (0 if dtype == "u1" else 12)).reshape(2, 3, 4).astype(dtype)
    np.testing.assert_array_equal(read_bytes(tmp_path, pack(idx(array, code))), array)


def test_idx_labels_have_one_axis(tmp_path):
    labels = np.array([3, 1, 4], "uint8")
    np.testing.assert_array_equal(read_bytes(tmp_path, idx(labels), "train-labels-idx1-ubyte"), labels)


@pytest.mark.parametrize("head", [b"\0\0\x0a\x03", b"\0\x01\x08\x03", b"\0\0\x08\x00", b"\0\0\x08\x09"])
def test_idx_with_a_wrong_magic_number(tmp_path, head):
    with pytest.raises(DataError, match="received a file that begins with"):
        read_bytes(tmp_path, head + idx(IMAGES)[4:])


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_idx_truncated_at_every_byte(tmp_path, pack):
    whole = idx(IMAGES)
    for length in range(len(whole)):
        with pytest.raises(DataError, match=r"a\.npy"):
            read_bytes(tmp_path, pack(whole[:length]))


def test_idx_with_bytes_to_spare(tmp_path):
    with pytest.raises(DataError, match=r"expected 24 bytes for shape \(2, 3, 4\), received more"):
        read_bytes(tmp_path, idx(IMAGES) + b"\0")


def test_idx_that_claims_too_much(tmp_path):
    with pytest.raises(DataError, match="would take over"):
        read_bytes(tmp_path, b"\0\0\x08\x03" + b"\xff" * 12 + bytes(64))


# ---- .npz


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_comes_back_equal(tmp_path, save):
    save(tmp_path / "a.npz", images=IMAGES, labels=np.arange(2))
    found = read_npz(tmp_path / "a.npz")
    assert list(found) == ["images", "labels"]
    np.testing.assert_array_equal(found["images"], IMAGES)
    np.testing.assert_array_equal(found["labels"], [0, 1])


def test_npz_with_objects_is_refused_and_not_unpickled(tmp_path):
    marker = tmp_path / "ran"
    np.savez(tmp_path / "a.npz", images=IMAGES, labels=np.array([Touch(marker)], dtype=object))
    with pytest.raises(DataError, match=r"a\.npz\[labels\.npy\].*dtype object"):
        read_npz(tmp_path / "a.npz")
    assert not marker.exists()


def test_npz_with_something_else_in_it(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("notes.txt", "hello")
    with pytest.raises(DataError, match=r"expected only \.npy members, received 'notes\.txt'"):
        read_npz(tmp_path / "a.npz")


@pytest.mark.parametrize("content", [npy(IMAGES), gzip.compress(npy(IMAGES)), b"hello"])
def test_npz_that_is_no_zip(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"expected an \.npz archive"):
        read_npz(tmp_path / "a.npz")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_truncated_or_with_a_flipped_byte_at_every_place(tmp_path, save):
    path = tmp_path / "a.npz"
    save(path, images=IMAGES)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"a\.npz"):
            read_npz(path)
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        with contextlib.suppress(DataError):
            [found] = read_npz(path).values()
            np.testing.assert_array_equal(found, IMAGES)
