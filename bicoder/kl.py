"""Exact Kullback-Leibler divergences, one function for each pair (posterior's distribution, prior).

KL[q || p] = E_q[log q(z) - log p(z)]. A pair that is not here is estimated from the samples of z by the objective.
"""

from collections.abc import Callable

from keras import ops

from bicoder.distributions import Gaussian
from bicoder.priors import StandardNormal

EXACT: dict[tuple[type, type], Callable] = {}


def exact(posterior, prior):
    """Decorator: the function below it is the exact KL of this pair of classes."""

    def register(function):
        EXACT[posterior, prior] = function
        return function

    return register


def kl_divergence(q, prior):
    """KL[q(z|x) || p(z)] in nats, (batch,), where it is known in closed form, else None.

    Args:
        q: the posterior, a `Distribution` with parameters (batch, latent).
        prior: a `Prior`.
    """
    function = EXACT.get((type(q), type(prior)))
    return function(q, prior) if function else None


@exact(Gaussian, StandardNormal)
def gaussian_standard_normal(q, prior):
    """1/2 sum(mu^2 + sigma^2 - log(sigma^2) - 1) (Kingma & Welling 2014, appendix B)."""
    log_var = 2.0 * q.log_scale
    return 0.5 * ops.sum(ops.square(q.mean) + ops.exp(log_var) - log_var - 1.0, axis=-1)
