"""The model: the contract's calls, what a Keras user expects, and the mathematics of the loss."""

import abc

import keras
import numpy as np
import pytest
import tensorflow as tf

from bicoder import VAE, BiCoder, Decoder, Encoder
from bicoder.component import Component
from bicoder.distributions import Gaussian
from bicoder.engine.batches import Batches
from bicoder.errors import UsageError
from bicoder.likelihoods import GaussianLikelihood, Likelihood
from bicoder.networks import MLP, networks_in
from bicoder.objectives import ELBO


@pytest.fixture
def vectors(rng):
    return rng.random((100, 12), "float32")


@pytest.fixture
def images(rng):
    return rng.random((20, 12, 10, 3), "float32")


def small_vae(seed=0, **options):
    return VAE(Encoder(MLP((16,)), latent_dim=3), Decoder(MLP((16,))), seed=seed, **options)


def compiled(vae, **options):
    vae.compile(keras.optimizers.Adam(1e-3), **options)
    return vae


@pytest.mark.parametrize(
    ("shape", "variables", "parameters", "latent_dim"),
    [((784,), 8, 652_824, 20), ((28, 28, 3), 16, 495_719, 50)],
)
def test_vae_fits_itself_to_its_first_batch(shape, variables, parameters, latent_dim, rng):
    vae = VAE()
    loss = vae.train(rng.random((4, *shape), "float32"), keras.optimizers.Adam(1e-3))
    assert np.isfinite(float(loss))
    assert (len(vae.trainable_variables), vae.count_params()) == (variables, parameters)
    assert vae.latent_dim == latent_dim
    assert tuple(vae.encode(np.zeros((2, *shape))).mean.shape) == (2, latent_dim)
    assert vae.generate(3).shape == (3, *shape)


@pytest.mark.parametrize("shape", [(784,), (28, 28, 3)])
def test_one_step_changes_every_variable(shape, rng):
    vae = VAE(Encoder(), Decoder(likelihood=GaussianLikelihood("learned")), seed=0)
    vae.build((None, *shape))
    before = [np.array(v) for v in vae.trainable_variables]
    vae.train(rng.random((8, *shape), "float32"), keras.optimizers.Adam(1e-3))
    changed = {v.path: not np.array_equal(b, v) for b, v in zip(before, vae.trainable_variables, strict=True)}
    assert all(changed.values()), changed


