"""Exact divergences against Monte Carlo."""

import numpy as np
import pytest

from bicoder.distributions import FullGaussian, Gaussian, Laplace
from bicoder.kl import kl_divergence
from bicoder.priors import StandardNormal


@pytest.fixture
def prior():
    prior = StandardNormal()
    prior.build((None, 3))
    return prior


def test_exact_kl_agrees_with_monte_carlo(prior, rng):
    q = Gaussian(rng.normal(size=(5, 3)).astype("float32"), rng.normal(size=(5, 3)).astype("float32") * 0.5)
    z = q.sample(seed=0, num_samples=200_000)
    estimates = np.asarray(q.log_prob(z)) - np.asarray(prior.log_prob(z))
    error = estimates.std(axis=0) / np.sqrt(len(estimates))
    assert (np.abs(estimates.mean(axis=0) - np.asarray(kl_divergence(q, prior)).sum(axis=1)) < 5 * error).all()


def test_kl_of_the_prior_itself_is_zero(prior):
    np.testing.assert_allclose(kl_divergence(Gaussian(np.zeros((2, 3), "float32"), np.zeros((2, 3))), prior), 0.0)


def test_kl_is_the_contract_formula(prior):
    mu, log_var = np.float32([[0.5, -1.0, 2.0]]), np.float32([[0.1, -2.0, 1.0]])
    expected = 0.5 * np.sum(mu**2 + np.exp(log_var) - log_var - 1)
    assert float(np.sum(kl_divergence(Gaussian(mu, 0.5 * log_var), prior))) == pytest.approx(expected, rel=1e-6)


def test_exact_kl_of_a_full_gaussian(prior, rng):
    triangle = np.tril(rng.normal(size=(4, 3, 3)) * 0.5).astype("float32")
    triangle[:, range(3), range(3)] = np.abs(triangle[:, range(3), range(3)]) + 0.2
    q = FullGaussian(rng.normal(size=(4, 3)).astype("float32"), triangle)
    z = q.sample(seed=0, num_samples=200_000)
    estimates = np.asarray(q.log_prob(z)) - np.asarray(prior.log_prob(z))
    error = estimates.std(axis=0) / np.sqrt(len(estimates))
    assert (np.abs(estimates.mean(axis=0) - np.asarray(kl_divergence(q, prior))[:, 0]) < 5 * error).all()


def test_unknown_pair_is_none(prior):
    assert kl_divergence(Laplace(np.zeros((2, 3), "float32"), 0.0), prior) is None
