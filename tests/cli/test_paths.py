"""Where data may be: names of every kind, links, folders in place of files, and what nobody may read."""

import gzip
import os
import shutil
import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bicoder.cli import main as cli
from bicoder.data.formats.folders import find_images
from bicoder.data.loader import DataLoader
from bicoder.errors import DataError, UsageError

IMAGES = (np.arange(5 * 6 * 4) * 2).astype("uint8").reshape(5, 6, 4)
NAMES = {
    "space": "two words",
    "unicode": "bilder-ü-数字-🎲",
    "combined accent": "e\u0301",
    "quote": 'it\'s "quoted"',
    "line break": "a\nb",
    "no UTF-8": os.fsdecode(b"\xff\xfe"),
    "dash": "-rf",
    "percent": "100%s{x}",
    "long": "x" * 240,
}
KINDS = ("a.npy", "a.npz", "a-images-idx3-ubyte.gz", "pictures")


def write(path):
    """IMAGES at a path, in the form that its name ends with."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith(".npy"):
        np.save(path, IMAGES)
    elif path.name.endswith(".npz"):
        np.savez(path, images=IMAGES)
    elif path.name.endswith(".gz"):
        path.write_bytes(gzip.compress(bytes([0, 0, 8, 3]) + struct.pack(">3I", *IMAGES.shape) + IMAGES.tobytes()))
    else:
        path.mkdir()
        for i, image in enumerate(IMAGES):
            Image.fromarray(image).save(path / f"{i}.png")
    return path


def assert_read(path):
    """The five images are what is read, four to train and one held out."""
    loader = DataLoader(path)
    found = np.concatenate([loader.training_images, loader.test_images])[..., 0]
    expected = IMAGES / np.float32(255)
    np.testing.assert_array_equal(found[np.argsort(found[:, 0, 1])], expected[np.argsort(expected[:, 0, 1])])


@pytest.mark.fault(46)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_any_kind(tmp_path, monkeypatch, name, kind):
    path = write(tmp_path / NAMES[name] / kind)
    assert_read(path)
    assert_read(str(path))
    monkeypatch.chdir(path.parent.parent)
    assert_read(os.path.join(".", NAMES[name], kind))


@pytest.mark.fault(46)
@pytest.mark.parametrize("name", NAMES)
def test_a_message_is_one_line_whatever_the_name(tmp_path, capsys, name):
    path = tmp_path / f"{NAMES[name]}.npy"
    path.write_bytes(b"no array")
    assert cli.main(["--dset", str(path), "--run_dir", str(tmp_path / "run")]) == 3
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert said.isprintable() or (said.endswith("\n") and said[:-1].isprintable())
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.fault(46)
@pytest.mark.parametrize("kind", KINDS)
def test_a_very_long_path(tmp_path, kind):
    """Almost as long as Linux takes, 4,096 bytes."""
    folder = tmp_path
    while len(os.fsencode(folder)) < 3800:
        folder = folder / ("ü" * 60)
    try:
        assert_read(write(folder / kind))
    finally:
        shutil.rmtree(tmp_path / ("ü" * 60))


@pytest.mark.fault(46)
@pytest.mark.parametrize("path", ["x" * 5000, "./" + "x" * 300 + ".npy", "./" + "x/" * 3000 + "a.npy"])
def test_a_path_that_is_too_long_for_any_file(path):
    with pytest.raises(DataError, match="cannot be read: File name too long") as caught:
        DataLoader(path)
    assert len(str(caught.value)) < 300


@pytest.mark.fault(46)
@pytest.mark.parametrize("path", ["a\0b", "./a\0b.npy"])
def test_a_path_with_a_nul_in_it(path):
    with pytest.raises((DataError, UsageError), match=r"received .*'(\./)?a\\x00b"):
        DataLoader(path)


@pytest.mark.fault(46)
@pytest.mark.parametrize("kind", KINDS)
def test_a_symbolic_link(tmp_path, kind):
    path = write(tmp_path / "real" / kind)
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / kind).symlink_to(path)
    assert_read(tmp_path / "link" / kind)
    (tmp_path / "whole").symlink_to(tmp_path / "real")
    assert_read(tmp_path / "whole" / kind)


@pytest.mark.fault(46)
@pytest.mark.parametrize("target", ["nowhere.npy", "link.npy"])
def test_a_link_that_leads_nowhere(tmp_path, target):
    (tmp_path / "link.npy").symlink_to(tmp_path / target)
    with pytest.raises(DataError, match=r"link\.npy"):
        DataLoader(tmp_path / "link.npy")


@pytest.mark.fault(46)
def test_links_inside_a_folder_of_pictures_are_followed_and_end(tmp_path):
    """A label may be a link; a link to a folder that was entered already is passed over."""
    write(tmp_path / "elsewhere" / "pictures")
    folder = tmp_path / "set"
    for label in ("a", "b"):
        (folder / label).mkdir(parents=True)
        Image.fromarray(IMAGES[0]).save(folder / label / "0.png")
    (folder / "c").symlink_to(tmp_path / "elsewhere" / "pictures")
    (folder / "b" / "1.png").symlink_to(tmp_path / "elsewhere" / "pictures" / "1.png")
    for name in ("up", "again"):
        (folder / "a" / name).symlink_to(folder)
    assert [str(p.relative_to(folder)) for p in find_images(folder)] == ["a/0.png", "b/0.png", "b/1.png"] + [
        f"c/{i}.png" for i in range(5)
    ]
    assert DataLoader(folder).label_names == ("a", "b", "c")


@pytest.mark.fault(46)
def test_a_picture_that_is_a_link_to_nowhere(tmp_path):
    write(tmp_path / "pictures")
    (tmp_path / "pictures" / "x.png").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"x\.png: cannot be read: No such file"):
        DataLoader(tmp_path / "pictures")


@pytest.mark.fault(46)
@pytest.mark.parametrize("name", ["a.npy", "a.npz", "train-images-idx3-ubyte", "a.pkl"])
def test_a_folder_in_place_of_a_file(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(DataError, match=rf"{name}: expected images, PNG, JPEG, .* received none"):
        DataLoader(tmp_path / name)


@pytest.mark.fault(46)
@pytest.mark.parametrize("path", ["/dev/null", "/dev/zero"])
def test_a_device_in_place_of_a_file(path):
    with pytest.raises(DataError, match=f"expected a folder, .* received '{path}': a device"):
        DataLoader(path)


@pytest.fixture
def someone():
    """A folder that anyone may enter, and a function that runs as a user who is not root."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)

    def without_rights(function):
        if os.geteuid():
            return function()
        "".encode("cp437")  # of names in zip archives; whoever is not root may not be able to import it then
        os.seteuid(65534)
        try:
            return function()
        finally:
            os.seteuid(0)

    yield folder, without_rights
    for path in (folder, *folder.iterdir()):
        path.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.fault(46)
