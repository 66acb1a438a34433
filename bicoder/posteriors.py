"""Posteriors: from the raw output of the encoder's network to the distribution q(z|x)."""

import abc
import itertools
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from bicoder.component import Component
from bicoder.distributions import MEAN_SAMPLES, Distribution, FullGaussian, Gaussian
from bicoder.engine.constant_noise import constant_normal
from bicoder.engine.open_layer import OpenLayer
from bicoder.engine.tensor import Seed, Shape, Tensor
from bicoder.errors import MOST_REPEATS, MOST_UNITS, check_count
from bicoder.networks import glorot

MOST_IN_MASKS = 2**26  # numbers in all masks of a flow


class Posterior(Component, OpenLayer):
    """q(z|x), given the raw output of a network; it may own weights."""

    # What `call` returns; some priors and objectives need one that they know.
    distribution: type = Distribution
    # Set by the encoder before the posterior is built: where its initial weights come from.
    seed: int | None = None

    def __init__(self) -> None:
        super().__init__(dtype="float32")

    @abc.abstractmethod
    def num_outputs(self, latent_dim: int) -> int:
        """How many raw outputs the network gives for a code of `latent_dim` dimensions."""

    @abc.abstractmethod
    def call(self, raw: Tensor) -> Distribution:
        """Raw output (batch, num_outputs) -> `Distribution` over z (batch, latent_dim)."""


def bounded(log_scale: Tensor, bound: float = 15.0) -> Tensor:
    """log(sigma) kept within +-15, beyond which e^(2 log sigma) soon has no number in float32.

    The gradient is that at the bound, and does not vanish, so that a scale can come back.
    """
    return log_scale + ops.stop_gradient(ops.clip(log_scale, -bound, bound) - log_scale)


class DiagonalGaussianPosterior(Posterior):
    """q(z|x) = N(mu, diag(sigma^2)); the network gives mu and log(sigma^2) (Kingma & Welling 2014)."""

    distribution = Gaussian

    def num_outputs(self, latent_dim: int) -> int:
        return 2 * latent_dim

    def call(self, raw: Tensor) -> Distribution:
        mean, log_var = ops.split(raw, 2, axis=-1)
        return Gaussian(mean, bounded(0.5 * log_var))