@pytest.mark.xla
def test_fit_and_train_give_the_same_losses(vectors):
    batches = [vectors[i : i + 16] for i in range(0, len(vectors), 16)]  # the last one is short
    by_hand, optimizer = small_vae(), keras.optimizers.Adam(1e-3)
    losses = [[float(by_hand.train(batch, optimizer)) for batch in batches] for _ in range(3)]
    fitted = compiled(small_vae())
    history = fitted.fit(vectors, batch_size=16, epochs=3, shuffle=False, verbose=0).history["loss"]
    sizes = [len(batch) for batch in batches]
    np.testing.assert_allclose(history, np.average(losses, axis=1, weights=sizes), rtol=1e-5)
    for one, other in zip(by_hand.trainable_variables, fitted.trainable_variables, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.fault(77)
def test_same_seed_same_history_and_another_seed_another(vectors):
    def history(seed):
        data = tf.data.Dataset.from_tensor_slices(vectors).shuffle(100, seed=seed).batch(16)
        return compiled(small_vae(seed)).fit(data, epochs=2, verbose=0).history

    assert history(1) == history(1)
    assert history(1) != history(2)


@pytest.mark.fault(93)
def test_a_model_without_a_seed_follows_that_of_keras(vectors):
    def history(seed):
        keras.utils.set_random_seed(seed)
        vae = VAE(Encoder("mlp:hidden=[8]", 3), Decoder("mlp:hidden=[8]"))
        assert vae.get_config()["seed"] is None
        return compiled(vae).fit(vectors, epochs=2, verbose=0).history

    assert history(1) == history(1)
    assert history(1) != history(2)


def test_training_makes_the_bound_better(vectors):
    history = compiled(small_vae()).fit(vectors, epochs=20, verbose=0).history["loss"]
    assert history[-1] < history[0] - 0.5


def test_loss_is_distortion_plus_rate_in_nats(vectors):
    vae = small_vae()
    bound = vae(vectors)
    np.testing.assert_allclose(bound.loss, np.asarray(bound.distortion) + np.asarray(bound.rate), rtol=1e-6)
    assert {tuple(v.shape) for v in bound} == {(100,)}
    q = vae.encode(vectors)
    log_var = 2 * np.asarray(q.log_scale)
    np.testing.assert_allclose(bound.rate, 0.5 * np.sum(q.mean**2 + np.exp(log_var) - log_var - 1, axis=1), rtol=1e-4)
    # With the encoder's noise switched off by hand, the distortion is the density that SciPy has.
    least = 12 * (0.5 * np.log(2 * np.pi) + np.log(0.75))
    assert (np.asarray(bound.distortion) > least).all()


def test_loss_per_example_does_not_depend_on_the_batch_size(vectors):
    vae = compiled(small_vae(objective=ELBO(num_samples=400)))
    vae.build((None, 12))
    losses = [vae.evaluate(vectors, batch_size=n, verbose=0) for n in (100, 7, 1)]
    np.testing.assert_allclose(losses[1:], losses[:1] * 2, rtol=2e-3)


def test_evaluate_weighs_the_short_last_batch_by_its_size(vectors):
    """A mean of batch means is wrong where the last batch is short: 9 easy examples and a hard one."""
    data = np.concatenate([np.zeros((9, 12)), np.full((1, 12), 3.0)]).astype("float32")
    vae = compiled(small_vae(objective=ELBO(num_samples=2000)))
    exact = float(np.mean(vae(data).distortion))
    numbers = vae.evaluate(data, batch_size=9, verbose=0, return_dict=True)
    assert numbers["distortion"] == pytest.approx(exact, rel=0.03)
    assert numbers["loss"] == pytest.approx(numbers["distortion"] + numbers["rate"], rel=1e-5)


def test_all_data_count_before_and_after_fit(rng):
    """Keras keeps a function for each of them, made for as many steps as one call took when it was first needed."""
    data = np.concatenate([np.zeros((64, 12)), np.ones((936, 12))]).astype(
        "float32"
    )  # the first batches are unlike all
    vae = small_vae(objective=ELBO(num_samples=50))
    vae.compile(keras.optimizers.SGD(0.0))
    loss, predicted = vae.evaluate(data, verbose=0)[0], vae.predict(data, verbose=0)
    history = vae.fit(data, validation_data=(data,), verbose=0).history
    assert vae.evaluate(data, verbose=0)[0] == pytest.approx(loss, rel=0.01)
    assert history["val_loss"][0] == pytest.approx(loss, rel=0.01)
    np.testing.assert_array_equal(vae.predict(data, verbose=0), predicted)


@pytest.mark.parametrize("kind", ["array", "tuple", "data set", pytest.param("Batches", marks=pytest.mark.xla)])
def test_validation_in_fit_is_what_evaluate_finds(kind, vectors):
    """However its data come, of all of them, the short last batch by its size; and the same once more afterwards."""
    data = np.concatenate([np.zeros((96, 12)), np.full((3, 12), 2.0)]).astype("float32")
    forms = {
        "array": data,
        "tuple": (data,),
        "data set": tf.data.Dataset.from_tensor_slices(data).batch(32),
        "Batches": Batches(data, 32, 0, shuffle=False).dataset(),
    }
    vae = small_vae(objective=ELBO(num_samples=50))
    vae.compile(keras.optimizers.SGD(0.0))
    expected = keras.Model.evaluate(vae, data, verbose=0)[0] if kind != "Batches" else float(np.mean(vae(data).loss))
    history = vae.fit(vectors, epochs=2, validation_data=forms[kind], validation_batch_size=32, verbose=0).history
    assert history["val_loss"] == pytest.approx([expected] * 2, rel=0.02)
    after = forms[kind][0] if kind == "tuple" else forms[kind]
    assert vae.evaluate(after, verbose=0)[0] == pytest.approx(expected, rel=0.02)


def test_a_callback_may_evaluate_and_predict_other_data(vectors):
    data = np.concatenate([np.zeros((64, 12)), np.ones((236, 12))]).astype(
        "float32"
    )  # the first batches are unlike all

    class Looks(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            found.append((self.model.evaluate(data, verbose=0)[0], self.model.predict(data, verbose=0)))

    vae, found = small_vae(objective=ELBO(num_samples=50)), []
    vae.compile(keras.optimizers.SGD(0.0))
    expected = vae.evaluate(data, verbose=0)[0], vae.predict(data, verbose=0)
    history = vae.fit(vectors, epochs=2, validation_data=vectors[:50], callbacks=[Looks()], verbose=0).history
    found.append((vae.evaluate(data, verbose=0)[0], vae.predict(data, verbose=0)))
    assert len(found) == 3
    for loss, predicted in found:
        assert loss == pytest.approx(expected[0], rel=0.01)
        np.testing.assert_array_equal(predicted, expected[1])
    assert history["val_loss"] == pytest.approx([float(np.mean(vae(vectors[:50]).loss))] * 2, rel=0.02)


@pytest.mark.xla
def test_an_epoch_and_a_validation_have_the_steps_that_were_asked_for(vectors):
    vae = compiled(small_vae())
    data = tf.data.Dataset.from_tensor_slices(vectors).batch(10).repeat()
    batches = []
    counted = tf.data.Dataset.from_generator(
        lambda: (batches.append(batch) or batch for batch in data), output_signature=data.element_spec
    )
    options = {"steps_per_epoch": 10, "validation_steps": 4, "verbose": 0}
    vae.fit(data, epochs=3, validation_data=counted.prefetch(0), **options)
    assert int(vae.optimizer.iterations) == 30
    assert len(batches) in (12, 15)  # four each time, and one that was asked for before Keras stopped asking


def test_more_samples_lower_the_noise(vectors):
    spread = {}
    for count in (1, 64):
        vae = small_vae(objective=ELBO(num_samples=count))
        spread[count] = np.std([np.mean(vae(vectors[:2]).distortion) for _ in range(30)])
    assert spread[64] < spread[1] / 3


def test_predict_gives_reconstructions(vectors, images):
    for data in (vectors, images):
        vae = compiled(small_vae())
        vae.fit(data, epochs=1, verbose=0)
        predicted = vae.predict(data, batch_size=7, verbose=0)
        assert predicted.shape == data.shape
        np.testing.assert_allclose(predicted, vae.reconstruct(data), rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(predicted, vae.predict(data, batch_size=7, verbose=0))


def test_keras_callbacks_and_metrics(vectors, tmp_path):
    vae = compiled(small_vae())
    callbacks = [
        keras.callbacks.EarlyStopping(monitor="val_loss", patience=0, min_delta=1e9),
        keras.callbacks.ModelCheckpoint(tmp_path / "best.weights.h5", save_best_only=True, save_weights_only=True),
    ]
    history = vae.fit(vectors, validation_split=0.2, epochs=9, verbose=0, callbacks=callbacks).history
    assert set(history) == {p + n for p in ("", "val_") for n in ("loss", "elbo", "distortion", "rate")}
    assert len(history["loss"]) == 2
    assert (tmp_path / "best.weights.h5").exists()


def test_sample_weights():
    """Three hard examples of weight 0 leave the distortion of the easy one."""
    data = np.concatenate([np.zeros((1, 12)), np.full((3, 12), 30.0)]).astype("float32")
    vae = compiled(small_vae(objective=ELBO(num_samples=500)))
    vae.build((None, 12))
    weights = np.float32([1, 0, 0, 0])
    weighted = vae.evaluate(data, sample_weight=weights, verbose=0, return_dict=True)
    assert weighted["distortion"] == pytest.approx(float(vae(data[:1]).distortion[0]), rel=0.05)
    assert weighted["loss"] == pytest.approx((weighted["distortion"] + weighted["rate"]) / 4, rel=0.05)


def test_save_and_load_as_a_keras_model(vectors, images, tmp_path):
    for data, vae in ((vectors, small_vae()), (images, VAE(Encoder("conv", 4), Decoder("conv"), seed=1))):
        compiled(vae).fit(data, epochs=1, verbose=0)
        vae.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        np.testing.assert_allclose(loaded.reconstruct(data), vae.reconstruct(data), rtol=1e-5, atol=1e-6)
        assert loaded.get_config() == vae.get_config()


def test_weights_hold_no_optimizer_of_train(vectors, tmp_path):
    vae = small_vae()
    vae.train(vectors, keras.optimizers.Adam())
    vae.save_weights(tmp_path / "a.weights.h5")
    other = small_vae(seed=5)
    other.build((None, 12))
    other.load_weights(tmp_path / "a.weights.h5")
    np.testing.assert_array_equal(other.reconstruct(vectors), vae.reconstruct(vectors))


def test_generate_follows_its_seed(vectors):
    vae = small_vae()
    vae.build((None, 12))
    np.testing.assert_array_equal(vae.generate(5, seed=1), vae.generate(5, seed=1))
    assert not np.array_equal(vae.generate(5, seed=1), vae.generate(5, seed=2))


def test_decode_keeps_sample_axes(images):
    vae = VAE(Encoder("conv", 4), Decoder("conv"))
    z = vae.encode(images).sample(seed=0, num_samples=3)
    p = vae.decode(z)
    assert tuple(p.mean.shape) == (3, *images.shape)
    np.testing.assert_allclose(p.mean[2], vae.decode(z[2]).mean, rtol=1e-4, atol=1e-5)
    assert tuple(p.log_prob(images).shape) == (3, 20)


@pytest.mark.parametrize("optimizer", [(), ("adam",)])
def test_train_without_an_optimizer_says_so(optimizer, vectors):
    with pytest.raises(UsageError, match="train: expected a batch and a Keras optimizer"):
        small_vae().train(vectors, *optimizer)


def test_train_leaves_alone_what_is_frozen(vectors):
    vae, optimizer = small_vae(), keras.optimizers.Adam(1e-2)
    vae.train(vectors, optimizer)
    vae.encoder.trainable = False
    before = [np.array(v) for v in vae.weights]
    vae.train(vectors, optimizer)
    frozen = {id(v) for v in vae.encoder.weights}
    for old, variable in zip(before, vae.weights, strict=True):
        if "seed" not in variable.path:
            assert np.array_equal(old, variable) == (id(variable) in frozen), variable.path


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda vae, x: vae.encode(x[:, :5]), "x: expected examples of shape \\(12,\\), received \\(5,\\)"),
        (lambda vae, x: vae.train(x[:, :5], keras.optimizers.Adam()), "x: expected examples of shape"),
        (lambda vae, x: VAE(Encoder(latent_dim=4), latent_dim=7), "latent_dim: the encoder has 4, received 7"),
        (lambda vae, x: VAE(Decoder(), Encoder()), "encoder: expected a Encoder, received Decoder"),
        (lambda vae, x: VAE(seed=-1), "seed: expected a whole number from 0"),
        (lambda vae, x: MLP(activation="foo"), "activation: expected the name of a Keras activation, received 'foo'"),
        (lambda vae, x: vae.generate(0), "n: expected a positive whole number, received 0"),
    ],
)
def test_wrong_use_is_one_clear_error(use, message, vectors):
    vae = small_vae()
    vae.build((None, 12))
    with pytest.raises(UsageError, match=message):
        use(vae, vectors)


