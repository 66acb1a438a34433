"""What a model is handed to encode and decode: portions, data sets, lists, and what is refused in one line."""

import keras
import numpy as np
import pytest
import scipy.sparse
import tensorflow as tf

from bicoder import VAE, Decoder, Encoder
from bicoder.engine.arrays import inputs
from bicoder.errors import UsageError
from bicoder.networks import MLP


class Numbered(keras.utils.PyDataset):
    """Batches of seven."""

    def __init__(self, x):
        super().__init__()
        self.x = x

    @property
    def num_batches(self):
        return -(-len(self.x) // 7)

    def __getitem__(self, number):
        return (self.x[7 * number : 7 * number + 7], None)


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).random((40, 12)).astype("float32")


@pytest.fixture(scope="module")
def vae(x):
    vae = VAE(Encoder(MLP((16,)), 3), Decoder(MLP((16,))), seed=0)
    vae.compile("adam")
    vae(x)
    return vae


@pytest.mark.tensorflow
@pytest.mark.fault(104)
def test_large_arrays_go_through_the_network_in_portions(vae, x, monkeypatch):
    whole = vae.encode(x), vae.reconstruct(x), vae.generate(40, seed=1)
    monkeypatch.setattr(inputs, "NUMBERS", 10 * inputs.WIDTH)
    seen = []
    body = vae.encoder.body.call
    monkeypatch.setattr(vae.encoder.body, "call", lambda x, **options: seen.append(x.shape[0]) or body(x, **options))
    with tf.GradientTape() as tape:
        portions = vae.encode(x), vae.reconstruct(x), vae.generate(40, seed=1)
        loss = tf.reduce_sum(portions[0].mean)
    assert seen == [10] * 8  # to encode, and once more to reconstruct
    np.testing.assert_allclose(portions[0].mean, whole[0].mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(portions[0].log_scale, whole[0].log_scale, rtol=1e-5, atol=1e-6)
    for one, other in zip(portions[1:], whole[1:], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    gradient = tape.gradient(loss, vae.encoder.trainable_variables[0].value)
    assert np.isfinite(gradient).all()
    assert tf.function(lambda x: vae.encode(x).mean)(x).shape == (40, 3)


SOURCES = {
    "tf.data": lambda x: tf.data.Dataset.from_tensor_slices((x, x[:, 0])).batch(7),
    "PyDataset": Numbered,
    "a generator": lambda x: (x[i : i + 7] for i in range(0, 40, 7)),
    "a list of arrays": list,
    "a list of tensors": lambda x: list(tf.constant(x)),
    "lists of numbers": lambda x: x.tolist(),
}


@pytest.mark.fault(104)
@pytest.mark.parametrize("kind", SOURCES)
def test_codes_of_data_in_any_form(kind, vae, x):
    for use in (lambda data: vae.encode(data).mean, vae.reconstruct):
        np.testing.assert_allclose(use(SOURCES[kind](x)), use(x), rtol=1e-5, atol=1e-6)


@pytest.mark.fault(104)
@pytest.mark.parametrize("prior", ["standard_normal", "mixture_of_gaussians", "vamp", "real_nvp"])
def test_a_code_may_have_one_dimension(prior, x):
    vae = VAE(Encoder(MLP((4,)), 1), Decoder(MLP((4,))), prior=prior, seed=0)
    assert np.isfinite(vae(x).loss).all()
    assert vae.generate(3, seed=0).shape == (3, 12)
    if prior == "real_nvp":  # there is nothing that could be a function of the other half
        np.testing.assert_allclose(vae.prior.log_prob(np.float32([[1.0]])), -0.5 * np.log(2 * np.pi) - 0.5, rtol=1e-6)


IMAGE = np.zeros((2, 8, 8, 1), "float32")
INPUT = keras.Input((12,))


@pytest.mark.tensorflow
@pytest.mark.fault(105)
@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda vae, x: vae.encode(x[0]), r"x: expected examples \(N, 12\), received one of them; use x\[None\]"),
        (lambda vae, x: vae.predict(x[0], verbose=0), r"received one of them; use x\[None\]"),
        (lambda vae, x: vae.encode(3.0), r"x: expected an array \(N, ...\), received float"),
        (
            lambda vae, x: vae.encode([x[0], x[1, :5]]),
            r"of one shape, received \(5,\), \(12,\); bring them to one size",
        ),
        (lambda vae, x: vae.encode([[1.0, 2.0], [3.0]]), "x: expected examples of one shape, received lists"),
        (
            lambda vae, x: vae.encode(scipy.sparse.csr_matrix(x)),
            r"received a scipy.sparse csr_matrix; use x.toarray\(\)",
        ),
        (lambda vae, x: vae.fit(scipy.sparse.csr_matrix(x), verbose=0), r"received a scipy.sparse csr_matrix; use"),
        (lambda vae, x: vae.fit([x[0], x[1, :5]], verbose=0), r"of one shape, received \(5,\), \(12,\); bring them to"),
        (lambda vae, x: vae.evaluate([x[0], x[1, :5]], verbose=0), r"of one shape, received \(5,\), \(12,\); bring"),
        (lambda vae, x: vae.encode(INPUT), r"use encoder.mean_model\(\)"),
        (lambda vae, x: vae.encoder(INPUT), r"use encoder.mean_model\(\)"),
        (lambda vae, x: vae.decoder(keras.Input((3,))), "received a keras.Input; use the network, decoder.body"),
        (lambda vae, x: vae.encode(tf.data.Dataset.from_tensors(x).repeat()), "repeated for ever; use take"),
        (lambda vae, x: vae.encode(iter(())), "x: expected at least one batch"),
        (lambda vae, x: vae.decode(np.zeros((2, 7))), r"z: expected codes \(batch, 3\) or .* received shape \(2, 7\)"),
        (lambda vae, x: vae.decode(np.zeros(3)), r"z: expected codes \(batch, 3\) or .* received shape \(3,\)"),
        (
            lambda vae, x: VAE(Encoder("conv", 3)).encode(IMAGE[..., 0]),
            r"received examples of shape \(8, 8\); x\[..., None\] makes images of them",
        ),
        (lambda vae, x: VAE(objective="iwae:20"), "objective: expected iwae:argument=value, received 'iwae:20'"),
        (lambda vae, x: VAE(objective="iwae:samples=20"), "objective iwae: takes num_samples; received"),
        (
            lambda vae, x: VAE(Encoder(two_outputs(), 3)).encode(x),
            r"expected one output of shape \(6,\).* 2 outputs; join",
        ),
        (lambda vae, x: vae.compile(object()), "compile: expected a Keras optimizer, received <object"),
    ],
)
def test_what_it_cannot_take_is_one_clear_error(use, message, vae, x):
    with pytest.raises(UsageError, match=message) as found:
        use(vae, x)
    assert len(str(found.value).splitlines()) == 1


