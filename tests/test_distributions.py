"""Every density against SciPy and against one; samples follow the density."""

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
from gradients import gradient
from keras import ops

from bicoder.distributions import (
    Bernoulli,
    ContinuousBernoulli,
    DiscretizedLogistic,
    FullGaussian,
    Gaussian,
    Laplace,
)

MEAN, LOG_SCALE = 0.3, -0.7

CONTINUOUS = {
    "gaussian": (Gaussian(np.float32([MEAN]), LOG_SCALE), scipy.stats.norm(MEAN, np.exp(LOG_SCALE))),
    "laplace": (Laplace(np.float32([MEAN]), LOG_SCALE), scipy.stats.laplace(MEAN, np.exp(LOG_SCALE))),
}
LOGITS = np.float32([-20.0, -2.0, 0.0, 0.5, 20.0])


@pytest.mark.parametrize("name", CONTINUOUS)
def test_log_prob_agrees_with_scipy(name):
    ours, theirs = CONTINUOUS[name]
    values = np.linspace(-4, 4, 41, dtype="float32")
    np.testing.assert_allclose(ours.log_prob(values), theirs.logpdf(values), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_density_integrates_to_one(name):
    ours, _ = CONTINUOUS[name]
    values = np.linspace(-12, 12, 20001, dtype="float32")
    assert scipy.integrate.trapezoid(np.exp(ours.log_prob(values)), values) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_samples_follow_the_density(name):
    ours, theirs = CONTINUOUS[name]
    samples = np.asarray(ours.sample(seed=1, num_samples=5000))[:, 0]
    assert scipy.stats.kstest(samples, theirs.cdf).pvalue > 1e-3
    assert scipy.stats.kstest(samples, scipy.stats.norm(MEAN + 0.2, np.exp(LOG_SCALE)).cdf).pvalue < 1e-6


def test_bernoulli_agrees_with_scipy_and_sums_to_one():
    ours = Bernoulli(LOGITS)
    expected = scipy.stats.bernoulli(1 / (1 + np.exp(-LOGITS.astype("float64"))))
    ones, zeros = ours.log_prob(np.ones(5, "float32")), ours.log_prob(np.zeros(5, "float32"))
    np.testing.assert_allclose(ones, expected.logpmf(1), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(zeros, expected.logpmf(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(np.exp(ones) + np.exp(zeros), 1.0, rtol=1e-6)
    samples = np.asarray(ours.sample(seed=3, num_samples=20000))
    assert set(np.unique(samples)) == {0.0, 1.0}
    np.testing.assert_allclose(samples.mean(axis=0), ours.mean, atol=0.015)


@pytest.mark.parametrize("logit", [-100.0, 100.0])
def test_bernoulli_is_finite_at_extremes(logit):
    both = [float(Bernoulli(np.float32([logit])).log_prob(np.float32([x]))[0]) for x in (0.0, 1.0)]
    assert sorted(both) == [-100.0, 0.0]


@pytest.mark.parametrize("kind", [Gaussian, Laplace])
def test_log_prob_sums_over_all_but_the_batch_axes(kind, rng):
    mean, value = rng.normal(size=(2, 4, 5, 3)).astype("float32")[:, :, None]  # (4, 1, 5, 3) each
    elementwise = np.asarray(kind(mean.reshape(-1), -0.2).log_prob(value.reshape(-1))).reshape(4, 15)
    np.testing.assert_allclose(kind(mean, -0.2).log_prob(value), elementwise.sum(axis=1), rtol=1e-5)


def test_one_scale_for_all_counts_once_for_every_element():
    """The trap: log(sigma) subtracted once is 225.26 nats too low for 784 dimensions at sigma = 0.75."""
    mean, x = np.zeros((1, 784), "float32"), np.full((1, 784), 0.5, "float32")
    right = scipy.stats.norm(0, 0.75).logpdf(0.5) * 784
    ours = float(Gaussian(mean, np.log(0.75)).log_prob(x)[0])
    assert ours == pytest.approx(right, rel=1e-6)
    wrong = right + 784 * np.log(0.75) - np.log(0.75)
    assert ours - wrong == pytest.approx(225.26, abs=0.01)


def test_sample_axes(rng):
    """K samples of z: (K, batch, latent); x (batch, D) under p(x|z) with parameters (K, batch, D): (K, batch)."""
    q = Gaussian(rng.normal(size=(4, 2)).astype("float32"), -1.0)
    z = q.sample(seed=0, num_samples=3)
    assert tuple(z.shape) == (3, 4, 2)
    assert tuple(q.sample(seed=0).shape) == (4, 2)
    assert tuple(q.log_prob(z).shape) == (3, 4)
    p = Gaussian(rng.normal(size=(3, 4, 6, 6, 1)).astype("float32"), -1.0)
    x = rng.normal(size=(4, 6, 6, 1)).astype("float32")
    log_px = np.asarray(p.log_prob(x))
    assert log_px.shape == (3, 4)
    np.testing.assert_allclose(log_px[1], Gaussian(p.mean[1], -1.0).log_prob(x), rtol=1e-5)


def test_grey_and_colour_agree_per_pixel():
    grey, colour = np.zeros((1, 8, 8, 1), "float32"), np.zeros((1, 8, 8, 3), "float32")
    one = float(Gaussian(grey, -1.0).log_prob(grey + 0.1)[0])
    three = float(Gaussian(colour, -1.0).log_prob(colour + 0.1)[0])
    assert three == pytest.approx(3 * one, rel=1e-6)


LOGIT_GRID = [-100.0, -30.0, -5.0, -1.01, -0.99, -1e-3, 0.0, 1e-6, 0.3, 0.99, 1.01, 4.0, 30.0, 100.0]


@pytest.mark.parametrize("logit", LOGIT_GRID)
def test_continuous_bernoulli(logit):
    """Its integral is one and its mean is right, around p = 0.5 too, where the formula is 0 / 0."""
    p = ContinuousBernoulli(np.float32([logit]))
    x = np.linspace(0, 1, 20001)
    density = np.exp(np.asarray(p.log_prob(x.astype("float32")), "float64"))
    assert scipy.integrate.trapezoid(density, x) == pytest.approx(1.0, abs=1e-4)
    mean = scipy.integrate.trapezoid(x * density, x)
    assert float(p.mean[0]) == pytest.approx(mean, abs=1e-4)
    samples = np.asarray(p.sample(seed=0, num_samples=20_000))
    assert samples.min() >= 0.0
    assert samples.max() <= 1.0
    assert samples.mean() == pytest.approx(mean, abs=0.01)


@pytest.mark.parametrize("log_scale", [-10.0, -6.0, -4.0, -2.0, 0.0, 3.0, 10.0])
@pytest.mark.parametrize("location", [-0.5, 0.0, 0.3, 1.0, 2.0])
@pytest.mark.parametrize("levels", [2, 17, 256])
def test_discretized_logistic(log_scale, location, levels):
    """All grey values, edges included, add up to one; their probabilities are those of the distribution function."""
    x = np.arange(levels) / (levels - 1)
    p = DiscretizedLogistic(np.full(levels, location, "float32"), log_scale, levels)
    mass = np.exp(np.asarray(p.log_prob(x.astype("float32")), "float64"))
    assert mass.sum() == pytest.approx(1.0, abs=1e-4)
    edges = np.concatenate([[-np.inf], (np.arange(levels - 1) + 0.5) / (levels - 1), [np.inf]])
    expected = np.diff(scipy.stats.logistic(location, np.exp(log_scale)).cdf(edges))
    np.testing.assert_allclose(mass, expected, atol=1e-3 if log_scale < -5 else 1e-5)
    samples = np.asarray(DiscretizedLogistic(np.float32([location]), log_scale, levels).sample(0, 20_000))
    assert set(np.round(samples.ravel() * (levels - 1), 3)) <= set(range(levels))
    assert samples.mean() == pytest.approx((expected * x).sum(), abs=0.015)
    assert float(p.mean[0]) == pytest.approx((expected * x).sum(), abs=0.51 / (levels - 1))


def test_full_gaussian_agrees_with_scipy(rng):
    triangle = np.tril(rng.normal(size=(2, 3, 3)))
    triangle[:, range(3), range(3)] = np.abs(triangle[:, range(3), range(3)]) + 0.3
    mean = rng.normal(size=(2, 3))
    q = FullGaussian(mean.astype("float32"), triangle.astype("float32"))
    z = np.asarray(q.sample(seed=0, num_samples=20_000))
    assert tuple(q.log_prob(z[0]).shape) == (2,)
    for i in range(2):
        expected = scipy.stats.multivariate_normal(mean[i], triangle[i] @ triangle[i].T)
        np.testing.assert_allclose(np.asarray(q.log_prob(z))[:50, i], expected.logpdf(z[:50, i]), rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(np.cov(z[:, i].T), triangle[i] @ triangle[i].T, atol=0.15)


EXTREMES = {
    "bernoulli": (Bernoulli, LOGIT_GRID, (0.0, 1.0)),
    "continuous_bernoulli": (ContinuousBernoulli, LOGIT_GRID, (0.0, 0.5, 1.0)),
    "gaussian": (lambda s: Gaussian(ops.zeros_like(s), s), [-10.0, 0.0, 10.0], (0.0, 1.0)),
    "laplace": (lambda s: Laplace(ops.zeros_like(s), s), [-10.0, 0.0, 10.0], (0.0, 1.0)),
    "discretized_logistic": (
        lambda s: DiscretizedLogistic(ops.zeros_like(s) + 0.5, s),
        [-10.0, 0.0, 10.0],
        (0.0, 127 / 255, 1.0),
    ),
}


@pytest.mark.parametrize("name", EXTREMES)
def test_values_and_gradients_are_finite_at_extremes(name):
    make, parameters, values = EXTREMES[name]
    for value in values:
        slope, log_prob = gradient(lambda s, value=value: make(s).log_prob(ops.full_like(s, value)), parameters)
        assert np.isfinite(log_prob).all(), (value, log_prob)
        assert np.isfinite(slope).all()
