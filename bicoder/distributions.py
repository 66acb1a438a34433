"""Distributions: plain objects around tensors, used as q(z|x) and as p(x|z). Every density is normalised, in nats."""

import abc
import math

from keras import ops

from bicoder.engine.random_numbers import normal, uniform
from bicoder.engine.tensor import Seed, Shape, Tensor
from bicoder.errors import UsageError

LOG_2PI = math.log(2.0 * math.pi)
MEAN_SAMPLES = 64  # whose average stands for a mean that has no closed form; their seed never changes


class Distribution(abc.ABC):
    """A distribution over tensors; its parameters are tensors of shape (batch, ...) or (samples, batch, ...)."""

    # Whether `log_prob` is quick for any value, and not only for what `sample_and_log_prob` draws.
    density_is_cheap: bool = True

    def __repr__(self) -> str:
        """Its class, with the shapes of its parameters."""
        held = {name.strip("_"): value for name, value in vars(self).items()}
        shapes = [f"{name} {tuple(value.shape)}" for name, value in held.items() if hasattr(value, "shape")]
        inner = [f"{name} {value!r}" for name, value in held.items() if isinstance(value, Distribution)]
        return f"{type(self).__name__}({', '.join(shapes + inner)})"

    @property
    @abc.abstractmethod
    def mean(self) -> Tensor:
        """E[x], of the shape of one draw."""

    @abc.abstractmethod
    def sample(self, seed: Seed = None, num_samples: int | None = None) -> Tensor:
        """Draw `num_samples` values, shape (num_samples, *mean.shape), or one, shape mean.shape, if it is None.

        Args:
            seed: int, `keras.random.SeedGenerator` or None.
            num_samples: int or None.
        """

    def sample_and_log_prob(self, seed: Seed = None, num_samples: int | None = None) -> tuple[Tensor, Tensor]:
        """What `sample` draws, with its `log_prob`: overridden if the two are cheaper together."""
        value = self.sample(seed, num_samples)
        return value, self.log_prob(value)

    @abc.abstractmethod
    def log_prob(self, value: Tensor) -> Tensor:
        """log p(value) in nats, summed over all but the batch axes.

        Of `value` and `mean`, the one with fewer axes has exactly one batch axis, its first; what the other has in
        front of it are sample axes. value (batch, d) under parameters (samples, batch, d) gives (samples, batch).
        """

    def elementwise(self, value: Tensor) -> Tensor:
        """The log density of every element, not summed, if the elements are independent.

        Raises:
            UsageError: they are not.
        """
        raise UsageError(f"{type(self).__name__}: expected independent elements, some of which may be missing")


def sum_event(elementwise: Tensor, value: Tensor, mean: Tensor) -> Tensor:
    """Sum an element-wise log density over the axes of one event (see `Distribution.log_prob`)."""
    event_axes = max(min(len(ops.shape(value)), len(ops.shape(mean))) - 1, 0)
    return ops.sum(elementwise, axis=tuple(range(-event_axes, 0))) if event_axes else elementwise


def draw_shape(mean: Tensor, num_samples: int | None) -> Shape:
    """Shape of `num_samples` draws, or of one if it is None."""
    return ops.shape(mean) if num_samples is None else (num_samples, *ops.shape(mean))


class _LocationScale(Distribution):
    """What distributions of a mean and a scale have in common."""

    def __init__(self, mean: Tensor, log_scale: Tensor) -> None:
        self._mean = ops.convert_to_tensor(mean)
        self.log_scale = ops.convert_to_tensor(log_scale, dtype=self._mean.dtype)

    @property
    def mean(self) -> Tensor:
        return self._mean

    @property
    def scale(self) -> Tensor:
        """e^log_scale: for a Gaussian sigma, the standard deviation."""
        return ops.exp(self.log_scale)


