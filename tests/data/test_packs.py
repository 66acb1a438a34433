"""Packs: the images of a data set in shards, whole or named, and read as they were."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from bicoder.cli.main import bicoder
from bicoder.data.loader import DataLoader
from bicoder.data.packs import shard_list
from bicoder.data.stored import row_files
from bicoder.errors import DataError

COUNT, SIZE = 61, 8  # images, and of a shard


def pictures(folder, rng, count=COUNT):
    """A folder of images in two sub-folders."""
    for i in range(count):
        (folder / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (5, 4), "uint8")).save(folder / "ab"[i % 2] / f"{i:03}.png")
    return folder


def pack(images, output, *more):
    return bicoder(["pack", str(images), "--output", str(output), "--shard_size", str(SIZE), *map(str, more)])


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BICODER_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def packed(tmp_path, cache, rng):
    assert pack(pictures(tmp_path / "images", rng), tmp_path / "shards") == 0
    return tmp_path / "shards"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_pack_is_the_folder_that_it_was_made_of(tmp_path, packed, monkeypatch):
    found = shard_list.read_list(packed)
    assert [shard.images for shard in found.shards] == [SIZE] * 7 + [5]
    assert len(names(packed)) == 8 + 3, "labels.npy, files.csv and shards.json beside the shards; nothing unfinished"
    monkeypatch.setattr(row_files, "KEPT", 3)  # the others are opened when they are read
    memory, shards = DataLoader(tmp_path / "images", seed=3), DataLoader(packed, seed=3)
    for part in ("training", "test"):
        np.testing.assert_array_equal(getattr(shards, f"{part}_images")[:], getattr(memory, f"{part}_images"))
        np.testing.assert_array_equal(getattr(shards, f"{part}_labels"), getattr(memory, f"{part}_labels"))
    assert shards.label_names == memory.label_names == ("a", "b")
    assert shards.training_images.in_file
    files = [line.split(",")[1] for line in (packed / "files.csv").read_text().splitlines()[1:]]
    assert [files[row] for row in shards.test_files] == memory.test_files.tolist()


def test_processes_read_the_same(tmp_path, packed, monkeypatch):
    monkeypatch.setattr("bicoder.cli.commands.data.pack.FEW", 0)
    assert pack(tmp_path / "images", tmp_path / "again", "--jobs", 2) == 0
    assert (tmp_path / "again/shards.json").read_bytes() == (packed / "shards.json").read_bytes()


def test_arrays_are_packed_too(tmp_path, cache, rng):
    """Training and test images of one data set, with what they are for."""
    x, y = rng.random((40, 6, 5)), np.arange(40) % 3
    np.savez(tmp_path / "x.npz", x_train=x, x_test=x[:9] / 2, y_train=y, y_test=y[:9])
    assert pack(tmp_path / "x.npz", tmp_path / "shards") == 0
    memory, shards = DataLoader(tmp_path / "x.npz"), DataLoader(tmp_path / "shards")
    for name in ("training_images", "test_images", "training_labels", "test_labels"):
        np.testing.assert_array_equal(np.asarray(getattr(shards, name)), getattr(memory, name))


def test_the_split_of_folders_stays(tmp_path, cache, rng):
    for part, count in (("train", 20), ("val", 5), ("test", 7)):
        pictures(tmp_path / "images" / part, rng, count)
    assert pack(tmp_path / "images", tmp_path / "shards") == 0
    shards = DataLoader(tmp_path / "shards", validation=0.1)
    assert [len(x) for x in (shards.training_images, shards.validation_images, shards.test_images)] == [20, 5, 7]
    assert len(DataLoader(tmp_path / "shards").training_images) == 20
    assert DataLoader(tmp_path / "shards").validation_images is None


KILL = """
import os, signal, sys
import bicoder.data.packs.packing as packing
def record(self, state, own=packing.Packing.record):
    own(self, state)
    len(self.shards) == 3 and os.kill(os.getpid(), signal.SIGKILL)
