"""A file that was fetched is noticed to have changed; one that was put there by hand is used as it is."""

import hashlib
import json
import os
import shutil
import time

import numpy as np
import pytest
from conftest import contents, largest_file
from misbehaving_server import answer, cut, for_range, plays

from bicoder.cli import main as cli
from bicoder.data.formats.arrays import read_array
from bicoder.data.loader import DataLoader
from bicoder.errors import DataError, DownloadError
from bicoder.files.cache import cached_file
from bicoder.files.record import record_path
from bicoder.files.whole_file import UNFINISHED

CONTENT = b"\x93NUMPY" + os.urandom(300_000)
FLIPPED = CONTENT[:-100] + bytes([CONTENT[-100] ^ 1]) + CONTENT[-99:]
NAME = "mnist_bw.npy"
RECORD = f".{NAME}.json"
KEPT = f"{NAME}.changed"

pytestmark = pytest.mark.usefixtures("no_download_settings")


def sha256(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def server(tmp_path, serve):
    """Serves CONTENT, and answers requests for a range as a server does that finds them beyond the end."""
    return serve(tmp_path, plays(for_range(answer(416), answer(body=CONTENT))))


@pytest.fixture
def fetched(tmp_path, server):
    """Path of CONTENT, fetched a moment ago; the server has forgotten about it."""
    path = cached_file(NAME, server.url, tmp_path / "cache")
    server.requests.clear()
    return path


def get(server, path, **options):
    return cached_file(NAME, server.url, path.parent, **options)


@pytest.mark.fault(2)
def test_a_file_that_was_fetched_needs_no_network(fetched, server):
    server.shutdown()
    server.server_close()
    for download in (True, False):
        assert get(server, fetched, download=download).read_bytes() == CONTENT
    assert server.requests == []


def test_the_record_is_the_size_and_the_hash(fetched):
    record = json.loads(record_path(fetched).read_text())
    assert (record["size"], record["sha256"]) == (len(CONTENT), sha256(CONTENT))
    assert record_path(fetched).name == RECORD
    assert record["mtime_ns"] == fetched.stat().st_mtime_ns
    assert time.time() - fetched.stat().st_mtime > 1  # no later change can have the same time


def test_a_file_that_nobody_touched_is_not_read_again(fetched, server):
    """2.8 GB take seconds: only size and time are looked at. So this edit, which resets the time, goes unseen."""
    before = fetched.stat().st_mtime_ns
    fetched.write_bytes(FLIPPED)
    os.utime(fetched, ns=(before, before))
    assert get(server, fetched).read_bytes() == FLIPPED
    assert server.requests == []


def test_a_file_that_was_only_touched_is_read_once_and_kept(fetched, server):
    os.utime(fetched)
    inode = fetched.stat().st_ino
    for _ in range(2):
        assert get(server, fetched).stat().st_ino == inode
        assert json.loads(record_path(fetched).read_text())["mtime_ns"] == fetched.stat().st_mtime_ns
    assert server.requests == []
    assert contents(fetched.parent).keys() == {NAME, RECORD}


def test_a_copy_of_the_folder_is_as_good(fetched, server, tmp_path):
    shutil.copytree(fetched.parent, tmp_path / "copy", copy_function=shutil.copyfile)
    assert cached_file(NAME, server.url, tmp_path / "copy").read_bytes() == CONTENT
    assert server.requests == []


@pytest.mark.fault(14)
@pytest.mark.parametrize("touched", [False, True])
def test_a_complete_file_is_verified_and_never_appended_to(fetched, server, touched):
    """A server that says 416 to whoever asks for more of it is not asked at all."""
    if touched:
        os.utime(fetched)
    assert get(server, fetched).read_bytes() == CONTENT
    assert server.requests == []


@pytest.mark.fault(14)
def test_an_unfinished_file_that_is_complete_is_not_resumed(fetched, server):
    fetched.unlink()
    left = fetched.with_name(f"{UNFINISHED}elsewhere-1-ab-cd-{NAME}")
    left.write_bytes(CONTENT)
    assert get(server, fetched).read_bytes() == CONTENT
    assert "Range" not in server.headers[-1]
    assert left.read_bytes() == CONTENT


CHANGES = {"a flipped byte": FLIPPED, "shorter": CONTENT[:-1], "longer": CONTENT + b"x", "empty": b""}


@pytest.mark.fault(28)
@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_file_is_fetched_again_and_kept_aside(fetched, server, tool, capsys, change):
    """Immediately after it was fetched, too: the same millisecond is no excuse."""
    fetched.write_bytes(CHANGES[change])
    assert get(server, fetched).read_bytes() == CONTENT
    assert server.requests == ["/"]
    assert contents(fetched.parent).keys() == {NAME, RECORD, KEPT}
    assert fetched.with_name(KEPT).read_bytes() == CHANGES[change]
    said = capsys.readouterr().err
    assert f"{fetched}: has changed since it was fetched: expected " in said
    assert f"The changed file is kept as {fetched.with_name(KEPT)}" in said
    get(server, fetched)
    assert len(server.requests) == 1


@pytest.mark.fault(28)
def test_a_changed_file_is_an_error_where_downloading_is_switched_off(fetched, server):
    fetched.write_bytes(FLIPPED)
    with pytest.raises(DownloadError, match="has changed since it was fetched: expected SHA-256") as caught:
        get(server, fetched, download=False)
    assert f"{sha256(CONTENT)}, received {sha256(FLIPPED)}; downloading is switched off" in str(caught.value)
    assert caught.value.exit_code == 4
    assert (server.requests, fetched.read_bytes()) == ([], FLIPPED)


@pytest.mark.fault(28)
def test_the_program_never_uses_a_changed_file_silently(tmp_path, serve, capsys):
    """Whole .npy files, so that nothing but the hash can tell."""
    published = tmp_path / "published"
    published.mkdir()
    rng = np.random.default_rng(0)
    np.save(published / NAME, rng.integers(0, 256, (40, 28, 28), "uint8"))
    np.save(published / "mnist_bw_te.npy", rng.integers(0, 256, (10, 28, 28), "uint8"))
    np.save(published / "mnist_bw_y_te.npy", np.arange(10))
    server, cache = serve(published), tmp_path / "cache"
    true = DataLoader("mnist_bw", data_dir=cache, mirror=server.url).training_images
    np.save(cache / NAME, np.zeros((40, 28, 28), "uint8"))
    edited = (cache / NAME).read_bytes()
    options = ["--dset", "mnist_bw", "--data_dir", str(cache), "--run_dir", str(tmp_path / "run"), "--no_download"]
    assert cli.main(options) == 4
    assert f"error: {cache / NAME}: has changed since it was fetched" in capsys.readouterr().err
    assert (cache / NAME).read_bytes() == edited
    again = DataLoader("mnist_bw", data_dir=cache, mirror=server.url).training_images
    np.testing.assert_array_equal(again, true)
    assert server.requests.count(f"/{NAME}") == 2
    assert (cache / KEPT).read_bytes() == edited


@pytest.mark.fault(28)
def test_a_changed_file_stays_where_it_cannot_be_fetched_again(fetched, serve, tool, fails):
    fetched.write_bytes(FLIPPED)
    assert "has changed since" in fails(serve(fetched.parent, plays(answer(404))).url, fetched.parent)
    assert "has changed since" in fails(serve(fetched.parent, plays(cut(CONTENT, 1000))).url, fetched.parent)


@pytest.mark.fault(11, 12)
@pytest.mark.parametrize("new", [FLIPPED, CONTENT + b"more"], ids=["a flipped byte", "longer"])
@pytest.mark.parametrize("old", [b"edited", None], ids=["changed", "deleted"])
def test_other_content_than_the_first_time_is_refused(fetched, serve, tool, fails, new, old):
    """`fails` sees to it that the old file and its record stay as they were, and nothing else is there."""
    fetched.unlink()
    if old:
        fetched.write_bytes(old)
    server = serve(fetched.parent, plays(answer(body=new)))
    said = fails(server.url, fetched.parent)
    assert f"expected SHA-256 {sha256(CONTENT)}, as when {NAME} was first fetched, received {sha256(new)}" in said
    assert f"if its publisher has changed it, delete {fetched} and {record_path(fetched)}" in said
    assert len(server.requests) == 1
    # What the message says is what helps.
    fetched.unlink(missing_ok=True)
    record_path(fetched).unlink()
    assert get(server, fetched).read_bytes() == new


def test_a_file_that_was_put_there_by_hand_is_used_as_it_is(tmp_path, server):
    (tmp_path / NAME).write_bytes(b"mine")
    for download in (True, False):
        assert cached_file(NAME, server.url, tmp_path, server.url, download).read_bytes() == b"mine"
    (tmp_path / NAME).write_bytes(b"mine, changed")
    assert cached_file(NAME, server.url, tmp_path).read_bytes() == b"mine, changed"
    assert server.requests == []
    assert contents(tmp_path).keys() == {NAME}


@pytest.mark.fault(191)
@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"size": 1}', '{"size": "x", "sha256": "", "mtime_ns": 0}'])
@pytest.mark.parametrize("download", [True, False])
def test_a_record_that_cannot_be_read(fetched, server, text, download):
    """Before anything is fetched."""
    record_path(fetched).write_text(text)
    with pytest.raises(DataError, match="expected the size and SHA-256 of mnist_bw") as caught:
        get(server, fetched, download=download)
    assert str(record_path(fetched)) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert fetched.read_bytes() == CONTENT
    fetched.unlink()
    with pytest.raises(DataError):
        get(server, fetched, download=download)
    assert contents(fetched.parent).keys() == {RECORD}
    assert server.requests == []


