"""Normal numbers that are always the same."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy import stats

from bicoder.distributions import MEAN_SAMPLES
from bicoder.engine.constant_noise import constant_normal, philox
from bicoder.posteriors import IAFPosterior


@pytest.mark.tensorflow
def test_they_are_those_that_tensorflow_draws():
    for shape in ((64, 1, 20), (64, 1, 3), (7,)):
        np.testing.assert_allclose(constant_normal(shape), keras.random.normal(shape, seed=0), atol=2e-6)


def test_the_bits_are_those_of_the_paper():
    """The known answers of the authors' Random123."""
    expected = [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    assert philox((0, 0), np.zeros((1, 4), np.uint64))[0].tolist() == expected
    ones = 0xFFFFFFFF
    assert philox((ones, ones), np.full((1, 4), ones, np.uint64))[0].tolist() == [
        0x408F276D,
        0x41C83B0E,
        0xA20BC7C6,
        0x6D5451FD,
    ]


def test_they_are_normal_and_nobody_can_change_them():
    numbers = constant_normal((20_000,))
    assert stats.kstest(numbers, "norm").pvalue > 0.01
    with pytest.raises(ValueError, match="read-only"):
        numbers[0] = 1.0


@pytest.mark.tensorflow
def test_the_mean_of_iaf_is_what_it_was(rng):
    """Runs of before, whose mean was of the noise that Keras draws for the seed 0."""
    posterior = IAFPosterior()
    posterior.build((None, posterior.num_outputs(5)))
    for variable in posterior.weights:
        variable.assign(0.2 * rng.normal(size=variable.shape))
    q = posterior(ops.convert_to_tensor(rng.normal(size=(3, posterior.num_outputs(5))).astype("float32")))
    noise = keras.random.normal((MEAN_SAMPLES, 1, 5), seed=0)
    z, _ = q.push(q.base.mean + q.base.scale * noise)
    np.testing.assert_allclose(q.mean, ops.mean(z, axis=0), rtol=1e-5, atol=5e-6)
