"""Ctrl-C and SIGTERM while training."""

import signal

import keras


class Interruption(keras.callbacks.Callback):
    """Saves a checkpoint and ends training when SIGINT or SIGTERM comes: by KeyboardInterrupt, or exit code 143.

    Python's own KeyboardInterrupt can be raised inside TensorFlow, where it gets lost: here the signal is noted, and
    acted on between two steps.

    Args:
        training: the `TrainingState`; this callback must come after it.
    """

    signals = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, training):
        super().__init__()
        self.training = training
        self.received = None
        self.previous = {}

    def on_train_begin(self, logs=None):
        self.previous = {number: signal.signal(number, self.note) for number in self.signals}

    def note(self, number, frame):
        """The handler of both signals."""
        self.received = number

    def on_train_batch_end(self, batch, logs=None):
        if not self.training.epoch_is_over():  # what comes after its last batch belongs to the epoch
            self.act()

    def on_epoch_end(self, epoch, logs=None):
        self.act()

    def act(self):
        """Save and leave, where a signal came."""
        if self.received is not None:
            self.on_train_end()
            self.training.save()
            print(f"\nsaved; train_vae --resume {self.training.run} goes on from here", flush=True)
            raise KeyboardInterrupt if self.received == signal.SIGINT else SystemExit(128 + self.received)

    def on_train_end(self, logs=None):
        for number, handler in self.previous.items():
            signal.signal(number, handler)
        self.previous = {}
