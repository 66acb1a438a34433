"""Weights of examples: of 0, an example is not there, whatever an objective makes of a batch."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from bicoder import VAE, Decoder, Encoder, estimates
from bicoder.errors import UsageError
from bicoder.networks import MLP

OBJECTIVES = (
    "elbo",
    {"name": "beta_elbo", "free_bits": 0.3},
    {"name": "beta_tc", "data_size": 60_000},
    "beta_tc",
    "dipvae",
    {"name": "dipvae", "kind": 2},
    {"name": "iwae", "num_samples": 3},
    "dreg",
)


@pytest.fixture
def data(rng):
    """Twenty vectors, and weights that leave out those that are far off."""
    x, weights = rng.random((20, 12), "float32"), np.ones(20, "float32")
    x[::3] += 50.0
    weights[::3] = 0.0
    return x, weights


def small_vae(likelihood="gaussian", **options):
    vae = VAE(Encoder(MLP((16,)), latent_dim=3), Decoder(MLP((16,)), likelihood=likelihood), seed=0, **options)
    vae.compile(keras.optimizers.SGD(1e-3))
    vae.build((None, 12))
    return vae


@pytest.mark.fault(89)
@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
@pytest.mark.parametrize("likelihood", ["gaussian", "optimal_gaussian"])
def test_the_bound_is_that_of_the_examples_that_count(likelihood, objective, data):
    x, weights = data
    vae, kept = small_vae(likelihood, objective=objective), weights > 0
    q = vae.encode(x)
    z, _ = q.sample_and_log_prob(vae.noise, vae.objective.num_samples)
    q_kept = vae.encode(x[kept])
    terms = vae.terms(x, z, q, q.log_prob(z), training=True, weights=weights)
    z_kept = ops.take(z, np.flatnonzero(kept), axis=1)
    alone = vae.terms(x[kept], z_kept, q_kept, q_kept.log_prob(z_kept), training=True)
    expected = np.asarray(vae.objective.bound(alone))
    np.testing.assert_allclose(np.asarray(vae.objective.bound(terms))[kept], expected, rtol=2e-4, atol=1e-3)


@pytest.mark.fault(89)
def test_the_mmd_is_that_of_the_codes_that_count(data, rng):
    x, weights = data
    codes = rng.normal(size=(15, 12)).astype("float32")
    expected = float(estimates.mmd(x[weights > 0], codes))
    assert float(estimates.mmd(x, codes, weights)) == pytest.approx(expected, rel=1e-4)
    assert float(estimates.mmd(x, codes, 7 * weights)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.fault(89)
@pytest.mark.parametrize("objective", ["info_vae", "wae"])
def test_the_mmd_objectives_know_the_weights(objective, data):
    x, weights = data
    vae = small_vae(objective=objective)
    q = vae.encode(x)
    z, log_qz = q.sample_and_log_prob(vae.noise, 1)
    bounds = []
    for w in (None, weights):
        vae.noise.state.assign([0, 0])
        terms = vae.terms(x, z, q, log_qz, training=True, weights=w)
        bounds.append(np.asarray(vae.objective.bound(terms)))
    assert not np.allclose(bounds[0][1:3], bounds[1][1:3], rtol=1e-4)


@pytest.mark.fault(89)
def test_weights_of_one_change_nothing(data):
    x = data[0][data[1] > 0]
    for objective in ("elbo", "beta_tc", "info_vae"):
        losses = []
        for weights in (None, np.ones(len(x))):
            vae = small_vae("optimal_gaussian", objective=objective)
            losses.append(vae.fit(x, sample_weight=weights, epochs=2, verbose=0).history["loss"])
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.fault(89)
@pytest.mark.parametrize("shape", [(20,), (20, 1)])
def test_fit_learns_nothing_from_examples_of_weight_zero(shape, data):
    x, weights = data
    results = []
    for arrays in ({"x": x, "sample_weight": weights.reshape(shape)}, {"x": x[weights > 0]}):
        vae = small_vae("optimal_gaussian")
        results.append(vae.fit(**arrays, batch_size=20, epochs=20, shuffle=False, verbose=0).history)
        sigma = float(np.exp(vae.decoder.likelihood.log_sigma()))
        assert sigma < 1.0
    assert np.mean(results[0]["distortion"]) == pytest.approx(np.mean(results[1]["distortion"]), rel=0.1)


@pytest.mark.fault(89)
def test_weights_of_zero_move_no_weight(data):
    x, _ = data
    vae = small_vae()
    before = [np.array(variable) for variable in vae.trainable_variables]
    vae.fit(x, sample_weight=np.zeros(20), verbose=0)
    for one, other in zip(before, vae.trainable_variables, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.fault(89)
@pytest.mark.parametrize("form", ["array", "tf.data"])
def test_evaluate_and_validation_weigh_too(form, data):
    x, weights = (np.concatenate([array] * 30) for array in data)
    vae = small_vae()
    vae.optimizer.learning_rate = 0.0
    options = {"x": x, "sample_weight": weights}
    if form == "tf.data":
        options = {"x": tf.data.Dataset.from_tensor_slices((x, x, weights)).batch(100)}
    found = vae.evaluate(**options, verbose=0, return_dict=True)
    alone = vae.evaluate(x[weights > 0], verbose=0, return_dict=True)
    assert found["rate"] == pytest.approx(alone["rate"], rel=1e-4)
    assert found["distortion"] == pytest.approx(alone["distortion"], rel=0.1)
    vae.fit(x[:8], validation_data=(x, None, weights), verbose=0)
    assert vae.history.history["val_distortion"][0] == pytest.approx(alone["distortion"], rel=0.1)


@pytest.mark.fault(89)
@pytest.mark.parametrize("wrong", [-1.0, np.nan])
def test_weights_that_are_none_are_refused(wrong, data):
    x, weights = data
    weights[3] = wrong
    with pytest.raises(UsageError, match="sample_weight: expected numbers from 0"):
        small_vae().fit(x, sample_weight=weights, verbose=0)


@pytest.mark.fault(89)
def test_classes_have_no_weights(data):
    with pytest.raises(UsageError, match="class_weight: a VAE has no classes"):
        small_vae().fit(data[0], class_weight={0: 1.0}, verbose=0)