class Gaussian(_LocationScale):
    """Independent Gaussians.

    log p(x) = -1/2 log(2 pi) - log(sigma) - (x - mean)^2 / (2 sigma^2), summed over the elements: log(sigma) counts
    once for EVERY element, even if one sigma serves all.

    Args:
        mean: tensor (batch, ...).
        log_scale: log(sigma), tensor that broadcasts to `mean`.
    """

    def sample(self, seed: Seed = None, num_samples: int | None = None) -> Tensor:
        return self.transformed(normal(draw_shape(self.mean, num_samples), seed))

    def transformed(self, noise: Tensor) -> Tensor:
        """Standard normal numbers that broadcast to the mean, as numbers of this distribution."""
        return self.mean + self.scale * noise

    def log_prob(self, value: Tensor) -> Tensor:
        return sum_event(self.elementwise(value), value, self.mean)

    def elementwise(self, value: Tensor) -> Tensor:
        standardised = (value - self.mean) * ops.exp(-self.log_scale)
        return -0.5 * (LOG_2PI + ops.square(standardised)) - self.log_scale

    def detached(self) -> "Gaussian":
        """The same distribution, through whose parameters no gradient flows."""
        return Gaussian(ops.stop_gradient(self.mean), ops.stop_gradient(self.log_scale))


class Laplace(_LocationScale):
    """Independent Laplace distributions.

    log p(x) = -log(2 b) - |x - mean| / b, summed over the elements.

    Args:
        mean: tensor (batch, ...).
        log_scale: log(b), tensor that broadcasts to `mean`; the standard deviation is sqrt(2) b.
    """

    def sample(self, seed: Seed = None, num_samples: int | None = None) -> Tensor:
        # The inverse of the distribution function, at u in (-1/2, 1/2); the bound keeps log away from zero.
        shape = draw_shape(self.mean, num_samples)
        u = uniform(shape, -0.5, 0.5, seed)
        tail = ops.maximum(1.0 - 2.0 * ops.abs(u), 1e-7)
        return self.mean - self.scale * ops.sign(u) * ops.log(tail)

    def log_prob(self, value: Tensor) -> Tensor:
        return sum_event(self.elementwise(value), value, self.mean)

    def elementwise(self, value: Tensor) -> Tensor:
        return -math.log(2.0) - self.log_scale - ops.abs(value - self.mean) * ops.exp(-self.log_scale)


