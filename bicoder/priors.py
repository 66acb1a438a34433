"""Priors p(z) over the latent code, and p(z|y) of a conditional model."""

import abc
import functools
import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from bicoder.component import Component
from bicoder.distributions import MEAN_SAMPLES, Distribution, Gaussian
from bicoder.engine.arrays.trees import mapped
from bicoder.engine.tensor import Seed, Shape, Tensor
from bicoder.errors import MOST_REPEATS, MOST_UNITS, UsageError, check_count
from bicoder.mixtures import Mixture
from bicoder.networks import Initialisers, glorot
from bicoder.posteriors import bounded


class Prior(Component, keras.layers.Layer):
    """p(z); it is built with the shape of the latent code, (None, latent_dim), and may own weights."""

    # Distributions of which the posterior must be one; () for any.
    needs: tuple[type, ...] = ()
    # Of a mixture.
    components = 1
    # Set by the model before the prior is built: where its initial weights come from, and the shape of what it is told.
    seed: int | None = None
    told_shape: Shape = ()
    # Whether it is a prior of conditional models alone.
    needs_condition = False
    # Whether it is one of conditional models too.
    takes_condition = True

    def __init__(self) -> None:
        super().__init__(dtype="float32")

    def attach(self, encoder: Callable[[Tensor], Any], example_shape: Any) -> None:
        """Called before `build`, for priors that are made of posteriors: the encoder, and the shape of one x."""

    def build(self, input_shape: Shape) -> None:
        self.latent_dim = input_shape[-1]
        self.make_weights(glorot(self.seed))

    def make_weights(self, initialisers: Initialisers) -> None:
        """Add the prior's weights; `initialisers` is an endless stream of seeded ones."""

    @property
    def numbers_per_code(self) -> int:
        """How many numbers `log_prob` holds in memory for every code."""
        return self.latent_dim * self.components

    @abc.abstractmethod
    def distribution(self) -> Distribution:
        """p(z), a `Distribution` whose parameters are those of one code, (1, latent_dim)."""

    def given(self, y: Tensor | None) -> Distribution:
        """p(z|y) of what is told of a batch of examples, (batch, ...): p(z) unless a prior makes something of y."""
        return self.distribution()

    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z) in nats: (..., batch, latent_dim) -> (..., batch)."""
        return self.distribution().log_prob(z)

    def sample(self, num_samples: int, seed: Seed = None) -> Tensor:
        """Draw codes, (num_samples, latent_dim), that follow `log_prob`."""
        return draw_codes(self.distribution(), num_samples, seed)


def draw_codes(p: Distribution, num_samples: int, seed: Seed) -> Tensor:
    """Codes (num_samples, latent_dim) of the prior's distribution, which has the parameters of one code or of each."""
    one = p.mean.shape[0] == 1
    return p.sample(seed, num_samples)[:, 0] if one else p.sample(seed)


def standard_normal(latent_dim: int) -> Gaussian:
    """N(0, I) of one code."""
    return Gaussian(ops.zeros((1, latent_dim)), 0.0)


class Transformed(Distribution):
    """z = f(noise) for an invertible f: log p(z) = log p(f^-1(z)) + log |det df^-1/dz|.

    Args:
        base: `Distribution` of the noise.
        forward: f.
        inverse: function z -> (f^-1(z), log |det df^-1/dz|).
    """

    def __init__(
        self,
        base: Distribution,
        forward: Callable[[Tensor], Tensor],
        inverse: Callable[[Tensor], tuple[Tensor, Tensor]],
    ) -> None:
        self.base, self.forward, self.inverse = base, forward, inverse

    @property
    def mean(self) -> Tensor:
        return ops.mean(self.sample(0, MEAN_SAMPLES), axis=0)

    def sample(self, seed: Seed = None, num_samples: int | None = None) -> Tensor:
        return self.forward(self.base.sample(seed, num_samples))

    def log_prob(self, value: Tensor) -> Tensor:
        noise, log_det = self.inverse(value)
        return self.base.log_prob(noise) + log_det


class StandardNormal(Prior):
    """N(0, I), without weights (Kingma & Welling 2014)."""

    def distribution(self) -> Distribution:
        return standard_normal(self.latent_dim)


