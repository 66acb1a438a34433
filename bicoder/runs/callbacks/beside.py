"""A callback beside a training."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from bicoder.engine.step_calls import BetweenPrograms
from bicoder.errors import first_line

if TYPE_CHECKING:
    from bicoder.runs.state import TrainingState

Kind = TypeVar("Kind", bound="Beside")


class Beside(BetweenPrograms):
    """A callback beside a training: what goes wrong there ends what it makes, and not the training.

    Attributes:
        training: the `TrainingState`, known before the training begins.
        made: what it makes, in a word.
        place: where, in the run folder.
        is_over: whether it makes no more.
    """

    training: "TrainingState"
    made: str
    place: str
    is_over = False

    def of(self: Kind, training: "TrainingState") -> Kind:
        """This callback, of a training that begins."""
        self.training = training
        return self

    def attempt(self, action: Callable[[], Any]) -> None:
        """Do something beside the training."""
        if self.is_over:
            return
        try:
            action()
        except Exception as error:  # of a disk that is full, and of networks, anything
            self.is_over = True
            said = f"{type(error).__name__}: {first_line(error)}"
            print(f"{self.training.run / self.place}: the {self.made} ends here: {said}", file=sys.stderr)
