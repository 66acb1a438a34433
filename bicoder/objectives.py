"""Objectives: lower bounds on log p(x), computed from the terms of Equation 1."""

import abc
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
from keras import ops

from bicoder.component import Component
from bicoder.distributions import Distribution, FullGaussian, Gaussian
from bicoder.engine.tensor import Seed, Tensor
from bicoder.errors import MOST_SAMPLES, UsageError, check_count, check_number
from bicoder.estimates import mmd, total_correlation_terms, weighted_mean
from bicoder.priors import draw_codes


class Terms(NamedTuple):
    """What an objective is made of: K samples z of q(z|x) for every example, and log densities in nats."""

    log_px: Tensor  # log p(x|z), (K, batch); of several views the sum, in which each has its weight
    log_pz: Tensor  # log p(z), (K, batch)
    log_qz: Tensor  # log q(z|x), (K, batch)
    kl: Tensor  # KL[q(z|x) || p(z)], (batch, latent) or (batch, 1): exact if known, else the mean of log_qz - log_pz
    z: Tensor  # (K, batch, latent)
    q: Any  # q(z|x), a `Distribution`: one of those that the objective needs
    prior: Distribution  # p(z)
    noise: Seed  # the model's seed generator
    training: bool
    weights: Tensor | None  # of the examples, (batch,); None if all count the same
    distortion: Tensor  # minus the mean of log p(x|z), (batch,), in which all views weigh the same
    at: "Callable[[Tensor, Distribution], Terms]"  # function (z, q) -> the terms at other samples
    given: "Callable[..., Terms]"  # function (views, chosen) -> the terms of some of the views, see `Fused.given`

    def batch_mean(self, values: Tensor) -> Tensor:
        """The mean of values (batch, ...) over the batch, in which each example has its weight: (...)."""
        return weighted_mean(values, self.weights)

    def prior_codes(self) -> Tensor:
        """One code of the prior for every example, (batch, latent)."""
        return draw_codes(self.prior, ops.shape(self.z)[1], self.noise)

    @property
    def log_weights(self) -> Tensor:
        """log w = log p(x, z) - log q(z|x), (K, batch)."""
        return self.log_px + self.log_pz - self.log_qz

    @property
    def elbo(self) -> Tensor:
        """E_q[log p(x|z)] - KL[q(z|x) || p(z)], (batch,)."""
        return ops.mean(self.log_px, axis=0) - ops.sum(self.kl, axis=-1)


def log_mean_exp(x: Tensor, axis: int) -> Tensor:
    """log of the mean of exp(x) along an axis, without overflow."""
    return ops.logsumexp(x, axis=axis) - math.log(x.shape[axis])


class Objective(Component, keras.layers.Layer):
    """What training makes larger; a schedule it owns is a variable, so that it can change while training."""

    # Samples of z that are drawn for every example.
    num_samples = 1
    # Distributions of which the posterior must be one; () for any.
    needs: tuple[type, ...] = ()

    def __init__(self) -> None:
        super().__init__(dtype="float32")

    def draw(self, q: Distribution, noise: Seed) -> tuple[Tensor, Tensor]:
        """Samples z of q(z|x), (K, batch, latent), and log q(z|x) of them, (K, batch)."""
        return q.sample_and_log_prob(noise, self.num_samples)

    @abc.abstractmethod
    def bound(self, terms: Terms) -> Tensor:
        """`Terms` -> (batch,), in nats; the loss is minus its mean."""


class ELBO(Objective):
    """The evidence lower bound, E_q(z|x)[log p(x|z)] - KL[q(z|x) || p(z)] (Kingma & Welling 2014, equation 3).

    Args:
        num_samples: samples of z over which log p(x|z) is averaged.
    """

    def __init__(self, num_samples: int = 1) -> None:
        super().__init__()
        self.num_samples = check_count("num_samples", num_samples, MOST_SAMPLES)

    def bound(self, terms: Terms) -> Tensor:
        return terms.elbo


