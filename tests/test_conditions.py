"""Conditional models, log p(x|y): what they compute, how they learn, and what they refuse."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from gradients import gradients_of_weights
from keras import ops
from test_component import of_one_tensor, own_members

import bicoder
from bicoder import VAE, Decoder, Encoder
from bicoder.conditions import Condition
from bicoder.engine.arrays.conditioned import Conditioned
from bicoder.errors import BicoderError, DataError, UsageError
from bicoder.evaluation.coherence import Labelled
from bicoder.evaluation.generated_classes import of_generated
from bicoder.fusions import Fusion
from bicoder.likelihoods import Likelihood
from bicoder.networks import MLP, Conv, Network
from bicoder.objectives import Objective
from bicoder.posteriors import Posterior
from bicoder.priors import Prior

CLASSES = 3


@pytest.fixture
def x(rng):
    return rng.random((40, 6), "float32")


@pytest.fixture
def y(rng):
    return np.r_[0, 1, 2, rng.integers(0, CLASSES, 37)]


def small(condition="labels", seed=0, encoder=None, **options):
    return VAE(encoder or Encoder(MLP((8,)), 2), Decoder(MLP((8,))), condition=condition, seed=seed, **options)


def compiled(vae, **options):
    vae.compile(keras.optimizers.Adam(1e-2), **options)
    return vae


# ---- What it computes


class Linear(keras.layers.Layer):
    """x -> x @ kernel + bias, both given."""

    def __init__(self, kernel, bias):
        super().__init__()
        self.kernel, self.bias = np.asarray(kernel, "float32"), np.asarray(bias, "float32")

    def call(self, x):
        return x @ self.kernel + self.bias

    def compute_output_shape(self, shape):
        return (shape[0], len(self.bias))


def linear_gaussian(w, v, a, s, sigma, b):
    """p(x|z, y) = N(w z + v y + b, sigma^2), p(z|y) = N(a y, s^2), with the true posterior as q(z|x, y)."""
    variance = 1 / (1 / s**2 + w @ w / sigma**2)
    from_x, from_y = variance * w / sigma**2, variance * (a / s**2 - w @ v / sigma**2)
    kernel = np.stack([np.r_[from_x, from_y], 0 * np.r_[from_x, from_y]], axis=1)
    bias = [-variance * (w @ b) / sigma**2, np.log(variance)]
    likelihood = {"name": "gaussian", "sigma": sigma}
    vae = VAE(
        Encoder(Linear(kernel, bias), 1),
        Decoder(Linear(np.c_[w, v].T, b), likelihood=likelihood),
        prior="conditional_gaussian",
        condition="vector",
    )
    vae.build(Conditioned((None, len(w)), (None, v.shape[1])))
    vae.prior.weights[0].assign(np.c_[a, 0 * a])
    vae.prior.weights[1].assign([0.0, np.log(s)])
    return vae


@pytest.fixture
def exact(rng):
    """A model whose log p(x|y) is known, data of it, and their log p(x|y)."""
    w, b, v, a, s, sigma = rng.normal(size=3), rng.normal(size=3), rng.normal(size=(3, 2)), rng.normal(size=2), 0.7, 0.4
    y = rng.normal(size=(30, 2))
    x = y @ v.T + b + (y @ a)[:, None] * w + rng.normal(size=(30, 1)) * s * w + sigma * rng.normal(size=(30, 3))
    covariance = s**2 * np.outer(w, w) + sigma**2 * np.eye(3)
    off = x - (y @ v.T + b + (y @ a)[:, None] * w)
    log_p = -0.5 * np.einsum("ni,ij,nj->n", off, np.linalg.inv(covariance), off)
    log_p -= 0.5 * np.linalg.slogdet(2 * np.pi * covariance)[1]
    return linear_gaussian(w, v, a, s, sigma, b), x.astype("float32"), y.astype("float32"), log_p


def test_likelihood_given_y_is_that_of_a_linear_gaussian_model(exact):
    """With the true posterior every importance weight, and the ELBO, is log p(x|y) itself."""
    vae, x, y, log_p = exact
    np.testing.assert_allclose(vae.log_likelihood(x, 3, condition=y), log_p, rtol=1e-4, atol=1e-4)
    vae(Conditioned(x, y))
    bound = -np.asarray([vae(Conditioned(x, y)).loss for _ in range(2000)]).mean(axis=0)
    np.testing.assert_allclose(bound, log_p, atol=0.3)


def test_evaluate_gives_the_likelihood_given_y(exact):
    vae, x, y, log_p = exact
    numbers = bicoder.evaluate(vae, (x, y), num_samples=5)
    assert numbers["nll"] == pytest.approx(-log_p.mean(), abs=1e-4)
    assert numbers["nll_monte_carlo_error"] < 1e-4
    assert numbers["marginal_kl"] is None  # q(z) is of the posteriors of other y


def test_prior_given_y_is_what_generate_draws_from(exact):
    vae, _, y, _ = exact
    p = vae.prior_given(y[:1])
    made = np.asarray(vae.generate(4000, 0, condition=y[:1]))
    means = np.asarray(vae.decode(p.mean, y[:1]).mean)[0]
    np.testing.assert_allclose(made.mean(axis=0), means, atol=0.05)


@pytest.mark.parametrize("network", [MLP((8,)), Conv((4,))], ids=["mlp", "conv"])
def test_a_condition_of_no_weight_is_none(network, rng):
    """The rows of the first layers that belong to y are 0: the same as the model without."""
    images, y = rng.random((5, 8, 8, 1), "float32"), rng.integers(0, CLASSES, 5)
    spec = network.spec()
    plain, told = (
        VAE(Encoder(Conv((4,)) if spec["name"] == "conv" else "mlp", 2), Decoder(network), condition=c, seed=0)
        for c in (None, f"labels:classes={CLASSES}")
    )
    plain(images)
    told(Conditioned(images, y))
    for mine, theirs in zip(plain.weights, told.weights, strict=True):
        value = np.zeros(theirs.shape, "float32")
        value[tuple(slice(size) for size in mine.shape)] = np.asarray(mine)
        if len(mine.shape) == 4 and mine.shape != theirs.shape:  # conv (h, w, in, out)
            value = np.zeros(theirs.shape, "float32")
            value[:, :, : mine.shape[2]] = np.asarray(mine)
        if spec["name"] == "mlp" and len(mine.shape) == 2 and mine.shape[0] == 64:  # flattened pixels with channels
            value = np.zeros((64, 1 + CLASSES, mine.shape[1]), "float32")
            value[:, 0] = np.asarray(mine)
            value = value.reshape(theirs.shape)
        theirs.assign(value)
    plain.noise.state.assign(told.noise.state)
    for expected, found in zip(plain(images), told(Conditioned(images, y)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_all_three_know_y(x, y):
    """With other labels q, p(x|z) and p(z|y) are others."""
    vae = compiled(small(prior="conditional_gaussian:hidden=4"))
    vae.fit(x, y, epochs=3, verbose=0)
    other, z = (y + 1) % CLASSES, np.zeros((40, 2), "float32")
    assert np.abs(np.asarray(vae.encode(x, y).mean) - vae.encode(x, other).mean).min(axis=1).max() > 1e-3
    assert np.abs(np.asarray(vae.decode(z, y).mean) - vae.decode(z, other).mean).max() > 1e-3
    priors = [np.asarray(vae.prior_given(labels.astype("float32")).mean) for labels in (y, other)]
    assert np.abs(priors[0] - priors[1]).max() > 1e-3


def test_labels_one_hot_and_their_vectors_are_the_same(x, y):
    vae = small(condition=f"labels:classes={CLASSES}")
    for form in (y, y[:, None], y.astype("float32"), np.eye(CLASSES, dtype="float32")[y], tf.constant(y)):
        np.testing.assert_allclose(vae.encode(x, form).mean, vae.encode(x, y).mean, rtol=1e-6)


def test_an_image_of_the_same_size_stands_beside_it_as_channels(rng):
    images, told = rng.random((4, 8, 8, 1), "float32"), rng.random((4, 8, 8, 3), "float32")
    vae = VAE(Encoder(Conv((4,)), 2), condition="vector", seed=0)
    vae(Conditioned(images, told))
    assert vae.encoder.body.input_shape[1:] == (8, 8, 4)
    assert vae.decoder.body.input_shape[1:] == (2 + 8 * 8 * 3,)
    assert vae.generate(4, 0, condition=told).shape == images.shape


# ---- How it learns

FAMILIES = (Likelihood, Posterior, Prior, Objective, Network)
PRIORS = [name for name, prior in own_members(Prior).items() if prior.takes_condition]
PARTS = [(family, name) for family in FAMILIES for name in (PRIORS if family is Prior else of_one_tensor(family))]
CONDITIONS = list(own_members(Condition))
WITH_CONDITIONS = [(*part, CONDITIONS[i % len(CONDITIONS)]) for i, part in enumerate(PARTS)]


@pytest.mark.parametrize(("family", "name", "condition"), WITH_CONDITIONS)
def test_every_part_learns_with_a_condition(family, name, condition, rng):
    """Gradients of every weight are finite."""
    chosen = {"likelihood": "gaussian", "network": "mlp", "posterior": "diagonal_gaussian"}
    chosen |= {family.__name__.lower(): name}
    options = {key: chosen.pop(key) for key in ("prior", "objective") if key in chosen}
    vae = VAE(
        Encoder(chosen["network"], 3, chosen["posterior"]),
        Decoder(chosen["network"], likelihood=chosen["likelihood"]),
        condition={"name": condition} | ({} if condition == "vector" else {"classes": CLASSES}),
        seed=0,
        **options,
    )
    images, y = np.round(rng.random((4, 8, 6, 1), "float32")), rng.integers(0, CLASSES, 4).astype("float32")
    vae.build(Conditioned((None, 8, 6, 1), (None,)))
    gradients, loss = gradients_of_weights(
        lambda: vae.compute_loss(y_pred=vae(Conditioned(images, y), training=True)), vae
    )
    assert np.isfinite(float(loss))
    assert all(np.isfinite(ops.convert_to_tensor(g)).all() for g in gradients if g is not None)
    unreached = [v.path for v, g in zip(vae.trainable_variables, gradients, strict=True) if g is None]
    assert unreached == [] or name == "wae", unreached


@pytest.mark.parametrize("fusion", own_members(Fusion))
def test_several_views_learn_with_a_condition(fusion, x, y):
    views = {"a": x, "b": np.ma.masked_where(np.arange(40)[:, None] % 3 + 0 * x[:, :4] == 0, x[:, :4])}
    vae = compiled(small(encoder=Encoder(MLP((8,)), 2, fusion=fusion)))
    losses = vae.fit(views, y, epochs=20, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert vae.encode({"a": x}, y).mean.shape == (40, 2)
    assert vae.generate(5, 0, condition=1)["b"].shape == (5, 4)
    numbers = bicoder.evaluate(vae, (views, y), num_samples=10)
    assert np.isfinite(numbers["nll"])
    assert numbers["of_views"].keys() == {"a", "b"}


def test_fit_learns_what_the_label_says(rng):
    """x is its label and noise: told it, the code has nothing to say."""
    y = rng.integers(0, CLASSES, 600)
    x = np.eye(CLASSES, dtype="float32")[y] + 0.1 * rng.normal(size=(600, CLASSES)).astype("float32")
    likelihood = "gaussian:sigma=0.1"
    plain, told = (
        VAE(Encoder(MLP((16,)), 2), Decoder(MLP((16,)), likelihood=likelihood), condition=c, seed=0)
        for c in (None, "labels")
    )
    compiled(plain).fit(x, epochs=60, verbose=0)
    compiled(told).fit(x, y, epochs=60, verbose=0)
    nll = [bicoder.evaluate(vae, (x, y), num_samples=50)["nll"] for vae in (plain, told)]
    assert nll[1] < nll[0] - 0.5  # a label is worth at most log 3 = 1.10 nats to a model that has learnt all
    made = np.asarray(told.generate(50, 0, condition=2))
    assert (made.argmax(axis=1) == 2).all()


def test_ways_to_give_y_are_the_same(x, y):
    """Arrays, batches, Keras' own step and `train` go through the same updates."""
    spec = f"labels:classes={CLASSES}"
    batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(10)
    first = compiled(small(spec)).fit(x, y, batch_size=10, shuffle=False, epochs=2, verbose=0).history["loss"]
    assert compiled(small(spec)).fit(batches, epochs=2, verbose=0).history["loss"] == pytest.approx(first, rel=1e-5)
    eager = compiled(small(spec), run_eagerly=True)
    assert eager.fit(x, y, batch_size=10, shuffle=False, epochs=2, verbose=0).history["loss"] == pytest.approx(first)
    one, optimizer = small(spec), keras.optimizers.Adam(1e-2)
    losses = [float(one.train((x[i : i + 10], y[i : i + 10]), optimizer)) for _ in range(2) for i in (0, 10, 20, 30)]
    assert np.mean(losses[:4]) == pytest.approx(first[0], rel=1e-5)


