"""The decoder in the page: it gives the pictures that the model gives, or says why it cannot."""

import base64
import json
import re
from collections import Counter
from importlib.resources import files

import keras
import numpy as np
import pytest
from browser import running_browser
from keras import activations, layers, ops

from bicoder import VAE, Decoder, Encoder
from bicoder.engine.arrays.conditioned import Conditioned
from bicoder.likelihoods import DiscretizedLogisticLikelihood, GaussianLikelihood, Likelihood
from bicoder.networks import MLP, Conv, Residual, networks_in
from bicoder.pictures.report import decoder_program as programs
from bicoder.pictures.report.decoder_program import MEANS, Answer, Program, decoder_program, decoder_programs, for_page
from bicoder.pictures.report.known_layers import ACTIVATIONS

EXACT = 1e-5  # of a pixel in [0, 1]
LATENT, CODES = 5, 4
PAGE = """<!doctype html><meta charset="utf-8"><script>"use strict";
(() => {{
  {script}
  const floats = text => new Float32Array(Uint8Array.from(atob(text), c => c.charCodeAt(0)).buffer);
  globalThis.make = (program, weights) => makeDecoder(JSON.parse(program), floats(weights));
}})();</script>"""
TOP_NAME = r"^(?:const|let|class|function\*?|async function) (\w+)"
# Milliseconds of one decoding, the best of some portions: what else the machine does is not what is measured.
MEASURE = """
const decode = make(arguments[0], arguments[1]), code = arguments[2], times = [];
for (let portion = 0; portion < 5; portion++) {
  const start = performance.now();
  for (let i = 0; i < 10; i++) decode(code);
  times.push((performance.now() - start) / 10);
}
return Math.min(...times);
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Function (script, *arguments) -> what the script returns in a page that has `make(program, weights)`."""
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(PAGE.format(script=scripts()["decoder.js"]), encoding="utf-8")
    with running_browser() as browser:
        browser.open(path, ready=False)
        yield browser.js


def in_page(answer, view=""):
    """A program and its weights as text, as the page has them; beside something else, as those of other views are."""
    others = Answer(Program(1, [], 0, np.full(7, np.nan, "float32"), 0), "")
    taken, weights = for_page({"another": others, view: answer})
    assert taken[view]["first"] == 7
    return json.dumps(taken[view]), base64.b64encode(weights.astype("<f4").tobytes()).decode()


def decoded(run, answer, codes):
    """What the page makes of codes (n, inputs), each flat: (n, pixels)."""
    assert answer.program is not None, answer.why
    script = "return arguments[2].map(make(arguments[0], arguments[1])).map(image => Array.from(image))"
    return np.array(run(script, *in_page(answer), codes.tolist()))


def awake(model, rng):
    """A model whose weights are all of some size, also those that are 0 or 1 at first; of pictures in [0, 1]."""
    for variable in model.variables:
        if variable.dtype.startswith("float"):
            value = ops.convert_to_numpy(variable)
            noise = rng.normal(size=value.shape) * (0.05 if value.ndim > 1 else 0.2)
            variable.assign(np.abs(value + noise) if "variance" in variable.path else value + noise)


def model_of(network, shape, likelihood, rng, latent=LATENT, **options):
    vae = VAE(Encoder(MLP((4,)), latent), Decoder(network, shape, likelihood), seed=0, **options)
    vae.build((None, *shape))
    awake(vae.decoder, rng)
    return vae


def compare(run, vae, rng):
    """The pictures of the page beside those of the model."""
    codes = rng.normal(size=(CODES, vae.latent_dim)).astype("float32")
    expected = ops.convert_to_numpy(vae.decode(codes).mean).reshape(CODES, -1)
    assert expected.std() > 0.01, "nothing to see"
    np.testing.assert_allclose(decoded(run, decoder_program(vae.decoder), codes), expected, rtol=0, atol=EXACT)


