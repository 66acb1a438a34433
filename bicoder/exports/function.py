"""A function of tensors that is to be written in a format of others, and what is said of it in its file."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from bicoder.engine.tensor import Shape, Tensor

WHATS = ("encoder", "decoder", "reconstruct", "score")  # of a model
SUFFIXES = {"onnx": ".onnx", "litert": ".tflite", "keras": ".keras"}  # format -> how its files end
ABOUT = "about"  # under which a file has the metadata


class Port(NamedTuple):
    """An input or an output.

    Args:
        name: letters, digits and underscores.
        shape: of one example; the batch stands before it, of any size.
        meaning: in words.
        type: "float32" or "int32".
    """

    name: str
    shape: Shape
    meaning: str
    type: str = "float32"

    def said(self) -> dict[str, Any]:
        """What the metadata say of it."""
        return {"name": self.name, "shape": ["batch", *self.shape], "type": self.type, "meaning": self.meaning}


class Function(NamedTuple):
    """A function of a model, in `keras.ops`.

    Args:
        call: from a dict name -> tensor (batch, ...) of all inputs to one of all outputs.
        inputs, outputs: what they are.
        examples: inputs (n, ...) by which what is written is compared with what is computed here.
        about: the metadata, of what JSON has.
    """

    call: Callable[[dict[str, Tensor]], dict[str, Tensor]]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    examples: dict[str, np.ndarray]
    about: dict[str, Any]

    @property
    def called(self) -> str:
        """What messages call it."""
        return "the reconstruction" if self.about["what"] == "reconstruct" else f"the {self.about['what']}"

    def metadata(self) -> dict[str, Any]:
        """All that its file says of it."""
        ports = {name: [port.said() for port in getattr(self, name)] for name in ("inputs", "outputs")}
        return {**self.about, **ports}
