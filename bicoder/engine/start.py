"""How Keras and its backend are started by a program: quickly, quietly, and on the device that was chosen."""

import contextlib
import gc
import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

from bicoder.errors import UsageError

BACKENDS = ("tensorflow", "jax", "torch")
TITLES = dict(zip(BACKENDS, ("TensorFlow", "JAX", "PyTorch"), strict=True))


def import_keras(batch: int | None = None, device: str | None = None, backend: str | None = None) -> Any:
    """Keras, without what its backend says about itself while it starts; that is shown if the import fails.

    Args:
        batch: how many images are in a batch that convolutions will learn from, if some will: see `one_thread_each`.
        device: "cpu" or "gpu"; None for a GPU if there is one.
        backend: one of `BACKENDS`; None for what $KERAS_BACKEND says, or TensorFlow.
    Raises:
        UsageError: there is no such device, the backend is not installed, or it was started on another device.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    choose_backend(backend)
    with kept_back() as said, kept_for_good(), not_found("sklearn"):
        try:
            choose_device(device)
            import keras

            # Whatever ~/.keras/keras.json says: images have their channels last, and --precision is what can be chosen.
            keras.config.set_floatx("float32")
            keras.config.set_image_data_format("channels_last")
            started(batch)
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


def chosen_backend(backend: str | None = None) -> str:
    """The backend that is asked for: by this name, by $KERAS_BACKEND, or TensorFlow.

    Raises:
        UsageError: there is no such backend, or it is not installed.
    """
    name = backend or os.environ.get("KERAS_BACKEND") or BACKENDS[0]
    if name not in BACKENDS:
        raise UsageError(f"KERAS_BACKEND: expected {', '.join(BACKENDS[:-1])} or {BACKENDS[-1]}, received {name!r}")
    if name != BACKENDS[0] and importlib.util.find_spec(name) is None:  # that one is always there
        raise UsageError(
            f"backend: {name} is not installed; run: {sys.executable} -m pip install {name}, or choose tensorflow"
        )
    return name


def choose_backend(backend: str | None) -> None:
    """Let Keras have a backend, whatever ~/.keras/keras.json names.

    Raises:
        UsageError: it is not installed, or Keras has started with another one.
    """
    name = chosen_backend(backend)
    if "keras" in sys.modules and (now := sys.modules["keras"].backend.backend()) != name:
        raise UsageError(f"backend: Keras has started with {now}; choose {name} in a new process")
    os.environ["KERAS_BACKEND"] = name


def choose_device(device: str | None) -> None:
    """Let the backend see the GPUs or not, before Keras starts it.

    Raises:
        UsageError: there is no GPU and one is asked for, or TensorFlow has started with one and none shall be used.
    """
    name = os.environ["KERAS_BACKEND"]
    if name == "jax" and device == "cpu":
        os.environ["JAX_PLATFORMS"] = "cpu"
    if name == "torch" and device == "cpu":
        os.environ["KERAS_TORCH_DEVICE"] = "cpu"
    there = gpus(name)
    if device == "gpu" and not there:
        raise UsageError(
            f"device: expected a GPU that {TITLES[name]} can use, found none; leave --device out, or say cpu"
        )
    if name != "tensorflow" or device == "cpu":  # TensorFlow, which gives the batches, would take all memory of a GPU
        import tensorflow as tf

        try:
            tf.config.set_visible_devices([], "GPU")
        except RuntimeError as error:
            raise UsageError("device: TensorFlow has started with a GPU; choose cpu in a new process") from error


def gpus(backend: str) -> bool:
    """Whether there is a GPU that a backend can use."""
    if backend == "tensorflow":
        import tensorflow as tf

        return bool(tf.config.list_physical_devices("GPU"))
    if backend == "jax":
        import jax

        return jax.default_backend() == "gpu"
    import torch

    return torch.cuda.is_available()


def check_devices(devices: int | str | None, backend: str) -> None:
    """`UsageError` if a batch shall be divided among devices on a backend that does not do that."""
    if devices is not None and backend != "jax":
        raise UsageError(
            f"devices: expected it with --backend jax, which divides a batch among devices, received {backend}; add "
            "--backend jax"
        )


def divide(devices: int | str | None, batch: int) -> int:
    """Let Keras, which has been imported, divide batches among devices; among how many.

    Args:
        devices: their number, or "all"; None for all GPUs if there are several, else one.
        batch: examples in a batch.
    Raises:
        UsageError: there are fewer devices, or they would get unequal shares.
    """
    import keras

    from bicoder.engine.programs.devices import check_divides, shares

    if keras.backend.backend() != "jax" or keras.distribution.distribution() is not None:
        return shares()
    there = keras.distribution.list_devices()
    count = len(there) if devices == "all" or (devices is None and there[0].startswith("gpu")) else devices or 1
    if int(count) > len(there):
        raise UsageError(f"devices: expected at most {len(there)}, which JAX finds here, received {count}")
    if count != 1:
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=there[: int(count)]))
    check_divides(batch)
    return shares()


def started(batch: int | None) -> None:
    """Start TensorFlow, if it computes.

    Args:
        batch: as in `import_keras`.
    """
    if os.environ["KERAS_BACKEND"] != "tensorflow":
        return
    import tensorflow as tf

    if batch:
        from bicoder.engine.programs.slices import one_thread_each

        one_thread_each(batch)
    tf.config.list_logical_devices()


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