def test_numpy_integers_are_whole_numbers(vectors):
    vae = VAE(Encoder(MLP((np.int64(8),)), latent_dim=np.int64(3)), seed=np.int64(1))
    vae(vectors)
    assert vae.generate(np.int64(2)).shape == (2, 12)


@pytest.mark.fault(187)
def test_a_model_without_data_says_so():
    for use in (lambda v: v.generate(3), lambda v: v.decode(np.zeros((1, 2)))):
        with pytest.raises(UsageError, match="has not seen data"):
            use(VAE())


def test_data_of_another_shape_is_refused(vectors):
    vae = small_vae()
    vae(vectors)
    with pytest.raises(UsageError, match=r"^x: expected examples of shape \(12,\), received \(5,\)"):
        vae(vectors[:, :5])


def test_regularisation_of_your_own_network_is_in_the_loss(vectors):
    def loss(strength):
        own = keras.Sequential([keras.layers.Dense(6, kernel_regularizer=keras.regularizers.L2(strength))])
        keras.utils.set_random_seed(0)
        vae = VAE(Encoder(own, latent_dim=3), Decoder(MLP((4,))), seed=0)
        return float(vae.train(vectors, keras.optimizers.Adam()))

    assert loss(10.0) > loss(0.0) + 1.0


def test_half_precision_keeps_densities_in_float32(vectors):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        vae = compiled(small_vae())
        assert vae.encode(vectors).mean.dtype == "float32"
        assert {keras.backend.standardize_dtype(v.dtype) for v in vae(vectors)} == {"float32"}
        assert np.isfinite(vae.fit(vectors, epochs=1, verbose=0).history["loss"][0])
        assert np.isfinite(float(vae.train(vectors, keras.optimizers.Adam())))
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("prior", ["real_nvp:couplings=2,hidden=4", "vamp:pseudo_inputs=4", "mixture_of_gaussians"])
def test_half_precision_of_the_networks_leaves_priors_alone(prior, vectors):
    """It learns, and its density is that of a model of float32 with the same weights."""
    whole = small_vae(prior=prior)
    whole(vectors)
    with networks_in("mixed_bfloat16"):
        half = compiled(small_vae(prior=prior))
        assert np.isfinite(half.fit(vectors, epochs=1, verbose=0).history["loss"][0])
    whole.set_weights(half.get_weights())
    z = np.random.default_rng(0).normal(size=(7, half.latent_dim)).astype("float32")
    assert half.prior.log_prob(z).dtype == "float32"
    tolerance = 0.05 if prior.startswith("vamp") else 1e-5  # its components come out of the encoder's network
    np.testing.assert_allclose(half.prior.log_prob(z), whole.prior.log_prob(z), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("cls", [BiCoder, Component, Likelihood])
def test_abstract_classes_cannot_be_made(cls):
    assert isinstance(cls, abc.ABCMeta)
    if cls is not Component:
        with pytest.raises(TypeError, match="abstract"):
            cls()


def test_the_classes_of_the_contract():
    assert issubclass(BiCoder, keras.layers.Layer)
    assert issubclass(Encoder, BiCoder)
    assert issubclass(Decoder, BiCoder)
    assert issubclass(VAE, keras.Model)
    assert {"raw_shape", "make_body", "head", "image_shape"} <= BiCoder.__abstractmethods__


def test_a_new_likelihood_is_one_class(vectors):
    class NarrowLikelihood(Likelihood):
        """A Gaussian of sigma 0.1."""

        def num_outputs(self, channels):
            return channels

        def call(self, raw):
            return Gaussian(raw, np.log(0.1))

    vae = compiled(VAE(Encoder(MLP((8,)), 2), Decoder(MLP((8,)), likelihood="narrow")))
    assert np.isfinite(vae.fit(vectors, epochs=1, verbose=0).history["loss"][0])
    assert vae.get_config()["decoder"]["likelihood"] == {"name": "narrow"}


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "lerned", None])
def test_bad_sigma(value):
    with pytest.raises(UsageError, match="sigma: expected a positive number"):
        GaussianLikelihood(value)


