"""Files that are there whole or not at all: written under another name beside their own, and renamed.

The other name is `.unfinished-HOST-PID-PROCESS-RANDOM-NAME`: nobody can guess it and lay a link there, it ends as NAME
does, since savefig and save_weights go by that, and it tells whether its process still runs.
"""

import contextlib
import os
import platform
import re
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bicoder.errors import BicoderError, UsageError

UNFINISHED = ".unfinished-"
HOST = re.sub(r"[^\w.]", "_", platform.node())[:32]
PROCESS = secrets.token_hex(4)  # the number of a process is used again, in containers soon
OLD = 24 * 3600  # seconds; a live process writes at least every few minutes
LONGEST = 40  # characters of NAME, so that the other name is no longer than file systems take


@contextlib.contextmanager
def whole_file(path: str | Path, error: type[BicoderError] = UsageError) -> Iterator[Path]:
    """A new, empty file beside `path` to write to; at the end it is renamed to `path`, on an error it is removed.

    A process that is killed while it writes leaves what was there before.

    Args:
        path: of the file.
        error: the class of the error if it cannot be written.
    Raises:
        UsageError, or the class given: the file cannot be written.
    """
    path = Path(path)
    try:
        with new_file(path) as new:
            yield new
            new.replace(path)
    except OSError as reason:
        raise error(f"{path}: cannot be written: {reason.strerror or reason}") from reason


@contextlib.contextmanager
def new_file(path: Path, folder: bool = False) -> Iterator[Path]:
    """A new, empty file, or folder, beside `path`; it is removed at the end unless it has been renamed by then."""
    new = new_name(path)
    if folder:
        new.mkdir()
    else:  # never through a link, and never into a file that is there
        os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o666))
    try:
        yield new
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(new) if folder else new.unlink()


def new_name(path: Path) -> Path:
    """A name beside `path` that no other process and no other call has."""
    return path.with_name(f"{UNFINISHED}{HOST}-{os.getpid()}-{PROCESS}-{secrets.token_hex(8)}-{path.name[-LONGEST:]}")


def unfinished_files(*paths: Path) -> list[Path]:
    """The unfinished files of some files of one folder, of any process."""
    names = [path.name[-LONGEST:] for path in paths]
    found = (path for path in paths[0].parent.iterdir() if path.name.startswith(UNFINISHED))
    return [path for path in found if path.name.split("-", 5)[-1] in names]


def remove_stale(*paths: Path) -> None:
    """Remove what processes left that were killed, and say so; never what a live process is writing."""
    for unfinished in unfinished_files(*paths):
        with contextlib.suppress(OSError):
            if is_stale(unfinished):
                size = unfinished.stat().st_size
                unfinished.unlink()
                print(f"Removed {unfinished}, {size:,} bytes that an interrupted run left", file=sys.stderr)


def is_stale(unfinished: Path) -> bool:
    """Whether the process that was writing it is gone; one of another machine is when it has not written for a day."""
    if time.time() - unfinished.stat().st_mtime > OLD:
        return True
    host, number, process, *rest = unfinished.name.split("-", 5)[1:]
    if host != HOST or not number.isdecimal() or len(rest) != 2:
        return False
    return process != PROCESS if int(number) == os.getpid() else not is_running(int(number))


def is_running(process: int) -> bool:
    """Whether there is a process of this number on this machine, and more of it than its exit code."""
    if os.name == "nt":  # there, a file that somebody writes cannot be removed anyway
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):  # none, and a number that none can have
        return False
    except OSError:  # another user's
        return True
    try:
        stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
        state = stat.rpartition(")")[2].split()[0]  # the name in front of it may have brackets, too
    except (OSError, IndexError):  # no Linux, or gone just now
        return True
    return state not in ("Z", "X")
