"""The mathematics of the bounds."""

import itertools

import keras
import numpy as np
import pytest
import scipy.integrate
from gradients import compiled_gradients
from keras import ops

from bicoder import VAE, Decoder, Encoder, estimates, objectives
from bicoder.distributions import Gaussian
from bicoder.engine.programs.compiled import compiled
from bicoder.errors import UsageError
from bicoder.networks import MLP
from bicoder.objectives import CIWAE, ELBO, IWAE, MIWAE, WAE, BetaELBO, BetaTC, CapacityELBO, Dreg, InfoVAE


@pytest.fixture
def x(rng):
    return rng.random((6, 10), "float32")


def vae_with(objective, seed=0):
    return VAE(Encoder(MLP((12,)), 2), Decoder(MLP((12,))), objective=objective, seed=seed)


def mean_bound(objective, x, repeats):
    """The bound, averaged over images and `repeats` draws, and the error of that average."""
    bounds = -np.asarray(vae_with(objective)(np.tile(x, (repeats, 1))).loss)  # each copy draws its own z
    draws = bounds.reshape(repeats, len(x)).mean(axis=1)
    return np.mean(draws), np.std(draws) / np.sqrt(repeats)


def test_iwae_of_one_sample_is_the_elbo(x):
    elbo, error = mean_bound(ELBO(200), x, 20)
    iwae, other = mean_bound(IWAE(1), x, 2000)
    assert abs(elbo - iwae) < 4 * np.hypot(error, other)


def test_the_bound_does_not_fall_with_k(x):
    bounds = [mean_bound(IWAE(k), x, 400) for k in (1, 5, 50)]
    for (low, low_error), (high, high_error) in itertools.pairwise(bounds):
        assert high > low + 2 * np.hypot(low_error, high_error)


def test_iwae_is_log_mean_weight(x):
    """By hand, from the same samples: not weights times log weights."""
    vae = vae_with(IWAE(7))
    vae.build(x.shape)
    log_weights, _, _ = (np.asarray(t, "float64") for t in vae.log_weights(x, 7, keras.random.SeedGenerator(0)))
    by_hand = np.log(np.exp(log_weights).mean(axis=0))
    fresh = vae_with(IWAE(7), seed=0)  # its noise is a generator of the same seed
    np.testing.assert_allclose(-np.asarray(fresh(x).loss), by_hand, rtol=1e-4)


def test_miwae_takes_m_means_of_k(x):
    """M != K: the bound is that of K samples, whatever M is."""
    of_two, error = mean_bound(IWAE(2), x, 1500)
    m_k, other = mean_bound(MIWAE(bounds=10, samples=2), x, 300)
    swapped, _ = mean_bound(MIWAE(bounds=2, samples=10), x, 300)
    assert MIWAE(10, 2).num_samples == 20
    assert abs(of_two - m_k) < 4 * np.hypot(error, other)
    assert swapped > m_k + 10 * other


def test_ciwae_lies_between(x):
    low, high = mean_bound(CIWAE(1.0, 10), x, 200)[0], mean_bound(CIWAE(0.0, 10), x, 200)[0]
    middle = mean_bound(CIWAE(0.5, 10), x, 200)[0]
    assert middle == pytest.approx((low + high) / 2, rel=2e-2)
    assert low < middle < high


def gradients(objective, x, repeats):
    """The mean gradient of the loss over `repeats` draws and its error, flat."""
    vae = vae_with(objective)
    vae.build(x.shape)
    draw = compiled_gradients(lambda: ops.mean(vae(x, training=True).loss), vae)
    draws = np.stack([draw() for _ in range(repeats)])
    return draws.mean(axis=0), draws.std(axis=0) / np.sqrt(repeats)


def test_dreg_gradient_agrees_with_iwae_in_expectation_and_has_less_noise(x):
    dreg, dreg_error = gradients(Dreg(8), x, 1500)
    iwae, iwae_error = gradients(IWAE(8), x, 1500)
    error = np.hypot(dreg_error, iwae_error) + 1e-7
    z = (dreg - iwae) / error
    assert np.abs(z).max() < 5.5
    assert np.mean(z**2) < 1.5
    encoder = slice(0, 10 * 12 + 12 + 12 * 4 + 4)
    assert np.mean(dreg_error[encoder] ** 2) < 0.8 * np.mean(iwae_error[encoder] ** 2)


def test_dreg_has_the_value_of_iwae(x):
    dreg, error = mean_bound(Dreg(8), x, 300)
    iwae, other = mean_bound(IWAE(8), x, 300)
    assert abs(dreg - iwae) < 4 * np.hypot(error, other)


def test_beta_of_one_is_the_elbo_and_the_bound_is_logged_unweighted(x):
    assert mean_bound(BetaELBO(1.0), x, 50)[0] == pytest.approx(mean_bound(ELBO(), x, 50)[0], rel=1e-5)
    vae = vae_with(BetaELBO(10.0))
    vae.compile("adam")
    logs = vae.evaluate(x, return_dict=True, verbose=0)
    assert logs["elbo"] == pytest.approx(-logs["distortion"] - logs["rate"], rel=1e-6)
    assert logs["loss"] == pytest.approx(logs["distortion"] + 10 * logs["rate"], rel=1e-5)


