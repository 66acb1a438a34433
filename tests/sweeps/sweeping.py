"""Sweeps in processes that are stopped and killed in the middle, and one that is not.

    python sweeping.py FOLDER ARGUMENT...

TensorFlow is imported once; each sweep is a fork of this process, and each of its commands a fork of that, with the
pipe and the signals that `children.start` gives it. Prints what each sweep ended with, and the table of each.
"""

import os
import signal
import sys
import time
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras  # noqa: F401 - imported before the forks, but not started
import matplotlib.pyplot  # noqa: F401
import tensorflow as tf  # noqa: F401
from forks import forked

from bicoder.cli import child as childs
from bicoder.cli import main as cli
from bicoder.sweeps import children


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
