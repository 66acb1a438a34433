"""Commands in processes of their own, which end with the one that started them, however that ends."""

import contextlib
import os
import shlex
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from bicoder.errors import ModelError
from bicoder.files.regular_file import open_regular, regular

# With the path of this process, so that both import the same; a shell adds the working directory to that of `-m`.
START = "import sys; sys.path[:] = {path!r}; from bicoder.cli.child import main; sys.exit(main(sys.argv[1:]))"
GRACE = 120.0  # seconds in which a training that is told to end writes its checkpoint
LINE = 4096  # bytes of the end of a log in which its last line is looked for


class Child(NamedTuple):
    """A command that runs, and where what it prints goes."""

    process: subprocess.Popen
    log: Path


def cores_of(slot: int, jobs: int) -> list[int]:
    """The cores of one of several commands that run at the same time; [] for all, and where that cannot be chosen."""
    if jobs == 1 or not hasattr(os, "sched_getaffinity"):
        return []
    cores = sorted(os.sched_getaffinity(0))
    return cores[slot::jobs] or [cores[slot % len(cores)]]


def start(words: Sequence[str], log: Path, cores: Iterable[int] = ()) -> Child:
    """Run `bicoder` with these words in a process of its own; what it prints is added to a log.

    Its standard input is held open by this process: when that ends, even if it is killed, the command ends too.

    Args:
        words: command and arguments.
        log: a file in a folder that is there.
        cores: that it may use; none for all.
    Raises:
        ModelError: the log cannot be written, or is a link.
    """
    command = [sys.executable, "-c", START.format(path=sys.path), ",".join(map(str, cores)), *words]
    env = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", **os.environ, "PYTHONUNBUFFERED": "1"}
    try:
        descriptor = opened(log, words)
    except OSError as error:
        raise ModelError(f"{log}: cannot be written: {error.strerror or error}") from error
    try:
        process = subprocess.Popen(  # noqa: S603 - the words of the command line that this process was given
            command, stdin=subprocess.PIPE, stdout=descriptor, stderr=descriptor, env=env, start_new_session=True
        )
    finally:
        os.close(descriptor)
    return Child(process, log)


def opened(log: Path, words: Sequence[str]) -> int:
    """A descriptor of a log, never through a link, after what it holds already and a line with the command."""
    flags = os.O_WRONLY | os.O_APPEND
    if os.path.lexists(log):
        descriptor = regular(str(log), flags, follow=False)
    else:
        descriptor = os.open(log, flags | os.O_CREAT | os.O_EXCL, 0o666)
    os.write(descriptor, os.fsencode(f"$ {shlex.join(['bicoder', *words])}\n"))
    return descriptor


def end(children: Sequence[Child]) -> None:
    """End commands as SIGTERM does, and wait for the checkpoints that trainings write."""
    for child in children:
        if child.process.stdin:
            with contextlib.suppress(OSError):
                child.process.stdin.close()
    for child in children:
        try:
            child.process.wait(GRACE)
        except subprocess.TimeoutExpired:
            child.process.kill()
            child.process.wait()


def last_line(log: Path) -> str:
    """The last line of a log that says something, or ""."""
    try:
        with open_regular(log, follow=False) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - LINE))
            lines = file.read().decode("utf-8", "replace").replace("\r", "\n").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
