"""A training on one of several hosts, in a process that `runs.hosts.parent` has started, and that ends with it."""

import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import NoReturn

from bicoder.cli.command import commands
from bicoder.cli.main import run
from bicoder.errors import BicoderError, HostError, first_line
from bicoder.runs.hosts import together
from bicoder.runs.options.table import Options


def main(argv: Sequence[str]) -> NoReturn:
    """Train together with others until standard input ends, which the process that started this one holds open.

    Args:
        argv: the number of an open file, into which native code writes; the options of `bicoder train`.
    """
    log, *words = argv
    into_log(int(log))
    threading.Thread(target=end_with_parent, daemon=True).start()
    code = 1
    try:
        code = run(commands("train")["train"]._replace(run=hosted), words, "bicoder train")
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    finally:
        sys.stdout.flush()
        os._exit(code)  # JAX would wait for hosts that are gone


def into_log(log: int) -> None:
    """Let what native code says go to a log, and what Python prints where it went before."""
    sys.stdout = open(os.dup(1), "w", buffering=1)  # noqa: SIM115
    sys.stderr = open(os.dup(2), "w", buffering=1)  # noqa: SIM115
    for descriptor in (1, 2):
        os.dup2(log, descriptor)


def hosted(options: Options) -> None:
    """Train, once all hosts are there; the first one prints."""
    from bicoder.runs.train import train

    if options.device == "cpu":
        os.environ["JAX_PLATFORMS"] = "cpu"  # before JAX looks for devices, which it does as it joins
    together.join(options)
    os.write(2, f"{together.JOINED}\n".encode())
    if not together.writes():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    try:
        train(options)
    except BicoderError:
        raise
    except Exception as error:
        if not together.is_lost(error):
            raise
        os.write(2, f"{error}\n".encode())
        raise HostError(f"hosts: another host is gone: {first_line(error)}{together.again(options)}") from error


def end_with_parent() -> None:
    """Wait until the process that started this one is gone; then end, the first of the hosts with a checkpoint."""
    while os.read(0, 1):
        pass
    if together.writes():
        os.kill(os.getpid(), signal.SIGTERM)
    else:
        os._exit(128 + signal.SIGTERM)
