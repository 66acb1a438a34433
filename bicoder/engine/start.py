"""How Keras and TensorFlow are started by a program: quickly, quietly, and on the device that was chosen."""

import contextlib
import gc
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

from bicoder.errors import UsageError


def import_keras(batch: int | None = None, device: str | None = None) -> Any:
    """Keras, without what TensorFlow says about itself while it starts; that is shown if the import fails.

    Args:
        batch: how many images are in a batch that convolutions will learn from, if some will: see `one_thread_each`.
        device: "cpu" or "gpu"; None for a GPU if there is one.
    Raises:
        UsageError: there is no such device, or TensorFlow was started on another one.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with kept_back() as said, kept_for_good(), not_found("sklearn"):
        try:
            import keras
            import tensorflow as tf

            # Whatever ~/.keras/keras.json says: images have their channels last, and --precision is what can be chosen.
            keras.config.set_floatx("float32")
            keras.config.set_image_data_format("channels_last")
            choose(device)
            if batch:
                from bicoder.engine.programs.slices import one_thread_each

                one_thread_each(batch)
            tf.config.list_logical_devices()
        except UsageError:
            raise
        except BaseException:
            said.show()
            raise
    return keras


class Said(NamedTuple):
    """What is written to the standard error of the process meanwhile.

    Args:
        file: where it goes.
        stderr: number of the file that it would have gone to.
    """

    file: IO[bytes]
    stderr: int

    def text(self) -> str:
        """All of it."""
        self.file.seek(0)
        return self.file.read().decode("utf-8", "replace")

    def show(self) -> None:
        """Let it be seen after all."""
        os.write(self.stderr, self.text().encode())


@contextlib.contextmanager
def kept_back() -> Iterator[Said]:
    """Inside, nobody sees what is written to the standard error of the process, as libraries in C++ do."""
    with tempfile.TemporaryFile() as file:
        stderr = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield Said(file, stderr)
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def choose(device: str | None) -> None:
    """Let TensorFlow see the GPUs or not; `UsageError` if that cannot be."""
    import tensorflow as tf

    there = tf.config.list_physical_devices("GPU")
    if device == "gpu" and not there:
        raise UsageError("device: expected a GPU that TensorFlow can use, found none; leave --device out, or say cpu")
    if device == "cpu" and there:
        try:
            tf.config.set_visible_devices([], "GPU")
        except RuntimeError as error:
            raise UsageError("device: TensorFlow has started with a GPU; choose cpu in a new process") from error


@contextlib.contextmanager
def kept_for_good() -> Iterator[None]:
    """What is imported inside stays: the garbage collector does not look for garbage in it.

    It would again and again, while TensorFlow is imported and once more at the end, for a second each.
    """
    if "keras" in sys.modules:  # somebody else's program, whose garbage may be in memory
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextlib.contextmanager
def not_found(package: str) -> Iterator[None]:
    """Inside, nobody can import a package: Keras would, half a second long, for wrappers that are not used here."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]  # how Python notes that there is none
    try:
        yield
    finally:
        del sys.modules[package]
