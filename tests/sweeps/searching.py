"""Searches that are killed in the middle of what they write, and one that is not.

    python searching.py FOLDER ARGUMENT...

A run is one of `copies`, so that many take a second; the files, Optuna and the kills are real. Each search is a fork:
the n-th one kills itself while it writes the n-th line of search.jsonl, half of which is there then, until one comes to
its end. Prints the exit code of each search.
"""

import json
import os
import signal
import sys
from pathlib import Path

import matplotlib.pyplot  # noqa: F401 - imported before the forks
import optuna  # noqa: F401
from copies import begin
from forks import forked

from bicoder.cli import main as cli
from bicoder.sweeps import children, running


def dying(number):
    """Kill this process in the middle of the line of that number that it writes from now on."""
    from optuna.storages.journal import JournalFileBackend

    append, left = JournalFileBackend.append_logs, [number]

    def append_or_die(self, logs):
        left[0] -= 1
        if not left[0]:
            with open(self._file_path, "a") as file:
                file.write(json.dumps(logs[0])[:40])
            os.kill(os.getpid(), signal.SIGKILL)
        append(self, logs)

    JournalFileBackend.append_logs = append_or_die


def search(folder, name, arguments, number):
    """The exit code of a search that is killed at the line of a number; 0 for none."""

    def run():
        if number:
            dying(number)
        return cli.bicoder(["sweep", "--output", str(folder / name), *arguments])

    output = os.open(folder / f"{name}.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    return forked(run, output).wait()


def main(folder, *arguments):
    folder = Path(folder)
    children.start, running.PAUSE = begin, 0.0
    print("undisturbed", search(folder, "undisturbed", arguments, 0), flush=True)
    for number in range(1, 200):
        code = search(folder, "killed", arguments, number)
        print("killed", code, flush=True)
        if code != -signal.SIGKILL:
            break


if __name__ == "__main__":
    main(*sys.argv[1:])
