"""y: what p(x|z) has to explain in place of x; and noise that the model adds to x itself."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bicoder import VAE, Decoder, Encoder
from bicoder.errors import UsageError
from bicoder.networks import MLP


@pytest.fixture
def clean(rng):
    return rng.random((60, 12), "float32")


@pytest.fixture
def noisy(clean, rng):
    return clean + rng.normal(0.0, 0.5, clean.shape).astype("float32")


def small_vae(**options):
    vae = VAE(Encoder(MLP((16,)), latent_dim=3), Decoder(MLP((16,))), seed=0, **options)
    vae.compile(keras.optimizers.Adam(1e-2))
    return vae


def constant_vae(**options):
    """A model whose p(x|z) is N(0, 0.75^2) whatever z is."""
    vae = small_vae(**options)
    vae.build((None, 12))
    for variable in vae.decoder.trainable_variables:
        variable.assign(np.zeros(variable.shape))
    return vae


def distortion(y):
    """-log p(y), averaged over y (N, 12)."""
    return 12 * (0.5 * np.log(2 * np.pi) + np.log(0.75)) + np.mean(np.sum(np.square(y), axis=1)) / (2 * 0.75**2)


def pairs(x, y):
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(20)


class Pairs(keras.utils.PyDataset):
    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y

    def __len__(self):
        return 3

    def __getitem__(self, i):
        return self.x[20 * i : 20 * i + 20], self.y[20 * i : 20 * i + 20]


FORMS = {
    "arrays": lambda x, y: {"x": x, "y": y, "batch_size": 20},
    "tf.data": lambda x, y: {"x": pairs(x, y)},
    "PyDataset": lambda x, y: {"x": Pairs(x, y)},
    "a generator": lambda x, y: {"x": ((x[i : i + 20], y[i : i + 20]) for i in range(0, 60, 20))},
}


@pytest.mark.fault(90)
@pytest.mark.parametrize("form", FORMS)
def test_the_loss_is_that_of_y(form, noisy, clean):
    found = constant_vae().evaluate(**FORMS[form](noisy, clean), verbose=0, return_dict=True)
    assert found["distortion"] == pytest.approx(distortion(clean), rel=1e-5)
    assert found["distortion"] < distortion(noisy) - 1.0


@pytest.mark.fault(90)
@pytest.mark.parametrize("form", FORMS)
def test_fit_learns_to_give_y(form, noisy, clean):
    vae = small_vae()
    for _ in range(60):  # a generator ends with its last batch
        vae.fit(**FORMS[form](noisy, clean + 2.0), verbose=0)
    assert np.mean(vae.predict(noisy, verbose=0)) == pytest.approx(2.5, abs=0.1)


@pytest.mark.fault(90)
def test_eagerly_it_is_the_same(noisy, clean):
    losses = []
    for eagerly in (False, True):
        vae = small_vae()
        vae.compile(keras.optimizers.Adam(1e-2), run_eagerly=eagerly)
        losses.append(vae.fit(noisy, clean, batch_size=20, epochs=2, verbose=0).history["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.fault(90)
def test_x_as_y_is_x(clean):
    histories = []
    for y in (None, clean, clean.copy()):
        vae = small_vae()
        histories.append(vae.fit(clean, y, epochs=3, verbose=0).history)
    assert histories[0] == histories[1] == histories[2]


@pytest.mark.parametrize("views", [False, True])
@pytest.mark.parametrize("of", ["x", "y", "both"])
def test_something_may_be_missing_of_x_and_of_y(of, views, noisy, clean, rng):
    """What is missing of y leaves the distortion, whatever is missing of x, and whatever stands there."""
    hidden = rng.random(clean.shape) < 0.3

    def masked(array):
        return np.ma.masked_array(np.where(hidden, np.float32(np.nan), array), hidden)

    x = noisy if of == "y" else masked(noisy)
    y = clean if of == "x" else masked(clean)
    vae = small_vae()
    if views:
        x, y = {"a": x, "b": noisy[:, :4]}, {"a": y, "b": clean[:, :4]}
    vae.build({"a": (None, 12), "b": (None, 4)} if views else (None, 12))
    for variable in vae.decoder.trainable_variables:
        variable.assign(np.zeros(variable.shape))
    found = vae.evaluate(x, y, batch_size=20, verbose=0, return_dict=True)["distortion"]
    known = np.full(clean.shape, True) if of == "x" else ~hidden
    arrays = [(clean, known)] + ([(clean[:, :4], np.full((60, 4), True))] if views else [])
    constant = 0.5 * np.log(2 * np.pi) + np.log(0.75)
    expected = sum(((constant + np.square(a) / (2 * 0.75**2)) * k).sum() for a, k in arrays) / 60
    assert found == pytest.approx(expected, rel=1e-5)
    losses = [vae.fit(x, y, batch_size=20, epochs=1, verbose=0).history["loss"][0] for _ in range(2)]
    assert losses[1] < losses[0]


@pytest.mark.fault(90)
@pytest.mark.parametrize("y", [np.arange(60), np.zeros((60, 10)), np.zeros((60, 3, 4))])
def test_labels_are_refused(y, clean):
    expected = r"y: expected what p\(x\|z\) explains in place of x, examples of shape \(12,\)"
    for options in FORMS.values():
        with pytest.raises(UsageError, match=expected):
            small_vae().fit(**options(clean, y), verbose=0)
    with pytest.raises(UsageError, match=expected):
        small_vae().evaluate(clean, y, verbose=0)


@pytest.mark.fault(90)
def test_noise_on_the_input_is_new_in_every_step_and_in_training_alone(clean):
    x = np.tile(clean[:1], (4000, 1))
    vae = small_vae(input_noise=0.3)
    vae.build((None, 12))
    seen = []
    raw = vae.encoder.raw
    vae.encoder.raw = lambda x, training=None: seen.append(np.array(x)) or raw(x, training)
    vae(x, training=True)
    vae(x, training=True)
    vae(x)
    vae.encode(x)
    first, second, test, codes = seen
    assert np.std(first - x) == pytest.approx(0.3, rel=0.02)
    assert np.corrcoef((first - x).ravel(), (second - x).ravel())[0, 1] == pytest.approx(0.0, abs=0.02)
    np.testing.assert_array_equal(test, x)
    np.testing.assert_array_equal(codes, x)


@pytest.mark.fault(90)
def test_the_target_of_a_noisy_input_is_clean(clean):
    bound = constant_vae(input_noise=30.0)(clean, training=True)
    assert np.mean(bound.distortion) == pytest.approx(distortion(clean), rel=1e-5)


@pytest.mark.fault(90)
def test_noise_is_part_of_the_model(clean, tmp_path):
    vae = small_vae(input_noise=0.3)
    vae.fit(clean, verbose=0)
    vae.save(tmp_path / "model.keras")
    assert keras.models.load_model(tmp_path / "model.keras").input_noise == 0.3
    with pytest.raises(UsageError, match="input_noise: expected a number from 0"):
        VAE(input_noise=-1.0)
