"""What every member of every family keeps, over every combination of them. A new member is covered by being there."""

import itertools
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from gradients import gradients_of_weights
from keras import ops
from test_component import FAMILIES, of_one_tensor, own_members

from bicoder import VAE, Decoder, Encoder
from bicoder.component import Component
from bicoder.distributions import Distribution
from bicoder.errors import DataError, UsageError
from bicoder.likelihoods import CategoricalLikelihood, Likelihood
from bicoder.networks import Network
from bicoder.objectives import Objective
from bicoder.posteriors import Posterior
from bicoder.priors import Prior
from bicoder.runs import folder as runs
from bicoder.runs import weights

EVERY = [(family, name) for family in FAMILIES for name in own_members(family)]
PLAIN = [(family, name) for family in FAMILIES for name in of_one_tensor(family)]
SHAPE = (8, 6, 1)


def fitting_data(likelihood, count=12):
    """Data that the likelihood allows."""
    rng = np.random.default_rng(0)
    x = rng.random((count, *SHAPE), "float32")
    if isinstance(likelihood, CategoricalLikelihood):  # of one class
        return np.ones_like(x)
    return np.round(x * (likelihood.levels - 1)) / (likelihood.levels - 1) if likelihood.levels else x


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


@pytest.mark.parametrize(("family", "name"), EVERY)
def test_config_round_trip(family, name):
    part = family.get(name)
    again = family.get(part.spec())
    assert isinstance(part, Component)
    assert type(again) is type(part)
    assert again.get_config() == part.get_config()
    if isinstance(part, keras.layers.Layer):  # Keras rebuilds layers by from_config
        assert type(part).from_config(part.get_config()).get_config() == part.get_config()


@pytest.mark.parametrize(("family", "name"), PLAIN)
def test_every_member_trains(family, name):
    vae = make(**{family.__name__.lower(): name})
    x = fitting_data(vae.decoder.likelihood)
    vae.compile(keras.optimizers.Adam(1e-3))
    history = vae.fit(x, batch_size=11, epochs=2, verbose=0).history  # the last batch has one image
    assert np.isfinite(history["loss"]).all()
    # Two float32 means of about ten nats can cancel: what rounding leaves is compared with them, not with their sum.
    for elbo, distortion, rate in zip(history["elbo"], history["distortion"], history["rate"], strict=True):
        assert elbo == pytest.approx(-distortion - rate, abs=1e-5 * max(1.0, abs(distortion), abs(rate)))
    assert np.isfinite(vae.evaluate(x, batch_size=11, verbose=0)).all()
    assert vae.reconstruct(x).shape == x.shape
    assert vae.generate(4, seed=0).shape == (4, *SHAPE)
    assert isinstance(vae.encode(x), Distribution)
    assert isinstance(vae.decode(np.zeros((2, 3), "float32")), Distribution)


# What does not go together, and says so.
NEEDS_GAUSSIAN = {"beta_tc", "dipvae"}


def fits(posterior, prior, objective):
    if posterior == "iaf" and objective == "dreg":
        return False
    return posterior == "diagonal_gaussian" or not (objective in NEEDS_GAUSSIAN or prior == "vamp")


def few_models():
    """Names of parts, as few models as have every member between them."""
    families = (Likelihood, Posterior, Prior, Objective)
    models = [names for names in itertools.product(*map(of_one_tensor, families)) if fits(*names[1:])]
    missing = {pair for pair in PLAIN if pair[0] in families}
    while missing:
        chosen = max(models, key=lambda names: len(missing.intersection(zip(families, names, strict=True))))
        missing -= set(zip(families, chosen, strict=True))
        yield chosen


@pytest.mark.xla
@pytest.mark.parametrize("names", few_models(), ids="-".join)
def test_every_member_trains_with_xla(names):
    vae = make(*names)
    x = fitting_data(vae.decoder.likelihood)
    vae.compile(keras.optimizers.Adam(1e-3))
    history = vae.fit(x, batch_size=12, epochs=2, verbose=0).history
    assert all(np.isfinite(values).all() for values in history.values())


GRID = [
    (likelihood, posterior, prior, objective)
    for i, (posterior, prior, objective) in enumerate(
        itertools.product(own_members(Posterior), of_one_tensor(Prior), of_one_tensor(Objective))
    )
    for likelihood in [list(own_members(Likelihood))[i % len(own_members(Likelihood))]]
]


@pytest.mark.parametrize("names", GRID, ids="-".join)
def test_gradients_in_every_combination(names):
    """Each posterior with each prior and each objective, the likelihoods in turn: finite gradients everywhere."""
    likelihood, posterior, prior, objective = names
    vae = make(likelihood, posterior, prior, objective)
    x = fitting_data(vae.decoder.likelihood, 4)
    if not fits(posterior, prior, objective):
        with pytest.raises(UsageError, match=r"expected a .*Gaussian posterior, received"):
            vae.build(x.shape)
        return
    vae.build(x.shape)
    gradients, loss = gradients_of_weights(lambda: vae.compute_loss(x=x, y_pred=vae(x, training=True)), vae)
    assert np.isfinite(float(loss))
    unreached = [v.path for v, g in zip(vae.trainable_variables, gradients, strict=True) if g is None]
    assert unreached == [] or objective == "wae", unreached  # WAE has no log q(z|x) and no log p(z)
    assert all(np.isfinite(ops.convert_to_tensor(g)).all() for g in gradients if g is not None)


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
    likelihood = Likelihood.get(name)
    likelihood.check(fitting_data(likelihood))
    outside = np.float32([[0.0, 0.501]]) if likelihood.levels else np.float32([[0.0, likelihood.high * 2]])
    if np.isfinite(outside).all():
        with pytest.raises(DataError, match=f"the {name} likelihood expects"):
            likelihood.check(outside)


