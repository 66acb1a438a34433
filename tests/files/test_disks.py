"""Disks that are full or read-only: real ones, on which root cannot write either."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from misbehaving_server import answer, chunks, plays

from bicoder.files import transfer

CONTENT = b"\x93NUMPY" + os.urandom(300_000)
NAME = "mnist_bw.npy"

pytestmark = pytest.mark.usefixtures("no_download_settings")
UNSHARE, MOUNT = shutil.which("unshare"), shutil.which("mount")
SPACE = """
import os, sys
from pathlib import Path
from bicoder.cli import main as cli
cache = Path(sys.argv[2])
(cache / "mine").write_bytes(b"kept") if os.access(cache, os.W_OK) else None
code = cli.main(["--dset", "mnist_bw", "--mirror", sys.argv[1], "--data_dir", sys.argv[2], "--run_dir", "no-run"])
print(code, *sorted(path.name for path in cache.iterdir()))
"""


def on_a_disk(options, mirror, folder):
    """Run the program with its cache on a file system of its own, which ends with it; its output."""
    if not UNSHARE or not MOUNT:
        pytest.skip("needs unshare and mount")
    folder.mkdir()
    command = [
        UNSHARE, "-rm", "/bin/sh", "-c", f'{MOUNT} -t tmpfs -o {options} tmpfs "$1" || exit 99; shift; exec "$@"', "sh",
        folder, sys.executable, "-c", SPACE, mirror, folder,
    ]  # fmt: skip
    root = Path(transfer.__file__).parents[1]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, timeout=60)
    if done.returncode == 99 or "unshare failed" in done.stderr:
        pytest.skip("needs file systems that a user may mount")
    assert "Traceback" not in done.stderr
    return done.stdout.split(), done.stderr


@pytest.mark.fault(19)
@pytest.mark.parametrize(("act", "needed"), [(answer, "300,006"), (chunks, r"over [\d,]+")])
def test_a_full_disk(tmp_path, serve, tool, act, needed):
    server = serve(tmp_path, plays(answer(body=CONTENT) if act is answer else chunks(CONTENT)))
    found, said = on_a_disk("size=100k", server.url, tmp_path / "cache")
    assert found == ["4", "mine"]
    path = tmp_path / "cache" / NAME
    assert re.search(
        rf"error: {path}: cannot be written: No space left on device: {needed} bytes are needed; --data_dir or "
        r"\$BICODER_DATA moves it",
        said,
    )
    assert len(server.requests) == 1


@pytest.mark.fault(143)
def test_a_disk_without_inodes(tmp_path, serve):
    """The root of a file system has one, `mine` the other."""
    server = serve(tmp_path, plays(answer(body=CONTENT)))
    found, said = on_a_disk("nr_inodes=2", server.url, tmp_path / "cache")
    assert found == ["4", "mine"]
    assert f"error: {tmp_path / 'cache' / NAME}: cannot be written: No space left on device; --data_dir" in said
    assert server.requests == []


@pytest.mark.fault(19)
def test_a_disk_that_is_full_at_the_first_byte(serve, tmp_path, tool):
    """/dev/full needs no rights: every write of this file fails as on a full disk."""
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    for act, needed in ((answer(body=CONTENT), "300,006"), (chunks(CONTENT), "over")):
        with pytest.raises(OSError, match=f"No space left on device: {needed}.* bytes are needed"):
            transfer.receive(serve(tmp_path, plays(act)).url, Path("/dev/full"))


@pytest.mark.fault(20)
def test_a_disk_that_is_read_only(tmp_path, serve):
    server = serve(tmp_path, plays(answer(body=CONTENT)))
    found, said = on_a_disk("ro", server.url, tmp_path / "cache")
    assert found == ["4"]
    path = tmp_path / "cache" / NAME
    assert f"error: {path}: cannot be written: Read-only file system; --data_dir or $BICODER_DATA moves it" in said
    assert server.requests == []
