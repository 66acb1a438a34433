"""The two coders: Encoder for q(z|x), Decoder for p(x|z)."""

from typing import Any

import keras
from keras import ops

from bicoder.bi_coder import BiCoder
from bicoder.distributions import Distribution
from bicoder.engine.arrays.conditioned import conditioned, parted
from bicoder.engine.arrays.masked import Masked, arrays_in, shape_of_example
from bicoder.engine.arrays.there import both, examples_there, values_of, with_mask
from bicoder.engine.programs.slices import by_slices, one_by_one
from bicoder.engine.tensor import Shape, Tensor
from bicoder.errors import MOST_DIMENSIONS, UsageError, check_count
from bicoder.fusions import Experts, Fusion
from bicoder.joint import Joint, log_prob_there
from bicoder.likelihoods import Likelihood
from bicoder.networks import Network
from bicoder.per_view import for_views, of_view
from bicoder.posteriors import Posterior


@keras.saving.register_keras_serializable("bicoder")
class Encoder(BiCoder):
    """q(z|x): from data to a distribution over the latent code.

    Args:
        network: see `BiCoder`.
        latent_dim: dimensions of z; by default the network's own: 20 for `mlp`, 50 for `conv`, 64 for `residual`.
        posterior: name or `Posterior`; of several views, that of each.
        fusion: name or `Fusion`: what becomes of the posteriors of several views.
        seed: see `BiCoder`.
        sees_mask: whether the network sees which numbers are there, as channels beside those of x, 1 where one is and 0
            where it is missing; else a missing number looks like 0.
    """

    def __init__(
        self,
        network: Any = "auto",
        latent_dim: int | None = None,
        posterior: Any = "diagonal_gaussian",
        fusion: Any = "product_of_experts",
        seed: int | None = None,
        sees_mask: bool = False,
    ) -> None:
        super().__init__(network, seed)
        if not isinstance(sees_mask, bool):
            raise UsageError(f"sees_mask: expected True or False, received {sees_mask!r}")
        if latent_dim is None and self.is_layer(self.network):
            raise UsageError("latent_dim: needed with a network of your own, received None")
        self.latent_dim = None if latent_dim is None else check_count("latent_dim", latent_dim, MOST_DIMENSIONS)
        self.posterior = Posterior.get(posterior)
        self.fusion = Fusion.get(fusion)
        self.sees_mask = sees_mask

    @property
    def head(self) -> Posterior:
        return self.posterior

    @property
    def distribution(self) -> type[Distribution]:
        """The class of q(z|x), once the encoder is built."""
        views = len(self.views)
        return self.fusion.distribution(self.posterior, views) if views else self.posterior.distribution

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
        return Encoder(network, self.latent_dim, self.posterior.spec(), sees_mask=self.sees_mask)

    def seen(self, inputs: Any) -> Tensor:
        return with_mask(inputs) if self.sees_mask else super().seen(inputs)

    def shape_seen(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], 2 * input_shape[-1]) if self.sees_mask else input_shape

    def raw(self, inputs: Any, training: bool | None = None) -> Any:
        """The network's output, or of each view, `Masked` where the view is missing of some examples."""
        if not self.views:
            return super().raw(inputs, training)
        (views, y), raw = parted(inputs), {}
        for view in sorted(views):
            found = self.views[view].raw(conditioned(views[view], y), training)
            there = examples_there(views[view])
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
        if self.views:
            views = ", ".join(self.views)
            raise UsageError(f"mean_model: expected an encoder of one tensor, received one of the views {views}")
        if self.told is not None:
            raise UsageError("mean_model: expected an encoder of x alone, received one that is told y too")
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
        x, y = parted(x)
        if self.views:
            return {
                view: self.views[view].log_px(conditioned(x[view], y), z, training, keep, weights)["x"]
                for view in sorted(x)
            }
        likelihood, arrays = self.likelihood, arrays_in(x)

        def log_prob(z: Tensor, *parts: Tensor) -> Tensor:
            known = Masked(*parts[:2]) if isinstance(x, Masked) else parts[0]
            p = self(conditioned(z, None if y is None else parts[-1]), training=training)
            if training:
                p = likelihood.for_batch(p, known, both(weights, examples_there(known)))
            if keep:
                likelihood.keep(p)
            return log_prob_there(p, known)

        alone = self.one_by_one and one_by_one(likelihood)
        parts = [(ops.cast(part, "float32"), 0) for part in (arrays if y is None else [*arrays, y])]
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
