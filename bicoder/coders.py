"""BiCoder, and the two that share it: Encoder for q(z|x), Decoder for p(x|z)."""

import abc
import random
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from bicoder.component import Component
from bicoder.distributions import Distribution
from bicoder.engine.arrays.masked import Masked, both, examples_there, values_of
from bicoder.engine.arrays.trees import batched, shape_of_example
from bicoder.engine.programs.fixed import still_frozen
from bicoder.engine.programs.slices import by_slices, one_by_one
from bicoder.engine.tensor import Shape, Tensor
from bicoder.errors import MOST_DIMENSIONS, UsageError, check_count
from bicoder.fusions import Experts, Fusion
from bicoder.joint import Joint, log_prob_there
from bicoder.likelihoods import Likelihood
from bicoder.networks import MLP, Conv, Network
from bicoder.posteriors import Posterior
from bicoder.returned import check_distribution
from bicoder.saving import no_export


def for_views(function: Callable[[Any], Any], value: Any) -> Any:
    """A function of what is given for all views, or of that of each view of a dict; the config of a part is no dict."""
    if isinstance(value, dict) and not {"name", "class_name"} & set(value):
        return {view: function(one) for view, one in value.items()}
    return function(value)


def of_view(name: str, value: Any, view: str) -> Any:
    """What is given for one view, or for all of them."""
    if not isinstance(value, dict):
        return value
    if view not in value:
        raise UsageError(f"{name}: expected one for each view, received none for {view}, but for {', '.join(value)}")
    return value[view]


def check_names(arguments: dict[str, Any], views: dict[str, Any]) -> None:
    """`UsageError` if an argument that has something for each view names one that there is not."""
    for name, value in arguments.items():
        unknown = sorted(set(value) - set(views)) if isinstance(value, dict) else []
        if unknown:
            raise UsageError(f"{name}: expected the views {', '.join(views)}, received {', '.join(unknown)} too")


