"""Likelihoods: from the raw output of the decoder's network to the distribution p(x|z)."""

import abc
import math
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from bicoder.component import Component
from bicoder.distributions import (
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    DiscretizedLogistic,
    Distribution,
    Gaussian,
    Laplace,
)
from bicoder.engine.arrays.masked import Masked
from bicoder.engine.arrays.portions import portions
from bicoder.engine.arrays.there import spread, values_of
from bicoder.engine.open_layer import OpenLayer
from bicoder.engine.tensor import Shape, Tensor
from bicoder.errors import DataError, UsageError, beyond, check_count, counted
from bicoder.estimates import weighted_mean

if TYPE_CHECKING:
    from bicoder.engine.arrays.portions import Portions


class Likelihood(Component, OpenLayer):
    """p(x|z), given the raw output of a network; it may own weights (one learned sigma)."""

    # Values that x can take, both ends among them; with `levels`, only so many, evenly spaced from 0 to 1.
    low: float = -math.inf
    high: float = math.inf
    levels: int | None = None
    # What log p(x|z) measures: numbers of two likelihoods are compared only if they measure the same. It stands here as
    # a text, so that `component.said_in_source` can read it.
    measures: str = "densities of pixels"
    # Activations of the network's last layer that leave its output able to say all that is needed.
    activations: tuple[str, ...] = ("linear",)

    # Whether log p(x|z) of an example depends on no other, and `call` does nothing else, so that a CPU may learn from
    # slices of a batch at the same time. Each class says it for itself.
    one_by_one: bool = False

    # Set by the decoder before the likelihood is built: where its initial weights come from.
    seed: int | None = None

    def __init__(self) -> None:
        # Densities stay in float32 if a mixed-precision policy makes the networks float16.
        super().__init__(dtype="float32")

    @abc.abstractmethod
    def num_outputs(self, channels: int) -> int:
        """How many raw outputs the network gives for the last axis of x, of size `channels`."""

    @abc.abstractmethod
    def call(self, raw: Tensor) -> Distribution:
        """Raw output (..., num_outputs) -> `Distribution` over x (..., channels)."""

    def for_batch(self, p: Distribution, x: Any, weights: Tensor | None = None) -> Distribution:
        """p(x|z) of a training batch, which may depend on the batch as a whole; without side effects.

        A class that overrides this or `keep` leaves `one_by_one` False, and so gets batches whole.

        Args:
            p: what `call` returned, with parameters (samples, batch, ...).
            x: (batch, ...), or `Masked`.
            weights: of the examples, (batch,), 0 for those that are missing as a whole; None if all count the same.
        """
        return p

    def keep(self, p: Any) -> None:
        """Called once in every training step, with what `for_batch` returned, to keep what must outlive the batch."""

    def check(self, x: "np.ndarray | Portions | Masked", name: str = "data") -> None:
        """Raise `DataError` if x has values of density zero under this likelihood.

        Args:
            x: array (N, ...), `Portions`, or either of them `Masked`, of which only what is there is looked at.
            name: what the message calls it.
        """
        values, there = x if isinstance(x, Masked) else (x, None)
        if not self.support():
            return
        count, first, value, start = 0, None, None, 0
        for rows in portions(values):
            outside = self.outside(rows)
            if there is not None:
                known = np.asarray(there[start : start + len(rows)]) > 0
                outside = outside & known.reshape(known.shape + (1,) * (outside.ndim - known.ndim))
            if first is None and outside.any():
                row, *rest = (int(i[0]) for i in outside.nonzero())
                first, value = (start + row, *rest), rows[(row, *rest)]
            count, start = count + int(outside.sum()), start + len(rows)
        if count:
            raise DataError(
                f"{name}: the {self.part_name()} likelihood expects {self.support()}, received "
                f"{counted(count, 'other value')}, the first is {value:g} at index {first}; choose another "
                "--likelihood or transform the data"
            )

    def support(self) -> str:
        """What x may be, in words; empty if it may be anything."""
        if self.levels:
            return "only 0 and 1" if self.levels == 2 else f"{self.levels} grey values, k/{self.levels - 1}"
        return "" if self.low == -math.inf and self.high == math.inf else f"values in [{self.low:g}, {self.high:g}]"

    def outside(self, x: np.ndarray) -> np.ndarray:
        """Where the array `x` has density zero."""
        outside = (x < self.low) | (x > self.high)
        if self.levels and not (self.levels == 2 and ((x == 0) | (x == 1)).all()):  # bits are sooner seen as they are
            steps = x * np.float32(self.levels - 1)
            outside |= np.abs(steps - np.round(steps)) > 1e-2
        return outside