def two_outputs():
    return keras.Model(INPUT, [keras.layers.Dense(3)(INPUT), keras.layers.Dense(3)(INPUT)])


@pytest.mark.fault(105)
def test_images_without_the_axis_of_channels_are_told_what_to_do():
    vae = VAE(Encoder(MLP((4,)), 2), Decoder(MLP((4,))))
    vae(IMAGE)
    with pytest.raises(
        UsageError, match=r"expected examples of shape \(8, 8, 1\), received \(8, 8\); use x\[..., None\]"
    ):
        vae.encode(IMAGE[..., 0])


@pytest.mark.fault(105)
def test_a_part_with_arguments_is_spelt_as_on_the_command_line():
    vae = VAE(
        Encoder("mlp:hidden=[8,4],activation=tanh", 3), Decoder("mlp", likelihood="gaussian:sigma=learned"),
        objective="iwae:num_samples=20", name="mine",
    )  # fmt: skip
    assert (vae.objective.num_samples, vae.decoder.likelihood.sigma, vae.name) == (20, "learned", "mine")
    assert (vae.encoder.network.hidden, vae.encoder.network.activation) == ((8, 4), "tanh")


@pytest.mark.fault(105)
def test_the_mean_of_the_posterior_is_a_functional_model(vae, x, tmp_path):
    classifier = keras.Sequential([vae.encoder.mean_model(), keras.layers.Dense(2)])
    classifier.compile("sgd", "mse")
    np.testing.assert_allclose(classifier.layers[0](x), vae.encode(x).mean, rtol=1e-5, atol=1e-6)
    classifier.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(x), classifier(x), rtol=1e-5, atol=1e-6)