class BiCoder(Component, keras.layers.Layer):
    """What encoders and decoders have in common: a network, then a head that makes a distribution of its output.

    If the data are several views, a dict of tensors, it has a coder of its own kind for each of them.

    Args:
        network: "auto" (convolutions for images, an MLP for vectors), a name, a `Network`, or a Keras layer or model
            of your own with the right number of outputs; of several views, one for all, or a dict view -> network.
        seed: int or None, for the initial weights of a network that is not your own.
    Attributes:
        views: view -> its coder; empty if the data are one tensor.
    """

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
        return network if isinstance(network, str) and network == "auto" or cls.is_layer(network) else Network.get(network)

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
                coder.seed = int(seed)
                coder.build(batched(shapes[view]) if isinstance(input_shape, dict) else input_shape)

    @abc.abstractmethod
    def per_view(self) -> dict[str, Any]:
        """name -> argument, of those that may be a dict of one for each view."""

    def build_one(self, input_shape: Any) -> None:
        """Make the network and the head of data that are one tensor."""
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
        """Refused: see `no_export`."""
        no_export(type(self).__name__)

    def raw(self, inputs: Any, training: bool | None = None) -> Any:
        """The network's output, of which the head makes the distribution: (batch, *raw_shape), float32."""
        inputs = values_of(inputs)
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
        posterior: name or `Posterior`; of several views, that of each.
        fusion: name or `Fusion`: what becomes of the posteriors of several views.
        seed: see `BiCoder`.
    """

    def __init__(
        self,
        network: Any = "auto",
        latent_dim: int | None = None,
        posterior: Any = "diagonal_gaussian",
        fusion: Any = "product_of_experts",
        seed: int | None = None,
    ) -> None:
        super().__init__(network, seed)
        if latent_dim is None and self.is_layer(self.network):
            raise UsageError("latent_dim: needed with a network of your own, received None")
        self.latent_dim = None if latent_dim is None else check_count("latent_dim", latent_dim, MOST_DIMENSIONS)
        self.posterior = Posterior.get(posterior)
        self.fusion = Fusion.get(fusion)

    @property
    def head(self) -> Posterior:
        return self.posterior

    @property
    def distribution(self) -> type[Distribution]:
        """The class of q(z|x), once the encoder is built."""
        expert = self.posterior.distribution
        return self.fusion.distribution(expert, len(self.views)) if self.views else expert

    def image_shape(self, input_shape: Any) -> Any:
        return shape_of_example(input_shape)

    def per_view(self) -> dict[str, Any]:
        return {"network": self.network}

    def coder_of(self, view: str, shape: Shape) -> "Encoder":
        network = self.network_of(view)
        if self.latent_dim is None and self.is_layer(network):
            raise UsageError("latent_dim: needed with a network of your own, received None")
        if self.latent_dim is None:
            known = self.fitting_network(shape) if network == "auto" else Network.get(network)
            self.latent_dim = known.latent_dim
        return Encoder(network, self.latent_dim, self.posterior.spec())

    def raw(self, inputs: Any, training: bool | None = None) -> Any:
        """The network's output, or of each view, `Masked` where the view is missing of some examples."""
        if not self.views:
            return super().raw(inputs, training)
        raw = {}
        for view in sorted(inputs):
            found, there = self.views[view].raw(inputs[view], training), examples_there(inputs[view])
            raw[view] = found if there is None else Masked(found, there)
        return raw

    def from_raw(self, raw: Any) -> Any:
        if not self.views:
            return super().from_raw(raw)
        experts = {view: self.views[view].from_raw(values_of(one)) for view, one in raw.items()}
        return Experts(self.fusion, experts, {view: examples_there(one) for view, one in raw.items()}).fused()

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
        inputs = keras.tree.map_shape_structure(keras.Input, self.example_shape)
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
        output_shape: shape of one example, such as (784,) or (28, 28, 3), or a dict view -> shape; by default that of
            the model's first batch.
        likelihood: name or `Likelihood`; of several views, one for all, or a dict view -> likelihood.
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
        self.output_shape: Any = None if output_shape is None else for_views(tuple, output_shape)
        self.likelihood: Any = for_views(Likelihood.get, likelihood)

    @property
    def head(self) -> Any:
        return self.likelihood

    @property
    def likelihoods(self) -> dict[str, Likelihood]:
        """view -> its likelihood, of which there is one under the name "x" if the data are one tensor."""
        return {view: coder.likelihood for view, coder in self.views.items()} or {"x": self.likelihood}

    def per_view(self) -> dict[str, Any]:
        return {"network": self.network, "likelihood": self.likelihood}

    def coder_of(self, view: str, shape: Shape) -> "Decoder":
        return Decoder(self.network_of(view), shape, of_view("likelihood", self.likelihood, view).spec())

    def raw(self, inputs: Tensor, training: bool | None = None) -> Any:
        if not self.views:
            return super().raw(inputs, training)
        return {view: coder.raw(inputs, training) for view, coder in self.views.items()}

    def from_raw(self, raw: Any) -> Any:
        if not self.views:
            return super().from_raw(raw)
        return Joint({view: self.views[view].from_raw(one) for view, one in raw.items()})

    def log_px(
        self,
        x: Any,
        z: Tensor,
        training: bool | None = None,
        keep: bool = False,
        weights: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """view -> log p(x_v|z) of the views of x, (K, batch); of one tensor under the name "x". See `VAE.terms`."""
        if self.views:
            return {view: self.views[view].log_px(x[view], z, training, keep, weights)["x"] for view in sorted(x)}
        likelihood = self.likelihood
        masked = isinstance(x, Masked)

        def log_prob(z: Tensor, *parts: Tensor) -> Tensor:
            known = Masked(*parts) if masked else parts[0]
            p = self(z, training=training)
            if training:
                p = likelihood.for_batch(p, known, both(weights, examples_there(known)))
            if keep:
                likelihood.keep(p)
            return log_prob_there(p, known)

        alone = self.one_by_one and one_by_one(likelihood)
        parts = [(ops.cast(part, "float32"), 0) for part in (x if masked else [x])]
        return {"x": by_slices(log_prob, (z, -2), *parts, axis=-1, allowed=alone)}

    def image_shape(self, input_shape: Any) -> Any:
        if self.output_shape is None:
            raise UsageError("output_shape: needed to build a Decoder on its own, received None")
        return self.output_shape

    def raw_shape(self) -> Shape:
        *axes, channels = self.output_shape
        return (*axes, self.likelihood.num_outputs(channels))

    def make_body(self, input_shape: Shape) -> keras.layers.Layer:
        return self.network.decoder(self.output_shape, self.raw_shape()[-1], seed=self.seed)