class FullGaussianPosterior(Posterior):
    """q(z|x) = N(mu, L L^T); the network gives mu and the lower triangle L, its diagonal as a logarithm."""

    distribution = FullGaussian

    def num_outputs(self, latent_dim: int) -> int:
        return latent_dim + latent_dim * (latent_dim + 1) // 2

    def call(self, raw: Tensor) -> Distribution:
        # n = d + d (d + 1) / 2 for d dimensions.
        d = (math.isqrt(9 + 8 * raw.shape[-1]) - 3) // 2
        mean, log_diagonal, below = ops.split(raw, [d, 2 * d], axis=-1)
        # Every entry of the triangle is picked from [entries below the diagonal, 0] by its place.
        places = np.full((d, d), d * (d - 1) // 2)
        places[np.tril_indices(d, -1)] = np.arange(d * (d - 1) // 2)
        padded = ops.pad(below, [(0, 0), (0, 1)])
        triangle = ops.reshape(ops.take(padded, places.ravel(), axis=-1), (-1, d, d))
        return FullGaussian(mean, triangle + ops.exp(bounded(log_diagonal))[:, :, None] * ops.eye(d))


class IAFPosterior(Posterior):
    """A diagonal Gaussian, then steps of an inverse autoregressive flow conditioned on x (Kingma et al. 2016).

    z_t = s_t * z_{t-1} + (1 - s_t) * m_t, where m_t and s_t in (0, 1) for dimension i are functions of the dimensions
    before i (the order turns around with every step) and of a context from the encoder, which enters every step;
    log q(z_T|x) = log N(z_0; mu, diag(sigma^2)) - sum_t sum_i log s_t,i.

    Args:
        steps: of the flow.
        hidden: width of the one hidden layer of each step's autoregressive network.
        context: numbers the encoder gives each step's network.
    """

    def __init__(self, steps: int = 4, hidden: int = 128, context: int = 32) -> None:
        super().__init__()
        self.steps = check_count("steps", steps, MOST_REPEATS)
        self.hidden = check_count("hidden", hidden, MOST_UNITS)
        self.context = check_count("context", context, MOST_UNITS)
        self.flow = [AutoregressiveNetwork(hidden) for _ in range(steps)]

    def num_outputs(self, latent_dim: int) -> int:
        return 2 * latent_dim + self.context

    def build(self, input_shape: Shape) -> None:
        latent_dim = (input_shape[-1] - self.context) // 2
        # Every step has masks of this size, which are made at once.
        check_count("hidden", self.hidden, max(1, MOST_IN_MASKS // (latent_dim * self.steps)))
        initialisers = glorot(self.seed)
        for network in self.flow:
            network.initialisers = initialisers
            network.build([(None, latent_dim), (None, self.context)])

    def call(self, raw: Tensor) -> Distribution:
        d = (raw.shape[-1] - self.context) // 2
        mean, log_var, context = ops.split(raw, [d, 2 * d], axis=-1)
        return InverseAutoregressive(Gaussian(mean, bounded(0.5 * log_var)), self.flow, context)


class AutoregressiveNetwork(OpenLayer):
    """m_i and the logit of s_i from the dimensions before i and a context: a masked layer (MADE, Germain et al. 2015).

    Args:
        hidden: width of the hidden layer.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__(dtype="float32")
        self.hidden = hidden
        self.initialisers = glorot(None)

    def build(self, input_shape: Sequence[Any]) -> None:
        (*_, d), (*_, context) = input_shape
        # Hidden unit h may see dimensions 0..degree(h), output i only hidden units of degree < i.
        degrees = np.arange(self.hidden) % max(d - 1, 1)
        # NumPy arrays: a tensor that is made while a graph is built would not outlive it.
        self.mask_in = (np.arange(d)[:, None] <= degrees).astype("float32")
        self.mask_out = (degrees[:, None] < np.arange(d)).astype("float32")
        first, second, third, fourth = itertools.islice(self.initialisers, 4)
        self.kernel_in = self.add_weight(shape=(d, self.hidden), initializer=first, name="kernel_in")
        self.kernel_context = self.add_weight(shape=(context, self.hidden), initializer=second, name="kernel_context")
        self.bias = self.add_weight(shape=(self.hidden,), initializer="zeros", name="bias")
        self.kernel_shift = self.add_weight(shape=(self.hidden, d), initializer=third, name="kernel_shift")
        self.kernel_gate = self.add_weight(shape=(self.hidden, d), initializer=fourth, name="kernel_gate")
        self.bias_shift = self.add_weight(shape=(d,), initializer="zeros", name="bias_shift")
        # s starts near one: the flow begins as the identity, as the paper advises.
        self.bias_gate = self.add_weight(shape=(d,), initializer=keras.initializers.Constant(2.0), name="bias_gate")

    def call(self, inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        z, context = inputs
        mask_in, mask_out = ops.convert_to_tensor(self.mask_in), ops.convert_to_tensor(self.mask_out)
        # The bias is added to what has no samples: after both, TensorFlow's kernel for a product, a bias and elu in one
        # would lose the axis of the samples of a batch of one, on processors with AVX-512.
        told = ops.matmul(context, self.kernel_context) + self.bias
        hidden = ops.elu(ops.matmul(z, self.kernel_in * mask_in) + told)
        shift = ops.matmul(hidden, self.kernel_shift * mask_out) + self.bias_shift
        return shift, ops.matmul(hidden, self.kernel_gate * mask_out) + self.bias_gate


class InverseAutoregressive(Distribution):
    """The distribution of `IAFPosterior`: fast to sample with its density, slow in the density of other values.

    Args:
        base: `Gaussian` with parameters (batch, d).
        flow: the networks of the steps.
        context: tensor (batch, context).
    """

    density_is_cheap = False

    def __init__(self, base: Gaussian, flow: Sequence[AutoregressiveNetwork], context: Tensor) -> None:
        self.base, self.flow, self.context = base, flow, context

    @property
    def mean(self) -> Tensor:
        # The same noise for every image: a unit that says nothing about x has the same mean for all of them.
        noise = ops.convert_to_tensor(constant_normal((MEAN_SAMPLES, 1, self.base.mean.shape[-1])))
        z, _ = self.push(self.base.mean + self.base.scale * noise)
        return ops.mean(z, axis=0)

    def sample(self, seed: Seed = None, num_samples: int | None = None) -> Tensor:
        return self.sample_and_log_prob(seed, num_samples)[0]

    def sample_and_log_prob(self, seed: Seed = None, num_samples: int | None = None) -> tuple[Tensor, Tensor]:
        return self.push(self.base.sample(seed, num_samples))

    def push(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Take z of the base through the flow; returns it with its log density."""
        log_q = self.base.log_prob(z)
        for network in self.flow:
            shift, gate = network([z, self.context])
            z = ops.sigmoid(gate) * z + ops.sigmoid(-gate) * shift
            log_q = log_q + ops.sum(ops.softplus(-gate), axis=-1)  # -log s
            z = ops.flip(z, axis=-1)
        return z, log_q

    def log_prob(self, value: Tensor) -> Tensor:
        z = ops.convert_to_tensor(value)
        log_s = 0.0
        for network in reversed(self.flow):
            target = ops.flip(z, axis=-1)
            z = target
            # Dimension i is right once those before it are: after d rounds, all are.
            for _ in range(target.shape[-1]):
                shift, gate = network([z, self.context])
                z = (target - ops.sigmoid(-gate) * shift) / ops.sigmoid(gate)
            _, gate = network([z, self.context])
            log_s = log_s + ops.sum(ops.softplus(-gate), axis=-1)
        return self.base.log_prob(z) + log_s
