"""Objectives of data that are several views, whose posterior is fused of the experts q(z|x_v)."""

import itertools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from bicoder.distributions import Distribution
from bicoder.engine.tensor import Seed, Tensor
from bicoder.errors import UsageError, check_count, check_number
from bicoder.fusions import FullProduct, Fused, Product, ProductMixture
from bicoder.kl import kl_divergence
from bicoder.objectives import Objective, Terms, log_mean_exp


class MVAE(Objective):
    """The ELBO of all views, of each view alone, and of random sets of them, added up (Wu & Goodman 2018, equation 7).

    The ELBO of a set S is E_q(z|x_S)[sum_{v in S} log p(x_v|z)] - beta KL[q(z|x_S) || p(z)]. The sum is no bound of
    log p(x). The paper has N(0, I) among the experts: `fusion="product_of_experts:prior_expert=true"`.

    Args:
        random_sets: how many sets of two or more views, but not of all, are drawn for each example.
        beta: weight of the rates.
    """

    needs = (Fused,)

    def __init__(self, random_sets: int = 1, beta: float = 1.0) -> None:
        super().__init__()
        self.random_sets = check_count("random_sets", random_sets, least=0)
        self.beta = check_number("beta", beta)

    def elbo(self, terms: Terms) -> Tensor:
        """The ELBO of what terms are of, (batch,)."""
        return ops.mean(terms.log_px, axis=0) - self.beta * ops.sum(terms.kl, axis=-1)

    def bound(self, terms: Terms) -> Tensor:
        _, experts, there = terms.q.experts
        views = list(experts)
        bound = self.elbo(terms)
        for view in views if len(views) > 1 else []:
            bound = bound + only_there(self.elbo(terms.given([view])), [there[view]])
        sets = np.array(
            [s for s in itertools.product((0.0, 1.0), repeat=len(views)) if 1 < sum(s) < len(views)], "float32"
        )
        for _ in range(self.random_sets if len(sets) else 0):
            which = keras.random.randint(ops.shape(bound), 0, len(sets), seed=terms.noise)
            chosen = dict(
                zip(views, ops.unstack(ops.take(ops.convert_to_tensor(sets), which, axis=0), axis=1), strict=True)
            )
            left = [chosen[view] if there[view] is None else chosen[view] * there[view] for view in views]
            bound = bound + only_there(self.elbo(terms.given(views, chosen)), left)
        return bound


def only_there(values: Tensor, there: Sequence[Any]) -> Tensor:
    """Values (batch,), 0 of those examples that have none of some views; None is a view that all have."""
    if any(one is None for one in there):
        return values
    return ops.where(sum(there) > 0, values, ops.zeros_like(values))


class ComponentELBO(Objective):
    """E_q[log p(x|z)] - beta sum_c w_c KL[q_c || p(z)], of a mixture q = sum_c w_c q_c (MoPoE, Sutter et al. 2021).

    A mixture is closer to the prior than its components are on average, so that it is at most the ELBO if beta is 1.

    Args:
        num_samples: samples of z over which log p(x|z) is averaged.
        beta: weight of the rate.
    """

    needs = (ProductMixture,)

    def __init__(self, num_samples: int = 1, beta: float = 1.0) -> None:
        super().__init__()
        self.num_samples, self.beta = check_count("num_samples", num_samples), check_number("beta", beta)

    def bound(self, terms: Terms) -> Tensor:
        batch, number = ops.shape(terms.q.log_weights)
        components = terms.q.rows(ops.arange(batch * number))
        kl = kl_divergence(components, terms.prior)
        if kl is None:
            z = components.sample(terms.noise)
            kl = (components.log_prob(z) - terms.prior.log_prob(z))[:, None]
        kl = ops.reshape(ops.sum(kl, axis=-1), (batch, number))
        rate = ops.sum(ops.exp(terms.q.log_weights) * kl, axis=-1)
        return ops.mean(terms.log_px, axis=0) - self.beta * rate


class MVTCAE(Objective):
    """(M - a)/M E_q[log p(x|z)] - b (1 - a) KL[q || p(z)] - b a/M sum_v KL[q || q(z|x_v)] (Hwang et al. 2021).

    q is the product of the experts, and M how many views an example has.

    Args:
        alpha: a, in [0, 1]; 0 gives the beta-ELBO.
        beta: b.
    """

    needs = (Product, FullProduct)

    def __init__(self, alpha: float = 5 / 6, beta: float = 1.0) -> None:
        super().__init__()
        self.alpha, self.beta = check_number("alpha", alpha), check_number("beta", beta)
        if self.alpha > 1.0:
            raise UsageError(f"alpha: expected a number in [0, 1], received {alpha!r}")

    def bound(self, terms: Terms) -> Tensor:
        _, experts, there = terms.q.experts
        present = [1.0 if one is None else one for one in there.values()]
        share = self.alpha / ops.maximum(sum(present), 1.0)
        apart = sum(one * self.apart(terms, expert) for one, expert in zip(present, experts.values(), strict=True))
        rate = (1.0 - self.alpha) * ops.sum(terms.kl, axis=-1) + share * apart
        return (1.0 - share) * ops.mean(terms.log_px, axis=0) - self.beta * rate

    def apart(self, terms: Terms, expert: Distribution) -> Tensor:
        """KL[q || q(z|x_v)] of one expert, (batch,)."""
        kl = kl_divergence(terms.q, expert)
        return ops.mean(terms.log_qz - expert.log_prob(terms.z), axis=0) if kl is None else ops.sum(kl, axis=-1)


class MMVAE(Objective):
    """sum_c w_c log 1/K sum_k p(x, z_ck) / q(z_ck|x), z_ck ~ q_c, of a mixture q = sum_c w_c q_c (Shi et al. 2019).

    All K samples of a logarithm are of one component, and q in the weights is the whole mixture. `IWAE` with samples of
    all components in one logarithm is tighter.

    Args:
        num_samples: K, of each component.
    """

    needs = (ProductMixture,)

    def __init__(self, num_samples: int = 1) -> None:
        super().__init__()
        self.num_samples = check_count("num_samples", num_samples)

    def draw(self, q: Any, noise: Seed) -> tuple[Tensor, Tensor]:
        batch, number = ops.shape(q.log_weights)
        drawn = q.rows(ops.arange(batch * number)).sample(noise, self.num_samples)
        z = ops.reshape(drawn, (self.num_samples, batch, number, -1))
        z = ops.reshape(
            ops.transpose(z, (0, 2, 1, 3)), (self.num_samples * q.log_weights.shape[1], batch, drawn.shape[-1])
        )
        return z, q.log_prob(z)

    def bound(self, terms: Terms) -> Tensor:
        number = terms.q.log_weights.shape[1]
        log_weights = ops.reshape(terms.log_weights, (self.num_samples, number, -1))
        return ops.sum(ops.exp(ops.transpose(terms.q.log_weights)) * log_mean_exp(log_weights, axis=0), axis=0)
