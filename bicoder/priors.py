"""Priors p(z) over the latent code."""

import abc
import math

import keras
from keras import ops

from bicoder.component import Component
from bicoder.distributions import LOG_2PI, Gaussian
from bicoder.errors import MOST_REPEATS, MOST_UNITS, check_count
from bicoder.networks import glorot


class Prior(Component, keras.layers.Layer):
    """p(z); it is built with the shape of the latent code, (None, latent_dim), and may own weights."""

    # Distributions of which the posterior must be one; () for any.
    needs: tuple[type, ...] = ()
    # Of a mixture.
    components = 1
    # Set by the model before the prior is built: where its initial weights come from.
    seed: int | None = None

    def __init__(self):
        super().__init__(dtype="float32")

    def attach(self, encoder, example_shape):
        """Called before `build`, for priors that are made of posteriors: the encoder, and the shape of one x."""

    def build(self, input_shape):
        self.latent_dim = input_shape[-1]
        self.make_weights(glorot(self.seed))

    def make_weights(self, initialisers):
        """Add the prior's weights; `initialisers` is an endless stream of seeded ones."""

    @property
    def numbers_per_code(self):
        """How many numbers `log_prob` holds in memory for every code."""
        return self.latent_dim * self.components

    @abc.abstractmethod
    def log_prob(self, z):
        """log p(z) in nats: (..., batch, latent_dim) -> (..., batch)."""

    @abc.abstractmethod
    def sample(self, num_samples, seed=None):
        """Draw codes, (num_samples, latent_dim), that follow `log_prob`."""


def standard_normal(num_samples, latent_dim):
    """N(0, I) for `num_samples` codes, as a `Distribution`."""
    zeros = ops.zeros((num_samples, latent_dim))
    return Gaussian(zeros, zeros)


def two_seeds(seed):
    """Seeds for two draws that must not follow from each other."""
    return (seed, (seed + 0x9E3779B9) % 2**31) if isinstance(seed, int) else (seed, seed)


def mixture_log_prob(z, means, log_scales, log_weights):
    """log sum_k w_k N(z; mean_k, diag(sigma_k^2)): z (..., latent), parameters (K, latent), log w (K,) -> (...)."""
    standardised = (z[..., None, :] - means) * ops.exp(-log_scales)
    densities = -0.5 * ops.sum(LOG_2PI + ops.square(standardised), axis=-1) - ops.sum(log_scales, axis=-1)
    return ops.logsumexp(densities + log_weights, axis=-1)


def mixture_sample(num_samples, seed, means, log_scales, log_weights):
    """Draw from that mixture, (num_samples, latent)."""
    which_seed, noise_seed = two_seeds(seed)
    which = keras.random.categorical(log_weights[None], num_samples, seed=which_seed)[0]
    return Gaussian(ops.take(means, which, axis=0), ops.take(log_scales, which, axis=0)).sample(noise_seed)


class StandardNormal(Prior):
    """N(0, I), without weights (Kingma & Welling 2014)."""

    def log_prob(self, z):
        return standard_normal(1, self.latent_dim).log_prob(z)

    def sample(self, num_samples, seed=None):
        return standard_normal(num_samples, self.latent_dim).sample(seed)


class MixtureOfGaussians(Prior):
    """sum_k w_k N(z; mean_k, diag(sigma_k^2)), all learned with the model.

    Args:
        components: of the mixture.
    """

    def __init__(self, components=10):
        super().__init__()
        self.components = check_count("components", components, MOST_UNITS)

    def make_weights(self, initialisers):
        shape = (self.components, self.latent_dim)
        spread = keras.initializers.RandomNormal(seed=next(initialisers).seed)
        self.means = self.add_weight(shape=shape, initializer=spread, name="means")
        self.log_scales = self.add_weight(shape=shape, initializer="zeros", name="log_scales")
        self.logits = self.add_weight(shape=(self.components,), initializer="zeros", name="logits")

    def parameters(self):
        """Means and log scales (K, latent_dim), log weights (K,)."""
        values = [ops.convert_to_tensor(v) for v in (self.means, self.log_scales, self.logits)]
        return *values[:2], ops.log_softmax(values[2])

    def log_prob(self, z):
        return mixture_log_prob(z, *self.parameters())

    def sample(self, num_samples, seed=None):
        return mixture_sample(num_samples, seed, *self.parameters())


