"""An encoder that sees which numbers are missing: one tensor and views, vectors and images."""

import keras
import numpy as np
import pytest

import bicoder
from bicoder import VAE, Decoder, Encoder
from bicoder.errors import UsageError
from bicoder.networks import MLP
from bicoder.runs.config import MODEL

SHAPES = {"vectors": ((6,), "mlp:hidden=[8]"), "images": ((8, 6, 2), "conv:filters=[4,8]")}


def make(network="mlp:hidden=[8]", seed=0, **options):
    vae = VAE(Encoder(network, 2, **options), Decoder("mlp:hidden=[8]"), seed=seed)
    vae.compile(keras.optimizers.Adam(1e-2))
    return vae


def masked(rng, shape, count=40):
    return np.ma.masked_array(rng.random((count, *shape), "float32"), rng.random((count, *shape)) < 0.4)


def encoded(vae, x):
    q = vae.encode(x)
    return np.concatenate([q.mean, q.log_scale], axis=1)


@pytest.mark.parametrize("kind", SHAPES)
def test_weights_of_zero_for_the_mask_are_an_encoder_without_one(kind, rng):
    shape, network = SHAPES[kind]
    x, channels = masked(rng, shape), shape[-1]
    blind, seeing = make(network), make(network, sees_mask=True)
    for vae in (blind, seeing):
        vae(vae.prepare(x))
    first, *rest = blind.get_weights()
    kernel, *others = seeing.get_weights()
    assert kernel.shape == (*first.shape[:-2], 2 * channels, first.shape[-1])
    assert [w.shape for w in others] == [w.shape for w in rest]
    kernel[..., :channels, :], kernel[..., channels:, :] = first, 0
    seeing.set_weights([kernel, *rest])
    np.testing.assert_allclose(encoded(seeing, x), encoded(blind, x), atol=1e-6)
    kernel[..., channels:, :] = 1
    seeing.set_weights([kernel, *rest])
    assert np.abs(encoded(seeing, x) - encoded(blind, x)).max() > 1e-2


def test_a_missing_number_is_told_from_a_zero(rng):
    """What is known of the example is the same; NaN may stand where nothing is known."""
    x = rng.random((10, 6), "float32")
    hidden = np.zeros(x.shape, bool)
    hidden[:, 2:4] = True
    zeros = np.where(hidden, np.float32(0), x)
    missing = np.ma.masked_array(np.where(hidden, np.float32(np.nan), x), hidden)
    for sees_mask, differs in ((False, False), (True, True)):
        vae = make(sees_mask=sees_mask)
        vae(x)
        found = encoded(vae, missing)
        assert np.isfinite(found).all()
        assert (np.abs(found - encoded(vae, zeros)).max() > 1e-3) == differs


def test_nothing_missing_is_a_mask_of_ones(rng):
    vae = make(sees_mask=True)
    x = rng.random((10, 6), "float32")
    vae(x)
    there = np.ma.masked_array(x, np.zeros(x.shape, bool))
    np.testing.assert_array_equal(encoded(vae, there), encoded(vae, x))
    some = bicoder.engine.arrays.masked.Masked(x, np.ones(x.shape, "float32"))
    np.testing.assert_allclose(encoded(vae, some), encoded(vae, x), atol=1e-6)
    assert vae.encoder.mean_model().predict(x, verbose=0).shape == (10, 2)


@pytest.mark.parametrize("views", [False, True])
def test_it_learns_in_a_compiled_program_and_is_saved(views, rng, tmp_path):
    """The weights of the mask are learnt; a loaded model says the same of the same x."""
    x = masked(rng, (6,))
    if views:
        x = {"a": x, "b": np.ma.masked_array(rng.random((40, 4, 4, 1), "float32"), rng.random((40, 4, 4, 1)) < 0.3)}
        x["b"][::3] = np.ma.masked
    vae = make(sees_mask=True)
    vae(vae.prepare(x))
    before = [np.array(w) for w in vae.encoder.get_weights()]
    history = vae.fit(x, epochs=3, batch_size=16, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert history["loss"][-1] < history["loss"][0]
    assert vae.encoder.sees_mask
    assert all(coder.sees_mask for coder in vae.encoder.views.values())
    kernel = vae.encoder.get_weights()[0]
    assert kernel.shape[0] == 12
    assert np.abs(kernel - before[0])[6:].min(axis=0).max() > 0
    path = tmp_path / "model.keras"
    vae.save(path)
    again = keras.models.load_model(path)
    assert again.encoder.sees_mask
    np.testing.assert_allclose(encoded(again, x), encoded(vae, x), atol=1e-6)
    numbers = bicoder.evaluate(vae, x, num_samples=5)
    assert np.isfinite(numbers["nll"])


def test_the_prior_vamp_sees_its_pseudo_inputs_whole(rng):
    vae = VAE(Encoder(MLP((8,)), 2, sees_mask=True), Decoder(MLP((8,))), prior="vamp:pseudo_inputs=4", seed=0)
    vae.compile("adam")
    assert np.isfinite(vae.fit(masked(rng, (6,)), epochs=1, verbose=0).history["loss"]).all()
    inputs = np.clip(vae.prior.inputs, 0, 1)
    np.testing.assert_allclose(np.asarray(vae.prior.distribution().components.mean)[0], vae.encode(inputs).mean, 1e-4)


def test_what_is_neither_true_nor_false_is_refused():
    with pytest.raises(UsageError, match="sees_mask: expected True or False, received 'yes'"):
        Encoder(sees_mask="yes")
    check = MODEL["encoder"]
    check("model.encoder", Encoder("mlp", sees_mask=True).spec())
    with pytest.raises(ValueError, match=r"model\.encoder\.sees_mask: expected true or false, received 'yes'"):
        check("model.encoder", Encoder("mlp").spec() | {"sees_mask": "yes"})
