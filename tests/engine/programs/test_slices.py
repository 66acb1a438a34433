"""A batch in parts: the bound and its gradient are those of the whole batch."""

import os
import subprocess
import sys
from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from test_component import of_one_tensor

from bicoder import VAE, Decoder, Encoder
from bicoder.engine.programs.slices import SMALLEST, by_slices, cores, fastest_slices, one_by_one, one_thread_each
from bicoder.engine.programs.tracing import SLICES, during
from bicoder.likelihoods import Likelihood
from bicoder.networks import MLP, Network
from bicoder.objectives import Objective
from bicoder.posteriors import Posterior
from bicoder.priors import Prior

pytestmark = pytest.mark.tensorflow  # elsewhere batches stay whole


def sizes_of_parts(count, batch):
    """How large the parts of a batch are."""
    seen = []
    with during(SLICES, count):
        by_slices(lambda x: seen.append(x.shape[0]) or x, (tf.zeros((batch, 2)), 0), axis=0)
    return seen


def test_parts_differ_by_one_example_at_most():
    assert sizes_of_parts(4, 128) == [32] * 4
    assert sizes_of_parts(3, 100) == [33, 33, 34]
    assert sizes_of_parts(1, 100) == [100]


def test_there_are_no_small_parts():
    assert sizes_of_parts(4, 17) == [8, 9]
    assert sizes_of_parts(4, 15) == [15]


def test_parts_are_joined_in_their_order(rng):
    x, z = rng.random((50, 3)), rng.random((2, 50, 3))
    with during(SLICES, 4):
        joined = by_slices(lambda x, z: z * x, (tf.constant(x), 0), (tf.constant(z), 1), axis=1)
    np.testing.assert_array_equal(joined, z * x)


def test_a_part_has_no_parts(rng):
    x, sizes = tf.constant(rng.random((64, 3))), []

    def inner(x):
        sizes.append(x.shape[0])
        return x

    with during(SLICES, 2):
        by_slices(lambda x: by_slices(inner, (x, 0), axis=0), (x, 0), axis=0)
    assert sizes == [32, 32]


def test_a_batch_of_unknown_size_stays_whole(rng):
    x = rng.random((64, 3), "float32")

    @tf.function(input_signature=[tf.TensorSpec((None, 3))])
    def twice(x):
        with during(SLICES, 4):
            return by_slices(lambda x: 2.0 * x, (x, 0), axis=0)

    np.testing.assert_array_equal(twice(x), 2.0 * x)


def small(**parts):
    """A `VAE` of small convolutions."""
    network = {"name": "conv", "filters": (4, 8)}
    encoder = Encoder(network, 4, parts.pop("posterior", "diagonal_gaussian"))
    return VAE(encoder, Decoder(network, likelihood=parts.pop("likelihood", "gaussian")), seed=0, **parts)


MODELS = {
    "mlp": lambda: VAE(seed=0),
    "residual": lambda: VAE(
        Encoder({"name": "residual", "filters": (8,)}, 4), Decoder({"name": "residual", "filters": (8,)}), seed=0
    ),
    "learned sigma": lambda: small(likelihood={"name": "gaussian", "sigma": "learned"}),
    "free bits": lambda: small(objective={"name": "beta_elbo", "free_bits": 0.1}),
    "two samples": lambda: small(objective={"name": "elbo", "num_samples": 2}),
}
for family, part in ((Likelihood, "likelihood"), (Posterior, "posterior"), (Prior, "prior"), (Objective, "objective")):
    MODELS |= {f"{part} {name}": partial(small, **{part: name}) for name in of_one_tensor(family)}


def bound_and_gradients(vae, x, count):
    """The loss of a batch in so many parts, and its gradients; the noise is the same for any number."""
    vae.noise.state.assign([1, 2])
    with during(SLICES, count), tf.GradientTape() as tape:
        loss = tf.reduce_mean(vae(x, training=True).loss)
    gradients = tape.gradient(loss, vae.trainable_variables)
    return loss, [g for g in gradients if g is not None]


@pytest.mark.parametrize("name", MODELS)
def test_bound_and_gradients_are_those_of_the_whole_batch(name, rng):
    vae = MODELS[name]()
    x = rng.integers(0, 2, (25, 9, 8, 3) if name != "mlp" else (25, 12)).astype("float32")
    vae.build((None, *x.shape[1:]))
    assert vae.encoder.one_by_one
    assert vae.decoder.one_by_one
    weights = vae.get_weights()
    loss, gradients = bound_and_gradients(vae, x, 1)
    kept = vae.get_weights()
    vae.set_weights(weights)
    loss_in_parts, gradients_in_parts = bound_and_gradients(vae, x, 3)
    for whole, parts in zip(kept, vae.get_weights(), strict=True):  # what is kept from batch to batch
        np.testing.assert_allclose(parts, whole, rtol=1e-5)
    np.testing.assert_allclose(loss_in_parts, loss, rtol=1e-5)
    largest = max(np.abs(gradient).max() for gradient in gradients)  # some are sums that are zero but for rounding
    for whole, parts in zip(gradients, gradients_in_parts, strict=True):
        np.testing.assert_allclose(parts, whole, rtol=1e-3, atol=1e-5 * largest)


