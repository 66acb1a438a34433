"""Searches that are killed in the middle of what they write, and one that is not.

    python searching.py RUN FOLDER ARGUMENT...

A trial is a copy of RUN with numbers that follow from its values, so that hundreds take seconds; the files, Optuna and
the kills are real. Each search is a fork: the n-th one kills itself while it writes the n-th line of search.jsonl,
half of which is there then, until one comes to its end. Prints the exit code of each search.
"""

import itertools
import json
import math
import os
import shutil
import signal
import sys
from pathlib import Path

import matplotlib.pyplot  # noqa: F401 - imported before the forks
import optuna  # noqa: F401
from forks import forked

from bicoder.cli import main as cli
from bicoder.runs.folder import CONFIG, EVALUATION, METRICS
from bicoder.sweeps import children, running


class Done:
    """A command that has ended well."""

    stdin = None

    def poll(self):
        return 0

    def wait(self, limit):
        return 0


def begin(template):
    """`children.start` for copies of a run, whose bound is best at 0.003 and 10 dimensions."""

    def start(words, log, cores=()):
        os.close(children.opened(log, words))
        if words[0] == "train":
            train(template, Path(words[-1]), dict(itertools.pairwise(words)))
        else:
            shutil.copy(template / EVALUATION, Path(words[1]) / EVALUATION)
        return children.Child(Done(), log)

    return start


def train(template, run, given):
    for path in template.iterdir():
        if path.is_file() and path.name not in (CONFIG, EVALUATION, METRICS, "log.txt"):
            shutil.copy(path, run)
    rate, dim = float(given["--learning_rate"]), int(given["--latent_dim"])
    config = json.loads((template / CONFIG).read_text())
    config["arguments"] |= {"learning_rate": rate, "latent_dim": dim, "weights": "best"}
    config["data"]["validation_images"] = 10
    (run / CONFIG).write_text(json.dumps(config))
    bound = -abs(math.log(rate / 0.003)) - abs(dim - 10) / 10
    rows = [bound - 1, bound, bound - 2]
    (run / METRICS).write_text("epoch,val_elbo\n" + "".join(f"{i},{row}\n" for i, row in enumerate(rows, 1)))


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


def main(template, folder, *arguments):
    template, folder = Path(template), Path(folder)
    children.start, running.PAUSE = begin(template), 0.0
    print("undisturbed", search(folder, "undisturbed", arguments, 0), flush=True)
    for number in range(1, 200):
        code = search(folder, "killed", arguments, number)
        print("killed", code, flush=True)
        if code != -signal.SIGKILL:
            break


if __name__ == "__main__":
    main(*sys.argv[1:])
