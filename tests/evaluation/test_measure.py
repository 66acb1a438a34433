"""Numbers about models for which the truth is known."""

import re

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from bicoder import VAE, Decoder, Encoder, evaluate
from bicoder.errors import DataError, NumericError, UsageError
from bicoder.evaluation import importance
from bicoder.evaluation.measure import look, table
from bicoder.inference import samples_at_once
from bicoder.likelihoods import BernoulliLikelihood, GaussianLikelihood
from bicoder.networks import MLP

SIGMA, LATENT, PIXELS = 0.5, 2, 6


@pytest.fixture(scope="module")
def linear():
    """A VAE with x = W z + b + noise, whose columns of W are orthogonal: p(x) and p(z|x) are known.

    Returns the model with its posterior exact, data that follows it, and log p(x) of every image.
    """
    rng = np.random.default_rng(1)
    w = np.linalg.qr(rng.normal(size=(PIXELS, LATENT)))[0] * [2.0, 0.7]
    b = rng.normal(size=PIXELS)
    encoder = Encoder(keras.Sequential([keras.layers.Dense(2 * LATENT)]), latent_dim=LATENT)
    decoder = Decoder(keras.Sequential([keras.layers.Dense(PIXELS)]), likelihood=GaussianLikelihood(SIGMA))
    vae = VAE(encoder, decoder, seed=0)
    vae.build((None, PIXELS))
    precision = (w**2).sum(axis=0) + SIGMA**2
    decoder.body.layers[0].set_weights([w.T, b])
    kernel = np.concatenate([w / precision, np.zeros((PIXELS, LATENT))], axis=1)
    bias = np.concatenate([-b @ w / precision, np.log(SIGMA**2 / precision)])
    encoder.body.layers[0].set_weights([kernel, bias])
    z = rng.normal(size=(250, LATENT))
    x = (z @ w.T + b + SIGMA * rng.normal(size=(250, PIXELS))).astype("float32")
    marginal = scipy.stats.multivariate_normal(b, w @ w.T + SIGMA**2 * np.eye(PIXELS))
    return vae, x, marginal.logpdf(x)


@pytest.fixture
def inexact(linear):
    """The same with a posterior that is too wide and off; it is put right again."""
    vae, x, exact = linear
    layer = vae.encoder.body.layers[0]
    right = layer.get_weights()
    layer.set_weights([right[0], right[1] + np.array([0.2, -0.2, 0.8, 0.8])])
    yield vae, x, exact
    layer.set_weights(right)


def test_elbo_equals_the_marginal_where_the_posterior_is_exact(linear):
    vae, x, exact = linear
    numbers = evaluate(vae, x, num_samples=500)
    assert numbers["elbo"] == pytest.approx(exact.mean(), abs=0.02)
    assert numbers["nll"] == pytest.approx(-exact.mean(), abs=1e-4)  # all weights are p(x): no noise is left
    assert numbers["nll_monte_carlo_error"] < 1e-4
    np.testing.assert_allclose(list(numbers["bounds"].values()), exact.mean(), atol=1e-4)
    np.testing.assert_allclose(vae.log_likelihood(x, 10), exact, atol=1e-3)


def test_nll_agrees_within_its_error_where_it_is_not(inexact):
    vae, x, exact = inexact
    numbers = evaluate(vae, x, num_samples=2000)
    assert numbers["elbo"] < exact.mean() - 0.3
    assert abs(numbers["nll"] + exact.mean()) < 4 * numbers["nll_monte_carlo_error"] + 1e-4
    assert numbers["nll_monte_carlo_error"] < 0.01
    assert numbers["nll_standard_error"] == pytest.approx(exact.std() / np.sqrt(len(x)), rel=0.05)
    assert np.abs(np.asarray(vae.log_likelihood(x, 2000)) - exact).max() < 0.5


def test_the_sweep_rises_from_the_elbo_to_the_nll(inexact):
    vae, x, _ = inexact
    numbers = evaluate(vae, x, num_samples=300)
    assert list(numbers["bounds"]) == [1, 10, 100, 300]
    assert list(numbers["bounds"].values()) == sorted(numbers["bounds"].values())
    assert numbers["bounds"][1] == pytest.approx(numbers["elbo"], abs=0.05)
    assert numbers["bounds"][300] == pytest.approx(-numbers["nll"], rel=1e-5)


def test_no_number_depends_on_the_batches(inexact):
    """250 images: no multiple of 100, of 7 or of 64."""
    vae, x, _ = inexact
    reference = evaluate(vae, x, num_samples=30)
    for batch_size in (7, 64, 250, 1000):
        batches = tf.data.Dataset.from_tensor_slices(x).batch(batch_size)
        assert evaluate(vae, batches, num_samples=30) == reference
    assert reference["images"] == 250
    assert evaluate(vae, x, num_samples=30, seed=1) != reference