class MixtureOfGaussians(Prior):
    """sum_k w_k N(z; mean_k, diag(sigma_k^2)), all learned with the model.

    Args:
        components: of the mixture.
    """

    def __init__(self, components: int = 10) -> None:
        super().__init__()
        self.components = check_count("components", components, MOST_UNITS)

    def make_weights(self, initialisers: Initialisers) -> None:
        shape = (self.components, self.latent_dim)
        spread = keras.initializers.RandomNormal(seed=next(initialisers).seed)
        self.means = self.add_weight(shape=shape, initializer=spread, name="means")
        self.log_scales = self.add_weight(shape=shape, initializer="zeros", name="log_scales")
        self.logits = self.add_weight(shape=(self.components,), initializer="zeros", name="logits")

    def distribution(self) -> Distribution:
        means, log_scales, logits = (ops.convert_to_tensor(v) for v in (self.means, self.log_scales, self.logits))
        return Mixture(Gaussian(means[None], log_scales[None]), ops.log_softmax(logits)[None])


class VampPrior(Prior):
    """The average of the posteriors of K learned pseudo-inputs, 1/K sum_k q(z|u_k) (Tomczak & Welling 2018).

    It needs a diagonal Gaussian posterior, and takes no condition: nobody knows the y of a pseudo-input.

    Args:
        pseudo_inputs: K; they live in [0, 1], the range of pixels.
    """

    needs = (Gaussian,)
    takes_condition = False

    def __init__(self, pseudo_inputs: int = 100) -> None:
        super().__init__()
        self.pseudo_inputs = self.components = check_count("pseudo_inputs", pseudo_inputs, MOST_UNITS)

    def attach(self, encoder: Callable[[Tensor], Any], example_shape: Any) -> None:
        # A function, for Keras would take an encoder for a part of the prior, and freeze it with the prior.
        self.encode, self.example_shape = lambda x: encoder(x), example_shape

    def make_weights(self, initialisers: Initialisers) -> None:
        if isinstance(self.example_shape, dict):
            self.inputs: Any = {view: self.make_inputs(s, initialisers) for view, s in self.example_shape.items()}
        else:
            self.inputs = self.make_inputs(self.example_shape, initialisers)

    def make_inputs(self, shape: Shape, initialisers: Initialisers) -> keras.Variable:
        """Pseudo-inputs of examples, or of a view, of this shape."""
        around_half = keras.initializers.RandomUniform(0.2, 0.8, seed=next(initialisers).seed)
        return self.add_weight(shape=(self.pseudo_inputs, *shape), initializer=around_half, name="pseudo_inputs")

    def start_from(self, images: Any) -> None:
        """Take the first K of `images` (N, ...), or of those of each view, as pseudo-inputs: faster than noise."""
        mapped(lambda inputs, one: inputs.assign(one[: self.pseudo_inputs]), self.inputs, images)

    def distribution(self) -> Distribution:
        q = self.encode(mapped(lambda one: ops.clip(ops.convert_to_tensor(one), 0.0, 1.0), self.inputs))
        components = Gaussian(q.mean[None], q.log_scale[None])
        return Mixture(components, ops.full((1, self.pseudo_inputs), -math.log(self.pseudo_inputs)))