@pytest.mark.parametrize("way", ["fit", "train"])
def test_a_schedule_changes_the_loss_after_the_first_trace(way, x):
    """A Python number would be frozen into the compiled step."""
    objective = BetaELBO(100.0, schedule="linear", steps=10)
    vae, betas = vae_with(objective), []
    optimizer = keras.optimizers.SGD(0.0)
    vae.compile(optimizer)
    losses = []
    for _ in range(12):
        if way == "fit":
            losses.append(vae.fit(x, batch_size=6, epochs=1, verbose=0).history["loss"][0])
        else:
            losses.append(float(vae.train(x, optimizer)))
        betas.append(float(objective.beta))
    np.testing.assert_allclose(betas, [min(10.0 * i, 100.0) for i in range(12)], rtol=1e-5)
    rate = float(np.mean(vae(x).rate))
    assert losses[-1] - losses[0] == pytest.approx(100 * rate, rel=0.3)


def test_cyclical_schedule():
    objective = BetaELBO(2.0, schedule="cyclical", steps=40, cycles=2)
    betas = []
    for _ in range(45):
        objective.advance()
        betas.append(float(objective.beta))
    np.testing.assert_allclose(betas[:21], [*(2.0 * min(i / 10, 1.0) for i in range(20)), 0.0], atol=1e-5)
    np.testing.assert_allclose(betas[40:], 2.0)


def test_a_constant_beta_can_be_assigned(x):
    vae = vae_with(BetaELBO(1.0))
    vae.compile(keras.optimizers.SGD(0.0))
    before = vae.fit(x, epochs=1, verbose=0).history
    vae.objective.beta.assign(50.0)
    after = vae.fit(x, epochs=1, verbose=0).history
    assert after["loss"][0] - after["distortion"][0] == pytest.approx(50 * after["rate"][0], rel=1e-4)
    assert before["loss"][0] - before["distortion"][0] == pytest.approx(before["rate"][0], rel=1e-4)


def test_free_bits_count_only_above(x):
    vae = vae_with(BetaELBO(free_bits=1000.0))
    bound = vae(x)
    np.testing.assert_allclose(np.asarray(bound.loss) - np.asarray(bound.distortion), 2 * 1000.0, rtol=1e-5)
    vae = vae_with(BetaELBO(free_bits=1e-9))
    bound = vae(x)
    np.testing.assert_allclose(bound.loss, np.asarray(bound.distortion) + np.asarray(bound.rate), rtol=1e-5)


def test_capacity_rises(x):
    objective = CapacityELBO(gamma=10.0, capacity=5.0, steps=4)
    vae = vae_with(objective)
    for expected in (0.0, 1.25, 2.5, 3.75, 5.0, 5.0):
        bound = vae(x, training=True)
        assert float(objective.capacity) == pytest.approx(expected, rel=1e-5)
        penalty = 10.0 * np.abs(np.asarray(bound.rate) - expected)
        np.testing.assert_allclose(bound.loss, np.asarray(bound.distortion) + penalty, rtol=1e-4)


@pytest.mark.parametrize("batch", [1, 2, 3, 50])
@pytest.mark.parametrize("data_size", [None, 50, 60_000])
def test_stratified_weights_add_up_and_lie_where_they_belong(batch, data_size):
    weights = np.exp(estimates.stratified_log_weights(batch, data_size))
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-5)
    if batch > 1:
        np.testing.assert_allclose(np.diag(weights), 1.0 / max(data_size or batch, batch), rtol=1e-5)


def test_beta_tc_terms_add_up_to_the_kl(x):
    vae = vae_with(BetaTC(1.0, 1.0, 1.0, data_size=60_000))
    q = vae.encode(x)
    z = q.sample(0)
    log_pz, log_qz = vae.prior.log_prob(z), q.log_prob(z)
    terms = estimates.total_correlation_terms(z, q, log_pz, log_qz, 60_000)
    np.testing.assert_allclose(
        sum(np.asarray(t) for t in terms), np.asarray(log_qz) - np.asarray(log_pz), rtol=1e-3, atol=1e-4
    )


def test_total_correlation_of_a_known_gaussian(rng):
    """q(z) with correlation r has TC = -1/2 log(1 - r^2); the posteriors are narrow, and all data is in the batch."""
    r, count = 0.8, 3000
    means = rng.multivariate_normal([0, 0], [[1, r], [r, 1]], size=count).astype("float32")
    q = Gaussian(means, np.full((count, 2), np.log(0.15), "float32"))
    z = q.sample(0)
    zeros = np.zeros(count, "float32")
    _, total, _ = estimates.total_correlation_terms(z, q, zeros, q.log_prob(z), None)
    covariance = r / (1 + 0.15**2)
    assert np.mean(total) == pytest.approx(-0.5 * np.log(1 - covariance**2), abs=0.08)


