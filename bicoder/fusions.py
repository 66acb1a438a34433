"""Fusions: from the posteriors of single views, the experts q(z|x_v), to the posterior of all of them.

Every fusion is a mixture of products, q(z|x) = mean over sets S of prod_{v in S} q(z|x_v), and says which sets. A view
that is missing leaves the sets, and a set that is left empty leaves the mixture.
"""

import abc
import itertools
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from bicoder.component import Component
from bicoder.distributions import Distribution, FullGaussian, Gaussian
from bicoder.engine.arrays.there import both
from bicoder.engine.arrays.view_names import MOST_VIEWS
from bicoder.engine.random_numbers import uniform
from bicoder.engine.tensor import Seed, Tensor
from bicoder.errors import UsageError
from bicoder.mixtures import Mixture
from bicoder.posteriors import Posterior


class Experts(NamedTuple):
    """What a fused posterior is made of."""

    fusion: "Fusion"
    of: dict[str, Any]  # view -> q(z|x_v), with parameters (batch, d)
    there: dict[str, Tensor | None]  # view -> whether an example has it, 1 or 0, (batch,); None if all have

    def fused(self) -> Any:
        """q(z|x) of these experts."""
        return self.fusion(self)


class Fused(Distribution):
    """A posterior that knows the experts which it is made of."""

    experts: Experts

    def given(self, views: Iterable[str], kept: dict[str, Tensor] | None = None) -> Any:
        """q(z|x) of some of the views, the same as if the others were missing.

        Args:
            views: their names.
            kept: view -> 1 or 0, (batch,): whether an example keeps it; None if all do.
        """
        fusion, of, there = self.experts
        names = list(views)
        left = {view: there[view] if kept is None else both(there[view], kept[view]) for view in names}
        return Experts(fusion, {view: of[view] for view in names}, left).fused()


class Product(Fused, Gaussian):
    """A product of diagonal Gaussians, which is one."""


class FullProduct(Fused, FullGaussian):
    """A product of Gaussians, which is one."""


class ProductMixture(Fused, Mixture):
    """A mixture of products; samples take its components in turn.

    The first component is drawn for each example, so that every sample by itself follows the mixture, and C samples of
    C components that weigh the same have each once (systematic sampling).
    """

    def choose(self, num_samples: int, seed: Seed) -> Tensor:
        batch, number = ops.shape(self.log_weights)
        turns = ops.cast(ops.arange(num_samples), "float32")[:, None] / number
        place = ops.mod(uniform((1, batch), seed=seed) + turns, 1.0)[..., None]  # (num_samples, batch, 1)
        below = ops.cumsum(ops.exp(self.log_weights), axis=-1)[:, :-1]  # where the second one begins, and so on
        return ops.sum(ops.cast(place >= below, "int32"), axis=-1)


class Fusion(Component):
    """From experts q(z|x_v), which must be Gaussians, to q(z|x); it has no weights."""

    # Whether N(0, I) is in every product.
    prior_expert: bool = False

    @abc.abstractmethod
    def sets(self, views: int) -> np.ndarray:
        """Of so many views, the sets whose products are mixed: rows of 0 and 1, (C, views)."""

    def distribution(self, posterior: Posterior, views: int) -> type[Distribution]:
        """The class of q(z|x), of so many views that have this posterior.

        Raises:
            UsageError: there is no product of such experts.
        """
        for known, (product, _) in PRODUCTS.items():
            if issubclass(posterior.distribution, known):
                return product if len(self.sets(views)) == 1 else ProductMixture
        raise UsageError(
            f"fusion {self.part_name()}: expected diagonal_gaussian or full_gaussian as the posterior of every view, "
            f"received {posterior.part_name()}"
        )

    def __call__(self, experts: Experts) -> Any:
        """`Experts` -> q(z|x), `Fused`; of an example that has no view, N(0, I)."""
        sets = self.sets(len(experts.of)).astype("float32")
        first = next(iter(experts.of.values()))
        present = ops.stack(
            [ops.ones_like(first.mean[:, 0]) if t is None else ops.cast(t, "float32") for t in experts.there.values()],
            1,
        )
        kept = ops.convert_to_tensor(sets)[None] * present[:, None, :]  # (batch, C, views)
        empty = ops.cast(ops.equal(ops.sum(kept, axis=-1), 0.0), "float32")  # (batch, C)
        product, multiply = next(found for known, found in PRODUCTS.items() if isinstance(first, known))
        components = multiply(list(experts.of.values()), kept, ops.ones_like(empty) if self.prior_expert else empty)
        if len(sets) == 1:
            q = product(*[p[:, 0] for p in components])
        else:
            kind = product.__mro__[2]
            q = ProductMixture(kind(*components), ops.log_softmax(-1e9 * empty))
        q.experts = experts
        return q


