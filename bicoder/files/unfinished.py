"""Files in the making: each is one process's own, beside its final name, and none outlives its process for long."""

import contextlib
import os
import platform
import re
import sys
import time
import uuid
from pathlib import Path

HOST = re.sub(r"[^\w.]", "_", platform.node())
PROCESS = uuid.uuid4().hex[:8]  # the number of a process is used again, in containers soon
OLD = 24 * 3600  # seconds; a live process writes at least every few minutes


def new_part(path):
    """A name beside `path` that no other process and no other call has."""
    return path.with_name(f".{path.name}.{HOST}-{os.getpid()}-{PROCESS}-{uuid.uuid4().hex[:8]}.part")


def parts_of(path):
    """The unfinished files of `path`."""
    return [p for p in path.parent.iterdir() if p.name.startswith(f".{path.name}.") and p.name.endswith(".part")]


def remove_stale_parts(path):
    """Remove what processes left that were killed, and say so; never what a live process is writing."""
    for part in parts_of(path):
        with contextlib.suppress(OSError):
            if is_stale(part, path):
                size = part.stat().st_size
                part.unlink()
                print(f"Removed {part}, {size:,} bytes that an interrupted run left", file=sys.stderr)


def is_stale(part, path):
    """Whether the process that was writing it is gone; one of another machine is when it has not written for a day."""
    if time.time() - part.stat().st_mtime > OLD:
        return True
    host, *fields = part.name.removeprefix(f".{path.name}.").split("-")
    if host != HOST or len(fields) != 3 or not fields[0].isdecimal():
        return False
    number, process = int(fields[0]), fields[1]
    return process != PROCESS if number == os.getpid() else not is_running(number)


def is_running(process):
    """Whether there is a process of this number on this machine, and more of it than its exit code."""
    if os.name == "nt":  # there, a file that somebody writes cannot be removed anyway
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    try:
        stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
        state = stat.rpartition(")")[2].split()[0]  # the name in front of it may have brackets, too
    except (OSError, IndexError):  # no Linux, or gone just now
        return True
    return state not in ("Z", "X")