# Every network with some of the likelihoods, and every likelihood with some of the networks.
PAIRS = {
    "contract, vectors": (MLP(), (784,), "gaussian"),
    "contract, colour": (Conv(), (28, 28, 3), "gaussian"),
    "contract, grey": (Conv(), (28, 28, 1), "bernoulli"),
    "mlp, label": (MLP((9, 7), "tanh"), (10,), "categorical"),
    "mlp, image": (MLP((30,)), (6, 5, 2), "discretized_logistic"),
    "mlp, rows of labels": (MLP((30,)), (4, 3), "categorical"),
    "mlp, continuous": (MLP((30,), "silu"), (64,), "continuous_bernoulli"),
    "conv, odd": (Conv((8, 16, 6)), (13, 9, 3), "continuous_bernoulli"),
    "conv, even and odd": (Conv((8, 5), 5, "elu"), (12, 7, 2), "per_pixel_gaussian"),
    "conv, wide kernel": (Conv((4, 4), 11), (10, 11, 1), "discretized_logistic"),
    "conv, laplace": (Conv((8, 8)), (8, 8, 4), "laplace"),
    "residual, odd": (Residual((8, 12)), (13, 7, 3), "optimal_gaussian"),
    "residual, even": (Residual((8, 16, 6), blocks=2), (8, 12, 1), "per_pixel_gaussian"),
    "residual, logistic": (Residual((4, 8)), (6, 6, 3), "discretized_logistic"),
    "residual, bernoulli": (Residual((8,)), (5, 5, 1), "bernoulli"),
}


@pytest.mark.parametrize("name", PAIRS)
def test_the_page_decodes_what_the_model_does(name, run, rng):
    network, shape, likelihood = PAIRS[name]
    compare(run, model_of(network, shape, likelihood, rng), rng)


def test_every_likelihood_of_the_package_is_known():
    package = {member for member in Likelihood.members().values() if member.__module__.startswith("bicoder.")}
    assert set(MEANS) == package


LAYERS = {
    "sequence": [
        *(layers.Dense(48), layers.BatchNormalization(), layers.LeakyReLU(0.1), layers.GaussianNoise(0.5)),
        *(layers.Reshape((4, 4, 3)), layers.UpSampling2D((2, 1)), layers.Cropping2D(((1, 2), (0, 1)))),
        *(layers.Conv2D(6, (2, 3), padding="valid", use_bias=False), layers.ELU(0.5), layers.Dropout(0.5)),
        *(layers.GroupNormalization(-1, scale=False), layers.ReLU(2.0, 0.3), layers.Dense(3, "softplus")),
        *(layers.Flatten(), layers.Dense(30, layers.LeakyReLU(0.2)), layers.Reshape((5, 6))),
    ],
    "strides": [
        *(layers.Dense(2 * 3 * 4), layers.Reshape((2, 3, 4)), layers.Conv2DTranspose(5, (2, 4), (2, 3), "valid")),
        *(layers.Conv2DTranspose(3, 4, (1, 2), "same"), layers.GroupNormalization(3, center=False)),
        *(layers.Conv2D(6, (4, 2), (2, 3), "same", activation="relu6"), layers.Flatten(), layers.Dense(30)),
        *(layers.Activation("softmax"), layers.Reshape((5, 6)), layers.BatchNormalization(scale=False, center=False)),
    ],
    "nested": [
        keras.Sequential([layers.Dense(7, "relu"), keras.Sequential([layers.Dense(9, "gelu")])]),
        *(layers.Dense(30), layers.Reshape((5, 6))),
    ],
}


@pytest.mark.parametrize("name", LAYERS)
def test_networks_of_the_users(name, run, rng):
    network = keras.Sequential([layer.from_config(layer.get_config()) for layer in LAYERS[name]])
    compare(run, model_of(network, (5, 6), "gaussian", rng), rng)


