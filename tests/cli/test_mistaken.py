"""What is easily mistaken for something else: addresses, homes, archives, letters that look the same."""

import bz2
import lzma
import unicodedata

import numpy as np
import pytest
from PIL import Image

from bicoder import DataLoader
from bicoder.cli import main as cli
from bicoder.cli.command import commands
from bicoder.cli.parser import parse
from bicoder.data.likewise import files_of
from bicoder.data.splits import read_split, split_text
from bicoder.errors import DataError, UsageError


def folder_of(folder, *names):
    folder.mkdir()
    for number, name in enumerate(names):
        Image.new("L", (4, 4), 50 * number).save(folder / name)
    return folder


@pytest.mark.fault(194)
@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.npy.bz2", bz2.compress(b"x"), "a bzip2 archive; unpack it first"),
        ("x.npy.xz", lzma.compress(b"x"), "an xz archive; unpack it first"),
        ("x.npy.zst", b"\x28\xb5\x2f\xfd" + bytes(9), "a Zstandard archive; unpack it first"),
        ("x.7z", b"7z\xbc\xaf\x27\x1c" + bytes(9), "a 7z archive; unpack it first"),
        ("x.rar", b"Rar!\x1a\x07\x00" + bytes(9), "a RAR archive; unpack it first"),
        ("x.mat", b"MATLAB 5.0 MAT-file", "a MATLAB file; save its images with numpy.save"),
        ("x.parquet", b"PAR1" + bytes(9), "a Parquet file; save its images with numpy.save"),
        ("x.gif.npy", b"GIF89a" + bytes(9), "a GIF image; give the folder that holds it"),
    ],
)
def test_what_is_often_given_for_an_array_is_named(name, content, said, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"received {said}"):
        DataLoader(tmp_path / name)


@pytest.mark.fault(195)
@pytest.mark.parametrize("address", ["https://example.org/x.npy", "s3://mine/x.npz", "file:///tmp/x"])
def test_an_address_is_no_path(address, capsys):
    assert cli.main(["--dset", address]) == 3
    assert f"received the address '{address}'; fetch it first" in capsys.readouterr().err
    with pytest.raises(DataError, match="fetch it first"):
        files_of(address, print)


@pytest.mark.fault(196)
@pytest.mark.parametrize(("text", "folder"), [("~/runs/%d", "runs/%d"), ("~", ""), ("./~/x", None), ("~x.npy", None)])
def test_a_home_that_the_shell_leaves_as_it_is(text, folder, tmp_path, monkeypatch):
    """No shell looks for `~` after the = of an option; whoever removes a folder of that name removes the home."""
    monkeypatch.setenv("HOME", str(tmp_path))
    expected = text if folder is None else str(tmp_path / folder)
    options = parse(commands()["train"], [f"--dset={text}", f"--run_dir={text}"], "bicoder")
    assert [options.dset, options.run_dir] == [expected, expected]
    assert parse(commands()["evaluate"], [text], "bicoder").run == expected


@pytest.mark.fault(197)
def test_labels_of_names_whose_accents_are_apart(tmp_path):
    """As macOS writes them on the disk, and spreadsheets do not; they look the same."""
    names = [unicodedata.normalize("NFD", name) for name in ("é.png", "ü.png", "o.png")]
    folder = folder_of(tmp_path / "set", *names)
    rows = ["file,label", *(unicodedata.normalize("NFC", f"{name},ä") for name in names[:2]), "o.png,b"]
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    loader = DataLoader(folder, labels=tmp_path / "labels.csv")
    found = dict(zip(loader.training_files, loader.training_labels, strict=True))
    found |= zip(loader.test_files, loader.test_labels, strict=True)
    assert found == {names[0]: 1, names[1]: 1, names[2]: 0}
    assert loader.label_names == ("b", "ä")


@pytest.mark.fault(198)
def test_a_split_that_a_spreadsheet_saved(tmp_path):
    parts = {"training": np.array([2, 0]), "test": np.array([1])}
    (tmp_path / "split.csv").write_text(split_text(parts), encoding="utf-8-sig")
    assert {use: rows.tolist() for use, rows in read_split(tmp_path / "split.csv").items()} == {
        "training": [2, 0],
        "test": [1],
    }


@pytest.mark.fault(199)
@pytest.mark.parametrize("dset", ["digits", np.zeros((9, 6, 6), "uint8"), np.zeros((9, 36))], ids=["digits", "3", "2"])
def test_arrays_are_not_scaled(dset):
    with pytest.raises(UsageError, match=r"image_size: expected a folder of images with it, received .*; leave it out"):
        DataLoader(dset, image_size=16)
    if isinstance(dset, str):
        assert DataLoader(dset, image_size=8).image_shape == (8, 8, 1)  # as it is