class BetaELBO(Objective):
    """E[log p(x|z)] - beta KL (Higgins et al. 2017); beta may follow a schedule, with free bits.

    With free bits, a dimension's KL, averaged over the batch, counts only above `free_bits` (Kingma et al. 2016).

    Args:
        beta: weight of the rate, or the value that a schedule ends with.
        schedule: "constant"; "linear", from 0 to beta in `steps` (Bowman et al. 2016); "cyclical", `cycles` times a
            linear rise over half a cycle and a rest (Fu et al. 2019). `constant` leaves the variable `beta` to you.
        steps: of the optimizer that the schedule takes, all cycles together. The commands know how long a training is,
            and take half of its steps if they are told nothing.
        cycles: of "cyclical".
        free_bits: in nats, for every dimension if the KL factorises, else for all.
    """

    schedules = ("constant", "linear", "cyclical")

    def __init__(
        self,
        beta: float = 1.0,
        schedule: str = "constant",
        steps: int = 10_000,
        cycles: int = 4,
        free_bits: float = 0.0,
    ) -> None:
        super().__init__()
        if schedule not in self.schedules:
            raise UsageError(f"schedule: expected one of {', '.join(self.schedules)}, received {schedule!r}")
        self.final, self.schedule = check_number("beta", beta), schedule
        self.steps, self.cycles = check_count("steps", steps), check_count("cycles", cycles)
        self.free_bits = check_number("free_bits", free_bits)
        start = self.final if schedule == "constant" else 0.0
        self.beta = self.add_weight(
            shape=(), initializer=keras.initializers.Constant(start), trainable=False, name="beta"
        )
        self.step = self.add_weight(shape=(), initializer="zeros", trainable=False, name="step")

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"beta": self.final}

    def advance(self) -> None:
        """Move beta to where the schedule is at the next step."""
        if self.schedule == "linear":
            self.beta.assign(self.final * ops.minimum(self.step / self.steps, 1.0))
        if self.schedule == "cyclical":
            cycle = ops.mod(self.step * self.cycles / self.steps, 1.0)
            value = ops.where(self.step < self.steps, ops.minimum(2.0 * cycle, 1.0), 1.0)
            self.beta.assign(self.final * value)
        self.step.assign_add(1.0)

    def bound(self, terms: Terms) -> Tensor:
        if terms.training:
            self.advance()
        kl = terms.kl
        if self.free_bits:
            # The minimum is over the mean of the batch; the rest of the gradient goes to the examples as they are.
            counted = ops.cast(terms.batch_mean(kl) > self.free_bits, kl.dtype)
            kl = counted * kl + (1.0 - counted) * self.free_bits
        return ops.mean(terms.log_px, axis=0) - self.beta * ops.sum(kl, axis=-1)


class CapacityELBO(Objective):
    """E[log p(x|z)] - gamma |KL - C|, where the capacity C rises linearly while training (Burgess et al. 2018).

    Args:
        gamma: weight of the difference.
        capacity: C at the end, in nats.
        steps: of the optimizer until then; the commands take half of the training's if they are told nothing.
    """

    def __init__(self, gamma: float = 100.0, capacity: float = 25.0, steps: int = 10_000) -> None:
        super().__init__()
        self.gamma, self.steps = check_number("gamma", gamma), check_count("steps", steps)
        self.final = check_number("capacity", capacity)
        self.capacity = self.add_weight(shape=(), initializer="zeros", trainable=False, name="capacity")
        self.step = self.add_weight(shape=(), initializer="zeros", trainable=False, name="step")

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"capacity": self.final}

    def bound(self, terms: Terms) -> Tensor:
        if terms.training:
            self.capacity.assign(self.final * ops.minimum(self.step / self.steps, 1.0))
            self.step.assign_add(1.0)
        return ops.mean(terms.log_px, axis=0) - self.gamma * ops.abs(ops.sum(terms.kl, axis=-1) - self.capacity)


class IWAE(Objective):
    """The importance-weighted bound, log 1/K sum_k w_k with w = p(x, z) / q(z|x) (Burda et al. 2016).

    Args:
        num_samples: K; 1 gives the ELBO.
    """

    def __init__(self, num_samples: int = 5) -> None:
        super().__init__()
        self.num_samples = check_count("num_samples", num_samples, MOST_SAMPLES)

    def bound(self, terms: Terms) -> Tensor:
        return log_mean_exp(terms.log_weights, axis=0)


