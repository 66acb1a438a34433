"""Files are there whole or not at all, whoever is killed while writing."""

import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT
from PIL import Image

from bicoder.errors import UsageError
from bicoder.files.whole_file import whole_file

# Draws one picture after another over the same file.
DRAW = """if True:
    import resource, sys
    import numpy as np
    from bicoder.pictures import plotting
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
    with whole_file(path) as part:
        part.write_text("ne")
        assert path.read_text() == "old"
        part.write_text("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def interrupted_writing(path):
    with whole_file(path) as part:
        part.write_text("half")
        raise KeyboardInterrupt


@pytest.mark.fault(84)
def test_an_error_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        interrupted_writing(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(UsageError, match="cannot be written: "), whole_file(path / "x.png") as part:
        part.write_text("below a file")


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
        while not (halves := list(tmp_path.glob("part-*"))):
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert halves[0].suffix == ".png"
    with Image.open(path) as image:
        image.load()  # raises where it is cut off
        assert image.size[0] == 900
