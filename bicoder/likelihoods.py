"""Likelihoods: from the raw output of the decoder's network to the distribution p(x|z)."""

import abc
import math

import keras
from keras import ops

from bicoder.component import Component
from bicoder.distributions import Bernoulli, Gaussian, Laplace
from bicoder.errors import DataError, UsageError


class Likelihood(Component, keras.layers.Layer):
    """p(x|z), given the raw output of a network; it may own weights (one learned sigma)."""

    # Values that x can take; both ends are allowed, and only the ends where `two_valued`.
    low, high, two_valued = -math.inf, math.inf, False

    def __init__(self):
        # Densities stay in float32 where a mixed-precision policy makes the networks float16.
        super().__init__(dtype="float32")

    @abc.abstractmethod
    def num_outputs(self, channels):
        """How many raw outputs the network gives for the last axis of x, of size `channels`."""

    @abc.abstractmethod
    def call(self, raw):
        """Raw output (..., num_outputs) -> `Distribution` over x (..., channels)."""

    def check(self, x, name="data"):
        """Raise `DataError` where the array `x` has values of density zero under this likelihood."""
        outside = (x != 0) & (x != 1) if self.two_valued else (x < self.low) | (x > self.high)
        if outside.any():
            expected = "only 0 and 1" if self.two_valued else f"values in [{self.low:g}, {self.high:g}]"
            first = tuple(int(i[0]) for i in outside.nonzero())
            raise DataError(
                f"{name}: the {self.part_name()} likelihood expects {expected}, received {int(outside.sum())} other "
                f"values, the first is {x[first]:g} at index {first}; choose another --likelihood or transform the data"
            )


def check_sigma(sigma):
    """A positive number, or "learned"; numbers are taken as text too."""
    if sigma == "learned":
        return sigma
    try:
        value = float(sigma)
    except (TypeError, ValueError):
        value = math.nan
    if not 0.0 < value < math.inf:
        raise UsageError(f"sigma: expected a positive number or 'learned', received {sigma!r}")
    return value


class _ScaledLikelihood(Likelihood):
    """A location-scale family whose scale is one number for all pixels: fixed, or learned with the weights.

    A learned sigma stays above 0.001, a quarter of the distance between two grey values of 255.

    Args:
        sigma: standard deviation in the units of x, or "learned" (sigma-VAE, Rybkin et al. 2021).
    """

    smallest, first = 1e-3, 1.0  # where a learned sigma stays above, and where it starts: see the test of both

    def __init__(self, sigma=0.75):
        super().__init__()
        self.sigma = check_sigma(sigma)

    def build(self, input_shape):
        if self.sigma == "learned":
            start = keras.initializers.Constant(math.log(self.first))
            self.raw_log_sigma = self.add_weight(shape=(), initializer=start, name="raw_log_sigma")

    def num_outputs(self, channels):
        return channels

    def log_sigma(self):
        """log(sigma), a scalar."""
        if self.sigma != "learned":
            return math.log(self.sigma)
        # A soft floor: the gradient never vanishes, so sigma can rise again.
        floor = math.log(self.smallest)
        return floor + ops.softplus(ops.convert_to_tensor(self.raw_log_sigma) - floor)


class GaussianLikelihood(_ScaledLikelihood):
    """Gaussian pixels, one sigma for all: log p = -k/2 log(2 pi) - k log(sigma) - sum (x - mean)^2 / (2 sigma^2)."""

    def call(self, raw):
        return Gaussian(raw, self.log_sigma())


class LaplaceLikelihood(_ScaledLikelihood):
    """Laplace pixels with one scale for all, b = sigma / sqrt(2): log p = -k log(2 b) - sum |x - mean| / b."""

    def call(self, raw):
        return Laplace(raw, self.log_sigma() - 0.5 * math.log(2.0))


class BernoulliLikelihood(Likelihood):
    """Binary pixels: the network's output is the logit of p(x = 1)."""

    low, high, two_valued = 0.0, 1.0, True

    def num_outputs(self, channels):
        return channels

    def call(self, raw):
        return Bernoulli(raw)
