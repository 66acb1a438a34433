"""Exact Kullback-Leibler divergences, one function for each pair of distributions.

KL[q || p] = E_q[log q(z) - log p(z)]. A pair that is not here is estimated from the samples of z.
"""

import itertools
from collections.abc import Callable

from keras import ops

from bicoder.distributions import Distribution, FullGaussian, Gaussian
from bicoder.engine.tensor import Tensor

Divergence = Callable[[Distribution, Distribution], Tensor]
EXACT: dict[tuple[type, type], Divergence] = {}


def exact(q: type[Distribution], p: type[Distribution]) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """Decorator: the function below it is the exact KL[q || p] of these classes and of those derived from them."""

    def register(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        EXACT[q, p] = function
        return function

    return register


def bases(distribution: Distribution) -> list[type]:
    """The classes whose density a distribution has, its own first, up to that of its `log_prob`."""
    return [c for c in type(distribution).__mro__ if getattr(c, "log_prob", None) is type(distribution).log_prob]


def kl_divergence(q: Distribution, p: Distribution) -> Tensor | None:
    """KL[q || p] in nats if it is known in closed form, for the nearest registered base classes, else None.

    Args:
        q: the posterior, with parameters (batch, latent).
        p: the prior's distribution, with parameters (1, latent) or (batch, latent).
    Returns:
        (batch, latent) if both factorise over the dimensions, else (batch, 1); the KL is the sum over the last axis.
    """
    for pair in itertools.product(bases(q), bases(p)):
        if pair in EXACT:
            return EXACT[pair](q, p)
    return None


@exact(Gaussian, Gaussian)
def gaussians(q: Gaussian, p: Gaussian) -> Tensor:
    """1/2 ((mu_q - mu_p)^2 / sigma_p^2 + r - log(r) - 1), r = sigma_q^2 / sigma_p^2, for every dimension."""
    log_ratio = 2.0 * (q.log_scale - p.log_scale)
    shift = ops.square(q.mean - p.mean) * ops.exp(-2.0 * p.log_scale)
    return 0.5 * (shift + ops.exp(log_ratio) - log_ratio - 1.0)


@exact(FullGaussian, Gaussian)
def full_gaussian_gaussian(q: FullGaussian, p: Gaussian) -> Tensor:
    """1/2 (|S L|^2 + |S (mu_q - mu_p)|^2 - d) - sum(log diag(S L)), S the diagonal of 1 / sigma_p."""
    log_scale = p.log_scale + ops.zeros_like(p.mean)  # one for every dimension
    precision = ops.exp(-2.0 * log_scale)
    squares = ops.sum(ops.sum(ops.square(q.scale_tril), axis=-1) * precision, axis=-1)
    squares = squares + ops.sum(ops.square(q.mean - p.mean) * precision, axis=-1)
    kl = 0.5 * (squares - q.mean.shape[-1]) - ops.sum(q.log_diagonal() - log_scale, axis=-1)
    return kl[:, None]


@exact(FullGaussian, FullGaussian)
def full_gaussians(q: FullGaussian, p: FullGaussian) -> Tensor:
    """1/2 (|L_p^-1 L_q|^2 + |L_p^-1 (mu_q - mu_p)|^2 - d) - sum(log diag L_q) + sum(log diag L_p)."""
    both = ops.concatenate([q.scale_tril, (q.mean - p.mean)[..., None]], axis=-1)
    triangle = p.scale_tril + ops.zeros_like(q.scale_tril)  # one for every q
    squares = ops.sum(ops.square(ops.solve_triangular(triangle, both, lower=True)), axis=(-2, -1))
    kl = 0.5 * (squares - q.mean.shape[-1]) - ops.sum(q.log_diagonal() - p.log_diagonal(), axis=-1)
    return kl[:, None]