def test_dip_penalty_is_that_of_the_covariance(rng):
    """Means of known covariance, through the real terms."""
    vae = vae_with("dipvae")
    x = rng.random((200, 10), "float32")
    bound = vae(x)
    covariance = np.cov(np.asarray(vae.encode(x).mean).T, bias=True)
    off = np.sum(covariance**2) - np.sum(np.diag(covariance) ** 2)
    expected = 10 * off + 100 * np.sum((np.diag(covariance) - 1) ** 2)
    penalty = np.asarray(bound.loss) - np.asarray(bound.distortion) - np.asarray(bound.rate)
    np.testing.assert_allclose(penalty, expected, rtol=1e-3)


def test_mmd_is_zero_for_the_same_distribution_and_not_for_others(rng):
    a, b = rng.normal(size=(2, 500, 3)).astype("float32")
    same, other = float(estimates.mmd(a, b)), float(estimates.mmd(a, b + 1.0))
    assert abs(same) < 0.02
    assert other > 0.1
    unbiased = [float(estimates.mmd(*rng.normal(size=(2, 10, 3)).astype("float32"))) for _ in range(300)]
    assert abs(np.mean(unbiased)) < 4 * np.std(unbiased) / np.sqrt(300)


def mean_kernel(mean, variance):
    """E[k(a, b)] for a - b ~ N(mean, variance I), k the sum of c / (c + |a - b|^2) over seven widths c.

    c / (c + r^2) is the integral of e^-u e^(-u r^2 / c) over u > 0, and r^2 has a moment generating function:
    E[e^(-t r^2)] = (1 + 2 t variance)^(-d/2) e^(-t |mean|^2 / (1 + 2 t variance)).
    """
    d, square = len(mean), np.sum(np.square(mean))

    def integrand(u, c):
        spread = 1.0 + 2.0 * u * variance / c
        return np.exp(-u - u * square / (c * spread)) * spread ** (-d / 2)

    widths = [2.0 * d * s for s in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)]
    return sum(scipy.integrate.quad(integrand, 0.0, np.inf, args=(c,))[0] for c in widths)


def exact_mmd(mean, variance):
    """The squared MMD of N(mean, variance I) and N(0, I)."""
    nothing = np.zeros(len(mean))
    return mean_kernel(nothing, 2 * variance) + mean_kernel(nothing, 2.0) - 2 * mean_kernel(mean, 1 + variance)


@pytest.mark.parametrize(("mean", "variance"), [([0.0, 0.0], 1.0), ([1.0, -0.5], 0.25), ([0.3, 0.0, 2.0], 3.0)])
def test_mmd_is_that_of_two_gaussians(mean, variance, rng):
    mean = np.asarray(mean)
    draws = []
    for _ in range(500):
        a, b = rng.normal(size=(2, 20, len(mean)))
        draws.append(float(estimates.mmd((mean + np.sqrt(variance) * a).astype("float32"), b.astype("float32"))))
    error = np.std(draws) / np.sqrt(len(draws))
    assert abs(np.mean(draws) - exact_mmd(mean, variance)) < 4 * error


@pytest.mark.parametrize(
    ("objective", "rate_weight", "mmd_weight"),
    [(InfoVAE(alpha=0.3, weight=20.0), 0.7, 19.3), (InfoVAE(alpha=1.0, weight=5.0), 0.0, 5.0), (WAE(30.0), 0.0, 30.0)],
)
def test_mmd_objectives_have_the_value_of_the_closed_form(objective, rate_weight, mmd_weight, x):
    """The encoder gives q(z|x) = N(mean, 1/4 I) for every x, so that q(z) is the same Gaussian."""
    mean, log_var = np.array([1.0, -0.5]), np.log(0.25)
    vae = vae_with(objective)
    vae.build(x.shape)
    last = vae.encoder.body.layers[-1]
    last.kernel.assign(np.zeros(last.kernel.shape))
    last.bias.assign([*mean, log_var, log_var])

    def penalties():
        bound = vae(x)
        return ops.mean(bound.loss - bound.distortion)

    draw = compiled(penalties, vae)
    draws = [float(draw()) for _ in range(1000)]
    rate = 0.5 * np.sum(mean**2 + 0.25 - log_var - 1.0)
    expected = rate_weight * rate + mmd_weight * exact_mmd(mean, 0.25)
    assert abs(np.mean(draws) - expected) < 4 * np.std(draws) / np.sqrt(len(draws))


@pytest.mark.parametrize(
    "bad",
    [
        lambda: BetaELBO(-1.0),
        lambda: BetaELBO(float("nan")),
        lambda: BetaELBO(schedule="sometimes"),
        lambda: BetaELBO(steps=0),
        lambda: CIWAE(1.5),
        lambda: IWAE(0),
        lambda: MIWAE(2, 0),
        lambda: objectives.DIPVAE(kind=3),
    ],
)
def test_bad_arguments(bad):
    with pytest.raises(UsageError, match="expected"):
        bad()
