"""The layers that the page knows: each as operations of decoder.js, which have the same names.

A layer is known by its very class: one that is derived from it may do anything else. Nothing of a layer is run, and
nothing is made of its config.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import activations, layers, ops

from bicoder.engine.tensor import Shape


class NotKnownError(Exception):
    """What the page cannot compute, in words."""


class Value(NamedTuple):
    """A tensor of the program: the number of the operation that makes it, 0 for the code, and its shape."""

    number: int
    shape: Shape


class Writer:
    """Writes a program down, one operation after the other.

    Args:
        inputs: numbers of a code, with what stands beside it.
    Attributes:
        operations: as decoder.js takes them.
        arrays: the weights, float32, one after the other.
        work: multiplications for one code.
        precisions: in which the layers compute.
    """

    def __init__(self, inputs: int) -> None:
        self.code = Value(0, (inputs,))
        self.operations: list[dict[str, Any]] = []
        self.arrays: list[np.ndarray] = []
        self.work = 0
        self.precisions: set[str] = set()
        self._size = 0
        self._places: dict[int, tuple[int, Any]] = {}  # with the variable, so that no other takes its place in memory

    def write(self, kind: str, inputs: Value | list[Value], shape: Shape | None = None, **facts: Any) -> Value:
        """An operation of decoder.js; of the shape of its input if nothing else is said."""
        inputs = [inputs] if isinstance(inputs, Value) else inputs
        given = inputs[0].shape
        shape = given if shape is None else shape
        numbers = [one.number for one in inputs]
        self.operations.append({"kind": kind, "inputs": numbers, "given": given, "shape": shape, **facts})
        self.work += math.prod(shape)
        return Value(len(self.operations), shape)

    def weights(self, variable: Any, change: Callable[[np.ndarray], np.ndarray] = np.asarray) -> int | None:
        """Where the numbers of a variable start among the weights; None if the layer has no such variable.

        Args:
            variable: of Keras, or None.
            change: what is made of its array.
        """
        if variable is None:
            return None
        if id(variable) not in self._places:  # a layer that is called twice has its weights once
            self._places[id(variable)] = self.keep(change(ops.convert_to_numpy(variable))), variable
        return self._places[id(variable)][0]

    def keep(self, array: np.ndarray) -> int:
        """Where these numbers start among the weights."""
        self.arrays.append(np.ravel(array).astype("float32"))
        self._size += array.size
        return self._size - array.size


Write = Callable[[Any, Writer, Value], Value]
_known: dict[type, Write] = {}


def operation(*kinds: type) -> Callable[[Write], Write]:
    """Decorator of a function (layer, writer, its input) -> its output, for layers of these very classes."""

    def register(function: Write) -> Write:
        _known.update(dict.fromkeys(kinds, function))
        return function

    return register


def write_layer(layer: Any, writer: Writer, inputs: list[Value]) -> Value:
    """A layer of Keras that is no network of others, or `NotKnownError`."""
    name = type(layer).__name__
    if type(layer) is layers.Add:
        return add(writer, inputs)
    if type(layer) not in _known:
        raise NotKnownError(f"the layer {name} is not known to the page")
    if getattr(layer, "quantization_mode", None):
        raise NotKnownError(f"a layer {name} is quantized")
    if len(inputs) != 1:
        raise NotKnownError(f"a layer {name} has {len(inputs)} inputs")
    writer.precisions.add(layer.compute_dtype)
    return _known[type(layer)](layer, writer, inputs[0])


def add(writer: Writer, inputs: list[Value]) -> Value:
    if len({value.shape for value in inputs}) > 1:
        raise NotKnownError("a layer Add has inputs of several shapes")
    return writer.write("add", inputs)


# Function of Keras -> its name in decoder.js, with its parameters.
ACTIVATIONS: dict[Callable[..., Any], dict[str, Any]] = {
    activations.relu: {"name": "relu"},
    activations.relu6: {"name": "relu", "most": 6.0},
    activations.leaky_relu: {"name": "relu", "slope": 0.2},
    activations.celu: {"name": "elu"},
} | {
    getattr(activations, name): {"name": name}
    for name in (
        *("elu", "exponential", "gelu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_tanh", "log_sigmoid"),
        *("mish", "selu", "sigmoid", "silu", "soft_shrink", "softplus", "softsign", "sparse_plus", "sparse_sigmoid"),
        *("squareplus", "tanh", "tanh_shrink"),
    )
}


def activate(activation: Any, writer: Writer, x: Value) -> Value:
    """An activation, which is a function of Keras or a layer, or `NotKnownError`."""
    if activation is None or activation is activations.linear:
        return x
    if isinstance(activation, layers.Layer):
        return write_layer(activation, writer, [x])
    if activation is activations.softmax:
        return writer.write("softmax", x)
    found = [facts for function, facts in ACTIVATIONS.items() if function is activation]
    if not found:
        name = getattr(activation, "__name__", type(activation).__name__)
        raise NotKnownError(f"the activation {name} is not known to the page")
    return writer.write("activation", x, **found[0])


@operation(layers.Activation)
def activation(layer: Any, writer: Writer, x: Value) -> Value:
    return activate(layer.activation, writer, x)


@operation(layers.ReLU)
def relu(layer: Any, writer: Writer, x: Value) -> Value:
    if layer.threshold:
        raise NotKnownError("a layer ReLU has a threshold")
    facts: dict[str, Any] = {"name": "relu", "slope": float(layer.negative_slope)}
    facts |= {} if layer.max_value is None else {"most": float(layer.max_value)}
    return writer.write("activation", x, **facts)


@operation(layers.LeakyReLU)
def leaky_relu(layer: Any, writer: Writer, x: Value) -> Value:
    return writer.write("activation", x, name="relu", slope=float(layer.negative_slope))


@operation(layers.ELU)
def elu(layer: Any, writer: Writer, x: Value) -> Value:
    return writer.write("activation", x, name="elu", alpha=float(layer.alpha))


# What drops or adds something while training does nothing afterwards.
@operation(layers.Dropout, layers.SpatialDropout2D, layers.GaussianDropout, layers.GaussianNoise)
def unchanged(layer: Any, writer: Writer, x: Value) -> Value:
    return x


@operation(layers.Flatten)
def flatten(layer: Any, writer: Writer, x: Value) -> Value:
    if len(x.shape) > 1:
        check_format(layer)
    return Value(x.number, (math.prod(x.shape),))


@operation(layers.Reshape)
def reshape(layer: Any, writer: Writer, x: Value) -> Value:
    return Value(x.number, output_shape(layer, x))


@operation(layers.Dense)
def dense(layer: Any, writer: Writer, x: Value) -> Value:
    kernel, bias = writer.weights(layer.kernel), writer.weights(layer.bias)
    shape = (*x.shape[:-1], layer.units)
    writer.work += x.shape[-1] * math.prod(shape)
    return activate(layer.activation, writer, writer.write("dense", x, shape, kernel=kernel, bias=bias))


@operation(layers.Conv2D)
def convolution(layer: Any, writer: Writer, x: Value) -> Value:
    check_convolution(layer)
    shape = output_shape(layer, x)
    writer.work += x.shape[-1] * math.prod(layer.kernel_size) * math.prod(shape)
    kernel, bias = writer.weights(layer.kernel), writer.weights(layer.bias)
    facts = window(layer, larger=x.shape, smaller=shape)
    return activate(layer.activation, writer, writer.write("convolution", x, shape, kernel=kernel, bias=bias, **facts))


@operation(layers.Conv2DTranspose)
def transposed_convolution(layer: Any, writer: Writer, x: Value) -> Value:
    check_convolution(layer)
    shape = output_shape(layer, x)
    writer.work += math.prod(x.shape) * math.prod(layer.kernel_size) * layer.filters
    # From (height, width, out, in) to (in, height * width * out): what each pixel adds is a product of matrices.
    kernel = writer.weights(layer.kernel, lambda array: np.moveaxis(array, -1, 0))
    bias = writer.weights(layer.bias)
    facts = window(layer, larger=shape, smaller=x.shape)
    written = writer.write("transposed_convolution", x, shape, kernel=kernel, bias=bias, **facts)
    return activate(layer.activation, writer, written)


def check_convolution(layer: Any) -> None:
    """`NotKnownError` of a convolution that decoder.js does not have."""
    check_format(layer)
    name = type(layer).__name__
    if max(layer.dilation_rate) > 1 or getattr(layer, "groups", 1) > 1:
        raise NotKnownError(f"a layer {name} has groups or a dilation")
    if layer.padding not in ("same", "valid"):
        raise NotKnownError(f"a layer {name} has the padding {layer.padding}")


def check_format(layer: Any) -> None:
    """`NotKnownError` of channels that stand first."""
    if layer.data_format != "channels_last":
        raise NotKnownError(f"a layer {type(layer).__name__} has its channels first")


def window(layer: Any, larger: Shape, smaller: Shape) -> dict[str, Any]:
    """How a kernel moves over the larger image, a pixel of the smaller one for each place: size, strides, padding.

    A transposed convolution is the gradient of a convolution, and has its padding.
    """
    size, strides, padding = tuple(layer.kernel_size), tuple(layer.strides), (0, 0)
    if layer.padding == "same":
        beyond = [(m - 1) * s + k - n for m, s, k, n in zip(smaller[:2], strides, size, larger[:2], strict=True)]
        padding = tuple(max(n, 0) // 2 for n in beyond)
    return {"size": size, "strides": strides, "padding": padding}


@operation(layers.GroupNormalization)
def group_normalization(layer: Any, writer: Writer, x: Value) -> Value:
    check_last_axis(layer, x)
    scale, shift = writer.weights(layer.gamma), writer.weights(layer.beta)
    facts: dict[str, Any] = {"groups": int(layer.groups), "epsilon": float(layer.epsilon)}
    return writer.write("group_normalization", x, scale=scale, shift=shift, **facts)


@operation(layers.BatchNormalization)
def batch_normalization(layer: Any, writer: Writer, x: Value) -> Value:
    """After training, a scale and a shift for each channel."""
    check_last_axis(layer, x)
    mean, variance = (ops.convert_to_numpy(v).astype("float64") for v in (layer.moving_mean, layer.moving_variance))
    scale = 1.0 / np.sqrt(variance + layer.epsilon)
    scale = scale * (ops.convert_to_numpy(layer.gamma) if layer.scale else 1.0)
    shift = (ops.convert_to_numpy(layer.beta) if layer.center else 0.0) - mean * scale
    return writer.write("scale_and_shift", x, scale=writer.keep(scale), shift=writer.keep(shift))


def check_last_axis(layer: Any, x: Value) -> None:
    """`NotKnownError` of a normalisation of anything but channels that stand last."""
    if layer.axis not in (-1, len(x.shape)):
        raise NotKnownError(f"a layer {type(layer).__name__} has another axis than the last")


@operation(layers.UpSampling2D)
def enlarge(layer: Any, writer: Writer, x: Value) -> Value:
    check_format(layer)
    if layer.interpolation != "nearest":
        raise NotKnownError(f"a layer UpSampling2D has the interpolation {layer.interpolation}")
    return writer.write("enlarge", x, output_shape(layer, x), size=tuple(layer.size))


@operation(layers.Cropping2D)
def crop(layer: Any, writer: Writer, x: Value) -> Value:
    check_format(layer)
    (top, _), (left, _) = layer.cropping
    return writer.write("crop", x, output_shape(layer, x), from_pixel=(top, left))


def output_shape(layer: Any, x: Value) -> Shape:
    """The shape of what a layer gives for one example, as Keras has it."""
    return tuple(layer.compute_output_shape((1, *x.shape))[1:])


def write_network(network: Any, writer: Writer, inputs: list[Value]) -> Value:
    """A layer, or a network of layers, `Sequential` or functional, or `NotKnownError`."""
    if type(network) is keras.Sequential:
        for layer in network.layers:
            inputs = [write_network(layer, writer, inputs)]
        return inputs[0]
    return write_graph(network, writer, inputs) if is_functional(network) else write_layer(network, writer, inputs)


def is_functional(network: Any) -> bool:
    """Whether a network is `keras.Model(inputs, outputs)` with nothing of its own. Keras has no name for that class."""
    some = keras.Input((1,))
    return isinstance(network, keras.Model) and type(network) is type(keras.Model(some, layers.Identity()(some)))


def write_graph(model: Any, writer: Writer, inputs: list[Value]) -> Value:
    """A functional model. Keras gives nobody else its graph: its own summaries and plots read these nodes too."""
    if len(model.inputs) != len(inputs) or len(model.outputs) != 1:
        raise NotKnownError(f"the model {model.name} has {len(model.inputs)} inputs and {len(model.outputs)} outputs")
    values = {id(tensor): value for tensor, value in zip(model.inputs, inputs, strict=True)}
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            if not node.is_input and id(node.outputs[0]) not in values:
                check_call(node)
                given = [values[id(tensor)] for tensor in node.input_tensors]
                values[id(node.outputs[0])] = write_network(node.operation, writer, given)
    return values[id(model.outputs[0])]


def check_call(node: Any) -> None:
    """`NotKnownError` of a layer that is called with more than tensors, such as a dropout that never ends."""
    more = [value for value in node.arguments.kwargs.values() if value is not None and value is not False]
    tensors = keras.tree.flatten(node.arguments.args)
    if more or len(tensors) != len(node.input_tensors) or len(node.outputs) != 1:
        raise NotKnownError(f"a layer {type(node.operation).__name__} is called with more than tensors")
