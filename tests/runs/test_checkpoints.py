"""Checkpoints: whole or not there, whatever kills the process."""

import io
import json
import os
import re
import subprocess
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest

from bicoder.errors import ModelError
from bicoder.runs import checkpoints

SHAPES = {"model/0000": (40, 30), "optimizer/0000": ()}


def arrays(number):
    return {"model/0000": np.full((40, 30), number, "float32"), "optimizer/0000": np.array(number)}


def save(run, number):
    checkpoints.save(run, arrays(number), {"epoch": number})


def loaded(run):
    found, state = checkpoints.load(run, SHAPES)
    assert {name: a.tolist() for name, a in found.items()} == {
        name: a.tolist() for name, a in arrays(state["epoch"]).items()
    }
    return state["epoch"]


def test_the_last_two_are_kept(tmp_path):
    for number in range(1, 5):
        save(tmp_path, number)
        assert loaded(tmp_path) == number
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["000003", "000004"]


@pytest.mark.fault(145)
@pytest.mark.parametrize("digits", [20, 250, 255])
def test_a_name_of_many_digits_is_no_checkpoint(tmp_path, digits):
    """It would be the last one, whatever is in it, and the number after it may be too long for a name."""
    save(tmp_path, 1)
    (tmp_path / "checkpoints" / ("9" * digits)).mkdir()
    for number in range(2, 5):
        save(tmp_path, number)
    assert loaded(tmp_path) == 4
    assert checkpoints.numbers(tmp_path) == [3, 4]
    assert (tmp_path / "checkpoints" / ("9" * digits)).is_dir()


@pytest.mark.parametrize("name", [".unfinished-000002", ".part-000002"])
def test_what_a_killed_process_left_goes(tmp_path, name):
    """Under the name of today, and that of older versions."""
    save(tmp_path, 1)
    left = tmp_path / "checkpoints" / name
    left.mkdir()
    (left / "arrays.npz").write_bytes(b"half")
    assert loaded(tmp_path) == 1
    save(tmp_path, 2)
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["000001", "000002"]


def test_no_checkpoint_yet(tmp_path):
    assert checkpoints.load(tmp_path, SHAPES) is None


# Saves checkpoints 1, 2 and 3, in processes that kill themselves as they come to their n-th call that changes the disk,
# n = 0, 1, ... until one comes through. Each is a fork of this one, which prints their exit codes.
KILLED = """
import builtins, os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import test_checkpoints
allowed = 0
while process := os.fork():
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    print(code)
    allowed += 1
    if code != -signal.SIGKILL:
        sys.exit()
run = Path(sys.argv[1]) / str(allowed)
run.mkdir()
test_checkpoints.save(run, 1)
def counted(function):
    def call(*args, **kwargs):
        global allowed
        allowed -= 1
        if allowed < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)
    return call
for module, name in [(os, "fsync"), (os, "rename"), (os, "mkdir"), (os, "unlink"), (os, "rmdir"), (os, "open")]:
    setattr(module, name, counted(getattr(module, name)))
builtins.open = counted(open)
test_checkpoints.save(run, 2)
test_checkpoints.save(run, 3)
os._exit(0)
"""


@pytest.mark.fault(61)
def test_killed_at_every_write_and_rename(tmp_path):
    """SIGKILL before each call that writes, syncs, renames or removes: what is left loads, and saving goes on."""
    import pathlib

    script = KILLED.format(tests=str(pathlib.Path(__file__).parent))
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True)
    *killed, last = map(int, done.stdout.split())
    assert last == 0, done.stderr
    assert set(killed) == {-9}
    seen = set()
    for allowed in range(len(killed) + 1):
        run = tmp_path / str(allowed)
        seen.add(loaded(run))
        save(run, 9)
        assert loaded(run) == 9
        assert not list((run / "checkpoints").glob(".*"))
    assert seen == {1, 2, 3}
    assert len(killed) > 20  # of each saving: a folder, three files written and synced, two folders synced, a rename


def damage_nothing(folder):
    (folder / "arrays.npz").unlink()


