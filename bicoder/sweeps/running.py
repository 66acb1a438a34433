"""The runs of a sweep, one after the other or some at the same time; what is done is known by their folders."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import filelock

from bicoder.errors import ModelError
from bicoder.files.lock import exit_on_signals
from bicoder.runs import checkpoints, weights
from bicoder.runs.folder import CONFIG, EVALUATION
from bicoder.sweeps import children
from bicoder.waiting import NEXT, duration, say, told

LOG = "log.txt"
PAUSE = 0.1  # seconds between two looks at what runs
ORPHAN = 600.0  # seconds that a training whose sweep was killed may take to end


class Task(NamedTuple):
    """A run that is to be.

    Args:
        folder: of the run.
        train: options of `train`.
        evaluate: options of `evaluate`.
    """

    folder: Path
    train: list[str]
    evaluate: list[str]

    def commands(self) -> Iterator[list[str]]:
        """What is left to do, one command at a time."""
        make(self.folder)
        begun = os.path.lexists(self.folder / CONFIG)
        drawn = "--no_pictures" in self.train and (self.folder / weights.NAME).is_file()
        if not (begun and drawn):
            wait_for_orphan(self.folder)
            yield ["train", *self.train, "--resume" if begun else "--run_dir", str(self.folder)]
        yield ["evaluate", str(self.folder), *self.evaluate, "--overwrite"]  # of one that was killed, there may be some


class Failure(NamedTuple):
    """A run that failed: its folder, its exit code, and the last line that it said."""

    folder: Path
    code: int
    said: str

    def __str__(self) -> str:
        said = self.said.removesuffix(".") or "it said nothing"
        return f"{self.folder.name} failed with exit code {self.code}: {said}; its log is {self.folder / LOG}"


class Running(NamedTuple):
    """A run that is under way: what is to be done, in which place among all, since when, and what is left of it."""

    task: Task
    number: int
    began: float
    commands: Iterator[list[str]]


class Sweep:
    """Runs one after the other or some at the same time, and what is said of them.

    Args:
        tasks: number of each run that is not done -> the run; the next one is asked for when there is a place for it.
        total: how many runs there are in all.
        jobs: how many there are at the same time.
        after: called with a run when it has ended, and whether it is done.
    """

    def __init__(
        self,
        tasks: Iterator[tuple[int, Task]],
        total: int,
        jobs: int,
        after: Callable[[Task, bool], None] = lambda task, done: None,
    ) -> None:
        self.tasks, self.total, self.jobs, self.after = tasks, total, jobs, after
        self.latest, self.over = 0, False
        self.running: dict[int, tuple[Running, children.Child]] = {}
        self.failures: list[Failure] = []
        self.took: list[float] = []  # seconds, of each run that has ended

    def run(self) -> list[Failure]:
        """Run them all; one that fails is said, and the others go on. SIGTERM and Ctrl-C end what runs, resumably."""
        spoken = time.monotonic()
        with exit_on_signals():
            try:
                while self.running or not self.over:
                    self.look()
                    if time.monotonic() > spoken + NEXT:
                        spoken = time.monotonic()
                        self.speak()
                    time.sleep(PAUSE if self.running else 0.0)
            finally:
                if self.running:
                    say("ending what runs; the same command goes on from here")
                children.end([child for _, child in self.running.values()])
        return self.failures

    def look(self) -> None:
        """Go on where a command has ended, and begin runs until there are as many as there may be."""
        for slot in range(self.jobs):
            if slot in self.running:
                one, child = self.running[slot]
                code = child.process.poll()
                if code is not None:
                    del self.running[slot]
                    self.ended(one, code, children.last_line(child.log)) if code else self.go_on(slot, one)
            elif not self.over and (found := next(self.tasks, None)):
                self.latest, task = found
                say(f"{self.latest} of {self.total}: {task.folder.name}; its log is {task.folder / LOG}")
                self.go_on(slot, Running(task, self.latest, time.monotonic(), task.commands()))
            else:
                self.over = True

    def go_on(self, slot: int, one: Running) -> None:
        """Start the next command of a run; if there is none, it is done."""
        try:
            words = next(one.commands, None)
            if words is not None:
                log, cores = one.task.folder / LOG, children.cores_of(slot, self.jobs)
                self.running[slot] = one, children.start(words, log, cores)
        except ModelError as error:
            self.ended(one, error.exit_code, str(error))
        else:
            if words is None:
                self.ended(one)

    def ended(self, one: Running, code: int = 0, said: str = "") -> None:
        """Say that a run is done, or why not."""
        took = time.monotonic() - one.began
        self.took.append(took)
        left = (self.total - self.latest + len(self.running)) * sum(self.took) / len(self.took) / self.jobs
        about = f", about {duration(left)} left" if left else ""
        done = f"{one.task.folder.name} is done"
        if code:
            self.failures.append(Failure(one.task.folder, code, said))
            done = str(self.failures[-1])
        self.after(one.task, not code)
        say(f"{one.number} of {self.total}: {done}, after {duration(took)}{about}")

    def speak(self) -> None:
        """Say how far those are that run."""
        for one, child in self.running.values():
            took = duration(time.monotonic() - one.began)
            said = children.last_line(child.log)
            say(f"{one.number} of {self.total}: {one.task.folder.name}, {took} so far: {said}")


def undone(tasks: Sequence[Task]) -> Iterator[tuple[int, Task]]:
    """The runs that are not done, with their numbers among all of them."""
    left = [(number, task) for number, task in enumerate(tasks, 1) if not is_done(task.folder)]
    if len(left) < len(tasks):
        say(f"{len(tasks) - len(left)} of {len(tasks)} runs are done already")
    return iter(left)


def is_done(folder: Path) -> bool:
    """Whether a run is trained and evaluated; evaluation.json is the last file of it."""
    return all((folder / name).is_file() for name in (CONFIG, weights.NAME, EVALUATION))


def make(folder: Path) -> None:
    """Make the folder of a run.

    Raises:
        ModelError: it is a link, or cannot be made.
    """
    try:
        if folder.is_symlink():
            raise ModelError(f"{folder}: expected a folder of the sweep itself, received a link; remove it")
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise ModelError(f"{folder}: cannot be made: {error.strerror or error}") from error


def wait_for_orphan(folder: Path) -> None:
    """Wait until the training has ended that a sweep left behind which was killed; it is writing its checkpoint."""
    path = folder / checkpoints.LOCK
    if not path.is_file() or path.is_symlink():
        return
    lock = filelock.FileLock(path)
    try:
        with told(f"{folder}: waiting for a process that still trains in it"):
            lock.acquire(timeout=ORPHAN)
        lock.release()
    except (filelock.Timeout, OSError):  # the training itself will say it
        return