def test_the_compiled_program_takes_many_steps(x, y):
    """Labels do not send `fit` to the slow path: the program that ran has the metrics of each of its steps."""
    vae = compiled(small())
    vae.fit(x, y, batch_size=4, epochs=1, verbose=0)
    assert vae.step_metrics["loss"].shape == (10,)


def test_a_target_goes_beside_x(x, y):
    vae = compiled(small())
    vae.fit((x, 1 - x), y, epochs=150, verbose=0)
    near = np.abs(np.asarray(vae.reconstruct(x, y)) - (1 - x)).mean()
    assert near < np.abs(np.asarray(vae.reconstruct(x, y)) - x).mean()
    batches = tf.data.Dataset.from_tensor_slices(((x, 1 - x), y)).batch(10)
    assert np.isfinite(vae.fit(batches, epochs=2, verbose=0).history["loss"]).all()


def test_validation_weights_and_predictions(x, y):
    vae = compiled(small())
    history = vae.fit(
        x, y, sample_weight=np.ones(40), validation_data=(x, y), validation_freq=1, epochs=2, verbose=0
    ).history
    assert history["val_loss"][-1] == pytest.approx(vae.evaluate(x, y, verbose=0, return_dict=True)["loss"], rel=0.1)
    assert "val_loss" in vae.fit(x, y, validation_split=0.25, epochs=1, verbose=0).history
    expected = vae.reconstruct(x, y)
    np.testing.assert_allclose(vae.predict((x, y), verbose=0), expected, rtol=1e-5)
    batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(16)
    np.testing.assert_allclose(vae.predict(batches, verbose=0), expected, rtol=1e-5)
    np.testing.assert_allclose(vae.reconstruct(batches), expected, rtol=1e-5)
    np.testing.assert_allclose(vae.encode(batches).mean, vae.encode(x, y).mean, rtol=1e-5)


