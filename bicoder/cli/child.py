"""A command that another process has started, and that ends when that process does."""

import os
import signal
import threading
from collections.abc import Sequence

from bicoder.cli.main import bicoder


def main(argv: Sequence[str]) -> int:
    """Run a command on some cores until standard input ends, which the process that started it holds open.

    Args:
        argv: numbers of cores with commas between them, or "" for all; the command and its arguments.
    """
    cores, *words = argv
    if cores:
        os.sched_setaffinity(0, map(int, cores.split(",")))  # before TensorFlow counts them
    threading.Thread(target=end_with_parent, daemon=True).start()
    return bicoder(words)


def end_with_parent() -> None:
    """Wait until the process that started this one is gone, or closes its end of the pipe; then end as by SIGTERM."""
    while os.read(0, 1):  # past `sys.stdin`, whose lock Python wants at its end
        pass
    os.kill(os.getpid(), signal.SIGTERM)
