"""Ctrl-C and SIGTERM while training."""

import signal

import keras


class Interruption(keras.callbacks.Callback):
    """Ends training after the step in which SIGINT or SIGTERM came, by KeyboardInterrupt or exit code 143.

    Python's own KeyboardInterrupt can be raised inside TensorFlow, where it gets lost: here the signal is noted, and
    acted on between two steps.
    """

    signals = (signal.SIGINT, signal.SIGTERM)

    def __init__(self):
        super().__init__()
        self.received = None
        self.previous = {}

    def on_train_begin(self, logs=None):
        self.previous = {number: signal.signal(number, self.note) for number in self.signals}

    def note(self, number, frame):
        """The handler of both signals."""
        self.received = number

    def on_train_batch_end(self, batch, logs=None):
        if self.received is not None:
            self.on_train_end()
            raise KeyboardInterrupt if self.received == signal.SIGINT else SystemExit(128 + self.received)

    def on_train_end(self, logs=None):
        for number, handler in self.previous.items():
            signal.signal(number, handler)
        self.previous = {}
