"""Numbers stay numbers: at the ends of float32, in half precision, and in sums of very small weights."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from gradients import gradient
from keras import ops

from bicoder import VAE, Decoder, Encoder
from bicoder.distributions import Bernoulli
from bicoder.networks import MLP
from bicoder.posteriors import DiagonalGaussianPosterior, FullGaussianPosterior, IAFPosterior


@pytest.fixture
def vae(rng):
    vae = VAE(Encoder(MLP((8,)), 3), Decoder(MLP((8,))), seed=0)
    vae.build((None, 12))
    return vae


@pytest.mark.fault(73, 74)
@pytest.mark.parametrize("posterior", [DiagonalGaussianPosterior, FullGaussianPosterior, IAFPosterior])
@pytest.mark.parametrize("size", [-1e4, -200.0, 200.0, 1e4])
def test_log_variances_cannot_overflow(posterior, size):
    """A network that gives +-200 for a log-variance: bound and gradients are numbers, and the gradient points back."""
    head = posterior()
    raw = np.zeros((5, head.num_outputs(3)), "float32")
    raw[:, 3:6] = size
    head.build(raw.shape)

    def rate(raw):
        z, log_qz = head(raw).sample_and_log_prob(0)
        return ops.mean(log_qz + 0.5 * ops.sum(z**2, -1))

    slope, value = gradient(rate, raw)
    assert np.isfinite(value)
    assert np.isfinite(slope).all()
    if posterior is DiagonalGaussianPosterior:
        assert (np.sign(slope[:, 3:6]) == np.sign(size)).all()


@pytest.mark.fault(74)
def test_a_saturated_sigmoid_has_a_finite_log_density():
    """p rounds to 0 or 1 in float32, and log p(x) is still that of the logits, also of an impossible pixel."""
    value = np.array([[0.0, 1.0], [0.0, 1.0]], "float32")
    slope, log_p = gradient(lambda s: Bernoulli(s).log_prob(value), [[-200.0, 200.0], [200.0, -200.0]])
    np.testing.assert_allclose(log_p, [0.0, -400.0])
    np.testing.assert_allclose(slope, [[0.0, 0.0], [-1.0, 1.0]])


@pytest.mark.fault(74)
def test_a_bernoulli_gradient_at_zero_is_that_of_the_sigmoid():
    zeros = np.zeros((1, 3), "float32")
    slope, _ = gradient(lambda s: Bernoulli(s).log_prob(zeros), zeros)
    np.testing.assert_allclose(slope, -0.5 * np.ones((1, 3)))


@pytest.mark.fault(75)
def test_importance_weights_at_the_ends_of_float32(vae, rng):
    x = rng.random((3, 12), "float32")
    far = np.full((1, 12), 1e15, "float32")  # log p(x|z) = -10^30: every weight is zero in float32
    assert np.isfinite(vae.log_likelihood(x, 1)).all()
    assert np.isfinite(vae.log_likelihood(far, 5)).all()
    impossible = np.full((1, 12), 1e30, "float32")  # log p(x|z) = -inf for all samples
    assert np.array(vae.log_likelihood(impossible, 5)).tolist() == [-np.inf]


@pytest.mark.fault(75)
def test_portions_of_samples_give_the_same_estimate(vae, rng, monkeypatch):
    """5000 samples at once, and in portions of 211, the last one smaller: each is a fair estimate."""
    import bicoder.inference

    x = rng.random((2, 12), "float32")
    whole = np.array(vae.log_likelihood(x, 5000))
    monkeypatch.setattr(bicoder.inference, "samples_at_once", lambda batch, example, prior: 211)
    np.testing.assert_allclose(vae.log_likelihood(x, 5000), whole, atol=0.3)
    np.testing.assert_allclose(vae.log_likelihood(x[:1], 5000)[0], whole[0], atol=0.3)


THREADS = """
import gc, json, numpy as np
gc.disable()
from bicoder import VAE
vae = VAE(seed=0)
vae.compile("adam")
x = np.random.default_rng(0).random((640, 784), "float32")
print(json.dumps(vae.fit(x, batch_size=64, epochs=2, verbose=0).history["loss"]))
"""


@pytest.mark.xla
@pytest.mark.fault(77)
def test_another_number_of_threads():
    """Sums in another order: the losses agree to float32."""
    losses = []
    for threads in ("1", "3"):
        environment = os.environ | {"TF_NUM_INTRAOP_THREADS": threads, "TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run([sys.executable, "-c", THREADS], capture_output=True, text=True, env=environment)
        losses.append(json.loads(done.stdout.splitlines()[-1]))
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


@pytest.mark.fault(78)
@pytest.mark.parametrize("xla", [False, True])
def test_half_precision_trains_with_densities_in_float32(rng, xla):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        vae = VAE(Encoder(MLP((8,)), 3), Decoder(MLP((8,))), seed=0)
        x = rng.random((64, 12), "float32")
        vae.compile("adam", jit_compile=xla)
        assert np.isfinite(vae.fit(x, epochs=2, verbose=0).history["loss"]).all()
        assert {keras.backend.standardize_dtype(v.dtype) for v in vae(x)} == {"float32"}
        assert vae.encode(x).mean.dtype == vae.decode(np.zeros((2, 3))).mean.dtype == "float32"
    finally:
        keras.config.set_dtype_policy("float32")
