"""Networks: the two halves of an autoencoder in one class, so that they always fit together."""

import abc
import contextlib
import math
import random
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import keras
import numpy as np
from keras import layers

from bicoder.component import Component
from bicoder.engine.open_layer import OpenLayer
from bicoder.engine.tensor import Shape, Tensor
from bicoder.errors import MOST_BLOCKS, MOST_REPEATS, MOST_UNITS, UsageError, check_count

# Where the channels are, whatever ~/.keras/keras.json says.
LAST = {"data_format": "channels_last"}
Initialisers: TypeAlias = Iterator[keras.initializers.Initializer]


def glorot(seed: int | None) -> Initialisers:
    """An endless stream of Glorot initialisers, each with a seed of its own that follows from `seed`.

    None is for a seed that is drawn as Keras draws its own, so that `keras.utils.set_random_seed` decides it.
    """
    rng = np.random.default_rng(random.randrange(2**31) if seed is None else seed)
    while True:
        yield keras.initializers.GlorotUniform(seed=int(rng.integers(2**31)))


@contextlib.contextmanager
def networks_in(precision: str) -> Iterator[None]:
    """Inside, Keras makes layers that compute in this precision, such as "mixed_bfloat16"."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def check_precision() -> None:
    """`UsageError` if Keras makes numbers of another type than the densities, which are float32."""
    floatx, weights = keras.config.floatx(), keras.config.dtype_policy().variable_dtype
    if floatx != "float32" or weights == "float64":
        name, received = ("floatx", floatx) if floatx != "float32" else ("dtype_policy", weights)
        raise UsageError(
            f"{name}: expected float32, as densities have it, received {received} from ~/.keras/keras.json or "
            'keras.config; call keras.config.set_floatx("float32") and then keras.config.set_dtype_policy("float32"), '
            'or "mixed_bfloat16" for speed'
        )


def check_widths(name: str, widths: int | Sequence[int]) -> Shape:
    """A tuple of one or more positive whole numbers."""
    received = tuple(widths) if isinstance(widths, (list, tuple)) else (widths,)
    if not 1 <= len(received) <= MOST_REPEATS:
        raise UsageError(f"{name}: expected 1 to {MOST_REPEATS} positive whole numbers, received {len(received)}")
    return tuple(check_count(name, width, MOST_UNITS) for width in received)


def check_image(network: str, shape: Shape) -> None:
    """Convolutions need (height, width, channels), with the channels last.

    Raises:
        UsageError: another number of axes; or channels that stand first, as PyTorch has them, which shows by a square
            or by colours.
    """
    if len(shape) != 3:
        advice = "; x[..., None] makes images of them" if len(shape) == 2 else ""
        raise UsageError(
            f"network: {network} expects images (height, width, channels), received examples of shape {tuple(shape)}"
            f"{advice}; use the network mlp"
        )
    first, height, width = shape
    if first < min(height, width) and (height == width or (first in (1, 3) and width not in (1, 3))):
        raise UsageError(
            f"network: {network} expects images (height, width, channels), received examples of shape {tuple(shape)}, "
            "with the channels first; numpy.moveaxis(x, 1, -1) puts them last"
        )


def halved(size: Shape, times: int) -> list[Shape]:
    """(height, width) before and after every convolution of stride 2: (28, 28), (14, 14), (7, 7), (4, 4)."""
    sizes = [tuple(size)]
    for _ in range(times):
        sizes.append(tuple(math.ceil(n / 2) for n in sizes[-1]))
    return sizes


def check_activation(name: str) -> str:
    """`name`, if Keras has an activation of that name."""
    try:
        if isinstance(name, str) and callable(keras.activations.get(name)):  # Keras would also build what a dict names
            return name
    except (TypeError, ValueError):
        pass
    raise UsageError(f"activation: expected the name of a Keras activation, received {name!r}")


class Network(Component):
    """A recipe for an encoder's and a decoder's network; it holds no weights itself."""

    # Dimensions of the latent code if the user names none.
    latent_dim: int
    # Whether the layers treat the examples of a batch one by one, so that a CPU may learn from slices of it at the same
    # time. Not if one looks at the whole batch, or adds a loss of its own. Each class says it for itself.
    one_by_one: bool = False

    @abc.abstractmethod
    def encoder(self, shape: Shape, outputs: int, seed: int | None = None) -> keras.layers.Layer:
        """A Keras layer from (batch, *shape) to (batch, outputs)."""

    @abc.abstractmethod
    def decoder(self, shape: Shape, outputs: int, seed: int | None = None) -> keras.layers.Layer:
        """A Keras layer from (batch, latent_dim) to (batch, *shape[:-1], outputs)."""


class MLP(Network):
    """Fully connected layers, for vectors and for small images of any shape.

    Args:
        hidden: widths of the encoder's hidden layers; the decoder has them in reverse.
        activation: name of a Keras activation.
    """

    latent_dim = 20
    one_by_one = True

    def __init__(self, hidden: Sequence[int] = (400,), activation: str = "relu") -> None:
        self.hidden = check_widths("hidden", hidden)
        self.activation = check_activation(activation)

    def encoder(self, shape: Shape, outputs: int, seed: int | None = None) -> keras.layers.Layer:
        init = glorot(seed)
        return keras.Sequential(
            ([layers.Flatten(**LAST)] if len(shape) > 1 else [])
            + [layers.Dense(n, self.activation, kernel_initializer=next(init)) for n in self.hidden]
            + [layers.Dense(outputs, kernel_initializer=next(init))]
        )

    def decoder(self, shape: Shape, outputs: int, seed: int | None = None) -> keras.layers.Layer:
        init = glorot(seed)
        target = (*shape[:-1], outputs)
        return keras.Sequential(
            [layers.Dense(n, self.activation, kernel_initializer=next(init)) for n in reversed(self.hidden)]
            + [layers.Dense(math.prod(target), kernel_initializer=next(init))]
            + ([layers.Reshape(target)] if len(shape) > 1 else [])
        )


class Conv(Network):
    """Convolutions of stride 2 and their transposes, for images of any height, width and number of channels.

    Args:
        filters: channels of the encoder's convolutions; each halves height and width.
        kernel_size: odd, in pixels.
        activation: name of a Keras activation.
    """

    latent_dim = 50
    one_by_one = True

    def __init__(self, filters: Sequence[int] = (32, 64, 128), kernel_size: int = 3, activation: str = "relu") -> None:
        self.filters = check_widths("filters", filters)
        self.kernel_size = check_count("kernel_size", kernel_size)
        self.activation = check_activation(activation)
        if kernel_size not in (3, 5, 7, 9, 11):
            raise UsageError(f"kernel_size: expected an odd number from 3 to 11, received {kernel_size!r}")

    def encoder(self, shape: Shape, outputs: int, seed: int | None = None) -> keras.layers.Layer:
        check_image("conv", shape)
        init = glorot(seed)
        options = {"strides": 2, "padding": "same", "activation": self.activation, **LAST}
        return keras.Sequential(
            [layers.Conv2D(n, self.kernel_size, kernel_initializer=next(init), **options) for n in self.filters]
            + [layers.Flatten(**LAST), layers.Dense(outputs, kernel_initializer=next(init))]
        )

    def decoder(self, shape: Shape, outputs: int, seed: int | None = None) -> keras.layers.Layer:
        check_image("conv", shape)
        init = glorot(seed)
        sizes = halved(shape[:2], len(self.filters))
        start = (*sizes[-1], self.filters[-1])
        body = [
            layers.Dense(math.prod(start), self.activation, kernel_initializer=next(init)),
            layers.Reshape(start),
        ]
        channels = (*self.filters[-2::-1], outputs)
        for target, n in zip(sizes[-2::-1], channels, strict=True):
            body.append(
                layers.Conv2DTranspose(
                    n,
                    self.kernel_size,
                    strides=2,
                    padding="same",
                    # A stride-2 transpose of m pixels gives 2m - 1, and one more with padding: an even target needs it.
                    output_padding=tuple(1 - size % 2 for size in target),
                    activation=None if len(body) == len(channels) + 1 else self.activation,
                    **LAST,
                    kernel_initializer=next(init),
                )
            )
        return keras.Sequential(body)


class Residual(Network):
    """Residual convolutions with group normalisation (He et al. 2016, Wu & He 2018), for images up to 64x64 or so.

    Args:
        filters: channels of the stages; between two of them height and width are halved.
        blocks: residual blocks in a stage.
    """

    latent_dim = 64
    one_by_one = True

    def __init__(self, filters: Sequence[int] = (32, 64, 128), blocks: int = 1) -> None:
        self.filters = check_widths("filters", filters)
        self.blocks = check_count("blocks", blocks, MOST_REPEATS)
        if (total := self.blocks * len(self.filters)) > MOST_BLOCKS:
            raise UsageError(
                f"blocks: expected at most {MOST_BLOCKS} in all stages, received {total:,}, {self.blocks} in each of "
                f"{len(self.filters)}"
            )

    def residual(self, x: Tensor, channels: int, init: Initialisers) -> Tensor:
        """x + f(x), f two convolutions, each after a normalisation and a swish."""
        y = x
        for _ in range(2):
            y = layers.Activation("swish")(layers.GroupNormalization(groups=math.gcd(8, y.shape[-1]))(y))
            y = layers.Conv2D(channels, 3, padding="same", kernel_initializer=next(init), **LAST)(y)
        if x.shape[-1] != channels:
            x = layers.Conv2D(channels, 1, kernel_initializer=next(init), **LAST)(x)
        return layers.Add()([x, y])

    def stage(self, x: Tensor, channels: int, init: Initialisers) -> Tensor:
        """All residual blocks of one size."""
        for _ in range(self.blocks):
            x = self.residual(x, channels, init)
        return x

    def finish(self, x: Tensor) -> Tensor:
        """Residual sums grow: normalise once more before they are used."""
        return layers.Activation("swish")(layers.GroupNormalization(groups=math.gcd(8, x.shape[-1]))(x))

    def encoder(self, shape: Shape, outputs: int, seed: int | None = None) -> keras.layers.Layer:
        check_image("residual", shape)
        init = glorot(seed)
        inputs = keras.Input(shape)
        x = layers.Conv2D(self.filters[0], 3, padding="same", kernel_initializer=next(init), **LAST)(inputs)
        for i, channels in enumerate(self.filters):
            if i:
                x = layers.Conv2D(channels, 3, strides=2, padding="same", kernel_initializer=next(init), **LAST)(x)
            x = self.stage(x, channels, init)
        x = layers.Flatten(**LAST)(self.finish(x))
        return keras.Model(inputs, layers.Dense(outputs, kernel_initializer=next(init))(x))

    def decoder(self, shape: Shape, outputs: int, seed: int | None = None) -> keras.layers.Layer:
        check_image("residual", shape)
        # A functional model wants the number of its inputs now; the size of the code is known when it is called.
        return ResidualDecoder(self, shape, outputs, seed)


class ResidualDecoder(OpenLayer):
    """The decoder of a `Residual`, which is made when the size of the code is known."""

    def __init__(self, network: Residual, shape: Shape, outputs: int, seed: int | None) -> None:
        super().__init__()
        self.network, self.shape, self.outputs, self.seed = network, shape, outputs, seed

    def build(self, input_shape: Shape) -> None:
        network, init = self.network, glorot(self.seed)
        sizes = halved(self.shape[:2], len(network.filters) - 1)
        start = (*sizes[-1], network.filters[-1])
        inputs = keras.Input((input_shape[-1],))
        x = layers.Dense(math.prod(start), kernel_initializer=next(init))(inputs)
        x = network.stage(layers.Reshape(start)(x), start[-1], init)
        for (height, width), channels in zip(sizes[-2::-1], network.filters[-2::-1], strict=True):
            x = layers.UpSampling2D(**LAST)(x)
            x = layers.Cropping2D(((0, x.shape[1] - height), (0, x.shape[2] - width)), **LAST)(x)
            x = layers.Conv2D(channels, 3, padding="same", kernel_initializer=next(init), **LAST)(x)
            x = network.stage(x, channels, init)
        x = layers.Conv2D(self.outputs, 3, padding="same", kernel_initializer=next(init), **LAST)(network.finish(x))
        self.model = keras.Model(inputs, x)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        return self.model(inputs, training=training)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], *self.shape[:2], self.outputs)
