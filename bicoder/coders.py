"""BiCoder, and the two that share it: Encoder for q(z|x), Decoder for p(x|z)."""

import abc
from typing import Any

import keras
from keras import ops

from bicoder.component import Component
from bicoder.distributions import Distribution
from bicoder.engine.programs.fixed import still_frozen
from bicoder.engine.programs.slices import by_slices, one_by_one
from bicoder.engine.tensor import Shape, Tensor
from bicoder.errors import MOST_DIMENSIONS, UsageError, check_count
from bicoder.likelihoods import Likelihood
from bicoder.networks import MLP, Conv, Network
from bicoder.posteriors import Posterior
from bicoder.returned import check_distribution
from bicoder.saving import no_export


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
        self.example_shape, self.event_axes = input_shape[1:], len(input_shape) - 1
        if self.network == "auto":
            self.network = self.fitting_network(self.image_shape(input_shape))
        with still_frozen(self):
            self.body = self.network if self.is_layer(self.network) else self.make_body(input_shape)
            if not self.body.built:
                self.body.build(input_shape)
            received = self.body.compute_output_shape(input_shape)
            self.check_outputs(received)
            if not self.head.built:
                self.head.seed = self.seed
                self.head.build(received)

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

    def call(self, inputs: Tensor, training: bool | None = None) -> Distribution:
        """(batch, ...) or (samples, batch, ...) -> `Distribution` with the same leading axes."""
        found = self.head(self.raw(inputs, training))
        check_distribution(self.head, "call", found)
        return found

    def __call__(self, inputs: Any, *arguments: Any, **options: Any) -> Distribution:
        if isinstance(inputs, keras.KerasTensor):  # a distribution is no output of a functional model
            more = "encoder.mean_model()" if self.part_name() == "encoder" else "the network, decoder.body"
            raise UsageError(f"{self.part_name()}: expected numbers, received a keras.Input; use {more} in its place")
        return super().__call__(inputs, *arguments, **options)

    def export(self, *arguments: Any, **options: Any) -> None:
        """Refused: see `no_export`."""
        no_export(type(self).__name__)

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


@keras.saving.register_keras_serializable("bicoder")
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

    def mean_model(self) -> keras.Model:
        """A functional Keras model from x to the mean of q(z|x), (batch, latent_dim), with the weights of this encoder.

        What is trained in it is trained here, and what is frozen here is frozen in it.
        """
        if not self.built:
            raise UsageError("mean_model: the encoder has not seen data yet; fit its VAE first, or build it")
        inputs = keras.Input(self.example_shape)
        return keras.Model(inputs, PosteriorMean(self)(inputs))


@keras.saving.register_keras_serializable("bicoder")
class PosteriorMean(keras.layers.Layer):
    """From x to the mean of q(z|x), as a layer of Keras' functional models.

    Args:
        encoder: a built `Encoder`, or its config.
    """

    def __init__(self, encoder: Encoder | dict[str, Any], **options: Any) -> None:
        super().__init__(**options)
        self.encoder = Encoder.get(encoder)

    def build(self, input_shape: Any) -> None:
        if not self.encoder.built:
            self.encoder.build(input_shape)

    def call(self, x: Tensor) -> Tensor:
        return self.encoder(x).mean

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], self.encoder.latent_dim)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"encoder": self.encoder.spec()}


@keras.saving.register_keras_serializable("bicoder")
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
