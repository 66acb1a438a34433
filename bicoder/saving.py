"""What is saved with a model beside its config and its weights, so that it goes on as if it had never been saved."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from bicoder.engine.arrays.trees import batched
from bicoder.engine.model import Model
from bicoder.engine.programs.fixed import layers_of
from bicoder.engine.programs.optimizers import build, built_for
from bicoder.errors import ModelError
from bicoder.networks import networks_in


def generators(model: Any) -> list[keras.Variable]:
    """The state of everything that draws: of the model's own noise, and of layers such as dropout."""
    weights = {id(variable) for variable in model.weights}
    return [variable for variable in model.variables if id(variable) not in weights]


def difference(model: Any, path: Any) -> str | None:
    """How the weights of a `.weights.h5` file differ in shape from those of a model; None if nobody can say."""
    with tempfile.TemporaryDirectory() as folder:
        reference = Path(folder) / "own.weights.h5"
        model.save_weights(reference)
        try:
            expected, received = shapes_in(reference), shapes_in(path)
        except (ValueError, LookupError, OSError, RuntimeError):  # no HDF5, or a damaged one
            return None
    other = [name for name in expected if received.get(name) != expected[name]]
    if not other:
        return None
    shapes = f"{expected[other[0]]}, received {received.get(other[0], 'none')}"
    more = f", and {len(other) - 1} more differ" if len(other) > 1 else ""
    return f"weights of another model; {other[0]}: expected shape {shapes}{more}"


def shapes_in(path: Any) -> dict[str, Any]:
    """name -> shape of every array of an HDF5 file, but for the state of the optimizer."""
    import h5py

    found = {}

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and not name.startswith("optimizer/"):
            found[name] = item.shape

    with h5py.File(path) as file:
        file.visititems(note)
    return found


@contextlib.contextmanager
def whole(filepath: Any, overwrite: bool, ending: str, needed: int = 0) -> Iterator[Any]:
    """A path to write a file of this ending to, which takes the place of `filepath` once it is whole.

    What is no local file, or needs a question first, is left to Keras.

    Args:
        filepath: as Keras takes it.
        overwrite: whether a file that is there may be replaced.
        ending: of the name.
        needed: bytes to find free on the disk before anything is written.
    """
    path = Path(os.path.realpath(filepath)) if isinstance(filepath, (str, os.PathLike)) else None
    local = path is not None and path.name.endswith(ending) and path.parent.is_dir()
    if path is None or not local or (path.exists() and not overwrite):
        yield filepath
        return
    with tempfile.TemporaryDirectory(prefix=".", dir=path.parent) as folder:
        unfinished = Path(folder) / path.name
        find_room(unfinished, needed)
        yield unfinished
        unfinished.replace(path)


def find_room(path: Path, needed: int) -> None:
    """`OSError` if a file cannot become so large; HDF5 would end the process when the disk is full."""
    with path.open("wb") as file:
        for start in range(0, needed, 2**20):  # zeros that are written, since a file can have holes
            file.write(bytes(min(2**20, needed - start)))
    path.unlink()


def largest_hdf5(variables: list[Any]) -> int:
    """Bytes that are enough for these variables in HDF5: their numbers, 4 KB of names for each, and 64 KB."""
    return 2**16 + sum(int(np.array(variable).nbytes) + 2**12 for variable in variables)


