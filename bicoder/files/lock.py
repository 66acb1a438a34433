"""A lock, so that one of several processes makes a file and the others wait for it."""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import filelock

from bicoder.files.whole_file import unfinished_files

LOCK_TIMEOUT = 300  # seconds in which nothing is written, after which a lock does not count


@contextlib.contextmanager
def one_at_a_time(path: Path, does: str = "fetches") -> Iterator[None]:
    """Hold the lock of the file that is made at `path`; `does` is what is done, for messages.

    Nothing but traffic depends on it: each process writes a file of its own and renames it when it is whole. So if a
    file system has no locks, they are done without. SIGTERM or a hang-up meanwhile leaves nothing behind.
    """
    lock = filelock.FileLock(path.with_name(f".{path.name}.lock"))
    with exit_on_signals():
        with contextlib.suppress(OSError, NotImplementedError):  # a read-only folder shows with the first byte
            acquire(lock, path, does)
        try:
            yield
        finally:
            if lock.is_locked:
                with contextlib.suppress(OSError):
                    Path(lock.lock_file).unlink()
                lock.release()


def acquire(lock: filelock.BaseFileLock, path: Path, does: str) -> None:
    """Take a lock; a lock whose process is gone, or writes nothing any more, is taken over."""
    file, sizes = Path(lock.lock_file), sizes_so_far(path)
    left = file.exists()
    try:
        lock.acquire(timeout=0)
        if left:
            print(f"Taking over {file}: the process that made it is gone", file=sys.stderr)
        return
    except filelock.Timeout:
        print(f"Waiting for another process that {does} {path.name}", file=sys.stderr)
    while True:
        try:
            lock.acquire(timeout=LOCK_TIMEOUT)
            return
        except filelock.Timeout:
            before, sizes = sizes, sizes_so_far(path)
            if sizes == before:
                print(f"Taking over {file}: nothing was written for {LOCK_TIMEOUT:g} s", file=sys.stderr)
                file.unlink(missing_ok=True)
                lock.acquire(timeout=0)
                return


def sizes_so_far(path: Path) -> dict[str, int]:
    """How far other processes are with a file."""
    sizes = {}
    for unfinished in unfinished_files(path):
        with contextlib.suppress(OSError):  # finished in the meantime
            sizes[unfinished.name] = unfinished.stat().st_size
    return sizes


@contextlib.contextmanager
def exit_on_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the program as they would anyway, but by an exception, so that nothing is left behind.

    What somebody handles or ignores, as nohup ignores SIGHUP, stays so.
    """
    names = ("SIGTERM", "SIGHUP") if threading.current_thread() is threading.main_thread() else ()
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]  # Windows has no SIGHUP
    numbers = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, lambda number, frame: sys.exit(128 + number))
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)
