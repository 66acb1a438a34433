"""Every kind of bad data, by way of the program: exit code 3, one line, nothing written, nothing run."""

import gzip
import io
import os
import pickle
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from bicoder.cli import main as cli

IMAGES = (np.arange(12 * 6 * 4) % 251).astype("uint8").reshape(12, 6, 4)


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def npz(**arrays):
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def png(array):
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "png")
    return stream.getvalue()


def zipped(name, content):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(name), content)
    return stream.getvalue()


def with_nan(array, index):
    array = array.copy()
    array[index] = np.nan
    return array


class Touch:
    def __reduce__(self):
        return os.system, ("touch ran",)


def views(**changes):
    pixels = np.arange(4 * 28 * 28 * 3).reshape(4, 28, 28, 3) % 251
    return {f"m{i}": (pixels + i).astype("uint8") for i in range(5)} | changes


HEADER = b"\x93NUMPY\x01\x00"
SIZE = struct.pack("<I", len(npy(IMAGES)))
GREY = (IMAGES / 255).astype("float32")
# What --dset is -> (files, words of the message); a folder of pictures has several.
BAD = {
    "29 empty npy": ({"a.npy": b""}, "an empty file"),
    "29 empty picture": ({"set/a.png": b""}, "expected an image, PNG, JPEG"),
    "30 header cut": ({"a.npy": npy(IMAGES)[:40]}, "truncated"),
    "30 body cut": ({"a.npy": npy(IMAGES)[:-1]}, "truncated"),
    "31 magic": ({"a.npy": b"\x92" + npy(IMAGES)[1:]}, "begins with"),
    "31 npz called npy": ({"a.npy": npz(x=IMAGES, y=IMAGES)}, "call it .npz"),
    "31 png called npy": ({"a.npy": png(IMAGES[0])}, "a PNG image; give the folder"),
    "31 text called png": ({"set/a.png": b"hello"}, "expected an image, PNG, JPEG"),
    "32 objects": ({"a.npz": npz(images=np.array([Touch()], dtype=object))}, "dtype object"),
    "33 long header": ({"a.npy": HEADER + b"\xff\xff" + b" " * 65535}, "at most 10,000 bytes"),
    "33 shape": ({"a.npy": npy(IMAGES).replace(b"(12, 6, 4)", b"(2**50,)  ")}, "header"),
    "33 large shape": (
        {"a.npy": npy(IMAGES).replace(b"(12, 6, 4), }      ", b"(1125899906842624,)}")},
        "would take over",
    ),
    "34 negative": ({"a.npy": npy(IMAGES).replace(b"(12, 6, 4)", b"(-1, 6, 4)")}, "dimensions of 0 or more"),
    "34 zero": ({"a.npy": npy(IMAGES[:, :0])}, "at least one image"),
    "35 int16": ({"a.npy": npy(IMAGES.astype("int16") * 9)}, "received values from 0 to 2250"),
    "36 NaN": (
        {"a.npy": npy(with_nan(GREY, (7, 2, 1)))},
        "received 1 that are NaN or infinite, the first at index (7, 2, 1)",
    ),
    "37 below": ({"a.npy": npy(GREY * 2 - 1)}, "(x + 1) / 2 brings them there"),
    "38 rank": ({"a.npy": npy(GREY[..., None, None])}, "received shape (12, 6, 4, 1, 1)"),
    "38 channels": ({"a.npy": npy(np.stack([GREY] * 2, 1))}, "channels on the last axis"),
    "39 none": ({"a.npy": npy(IMAGES[:0])}, "at least one image, received shape (0, 6, 4)"),
    "40 length": ({"a.npz": npz(images=IMAGES, labels=np.zeros(11))}, "expected 12 labels"),
    "40 one-hot": ({"a.npz": npz(images=IMAGES, labels=np.eye(12))}, "labels.argmax"),
    "40 float": ({"a.npz": npz(images=IMAGES, labels=np.arange(12) / 2)}, "received 0.5 at index 1"),
    "42 magic": ({"a-idx3-ubyte": b"\0\0\x0a\x03" + idx(IMAGES)[4:]}, "begins with"),
    "42 count": ({"a-idx3-ubyte": idx(IMAGES).replace(b"\x0c", b"\x0d", 1)}, "truncated"),
    "42 trailing": ({"a-idx3-ubyte": idx(IMAGES) + b"\0"}, "the end of the file"),
    "42 checksum": ({"a-idx3-ubyte.gz": gzip.compress(idx(IMAGES))[:-8] + bytes(8)}, "CRC"),
    "42 double": ({"a-idx3-ubyte.gz": gzip.compress(gzip.compress(idx(IMAGES)))}, "inside an archive"),
    "46 folder": ({"a.npy/notes.txt": b"x"}, "received none"),
    "58 slip": ({"a.zip": zipped("../../evil.npy", npy(IMAGES))}, "leads out of the archive"),
    "59 claim": (
        {"a.zip": zipped("a.npy", npy(IMAGES)).replace(SIZE, b"\xfe\xff\xff\xff")},
        "claims to unpack to 4,294,967,294",
    ),
    "60 cut": ({"a.npz": npz(images=IMAGES)[:-30]}, "damaged zip archive"),
}
COLOR = {
    "29 empty": (b"", "an empty file"),
    "31 npy": (npy(IMAGES), "expected a pickled dictionary"),
    "40 labels": (None, "whole numbers from 0 to 9, received 10 at index 3"),
    "44 no key": (pickle.dumps({"m0": 1, "m7": 2, 3: 4}), "received the keys 3, m0, m7"),
    "44 lengths": (pickle.dumps(views(m2=np.zeros((3, 28, 28, 3), "u1"))), "m0 4, m1 4, m2 3, m3 4, m4 4"),
    "48 call": (pickle.dumps(views(m4=Touch())), "system' is not allowed"),
    "51 cut": (pickle.dumps(views())[:-100], "but only 9314 remain"),
    "54 claim": (b"\x80\x04\x8e" + b"\xff" * 7 + b"\x3f", "truncated"),
}