def test_a_graph(run, rng):
    """With a layer that is called twice, a branch, and a model and a sequence inside."""
    x = keras.Input((LATENT,))
    twice = layers.Dense(LATENT, "tanh")
    inner = keras.Model(y := keras.Input((LATENT,)), layers.Add()([layers.Dense(LATENT)(y), y, y]))
    first = twice(x)
    both = layers.Add()([twice(first), inner(x), inner(first), keras.Sequential([layers.Dense(LATENT)])(x)])
    network = keras.Model(x, layers.Dense(30)(both))
    vae = model_of(network, (30,), "gaussian", rng)
    compare(run, vae, rng)
    weights = decoder_program(vae.decoder).program.weights
    assert len(weights) == network.count_params(), "each weight once, also of what is called twice"


def test_activations(run, rng):
    """All of them, over the numbers at which they do something, and far away."""
    numbers = np.concatenate([np.linspace(-8, 8, 161), [-90.0, -30.0, -1e-3, 1e-3, 30.0]]).astype("float32")
    names = {function.__name__ for function in ACTIVATIONS} | {"linear", "softmax"}
    for name in sorted(names):
        function = getattr(activations, name)
        network = keras.Sequential([layers.Activation(function)])
        vae = VAE(Encoder(MLP((4,)), len(numbers)), Decoder(network, (len(numbers),)), seed=0)
        vae.build((None, len(numbers)))
        expected = ops.convert_to_numpy(function(ops.convert_to_tensor(numbers[None])))
        received = decoded(run, decoder_program(vae.decoder), numbers[None])
        np.testing.assert_allclose(received, expected, rtol=2e-6, atol=2e-6, err_msg=name)


@pytest.mark.parametrize("condition", ["labels:classes=3", "embedding:classes=3,dim=4"])
def test_a_condition_stands_beside_the_code(condition, run, rng):
    vae = VAE(Encoder(MLP((4,)), LATENT), Decoder(Conv((8, 8)), likelihood="bernoulli"), condition=condition, seed=0)
    x, labels = rng.random((CODES, 8, 8, 1)).round().astype("float32"), np.arange(CODES) % 3
    vae(Conditioned(x, labels.astype("float32")))
    awake(vae.decoder, rng)
    codes = rng.normal(size=(CODES, LATENT)).astype("float32")
    expected = ops.convert_to_numpy(vae.decode(codes, labels).mean).reshape(CODES, -1)
    beside = ops.convert_to_numpy(vae.condition(labels))
    received = decoded(run, decoder_program(vae.decoder), np.concatenate([codes, beside], axis=1))
    np.testing.assert_allclose(received, expected, rtol=0, atol=EXACT)


def test_each_view_has_its_own(run, rng):
    shapes = {"image": (9, 8, 3), "label": (4,)}
    networks = {"image": "residual:filters=[8,8]", "label": "mlp"}
    decoder = Decoder(networks, likelihood={"image": "laplace", "label": "categorical"})
    vae = VAE(Encoder("mlp", LATENT), decoder, seed=0)
    vae.build({view: (None, *shape) for view, shape in shapes.items()})
    awake(vae.decoder, rng)
    codes = rng.normal(size=(CODES, LATENT)).astype("float32")
    expected = vae.decode(codes).mean
    for view, answer in decoder_programs(vae.decoder).items():
        own = ops.convert_to_numpy(expected[view]).reshape(CODES, -1)
        np.testing.assert_allclose(decoded(run, answer, codes), own, rtol=0, atol=EXACT, err_msg=view)


@pytest.mark.fault(233)
def test_half_precision_is_about_the_same(run, rng):
    """And says so: the page computes in float32 with the same weights, which is more exact."""
    with networks_in("mixed_bfloat16"):
        vae = model_of(Conv(), (28, 28, 1), "bernoulli", rng)
    answer = decoder_program(vae.decoder)
    assert answer.why.startswith("about what the model gives: it computes in bfloat16")
    codes = rng.normal(size=(CODES, LATENT)).astype("float32")
    expected = ops.convert_to_numpy(vae.decode(codes).mean).reshape(CODES, -1)
    np.testing.assert_allclose(decoded(run, answer, codes), expected, rtol=0, atol=0.02)


