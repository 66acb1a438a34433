"""Importance samples of blocks of examples, and what is summed of them."""

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from bicoder.engine.tensor import Seed, Tensor
from bicoder.inference import samples_at_once
from bicoder.priors import Prior

BLOCK = 100  # examples at a time


def to_numpy(tensor: Tensor) -> np.ndarray:
    """A tensor of any backend as float64."""
    return ops.convert_to_numpy(tensor).astype("float64")


def block_weights(
    weigh: Callable[[int], tuple[Tensor, Tensor, Tensor]], block: int, example: Any, num_samples: int, prior: Prior
) -> list[np.ndarray]:
    """log w, log p(x|z), log q(z|x) - log p(z), (K, block) each, for examples of this shape, in portions of samples."""
    portion = min(num_samples, samples_at_once(block, example, prior))
    counts = [portion] * (num_samples // portion) + ([num_samples % portion] if num_samples % portion else [])
    portions = [weigh(count) for count in counts]
    return [np.concatenate([to_numpy(tensors[i]) for tensors in portions]) for i in range(3)]


def seconds_again(weigh_block: Callable[[], Any], noise: Seed) -> float:
    """How long a block takes that was weighed before, and is compiled by now; `noise` stays as it was.

    Args:
        weigh_block: function that weighs it.
        noise: `keras.random.SeedGenerator` that it draws from.
    """
    before, began = ops.convert_to_numpy(noise.state), time.perf_counter()
    weigh_block()
    took = time.perf_counter() - began
    noise.state.assign(before)
    return took


class PerImage(NamedTuple):
    """What is known of each image by itself, in nats, (N,) each; the rate is exact if it can be."""

    log_likelihood: np.ndarray  # log p(x), by the importance samples
    distortion: np.ndarray
    rate: np.ndarray

    @property
    def elbo(self) -> np.ndarray:
        """The bound of one sample, -distortion - rate."""
        return -self.distortion - self.rate


class Sums:
    """Sums over the images, and what is known of each of them.

    Args:
        num_samples: K.
        latent_dim: dimensions of z.
    """

    def __init__(self, num_samples: int, latent_dim: int) -> None:
        self.num_samples, self.latent_dim = num_samples, latent_dim
        self.sweep = sorted({num_samples, *(10**i for i in range(8) if 10**i <= num_samples)})
        self.bounds = dict.fromkeys(self.sweep, 0.0)
        self.log_likelihoods: list[np.ndarray] = []
        self.distortions: list[np.ndarray] = []
        self.sampled_rates: list[np.ndarray] = []
        self.rates: list[np.ndarray] = []  # if they are known exactly
        self.variance = self.squared_error = 0.0
        self.kl: np.ndarray | None = None  # the sum over the images, (latent_dim,) or (1,), if it is known exactly

    def add(self, log_weights: np.ndarray, log_px: np.ndarray, log_ratio: np.ndarray) -> None:
        """The block's weights, (K, block) each."""
        for k in self.sweep:
            # As many groups of k samples as there are; each is one draw of the bound of k samples.
            groups = log_weights[: self.num_samples // k * k].reshape(-1, k, log_weights.shape[1])
            self.bounds[k] += log_mean_exp(groups, axis=1).mean(axis=0).sum()
        estimate = log_mean_exp(log_weights, axis=0)
        self.log_likelihoods.append(estimate)
        relative = np.exp(log_weights - estimate)  # w over their mean
        self.variance += (relative.var(axis=0) / self.num_samples).sum()
        self.distortions.append(-log_px.mean(axis=0))
        self.sampled_rates.append(log_ratio.mean(axis=0))

    def add_exact(self, kl: Tensor | None, squared_error: Tensor) -> None:
        """What needs no samples: the KL, (block, latent_dim) or (block, 1) or None, and the sum of squared errors."""
        if kl is not None:
            self.kl = to_numpy(kl).sum(axis=0) + (0.0 if self.kl is None else self.kl)
            self.rates.append(to_numpy(kl).sum(axis=1))
        self.squared_error += float(squared_error)

    def per_image(self) -> PerImage:
        """What is known of each image, in their order."""
        rates = self.rates or self.sampled_rates
        return PerImage(*map(np.concatenate, (self.log_likelihoods, self.distortions, rates)))

    def numbers(self) -> dict[str, Any]:
        """Means over the images, but for `squared_error`, a sum."""
        log_likelihoods, distortions, rates = self.per_image()
        count = len(log_likelihoods)
        distortion, rate = distortions.mean(), rates.mean()
        kl = None if self.kl is None else (self.kl / count).tolist()
        return {
            "nll": float(-log_likelihoods.mean()),
            "nll_standard_error": float(log_likelihoods.std(ddof=1) / math.sqrt(count)) if count > 1 else None,
            "nll_monte_carlo_error": math.sqrt(self.variance) / count,
            "bounds": {k: float(total / count) for k, total in self.bounds.items()},
            "distortion": float(distortion),
            "rate": float(rate),
            "elbo": float(-distortion - rate),
            "kl_per_dimension": kl if kl is not None and len(kl) == self.latent_dim else None,
            "squared_error": self.squared_error,
        }


def log_mean_exp(x: np.ndarray, axis: int) -> np.ndarray:
    """log of the mean of exp(x), in float64; -inf if all weights are zero."""
    largest = np.maximum(x.max(axis=axis, keepdims=True), -1e300)
    return np.squeeze(largest, axis) + np.log(np.maximum(np.exp(x - largest).mean(axis=axis), 1e-300))