class RealNVP(Prior):
    """N(0, I) seen through affine couplings (Dinh et al. 2017).

    Each coupling leaves half of z as it is and maps the other half to (z - t) e^-s, where s and t are functions of the
    first half; log p(z) = log N(f(z); 0, I) - sum(s). A code of one dimension has no halves: then p(z) = N(0, 1).

    Args:
        couplings: how many; the halves change places after each.
        hidden: width of the hidden layer of each coupling's network.
    """

    def __init__(self, couplings: int = 6, hidden: int = 64) -> None:
        super().__init__()
        self.couplings = check_count("couplings", couplings, MOST_REPEATS)
        self.hidden = check_count("hidden", hidden, MOST_UNITS)

    def make_weights(self, initialisers: Initialisers) -> None:
        self.kept = (self.latent_dim + 1) // 2
        self.changed = self.latent_dim - self.kept
        self.nets = [self.make_net(i, initialisers) for i in self.active()]  # all of them or none

    def make_net(self, i: int, initialisers: Initialisers) -> keras.Sequential:
        """The network of coupling i, (batch, seen) -> (batch, 2 * moved): s and t."""
        seen, moved = self.halves(i)
        # Part of a density, which is float32 whatever the policy of Keras.
        hidden = keras.layers.Dense(self.hidden, "relu", kernel_initializer=next(initialisers), dtype="float32")
        last = keras.layers.Dense(2 * moved, kernel_initializer="zeros", dtype="float32")
        net = keras.Sequential([hidden, last])
        net.build((None, seen))
        return net

    def halves(self, i: int) -> tuple[int, int]:
        """How many dimensions coupling i sees, and how many it moves."""
        return (self.kept, self.changed) if i % 2 == 0 else (self.changed, self.kept)

    def scale_and_shift(self, i: int, half: Tensor) -> tuple[Tensor, Tensor]:
        """s, bounded so that e^s stays within 0.13 and 7.4, and t."""
        leading = ops.shape(half)[:-1]
        raw = self.nets[i](ops.reshape(half, (-1, half.shape[-1])) if len(leading) > 1 else half)
        if len(leading) > 1:
            raw = ops.reshape(raw, (*leading, raw.shape[-1]))
        log_scale, shift = ops.split(raw, 2, axis=-1)
        return 2.0 * ops.tanh(0.5 * log_scale), shift

    def active(self) -> list[int]:
        """The couplings that have something to see and something to move."""
        return [i for i in range(self.couplings) if all(self.halves(i))]

    def distribution(self) -> Distribution:
        return Transformed(standard_normal(self.latent_dim), self.forward, self.inverse)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The noise that z (..., latent_dim) comes of, and the log determinant, (...)."""
        first, second, log_det = z[..., : self.kept], z[..., self.kept :], 0.0
        for i in self.active():
            seen, moved = (first, second) if i % 2 == 0 else (second, first)
            log_scale, shift = self.scale_and_shift(i, seen)
            moved = (moved - shift) * ops.exp(-log_scale)
            log_det = log_det - ops.sum(log_scale, axis=-1)
            first, second = (seen, moved) if i % 2 == 0 else (moved, seen)
        return ops.concatenate([first, second], axis=-1), log_det

    def forward(self, noise: Tensor) -> Tensor:
        """z of noise (..., latent_dim)."""
        first, second = noise[..., : self.kept], noise[..., self.kept :]
        for i in reversed(self.active()):
            seen, moved = (first, second) if i % 2 == 0 else (second, first)
            log_scale, shift = self.scale_and_shift(i, seen)
            moved = moved * ops.exp(log_scale) + shift
            first, second = (seen, moved) if i % 2 == 0 else (moved, seen)
        return ops.concatenate([first, second], axis=-1)


class ConditionalGaussian(Prior):
    """p(z|y) = N(mu(y), diag(sigma(y)^2)), with a network of one hidden layer, or linear in y (Sohn et al. 2015).

    It begins as N(0, I).

    Args:
        hidden: width of the hidden layer; 0 for none.
    """

    needs_condition = True

    def __init__(self, hidden: int = 0) -> None:
        super().__init__()
        self.hidden = 0 if hidden == 0 else check_count("hidden", hidden, MOST_UNITS)

    def make_weights(self, initialisers: Initialisers) -> None:
        dense = functools.partial(keras.layers.Dense, dtype="float32")  # part of a density, whatever Keras' policy
        layers = [dense(self.hidden, "relu", kernel_initializer=next(initialisers))] if self.hidden else []
        zeros = dense(2 * self.latent_dim, kernel_initializer="zeros")
        self.net = keras.Sequential([keras.layers.Flatten(dtype="float32"), *layers, zeros])
        self.net.build((None, *self.told_shape))

    def given(self, y: Tensor | None) -> Distribution:
        if y is None:
            return self.distribution()
        mean, log_scale = ops.split(self.net(y), 2, axis=-1)
        return Gaussian(mean, bounded(log_scale))

    def distribution(self) -> Distribution:
        raise UsageError("prior conditional_gaussian: p(z|y) is of a condition, and none was given")