@pytest.mark.parametrize("numbers_at_once", [1, 100 * PIXELS * 7, 2**30])
def test_nll_does_not_depend_on_the_portions(numbers_at_once, inexact, monkeypatch):
    vae, x, exact = inexact
    monkeypatch.setattr(
        importance,
        "samples_at_once",
        lambda batch, example, prior: max(1, numbers_at_once // (batch * np.prod(example))),
    )
    numbers = evaluate(vae, x, num_samples=101)
    assert numbers["num_samples"] == 101
    assert abs(numbers["nll"] + exact.mean()) < 4 * numbers["nll_monte_carlo_error"] + 0.01


def test_memory_does_not_grow_with_the_samples_or_the_components():
    for prior, width in (("standard_normal", 784), ({"name": "vamp", "pseudo_inputs": 500}, 500 * 20)):
        vae = VAE(seed=0, prior=prior)
        vae.build((None, 784))
        portion = samples_at_once(100, (784,), vae.prior)
        assert portion == 2**24 // (100 * width)


def test_log_likelihood_uses_every_sample(inexact):
    vae, x, _ = inexact
    one, many = np.asarray(vae.log_likelihood(x, 1)), np.asarray(vae.log_likelihood(x, 500))
    assert one.shape == many.shape == (250,)
    assert many.mean() > one.mean() + 0.3
    assert np.asarray(vae.log_likelihood(x[:1], 3)).shape == (1,)


def test_information_and_marginal_kl_add_up_to_the_rate(linear):
    vae, x, _ = linear
    numbers = evaluate(vae, x, num_samples=50)
    assert numbers["mutual_information"] + numbers["marginal_kl"] == pytest.approx(numbers["rate"], abs=0.15)
    assert numbers["mutual_information"] <= np.log(250)
    # The truth for a Gaussian channel: 1/2 log(1 + signal / noise) in every dimension.
    truth = 0.5 * np.log(1 + np.array([2.0, 0.7]) ** 2 / SIGMA**2).sum()
    assert numbers["mutual_information"] == pytest.approx(truth, abs=0.25)
    assert np.sum(numbers["kl_per_dimension"]) == pytest.approx(numbers["rate"], rel=1e-6)


def test_active_units_error_and_bits(linear):
    vae, x, _ = linear
    numbers = evaluate(vae, x, num_samples=5)
    assert (numbers["active_units"], numbers["latent_dim"]) == (2, 2)
    assert numbers["mean_squared_error"] == pytest.approx(np.mean((vae.reconstruct(x) - x) ** 2), rel=1e-4)
    assert numbers["bits_per_dim"] == pytest.approx(numbers["nll"] / PIXELS / np.log(2), rel=1e-5)
    assert numbers["doctor"] == []


@pytest.mark.parametrize("posterior", ["full_gaussian", "iaf"])
@pytest.mark.parametrize("prior", ["mixture_of_gaussians", "real_nvp"])
def test_every_kind_of_model_can_be_evaluated(posterior, prior, rng):
    vae = VAE(Encoder(MLP((8,)), 3, posterior), Decoder(MLP((8,))), prior=prior, seed=0)
    vae.build((None, PIXELS))
    numbers = evaluate(vae, rng.random((30, PIXELS), "float32"), num_samples=200)
    assert -numbers["nll"] >= numbers["elbo"]
    assert (numbers["mutual_information"] is None) == (posterior == "iaf")
    assert numbers["kl_per_dimension"] is None
    assert "active units" in table(numbers)


@pytest.mark.parametrize("posterior", ["iaf", "full_gaussian"])
def test_density_of_a_posterior_is_that_of_its_samples(posterior, rng):
    """Inverted or solved, log q(z) of a sample is what it was when it was drawn, and q integrates to one."""
    encoder = Encoder(MLP((8,)), 2, posterior, seed=0)
    q = encoder(rng.normal(size=(3, 5)).astype("float32"))
    z, log_qz = q.sample_and_log_prob(seed=0, num_samples=4)
    np.testing.assert_array_equal(z, q.sample(seed=0, num_samples=4))
    np.testing.assert_allclose(log_qz, q.log_prob(z), rtol=1e-3, atol=1e-3)
    axis = np.arange(-9, 9, 0.05, dtype="float32")
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 1, 2).repeat(3, axis=1)
    mass = np.exp(np.asarray(q.log_prob(grid), "float64")).sum(axis=0) * 0.05**2
    np.testing.assert_allclose(mass, 1.0, atol=2e-3)


