"""Sweeps in processes that are stopped and killed in the middle, and one that is not.

    python sweeping.py FOLDER ARGUMENT...

TensorFlow is imported once; each sweep is a fork of this process, and each of its commands a fork of that, with the
pipe and the signals that `children.start` gives it. Prints what each sweep ended with, and the table of each.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras  # noqa: F401 - imported before the forks, but not started
import matplotlib.pyplot  # noqa: F401
import tensorflow as tf  # noqa: F401

from bicoder.cli import child as childs
from bicoder.cli import main as cli
from bicoder.sweeps import children


class Forked:
    """What `children` needs of a process, for a fork."""

    def __init__(self, number, stdin):
        self.number, self.stdin, self.code = number, stdin, None

    def poll(self):
        if self.code is None:
            done, status = os.waitpid(self.number, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if done else None
        return self.code

    def wait(self, limit=3600.0):
        deadline = time.monotonic() + limit
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("a fork", limit)
            time.sleep(0.01)
        return self.code

    def kill(self):
        os.kill(self.number, signal.SIGKILL)


def forked(function, output, stdin=None, inherited=None):
    """A fork that runs a function with what it prints in a file, and ends with what that returns."""
    number = os.fork()
    if number:
        return Forked(number, inherited)
    code = 99
    try:
        if stdin is not None:
            os.setsid()
            inherited.close()
            os.dup2(stdin, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.default_int_handler)
        code = function()
    except SystemExit as leaving:
        code = leaving.code
    finally:
        sys.stdout.flush()
        os._exit(code)


def start(words, log, cores=()):
    """`children.start` without the import of TensorFlow."""
    output = children.opened(log, words)
    stdin, ours = os.pipe()
    process = forked(lambda: childs.main(["", *words]), output, stdin, os.fdopen(ours, "wb"))
    os.close(stdin)
    os.close(output)
    return children.Child(process, log)


def sweep(folder, name, arguments):
    """A sweep into a folder, with what it prints beside it."""
    output = os.open(folder / f"{name}.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    words = ["sweep", "--output", str(folder / name), *arguments]
    return forked(lambda: cli.bicoder(words), output)


def until(found, process):
    """Wait for something while a process runs."""
    while not found():
        assert process.poll() is None, "the sweep ended before it could be stopped"
        time.sleep(0.01)


def lines(path):
    return len(path.read_text().splitlines()) if path.exists() else 0


def main(folder, *arguments):
    folder = Path(folder)
    children.start = start
    print("undisturbed", sweep(folder, "undisturbed", arguments).wait(), flush=True)
    first, second = sorted(path.name for path in (folder / "undisturbed").iterdir() if path.is_dir())
    for name, number in ((first, signal.SIGTERM), (second, signal.SIGKILL)):
        process = sweep(folder, "killed", arguments)
        until(lambda name=name: lines(folder / "killed" / name / "metrics.csv") > 5, process)
        os.kill(process.number, number)
        print(number.name, process.wait(), flush=True)
    print("again", sweep(folder, "killed", arguments).wait(), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
