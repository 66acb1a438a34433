"""Several processes that fetch the same file, and such that are ended in the middle of it."""

import contextlib
import os
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import pytest
from conftest import ROOT, contents
from misbehaving_server import answer, drip, halves, plays, stall

from bicoder.files import lock
from bicoder.files.cache import cached_file
from bicoder.files.whole_file import HOST, PROCESS, UNFINISHED, new_name, remove_stale

CONTENT = b"\x93NUMPY" + os.urandom(300_000)
NAME = "mnist_bw.npy"
RECORD = f".{NAME}.json"
LOCK = f".{NAME}.lock"
FETCH = "import sys; from bicoder.files.cache import cached_file; print(cached_file(*sys.argv[1:]))"

pytestmark = pytest.mark.usefixtures("no_download_settings")


def start(url, folder, code=FETCH):
    """A process that fetches the file."""
    command = [sys.executable, "-c", code, NAME, url, str(folder)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(condition, seconds=30):
    """Wait until a condition holds; the test fails where it never does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def unfinished(folder):
    return [path for path in folder.glob(f"{UNFINISHED}*{NAME}") if path.stat().st_size] if folder.is_dir() else []


def is_whole(folder):
    """The file is there, with its record, and nothing else is."""
    return (folder / NAME).read_bytes() == CONTENT and contents(folder).keys() == {NAME, RECORD}


# ---- Several at once


@pytest.mark.fault(23)
def test_threads_that_fetch_the_same_file_make_one_request(tmp_path, serve, tool):
    server, found = serve(tmp_path, plays(drip(CONTENT, 0.5))), []
    threads = [
        threading.Thread(target=lambda: found.append(cached_file(NAME, server.url, tmp_path / "cache").read_bytes()))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [CONTENT] * 4
    assert len(server.requests) == 1
    assert is_whole(tmp_path / "cache")


@pytest.mark.fault(23)
def test_processes_that_fetch_the_same_file_make_one_request(tmp_path, serve, tool):
    event = threading.Event()
    server, cache = serve(tmp_path, plays(halves(CONTENT, event))), tmp_path / "cache"
    processes = [start(server.url, cache)]
    wait_for(lambda: unfinished(cache))
    processes += [start(server.url, cache) for _ in range(2)]
    for process in processes[1:]:
        assert process.stderr.readline() == f"Waiting for another process that fetches {NAME}\n"
    event.set()
    said = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert [out.strip() for out, _ in said] == [str(cache / NAME)] * 3
    assert len(server.requests) == 1
    assert is_whole(cache)


# Without effect, as on some network file systems; and where there are none at all.
NO_LOCKS = {
    "without effect": "fcntl.flock = lambda *args: None",
    "ENOLCK": "def flock(*args): raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))\nfcntl.flock = flock",
}


@pytest.mark.fault(25)
@pytest.mark.parametrize("way", NO_LOCKS)
def test_without_locks_every_process_gets_a_whole_file(tmp_path, serve, tool, way):
    event = threading.Event()
    server = serve(tmp_path, plays(halves(CONTENT, event)))
    # Old versions of filelock take ENOLCK for a lock of somebody else, and wait.
    code = f"import errno, fcntl, os\n{NO_LOCKS[way]}\nfrom bicoder.files import lock\nlock.LOCK_TIMEOUT = 1\n{FETCH}"
    processes = [start(server.url, tmp_path / "cache", code) for _ in range(3)]
    wait_for(lambda: len(server.requests) == 3)  # all at once
    event.set()
    said = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], said
    assert (tmp_path / "cache" / NAME).read_bytes() == CONTENT
    assert contents(tmp_path / "cache").keys() - {LOCK} == {NAME, RECORD}


# ---- On a terminal


def test_a_terminal_shows_a_bar(tmp_path, serve, tool):
    pty, fcntl = pytest.importorskip("pty"), pytest.importorskip("fcntl")
    reader, writer = pty.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    server = serve(tmp_path, plays(answer(302, Location="/there"), drip(CONTENT, 0.5)))
    command = [sys.executable, "-c", FETCH, NAME, server.url, tmp_path / "cache"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=writer, text=True)
    os.close(writer)
    said = b""
    with contextlib.suppress(OSError):  # Linux ends a terminal by an error
        while block := os.read(reader, 65536):
            said += block
    os.close(reader)
    assert process.communicate(timeout=30)[0].strip() == str(tmp_path / "cache" / NAME)
    assert process.returncode == 0
    assert b"100%" in said
    assert said.startswith(b"Fetching")
    assert is_whole(tmp_path / "cache")


# ---- Ended in the middle


@pytest.mark.fault(21, 24)
def test_after_a_kill_the_next_run_cleans_up_and_succeeds(tmp_path, serve, tool, capsys):
    server, cache = serve(tmp_path, plays(drip(CONTENT, 6), answer(body=CONTENT))), tmp_path / "cache"
    process = start(server.url, cache)
    wait_for(lambda: unfinished(cache))
    process.kill()
    process.communicate(timeout=30)
    assert server.hung_up.wait(10)  # wget is gone too
    [left] = unfinished(cache)
    assert contents(cache).keys() == {left.name, LOCK}
    cached_file(NAME, server.url, cache)
    assert is_whole(cache)
    said = capsys.readouterr().err
    assert f"Taking over {cache / LOCK}: the process that made it is gone" in said
    assert f"Removed {left}" in said


@pytest.mark.fault(22, 129)
@pytest.mark.parametrize(
    ("number", "group", "at", "code"),
    [
        (signal.SIGINT, True, 100_000, 130),  # Ctrl-C reaches wget, too
        (signal.SIGINT, True, None, 130),  # before the headers
        (signal.SIGINT, False, 100_000, 130),
        (signal.SIGTERM, False, 100_000, 143),
        (signal.SIGHUP, False, 100_000, 129),
    ],
    ids=["Ctrl-C", "Ctrl-C at once", "SIGINT", "SIGTERM", "SIGHUP"],
)
def test_a_signal_ends_the_program_and_leaves_nothing(tmp_path, serve, tool, number, group, at, code):
    server, cache = serve(tmp_path, plays(stall(CONTENT, at))), tmp_path / "cache"
    options = ["--dset", "mnist_bw", "--mirror", server.url, "--data_dir", cache, "--run_dir", tmp_path / "run"]
    process = subprocess.Popen(
        [sys.executable, ROOT / "train_vae.py", *options],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for(lambda: server.requests and (at is None or unfinished(cache)))
    if group:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == code
    assert "Traceback" not in said
    assert ("interrupted" in said) == (number == signal.SIGINT)
    assert server.hung_up.wait(10)  # wget is gone too
    assert contents(cache) == {}
    assert not (tmp_path / "run").exists()


@pytest.mark.fault(24)
def test_a_process_that_ended_in_the_middle_hands_over_at_once(tmp_path, serve, capsys):
    """The one that waits sees that the other is gone; it does not wait for the time-out."""
    server, cache = serve(tmp_path, plays(drip(CONTENT, 6), drip(CONTENT, 1))), tmp_path / "cache"
    process = start(server.url, cache)
    wait_for(lambda: unfinished(cache))
    killer = threading.Timer(0.5, lambda: (process.kill(), process.communicate()))
    killer.start()
    cached_file(NAME, server.url, cache)
    killer.join()
    assert "Waiting for another process that fetches mnist_bw.npy" in capsys.readouterr().err
    assert is_whole(cache)


HOLD = """
import sys, time, filelock
lock = filelock.FileLock(sys.argv[1])
lock.acquire()
print("held", flush=True)
time.sleep(600)
"""


@pytest.mark.fault(24)
def test_a_lock_under_which_nothing_is_written_is_taken_over(tmp_path, serve, tool, capsys, monkeypatch):
    """As that of a process which hangs, or of a machine that is gone, on a file system that does not know it."""
    monkeypatch.setattr(lock, "LOCK_TIMEOUT", 0.5)
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path / LOCK], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "held\n"
            begin = time.monotonic()
            cached_file(NAME, serve(tmp_path, plays(answer(body=CONTENT))).url, tmp_path)
            assert time.monotonic() - begin >= 0.5
        finally:
            process.kill()
    assert f"Taking over {tmp_path / LOCK}: nothing was written for 0.5 s" in capsys.readouterr().err
    assert is_whole(tmp_path)


@pytest.mark.fault(24)
def test_a_process_that_is_slow_is_waited_for(tmp_path, serve, capsys, monkeypatch):
    """It is alive as long as its file grows, however long that takes."""
    monkeypatch.setattr(lock, "LOCK_TIMEOUT", 1)
    server, cache = serve(tmp_path, plays(drip(CONTENT, 4))), tmp_path / "cache"
    process = start(server.url, cache)
    wait_for(lambda: unfinished(cache))
    cached_file(NAME, server.url, cache)
    assert process.wait(30) == 0
    process.communicate()
    said = capsys.readouterr().err
    assert "Waiting for another process" in said
    assert "Taking over" not in said
    assert len(server.requests) == 1
    assert is_whole(cache)


# ---- What was left


@pytest.mark.fault(21)
def test_only_what_nobody_is_writing_is_removed(tmp_path, capsys):
    path = tmp_path / NAME
    ended, zombie = (subprocess.Popen([sys.executable, "-c", ""]) for _ in range(2))
    ended.wait()
    if Path("/proc").exists():
        os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    else:  # elsewhere, they count as alive
        zombie.wait()
    living = os.getppid()
    other = "0123abcd"
    kept = [
        new_name(path).name,  # of another thread
        f"{UNFINISHED}{HOST}-{living}-{other}-1-{NAME}",
        f"{UNFINISHED}elsewhere-{ended.pid}-{other}-2-{NAME}",  # nobody here can tell
        f"{UNFINISHED}of-another-kind-{NAME}",
        f"{UNFINISHED}{HOST}-{ended.pid}-{other}-3-other_{NAME}",
        f"{UNFINISHED}{HOST}-x-{other}-9-{NAME}",
    ]
    removed = [
        f"{UNFINISHED}{HOST}-{ended.pid}-{other}-4-{NAME}",
        f"{UNFINISHED}{HOST}-{zombie.pid}-{other}-8-{NAME}",
        f"{UNFINISHED}{HOST}-{os.getpid()}-{other}-5-{NAME}",  # of an earlier process with the number of this one
        f"{UNFINISHED}{HOST}-{10**30}-{other}-0-{NAME}",  # a number that no process has
        f"{UNFINISHED}elsewhere-{living}-{other}-6-{NAME}",  # a day old
        f"{UNFINISHED}{HOST}-{living}-{PROCESS}-7-{NAME}",  # a day old
    ]
    for name in kept + removed:
        (tmp_path / name).write_bytes(b"half")
    day = time.time() - 25 * 3600
    for name in removed[-2:]:
        os.utime(tmp_path / name, (day, day))
    remove_stale(path)
    assert contents(tmp_path).keys() == set(kept)
    assert sorted(capsys.readouterr().err.splitlines()) == sorted(
        f"Removed {tmp_path / name}, 4 bytes that an interrupted run left" for name in removed
    )
    zombie.wait()


@pytest.mark.fault(142)
def test_a_clock_that_went_back_changes_nothing(tmp_path, serve, capsys):
    """What is there is of the future: what a dead process left is removed, what is fetched is not fetched again."""
    server, path = serve(tmp_path, plays(answer(body=CONTENT))), tmp_path / "cache" / NAME
    path.parent.mkdir()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = path.with_name(f"{UNFINISHED}{HOST}-{ended.pid}-0123abcd-1-{NAME}")
    living = path.with_name(f"{UNFINISHED}{HOST}-{os.getppid()}-0123abcd-1-{NAME}")
    future = time.time() + 400 * 24 * 3600
    for unfinished in (left, living):
        unfinished.write_bytes(b"half")
        os.utime(unfinished, (future, future))
    for _ in range(2):
        cached_file(NAME, server.url, path.parent)
        os.utime(path.with_name(RECORD), (future, future))
    assert len(server.requests) == 1
    assert contents(path.parent).keys() == {NAME, RECORD, living.name}


@pytest.mark.fault(129)
def test_a_hangup_that_nohup_ignores_stays_ignored():
    before = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGTERM)}
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with lock.exit_on_signals():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
