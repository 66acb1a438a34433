"""LiteRT, once TensorFlow Lite, for telephones and small machines; the metadata are in a zip at the file's end."""

import contextlib
import json
import os
import re
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from bicoder.engine.start import Said, kept_back
from bicoder.exports.function import ABOUT, Function
from bicoder.exports.traced import refuse_operations, traced

PACKAGES: tuple[str, ...] = ()  # TensorFlow has the converter and the runtime


def save(function: Function, path: Path) -> None:
    """Write a function as LiteRT, with one signature, whose inputs and outputs have their names."""
    import tensorflow as tf

    concrete = traced(function).get_concrete_function()
    module = tf.Module()
    module.call, module.weights = concrete, list(concrete.graph.variables)
    with tempfile.TemporaryDirectory() as folder, quiet() as said:
        tf.saved_model.save(module, folder, signatures=concrete)
        try:
            content = tf.lite.TFLiteConverter.from_saved_model(folder).convert()
        except Exception as error:
            lacking = re.findall(r"'tf\.(\w+)' op is neither a custom op nor a flex op", f"{error} {said.text()}")
            refuse_operations("litert", function, concrete.graph, lacking)
            raise
    path.write_bytes(content)
    with zipfile.ZipFile(path, "a") as file:  # as LiteRT has files beside a model: a runtime stops before them
        file.writestr(f"{ABOUT}.json", json.dumps(function.metadata(), indent=1))


@contextlib.contextmanager
def quiet() -> Iterator[Said]:
    """Inside, what C++ writes to standard error is kept back, and what Python writes is seen."""
    with kept_back() as said:
        if sys.stderr is not sys.__stderr__:  # it goes elsewhere anyway
            yield said
            return
        with os.fdopen(os.dup(said.stderr), "w", encoding="utf-8") as seen, contextlib.redirect_stderr(seen):
            yield said


def run(path: Path, inputs: dict[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """What LiteRT makes of inputs."""
    import tensorflow as tf

    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that this runtime is a package of its own, too
        return tf.lite.Interpreter(str(path)).get_signature_runner()(**inputs)
