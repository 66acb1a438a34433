"""BiCoder: what encoders and decoders share."""

import abc
import math
import random
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from bicoder.component import Component
from bicoder.distributions import Distribution
from bicoder.engine.arrays.conditioned import parted
from bicoder.engine.arrays.masked import Masked
from bicoder.engine.arrays.there import values_of
from bicoder.engine.arrays.trees import batched
from bicoder.engine.programs.fixed import still_frozen
from bicoder.engine.programs.slices import by_slices, one_by_one
from bicoder.engine.tensor import Shape, Tensor
from bicoder.errors import UsageError
from bicoder.networks import MLP, Conv, Network
from bicoder.per_view import check_names, for_views, of_view
from bicoder.returned import check_distribution


def channels_beside(event: Shape, shape: Shape) -> int:
    """How many channels y of this shape has beside an event: its own if it is an image of the same size, else one for
    each of its numbers, the same everywhere in the event."""
    return shape[-1] if len(event) > 1 and shape[:-1] == event[:-1] else math.prod(shape)


def beside(x: Tensor, y: Tensor, axes: int) -> Tensor:
    """x (..., batch, *event) with y (batch, ...) as further channels; `axes` is how many the event has."""
    event, shape = tuple(x.shape[-axes:]), tuple(y.shape[1:])
    channels = channels_beside(event, shape)
    if channels != shape[-1] or len(shape) != axes:
        y = ops.reshape(y, (-1, *[1] * (axes - 1), channels))
    return ops.concatenate([x, ops.cast(y, x.dtype) + ops.zeros_like(x[..., :1])], axis=-1)  # of the axes of x