def check_sigma(sigma: Any) -> Any:
    """A positive number, or "learned"; numbers are taken as text too."""
    if sigma == "learned":
        return sigma
    try:
        value = math.nan if isinstance(sigma, bool) else float(sigma)
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if not 0.0 < value < math.inf or beyond(value):
        raise UsageError(f"sigma: expected a positive number or 'learned', received {sigma!r}{beyond(value)}")
    return value


def above(value: Tensor, floor: float) -> Tensor:
    """A soft floor: `value` far above it, never below; the gradient does not vanish, so that a scale can rise again."""
    return floor + ops.softplus(value - floor)


class _ScaledLikelihood(Likelihood):
    """A location-scale family whose scale is one number for all pixels: fixed, or learned with the weights.

    A learned sigma stays above 0.001, a quarter of the distance between two grey values of 255.

    Args:
        sigma: standard deviation in the units of x, or "learned" (sigma-VAE, Rybkin et al. 2021).
    """

    smallest, first = 1e-3, 1.0  # where a learned sigma stays above, and where it starts: see the test of both

    def __init__(self, sigma: float | str = 0.75) -> None:
        super().__init__()
        self.sigma = check_sigma(sigma)

    def build(self, input_shape: Shape) -> None:
        if self.sigma == "learned":
            start = keras.initializers.Constant(math.log(self.first))
            self.raw_log_sigma = self.add_weight(shape=(), initializer=start, name="raw_log_sigma")

    def num_outputs(self, channels: int) -> int:
        return channels

    def log_sigma(self) -> Tensor:
        """log(sigma), a scalar."""
        if self.sigma != "learned":
            return math.log(self.sigma)
        return above(ops.convert_to_tensor(self.raw_log_sigma), math.log(self.smallest))


class GaussianLikelihood(_ScaledLikelihood):
    """Gaussian pixels, one sigma for all: log p = -k/2 log(2 pi) - k log(sigma) - sum (x - mean)^2 / (2 sigma^2)."""

    one_by_one = True
    activations = ("linear", "sigmoid")

    def call(self, raw: Tensor) -> Distribution:
        return Gaussian(raw, self.log_sigma())


class LaplaceLikelihood(_ScaledLikelihood):
    """Laplace pixels with one scale for all, b = sigma / sqrt(2): log p = -k log(2 b) - sum |x - mean| / b."""

    one_by_one = True
    activations = ("linear", "sigmoid")

    def call(self, raw: Tensor) -> Distribution:
        return Laplace(raw, self.log_sigma() - 0.5 * math.log(2.0))


class PerPixelGaussianLikelihood(Likelihood):
    """Gaussian pixels, each with a mean and a sigma of its own from the network; sigma stays above 0.001."""

    one_by_one = True
    smallest = 1e-3

    def num_outputs(self, channels: int) -> int:
        return 2 * channels

    def call(self, raw: Tensor) -> Distribution:
        mean, log_scale = ops.split(raw, 2, axis=-1)
        return Gaussian(mean, above(log_scale, math.log(self.smallest)))


