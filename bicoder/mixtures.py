"""Mixtures of Gaussians, in which every sample chooses its component by itself."""

import keras
from keras import ops

from bicoder.distributions import LOG_2PI, Distribution, FullGaussian, Gaussian
from bicoder.engine.tensor import Seed, Tensor


class Mixture(Distribution):
    """p(z) = sum_c w_c p_c(z), with Gaussian components.

    Args:
        components: `Gaussian` or `FullGaussian` with parameters (batch, C, d).
        log_weights: log w, tensor (batch, C), whose exponentials add up to one.
    """

    def __init__(self, components: Gaussian | FullGaussian, log_weights: Tensor) -> None:
        self.components, self.log_weights = components, log_weights

    @property
    def mean(self) -> Tensor:
        return ops.sum(ops.exp(self.log_weights)[..., None] * self.components.mean, axis=-2)

    def sample(self, seed: Seed = None, num_samples: int | None = None) -> Tensor:
        which_seed, noise_seed = two_seeds(seed)
        which = self.choose(num_samples or 1, which_seed)
        batch, number = ops.shape(self.log_weights)
        rows = ops.cast(which, "int32") + number * ops.arange(batch, dtype="int32")
        drawn = self.rows(ops.reshape(rows, (-1,))).sample(noise_seed)
        drawn = ops.reshape(drawn, (num_samples or 1, batch, self.components.mean.shape[-1]))
        return drawn[0] if num_samples is None else drawn

    def choose(self, num_samples: int, seed: Seed) -> Tensor:
        """The number of the component that each sample comes of, (num_samples, batch)."""
        return ops.transpose(keras.random.categorical(self.log_weights, num_samples, seed=seed))

    def rows(self, numbers: Tensor) -> Gaussian | FullGaussian:
        """Some of the components of all examples, which are numbered one after the other: parameters (n, d)."""
        flat = [ops.reshape(p, (-1, *p.shape[2:])) for p in parameters(self.components)]
        return type(self.components)(*[ops.take(p, numbers, axis=0) for p in flat])

    def log_prob(self, value: Tensor) -> Tensor:
        return ops.logsumexp(self.of_components(value) + self.log_weights, axis=-1)

    def of_components(self, value: Tensor) -> Tensor:
        """log p_c(z) of every component: (..., batch, d) -> (..., batch, C)."""
        components, value = self.components, value[..., None, :]
        if isinstance(components, FullGaussian):
            return components.log_prob(value + ops.zeros_like(components.mean))
        standardised = (value - components.mean) * ops.exp(-components.log_scale)
        squares = ops.sum(LOG_2PI + ops.square(standardised), axis=-1)
        return -0.5 * squares - ops.sum(components.log_scale, axis=-1)


def parameters(gaussian: Gaussian | FullGaussian) -> tuple[Tensor, Tensor]:
    """The mean and the scale of a Gaussian, as its class takes them."""
    if isinstance(gaussian, FullGaussian):
        return gaussian.mean, gaussian.scale_tril
    return gaussian.mean, gaussian.log_scale + ops.zeros_like(gaussian.mean)


def two_seeds(seed: Seed) -> tuple[Seed, Seed]:
    """Seeds for two draws that must not follow from each other."""
    return (seed, (seed + 0x9E3779B9) % 2**31) if isinstance(seed, int) else (seed, seed)
