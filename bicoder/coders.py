"""BiCoder, and the two that share it: Encoder for q(z|x), Decoder for p(x|z)."""

import abc
from typing import Any

import keras
from keras import ops

from bicoder.component import Component
from bicoder.distributions import Distribution
from bicoder.engine.programs.slices import by_slices, one_by_one
from bicoder.engine.tensor import Shape, Tensor
from bicoder.errors import MOST_DIMENSIONS, UsageError, check_count
from bicoder.likelihoods import Likelihood
from bicoder.networks import MLP, Conv, Network
from bicoder.posteriors import Posterior
from bicoder.returned import check_distribution


class BiCoder(Component, keras.layers.Layer):
    """What encoders and decoders have in common: a network, then a head that makes a distribution of its output.

    Args:
        network: "auto" (convolutions for images, an MLP for vectors), a name, a `Network`, or a Keras layer or model
            of your own with the right number of outputs.
        seed: int or None, for the initial weights of a network that is not your own.
    """

    def __init__(self, network: Any = "auto", seed: int | None = None) -> None:
        super().__init__()
        if isinstance(network, dict) and "class_name" in network:  # a layer of the user's, as Keras wrote it down
            network = keras.saving.deserialize_keras_object(network)
        self.network = network if network == "auto" or self.is_layer(network) else Network.get(network)
        self.seed = seed

    @staticmethod
    def is_layer(network: Any) -> bool:
        """Whether `network` is the user's own Keras layer."""
        return isinstance(network, keras.layers.Layer)

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
    def image_shape(self, input_shape: Shape) -> Shape:
        """Shape of one example x, from the shape that the coder is built with."""

    def build(self, input_shape: Any) -> None:
        input_shape = (None, *input_shape[1:])
        self.event_axes = len(input_shape) - 1
        if self.network == "auto":
            self.network = self.fitting_network(self.image_shape(input_shape))
        self.body = self.network if self.is_layer(self.network) else self.make_body(input_shape)
        if not self.body.built:
            self.body.build(input_shape)
        received = self.body.compute_output_shape(input_shape)
        if tuple(received[1:]) != self.raw_shape():
            raise UsageError(
                f"network of the {self.part_name()}: expected {self.raw_shape()} outputs for each example, as the "
                f"{self.head.part_name()} {self.head.family().__name__.lower()} needs, received {tuple(received[1:])}"
            )
        if not self.head.built:
            self.head.seed = self.seed
            self.head.build(received)

    def call(self, inputs: Tensor, training: bool | None = None) -> Distribution:
        """(batch, ...) or (samples, batch, ...) -> `Distribution` with the same leading axes."""
        found = self.head(self.raw(inputs, training))
        check_distribution(self.head, "call", found)
        return found

    def raw(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """The network's output, of which the head makes the distribution: (batch, *raw_shape), float32."""
        leading = ops.shape(inputs)[: -self.event_axes]
        if len(leading) > 1:  # a network knows one batch axis only: fold the samples into it
            inputs = ops.reshape(inputs, (-1, *inputs.shape[-self.event_axes :]))
        raw = by_slices(lambda x: self.body(x, training=training), (inputs, 0), axis=0, allowed=self.one_by_one)
        raw = ops.cast(raw, "float32")
        if len(leading) > 1:
            raw = ops.reshape(raw, (*leading, *self.raw_shape()))
        return raw


class Encoder(BiCoder):
    """q(z|x): from data to a distribution over the latent code.

    Args:
        network: see `BiCoder`.
        latent_dim: dimensions of z; by default the network's own: 20 for `mlp`, 50 for `conv`, 64 for `residual`.
        posterior: name or `Posterior`.
        seed: see `BiCoder`.
    """

    def __init__(
        self,
        network: Any = "auto",
        latent_dim: int | None = None,
        posterior: Any = "diagonal_gaussian",
        seed: int | None = None,
    ) -> None:
        super().__init__(network, seed)
        if latent_dim is None and self.is_layer(self.network):
            raise UsageError("latent_dim: needed with a network of your own, received None")
        self.latent_dim = None if latent_dim is None else check_count("latent_dim", latent_dim, MOST_DIMENSIONS)
        self.posterior = Posterior.get(posterior)

    @property
    def head(self) -> Posterior:
        return self.posterior

    def image_shape(self, input_shape: Shape) -> Shape:
        return tuple(input_shape[1:])

    def raw_shape(self) -> Shape:
        return (self.posterior.num_outputs(self.latent_dim),)

    def make_body(self, input_shape: Shape) -> keras.layers.Layer:
        if self.latent_dim is None:
            self.latent_dim = self.network.latent_dim
        return self.network.encoder(self.image_shape(input_shape), *self.raw_shape(), seed=self.seed)


class Decoder(BiCoder):
    """p(x|z): from the latent code to a distribution over data.

    Args:
        network: see `BiCoder`.
        output_shape: shape of one example, such as (784,) or (28, 28, 3); by default that of the model's first batch.
        likelihood: name or `Likelihood`.
        seed: see `BiCoder`.
    """

    def __init__(
        self,
        network: Any = "auto",
        output_shape: Shape | None = None,
        likelihood: Any = "gaussian",
        seed: int | None = None,
    ) -> None:
        super().__init__(network, seed)
        self.output_shape: Any = None if output_shape is None else tuple(output_shape)
        self.likelihood = Likelihood.get(likelihood)

    @property
    def head(self) -> Likelihood:
        return self.likelihood

    def image_shape(self, input_shape: Shape) -> Shape:
        if self.output_shape is None:
            raise UsageError("output_shape: needed to build a Decoder on its own, received None")
        return self.output_shape

    def raw_shape(self) -> Shape:
        *axes, channels = self.output_shape
        return (*axes, self.likelihood.num_outputs(channels))

    def make_body(self, input_shape: Shape) -> keras.layers.Layer:
        return self.network.decoder(self.output_shape, self.raw_shape()[-1], seed=self.seed)
