"""Trains in processes that are killed at random moments, and goes on until the training is done.

    python killing.py FOLDER NUMBER_OF_KILLS SEED ARGUMENT...

TensorFlow is imported once, and every training is a fork of this process; the kill comes at a moment that is uniform
over the duration of a whole training. Each time the training came to its end, its files are compared with those of one
that was never stopped, and it is begun anew. Prints a line for each process: its exit code, and the checkpoints there.
"""

import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras  # noqa: F401 - imported before the forks, but not started
import matplotlib.pyplot  # noqa: F401
import tensorflow as tf  # noqa: F401

from bicoder.cli import main as cli


def start(arguments, log):
    """Fork a process that trains; its number."""
    number = os.fork()
    if number:
        return number
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    code = 99
    try:
        code = cli.main(arguments)
    except SystemExit as leaving:
        code = leaving.code
    finally:
        sys.stdout.flush()
        os._exit(code)


def wait(number, limit=None):
    """The exit code of a process, minus the number of a signal that killed it; None where it still runs at `limit`."""
    deadline = None if limit is None else time.monotonic() + limit
    while True:
        done, status = os.waitpid(number, 0 if deadline is None else os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            return None
        time.sleep(0.005)


def same(one, other):
    """Whether two runs have the same weights and metrics, to the last bit."""
    return all(
        (one / name).read_bytes() == (other / name).read_bytes() for name in ("model.safetensors", "metrics.csv")
    )


def main(folder, kills, seed, *arguments):
    folder, rng = Path(folder), random.Random(int(seed))
    whole, killed = folder / "whole", folder / "killed"
    began = time.monotonic()
    code = wait(start([*arguments, "--run_dir", str(whole)], folder / "log"))
    duration = time.monotonic() - began
    print(f"whole {code} {duration:.1f} s", flush=True)
    done, over = 0, False
    while done < int(kills) or not over:  # the last kill may have come before there was a folder
        again = (killed / "config.json").exists()
        process = start(["--resume", str(killed)] if again else [*arguments, "--run_dir", str(killed)], folder / "log")
        code = wait(process, rng.uniform(0.0, duration)) if done < int(kills) else wait(process)
        if code is None:
            os.kill(process, signal.SIGKILL)
            code = wait(process)
            done += code != 0  # it may have ended in this very moment
        there = sorted(path.name for path in (killed / "checkpoints").glob("*"))
        print(f"ended {code} {' '.join(there)}", flush=True)
        over = code == 0
        if over:
            print("same" if same(whole, killed) else "different", flush=True)
            shutil.rmtree(killed)
        elif code != -signal.SIGKILL:
            sys.exit(f"unexpected exit code {code}: {(folder / 'log').read_text()[-2000:]}")


if __name__ == "__main__":
    main(*sys.argv[1:])
