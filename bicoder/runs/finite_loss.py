"""A loss that is no longer a number."""

import keras
import numpy as np

from bicoder.errors import NumericError


class FiniteLoss(keras.callbacks.Callback):
    """Stops training, by `NumericError`, where the loss became NaN or infinite, and says which step and term it was.

    Args:
        training: the `TrainingState`, whose checkpoints remain.
    """

    def __init__(self, training):
        super().__init__()
        self.training = training

    def on_train_batch_end(self, batch, logs=None):
        # Means over the epoch so far, after each step of the program that just ran.
        history = self.model.step_metrics
        bad = ~np.isfinite(history["loss"])
        if not bad.any():
            return
        first = int(np.argmax(bad))
        step, epoch = self.training.first_step + first + 1, self.training.state["epoch"] + 1
        terms = [name for name in ("distortion", "rate") if not np.isfinite(history[name][first])]
        raise NumericError(
            f"loss: expected a finite number, received {history['loss'][first]:g} in epoch {epoch}, step {step}, from "
            f"the {' and the '.join(terms) or 'objective'}; try a smaller learning rate, or a likelihood that fits the "
            f"data; {self.training.where()}"
        )