class SaveableModel(Model):
    """A model that goes on after it was saved and loaded as if it had never been."""

    def get_compile_config(self) -> dict[str, Any] | None:
        """What `compile` was told, and the numbers of the weights that the optimizer knows; None without `compile`."""
        if not self.compiled:
            return None
        numbers = {id(variable): number for number, variable in enumerate(self.weights)}
        known = built_for(self.optimizer) or self.trainable_variables
        return {
            "optimizer": keras.saving.serialize_keras_object(self.optimizer),
            "steps_per_execution": self.steps,
            "jit_compile": self.jit,
            "run_eagerly": self.run_eagerly,
            "optimized": [numbers[id(v)] for v in known if id(v) in numbers] if self.optimizer.built else None,
        }

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile a new model as `get_compile_config` says."""
        told = {name: value for name, value in config.items() if name != "optimized"}
        self.compile(**told | {"optimizer": keras.saving.deserialize_keras_object(config["optimizer"])})
        if not self.built:
            return
        if "optimized" not in config:  # a file of an older version
            build(self.optimizer, self.trainable_variables)
        elif config["optimized"] is not None:
            weights = self.weights
            build(self.optimizer, [weights[number] for number in config["optimized"]])

    def get_build_config(self) -> dict[str, Any] | None:
        """Shape, precision, what is frozen, and what is drawn next; None of a model that is not built."""
        if not self.built:
            return None
        layers = list(layers_of(self))
        return {
            "input_shape": batched(self.example_shape),
            "networks": next(iter(self.encoder.views.values()), self.encoder).body.dtype_policy.name,
            "dtypes": [layer.dtype_policy.name for layer in layers],
            "trainable": [layer.trainable for layer in layers],
            "trainable_weights": [variable.trainable for variable in self.weights],
            "generators": [np.array(variable).tolist() for variable in generators(self)],
        }

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Build a new model as `get_build_config` says; a file of an older version has the shape alone."""
        with networks_in(config.get("networks", keras.config.dtype_policy().name)):
            self.build(config["input_shape"])
        if "trainable" not in config:
            return
        layers = list(layers_of(self))
        for layer, dtype in zip(layers, config["dtypes"], strict=True):
            layer.dtype_policy = dtype
        # From the outside in: a layer hands its own on to all that it holds.
        for layer, trainable in zip(layers, config["trainable"], strict=True):
            layer.trainable = trainable
        for variable, trainable in zip(self.weights, config["trainable_weights"], strict=True):
            variable.trainable = trainable
        for variable, state in zip(generators(self), config["generators"], strict=True):
            variable.assign(state)

    def save(self, filepath: Any, overwrite: bool = True, zipped: bool | None = None, **options: Any) -> None:
        """Save the model as a `.keras` file, as Keras does; a file that was there stays if that fails."""
        ending = "/" if zipped is False else ".keras"  # a folder, which no name ends like
        with whole(filepath, overwrite, ending) as unfinished:
            super().save(unfinished, overwrite, zipped, **options)

    def save_weights(self, filepath: Any, overwrite: bool = True, max_shard_size: Any = None) -> None:
        """Save the weights as a `.weights.h5` file, as Keras does; a file that was there stays if that fails.

        With `max_shard_size`, which gives many files, they are Keras' own and written in place.
        """
        self.check_built("save_weights")
        if max_shard_size is not None:
            super().save_weights(filepath, overwrite, max_shard_size)
            return
        known = self.variables + (self.optimizer.variables if self.compiled else [])
        with whole(filepath, overwrite, ".weights.h5", largest_hdf5(known)) as unfinished:
            super().save_weights(unfinished, overwrite)

    def load_weights(self, filepath: Any, skip_mismatch: bool = False, **options: Any) -> None:
        """Load weights as Keras does; the model keeps its own if they are of another model.

        Raises:
            ModelError: they are, with the first name and both shapes; or the file is damaged.
        """
        self.check_built("load_weights")
        before = [np.array(variable) for variable in self.weights]
        try:
            super().load_weights(filepath, skip_mismatch=skip_mismatch, **options)
        except (ValueError, LookupError, OSError, RuntimeError) as error:  # of damaged bytes, any of them
            for variable, value in zip(self.weights, before, strict=True):
                variable.assign(value)
            if isinstance(error, FileNotFoundError):
                raise
            said = [line for line in str(error).splitlines() if line]
            reason = said[1] if said[0].endswith(":") and len(said) > 1 else said[0]  # "Example error message:" first
            raise ModelError(f"{filepath}: {difference(self, filepath) or reason}") from error
