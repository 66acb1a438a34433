"""Small classifiers of pictures, or of vectors, which say what a model has drawn; each is trained once and kept."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops

from bicoder.data.stored.stored_images import ImageArray
from bicoder.engine.arrays.fingerprint import fingerprint
from bicoder.engine.arrays.portions import portions_of_examples
from bicoder.errors import BicoderError, UsageError
from bicoder.files.cache import data_folder
from bicoder.files.named_arrays import opened_arrays, write_arrays
from bicoder.waiting import say, watched

FORMAT = "bicoder classifier 1"
FOLDER = "classifiers"
STEPS, BATCH, RATE = 2000, 128, 0.001
MOST = 20_000  # examples to learn from
LEAST_SIDE = 16  # pixels; smaller pictures leave nothing to convolve
BLOCK = 500  # examples that are classified at a time


class Classifier(NamedTuple):
    """A classifier of one view.

    Args:
        network: x (batch, ...) -> logits (batch, classes).
        classes: the label of each logit, (classes,).
        sha256: of what it was learnt from, and how.
        examples: that it was learnt from.
    """

    network: keras.Model
    classes: np.ndarray
    sha256: str
    examples: int

    def of(self, images: ImageArray) -> np.ndarray:
        """The most likely label of each image (N, ...), (N,)."""
        return self.of_portions(portions_of_examples(images, BLOCK))

    def of_portions(self, portions: Iterable[Any]) -> np.ndarray:
        """The same of images in portions (n, ...)."""
        logits = (self.network(ops.convert_to_tensor(some), training=False) for some in portions)
        return self.classes[np.concatenate([ops.convert_to_numpy(ops.argmax(one, axis=-1)) for one in logits])]


def classifier(
    images: ImageArray,
    labels: np.ndarray,
    what: str,
    data_dir: str | Path | None = None,
    progress: bool = False,
) -> Classifier:
    """The classifier of these images, learnt from them unless one is kept that was.

    Args:
        images: (N, ...) in [0, 1]; of more than 20,000 some are taken by chance, always the same.
        labels: whole numbers (N,), of two classes or more.
        what: it is called on a bar.
        data_dir: see `cache.data_folder`; it is kept below it.
        progress: whether to show how long it takes.
    """
    rows = np.sort(np.random.default_rng(0).permutation(len(labels))[:MOST])
    images, labels = images[rows] if len(rows) < len(labels) else images[:], labels[rows]
    classes, numbers = np.unique(labels, return_inverse=True)
    network = small_network(images.shape[1:], len(classes))
    recipe = json.dumps([FORMAT, STEPS, BATCH, RATE, keras.backend.backend(), network.get_config()], default=str)
    digest = fingerprint(np.frombuffer(recipe.encode(), "uint8"), labels, images)
    found = Classifier(network, classes, digest, len(labels))
    path = data_folder(data_dir) / FOLDER / f"{digest[:32]}.safetensors"
    if not take(path, network, digest):
        learn(network, images, numbers.reshape(-1), what, progress)
        keep(path, found, float((found.of(images) == labels).mean()), what)
    return found


def small_network(shape: Sequence[int], classes: int) -> keras.Model:
    """Convolutions of 10 and 20 channels (kernel 4, stride 2) and 128 units for pictures, else two layers of 128 units.

    The first is that of Sutter et al. 2021. Its layers have seeds, so that the same data make the same classifier.
    """
    inputs = keras.Input(tuple(shape), name="x")
    if len(shape) == 3 and min(shape[:2]) >= LEAST_SIDE:
        x = layers.Conv2D(10, 4, 2, "same", activation="relu", kernel_initializer=glorot(0), name="first")(inputs)
        x = layers.Conv2D(20, 4, 2, "same", activation="relu", kernel_initializer=glorot(1), name="second")(x)
        x = layers.Flatten(name="flat")(layers.Dropout(0.5, seed=2, name="dropped")(x))
    else:
        x = layers.Flatten(name="flat")(inputs)
        x = layers.Dense(128, "relu", kernel_initializer=glorot(0), name="first")(x)
        x = layers.Dropout(0.5, seed=2, name="dropped")(x)
    x = layers.Dense(128, "relu", kernel_initializer=glorot(3), name="dense")(x)
    return keras.Model(inputs, layers.Dense(classes, kernel_initializer=glorot(4), name="logits")(x), name="classifier")


def glorot(seed: int) -> keras.initializers.Initializer:
    """Glorot's uniform initialiser."""
    return keras.initializers.GlorotUniform(seed)


def learn(network: keras.Model, images: np.ndarray, numbers: np.ndarray, what: str, progress: bool) -> None:
    """Train a classifier by Adam, in batches that follow from a fixed seed.

    Args:
        network: to be trained.
        images: (N, ...).
        numbers: of the class of each, from 0 on, (N,).
        what, progress: as in `classifier`.
    """
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(keras.optimizers.Adam(RATE), loss, jit_compile=False)
    random, size = np.random.default_rng(0), min(BATCH, len(images))
    order = random.permutation(len(images))
    for _ in watched(range(STEPS), f"classifier of {what}", STEPS, progress):
        if len(order) < size:
            order = random.permutation(len(images))
        rows, order = order[:size], order[size:]
        network.train_on_batch(images[rows], numbers[rows])


def arrays_of(network: keras.Model) -> dict[str, keras.Variable]:
    """name -> variable."""
    return {f"{number}/{one.path}": one for number, one in enumerate(network.trainable_variables)}


def keep(path: Path, found: Classifier, accuracy: float, what: str) -> None:
    """Write a classifier into the cache, with what it was learnt from; if that cannot be, say so and go on."""
    metadata = {"format": FORMAT, "sha256": found.sha256, "view": what, "training_accuracy": f"{accuracy:.6f}"}
    arrays = {name: ops.convert_to_numpy(one) for name, one in arrays_of(found.network).items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_arrays(path, arrays, metadata, UsageError)
    except (OSError, BicoderError) as error:
        say(f"the classifier of {what} is not kept: {error}")


def take(path: Path, network: keras.Model, sha256: str) -> bool:
    """Give a network the weights that are kept at `path`; whether they are there, whole, and of the same data."""
    model = arrays_of(network)
    try:
        with opened_arrays(path) as file:
            said = file.metadata() or {}
            names = set(file.keys())
            if (said.get("format"), said.get("sha256")) != (FORMAT, sha256) or names != set(model):
                return False
            arrays = {name: file.get_tensor(name) for name in model}
    except Exception:  # of damaged bytes, anything; it is trained again
        return False
    fits = [
        arrays[name].shape == tuple(one.shape) and arrays[name].dtype == one.dtype and np.isfinite(arrays[name]).all()
        for name, one in model.items()
    ]
    if all(fits):
        for name, one in model.items():
            one.assign(arrays[name])
    return all(fits)
