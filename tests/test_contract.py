"""What every member of every family keeps, over every combination of them. A new member is covered by being there."""

import itertools
import subprocess
import sys

import keras
import numpy as np
import pytest
from test_component import FAMILIES, own_members

from bicoder import VAE, Decoder, Encoder, runs
from bicoder.component import Component
from bicoder.distributions import Distribution
from bicoder.likelihoods import Likelihood
from bicoder.networks import Network
from bicoder.objectives import Objective
from bicoder.posteriors import Posterior
from bicoder.priors import Prior

EVERY = [(family, name) for family in FAMILIES for name in own_members(family)]
SHAPE = (8, 6, 1)


def fitting_data(likelihood, count=12):
    """Data that the likelihood allows."""
    rng = np.random.default_rng(0)
    x = rng.random((count, *SHAPE), "float32")
    return (x > 0.5).astype("float32") if likelihood.two_valued else x


def make(
    likelihood="gaussian", posterior="diagonal_gaussian", prior="standard_normal", objective="elbo", network="mlp"
):
    return VAE(
        Encoder(network, 3, posterior),
        Decoder(network, likelihood=likelihood),
        prior=prior,
        objective=objective,
        seed=0,
    )


def combinations():
    names = [own_members(f) for f in (Likelihood, Posterior, Prior, Objective, Network)]
    return list(itertools.product(*names))


@pytest.mark.parametrize(("family", "name"), EVERY)
def test_config_round_trip(family, name):
    part = family.get(name)
    again = family.get(part.spec())
    assert isinstance(part, Component)
    assert type(again) is type(part)
    assert again.get_config() == part.get_config()
    if isinstance(part, keras.layers.Layer):  # Keras rebuilds layers by from_config
        assert type(part).from_config(part.get_config()).get_config() == part.get_config()


@pytest.mark.parametrize("names", combinations(), ids="-".join)
def test_trains_in_every_combination(names, tmp_path):
    vae = make(*names)
    x = fitting_data(vae.decoder.likelihood)
    vae.compile(keras.optimizers.Adam(1e-3))
    history = vae.fit(x, batch_size=5, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert vae.reconstruct(x).shape == x.shape
    assert vae.generate(4).shape == (4, *SHAPE)
    assert isinstance(vae.encode(x), Distribution)
    assert isinstance(vae.decode(np.zeros((2, 3), "float32")), Distribution)


@pytest.mark.parametrize("name", own_members(Likelihood))
def test_likelihood_gives_a_distribution_of_the_shape_of_x(name):
    likelihood = Likelihood.get(name)
    raw = np.zeros((5, 4, 4, likelihood.num_outputs(3)), "float32")
    p = likelihood(raw)
    assert tuple(p.mean.shape) == (5, 4, 4, 3)
    x = np.ones((5, 4, 4, 3), "float32")
    assert tuple(p.log_prob(x).shape) == (5,)
    assert p.log_prob(x).dtype == "float32"


@pytest.mark.parametrize("name", own_members(Likelihood))
def test_likelihood_refuses_what_is_outside_its_support(name):
    from bicoder.errors import DataError

    likelihood = Likelihood.get(name)
    likelihood.check(fitting_data(likelihood))
    outside = np.float32([[0.0, 0.5]]) if likelihood.two_valued else np.float32([[0.0, likelihood.high * 2]])
    if np.isfinite(outside).all():
        with pytest.raises(DataError, match=f"the {name} likelihood expects"):
            likelihood.check(outside)


@pytest.mark.parametrize("name", own_members(Prior))
def test_prior_samples_follow_its_density(name):
    """The mean of -log p over the prior's own samples is its entropy; other samples have another mean."""
    prior = Prior.get(name)
    prior.build((None, 2))
    z = np.asarray(prior.sample(20_000, seed=0))
    assert z.shape == (20_000, 2)
    # Importance sampling with a wide Gaussian: the integral of p over the plane is one.
    wide = np.random.default_rng(0).normal(scale=3.0, size=(200_000, 2)).astype("float32")
    log_wide = -0.5 * (wide**2).sum(axis=1) / 9.0 - np.log(2 * np.pi * 9.0)
    weights = np.exp(np.asarray(prior.log_prob(wide)) - log_wide)
    assert weights.mean() == pytest.approx(1.0, abs=0.02)
    np.testing.assert_allclose(z.mean(axis=0), (weights[:, None] * wide).mean(axis=0), atol=0.05)
    np.testing.assert_allclose((z**2).mean(axis=0), (weights[:, None] * wide**2).mean(axis=0), rtol=0.05)


def test_a_run_gives_equal_outputs_in_a_fresh_process(tmp_path):
    vaes = {name: make(likelihood=name, network="conv") for name in own_members(Likelihood)}
    code = "import sys, numpy as np; from bicoder import runs\nfor f in sys.argv[1:]: np.save(f + '/y.npy', "
    code += "runs.load(f).reconstruct(np.load(f + '/x.npy')))"
    for name, vae in vaes.items():
        x = fitting_data(vae.decoder.likelihood)
        vae.compile(keras.optimizers.Adam(1e-2))
        vae.fit(x, epochs=2, verbose=0)
        (tmp_path / name).mkdir()
        runs.save_config(tmp_path / name, vae, {}, {})
        runs.save_weights(tmp_path / name, vae)
        np.save(tmp_path / name / "x.npy", x)
    subprocess.run([sys.executable, "-c", code, *(str(tmp_path / name) for name in vaes)], check=True)
    for name, vae in vaes.items():
        there = np.load(tmp_path / name / "y.npy")
        here = vae.reconstruct(np.load(tmp_path / name / "x.npy"))
        np.testing.assert_allclose(there, here, rtol=1e-5, atol=1e-6)
