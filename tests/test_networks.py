"""The contract's two architectures, and any image size."""

import keras
import numpy as np
import pytest

from bicoder.coders import Decoder, Encoder
from bicoder.errors import UsageError
from bicoder.networks import MLP, Conv


def layers_of(network):
    return [layer for layer in network.layers if layer.weights]


def test_mlp_of_the_contract():
    encoder, decoder = MLP().encoder((784,), 40), MLP().decoder((784,), 784)
    encoder.build((None, 784))
    decoder.build((None, 20))
    assert [(d.kernel.shape, d.activation.__name__) for d in layers_of(encoder)] == [
        ((784, 400), "relu"),
        ((400, 40), "linear"),
    ]
    assert [(d.kernel.shape, d.activation.__name__) for d in layers_of(decoder)] == [
        ((20, 400), "relu"),
        ((400, 784), "linear"),
    ]


def test_convolutions_of_the_contract():
    encoder, decoder = Conv().encoder((28, 28, 3), 100), Conv().decoder((28, 28, 3), 3)
    encoder.build((None, 28, 28, 3))
    decoder.build((None, 50))
    first, *transposes = layers_of(decoder)
    convolutions = layers_of(encoder)[:-1]
    assert [(c.filters, c.kernel_size, c.strides, c.padding, c.activation.__name__) for c in convolutions] == [
        (n, (3, 3), (2, 2), "same", "relu") for n in (32, 64, 128)
    ]
    assert layers_of(encoder)[-1].units == 100
    assert (first.units, first.activation.__name__) == (4 * 4 * 128, "relu")
    assert [(t.filters, t.output_padding, t.activation.__name__) for t in transposes] == [
        (64, (0, 0), "relu"),
        (32, (1, 1), "relu"),
        (3, (1, 1), "linear"),
    ]
    assert all((t.kernel_size, t.strides, t.padding) == ((3, 3), (2, 2), "same") for t in transposes)


@pytest.mark.parametrize("shape", [(28, 28, 1), (64, 64, 3), (100, 75, 3), (1, 1, 1), (7, 9, 1), (8, 8, 1)])
def test_convolutions_fit_any_size(shape):
    encoder, decoder = Conv().encoder(shape, 6), Conv().decoder(shape, 2 * shape[-1])
    assert encoder(np.zeros((2, *shape), "float32")).shape == (2, 6)
    assert decoder(np.zeros((2, 3), "float32")).shape == (2, *shape[:-1], 2 * shape[-1])


def test_mlp_takes_images_and_any_depth():
    network = MLP(hidden=(30, 20))
    assert network.encoder((6, 5, 3), 8)(np.zeros((2, 6, 5, 3), "float32")).shape == (2, 8)
    decoder = network.decoder((6, 5, 3), 3)
    assert decoder(np.zeros((2, 4), "float32")).shape == (2, 6, 5, 3)
    assert [d.units for d in layers_of(decoder)] == [20, 30, 90]


def test_initial_weights_follow_from_the_seed():
    def kernels(seed):
        network = MLP().encoder((12,), 4, seed=seed)
        network.build((None, 12))
        return [np.asarray(layer.kernel) for layer in network.layers]

    for one, same, other in zip(kernels(3), kernels(3), kernels(4), strict=True):
        np.testing.assert_array_equal(one, same)
        assert not np.array_equal(one, other)


@pytest.mark.parametrize(
    "bad",
    [
        lambda: Conv().encoder((784,), 40),
        lambda: Conv(kernel_size=4),
        lambda: MLP(hidden=()),
        lambda: MLP(hidden=(0,)),
        lambda: Encoder("mlq"),
        lambda: Encoder(latent_dim=0),
        lambda: Encoder(latent_dim="20"),
        lambda: Encoder(keras.layers.Dense(4)),
        lambda: Decoder(likelihood="gausian"),
    ],
)
def test_bad_arguments_are_usage_errors(bad):
    with pytest.raises(UsageError, match=r"expect|needed"):
        bad()


def test_a_network_of_your_own():
    own = keras.Sequential([keras.layers.Dense(16, "tanh"), keras.layers.Dense(6)])
    q = Encoder(own, latent_dim=3)(np.zeros((2, 10), "float32"))
    assert tuple(q.mean.shape) == (2, 3)
    with pytest.raises(UsageError, match=r"expected \(8,\) outputs .* received \(6,\)"):
        Encoder(keras.Sequential([keras.layers.Dense(6)]), latent_dim=4).build((None, 10))