def test_weights_of_the_embedding_are_frozen_and_saved_with_the_model(x, y, tmp_path):
    vae = compiled(small("embedding:dim=4"))
    vae.fit(x, y, epochs=1, verbose=0)
    assert vae.condition.vectors.shape == (CLASSES, 4)
    assert sum(weight is vae.condition.vectors for weight in vae.weights) == 1
    vae.encoder.trainable = False
    before = np.array(vae.condition.vectors)
    compiled(vae).fit(x, y, epochs=1, verbose=0)
    assert np.abs(before - vae.condition.vectors).max() > 0  # it is no part of the encoder


def test_saved_and_loaded_it_goes_on(x, y, tmp_path):
    """In a fresh process too."""
    vae = compiled(small("embedding:dim=4", prior="conditional_gaussian:hidden=3"))
    vae.fit(x, y, epochs=2, verbose=0)
    vae.save(tmp_path / "model.keras")
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    code = """if True:
        import sys, keras, numpy as np, bicoder.vae
        folder = sys.argv[1]
        x, y = np.load(folder + "/x.npy"), np.load(folder + "/y.npy")
        vae = keras.saving.load_model(folder + "/model.keras")
        np.save(folder + "/made.npy", vae.generate(5, 0, condition=1))
        np.save(folder + "/loss.npy", vae.fit(x, y, epochs=2, verbose=0).history["loss"])"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    np.testing.assert_allclose(np.load(tmp_path / "made.npy"), vae.generate(5, 0, condition=1), rtol=1e-5)
    expected = vae.fit(x, y, epochs=2, verbose=0).history["loss"]
    np.testing.assert_allclose(np.load(tmp_path / "loss.npy"), expected, rtol=1e-5)


# ---- What it refuses


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (
            lambda vae, x, y: vae.fit(x, verbose=0),
            r"expected whole numbers \(N,\).*, beside x, received none",
        ),
        (lambda vae, x, y: vae.fit(x, y[:-1], verbose=0), "expected a condition for each example.*40 of x, 39 of cond"),
        (lambda vae, x, y: vae.fit(x, y + 0.5, verbose=0), r"expected labels from 0 to .*received \d.5"),
        (lambda vae, x, y: vae.fit(x, y - 1, verbose=0), "expected labels from 0 to .*received -1"),
        (lambda vae, x, y: vae.fit(x, np.full(40, np.nan), verbose=0), "expected labels from 0 .*received nan"),
        (lambda vae, x, y: vae.fit(x, y.astype(str), verbose=0), "received <U21; numpy.unique"),
        (lambda vae, x, y: vae.encode(x), "beside x, received none"),
        (lambda vae, x, y: vae.generate(3), "beside x, received none"),
        (lambda vae, x, y: vae.decode(np.zeros((3, 2))), "beside x, received none"),
        (lambda vae, x, y: vae.generate(3, condition=3), "expected labels from 0 to 2, whole numbers, received 3"),
        (lambda vae, x, y: vae.generate(3, condition=[0, 1]), "one for each of 3 examples, received 2"),
        (lambda vae, x, y: vae.predict(x, verbose=0), "beside x, received none"),
        (lambda vae, x, y: bicoder.evaluate(vae, x), "beside the images, received none"),
        (lambda vae, x, y: bicoder.evaluate(vae, (x, y + 1)), "expected labels from 0 to 2, whole numbers, received 3"),
        (lambda vae, x, y: vae.log_likelihood(x), "beside x, received none"),
        (lambda vae, x, y: vae.encoder(x), "encoder: expected the condition of each example too"),
        (lambda vae, x, y: vae.encoder.mean_model(), "expected an encoder of x alone"),
    ],
)
def test_what_is_missing_or_wrong_is_said_in_one_line(use, message, x, y):
    vae = compiled(small())
    vae.fit(x, y, verbose=0)
    with pytest.raises(BicoderError, match=message) as error:
        use(vae, x, y)
    assert "\n" not in str(error.value)


def test_a_data_set_does_not_say_how_many_classes_there_are(x, y):
    batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(10)
    with pytest.raises(UsageError, match=r"nobody knows how many classes.*labels:classes=10"):
        compiled(small()).fit(batches, verbose=0)


def test_parts_that_do_not_go_with_a_condition_or_without(x, y):
    with pytest.raises(UsageError, match="vamp: takes no condition; expected another prior"):
        small(prior="vamp")
    with pytest.raises(UsageError, match="conditional_gaussian: expected a VAE with a condition"):
        small(None, prior="conditional_gaussian")
    with pytest.raises(UsageError, match="condition: expected one of embedding, labels, vector"):
        small("label")


def test_labels_without_a_condition_are_still_refused(x, y):
    vae = compiled(small(None))
    vae.fit(x, verbose=0)
    for use in (lambda: vae.encode(x, y), lambda: vae.generate(3, 0, 1), lambda: vae.log_likelihood(x, 5, 0, y)):
        with pytest.raises(UsageError, match="condition: expected none, since this model has none"):
            use()
    with pytest.raises(UsageError, match="labels teach a VAE nothing"):
        compiled(small(None)).fit(x, y, verbose=0)


def test_a_vector_keeps_the_shape_of_the_training_data(x, rng):
    vae = compiled(small("vector"))
    vae.fit(x, rng.random((40, 5)), verbose=0)
    with pytest.raises(DataError, match=r"expected y of shape \(5,\), received \(4,\)"):
        vae.encode(x, rng.random((40, 4)))
    with pytest.raises(DataError, match="expected finite numbers"):
        vae.fit(x, np.full((40, 5), np.inf), verbose=0)


# ---- Whether images are of the class that was asked for


@pytest.mark.parametrize("learnt", [True, False])
def test_generated_classes_tell_a_model_that_makes_them_from_one_that_does_not(learnt, rng, tmp_path):
    y = rng.integers(0, CLASSES, 300)
    x = np.eye(CLASSES, dtype="float32")[y] + 0.1 * rng.normal(size=(300, CLASSES)).astype("float32")
    vae = compiled(small(), jit_compile=False)
    vae.fit(x, y if learnt else rng.permutation(y), epochs=60, verbose=0)
    test = Labelled(x[:100], y[:100])
    found = of_generated(vae, test, Labelled(x[100:], y[100:]), 0, tmp_path, False)["generated_classes"][""]
    assert found["images"] == 1000
    assert found["classifier"]["accuracy"] > 0.95
    assert (found["accuracy"] > 0.95) == learnt
    again = of_generated(vae, test, None, 0, tmp_path, False)["generated_classes"][""]
    assert again["classifier"]["learnt_from"] == "one half of the test examples"