class BiCoder(Component, keras.layers.Layer):
    """What encoders and decoders have in common: a network, then a head that makes a distribution of its output.

    If the data are several views, a dict of tensors, it has a coder of its own kind for each of them.

    Args:
        network: "auto" (convolutions for images, an MLP for vectors), a name, a `Network`, or a Keras layer or model
            of your own with the right number of outputs; of several views, one for all, or a dict view -> network.
        seed: int or None, for the initial weights of a network that is not your own.
    Attributes:
        views: view -> its coder; empty if the data are one tensor.
        told: of a conditional model, which sets it before the coder is built: the function from y to what the network
            gets beside its input, and `told_shape`, of what it gives for one example.
    """

    told: Callable[[Tensor], Tensor] | None = None
    told_shape: Shape = ()

    def __init__(self, network: Any = "auto", seed: int | None = None) -> None:
        super().__init__()
        self.network: Any = for_views(self.as_network, network)
        self.seed = seed
        self.views: dict[str, Any] = {}

    @classmethod
    def as_network(cls, network: Any) -> Any:
        """A network as it is given to `BiCoder`, as a `Network`, a Keras layer or "auto"."""
        if isinstance(network, dict) and "class_name" in network:  # a layer of the user's, as Keras wrote it down
            network = keras.saving.deserialize_keras_object(network)
        is_auto = isinstance(network, str) and network == "auto"
        return network if is_auto or cls.is_layer(network) else Network.get(network)

    @staticmethod
    def is_layer(network: Any) -> bool:
        """Whether `network` is the user's own Keras layer."""
        return isinstance(network, keras.layers.Layer)

    def network_of(self, view: str) -> Any:
        """The network of one view, made anew, since each view has its own weights."""
        network = of_view("network", self.network, view)
        if self.is_layer(network) and not isinstance(self.network, dict):
            raise UsageError("network: expected a dict of one for each view, received one Keras layer for all of them")
        return network.spec() if isinstance(network, Component) else network

    @abc.abstractmethod
    def coder_of(self, view: str, shape: Shape) -> "BiCoder":
        """The coder of one view, of which an example has this shape."""

    def fitting_network(self, shape: Shape) -> Network:
        """What "auto" stands for: convolutions for images, an MLP for vectors."""
        if len(shape) not in (1, 3):
            raise UsageError(
                f'network: "auto" expects vectors or images (height, width, channels), received examples of shape '
                f'{tuple(shape)}; x[..., None] makes grey images of (height, width), and network="mlp" takes any shape'
            )
        return Conv() if len(shape) == 3 else MLP()

    @property
    def one_by_one(self) -> bool:
        """Whether the network treats the examples of a batch one by one, so that it may have them in slices."""
        if self.views:
            return all(coder.one_by_one for coder in self.views.values())
        return one_by_one(self.network) and not self.body.non_trainable_variables

    @property
    @abc.abstractmethod
    def head(self) -> Any:
        """The layer from the network's raw output to a `Distribution`."""

    @abc.abstractmethod
    def raw_shape(self) -> Shape:
        """Shape of one example's raw output, as the head needs it."""

    @abc.abstractmethod
    def make_body(self, input_shape: Shape) -> keras.layers.Layer:
        """This coder's half of `self.network`, a Keras layer from `input_shape` to (batch, *raw_shape)."""

    @abc.abstractmethod
    def image_shape(self, input_shape: Any) -> Any:
        """Shape of one example x, or of each of its views, from the shape that the coder is built with."""

    def build(self, input_shape: Any) -> None:
        shapes = self.image_shape(input_shape)
        if not isinstance(shapes, dict):
            self.build_one(input_shape.values if isinstance(input_shape, Masked) else input_shape)
            return
        self.example_shape = shapes if isinstance(input_shape, dict) else tuple(input_shape[1:])
        check_names(self.per_view(), shapes)
        seeds = np.random.SeedSequence(random.randrange(2**31) if self.seed is None else self.seed)
        with still_frozen(self):
            for view, seed in zip(sorted(shapes), seeds.generate_state(len(shapes)), strict=True):
                coder = self.views[view] = self.coder_of(view, shapes[view])
                coder.seed, coder.told, coder.told_shape = int(seed), self.told, self.told_shape
                coder.build(batched(shapes[view]) if isinstance(input_shape, dict) else input_shape)
        self.network = {view: coder.network for view, coder in self.views.items()}  # what "auto" stood for

    @abc.abstractmethod
    def per_view(self) -> dict[str, Any]:
        """name -> argument, of those that may be a dict of one for each view."""

    def build_one(self, input_shape: Any) -> None:
        """Make the network and the head of data that are one tensor."""
        input_shape = (None, *input_shape[1:])
        self.example_shape, self.event_axes = input_shape[1:], len(input_shape) - 1
        if self.network == "auto":
            self.network = self.fitting_network(self.image_shape(input_shape))
        input_shape = self.shape_seen(input_shape)
        if self.told is not None:
            *axes, channels = input_shape[1:]
            input_shape = (None, *axes, channels + channels_beside(input_shape[1:], self.told_shape))
        with still_frozen(self):
            self.body = self.network if self.is_layer(self.network) else self.make_body(input_shape)
            if not self.body.built:
                self.body.build(input_shape)
            received = self.body.compute_output_shape(input_shape)
            self.check_outputs(received)
            if not self.head.built:
                self.head.seed = self.seed
                self.head.build(received)

    def seen(self, inputs: Any) -> Tensor:
        """What the network sees of its input, of which something may be missing."""
        return values_of(inputs)

    def shape_seen(self, input_shape: Shape) -> Shape:
        """The shape of that, from the shape of the input."""
        return input_shape

    def check_outputs(self, received: Any) -> None:
        """`UsageError` if the network does not give what the head needs; `received` is what Keras says it gives."""
        head = f"the {self.head.part_name()} {self.head.family().__name__.lower()} needs"
        name, expected = f"network of the {self.part_name()}", self.raw_shape()
        if isinstance(received, dict) or not all(size is None or isinstance(size, int) for size in received):
            raise UsageError(
                f"{name}: expected one output of shape {expected} for each example, as {head}, received "
                f"{len(received)} outputs; join them with keras.layers.Concatenate"
            )
        if tuple(received[1:]) != expected:
            raise UsageError(
                f"{name}: expected {expected} outputs for each example, as {head}, received {tuple(received[1:])}"
            )

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """(batch, ...) or (samples, batch, ...) -> `Distribution` with the same leading axes."""
        return self.from_raw(self.raw(inputs, training))

    def from_raw(self, raw: Any) -> Any:
        """What `raw` gave -> `Distribution`."""
        found = self.head(raw)
        check_distribution(self.head, "call", found)
        return found

    def __call__(self, inputs: Any, *arguments: Any, **options: Any) -> Distribution:
        if isinstance(inputs, keras.KerasTensor):  # a distribution is no output of a functional model
            more = "encoder.mean_model()" if self.part_name() == "encoder" else "the network, decoder.body"
            raise UsageError(f"{self.part_name()}: expected numbers, received a keras.Input; use {more} in its place")
        return super().__call__(inputs, *arguments, **options)

    def export(self, *arguments: Any, **options: Any) -> None:
        """Refused: the model that it is part of exports it."""
        raise UsageError(f'export: expected a whole VAE; VAE.export(path, what="{self.part_name()}") writes this part')

    def raw(self, inputs: Any, training: bool | None = None) -> Any:
        """The network's output, of which the head makes the distribution: (batch, *raw_shape), float32."""
        inputs, y = parted(inputs)
        inputs = self.seen(inputs)
        if self.told is not None:
            if y is None:
                raise UsageError(f"{self.part_name()}: expected the condition of each example too, received none")
            inputs = beside(inputs, self.told(y), self.event_axes)
        leading = ops.shape(inputs)[: -self.event_axes]
        if len(leading) > 1:  # a network knows one batch axis only: fold the samples into it
            inputs = ops.reshape(inputs, (-1, *inputs.shape[-self.event_axes :]))
        raw = by_slices(lambda x: self.body(x, training=training), (inputs, 0), axis=0, allowed=self.one_by_one)
        raw = ops.cast(raw, "float32")
        if len(leading) > 1:
            raw = ops.reshape(raw, (*leading, *self.raw_shape()))
        return raw
