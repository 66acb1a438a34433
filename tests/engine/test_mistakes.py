"""What is easily given in a wrong way to a model in Python: counts, callbacks, trees, shapes, arguments swapped."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bicoder import VAE, Decoder, Encoder, evaluate
from bicoder.errors import UsageError
from bicoder.networks import MLP


@pytest.fixture
def x(rng):
    return rng.random((6, 4), "float32")


@pytest.fixture
def vae():
    found = VAE(Encoder(MLP((3,)), latent_dim=2), Decoder(MLP((3,))), seed=0)
    found.compile()
    return found


@pytest.mark.fault(202)
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("epochs", [-1, 1.5, "2", True, False]),
        ("initial_epoch", [-1, 0.5]),
        ("steps_per_epoch", [0, -1, "3"]),
        ("validation_steps", [0, -2]),
        ("validation_freq", [0, -1, "a", None]),
    ],
)
def test_counts_of_fit_that_are_none(name, values, vae, x):
    for value in values:
        with pytest.raises(UsageError, match=rf"^{name}: expected a positive whole number, received"):
            vae.fit(x, validation_data=x, verbose=0, **{name: value})
    assert not vae.built
    assert vae.fit(x, epochs=np.int64(0), validation_data=x, validation_freq=[1], verbose=0).epoch == []


@pytest.mark.fault(203)
@pytest.mark.parametrize("wrong", [keras.callbacks.EarlyStopping, "early", 3], ids=["class", "name", "number"])
def test_callbacks_that_are_none(wrong, vae, x):
    for callbacks in (wrong, [wrong], [keras.callbacks.History(), wrong]):
        with pytest.raises(UsageError, match=r"^callbacks: expected callbacks of Keras, such as EarlyStopping\(\)"):
            vae.fit(x, callbacks=callbacks, verbose=0)


@pytest.mark.fault(204)
def test_views_for_a_model_of_one_tensor(vae, x):
    vae.build((None, 4))
    for options in ({"x": {"images": x}}, {"x": x, "validation_data": ({"images": x},)}):
        with pytest.raises(UsageError, match=r"x: expected examples of shape \(4,\), received"):
            vae.fit(**options, verbose=0)
    with pytest.raises(UsageError, match=r"x: expected one array of examples .* received a tuple of arrays"):
        vae.fit((x, x), verbose=0)


@pytest.mark.fault(205)
def test_a_model_and_data_that_are_swapped(vae, x):
    for wrong in (x, None, "run"):
        with pytest.raises(UsageError, match=r"^vae: expected a model, and the data after it, received"):
            evaluate(wrong, vae)


@pytest.mark.fault(206)
@pytest.mark.parametrize("shape", [None, 4, (), (None,), (None, 0), (None, -4), (None, None, 4), (None, 2.0), "ab"])
def test_a_shape_that_no_example_has(shape, vae):
    with pytest.raises(UsageError, match=r"^build: expected a shape such as \(None, 28, 28, 1\), received"):
        vae.build(shape)
    vae.build(tf.TensorShape((None, 4)))
    assert vae.example_shape == (4,)