def density_in_training(likelihood, raw, x):
    return np.asarray(likelihood.for_batch(likelihood(raw), x).log_prob(x))


@pytest.mark.parametrize("name", own_members(Likelihood))
def test_a_likelihood_says_truly_whether_it_treats_examples_one_by_one(name):
    """A class that forgets `one_by_one` is slow on a CPU, and one that says it wrongly learns something else."""
    likelihood = Likelihood.get(name)
    x = fitting_data(likelihood)
    raw = np.random.default_rng(1).normal(size=(*x.shape[:-1], likelihood.num_outputs(x.shape[-1]))).astype("float32")
    whole = density_in_training(likelihood, raw, x)
    halves = [density_in_training(likelihood, raw[half], x[half]) for half in (slice(0, 5), slice(5, 12))]
    truth = np.allclose(whole, np.concatenate(halves), rtol=1e-5)
    assert vars(type(likelihood)).get("one_by_one", False) == truth, f"{type(likelihood).__name__}: set one_by_one"


@pytest.mark.parametrize("name", own_members(Network))
def test_a_network_says_truly_whether_it_treats_examples_one_by_one(name):
    network, truth = Network.get(name), True
    for make, shape in ((network.encoder, SHAPE), (network.decoder, (3,))):
        body = make(SHAPE, 4, seed=0)
        x = np.random.default_rng(1).normal(size=(12, *shape)).astype("float32")
        whole = np.asarray(body(x, training=True))
        halves = [np.asarray(body(x[half], training=True)) for half in (slice(0, 5), slice(5, 12))]
        truth &= np.allclose(whole, np.concatenate(halves), rtol=1e-4, atol=1e-5) and not body.losses
    assert vars(type(network)).get("one_by_one", False) == truth, f"{type(network).__name__}: set one_by_one"


@pytest.mark.parametrize("name", of_one_tensor(Prior))
def test_prior_samples_follow_its_density(name):
    """The mean of -log p over the prior's own samples is its entropy; other samples have another mean."""
    vae = make(prior=name)
    vae.encoder.latent_dim = 2
    vae.build((None, *SHAPE))
    prior = vae.prior
    for variable in prior.trainable_variables:  # away from where it starts, which may be no more than N(0, I)
        noise = np.random.default_rng(1).normal(size=variable.shape)
        variable.assign(np.asarray(variable) + 0.1 * noise)
    z = np.asarray(prior.sample(20_000, seed=0))
    assert z.shape == (20_000, 2)
    axis = np.arange(-12, 12, 0.04, dtype="float32")
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    mass = np.exp(np.asarray(prior.log_prob(grid), "float64")) * 0.04**2
    assert mass.sum() == pytest.approx(1.0, abs=1e-3)
    spread = z.std(axis=0)
    p = prior.distribution()
    assert tuple(p.mean.shape) == tuple(p.sample(seed=0).shape) == (1, 2)
    np.testing.assert_allclose(p.mean[0], mass @ grid, atol=0.5 * spread.max())  # a flow's is that of 64 samples
    np.testing.assert_allclose(z.mean(axis=0), mass @ grid, atol=0.03 * spread.max())
    np.testing.assert_allclose((z**2).mean(axis=0), mass @ grid**2, rtol=0.05)
    np.testing.assert_allclose(
        (z[:, 0] * z[:, 1]).mean(), mass @ (grid[:, 0] * grid[:, 1]), atol=0.05 * spread.max() ** 2
    )
    entropy = -(mass * np.log(np.maximum(mass, 1e-300) / 0.04**2)).sum()
    assert -np.asarray(prior.log_prob(z)).mean() == pytest.approx(entropy, abs=0.03)


def test_runs_give_equal_outputs_in_a_fresh_process(tmp_path):
    """Every member, with weights that are not those it starts with."""
    rng = np.random.default_rng(0)
    expected = {}
    for family, name in PLAIN:
        folder = tmp_path / f"{family.__name__}-{name}"
        vae = make(**{family.__name__.lower(): name})
        vae.build((None, *SHAPE))
        for variable in vae.weights:
            if "seed" not in variable.path:
                variable.assign(np.asarray(variable) + 0.05 * np.abs(rng.normal(size=variable.shape)))
        runs.make_folder("digits", folder)
        runs.save_config(folder, vae, {}, {})
        weights.save(folder, vae)
        np.save(folder / "x.npy", fitting_data(vae.decoder.likelihood))
        expected[folder] = outputs(vae, folder)
    code = """if True:
        import gc, sys
        gc.disable()
        from pathlib import Path
        import numpy as np
        sys.path.insert(0, sys.argv[1])
        from bicoder import load
        from test_contract import outputs
        for folder in map(Path, sys.argv[2:]):
            np.save(folder / "y.npy", outputs(load(folder), folder))"""
    subprocess.run([sys.executable, "-c", code, str(Path(__file__).parent), *map(str, expected)], check=True)
    for folder, values in expected.items():
        np.testing.assert_allclose(np.load(folder / "y.npy"), values, rtol=1e-4, atol=1e-5, err_msg=folder.name)


def outputs(vae, folder):
    """Numbers that depend on every weight of a model: reconstructions, images and densities from the prior."""
    x = np.load(folder / "x.npy")
    z = np.linspace(-1, 1, 12, dtype="float32").reshape(4, 3)
    parts = (vae.reconstruct(x), vae.generate(3, seed=1), vae.prior.log_prob(z), vae.log_likelihood(x, 3))
    return np.concatenate([np.asarray(part).ravel() for part in parts])
