"""Exact Kullback-Leibler divergences, one function for each pair (posterior's distribution, prior).

KL[q || p] = E_q[log q(z) - log p(z)]. A pair that is not here is estimated from the samples of z.
"""

from collections.abc import Callable

from keras import ops

from bicoder.distributions import FullGaussian, Gaussian
from bicoder.priors import StandardNormal

EXACT: dict[tuple[type, type], Callable] = {}


def exact(posterior, prior):
    """Decorator: the function below it is the exact KL of this pair of classes."""

    def register(function):
        EXACT[posterior, prior] = function
        return function

    return register


def kl_divergence(q, prior):
    """KL[q(z|x) || p(z)] in nats where it is known in closed form, else None.

    Args:
        q: the posterior, a `Distribution` with parameters (batch, latent).
        prior: a `Prior`.
    Returns:
        (batch, latent) where both factorise over the dimensions, else (batch, 1); the KL is the sum over the last axis.
    """
    function = EXACT.get((type(q), type(prior)))
    return function(q, prior) if function else None


@exact(Gaussian, StandardNormal)
def gaussian_standard_normal(q, prior):
    """1/2 (mu^2 + sigma^2 - log(sigma^2) - 1) for every dimension (Kingma & Welling 2014, appendix B)."""
    log_var = 2.0 * q.log_scale
    return 0.5 * (ops.square(q.mean) + ops.exp(log_var) - log_var - 1.0)


@exact(FullGaussian, StandardNormal)
def full_gaussian_standard_normal(q, prior):
    """1/2 (|L|^2 + |mu|^2 - d) - sum(log diag(L)), where |L|^2 is the trace of the covariance."""
    squares = ops.sum(ops.square(q.scale_tril), axis=(-2, -1)) + ops.sum(ops.square(q.mean), axis=-1)
    kl = 0.5 * (squares - q.mean.shape[-1]) - ops.sum(q.log_diagonal(), axis=-1)
    return kl[:, None]
