"""A guard against training that is suddenly many times slower.

Only ratios of one run, of medians, with wide margins: what else the machine does hits both sides alike. The real
comparison is `make bench`.
"""

import runpy
import statistics
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT

from bicoder import VAE
from bicoder.engine.batches import Batches
from bicoder.engine.programs.many_steps import choose_steps
from bicoder.engine.programs.tensorflow_steps import uses_xla

pytestmark = [pytest.mark.xla, pytest.mark.tensorflow]

PLAIN = runpy.run_path(str(ROOT / "benchmarks" / "straightforward.py"))


def by_fit(images, batch):
    """A function that trains a default model for one epoch by `VAE.fit`."""
    vae = VAE(seed=0)
    vae.compile(keras.optimizers.Adam(1e-3))
    return lambda: vae.fit(images, batch_size=batch, verbose=0)


def by_plain_steps(network, images, batch):
    """A function that does the same with one compiled step, called for every batch."""
    encoder, decoder = PLAIN["make_networks"](network)
    variables = encoder.trainable_variables + decoder.trainable_variables
    step = PLAIN["make_step"](PLAIN["make_loss"](encoder, decoder), variables)
    data = PLAIN["pipeline"](images, batch)
    return lambda: [loss.numpy() for loss in [step(x) for x in data]]


def ratio(ours, theirs, rounds=5):
    """Our median time over theirs, taken in turn; the first call of each compiles and does not count."""
    ours(), theirs()
    seconds = {ours: [], theirs: []}
    for _ in range(rounds):
        for function, values in seconds.items():
            started = time.perf_counter()
            function()
            values.append(time.perf_counter() - started)
    return statistics.median(seconds[ours]) / statistics.median(seconds[theirs])


@pytest.mark.timing
def test_the_mlp_is_not_much_slower_through_fit_than_step_by_step(rng):
    images = rng.random((3200, 784), "float32")
    assert ratio(by_fit(images, 32), by_plain_steps("mlp", images, 32)) < 1.5


@pytest.mark.timing
def test_convolutions_are_not_much_slower_through_fit_than_step_by_step(rng):
    images = rng.random((512, 28, 28, 3), "float32")
    assert ratio(by_fit(images, 32), by_plain_steps("conv", images, 32), rounds=3) < 3.0


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="a GPU has XLA for all")
@pytest.mark.parametrize(("shape", "expected"), [((784,), True), ((28, 28, 3), False)], ids=["mlp", "conv"])
def test_xla_compiles_on_a_cpu_what_has_no_convolutions(shape, expected):
    vae = VAE()
    vae.build((None, *shape))
    assert uses_xla(vae) is expected


@pytest.mark.parametrize(("shape", "batch", "expected"), [((784,), 32, 64), ((784,), 2048, 5), ((28, 28, 3), 128, 3)])
def test_how_many_steps_are_one_program(shape, batch, expected):
    """As many as are faster together, but for the memory of their images."""
    vae = VAE()
    vae.build((None, *shape))
    images = np.broadcast_to(np.float32(0), (10_000, *shape))
    assert choose_steps("auto", uses_xla(vae), Batches(images, batch, 0)) == expected
    assert choose_steps("auto", uses_xla(vae), Batches(images[: 2 * batch], batch, 0)) == min(2, expected)
