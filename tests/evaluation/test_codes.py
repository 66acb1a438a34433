"""Codes and reconstructions of many images."""

import numpy as np
import pytest

from bicoder import VAE, Decoder, Encoder
from bicoder.evaluation.codes import encoded, reconstructed
from bicoder.networks import MLP


def model(posterior):
    vae = VAE(Encoder(MLP((4,)), 3, posterior), Decoder(MLP((4,))), seed=0)
    vae.build((None, 6))
    return vae


@pytest.mark.fault(107)
@pytest.mark.parametrize("posterior", ["diagonal_gaussian", "full_gaussian", "iaf"])
def test_codes_are_those_of_the_posterior(posterior, rng):
    """The deviation of a full Gaussian is that of its samples; a flow has none that is known."""
    vae, x = model(posterior), rng.random((9, 6), "float32")
    found = list(encoded(vae, [x[:4], x[4:]]))
    q = vae.encode(x)
    np.testing.assert_allclose(np.concatenate([codes.mean for codes in found]), q.mean, rtol=1e-4, atol=1e-5)
    if posterior == "iaf":
        assert {codes.log_deviation for codes in found} == {None}
    else:
        drawn = np.asarray(q.sample(0, 20_000))
        deviations = np.concatenate([codes.log_deviation for codes in found])
        np.testing.assert_allclose(deviations, np.log(drawn.std(axis=0)), atol=0.05)


@pytest.mark.fault(107)
def test_reconstructions_are_those_of_the_model(rng):
    vae, x = model("diagonal_gaussian"), rng.random((9, 6), "float32")
    found = np.concatenate(list(reconstructed(vae, [x[:4], x[4:]])))
    np.testing.assert_allclose(found, vae.reconstruct(x), rtol=1e-4, atol=1e-5)
