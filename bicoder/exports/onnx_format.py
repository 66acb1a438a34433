"""ONNX, for onnxruntime and others; the metadata are in `metadata_props`."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bicoder.exports.function import ABOUT, Function, Port
from bicoder.exports.traced import refuse_operations, traced

PACKAGES = ("tf2onnx", "onnx", "onnxruntime")
OPSET = 17  # of ONNX 1.12, which every runtime of the last years knows


def save(function: Function, path: Path) -> None:
    """Write a function as ONNX."""
    import onnx
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)  # what it says of operations is said below
    graph = traced(function)
    model, _ = tf2onnx.convert.from_function(graph, input_signature=graph.input_signature, opset=OPSET)
    kinds = {node.op_type for node in model.graph.node if node.domain in ("", "ai.onnx")}
    missing = [kind for kind in kinds if not onnx.defs.has(kind, OPSET)]
    refuse_operations("onnx", function, graph.get_concrete_function().graph, missing)
    for port, value in zip(function.inputs, model.graph.input, strict=True):
        describe(value, port)
    outputs = {value.name: value for value in model.graph.output}  # which TensorFlow sorts by their names
    model.graph.ClearField("output")
    model.graph.output.extend(outputs[port.name] for port in function.outputs)
    for port, value in zip(function.outputs, model.graph.output, strict=True):
        describe(value, port)
    entry = model.metadata_props.add()
    entry.key, entry.value = ABOUT, json.dumps(function.metadata())
    model.producer_name, model.producer_version = "bicoder", function.about["bicoder"]
    model.graph.name, model.doc_string = function.about["what"], function.about["meaning"]
    path.write_bytes(model.SerializeToString())


def describe(value: Any, port: Port) -> None:
    """Write the shape and the meaning of an input or an output into the file, with a name for the batch."""
    value.doc_string = port.meaning
    shape = value.type.tensor_type.shape
    shape.ClearField("dim")
    shape.dim.add().dim_param = "batch"
    for size in port.shape:
        shape.dim.add().dim_value = size


def run(path: Path, inputs: dict[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """What onnxruntime makes of inputs."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # its warnings are about graphs that could be faster
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))
