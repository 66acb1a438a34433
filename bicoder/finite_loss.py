"""A loss that is no longer a number."""

import math

import keras

from bicoder.errors import NumericError


class FiniteLoss(keras.callbacks.Callback):
    """Stops training, by `NumericError`, at the step in which the loss became NaN or infinite."""

    def __init__(self):
        super().__init__()
        self.epoch = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        values = {name: float(value) for name, value in (logs or {}).items()}
        if not math.isfinite(values.get("loss", 0.0)):
            terms = ", ".join(f"{name} {values[name]:g}" for name in ("distortion", "rate") if name in values)
            raise NumericError(
                f"loss: expected a finite number, received {values['loss']:g} in epoch {self.epoch + 1}, "
                f"step {batch + 1} ({terms}); try a smaller learning rate, or a likelihood that fits the data"
            )
