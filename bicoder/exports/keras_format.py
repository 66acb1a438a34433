"""A plain Keras model, which `keras.models.load_model` opens without this package; the metadata are in the same zip."""

import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from bicoder.errors import UsageError
from bicoder.exports.function import ABOUT, Function

PACKAGES: tuple[str, ...] = ()


def save(function: Function, path: Path) -> None:
    """Write a function as a functional model of Keras' own layers and operations."""
    inputs = {port.name: keras.Input(port.shape, dtype=port.type, name=port.name) for port in function.inputs}
    model = keras.Model(inputs, function.call(inputs), name=function.about["what"])
    needs = sorted(set(foreign(keras.saving.serialize_keras_object(model))))
    if unknown := [name for name in needs if keras.saving.get_registered_object(name) is None]:
        raise UsageError(
            f"export: keras cannot hold {function.called}: it opens layers of your own only if they are registered, "
            f"received {', '.join(unknown)}; @keras.saving.register_keras_serializable() above a class registers it"
        )
    model.save(path)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(f"{ABOUT}.json", json.dumps(function.metadata() | {"needs": needs}, indent=1))


def foreign(config: Any) -> Iterator[str]:
    """The classes in a config of Keras that are not Keras' own, such as layers of the user."""
    if isinstance(config, list):
        yield from (name for one in config for name in foreign(one))
    elif isinstance(config, dict):
        module, name = config.get("module"), config.get("registered_name")
        if isinstance(config.get("class_name"), str) and "config" in config:
            builtin = name in (None, config["class_name"], "Functional") and str(module or "keras").startswith("keras")
            if not builtin and not config["class_name"].startswith("__"):
                yield name or config["class_name"]
        yield from (name for one in config.values() for name in foreign(one))


def run(path: Path, inputs: dict[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """What the model of the file makes of inputs, opened in Keras' safe mode."""
    found = keras.models.load_model(path, compile=False, safe_mode=True)(inputs)
    return {name: ops.convert_to_numpy(tensor) for name, tensor in found.items()}