def damage_half(folder):
    data = (folder / "arrays.npz").read_bytes()
    (folder / "arrays.npz").write_bytes(data[: len(data) // 2])


def damage_byte(folder):
    data = bytearray((folder / "arrays.npz").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "arrays.npz").write_bytes(data)


def damage_state(folder):
    (folder / "state.json").write_text('{"epoch": 77}')


def damage_manifest(folder):
    (folder / "manifest.json").write_text("{")


def damage_swap(folder):
    other = folder.parent / "000001"
    (folder / "arrays.npz").write_bytes((other / "arrays.npz").read_bytes())


def damage_fifo(folder):
    (folder / "manifest.json").unlink()
    os.mkfifo(folder / "manifest.json")


def damage_fifos(folder):
    for name in ("arrays.npz", "state.json"):
        (folder / name).unlink()
        os.mkfifo(folder / name)


def damage_bomb(folder):
    with open(folder / "arrays.npz", "r+b") as file:
        file.truncate(2**30)  # sparse


@pytest.mark.fault(62, 125)
@pytest.mark.parametrize(
    "damage",
    [
        damage_nothing,
        damage_half,
        damage_byte,
        damage_state,
        damage_manifest,
        damage_swap,
        damage_bomb,
        damage_fifo,
        damage_fifos,
    ],
)
def test_a_damaged_one_falls_back_to_the_one_before(tmp_path, damage, capsys):
    save(tmp_path, 1)
    save(tmp_path, 2)
    damage(tmp_path / "checkpoints" / "000002")
    assert loaded(tmp_path) == 1
    assert "checkpoint 2 is damaged" in capsys.readouterr().err
    save(tmp_path, 3)
    assert loaded(tmp_path) == 3


@pytest.mark.fault(62)
def test_none_is_whole(tmp_path):
    save(tmp_path, 1)
    damage_half(tmp_path / "checkpoints" / "000001")
    with pytest.raises(ModelError, match="no checkpoint is whole: checkpoint 1 is damaged"):
        checkpoints.load(tmp_path, SHAPES)


@pytest.mark.fault(62)
def test_compressed_arrays_are_refused(tmp_path):
    """A small file that grows without bound as it is read, with hashes that fit."""
    save(tmp_path, 1)
    folder = tmp_path / "checkpoints" / "000001"
    np.savez_compressed(folder / "arrays.npz", **{"model/0000": np.zeros(10**7)})
    data = (folder / "arrays.npz").read_bytes()
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["arrays.npz"] = {"bytes": len(data), "sha256": checkpoints.sha256(data)}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match=r"arrays\.npz is compressed"):
        checkpoints.load(tmp_path, SHAPES)


def remade(folder, name, data):
    """Write a file of a checkpoint, and make its manifest fit."""
    (folder / name).write_bytes(data)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest[name] = {"bytes": len(data), "sha256": checkpoints.sha256(data)}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def huge_header():
    buffer = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": (10**12,)}
    np.lib.format.write_array_header_1_0(buffer, header)
    with zipfile.ZipFile(archive := io.BytesIO(), "w") as file:
        file.writestr("model/0000.npy", buffer.getvalue())
    return archive.getvalue()


def overlapping():
    """A thousand names of the same megabyte."""
    with zipfile.ZipFile(archive := io.BytesIO(), "w") as file:
        file.writestr("a.npy", bytes(10**6))
        for number in range(1000):
            copy = zipfile.ZipInfo(f"{number:04d}.npy")
            first = file.filelist[0]
            copy.file_size, copy.compress_size, copy.CRC = first.file_size, first.compress_size, first.CRC
            copy.header_offset = first.header_offset
            file.filelist.append(copy)
    return archive.getvalue()


def of_objects():
    np.savez(buffer := io.BytesIO(), **{"model/0000": np.array([{}])})
    return buffer.getvalue()


@pytest.mark.fault(124)
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (huge_header, "is not the array that its header describes|would take over"),
        (overlapping, "holds the same bytes"),
        (of_objects, "is not the array"),
    ],
)
def test_arrays_that_claim_more_than_they_are(tmp_path, make, words, capsys):
    save(tmp_path, 1)
    save(tmp_path, 2)
    remade(tmp_path / "checkpoints" / "000002", "arrays.npz", make())
    tracemalloc.start()
    assert loaded(tmp_path) == 1
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()
    assert re.search(words, capsys.readouterr().err)


@pytest.mark.fault(64, 65)
@pytest.mark.parametrize(
    ("expected", "message"),
    [
        (SHAPES | {"model/0000": (40, 31)}, r"model/0000: expected \(40, 31\), received \(40, 30\)"),
        (SHAPES | {"model/0001": (2,)}, r"model/0001: expected \(2,\), received nothing"),
        ({"model/0000": (40, 30)}, r"optimizer/0000: expected nothing, received \(\)"),
    ],
)
def test_a_checkpoint_of_another_model(tmp_path, expected, message):
    save(tmp_path, 1)
    with pytest.raises(ModelError, match=message):
        checkpoints.load(tmp_path, expected)


FULL = """
import resource, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import test_checkpoints
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
test_checkpoints.save(Path(sys.argv[1]), 2)
"""


@pytest.mark.fault(63)
def test_a_disk_that_takes_no_more(tmp_path):
    """A limit on the size of files: writing fails in the middle, as on a full disk."""
    import pathlib

    save(tmp_path, 1)
    script = FULL.format(tests=str(pathlib.Path(__file__).parent))
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True)
    assert "ModelError" in done.stderr
    assert "checkpoint 2 could not be written" in done.stderr
    assert loaded(tmp_path) == 1
    assert not list((tmp_path / "checkpoints").glob(".*"))


@pytest.mark.fault(63)
def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "checkpoints").write_text("a file in the way binds the superuser too")
    with pytest.raises(ModelError, match="checkpoint 1 could not be written"):
        save(tmp_path, 1)


LOCK = """
import sys, time
from pathlib import Path
from bicoder.runs import checkpoints
with checkpoints.only_one(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


@pytest.mark.fault(72)
def test_two_trainings_in_one_folder(tmp_path):
    other = subprocess.Popen([sys.executable, "-c", LOCK, tmp_path], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(ModelError, match="another process trains"), checkpoints.only_one(tmp_path):
            pass
    finally:
        other.kill()
        other.wait()
    with checkpoints.only_one(tmp_path):  # the lock of a dead process is none
        pass