class OptimalGaussianLikelihood(Likelihood):
    """Gaussian pixels with the sigma that is best for the batch, its root mean squared error (Rybkin et al. 2021).

    While training, sigma^2 is the mean squared error of the batch, and a running average of it is kept. Everything else
    uses the kept one, so that a density of test images does not look at test images.

    Args:
        momentum: of the running average.
    """

    def __init__(self, momentum: float = 0.99) -> None:
        super().__init__()
        if isinstance(momentum, bool) or not isinstance(momentum, (int, float)) or not 0.0 <= momentum < 1.0:
            raise UsageError(f"momentum: expected a number from 0 and below 1, received {momentum!r}")
        self.momentum = momentum

    def build(self, input_shape: Shape) -> None:
        self.variance = self.add_weight(shape=(), initializer="ones", trainable=False, name="variance")
        self.seen = self.add_weight(shape=(), initializer="zeros", trainable=False, name="seen")

    def num_outputs(self, channels: int) -> int:
        return channels

    def log_sigma(self) -> Tensor:
        """log of the kept sigma, a scalar."""
        return 0.5 * ops.log(ops.maximum(ops.convert_to_tensor(self.variance), 1e-6))

    def call(self, raw: Tensor) -> Distribution:
        return Gaussian(raw, self.log_sigma())

    def for_batch(self, p: Distribution, x: Any, weights: Tensor | None = None) -> Gaussian:
        squares = ops.square(values_of(x) - p.mean)
        if isinstance(x, Masked):  # the mean is over what is there
            there = spread(ops.cast(x.there, "float32"), x.values) + ops.zeros_like(x.values)
            squares = squares * there / ops.maximum(ops.mean(weighted_mean(there, weights)), 1e-30)
        mean_square = ops.mean(weighted_mean(ops.moveaxis(squares, 1, 0), weights))
        if weights is not None:  # a batch without any weight says nothing
            mean_square = ops.where(ops.sum(weights) > 0.0, mean_square, ops.convert_to_tensor(self.variance))
        return Gaussian(p.mean, 0.5 * ops.log(ops.maximum(mean_square, 1e-6)))

    def keep(self, p: Any) -> None:
        """Move the running average towards the mean squared error of the batch; the first batch sets it."""
        momentum = ops.where(self.seen > 0.0, self.momentum, 0.0)
        mean_square = ops.exp(2.0 * ops.stop_gradient(p.log_scale))
        self.variance.assign(momentum * self.variance + (1.0 - momentum) * mean_square)
        self.seen.assign(1.0)


class BernoulliLikelihood(Likelihood):
    """Binary pixels: the network's output is the logit of p(x = 1)."""

    one_by_one = True
    measures = "probabilities of bits"
    low, high, levels = 0.0, 1.0, 2

    def num_outputs(self, channels: int) -> int:
        return channels

    def call(self, raw: Tensor) -> Distribution:
        return Bernoulli(raw)


class CategoricalLikelihood(Likelihood):
    """One class of several, as one-hot vectors: the network's outputs are the logits of softmax.

    The classes are the last axis of x, as a label of ten classes is a view of shape (10,). What may be missing is a
    label as a whole.
    """

    one_by_one = True
    measures = "probabilities of classes"
    low, high, levels = 0.0, 1.0, 2

    def num_outputs(self, channels: int) -> int:
        return channels

    def call(self, raw: Tensor) -> Distribution:
        return Categorical(raw)

    def support(self) -> str:
        return "one 1 and else 0 over the last axis"

    def outside(self, x: np.ndarray) -> np.ndarray:
        """Where x is neither 0 nor 1, and the first number of a vector that has not one 1."""
        outside = super().outside(x)
        outside[..., 0] |= np.abs(x.sum(axis=-1) - 1.0) > 1e-2
        return outside


class ContinuousBernoulliLikelihood(Likelihood):
    """Pixels anywhere in [0, 1], with the Bernoulli's shape and its normaliser (Loaiza-Ganem & Cunningham 2019)."""

    one_by_one = True
    low, high = 0.0, 1.0

    def num_outputs(self, channels: int) -> int:
        return channels

    def call(self, raw: Tensor) -> Distribution:
        return ContinuousBernoulli(raw)


class DiscretizedLogisticLikelihood(Likelihood):
    """8-bit pixels: exact probabilities of 256 grey values, location and scale of each from the network.

    Args:
        levels: grey values, k / (levels - 1).
    """

    one_by_one = True
    measures = "probabilities of grey values"
    low, high = 0.0, 1.0
    levels: int

    def __init__(self, levels: int = 256) -> None:
        super().__init__()
        self.levels = check_count("levels", levels)
        if levels < 2:
            raise UsageError(f"levels: expected at least 2, received {levels}")

    def num_outputs(self, channels: int) -> int:
        return 2 * channels

    def call(self, raw: Tensor) -> Distribution:
        mean, log_scale = ops.split(raw, 2, axis=-1)
        # Far below a grey value's width, a smaller scale changes nothing but the gradients.
        return DiscretizedLogistic(mean, above(log_scale, -8.0), self.levels)
