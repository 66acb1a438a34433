"""HDF5 weights, of older runs, from anywhere: nothing but plain datasets is read, and no other file through them."""

import contextlib
import os
import subprocess
import sys
import zipfile

import h5py
import numpy as np
import pytest

from bicoder.errors import ModelError
from bicoder.runs.weights import MOST_OBJECTS, OLD_NAME, Stored, arrays_of_hdf5, check_finite, count, stored

NAME = "encoder/vars/0"


@pytest.fixture
def weights(tmp_path):
    """A plain weights file, and a secret beside it."""
    path = tmp_path / OLD_NAME
    with h5py.File(path, "w") as file:
        file[NAME] = np.arange(12, dtype="float32").reshape(3, 4)
        file["head/vars/0"] = np.float32(1.5)
        file["empty/vars/0"] = np.zeros((2, 0), "float32")
    (tmp_path / "secret").write_bytes(np.full(12, 7, "<f4").tobytes())
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = np.full((3, 4), 7, "float32")
    return path


def refusal(path):
    with pytest.raises(ModelError) as caught:
        stored(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert message.isprintable(), message
    return message


def test_plain_weights(weights):
    found = stored(weights)
    assert found[NAME] == Stored((3, 4), "float32")
    assert found["head/vars/0"] == Stored((), "float32")
    assert count(found) == 13
    check_finite(weights, arrays_of_hdf5(weights))


@contextlib.contextmanager
def replaced(path):
    """The file, open, without the dataset that a trick takes the place of."""
    with h5py.File(path, "a") as file:
        del file[NAME]
        yield file


def external_dataset(path):
    with replaced(path) as file:
        file.create_dataset(NAME, (3, 4), "<f4", external=[(str(path.with_name("secret")), 0, 48)])


def virtual_dataset(path):
    layout = h5py.VirtualLayout((3, 4), "<f4")
    layout[:] = h5py.VirtualSource(str(path.with_name("other.h5")), "x", shape=(3, 4))
    with replaced(path) as file:
        file.create_virtual_dataset(NAME, layout)


def soft_link(path):
    with replaced(path) as file:
        file[NAME] = h5py.SoftLink("/head/vars/0")


def external_link(path):
    with replaced(path) as file:
        file[NAME] = h5py.ExternalLink("other.h5", "x")


def external_group(path):
    with h5py.File(path, "a") as file:
        del file["encoder"]
        file["encoder"] = h5py.ExternalLink("other.h5", "/")


def shape_bomb(path):
    with replaced(path) as file:
        file.create_dataset(NAME, (2**40,), "<f4", chunks=(2**20,))


def shape_without_content(path):
    with replaced(path) as file:
        file.create_dataset(NAME, (2**40,), "<f4")


def compressed(path):
    with replaced(path) as file:
        file.create_dataset(NAME, (3, 4), "<f4", chunks=(3, 4), compression="gzip", data=np.zeros((3, 4)))


def text(path):
    with replaced(path) as file:
        file[NAME] = ["a", "b"]


def references(path):
    with replaced(path) as file:
        file.create_dataset(NAME, data=[file.ref], dtype=h5py.ref_dtype)


def named_type(path):
    with replaced(path) as file:
        file[NAME] = np.dtype("<f4")


def no_shape(path):
    with replaced(path) as file:
        file[NAME] = h5py.Empty("f4")


def endless_groups(path):
    with h5py.File(path, "a") as file:
        file["encoder/again"] = file["encoder"]
        file["encoder/more"] = file["/"]


TRICKS = {
    external_dataset: "received one whose numbers are in another file",
    virtual_dataset: "received one whose numbers are in another file",
    soft_link: "received a soft link",
    external_link: "received a link to another file",
    external_group: "'encoder': expected plain datasets only, received a link to another file",
    shape_bomb: "received a compressed or chunked one",
    shape_without_content: "received shape (1099511627776,) with 0 bytes",
    compressed: "received a compressed or chunked one",
    text: "received one of type object",
    references: "received one of type object",
    named_type: "received a Datatype",
    no_shape: "received shape None",
    endless_groups: "groups within groups without end",
}


@pytest.mark.fault(69, 140)
@pytest.mark.parametrize("trick", TRICKS, ids=lambda trick: trick.__name__)
def test_only_plain_datasets_are_read(trick, weights):
    trick(weights)
    before = weights.read_bytes()
    assert TRICKS[trick] in refusal(weights)
    assert weights.read_bytes() == before


@pytest.mark.fault(69)
def test_too_many_groups(weights):
    with h5py.File(weights, "a") as file:
        for i in range(230):  # 230 x 230 ways through the same two levels
            file[f"many/{i}"] = file.require_group("inner")
        for i in range(230):
            file[f"inner/{i}"] = file.require_group("last")
    assert MOST_OBJECTS < 230**2
    assert "groups within groups without end" in refusal(weights)


@pytest.mark.fault(69)
def test_a_file_that_another_process_writes(weights):
    code = "import h5py, sys; f = h5py.File(sys.argv[1], 'a'); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, weights], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout.readline() == b"open\n"
        message = refusal(weights)
        writer.stdin.close()
    assert "another process is writing it; try again when that has ended" in message
    assert NAME in stored(weights)


def keras_archive(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")


@pytest.mark.fault(69, 125)
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (keras_archive, "received a damaged or another file: a zip archive, as .keras files are"),
        (lambda path: path.write_bytes(b""), "expected HDF5 weights, received a damaged or another file"),
        (lambda path: path.write_text("<!DOCTYPE html>"), "expected HDF5 weights, received a damaged or another file"),
        (lambda path: path.unlink(), "expected the file of the run's weights, received none"),
        (lambda path: (path.unlink(), path.mkdir()), "the run's weights: expected a file, received a folder"),
        (lambda path: (path.unlink(), os.mkfifo(path)), "the run's weights: expected a file, received a FIFO"),
    ],
    ids=["keras archive", "empty", "web page", "missing", "folder", "pipe"],
)
def test_what_is_no_weights_file(make, words, weights):
    make(weights)
    assert words in refusal(weights)


@pytest.mark.fault(69)
def test_a_file_cut_off_anywhere(weights):
    whole = weights.read_bytes()
    for length in range(0, len(whole), 97):
        weights.write_bytes(whole[:length])
        assert "expected HDF5 weights, received a damaged or another file" in refusal(weights)


@pytest.mark.fault(69)
def test_flipped_bytes_never_crash(weights, rng):
    """Other numbers cannot be told from the right ones; anything else is a `ModelError`, and never a crash."""
    whole = bytearray(weights.read_bytes())
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] = rng.integers(256)
        weights.write_bytes(damaged)
        with contextlib.suppress(ModelError):
            stored(weights)
            check_finite(weights, arrays_of_hdf5(weights))