@pytest.mark.fault(125)
@pytest.mark.parametrize("download", [True, False])
def test_a_fifo_in_the_place_of_a_file_or_of_its_record(fetched, server, download):
    """Neither is waited for."""
    record_path(fetched).unlink()
    os.mkfifo(record_path(fetched))
    os.utime(fetched)
    with pytest.raises(DataError, match="received something else; delete it to use"):
        get(server, fetched, download=download)
    fetched.unlink()
    os.mkfifo(fetched)
    record_path(fetched).unlink()
    with pytest.raises((DownloadError, DataError), match="received a FIFO" if download else "received nothing"):
        get(server, fetched, download=download)
    assert server.requests == []
    with pytest.raises(DataError, match="cannot be read: expected a file, received a FIFO"):
        read_array(fetched)


def test_a_record_that_cannot_be_written_is_done_without(fetched, server):
    """As in a cache that is read-only for this user: the file is hashed at each start."""
    os.utime(fetched)
    before = contents(fetched.parent)
    with largest_file(0):
        path = get(server, fetched, download=False)
    assert path.read_bytes() == CONTENT
    assert contents(fetched.parent) == before


@pytest.mark.fault(28)
def test_the_record_goes_with_the_target_of_a_link(fetched, server, tmp_path):
    """A large file that was moved to another disk is still the one that was fetched, until it is changed."""
    there = fetched.replace(tmp_path / "elsewhere")
    fetched.symlink_to(there)
    assert get(server, fetched).read_bytes() == CONTENT
    assert server.requests == []
    there.write_bytes(FLIPPED)
    assert get(server, fetched).read_bytes() == CONTENT
    assert there.read_bytes() == FLIPPED
