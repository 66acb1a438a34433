"""The VAE of several views: what it computes, how it learns, and what it refuses."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import bicoder
from bicoder import VAE, Decoder, Encoder
from bicoder.engine.arrays.masked import Masked
from bicoder.errors import DataError, UsageError
from bicoder.fusions import Fusion
from bicoder.networks import MLP
from bicoder.objectives import Objective
from bicoder.posteriors import Posterior
from bicoder.priors import Prior

FUSIONS = ["product_of_experts", "mixture_of_experts", "mixture_of_products"]


def own(family):
    """The names of the members that the package itself defines: tests may have added some."""
    return [name for name, part in family.members().items() if part.__module__.startswith("bicoder.")]


@pytest.fixture
def views(rng):
    return {name: rng.random((50, size), "float32") for name, size in (("a", 6), ("b", 8), ("c", 4))}


def small(fusion="product_of_experts", posterior="diagonal_gaussian", seed=0, **options):
    return VAE(Encoder(MLP((8,)), 2, posterior, fusion), Decoder(MLP((8,))), seed=seed, **options)


def compiled(vae, **options):
    vae.compile(keras.optimizers.Adam(1e-2), **options)
    return vae


# ---- What it computes


@pytest.mark.parametrize("objective", ["elbo:num_samples=3", "iwae", "dreg", "beta_elbo:beta=2"])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_one_view_is_the_plain_vae(fusion, objective, views, rng):
    """The same weights, the same noise."""
    plain, one = small(objective=objective), small(fusion, objective=objective)
    plain(views["a"])
    one({"a": views["a"]})
    one.set_weights(plain.get_weights())
    plain.noise.state.assign(one.noise.state)
    for expected, found in zip(plain(views["a"]), one({"a": views["a"]}), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    likelihoods = (plain.log_likelihood(views["a"], 50), one.log_likelihood({"a": views["a"]}, 50))
    np.testing.assert_allclose(*likelihoods, rtol=1e-5)
    np.testing.assert_allclose(plain.generate(3, 0), one.generate(3, 0)["a"], rtol=1e-5)


def test_the_order_of_the_views_changes_nothing(views):
    first, second = small(), small()
    one = compiled(first).fit(views, epochs=2, batch_size=20, verbose=0).history["loss"]
    two = compiled(second).fit(dict(reversed(views.items())), epochs=2, batch_size=20, verbose=0).history["loss"]
    assert one == two


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_view_that_no_example_has_is_one_that_is_not_given(fusion, views):
    vae = small(fusion)
    vae(views)
    nothing = np.zeros(50, "float32")
    masked = views | {"b": Masked(np.full_like(views["b"], 0.7), nothing)}
    some = {name: views[name] for name in "ac"}
    for found, expected in zip(
        vae.encode(masked).experts.of.values(), vae.encode(some).experts.of.values(), strict=False
    ):
        assert type(found) is type(expected)
    np.testing.assert_allclose(vae.encode(masked).mean, vae.encode(some).mean, atol=1e-5)
    z = vae.prior.sample(50, 0)[None]
    np.testing.assert_allclose(vae.log_px(masked, z), vae.log_px(some, z), rtol=1e-5)


def test_what_is_hidden_does_not_matter(views, rng):
    """Neither NaN nor any number, of a whole view and of single ones."""
    vae = small()
    vae(views)
    for hidden in (np.arange(50)[:, None].repeat(8, axis=1) % 3 == 0, rng.random((50, 8)) < 0.4):
        results = []
        for value in (0.0, 123.0, np.nan):
            b = np.where(hidden, np.float32(value), views["b"])
            vae.noise.state.assign([1, 1])
            results.append(np.array(vae(vae.prepare(views | {"b": np.ma.masked_array(b, hidden)})).loss))
        assert np.isfinite(results[0]).all()
        np.testing.assert_array_equal(results[0], results[1])
        np.testing.assert_array_equal(results[0], results[2])


def test_pixels_may_be_missing_of_one_tensor(views, rng):
    hidden = rng.random((50, 6)) < 0.3
    vae = compiled(small())
    x = np.ma.masked_array(views["a"], hidden)
    vae.fit(x, epochs=1, verbose=0)
    z = vae.prior.sample(50, 0)[None]
    elementwise = np.array(vae.decode(z[0]).elementwise(views["a"]))
    found = np.array(vae.log_px(vae.prepare(x), z))[0]
    np.testing.assert_allclose(found, np.where(hidden, 0, elementwise).sum(axis=1), rtol=1e-5)


@pytest.mark.parametrize("missing", ["views", "numbers"])
def test_the_best_sigma_is_that_of_what_is_there(missing, views, rng):
    hidden = rng.random((50, 8)) < 0.4 if missing == "numbers" else np.arange(50)[:, None].repeat(8, axis=1) % 3 == 0
    vae = VAE(Encoder(MLP((8,)), 2), Decoder(MLP((8,)), likelihood="optimal_gaussian"), seed=0)
    x = vae.prepare(views | {"b": np.ma.masked_array(np.where(hidden, 50.0, views["b"]), hidden)})
    z = vae.encode(x).mean[None]
    likelihood = vae.decoder.likelihoods["b"]
    p = vae.decode(z)["b"]
    exact = np.square(np.array(p.mean)[0] - views["b"])[~hidden].mean()
    vae.decoder.log_px(x, z, training=True, keep=True)
    assert float(likelihood.variance) == pytest.approx(exact, rel=1e-4)


def test_weights_of_views_are_the_objectives_alone(views):
    models = [small(view_weights=weights) for weights in (None, {"a": 1.0}, {"b": 3.0}, "size")]
    for model in models:
        model(views)
        model.set_weights(models[0].get_weights())
        model.noise.state.assign([1, 1])
    z = models[0].encode(views).sample(keras.random.SeedGenerator(0), 1)
    found = [model(views) for model in models]
    by_view = models[0].decoder.log_px(views, z)
    assert set(by_view) == set(views)
    np.testing.assert_array_equal(found[0].loss, found[1].loss)
    for one in found[1:]:
        np.testing.assert_array_equal(one.distortion, found[0].distortion)
        np.testing.assert_array_equal(one.rate, found[0].rate)
    assert not np.allclose(found[2].loss, found[0].loss)
    for model in models:
        np.testing.assert_array_equal(model.log_likelihood(views, 20), models[0].log_likelihood(views, 20))
    # -L = -sum_v w_v log p(x_v|z) + KL, and -log p is the distortion where all weigh 1.
    z, _ = models[0].encode(views).sample_and_log_prob(state(models[0]), 1)
    logs = {view: np.array(one)[0] for view, one in models[0].decoder.log_px(views, z).items()}
    for index, weights in ((2, {"a": 1, "b": 3, "c": 1}), (3, {"a": 1 / 6, "b": 1 / 8, "c": 1 / 4})):
        expected = -sum(weights[view] * logs[view] for view in logs) + np.array(found[index].rate)
        np.testing.assert_allclose(found[index].loss, expected, rtol=1e-4)


def state(model):
    """The noise of a model where `test_weights_of_views_are_the_objectives_alone` began."""
    noise = keras.random.SeedGenerator(0)
    noise.state.assign([1, 1])
    return noise


def test_each_view_has_its_own_network_and_likelihood(rng):
    x = {"image": rng.random((40, 8, 8, 1), "float32"), "bits": (rng.random((40, 5)) < 0.5).astype("float32")}
    vae = VAE(
        Encoder({"image": "conv:filters=[4,8]", "bits": MLP((8,))}, 3),
        Decoder(likelihood={"image": "laplace", "bits": "bernoulli"}),
        seed=0,
    )
    compiled(vae).fit(x, epochs=1, verbose=0)
    assert {name: type(p).__name__ for name, p in vae.decode(np.zeros((2, 3))).views.items()} == {
        "bits": "Bernoulli",
        "image": "Laplace",
    }
    assert vae.reconstruct(x)["image"].shape == (40, 8, 8, 1)
    assert vae.predict(x, verbose=0)["bits"].shape == (40, 5)
    again = VAE.from_config(vae.get_config())
    again.build({"image": (None, 8, 8, 1), "bits": (None, 5)})
    again.set_weights(vae.get_weights())
    np.testing.assert_array_equal(again.reconstruct(x)["bits"], vae.reconstruct(x)["bits"])


# ---- How it learns


PARTS = [
    *[{"posterior": name} for name in ("diagonal_gaussian", "full_gaussian")],
    *[
        {"prior": name}
        for name in ("mixture_of_gaussians:components=3", "real_nvp:couplings=2,hidden=4", "vamp:pseudo_inputs=4")
    ],
    *[{"objective": name} for name in own(Objective)],
]


MIXTURES_LACK = ("beta_tc", "dipvae", "dreg", "mvtcae", "vamp:pseudo_inputs=4")
PRODUCTS_LACK = ("component_elbo", "mmvae")


@pytest.mark.parametrize(("fusion", "parts"), itertools.product(FUSIONS, PARTS), ids=str)
def test_every_fusion_learns_with_every_part_or_says_why_not(fusion, parts, views):
    vae = compiled(small(fusion, **parts), run_eagerly=True)
    kind, name = next(iter(parts.items()))
    if name in (PRODUCTS_LACK if fusion == "product_of_experts" else MIXTURES_LACK):
        with pytest.raises(
            UsageError, match=f"{kind} {name.split(':')[0]}: .*received fusion .*choose another of the two"
        ):
            vae(views)
        return
    history = vae.fit(views, epochs=1, batch_size=25, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert all(np.isfinite(np.array(weight)).all() for weight in vae.weights)
    assert np.isfinite(vae.log_likelihood({"a": views["a"]}, 5)).all()


def test_the_lists_above_have_all_parts():
    tried = {str(value).split(":")[0] for parts in PARTS for value in parts.values()}
    rest = {"standard_normal", "iaf", "conditional_gaussian"}  # the last in test_conditions.py
    assert {*own(Objective), *own(Prior), *own(Posterior)} - tried == rest
    assert set(own(Fusion)) == set(FUSIONS)


def test_predict_knows_what_is_missing(views):
    """Of a view, of some pixels, and of one array; Keras would take what is hidden for what is there."""
    vae = compiled(small())
    hidden = np.repeat(np.arange(50)[:, None] % 3 == 0, 8, axis=1)
    some = views | {"b": np.ma.masked_array(views["b"], hidden), "c": np.ma.masked_less(views["c"], 0.2)}
    vae.fit(some, verbose=0)
    for view, found in vae.predict(some, batch_size=7, verbose=0).items():
        np.testing.assert_allclose(found, vae.reconstruct(some)[view], rtol=1e-5)
    one = compiled(VAE(Encoder(MLP((8,)), 2), Decoder(MLP((8,))), seed=0))
    one.fit(some["c"], verbose=0)
    np.testing.assert_allclose(one.predict(some["c"], verbose=0), one.reconstruct(some["c"]), rtol=1e-5)
    assert np.abs(one.predict(some["c"], verbose=0) - one.predict(views["c"], verbose=0)).max() > 1e-5


def test_a_flow_is_no_expert(views):
    with pytest.raises(
        UsageError, match=r"fusion product_of_experts: expected diagonal_gaussian or full_gaussian .* received iaf"
    ):
        small(posterior="iaf:steps=1,hidden=4,context=2")(views)


@pytest.mark.parametrize("jit", [False, True])
def test_the_programs_compute_what_a_step_by_step_training_does(jit, views):
    masked = views | {"b": np.ma.masked_array(views["b"], (np.arange(50) % 2 == 0)[:, None].repeat(8, axis=1))}
    many = compiled(small("mixture_of_products"), jit_compile=jit, steps_per_execution=3)
    one = compiled(small("mixture_of_products"), jit_compile=jit, steps_per_execution=1)
    found = many.fit(masked, epochs=2, batch_size=20, verbose=0).history["loss"]
    np.testing.assert_allclose(found, one.fit(masked, epochs=2, batch_size=20, verbose=0).history["loss"], rtol=1e-5)


def test_weights_of_examples_and_validation(views):
    half = np.repeat([1.0, 0.0], 25).astype("float32")
    vae, some = compiled(small()), compiled(small())
    options = {"epochs": 2, "batch_size": 50, "verbose": 0, "shuffle": False}
    history = vae.fit(views, sample_weight=half, validation_data=views, **options).history
    assert np.isfinite(history["val_loss"]).all()
    assert compiled(small()).fit(views, validation_split=0.2, **options).history["val_loss"]
    assert some.evaluate(views, verbose=0)


@pytest.mark.parametrize("kind", ["dataset", "generator", "py_dataset"])
def test_batches_of_views(kind, views):
    masked = Masked(views["b"], (np.arange(50) % 2).astype("float32"))
    data = tf.data.Dataset.from_tensor_slices(views | {"b": masked}).batch(20)
    if kind == "generator":
        batches = list(data)
        data = (batch for batch in batches)
    if kind == "py_dataset":

        class Few(keras.utils.PyDataset):
            num_batches = 2

            def __getitem__(self, number):
                return {name: one[25 * number :][:25] for name, one in views.items()}

        data = Few()
    vae = compiled(small())
    assert np.isfinite(vae.fit(data, epochs=1, verbose=0).history["loss"]).all()
    if kind == "dataset":
        assert vae.encode(data).mean.shape == (50, 2)
        assert np.isfinite(vae.evaluate(data, verbose=0)).all()


@pytest.mark.parametrize("fusion", FUSIONS)
def test_saved_and_loaded_it_goes_on_as_if_it_never_had_been(fusion, views, tmp_path):
    vae = compiled(
        small(fusion, "full_gaussian", prior="mixture_of_gaussians" if "product_of" in fusion else "real_nvp")
    )
    vae.fit(views, epochs=1, batch_size=25, verbose=0)
    vae.save(tmp_path / "views.keras")
    again = keras.saving.load_model(tmp_path / "views.keras")
    np.testing.assert_array_equal(again.encode(views).mean, vae.encode(views).mean)
    first, second = (model.fit(views, epochs=1, batch_size=25, verbose=0).history["loss"] for model in (vae, again))
    assert first == second
    vae.save_weights(tmp_path / "views.weights.h5")
    other = small(fusion, "full_gaussian", seed=5, prior=vae.prior.spec())
    other(views)
    other.load_weights(tmp_path / "views.weights.h5")
    np.testing.assert_array_equal(other.encode(views).mean, vae.encode(views).mean)


# ---- What it refuses


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x | {"d": x["a"]}, "x: expected some of the views a, b, c, received 'd'"),
        (
            lambda x: x | {"b": x["b"][:7]},
            r"x: expected as many examples of each view, received 50 of a, 7 of b, 50 of c",
        ),
        (lambda x: x | {"b": x["b"][:, :3]}, r"x\['b'\]: expected examples of shape \(8,\), received \(3,\)"),
        (lambda x: {}, "x: expected some of the views a, b, c, received none"),
        (lambda x: x["a"], "x: expected a dict of the views a, b, c, received ndarray"),
        (lambda x: {1: x["a"]}, "x: expected some of the views a, b, c, received 1"),
        (lambda x: x | {"b": "no array"}, r"x\['b'\]: expected an array \(N, ...\), received str"),
    ],
)
def test_views_that_do_not_fit(change, message, views):
    vae = compiled(small())
    vae(views)
    for method in (vae.encode, vae.reconstruct, vae.log_likelihood, vae.fit):
        with pytest.raises(UsageError, match=message):
            method(change(views))


def test_an_example_of_which_nothing_is_there(views):
    nothing = np.array([1] * 45 + [0] * 5, "float32")
    x = {name: Masked(one, nothing) for name, one in views.items()}
    message = (
        "x: expected something of every example, received 5 examples of which nothing is there, the first at index 45"
    )
    with pytest.raises(DataError, match=message):
        compiled(small()).fit(x, verbose=0)
    with pytest.raises(DataError, match=message):
        compiled(small()).fit(tf.data.Dataset.from_tensor_slices(x).batch(50), verbose=0)
    alone = np.ma.masked_array(views["a"], (nothing == 0)[:, None].repeat(6, axis=1))
    with pytest.raises(DataError, match=message):
        compiled(small()).fit(alone, verbose=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VAE(Encoder({"a": "mlp", "z": "mlp"})), "network: expected the views a, b, c, received z too"),
        (
            lambda: VAE(Encoder({"a": "mlp", "b": "mlp"})),
            "network: expected one for each view, received none for c, but for a, b",
        ),
        (
            lambda: VAE(decoder=Decoder(likelihood={"a": "gaussian"})),
            "likelihood: expected one for each view, received none for b",
        ),
        (lambda: small(view_weights={"z": 2.0}), "view_weights: expected the views a, b, c, received z too"),
        (lambda: small(view_weights={"a": -2.0}), r"view_weights\['a'\]: expected a number from 0, received -2.0"),
        (
            lambda: small(view_weights="all"),
            "view_weights: expected a dict view -> weight, 'size' or None, received 'all'",
        ),
        (lambda: small("sum_of_experts"), "fusion: expected one of mixture_of_experts, .*received 'sum_of_experts'"),
        (
            lambda: VAE(Encoder(keras.layers.Dense(4), 2)),
            "network: expected a dict of one for each view, received one Keras layer",
        ),
        (lambda: small(objective="mvtcae:alpha=2"), r"alpha: expected a number in \[0, 1\], received 2"),
        (lambda: small(objective="mvae:random_sets=-1"), "random_sets: expected a whole number from 0, received -1"),
    ],
)
def test_parts_that_do_not_fit(make, message, views):
    with pytest.raises(UsageError, match=message):
        make()(views)


def test_eleven_views_are_too_many_for_all_their_sets(views):
    x = {f"v{i}": views["a"] for i in range(11)}
    with pytest.raises(UsageError, match="fusion mixture_of_products: expected at most 10 views, received 11"):
        small("mixture_of_products")(x)


def test_objectives_of_views_need_views(views):
    for name in ("mvae", "mvtcae", "mmvae", "component_elbo"):
        with pytest.raises(
            UsageError, match=f"objective {name}: expected data of several views, .* received one tensor"
        ):
            small(objective=name)(views["a"])


def test_numbers_that_are_none_name_their_view(views):
    views["b"][3, 2] = np.nan
    with pytest.raises(DataError, match=r"x\['b'\]: expected finite numbers, received NaN .* index 3"):
        compiled(small()).fit(views, verbose=0)
    with pytest.raises(DataError, match=r"x\['a'\]: expected pixels in \[0, 1\]"):
        compiled(small()).fit({"a": (255 * views["a"]).astype("uint8")}, verbose=0)


def test_what_is_for_one_tensor_says_so(views):
    vae = small()
    vae(views)
    with pytest.raises(DataError, match="data: expected a dict of the views a, b, c, or a pair of it and labels"):
        bicoder.evaluate(vae, views["a"])
    with pytest.raises(
        UsageError, match="mean_model: expected an encoder of one tensor, received one of the views a, b, c"
    ):
        vae.encoder.mean_model()