def test_a_network_that_looks_at_the_whole_batch_gets_it(rng):
    x, network = rng.random((64, 12), "float32"), MLP()
    network.encoder = lambda *args, **kwargs: keras.Sequential(
        [MLP().encoder(*args, **kwargs), layers.BatchNormalization()]
    )
    vae = VAE(Encoder(network, 4), seed=0)
    vae.build((None, 12))
    assert not vae.encoder.one_by_one
    loss, _ = bound_and_gradients(vae, x, 1)
    assert float(bound_and_gradients(vae, x, 4)[0]) == pytest.approx(float(loss), rel=1e-5)


def test_networks_of_others_get_the_whole_batch_unless_they_say_that_they_need_it_not():
    class Mine(Network):
        latent_dim = 2

    assert not Mine.one_by_one
    vae = VAE(Encoder(keras.Sequential([layers.Dense(8)]), 4))
    vae.build((None, 12))
    assert not vae.encoder.one_by_one


def test_fit_learns_the_same_from_parts(rng, monkeypatch):
    images, weights = rng.random((100, 8, 8, 1), "float32"), []
    for count in (1, 4):
        monkeypatch.setattr("bicoder.engine.programs.tensorflow_steps.fastest_slices", lambda count=count: count)
        vae = VAE(seed=0)
        vae.compile(keras.optimizers.SGD(1e-4))
        vae.fit(images, batch_size=64, epochs=2, verbose=0)
        weights.append(vae.get_weights())
    for whole, parts in zip(*weights, strict=True):
        np.testing.assert_allclose(parts, whole, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [pytest.param((8, 8, 1), 16, id="conv"), pytest.param((12,), 64, id="mlp, by XLA", marks=pytest.mark.xla)],
)
@pytest.mark.parametrize("how", ["fit", "train"])
def test_what_comes_in_parts(shape, expected, how, rng, monkeypatch):
    sizes = {"bi_coder": set(), "coders": set()}
    for module, found in sizes.items():

        def seen(function, *arguments, found=found, **keywords):
            return by_slices(lambda *parts: found.add(parts[-1].shape[0]) or function(*parts), *arguments, **keywords)

        monkeypatch.setattr(f"bicoder.{module}.by_slices", seen)
    monkeypatch.setattr("bicoder.engine.programs.tensorflow_steps.fastest_slices", lambda: 4)
    vae, images = VAE(seed=0), rng.random((64, *shape), "float32")
    if how == "fit":
        vae.compile("adam")
        vae.fit(images, batch_size=64, verbose=0)
    else:
        vae.build((None, *shape))
        sizes["bi_coder"].clear()
        vae.train(images, keras.optimizers.Adam())
    assert expected in sizes["bi_coder"]
    assert sizes["coders"] == {expected}


def test_what_a_parent_says_does_not_count():
    class Parent:
        one_by_one = True

    class Child(Parent):
        pass

    assert one_by_one(Parent())
    assert not one_by_one(Child())


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="a GPU takes the whole batch")
def test_there_are_three_parts_at_most_where_operations_have_threads_of_their_own(monkeypatch):
    monkeypatch.setattr(tf.config.threading, "get_intra_op_parallelism_threads", lambda: 0)
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    assert fastest_slices() == max(1, min(3, cores() - 1))
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "1")
    assert fastest_slices() == cores()


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="a GPU takes the whole batch")
@pytest.mark.parametrize(
    ("batch", "variable", "expected"),
    [(SMALLEST * cores(), None, cores()), (SMALLEST * cores() - 1, None, None), (SMALLEST * cores(), "2", None)],
    ids=["as many parts as cores", "too small a batch", "threads that were chosen"],
)
def test_when_operations_have_one_thread_each(batch, variable, expected):
    code = (
        f"from bicoder.engine.start import import_keras; import_keras({batch})\n"
        "from bicoder.engine.programs.slices import fastest_slices; print(fastest_slices())"
    )
    environment = {name: value for name, value in os.environ.items() if name != "TF_NUM_INTRAOP_THREADS"}
    environment |= {"TF_NUM_INTRAOP_THREADS": variable} if variable else {}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True, env=environment)
    assert int(done.stdout) == (expected or max(1, min(3, cores() - 1)))


def test_one_thread_each_does_nothing_where_tensorflow_has_started():
    tf.config.list_logical_devices()
    before = tf.config.threading.get_intra_op_parallelism_threads()
    one_thread_each(SMALLEST * cores())
    assert tf.config.threading.get_intra_op_parallelism_threads() == before
