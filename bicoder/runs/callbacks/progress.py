"""How far a training is: a line that moves on a terminal, and about twenty lines in a log or a notebook."""

import contextlib
import math
import os
import select
import shutil
import sys
import time
from typing import TYPE_CHECKING

from bicoder import waiting
from bicoder.engine.step_calls import BetweenPrograms

if TYPE_CHECKING:
    from bicoder.runs.state import Logs, TrainingState

LINES = 18  # in a log, beside the first and the last
OFTEN, SELDOM = 0.1, 300.0  # seconds between two states of the line that moves, and at most between two lines


class Progress(BetweenPrograms):
    """Prints the epoch, the bound of training and of validation images, and the time left.

    Args:
        training: the `TrainingState`; this callback must come after it.
        epochs: in all.
        mode: "auto"; or "quiet" for nothing, or "verbose" for Keras' own lines, by `fit(verbose=self.verbose)`.
        validation: what the images are called that `val_elbo` is of.
        moving: True for one line that moves, False for lines; None for what standard output is.
    """

    def __init__(
        self,
        training: "TrainingState",
        epochs: int,
        mode: str = "auto",
        validation: str = "held out",
        moving: bool | None = None,
    ) -> None:
        super().__init__()
        self.training, self.epochs, self.validation = training, epochs, validation
        self.silent, self.verbose = mode != "auto", 2 if mode == "verbose" else 0
        self.quiet, self.waiting = mode == "quiet", contextlib.ExitStack()
        self.moving = is_terminal() if moving is None else moving
        self.first, self.step = 0, 1
        self.metrics: dict[str, float] = {}
        self.printed, self.told, self.is_open = 0.0, -1, False
        self.clock: tuple[float, float] | None = None  # when, and after how many epochs, from where time is counted

    def wait(self) -> None:
        """Say what is done until the first steps are, if that takes long."""
        if not self.quiet:
            self.waiting.enter_context(waiting.told("compiling the program of the training"))

    def on_train_begin(self, logs: "Logs" = None) -> None:
        if self.printed:  # the rest of a training whose first epoch went on in its middle
            return
        self.first, self.printed = self.training.state["epoch"] + 1, time.monotonic()
        self.step = round_up(math.ceil((self.epochs - self.first + 1) / LINES))
        if self.moving and self.first <= self.epochs:
            self.show(self.first)

    def on_train_batch_end(self, batch: int, logs: "Logs" = None) -> None:
        self.waiting.close()
        self.clock = self.clock or (time.monotonic(), self.done())  # the first program takes long to be compiled
        if self.training.epoch_is_over():  # what comes after its last batch belongs to the epoch
            return
        silence = OFTEN if self.moving else SELDOM if self.told >= 0 else waiting.FIRST
        if time.monotonic() - self.printed > silence:
            self.metrics |= logs or {}
            self.show(self.training.state["epoch"] + 1)

    def on_epoch_end(self, epoch: int, logs: "Logs" = None) -> None:
        self.metrics |= logs or {}
        number = epoch + 1
        if self.moving:
            if number == self.epochs or time.monotonic() - self.printed > OFTEN:
                self.show(number)
        elif number in (self.first, self.epochs) or number % self.step == 0:
            self.show(number)
        elif not self.silent and nobody_reads():
            raise BrokenPipeError

    def on_train_end(self, logs: "Logs" = None) -> None:
        if self.told != self.training.state["epoch"] and self.metrics:  # it ends before its last epoch
            self.show(self.training.state["epoch"])

    def done(self) -> float:
        """Epochs that are done, the one that runs as a fraction."""
        return self.training.state["epoch"] + self.training.state["batch"] / self.training.steps

    def show(self, epoch: int) -> None:
        """Print a line about an epoch, over the last one if it moves."""
        self.printed, self.told = time.monotonic(), epoch
        if self.silent:
            return
        text = self.text(epoch)
        if self.moving:
            width = shutil.get_terminal_size().columns - 1  # in the last column, some terminals begin a new line
            print(f"\r{text[:width]}\x1b[K", end="", flush=True)
            self.is_open = True
        else:
            print(text, flush=True)

    def text(self, epoch: int) -> str:
        """What is said about an epoch."""
        words = [f"epoch {epoch:>{len(str(self.epochs))}}/{self.epochs}"]
        for key, name in (("elbo", "-ELBO"), ("val_elbo", self.validation)):
            if key in self.metrics:
                words.append(f"{name} {-self.metrics[key]:.2f}")
        left = self.epochs - self.done()
        if self.clock and left > 0 and self.done() > self.clock[1]:
            taken = (time.monotonic() - self.clock[0]) / (self.done() - self.clock[1])
            words.append(f"{duration(left * taken)} left")
        return "  ".join(words)

    def close(self) -> None:
        """End the line that moves: what comes next has a line of its own."""
        self.waiting.close()
        if self.is_open:
            self.is_open = False
            with contextlib.suppress(BrokenPipeError):
                print(flush=True)


def is_terminal() -> bool:
    """Whether standard output is a terminal on which a line can move."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def round_up(step: int) -> int:
    """A number from `step` on with one digit that is not 0: 17 becomes 20."""
    ten = 10 ** (len(str(max(1, step))) - 1)
    return math.ceil(max(1, step) / ten) * ten


def duration(seconds: float) -> str:
    """ "14 s", "3 min 20 s", "2 h 05 min"."""
    seconds = math.ceil(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


def nobody_reads() -> bool:
    """Whether standard output is a pipe whose reader has gone, which else only the next line would find out."""
    if not hasattr(select, "poll"):
        return False
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    except (OSError, ValueError, AttributeError):  # no file of the system
        return False