class Counting(keras.layers.Layer):
    """A dense layer that counts the examples it sees."""

    def build(self, input_shape):
        self.dense = keras.layers.Dense(6)
        self.dense.build(input_shape)
        self.seen = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x):
        self.seen.assign_add(keras.ops.cast(keras.ops.shape(x)[0], "float32"))
        return self.dense(x)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 6)


def test_every_image_is_encoded_once(rng):
    network = Counting()
    vae = VAE(Encoder(network, 3), Decoder(MLP((8,))), seed=0)
    vae.build((None, PIXELS))
    network.seen.assign(0.0)
    labels = np.arange(130) % 2
    evaluate(vae, (rng.random((130, PIXELS), "float32"), labels), num_samples=7)
    assert float(network.seen) == 130


def test_what_is_known_of_each_image_is_what_the_numbers_are_means_of(inexact):
    vae, x, exact = inexact
    _, _, sums = look(vae, x, 500, keras.random.SeedGenerator(0), progress=False)
    found, numbers = sums.per_image(), sums.numbers()
    np.testing.assert_allclose(found.log_likelihood, exact, atol=0.5)
    assert np.corrcoef(found.log_likelihood, exact)[0, 1] > 0.99
    assert numbers["nll"] == pytest.approx(-found.log_likelihood.mean())
    assert numbers["distortion"] == pytest.approx(found.distortion.mean())
    assert numbers["rate"] == pytest.approx(found.rate.mean())
    assert numbers["rate"] == pytest.approx(sum(numbers["kl_per_dimension"]))
    q = vae.encode(x[7:8])  # the KL of a Gaussian from N(0, 1)
    scale = np.exp(np.asarray(q.log_scale))
    kl = 0.5 * (np.square(q.mean) + scale**2 - 1 - 2 * np.log(scale)).sum()
    assert found.rate[7] == pytest.approx(kl, rel=1e-4)


def test_one_view_is_worth_what_all_are(rng):
    """What the sums had of every example is what is said of the view; given nothing else, it is the same."""
    vae = VAE(Encoder(MLP((4,)), 2), Decoder(MLP((4,))), seed=0)
    x = rng.random((12, 3), "float32")
    vae({"a": x})
    numbers = evaluate(vae, {"a": x}, num_samples=5)
    assert numbers["of_views"]["a"]["alone"] == numbers["of_views"]["a"]["given_others"] == numbers["nll"]


def test_labels_and_loader(linear, rng):
    vae, x, _ = linear
    labels = (np.asarray(vae.encode(x).mean)[:, 0] > 0).astype(int)
    numbers = evaluate(vae, (x, labels), num_samples=2)
    assert numbers["knn_accuracy"] > 0.9
    assert numbers["logistic_accuracy"] > 0.9
    assert evaluate(vae, x, num_samples=2)["knn_accuracy"] is None


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (np.zeros((0, PIXELS)), DataError),
        (np.zeros(PIXELS), DataError),
        ((np.zeros((3, PIXELS)), np.zeros(2)), DataError),
        ([], DataError),
    ],
)
def test_bad_data(linear, data, error):
    with pytest.raises(error, match="expected"):
        evaluate(linear[0], data)


@pytest.mark.fault(187)
def test_a_model_or_images_that_do_not_fit(linear):
    with pytest.raises(UsageError, match="has not seen data"):
        evaluate(VAE(), linear[1])
    with pytest.raises(DataError, match="expected images of shape \\(6,\\), as the model has, received \\(5,\\)"):
        evaluate(linear[0], linear[1][:, :5])


def test_bad_num_samples(linear):
    with pytest.raises(UsageError, match="num_samples"):
        evaluate(linear[0], linear[1], num_samples=0)


def sick(decoder=None, **changes):
    vae = VAE(Encoder(MLP((8,)), 8), decoder or Decoder(MLP((8,))), seed=0)
    vae.build((None, PIXELS))
    for variable in vae.encoder.trainable_variables:
        variable.assign(variable * changes.get("scale", 1.0))
    return vae


@pytest.mark.fault(76)
def test_the_doctor_sees_a_collapse(rng):
    [sentence] = evaluate(sick(scale=0.0), rng.random((40, PIXELS), "float32"), num_samples=50)["doctor"]
    assert "Posterior collapse: 0 of 8 units" in sentence


def test_the_doctor_sees_a_sigma_at_its_floor(rng):
    decoder = Decoder(MLP((8,)), likelihood=GaussianLikelihood("learned"))
    vae = sick(decoder)
    decoder.likelihood.raw_log_sigma.assign(-20.0)
    assert any("at its floor of 0.001" in s for s in evaluate(vae, rng.random((40, PIXELS)), num_samples=2)["doctor"])


