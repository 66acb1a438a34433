"""A loss that is no longer a number."""

from typing import TYPE_CHECKING

import numpy as np

from bicoder.engine.step_calls import BetweenPrograms
from bicoder.errors import NumericError

if TYPE_CHECKING:
    from bicoder.runs.state import Logs, TrainingState


class FiniteLoss(BetweenPrograms):
    """Stops training, by `NumericError`, if the loss becomes NaN or infinite, and says which step and term it was.

    Args:
        training: the `TrainingState`, whose checkpoints remain; this callback must come after it.
    """

    def __init__(self, training: "TrainingState") -> None:
        super().__init__()
        self.training = training

    def on_train_batch_end(self, batch: int, logs: "Logs" = None) -> None:
        # Means over the epoch so far, after each step of the program that just ran.
        metrics = self.model.step_metrics or {name: np.asarray([value]) for name, value in (logs or {}).items()}
        bad = ~np.isfinite(metrics["loss"])
        if not bad.any():
            return
        first = int(np.argmax(bad))
        step, epoch = self.training.first_step + first + 1, self.training.state["epoch"] + 1
        terms = [name for name in ("distortion", "rate") if not np.isfinite(metrics[name][first])]
        raise NumericError(
            f"loss: expected a finite number, received {metrics['loss'][first]:g} in epoch {epoch}, step {step}, from "
            f"the {' and the '.join(terms) or 'objective'}; try a smaller learning rate, or a likelihood that fits the "
            f"data; {self.training.where()}"
        )