class Bernoulli(Distribution):
    """Independent Bernoulli variables, of values 0 and 1.

    log p(x) = x log(p) + (1 - x) log(1 - p) = x * logit - softplus(logit), summed over the elements.

    Args:
        logits: log(p / (1 - p)), tensor (batch, ...).
    """

    def __init__(self, logits: Tensor) -> None:
        self.logits = ops.convert_to_tensor(logits)

    @property
    def mean(self) -> Tensor:
        return ops.sigmoid(self.logits)

    def sample(self, seed: Seed = None, num_samples: int | None = None) -> Tensor:
        shape = draw_shape(self.logits, num_samples)
        u = uniform(shape, seed=seed)
        return ops.cast(u < self.mean, self.logits.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        return sum_event(self.elementwise(value), value, self.logits)

    def elementwise(self, value: Tensor) -> Tensor:
        # softplus(l) = max(l, 0) + log(1 + e^-|l|), written so that XLA makes it with its fast exp and log.
        size = ops.abs(self.logits)
        softplus = 0.5 * (self.logits + size) + ops.log(1.0 + ops.exp(-size))
        return value * self.logits - softplus


class Categorical(Distribution):
    """One class out of C, one-hot over the last axis; independent over the axes before it.

    log p(x) = sum_c x_c log softmax(logits)_c, summed over those axes.

    Args:
        logits: unnormalised log probabilities of the classes, tensor (batch, ..., C).
    """

    def __init__(self, logits: Tensor) -> None:
        self.logits = ops.convert_to_tensor(logits)

    @property
    def mean(self) -> Tensor:
        """The probabilities of the classes."""
        return ops.softmax(self.logits)

    def sample(self, seed: Seed = None, num_samples: int | None = None) -> Tensor:
        # The largest of the logits with Gumbel noise, -log(-log(u)), is a class of these probabilities.
        u = uniform(draw_shape(self.logits, num_samples), 1e-7, 1.0 - 1e-7, seed)
        return ops.one_hot(ops.argmax(self.logits - ops.log(-ops.log(u)), axis=-1), self.logits.shape[-1])

    def log_prob(self, value: Tensor) -> Tensor:
        return sum_event(value * ops.log_softmax(self.logits), value, self.logits)


class FullGaussian(Distribution):
    """A Gaussian with any covariance, Sigma = L L^T.

    log p(x) = -d/2 log(2 pi) - sum(log diag(L)) - 1/2 |L^-1 (x - mean)|^2.

    Args:
        mean: tensor (..., d).
        scale_tril: L, lower triangular with a positive diagonal, tensor (..., d, d).
    """

    def __init__(self, mean: Tensor, scale_tril: Tensor) -> None:
        self._mean = ops.convert_to_tensor(mean)
        self.scale_tril = ops.convert_to_tensor(scale_tril, dtype=self._mean.dtype)

    @property
    def mean(self) -> Tensor:
        return self._mean

    def detached(self) -> "FullGaussian":
        """The same distribution, through whose parameters no gradient flows."""
        return FullGaussian(ops.stop_gradient(self.mean), ops.stop_gradient(self.scale_tril))

    def log_diagonal(self) -> Tensor:
        """log of the diagonal of L, (batch, d)."""
        return ops.log(ops.sum(self.scale_tril * ops.eye(self.scale_tril.shape[-1]), axis=-1))

    def sample(self, seed: Seed = None, num_samples: int | None = None) -> Tensor:
        return self.transformed(normal(draw_shape(self.mean, num_samples), seed))

    def transformed(self, noise: Tensor) -> Tensor:
        """Standard normal numbers (..., batch, d), as numbers of this distribution."""
        return self.mean + ops.einsum("bij,...bj->...bi", self.scale_tril, noise)

    def log_prob(self, value: Tensor) -> Tensor:
        d, difference = self.mean.shape[-1], value - self.mean
        if len(difference.shape) == len(self.mean.shape):
            squares = self.squares(difference[..., None])[..., 0]
        else:  # the samples become columns, so that every triangle is solved once for all of them
            columns = ops.moveaxis(ops.reshape(difference, (-1, *ops.shape(self.mean))), 0, -1)
            squares = ops.reshape(ops.moveaxis(self.squares(columns), -1, 0), ops.shape(value)[:-1])
        return -0.5 * (d * LOG_2PI + squares) - ops.sum(self.log_diagonal(), axis=-1)

    def squares(self, columns: Tensor) -> Tensor:
        """|L^-1 column|^2 of columns (..., d, n): (..., n)."""
        return ops.sum(ops.square(ops.solve_triangular(self.scale_tril, columns, lower=True)), axis=-2)


class ContinuousBernoulli(Distribution):
    """Independent continuous Bernoulli variables on [0, 1] (Loaiza-Ganem & Cunningham 2019).

    log p(x) = x * logit - log((e^logit - 1) / logit), summed over the elements. The normaliser is even in the logit but
    for logit / 2, and computed as logit / 2 + log(sinh(logit / 2) / (logit / 2)), which is stable at p = 0.5.

    Args:
        logits: log(p / (1 - p)), tensor (batch, ...); the mean is not p.
    """

    small = 1.0  # below, the series is more exact than the formula

    def __init__(self, logits: Tensor) -> None:
        self.logits = ops.convert_to_tensor(logits)

    def _large(self) -> tuple[Tensor, Tensor]:
        """(|logit| < small, |logit| if it is not, else 1): what the formulae can be given without harm."""
        size = ops.abs(self.logits)
        return size < self.small, ops.where(size < self.small, 1.0, size)

    def log_normaliser(self) -> Tensor:
        """log((e^logit - 1) / logit), element by element."""
        is_small, size = self._large()
        formula = 0.5 * size + ops.log(1.0 - ops.exp(-size)) - ops.log(size)
        square = ops.square(ops.where(is_small, self.logits, 0.0))
        series = square / 24.0 - ops.square(square) / 2880.0 + square * ops.square(square) / 181440.0
        return 0.5 * self.logits + ops.where(is_small, series, formula)

    @property
    def mean(self) -> Tensor:
        is_small, size = self._large()
        formula = ops.sign(self.logits) * (0.5 / ops.tanh(0.5 * size) - 1.0 / size)
        inner = ops.where(is_small, self.logits, 0.0)
        square = ops.square(inner)
        series = inner * (1.0 / 12.0 - square / 720.0 + ops.square(square) / 30240.0)
        return 0.5 + ops.where(is_small, series, formula)

    def sample(self, seed: Seed = None, num_samples: int | None = None) -> Tensor:
        # The inverse distribution function for -|logit|, mirrored if the logit is positive.
        shape = draw_shape(self.logits, num_samples)
        u = uniform(shape, seed=seed)
        size = ops.maximum(ops.abs(self.logits), 1e-4)  # at 1e-4, uniform to within float32
        drawn = ops.clip(-ops.log1p(u * ops.expm1(-size)) / size, 0.0, 1.0)
        return ops.where(self.logits > 0, 1.0 - drawn, drawn)

    def log_prob(self, value: Tensor) -> Tensor:
        return sum_event(self.elementwise(value), value, self.logits)

    def elementwise(self, value: Tensor) -> Tensor:
        return value * self.logits - self.log_normaliser()


class DiscretizedLogistic(Distribution):
    """Independent logistic variables, rounded to `levels` grey values (Kingma et al. 2016, Salimans et al. 2017).

    P(x) = F(x + h) - F(x - h) for x = k / (levels - 1) and h half a step, F the logistic distribution function; the
    lowest value takes all below, the highest all above. An exact probability: the sum over all values is one.

    Args:
        mean: location, tensor (batch, ...), in the units of x, [0, 1].
        log_scale: log of the logistic scale, tensor that broadcasts to `mean`.
        levels: grey values, 256 for 8-bit pixels.
    """

    def __init__(self, mean: Tensor, log_scale: Tensor, levels: int = 256) -> None:
        self.location = ops.convert_to_tensor(mean)
        self.log_scale = ops.convert_to_tensor(log_scale, dtype=self.location.dtype)
        self.levels = levels

    @property
    def mean(self) -> Tensor:
        """E[x] = integral of P(X > t) over [0, 1], to within half a grey value."""
        rate = ops.exp(-self.log_scale)
        above, below = ops.softplus(self.location * rate), ops.softplus((self.location - 1.0) * rate)
        return (above - below) / rate

    def sample(self, seed: Seed = None, num_samples: int | None = None) -> Tensor:
        shape = draw_shape(self.location, num_samples)
        u = uniform(shape, 1e-7, 1.0 - 1e-7, seed)
        logistic = self.location + ops.exp(self.log_scale) * (ops.log(u) - ops.log1p(-u))
        return ops.round(ops.clip(logistic, 0.0, 1.0) * (self.levels - 1)) / (self.levels - 1)

    def log_prob(self, value: Tensor) -> Tensor:
        return sum_event(self.elementwise(value), value, self.location)

    def elementwise(self, value: Tensor) -> Tensor:
        rate = ops.exp(-self.log_scale)
        half = 0.5 / (self.levels - 1)
        upper = (value - self.location + half) * rate
        lower = (value - self.location - half) * rate
        # log(F(u) - F(l)) = log F(u) + log(1 - F(l)) + log(1 - e^(l - u)); each is stable.
        log_upper = ops.where(value > 1.0 - half, 0.0, -ops.softplus(-upper))
        log_lower = ops.where(value < half, 0.0, -ops.softplus(lower))
        inside = ops.logical_and(value >= half, value <= 1.0 - half)
        width = ops.where(inside, 2.0 * half * rate, 1.0)
        # log(1 - e^-w) = log(2 t / (1 + t)) for t = tanh(w / 2): expm1 is in no format of others.
        half_width = ops.tanh(0.5 * width)
        log_width = ops.where(inside, ops.log(2.0 * half_width / (1.0 + half_width)), 0.0)
        return log_upper + log_lower + log_width
