"""What a likelihood keeps from batch to batch."""

import keras
import numpy as np
import pytest
from test_component import of_one_tensor

from bicoder import VAE, Decoder, Encoder
from bicoder.likelihoods import OptimalGaussianLikelihood
from bicoder.networks import MLP
from bicoder.objectives import Objective


def vae_of_running_average(objective):
    """A model whose running average of the mean squared error is 5, and weighs half."""
    likelihood = OptimalGaussianLikelihood(momentum=0.5)
    vae = VAE(Encoder(MLP((8,)), 2), Decoder(MLP((8,)), likelihood=likelihood), objective=objective, seed=0)
    vae.compile("sgd", jit_compile=False)  # XLA would draw other noise than is drawn here
    vae.build((None, 10))
    likelihood.variance.assign(5.0)
    likelihood.seen.assign(1.0)
    return vae


@pytest.mark.parametrize("objective", of_one_tensor(Objective))
def test_the_running_average_moves_once_in_a_step(objective, rng):
    """Also if the objective asks for the density twice, as `dreg` does."""
    vae, x = vae_of_running_average(objective), rng.random((6, 10), "float32")
    noise = np.array(vae.noise.state)
    z = vae.encode(x).sample(vae.noise, vae.objective.num_samples)
    error = np.mean((np.asarray(vae.decode(z).mean) - x) ** 2)
    vae.noise.state.assign(noise)
    vae.train(x, keras.optimizers.SGD(0.0))
    assert float(vae.decoder.likelihood.variance) == pytest.approx(0.5 * 5.0 + 0.5 * error, rel=1e-4)


def test_a_density_changes_nothing(rng):
    vae, x = vae_of_running_average("dreg"), rng.random((6, 10), "float32")
    vae(x)
    z = vae.encode(x).sample(0, 3)
    likelihood = vae.decoder.likelihood
    p = likelihood.for_batch(vae.decoder(z, training=True), x)
    np.testing.assert_allclose(p.scale, np.sqrt(np.mean((np.asarray(p.mean) - x) ** 2)), rtol=1e-5)
    p.log_prob(x)
    vae.decoder.log_px(x, z, training=True)
    assert float(likelihood.variance) == 5.0
    likelihood.keep(p)
    assert float(likelihood.variance) == pytest.approx(2.5 + 0.5 * float(p.scale) ** 2, rel=1e-5)
