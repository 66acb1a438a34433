"""Files are there whole or not at all, whoever is killed while writing."""

import os
import re
import secrets
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT
from PIL import Image

from bicoder.errors import UsageError
from bicoder.files.whole_file import UNFINISHED, new_file, new_name, whole_file

# Draws one picture after another over the same file.
DRAW = """if True:
    import resource, sys
    import numpy as np
    from bicoder.pictures.drawing import plotting
    from bicoder.errors import UsageError
    path, limit = sys.argv[1], int(sys.argv[2])
    images = np.random.default_rng(0).random((400, 40, 40))
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            plotting.image_grid(images, path, "too large")
        except UsageError as error:
            sys.exit(f"refused: {error}")
    print("drawing", flush=True)
    while True:
        plotting.image_grid(images, path, "title")"""


def drawing(path, limit=0):
    command = [sys.executable, "-c", DRAW, str(path), str(limit)]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


@pytest.mark.fault(84)
def test_a_file_is_replaced_when_it_is_whole(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with whole_file(path) as new:
        new.write_text("ne")
        assert path.read_text() == "old"
        new.write_text("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def interrupted_writing(path):
    with whole_file(path) as new:
        new.write_text("half")
        raise KeyboardInterrupt


@pytest.mark.fault(84)
def test_an_error_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        interrupted_writing(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(UsageError, match="cannot be written: "), whole_file(path / "x.png") as new:
        new.write_text("below a file")


@pytest.mark.parametrize("name", ["a.png", "model.weights.h5", "no_suffix", "x-" * 100 + ".safetensors"])
def test_the_other_name_ends_as_the_final_one_does(tmp_path, name):
    """savefig, save_weights and their kind go by it; and no name is too long for a file system."""
    with whole_file(tmp_path / name) as new:
        assert new.parent == tmp_path
        assert new.name.endswith(name[-20:])
        assert new.read_bytes() == b""
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_nobody_can_guess_the_other_name(tmp_path):
    names = [new_name(tmp_path / "a.png").name for _ in range(200)]
    random = {re.fullmatch(rf"{UNFINISHED}[\w.]+-\d+-\w{{8}}-([0-9a-f]{{16}})-a\.png", name)[1] for name in names}
    assert len(random) == 200
    assert all(len({text[i] for text in random}) > 8 for i in range(16))  # of 16 digits, at every place


@pytest.mark.fault(116)
@pytest.mark.parametrize("content", ["theirs", None])
def test_a_link_laid_where_the_file_is_to_come_is_not_followed(tmp_path, monkeypatch, content):
    """Even if somebody had guessed the name: to a file, and to one that is not there yet."""
    target, path = tmp_path / "target", tmp_path / "a.json"
    if content:
        target.write_text(content)
    monkeypatch.setattr(secrets, "token_hex", lambda size: "0" * 2 * size)
    link = new_name(path)
    link.symlink_to(target)
    with pytest.raises(UsageError, match=r"a\.json: cannot be written: File exists"), whole_file(path) as new:
        new.write_text("mine")
    assert link.is_symlink()
    assert not path.exists()
    assert (target.read_text() if target.exists() else None) == content


def test_a_link_under_the_final_name_is_replaced_and_not_followed(tmp_path):
    (tmp_path / "target").write_text("theirs")
    (tmp_path / "a.json").symlink_to(tmp_path / "target")
    with whole_file(tmp_path / "a.json") as new:
        new.write_text("mine")
    assert (tmp_path / "target").read_text() == "theirs"
    assert not (tmp_path / "a.json").is_symlink()


def interrupted_folder(path):
    with new_file(path, folder=True) as new:
        (new / "inner").write_text("half")
        raise KeyboardInterrupt


def test_a_folder_is_there_whole_or_not_at_all(tmp_path):
    path = tmp_path / "000007"
    with pytest.raises(KeyboardInterrupt):
        interrupted_folder(path)
    assert list(tmp_path.iterdir()) == []
    with new_file(path, folder=True) as new:
        (new / "inner").write_text("all")
        assert not path.exists()
        new.rename(path)
    assert list(tmp_path.rglob("*")) == [path, path / "inner"]


@pytest.mark.fault(84)
def test_a_full_disk_leaves_the_old_picture(tmp_path):
    """A limit on the size of files, which is an error of writing as a full disk is."""
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    process = drawing(path, limit=10_000)
    said = process.communicate(timeout=60)[1]
    assert said == f"refused: {path}: cannot be written: File too large\n"
    assert process.returncode == 1
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.fault(84)
def test_a_killed_process_leaves_no_half_picture(tmp_path):
    """Killed as soon as there is something half: the picture is the one before, and whole."""
    path = tmp_path / "a.png"
    with drawing(path) as process:
        assert process.stdout.readline() == "drawing\n"
        while not path.exists():
            time.sleep(0.01)
        while not (halves := list(tmp_path.glob(f"{UNFINISHED}*"))):
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert halves[0].suffix == ".png"
    with Image.open(path) as image:
        image.load()  # raises where it is cut off
        assert image.size[0] == 900
