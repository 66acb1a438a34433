"""What comes as examples: pixels that nobody has scaled, numbers that are none, axes in another order."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bicoder import VAE, Decoder, Encoder, evaluate
from bicoder.engine.arrays.numbers import check_numbers
from bicoder.errors import BicoderError, DataError, UsageError
from bicoder.networks import MLP


@pytest.fixture
def pixels(rng):
    """Images as `keras.datasets.mnist` gives them, but small."""
    return rng.integers(0, 256, (40, 12), "uint8")


def small_vae(likelihood="gaussian"):
    vae = VAE(Encoder(MLP((8,)), latent_dim=2), Decoder(MLP((8,)), likelihood=likelihood), seed=0)
    vae.compile("adam")
    return vae


def batches(x):
    return tf.data.Dataset.from_tensor_slices(x).batch(10)


USES = {
    "fit": lambda vae, x: vae.fit(x, verbose=0),
    "fit a data set": lambda vae, x: vae.fit(batches(x), verbose=0),
    "validate": lambda vae, x: vae.fit(np.zeros((10, 12)), validation_data=(x,), verbose=0),
    "hold out": lambda vae, x: vae.fit(x, validation_split=0.5, verbose=0),
    "evaluate of Keras": lambda vae, x: vae.evaluate(x, verbose=0),
    "evaluate a data set": lambda vae, x: vae.evaluate(batches(x), verbose=0),
    "encode": lambda vae, x: vae.encode(x),
    "train": lambda vae, x: vae.train(x, keras.optimizers.Adam()),
    "evaluate": lambda vae, x: evaluate(vae, x, num_samples=1),
}


@pytest.mark.fault(91)
@pytest.mark.parametrize("use", USES)
def test_pixels_that_nobody_scaled_are_refused(use, pixels):
    """As `keras.datasets.mnist` has them."""
    vae = small_vae()
    vae.build((None, 12))
    with pytest.raises(DataError, match=r"expected pixels in \[0, 1\], received uint8 .*; divide by 255: "):
        USES[use](vae, pixels)


@pytest.mark.fault(91)
@pytest.mark.parametrize(
    ("change", "divisor"),
    [
        (lambda x: x.astype("float32"), 255),  # image_dataset_from_directory
        (lambda x: x.astype("int64"), 255),
        (lambda x: x // 4, 255),  # dark, but of a type that pixels have
        (lambda x: x.astype("uint16") * 257, 65535),
    ],
)
def test_the_error_says_what_to_divide_by(change, divisor, pixels):
    with pytest.raises(DataError, match=rf"x: expected pixels in \[0, 1\], received .*; divide by {divisor}: "):
        check_numbers(change(pixels))


@pytest.mark.fault(91)
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_none_is_refused(wrong, pixels):
    x = pixels.astype("float32") / 255
    x[7, 3] = wrong
    for use in ("fit", "fit a data set", "encode"):
        message = "expected finite numbers, received NaN or infinity in 1 example, the first at index 7"
        with pytest.raises(DataError, match=message):
            USES[use](small_vae(), x)


@pytest.mark.fault(91)
def test_the_target_is_looked_at_too(pixels):
    x = pixels.astype("float32") / 255
    with pytest.raises(DataError, match="y: expected pixels"):
        small_vae().fit(x, pixels, verbose=0)


@pytest.mark.fault(91)
@pytest.mark.parametrize("form", [lambda x: x, batches])
def test_the_likelihood_must_have_a_density(form, pixels):
    grey = pixels.astype("float32") / 255
    with pytest.raises(DataError, match="the bernoulli likelihood expects only 0 and 1"):
        small_vae("bernoulli").fit(form(grey), verbose=0)
    noisy = (grey > 0.5) + np.float32(0.3)
    small_vae("bernoulli").fit(noisy, (grey > 0.5), verbose=0)  # what is explained counts, not what is seen


@pytest.mark.fault(91)
def test_real_numbers_and_bits_are_fine(rng, pixels):
    real, bits = rng.normal(3.0, 10.0, (40, 12)), pixels > 127
    assert np.isfinite(small_vae().fit(real, verbose=0).history["loss"]).all()
    losses = [small_vae("bernoulli").fit(x, verbose=0).history["loss"] for x in (bits, bits.astype("uint8"))]
    assert losses[0] == losses[1]


@pytest.mark.fault(134)
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.ones((4, 12), complex), "expected real numbers, received complex128"),
        (np.array([[None] * 12] * 4), "expected real numbers, received object"),
        (np.array([["1.0"] * 12] * 4), "expected real numbers, received <U3"),
    ],
)
def test_what_would_lose_a_part_of_its_numbers_is_refused(x, message):
    for use in ("fit", "encode", "evaluate"):
        vae = small_vae()
        vae.build((None, 12))
        with pytest.raises(DataError, match=message):
            USES[use](vae, x)


@pytest.mark.fault(91)
@pytest.mark.parametrize(
    ("shape", "advice"),
    [
        ((28, 28), r"x\[..., None\] makes grey images"),
        ((2, 28, 28, 3), "expects vectors or images"),
        ((3, 32, 32), r"numpy.moveaxis\(x, 1, -1\)"),
        ((1, 28, 28), r"numpy.moveaxis\(x, 1, -1\)"),
        ((13, 64, 64), r"numpy.moveaxis\(x, 1, -1\)"),
        ((3, 32, 48), r"numpy.moveaxis\(x, 1, -1\)"),
    ],
)
def test_axes_in_another_order_are_refused(shape, advice):
    vae = VAE()
    vae.compile("adam")
    with pytest.raises(UsageError, match=advice):
        vae.fit(np.zeros((4, *shape), "float32"), verbose=0)
    with pytest.raises(BicoderError, match=advice):
        vae.encode(np.zeros((4, *shape), "float32"))
    assert vae.encode(np.zeros((4, 12), "float32")).mean.shape == (4, 20)  # what it could not take has left no trace


@pytest.mark.fault(91)
@pytest.mark.parametrize("shape", [(28, 28, 3), (3, 5, 2), (16, 16, 13), (32, 48, 3), (8, 8, 8)])
def test_channels_last_are_taken(shape):
    assert VAE().encode(np.zeros((2, *shape), "float32")).mean.shape == (2, 50)