def test_the_doctor_sees_data_outside_the_support(rng):
    vae = sick(Decoder(MLP((8,)), likelihood=BernoulliLikelihood()))
    assert any("expects only 0 and 1" in s for s in evaluate(vae, rng.random((40, PIXELS)), num_samples=2)["doctor"])


def test_the_doctor_sees_a_sigmoid_before_logits(rng):
    body = keras.Sequential([keras.layers.Dense(PIXELS, "sigmoid")])
    x = (rng.random((40, PIXELS)) > 0.5).astype("float32")
    vae = sick(Decoder(body, likelihood=BernoulliLikelihood()))
    assert any("activation sigmoid" in s for s in evaluate(vae, x, num_samples=2)["doctor"])
    gaussian = sick(Decoder(keras.Sequential([keras.layers.Dense(PIXELS, "sigmoid")])))
    assert not any("activation" in s for s in evaluate(gaussian, x, num_samples=2)["doctor"])


def test_the_doctor_sees_too_few_samples(inexact):
    vae, x, _ = inexact
    assert any("still rises" in s for s in evaluate(vae, x, num_samples=10)["doctor"])
    assert not any("still rises" in s for s in evaluate(vae, x, num_samples=10_000)["doctor"])


def test_a_collapsed_unit_of_a_flow_is_not_active(rng):
    """The mean of a flow is an average of samples: its noise must not look like information."""
    vae = VAE(Encoder(MLP((8,)), 4, "iaf"), Decoder(MLP((8,))), seed=0)
    vae.build((None, PIXELS))
    vae.encoder.body.layers[-1].kernel.assign(vae.encoder.body.layers[-1].kernel * 0.0)
    assert evaluate(vae, rng.random((300, PIXELS), "float32"), num_samples=2)["active_units"] == 0


def test_impossible_data_gives_finite_numbers():
    """All weights are zero in float32: the estimate stays finite, and says how bad it is."""
    vae = sick(scale=0.0)
    numbers = evaluate(vae, np.full((3, PIXELS), -1e6, "float32"), num_samples=5)
    assert np.isfinite([numbers["nll"], numbers["elbo"]]).all()


@pytest.mark.fault(136)
@pytest.mark.parametrize("seed", [-1, 2**31, 2**64, 1.5])
def test_one_rule_for_all_seeds(seed, inexact):
    vae, x, _ = inexact
    for use in (
        lambda: vae.generate(1, seed=seed),
        lambda: evaluate(vae, x, num_samples=1, seed=seed),
        lambda: vae.log_likelihood(x, 1, seed=seed),
    ):
        with pytest.raises(UsageError, match="seed: expected a whole number from 0 to 2147483647"):
            use()


@pytest.mark.fault(137)
def test_the_standard_error_of_one_image_is_unknown(inexact):
    vae, x, _ = inexact
    numbers = evaluate(vae, x[:1], num_samples=3)
    assert numbers["nll_standard_error"] is None
    assert re.search(r"standard error of NLL +-\n", table(numbers))


@pytest.mark.fault(138)
def test_pixels_that_never_vary_are_seen(rng):
    vae = VAE(Encoder(MLP((4,)), 2), Decoder(MLP((4,)), likelihood="per_pixel_gaussian"), seed=0)
    vae.build((None, 12))
    x = rng.random((20, 12), "float32")
    assert not [line for line in evaluate(vae, x, num_samples=2)["doctor"] if "floor" in line]
    bias = vae.decoder.body.layers[-1].bias
    bias.assign(np.where(np.arange(24) >= 21, -30.0, 0.0))
    [line] = [line for line in evaluate(vae, x, num_samples=2)["doctor"] if "floor" in line]
    assert line.startswith("The sigma of 3 of 12 pixels is at its floor of 0.001")


@pytest.mark.fault(139)
def test_what_is_not_finite_is_named(inexact, rng):
    x = rng.random((20, 12), "float32")
    narrow = VAE(Encoder(MLP((4,)), 2), Decoder(MLP((4,)), likelihood={"name": "gaussian", "sigma": 1e-30}), seed=0)
    narrow.build((None, 12))
    with pytest.raises(NumericError, match=r"all weights are finite.*wider sigma"):
        evaluate(narrow, x, num_samples=2)
    narrow.encoder.body.layers[0].bias.assign(np.full(4, np.nan))
    with pytest.raises(NumericError, match="weights are NaN or infinite"):
        evaluate(narrow, x, num_samples=2)
    x[3, 3] = np.nan
    with pytest.raises(DataError, match="data: expected finite numbers"):
        evaluate(narrow, x, num_samples=2)
