"""Exact divergences against Monte Carlo."""

import numpy as np
import pytest

from bicoder.distributions import Distribution, FullGaussian, Gaussian, Laplace
from bicoder.kl import EXACT, kl_divergence
from bicoder.priors import MixtureOfGaussians, Prior, StandardNormal

STANDARD = Gaussian(np.zeros((1, 3), "float32"), 0.0)


def mean_and_scale(rng, rows):
    return rng.normal(size=(rows, 3)).astype("float32"), rng.normal(size=(rows, 3)).astype("float32") * 0.5


def full_gaussian(rng, rows):
    triangle = np.tril(rng.normal(size=(rows, 3, 3)) * 0.5).astype("float32")
    triangle[:, range(3), range(3)] = np.abs(triangle[:, range(3), range(3)]) + 0.2
    return FullGaussian(rng.normal(size=(rows, 3)).astype("float32"), triangle)


# A distribution of each class that a divergence is registered for, with random parameters.
MAKE = {Gaussian: lambda rng, rows: Gaussian(*mean_and_scale(rng, rows)), FullGaussian: full_gaussian}


def assert_agrees_with_monte_carlo(q, p):
    z, log_qz = q.sample_and_log_prob(seed=0, num_samples=200_000)
    estimates = np.asarray(log_qz) - np.asarray(p.log_prob(z))
    error = estimates.std(axis=0) / np.sqrt(len(estimates))
    exact = np.asarray(kl_divergence(q, p))
    assert exact.shape in ((5, 3), (5, 1))
    assert (np.abs(estimates.mean(axis=0) - exact.sum(axis=1)) < 5 * error).all()


@pytest.mark.parametrize("rows", [1, 5], ids=["one p for all", "a p for each q"])
@pytest.mark.parametrize("pair", EXACT, ids=lambda pair: "-".join(cls.__name__ for cls in pair))
def test_exact_kl_agrees_with_monte_carlo(pair, rows, rng):
    q, p = pair
    assert_agrees_with_monte_carlo(MAKE[q](rng, 5), MAKE[p](rng, rows))


@pytest.mark.parametrize("kind", MAKE)
def test_one_scale_for_all_dimensions_counts_for_each(kind, rng):
    assert_agrees_with_monte_carlo(MAKE[kind](rng, 5), Gaussian(np.full((1, 3), 0.3, "float32"), -0.4))


def test_kl_of_a_distribution_from_itself_is_zero(rng):
    q = MAKE[Gaussian](rng, 4)
    np.testing.assert_array_equal(kl_divergence(q, Gaussian(q.mean, q.log_scale)), np.zeros((4, 3)))


def test_kl_is_the_contract_formula():
    mu, log_var = np.float32([[0.5, -1.0, 2.0]]), np.float32([[0.1, -2.0, 1.0]])
    expected = 0.5 * np.sum(mu**2 + np.exp(log_var) - log_var - 1)
    prior = StandardNormal()
    prior.build((None, 3))
    kl = kl_divergence(Gaussian(mu, 0.5 * log_var), prior.distribution())
    assert float(np.sum(kl)) == pytest.approx(expected, rel=1e-6)


class Shifted(Gaussian):
    """A Gaussian that is made in another way."""

    def __init__(self, mean, log_scale):
        super().__init__(mean + 1.0, log_scale)


class Peaked(Gaussian):
    """A density of its own: that of a Laplace distribution."""

    def log_prob(self, value):
        return Laplace(self.mean, self.log_scale).log_prob(value)


def test_a_subclass_keeps_the_exact_kl(rng):
    mean, log_scale = mean_and_scale(rng, 5)
    q = Shifted(mean, log_scale)
    np.testing.assert_array_equal(kl_divergence(q, STANDARD), kl_divergence(Gaussian(mean + 1.0, log_scale), STANDARD))
    assert_agrees_with_monte_carlo(Gaussian(mean, log_scale), Shifted(mean, log_scale))


def test_a_subclass_with_another_density_does_not(rng):
    q = Peaked(*mean_and_scale(rng, 5))
    assert kl_divergence(q, STANDARD) is None
    assert kl_divergence(STANDARD, q) is None


def test_the_nearest_pair_counts(monkeypatch, rng):
    monkeypatch.setitem(EXACT, (Shifted, Gaussian), lambda q, p: "of its own")
    q = Shifted(*mean_and_scale(rng, 5))
    assert kl_divergence(q, STANDARD) == "of its own"
    assert kl_divergence(STANDARD, q).shape == (5, 3)


class Narrow(Prior):
    """N(0, 0.1^2 I)."""

    def distribution(self):
        return Gaussian(np.zeros((1, self.latent_dim), "float32"), np.log(0.1))


def test_a_gaussian_prior_of_your_own_has_an_exact_kl(rng):
    prior = Narrow()
    prior.build((None, 3))
    assert_agrees_with_monte_carlo(MAKE[FullGaussian](rng, 5), prior.distribution())
    assert np.std(prior.sample(1000, seed=0)) == pytest.approx(0.1, rel=0.1)


def test_unknown_pair_is_none():
    prior = MixtureOfGaussians()
    prior.build((None, 3))
    assert isinstance(prior.distribution(), Distribution)
    assert kl_divergence(STANDARD, prior.distribution()) is None
    assert kl_divergence(Laplace(np.zeros((2, 3), "float32"), 0.0), STANDARD) is None