def test_a_code_of_another_length_is_refused(run, rng):
    answer = decoder_program(model_of(MLP((4,)), (9,), "gaussian", rng).decoder)
    script = "try { make(arguments[0], arguments[1])([1, 2]) } catch (error) { return error.message }"
    assert run(script, *in_page(answer)) == "code: expected 5 numbers, received 2"


@pytest.mark.timing
@pytest.mark.parametrize("name", [name for name in PAIRS if name.startswith("contract")])
def test_thirty_pictures_a_second(name, run, rng):
    network, shape, likelihood = PAIRS[name]
    vae = model_of(network, shape, likelihood, rng, network.latent_dim)
    answer = decoder_program(vae.decoder)
    assert run(MEASURE, *in_page(answer), [0.5] * vae.latent_dim) < 1000 / 30


class MyDense(layers.Dense):
    """May do anything."""


class MyModel(keras.Model):
    """A functional model with something of its own."""


class MyDecoder(Decoder):
    """A decoder that may do anything."""


class BrightLikelihood(GaussianLikelihood):
    """Its mean is another."""

    def call(self, raw):
        return super().call(raw + 1.0)


class WideLikelihood(DiscretizedLogisticLikelihood):
    """Its mean is that of its base."""

    low = -1.0


def sequence(*parts):
    return keras.Sequential([*parts, layers.Flatten(), layers.Dense(9)])


def graph(function):
    x = keras.Input((LATENT,))
    return keras.Model(x, layers.Dense(9)(function(x)))


def image(*parts):
    return sequence(layers.Dense(32), layers.Reshape((4, 4, 2)), *parts)


UNKNOWN = {
    "the layer MyDense is not known": lambda: sequence(MyDense(3)),
    "the layer Lambda is not known": lambda: sequence(layers.Lambda(lambda x: x)),
    "the layer LayerNormalization is not known": lambda: sequence(layers.LayerNormalization()),
    "the activation <lambda> is not known": lambda: sequence(layers.Dense(3, lambda x: x)),
    "the activation glu is not known": lambda: sequence(layers.Dense(4, activations.glu)),
    "the layer MyDense is not known to": lambda: graph(MyDense(3)),
    "the layer Multiply is not known": lambda: graph(lambda x: layers.Multiply()([x, x])),
    "the layer Abs": lambda: graph(ops.abs),
    "the layer MyModel": lambda: MyModel(x := keras.Input((LATENT,)), layers.Dense(9)(x)),
    "a layer Dropout is called with more than tensors": lambda: graph(lambda x: layers.Dropout(0.5)(x, training=True)),
    "a layer Add has inputs of several shapes": lambda: graph(lambda x: layers.Add()([x, layers.Dense(1)(x)])),
    "a layer ReLU has a threshold": lambda: sequence(layers.ReLU(threshold=1.0)),
    "a layer Conv2D has groups or a dilation": lambda: image(layers.Conv2D(2, 3, dilation_rate=2, padding="same")),
    "a layer Conv2D has groups": lambda: image(layers.Conv2D(2, 3, groups=2)),
    "a layer Cropping2D has its channels first": lambda: image(layers.Cropping2D(((1, 1), (0, 0)), "channels_first")),
    "a layer Flatten has its channels first": lambda: image(layers.Flatten(data_format="channels_first")),
    "a layer UpSampling2D has the interpolation": lambda: image(layers.UpSampling2D(interpolation="bilinear")),
    "a layer GroupNormalization has another axis": lambda: image(layers.GroupNormalization(2, axis=1)),
    "a layer BatchNormalization has another axis": lambda: image(layers.BatchNormalization(axis=2)),
}


@pytest.mark.fault(231)
@pytest.mark.parametrize("reason", UNKNOWN)
def test_what_is_not_known_says_so(reason, rng):
    vae = model_of(UNKNOWN[reason](), (9,), "gaussian", rng)
    assert decoder_program(vae.decoder).program is None
    assert decoder_program(vae.decoder).why.startswith(f"the page cannot decode: {reason}")