class VampPrior(Prior):
    """The average of the posteriors of K learned pseudo-inputs, 1/K sum_k q(z|u_k) (Tomczak & Welling 2018).

    It needs a diagonal Gaussian posterior.

    Args:
        pseudo_inputs: K; they live in [0, 1], the range of pixels.
    """

    needs = (Gaussian,)

    def __init__(self, pseudo_inputs=100):
        super().__init__()
        self.pseudo_inputs = self.components = check_count("pseudo_inputs", pseudo_inputs, MOST_UNITS)

    def attach(self, encoder, example_shape):
        self.encoder, self.example_shape = encoder, tuple(example_shape)

    def make_weights(self, initialisers):
        around_half = keras.initializers.RandomUniform(0.2, 0.8, seed=next(initialisers).seed)
        shape = (self.pseudo_inputs, *self.example_shape)
        self.inputs = self.add_weight(shape=shape, initializer=around_half, name="pseudo_inputs")

    def start_from(self, images):
        """Take the first K of `images` (N, ...) as pseudo-inputs, which trains faster than noise."""
        self.inputs.assign(images[: self.pseudo_inputs])

    def parameters(self):
        """Means and log scales of the K posteriors (K, latent_dim), log weights (K,)."""
        q = self.encoder(ops.clip(ops.convert_to_tensor(self.inputs), 0.0, 1.0))
        return q.mean, q.log_scale, ops.full((self.pseudo_inputs,), -math.log(self.pseudo_inputs))

    def log_prob(self, z):
        return mixture_log_prob(z, *self.parameters())

    def sample(self, num_samples, seed=None):
        return mixture_sample(num_samples, seed, *self.parameters())


class RealNVP(Prior):
    """N(0, I) seen through affine couplings (Dinh et al. 2017).

    Each coupling leaves half of z as it is and maps the other half to (z - t) e^-s, where s and t are functions of the
    first half; log p(z) = log N(f(z); 0, I) - sum(s).

    Args:
        couplings: how many; the halves change places after each.
        hidden: width of the hidden layer of each coupling's network.
    """

    def __init__(self, couplings=6, hidden=64):
        super().__init__()
        self.couplings = check_count("couplings", couplings, MOST_REPEATS)
        self.hidden = check_count("hidden", hidden, MOST_UNITS)

    def make_weights(self, initialisers):
        self.kept = (self.latent_dim + 1) // 2  # a code of one dimension is kept whole: then p(z) = N(0, 1)
        self.changed = self.latent_dim - self.kept
        self.nets = [self.make_net(i, initialisers) for i in range(self.couplings)]

    def make_net(self, i, initialisers):
        """The network of coupling i, (batch, seen) -> (batch, 2 * moved): s and t."""
        seen, moved = self.halves(i)
        hidden = keras.layers.Dense(self.hidden, "relu", kernel_initializer=next(initialisers))
        net = keras.Sequential([hidden, keras.layers.Dense(2 * moved, kernel_initializer="zeros")])
        net.build((None, seen))
        return net

    def halves(self, i):
        """How many dimensions coupling i sees, and how many it moves."""
        return (self.kept, self.changed) if i % 2 == 0 else (self.changed, self.kept)

    def scale_and_shift(self, i, part):
        """s, bounded so that e^s stays within 0.13 and 7.4, and t."""
        leading = ops.shape(part)[:-1]
        raw = self.nets[i](ops.reshape(part, (-1, part.shape[-1])))
        log_scale, shift = ops.split(ops.reshape(raw, (*leading, raw.shape[-1])), 2, axis=-1)
        return 2.0 * ops.tanh(0.5 * log_scale), shift

    def active(self):
        """The couplings that have something to see and something to move."""
        return [i for i in range(self.couplings) if all(self.halves(i))]

    def log_prob(self, z):
        first, second, log_det = z[..., : self.kept], z[..., self.kept :], 0.0
        for i in self.active():
            seen, moved = (first, second) if i % 2 == 0 else (second, first)
            log_scale, shift = self.scale_and_shift(i, seen)
            moved = (moved - shift) * ops.exp(-log_scale)
            log_det = log_det - ops.sum(log_scale, axis=-1)
            first, second = (seen, moved) if i % 2 == 0 else (moved, seen)
        noise = ops.concatenate([first, second], axis=-1)
        return standard_normal(1, self.latent_dim).log_prob(noise) + log_det

    def sample(self, num_samples, seed=None):
        noise = standard_normal(num_samples, self.latent_dim).sample(seed)
        first, second = noise[:, : self.kept], noise[:, self.kept :]
        for i in reversed(self.active()):
            seen, moved = (first, second) if i % 2 == 0 else (second, first)
            log_scale, shift = self.scale_and_shift(i, seen)
            moved = moved * ops.exp(log_scale) + shift
            first, second = (seen, moved) if i % 2 == 0 else (moved, seen)
        return ops.concatenate([first, second], axis=-1)