packing.Packing.record = record
from bicoder.cli.main import bicoder
bicoder(sys.argv[1:])
"""


@pytest.mark.fault(256)
def test_a_pack_goes_on_after_a_kill(tmp_path, packed, capsys):
    """After three shards; those are not read again, and the end is the same to the byte."""
    words = ["pack", tmp_path / "images", "--output", tmp_path / "again", "--shard_size", SIZE]
    code = subprocess.run([sys.executable, "-c", KILL, *map(str, words)], cwd=ROOT, timeout=60).returncode
    assert code == -signal.SIGKILL
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "again").glob("shard-*")}
    assert len(before) == 3
    with pytest.raises(DataError, match=r"again.*expected a finished pack, received one that was begun"):
        DataLoader(tmp_path / "again")
    capsys.readouterr()
    assert pack(tmp_path / "images", tmp_path / "again") == 0
    assert "going on after 3 shards" in capsys.readouterr().err
    assert {name: (tmp_path / "again" / name).stat().st_mtime_ns for name in before} == before
    assert names(tmp_path / "again") == names(packed)
    assert (tmp_path / "again/shards.json").read_bytes() == (packed / "shards.json").read_bytes()


@pytest.mark.fault(256)
def test_killed_at_any_moment(tmp_path, packed, rng):
    """By a clock: whatever it had begun, the same command ends with the same pack."""
    words = ["-m", "bicoder", "pack", tmp_path / "images", "--output", tmp_path / "again", "--shard_size", SIZE]
    for wait in (0.9, 1.2):
        process = subprocess.Popen([sys.executable, *map(str, words)], cwd=ROOT, stderr=subprocess.DEVNULL)
        time.sleep(wait)
        process.kill()
        process.wait(30)
        if (tmp_path / "again/shards.json").exists():
            break
    else:
        assert pack(tmp_path / "images", tmp_path / "again") == 0
    assert (tmp_path / "again/shards.json").read_bytes() == (packed / "shards.json").read_bytes()


@pytest.mark.fault(256)
def test_what_was_begun_of_other_images_is_not_mixed_in(tmp_path, packed, capsys):
    (tmp_path / "again").mkdir()
    journal = {"made_of": {}, "shards": [{"file": "shard-000000.npy", "images": 8, "sha256": ""}], "survey": None}
    (tmp_path / "again/packing.json").write_text(json.dumps(journal | {"state": {}}))
    (tmp_path / "again/shard-000099.npy").write_bytes(b"old")
    assert pack(tmp_path / "images", tmp_path / "again") == 0
    assert "is of other images or options; beginning anew" in capsys.readouterr().err
    assert names(tmp_path / "again") == names(packed)


def flipped(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def other_shape(path):
    path.write_bytes(path.read_bytes().replace(b"(8, 5, 4, 1)", b"(8, 4, 5, 1)"))


@pytest.mark.fault(257, 258)
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.unlink(), "expected 8 images, received no file; copy it again"),
        (cut, "expected 288 bytes"),
        (other_shape, "received an array of shape"),
        (flipped, "is damaged: expected SHA-256"),
    ],
    ids=["missing", "cut", "shape", "bit"],
)
def test_a_shard_that_is_missing_or_damaged_is_named(packed, damage, words, capsys):
    """Before the first step, also if it was whole the last time."""
    DataLoader(packed)
    path = packed / "shard-000003.npy"
    damage(path)
    capsys.readouterr()
    assert bicoder(["train", "--dset", str(packed), "--epochs", "1", "--run_dir", str(packed.parent / "run")]) == 3
    [line] = [line for line in capsys.readouterr().err.splitlines() if "error" in line.lower()]
    assert f"{path}: " in line
    assert words in line
    assert not (packed.parent / "run").exists()


@pytest.mark.fault(257)
def test_many_missing_shards_are_one_line(packed):
    for path in packed.glob("shard-*2.npy"):
        path.unlink()
    (packed / "shard-000005.npy").unlink()
    with pytest.raises(DataError, match=r"shard-000002\.npy: expected 8 images, received no file; 2 of 9 shards"):
        DataLoader(packed)


def test_whole_shards_are_read_once(packed, cache, monkeypatch):
    DataLoader(packed)
    monkeypatch.setattr(shard_list, "sha256_of", None)  # whoever reads them again fails
    DataLoader(packed)
    os.utime(packed / "shard-000001.npy")
    with pytest.raises(TypeError):
        DataLoader(packed)


LISTS = {
    "no json": lambda said: "{",
    "nested": lambda said: "[" * 60_000,
    "a later format": lambda said: json.dumps(said | {"format": 2}),
    "a key is missing": lambda said: json.dumps({name: value for name, value in said.items() if name != "shape"}),
    "another number": lambda said: json.dumps(said | {"images": 60}),
    "no shards": lambda said: json.dumps(said | {"shards": [], "images": 0}),
    "objects": lambda said: json.dumps(said | {"dtype": "|O"}),
    "a way out": lambda said: json.dumps(said | {"shards": [said["shards"][0] | {"file": "../x.npy"}], "images": 8}),
    "a text": lambda said: json.dumps(said | {"shape": ["5", 4, 1]}),
    "too much": lambda said: json.dumps(said | {"shape": [2**30, 2**30, 3]}),
    "survey": lambda said: json.dumps(said | {"survey": said["survey"] | {"high": "255"}}),
}


@pytest.mark.fault(258)
@pytest.mark.parametrize("wrong", LISTS.values(), ids=LISTS)
def test_a_list_of_shards_that_somebody_else_wrote(packed, wrong):
    path = packed / shard_list.NAME
    path.write_text(wrong(json.loads(path.read_text())))
    with pytest.raises(DataError, match=r"shards\.json: "):
        DataLoader(packed)


@pytest.mark.fault(259)
def test_a_folder_that_holds_something_else(tmp_path, packed, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").write_text("mine")
    images = tmp_path / "images"
    for output, words in (
        (packed, "holds a pack already"),
        (tmp_path / "mine", "expected an empty folder, or none"),
        (tmp_path / "mine/thesis.tex", "a file"),
        (images / "shards", "expected a folder outside of the images"),
    ):
        assert pack(images, output) == 2
        assert words in capsys.readouterr().err
    assert pack(packed, tmp_path / "again") == 2
    assert "that are no pack yet" in capsys.readouterr().err
    assert names(tmp_path / "mine") == ["thesis.tex"]


@pytest.mark.fault(259)
def test_damaged_images(tmp_path, cache, rng, capsys):
    """All of them are listed, or left out; what is packed by then is not read again."""
    images = pictures(tmp_path / "images", rng)
    for name in ("a/004.png", "b/007.png"):
        (images / name).write_bytes(b"no image")
    assert pack(images, tmp_path / "shards") == 3
    assert "2 of 61 images are damaged" in capsys.readouterr().err
    assert pack(images, tmp_path / "shards", "--skip_damaged") == 0
    assert "going on after 8 shards" in capsys.readouterr().err
    memory, shards = DataLoader(images, skip_damaged=True), DataLoader(tmp_path / "shards")
    np.testing.assert_array_equal(shards.training_images[:], memory.training_images)
    np.testing.assert_array_equal(shards.training_labels, memory.training_labels)


@pytest.mark.fault(259)
def test_images_that_contradict_the_first(tmp_path, cache, rng):
    """Of another size, in the last shard: all are read again, as they would be in memory."""
    images = pictures(tmp_path / "images", rng, 20)
    Image.fromarray(rng.integers(0, 256, (9, 9, 3), "uint8")).save(images / "b" / "999.png")
    assert pack(images, tmp_path / "shards") == 0
    np.testing.assert_array_equal(
        DataLoader(tmp_path / "shards").training_images[:], DataLoader(images).training_images
    )