def diagonal_product(experts: list[Gaussian], kept: Tensor, prior: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log(sigma) of products, whose precision is the sum of the precisions: (batch, C, d).

    Args:
        experts: with parameters (batch, d).
        kept: 1 for those in a product, else 0, (batch, C, experts).
        prior: 1 for products in which N(0, I) is too, else 0, (batch, C).
    """
    means = ops.stack([q.mean for q in experts], axis=1)
    precisions = ops.exp(-2.0 * ops.stack([q.log_scale for q in experts], axis=1))
    precision = ops.matmul(kept, precisions) + prior[..., None]
    return ops.matmul(kept, precisions * means) / precision, -0.5 * ops.log(precision)


def full_product(experts: list[FullGaussian], kept: Tensor, prior: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (batch, C, d) and triangle (batch, C, d, d) of products; see `diagonal_product`."""
    eye = ops.eye(experts[0].mean.shape[-1])
    inverses = [ops.solve_triangular(q.scale_tril, ops.zeros_like(q.scale_tril) + eye, lower=True) for q in experts]
    precisions = ops.stack([ops.matmul(ops.swapaxes(i, -1, -2), i) for i in inverses], axis=1)  # (batch, V, d, d)
    moments = ops.stack(
        [ops.einsum("bij,bj->bi", p, q.mean) for p, q in zip(ops.unstack(precisions, axis=1), experts, strict=True)],
        axis=1,
    )
    precision = ops.einsum("bcv,bvij->bcij", kept, precisions) + prior[..., None, None] * eye
    inverse = ops.solve_triangular(ops.cholesky(precision), ops.zeros_like(precision) + eye, lower=True)
    covariance = ops.matmul(ops.swapaxes(inverse, -1, -2), inverse)
    mean = ops.einsum("bcij,bcj->bci", covariance, ops.matmul(kept, moments))
    return mean, ops.cholesky(covariance)


# Kind of expert -> the class of their product, and how it is computed.
PRODUCTS: dict[type[Distribution], tuple[Any, Any]] = {
    Gaussian: (Product, diagonal_product),
    FullGaussian: (FullProduct, full_product),
}


class ProductOfExperts(Fusion):
    """q(z|x) = prod_v q(z|x_v), normalised (Wu & Goodman 2018, Hwang et al. 2021).

    Args:
        prior_expert: whether N(0, I) is one of the experts, as in the MVAE of Wu & Goodman.
    """

    def __init__(self, prior_expert: bool = False) -> None:
        if not isinstance(prior_expert, bool):
            raise UsageError(f"prior_expert: expected true or false, received {prior_expert!r}")
        self.prior_expert = prior_expert

    def sets(self, views: int) -> np.ndarray:
        return np.ones((1, views))


class MixtureOfExperts(Fusion):
    """q(z|x) = mean over the views of q(z|x_v) (MMVAE, Shi et al. 2019)."""

    def sets(self, views: int) -> np.ndarray:
        return np.eye(views)


class MixtureOfProducts(Fusion):
    """q(z|x) = mean over all sets of views of their product (MoPoE, Sutter et al. 2021)."""

    def sets(self, views: int) -> np.ndarray:
        if views > MOST_VIEWS:
            raise UsageError(f"fusion mixture_of_products: expected at most {MOST_VIEWS} views, received {views}")
        return np.array(list(itertools.product((0, 1), repeat=views))[1:])
