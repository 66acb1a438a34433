"""Ctrl-C, SIGTERM and SIGHUP while training."""

import signal
from types import FrameType
from typing import TYPE_CHECKING, Any

from bicoder.engine.step_calls import BetweenPrograms

if TYPE_CHECKING:
    from bicoder.runs.state import Logs, TrainingState


class Interruption(BetweenPrograms):
    """Saves a checkpoint and ends training when a signal comes: SIGINT by KeyboardInterrupt, others by their exit code.

    Python's own KeyboardInterrupt can be raised inside TensorFlow, where it gets lost: here the signal is noted, and
    acted on between two steps.

    Args:
        training: the `TrainingState`; this callback must come after it. If another host writes its state, a signal is
            left to that one, whose end is the end of all.
    """

    signals = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))

    def __init__(self, training: "TrainingState") -> None:
        super().__init__()
        self.training = training
        self.received: int | None = None
        self.previous: dict[signal.Signals, Any] = {}

    def on_train_begin(self, logs: "Logs" = None) -> None:
        heeded = [number for number in self.signals if not is_ignored_hangup(number)]
        self.previous = {number: signal.signal(number, self.note) for number in heeded}

    def note(self, number: int, frame: FrameType | None) -> None:
        """The handler of these signals."""
        self.received = number

    def on_train_batch_end(self, batch: int, logs: "Logs" = None) -> None:
        if not self.training.epoch_is_over():  # what comes after its last batch belongs to the epoch
            self.act()

    def on_epoch_end(self, epoch: int, logs: "Logs" = None) -> None:
        self.act()

    def act(self) -> None:
        """Save and leave, if a signal came."""
        if self.received is not None and self.training.writes:
            self.on_train_end()
            self.training.save()
            print(f"\nsaved; train_vae --resume {self.training.run} goes on from here", flush=True)
            raise KeyboardInterrupt if self.received == signal.SIGINT else SystemExit(128 + self.received)

    def on_train_end(self, logs: "Logs" = None) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)
        self.previous = {}


def is_ignored_hangup(number: signal.Signals) -> bool:
    """Whether it is a hang-up that does not count: that of a terminal whose program nohup has started."""
    return number.name == "SIGHUP" and signal.getsignal(number) == signal.SIG_IGN
