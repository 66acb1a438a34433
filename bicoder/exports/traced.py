"""The graph of a function, as TensorFlow's converters take it."""

from collections.abc import Iterable
from typing import Any

from bicoder.errors import UsageError
from bicoder.exports.function import Function


def traced(function: Function) -> Any:
    """The `tf.function` of a function, from tensors (batch, ...) of all inputs in their order, of any batch."""
    import tensorflow as tf

    names = [port.name for port in function.inputs]
    signature = [tf.TensorSpec((None, *port.shape), port.type, name=port.name) for port in function.inputs]

    def call(*tensors: Any) -> dict[str, Any]:
        return function.call(dict(zip(names, tensors, strict=True)))

    return tf.function(call, input_signature=signature, autograph=False)


def refuse_operations(form: str, function: Function, graph: Any, missing: Iterable[str]) -> None:
    """`UsageError` if a format lacks operations, with the parts of the model that need them.

    Args:
        form: name of the format.
        function: what is written.
        graph: of TensorFlow, whose names begin with those of the parts.
        missing: operations of TensorFlow.
    """
    lacking = sorted(set(missing))
    if not lacking:
        return
    inner = [operation for found in graph._functions.values() for operation in found.graph.get_operations()]
    names = [one.name for one in [*graph.get_operations(), *inner] if one.type in lacking]
    parts = sorted({name.split("/")[0].rstrip("_0123456789") for name in names if "/" in name})
    where = f"the {' and the '.join(parts)}" if parts else "the model"
    said = f"it has no {', '.join(lacking)}, which {where} needs"
    raise UsageError(f"export: {form} cannot hold {function.called}: {said}")