@pytest.mark.fault(231)
def test_a_likelihood_of_the_users(rng):
    vae = model_of(MLP((4,)), (9,), BrightLikelihood(), rng)
    why = "the page cannot decode: the mean of the likelihood bright is not known to the page"
    assert decoder_program(vae.decoder) == Answer(None, why)


def test_a_likelihood_keeps_the_mean_of_its_base(run, rng):
    compare(run, model_of(MLP((4,)), (9,), WideLikelihood(), rng), rng)


@pytest.mark.fault(231)
def test_a_decoder_of_the_users():
    vae = VAE(Encoder(MLP((4,)), LATENT), MyDecoder(MLP((4,)), (9,)))
    vae.build((None, 9))
    assert decoder_program(vae.decoder).why == "the page cannot decode: the decoder MyDecoder is not known to the page"


def test_a_quantized_layer(rng):
    network = sequence(layers.Dense(8))
    vae = model_of(network, (9,), "gaussian", rng)
    network.layers[0].quantize("int8")
    assert decoder_program(vae.decoder).why == "the page cannot decode: a layer Dense is quantized"


@pytest.mark.fault(232)
def test_too_slow_or_too_large(rng):
    slow = decoder_program(model_of(Residual(), (64, 64, 3), "gaussian", rng).decoder)
    why = "an image takes 384 million multiplications, and 100 million are quick enough"
    assert slow == Answer(None, f"the page cannot decode: {why}")
    large = decoder_program(model_of(MLP((2000,)), (1600,), "gaussian", rng).decoder)
    why = "it has 3,213,600 weights, and a page holds at most 3,000,000"
    assert large == Answer(None, f"the page cannot decode: {why}")


@pytest.mark.fault(232)
@pytest.mark.parametrize(
    ("name", "limit", "reason"),
    [
        ("MOST_WEIGHTS", 500, "it has 543 weights, and a page holds at most 500"),
        ("MOST_WORK", 600, "an image takes 0 million multiplications, and 0 million are quick enough"),
    ],
)
def test_all_views_together_may_be_too_large(name, limit, reason, monkeypatch):
    vae = VAE(Encoder("mlp:hidden=[4]", LATENT), Decoder("mlp:hidden=[4]", likelihood="bernoulli"), seed=0)
    vae.build({"a": (None, 9), "b": (None, 90), "c": (None, 9)})
    monkeypatch.setattr(programs, name, limit)
    answers = decoder_programs(vae.decoder)
    assert answers["b"] == Answer(None, f"the page cannot decode: with the views before it, {reason}")
    taken, weights = for_page(answers)
    assert [taken["a"]["first"], taken["b"], taken["c"]["first"]] == [0, None, 69]
    assert len(weights) == 2 * 69


def test_multiplications_are_counted(rng):
    """Of the contract's convolutions: Dense 5 x 2048, then three transposed ones, and one for each number written."""
    found = decoder_program(model_of(Conv(), (28, 28, 3), "gaussian", rng).decoder).program
    products = 5 * 2048 + 4 * 4 * 9 * 128 * 64 + 7 * 7 * 9 * 64 * 32 + 14 * 14 * 9 * 32 * 3
    written = 2 * (2048 + 7 * 7 * 64 + 14 * 14 * 32) + 28 * 28 * 3
    assert found.work == products + written


def scripts():
    """File name -> the scripts of the page, which are joined to one."""
    folder = files("bicoder.pictures.report")
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir() if path.name.endswith(".js")}


def test_scripts_are_part_of_a_page():
    """No line of them ends the script element early, and each is as long as people can read."""
    for name, script in scripts().items():
        assert "</" not in script, name
        assert "<!--" not in script, name
        assert max(map(len, script.splitlines())) <= 120, name


def test_names_of_scripts_are_their_own():
    """The later of two functions of one name would take the place of the other in silence."""
    found = [name for script in scripts().values() for name in re.findall(TOP_NAME, script, re.MULTILINE)]
    assert len(found) > 20
    assert [name for name, count in Counter(found).items() if count > 1] == []