def test_learned_sigma_finds_the_noise_of_the_data(rng):
    """Pure noise of standard deviation 0.2 around a constant: sigma has nothing else to find."""
    data = (0.5 + 0.2 * rng.normal(size=(2000, 12))).astype("float32")
    likelihood = GaussianLikelihood("learned")
    vae = VAE(Encoder(MLP((8,)), 2), Decoder(MLP((8,)), likelihood=likelihood), seed=0)
    vae.compile(keras.optimizers.Adam(1e-2))
    vae.fit(data, epochs=25, batch_size=100, verbose=0)
    assert np.exp(float(likelihood.log_sigma())) == pytest.approx(0.2, rel=0.1)


def test_learned_sigma_has_a_floor(rng):
    likelihood = GaussianLikelihood("learned")
    likelihood.build((None, 3))
    likelihood.raw_log_sigma.assign(-1000.0)
    assert float(np.exp(likelihood.log_sigma())) == pytest.approx(1e-3, rel=1e-4)


@pytest.mark.fault(99)
def test_a_sigma_that_nobody_chose_is_said(vectors, capfd):
    vae = VAE(seed=0)
    vae.compile("adam")
    vae.fit(vectors, epochs=2, verbose=0)
    vae.fit(vectors, verbose=0)
    assert capfd.readouterr().err.count("sigma of p(x|z) is 0.75") == 1
    VAE(seed=0).train(vectors[:5], keras.optimizers.Adam())
    assert "to learn it" in capfd.readouterr().err
    for quiet in (VAE(seed=0), VAE(decoder=Decoder(likelihood="gaussian"), seed=0)):
        quiet.train(np.zeros((5, 784), "float32"), keras.optimizers.Adam())
    assert "sigma" not in capfd.readouterr().err
