"""Distributions: plain objects around tensors, used as q(z|x) and as p(x|z). Every density is normalised, in nats."""

import abc
import math

import keras
from keras import ops

LOG_2PI = math.log(2.0 * math.pi)


class Distribution(abc.ABC):
    """A distribution over tensors; its parameters are tensors of shape (batch, ...) or (samples, batch, ...)."""

    @property
    @abc.abstractmethod
    def mean(self):
        """E[x], of the shape of one draw."""

    @abc.abstractmethod
    def sample(self, seed=None, num_samples=None):
        """Draw `num_samples` values, shape (num_samples, *mean.shape), or one, shape mean.shape, where it is None.

        Args:
            seed: int, `keras.random.SeedGenerator` or None.
            num_samples: int or None.
        """

    @abc.abstractmethod
    def log_prob(self, value):
        """log p(value) in nats, summed over all but the batch axes.

        Of `value` and `mean`, the one with fewer axes has exactly one batch axis, its first; what the other has in
        front of it are sample axes. value (batch, d) under parameters (samples, batch, d) gives (samples, batch).
        """


def sum_event(elementwise, value, mean):
    """Sum an element-wise log density over the axes of one event (see `Distribution.log_prob`)."""
    event_axes = max(min(ops.ndim(value), ops.ndim(mean)) - 1, 0)
    return ops.sum(elementwise, axis=tuple(range(-event_axes, 0))) if event_axes else elementwise


def draw_shape(mean, num_samples):
    """Shape of `num_samples` draws, or of one where it is None."""
    return ops.shape(mean) if num_samples is None else (num_samples, *ops.shape(mean))


class Gaussian(Distribution):
    """Independent Gaussians.

    log p(x) = -1/2 log(2 pi) - log(sigma) - (x - mean)^2 / (2 sigma^2), summed over the elements: log(sigma) counts
    once for EVERY element, also where one sigma serves all.

    Args:
        mean: tensor (batch, ...).
        log_scale: log(sigma), tensor that broadcasts to `mean`.
    """

    def __init__(self, mean, log_scale):
        self._mean = ops.convert_to_tensor(mean)
        self.log_scale = ops.convert_to_tensor(log_scale, dtype=self._mean.dtype)

    @property
    def mean(self):
        return self._mean

    @property
    def scale(self):
        """sigma, the standard deviation."""
        return ops.exp(self.log_scale)

    def sample(self, seed=None, num_samples=None):
        noise = keras.random.normal(draw_shape(self.mean, num_samples), dtype=self.mean.dtype, seed=seed)
        return self.mean + self.scale * noise

    def log_prob(self, value):
        standardised = (value - self.mean) * ops.exp(-self.log_scale)
        elementwise = -0.5 * (LOG_2PI + ops.square(standardised)) - self.log_scale
        return sum_event(elementwise, value, self.mean)


class Laplace(Distribution):
    """Independent Laplace distributions.

    log p(x) = -log(2 b) - |x - mean| / b, summed over the elements.

    Args:
        mean: tensor (batch, ...).
        log_scale: log(b), tensor that broadcasts to `mean`; the standard deviation is sqrt(2) b.
    """

    def __init__(self, mean, log_scale):
        self._mean = ops.convert_to_tensor(mean)
        self.log_scale = ops.convert_to_tensor(log_scale, dtype=self._mean.dtype)

    @property
    def mean(self):
        return self._mean

    def sample(self, seed=None, num_samples=None):
        # The inverse of the distribution function, at u in (-1/2, 1/2); the bound keeps log away from zero.
        shape = draw_shape(self.mean, num_samples)
        uniform = keras.random.uniform(shape, -0.5, 0.5, dtype=self.mean.dtype, seed=seed)
        tail = ops.maximum(1.0 - 2.0 * ops.abs(uniform), 1e-7)
        return self.mean - ops.exp(self.log_scale) * ops.sign(uniform) * ops.log(tail)

    def log_prob(self, value):
        elementwise = -math.log(2.0) - self.log_scale - ops.abs(value - self.mean) * ops.exp(-self.log_scale)
        return sum_event(elementwise, value, self.mean)


class Bernoulli(Distribution):
    """Independent Bernoulli variables, of values 0 and 1.

    log p(x) = x log(p) + (1 - x) log(1 - p) = x * logit - softplus(logit), summed over the elements.

    Args:
        logits: log(p / (1 - p)), tensor (batch, ...).
    """

    def __init__(self, logits):
        self.logits = ops.convert_to_tensor(logits)

    @property
    def mean(self):
        return ops.sigmoid(self.logits)

    def sample(self, seed=None, num_samples=None):
        shape = draw_shape(self.logits, num_samples)
        uniform = keras.random.uniform(shape, dtype=self.logits.dtype, seed=seed)
        return ops.cast(uniform < self.mean, self.logits.dtype)

    def log_prob(self, value):
        return sum_event(value * self.logits - ops.softplus(self.logits), value, self.logits)