@pytest.mark.parametrize("kind", KINDS)
def test_no_right_to_read(someone, kind):
    folder, without_rights = someone
    path = write(folder / kind)
    without_rights(lambda: assert_read(path))
    path.chmod(0o000)

    def read():
        with pytest.raises(DataError, match="cannot be read: Permission denied") as caught:
            DataLoader(path)
        assert str(path) in str(caught.value)
        assert caught.value.exit_code == 3

    without_rights(read)
    path.chmod(0o755)
    assert_read(path)


@pytest.mark.fault(46)
@pytest.mark.parametrize("part", ["2.png", "."])
def test_no_right_to_read_a_part_of_a_folder(someone, part):
    """A sub-folder that cannot be read is an error, and not a set with fewer images."""
    folder, without_rights = someone
    write(folder / "set")
    (folder / "set" / "sub").mkdir()
    Image.fromarray(IMAGES[0]).save(folder / "set" / "sub" / "2.png")
    locked = folder / "set" / "sub" / part
    locked.chmod(0o000)

    def read():
        with pytest.raises(DataError, match="cannot be read: Permission denied") as caught:
            DataLoader(folder / "set")
        assert str(locked) in str(caught.value)

    without_rights(read)
    locked.chmod(0o755)


@pytest.mark.fault(46)
def test_a_folder_above_that_nobody_may_enter(someone):
    folder, without_rights = someone
    path = write(folder / "in" / "a.npy")
    (folder / "in").chmod(0o000)

    def read():
        with pytest.raises(DataError, match="cannot be read: Permission denied"):
            DataLoader(path)

    without_rights(read)