class MIWAE(Objective):
    """The average of M importance-weighted bounds of K samples each (Rainforth et al. 2018).

    Args:
        bounds: M.
        samples: K.
    """

    def __init__(self, bounds: int = 4, samples: int = 4) -> None:
        super().__init__()
        self.bounds = check_count("bounds", bounds, MOST_SAMPLES)
        self.samples = check_count("samples", samples, MOST_SAMPLES // bounds)
        self.num_samples = bounds * samples

    def bound(self, terms: Terms) -> Tensor:
        log_weights = ops.reshape(terms.log_weights, (self.bounds, self.samples, -1))
        return ops.mean(log_mean_exp(log_weights, axis=1), axis=0)


class CIWAE(Objective):
    """beta ELBO + (1 - beta) IWAE, both from the same samples (Rainforth et al. 2018).

    Args:
        beta: in [0, 1].
        num_samples: K.
    """

    def __init__(self, beta: float = 0.5, num_samples: int = 5) -> None:
        super().__init__()
        self.beta, self.num_samples = check_number("beta", beta), check_count("num_samples", num_samples, MOST_SAMPLES)
        if self.beta > 1.0:
            raise UsageError(f"beta: expected a number in [0, 1], received {beta!r}")

    def bound(self, terms: Terms) -> Tensor:
        elbo = ops.mean(terms.log_weights, axis=0)
        return self.beta * elbo + (1.0 - self.beta) * log_mean_exp(terms.log_weights, axis=0)


class Dreg(Objective):
    """The importance-weighted bound with the doubly reparameterised gradient, of less noise (Tucker et al. 2019).

    The value is that of `IWAE`. The decoder's gradient is sum_k v_k d log w_k, with v the normalised weights; the
    encoder's is sum_k v_k^2 d log w_k / dz dz, through the samples alone. It needs a posterior that can be detached
    from its parameters: a Gaussian.

    Args:
        num_samples: K.
    """

    needs = (Gaussian, FullGaussian)

    def __init__(self, num_samples: int = 5) -> None:
        super().__init__()
        self.num_samples = check_count("num_samples", num_samples, MOST_SAMPLES)

    def bound(self, terms: Terms) -> Tensor:
        log_weights = ops.stop_gradient(terms.log_weights)
        weights = ops.softmax(log_weights, axis=0)
        # The same z, whose gradient is multiplied by v on its way back: with the v of the sum, v^2.
        still = ops.stop_gradient(terms.z)
        z = still + weights[..., None] * (terms.z - still)
        surrogate = ops.sum(weights * terms.at(z, terms.q.detached()).log_weights, axis=0)
        return surrogate + ops.stop_gradient(log_mean_exp(log_weights, axis=0) - surrogate)


class BetaTC(Objective):
    """E[log p(x|z)] - alpha MI - beta TC - gamma KL of the dimensions (beta-TCVAE, Chen et al. 2018).

    Args:
        beta: weight of the total correlation.
        alpha: weight of the mutual information of x and z.
        gamma: weight of the dimension-wise KL.
        data_size: images in the data set, for the estimate of q(z); None takes the batch for the data.
    """

    needs = (Gaussian,)

    def __init__(self, beta: float = 6.0, alpha: float = 1.0, gamma: float = 1.0, data_size: int | None = None) -> None:
        super().__init__()
        self.beta, self.alpha, self.gamma = (
            check_number(name, value) for name, value in (("beta", beta), ("alpha", alpha), ("gamma", gamma))
        )
        self.data_size = None if data_size is None else check_count("data_size", data_size)

    def bound(self, terms: Terms) -> Tensor:
        mutual, total, dimensions = total_correlation_terms(
            terms.z[0], terms.q, terms.log_pz[0], terms.log_qz[0], self.data_size, terms.weights
        )
        return terms.log_px[0] - self.alpha * mutual - self.beta * total - self.gamma * dimensions


class DIPVAE(Objective):
    """ELBO - off sum_{i != j} C_ij^2 - diagonal sum_i (C_ii - 1)^2 (DIP-VAE, Kumar et al. 2018).

    C is the covariance over the batch of the posterior means (kind 1), to which kind 2 adds the mean of the posterior's
    own covariances.

    Args:
        kind: 1 or 2.
        off: weight of the entries off the diagonal.
        diagonal: weight of the diagonal.
    """

    needs = (Gaussian,)

    def __init__(self, kind: int = 1, off: float = 10.0, diagonal: float = 100.0) -> None:
        super().__init__()
        if check_count("kind", kind) > 2:
            raise UsageError(f"kind: expected 1 or 2, received {kind!r}")
        self.kind, self.off, self.diagonal = kind, check_number("off", off), check_number("diagonal", diagonal)

    def bound(self, terms: Terms) -> Tensor:
        centred = terms.q.mean - terms.batch_mean(terms.q.mean)
        covariance = terms.batch_mean(centred[:, :, None] * centred[:, None, :])
        eye = ops.eye(terms.q.mean.shape[-1])
        if self.kind == 2:
            covariance = covariance + eye * terms.batch_mean(ops.square(terms.q.scale))
        outside = ops.sum(ops.square(covariance * (1.0 - eye)))
        inside = ops.sum(ops.square(covariance * eye - eye))
        return terms.elbo - self.off * outside - self.diagonal * inside


class InfoVAE(Objective):
    """E[log p(x|z)] - (1 - alpha) KL - (alpha + lambda - 1) MMD[q(z), p(z)] (InfoVAE, Zhao et al. 2019).

    Args:
        alpha: 1 leaves the KL out.
        weight: lambda, in nats of one image.
    """

    def __init__(self, alpha: float = 0.5, weight: float = 100.0) -> None:
        super().__init__()
        self.alpha, self.weight = check_number("alpha", alpha), check_number("weight", weight)

    def bound(self, terms: Terms) -> Tensor:
        distance = mmd(terms.z[0], terms.prior_codes(), terms.weights)
        rate = ops.sum(terms.kl, axis=-1)
        return terms.log_px[0] - (1.0 - self.alpha) * rate - (self.alpha + self.weight - 1.0) * distance


class WAE(Objective):
    """E[log p(x|z)] - lambda MMD[q(z), p(z)] (WAE-MMD, Tolstikhin et al. 2018): no bound, but the bound is logged.

    Args:
        weight: lambda, in nats of one image.
    """

    def __init__(self, weight: float = 100.0) -> None:
        super().__init__()
        self.weight = check_number("weight", weight)

    def bound(self, terms: Terms) -> Tensor:
        return terms.log_px[0] - self.weight * mmd(terms.z[0], terms.prior_codes(), terms.weights)