def snapshot(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_refused(arguments, words, folder, capsys):
    """The program ends with 3 and says so in one line; the folder is what it was."""
    before = snapshot(folder)
    assert cli.main([*map(str, arguments), "--run_dir", str(folder / "run")]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1, err
    assert words in err
    assert snapshot(folder) == before


@pytest.mark.fault(29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 42, 46, 58, 59, 60)
@pytest.mark.parametrize("kind", BAD)
def test_bad_files_are_exit_code_3(kind, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files, words = BAD[kind]
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    dset = next(iter(files)).partition("/")[0]
    assert_refused(["--dset", tmp_path / dset], words, tmp_path, capsys)
    assert not (tmp_path / "ran").exists()


@pytest.mark.fault(29, 31, 40, 44, 48, 51, 54)
@pytest.mark.parametrize("kind", COLOR)
def test_bad_pickles_are_exit_code_3(kind, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content, words = COLOR[kind]
    (tmp_path / "mnist_color.pkl").write_bytes(pickle.dumps(views()) if content is None else content)
    (tmp_path / "mnist_color_te.pkl").write_bytes(pickle.dumps(views()))
    np.save(tmp_path / "mnist_color_y_te.npy", np.array([0, 1, 2, 10 if content is None else 9]))
    assert_refused(["--dset", "mnist_color", "--no_download", "--data_dir", tmp_path], words, tmp_path, capsys)
    assert not (tmp_path / "ran").exists()


@pytest.mark.fault(40)
def test_labels_that_are_missing(tmp_path, capsys):
    for name in ("mnist_bw.npy", "mnist_bw_te.npy"):
        np.save(tmp_path / name, np.zeros((4, 28, 28), "uint8"))
    arguments = ["--dset", "mnist_bw", "--no_download", "--data_dir", tmp_path]
    assert_refused(arguments, "mnist_bw_y_te.npy: expected the file there", tmp_path, capsys)


def test_bad_data_is_told_of_before_tensorflow_is_imported(tmp_path):
    (tmp_path / "a.npy").write_bytes(npy(IMAGES)[:-1])
    script = (
        "import sys; from bicoder.cli.main import main; code = main(sys.argv[1:]); "
        "sys.exit(99 if 'tensorflow' in sys.modules or 'keras' in sys.modules else code)"
    )
    command = [sys.executable, "-c", script, "--dset", str(tmp_path / "a.npy"), "--run_dir", str(tmp_path / "run")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert done.returncode == 3, done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()
