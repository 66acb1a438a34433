"""What `evaluate` takes: images and labels in every form that they come in."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from bicoder import VAE, Decoder, Encoder, evaluate
from bicoder.errors import DataError
from bicoder.evaluation.examples import class_numbers, take
from bicoder.networks import MLP

COUNT, SHAPE = 23, (6,)


@pytest.fixture
def images(rng):
    return rng.random((COUNT, *SHAPE), "float32")


@pytest.fixture
def labels(rng):
    return rng.integers(3, size=COUNT)


class Batches(keras.utils.PyDataset):
    def __init__(self, *arrays):
        super().__init__()
        self.arrays = arrays

    @property
    def num_batches(self):
        return 3

    def __getitem__(self, i):
        return tuple(array[8 * i : 8 * (i + 1)] for array in self.arrays)


def batched(arrays):
    return tf.data.Dataset.from_tensor_slices(arrays).batch(5)


LABELLED = {
    "tuple": lambda x, y: (x, y),
    "list": lambda x, y: [x, y],
    "tensors": lambda x, y: [tf.constant(x), tf.constant(y)],
    "dict": lambda x, y: {"image": x, "label": y},
    "no weights": lambda x, y: (x, y, None),
    "batches": lambda x, y: batched((x, y)),
    "batches of a dict": lambda x, y: batched({"image": x, "label": y}),
    "lists": lambda x, y: [[x[:8], y[:8]], [x[8:], y[8:]]],
    "PyDataset": Batches,
}
UNLABELLED = {
    "array": lambda x: x,
    "tensor": tf.constant,
    "images": list,
    "arrays": lambda x: [x[:8], x[8:]],
    "batches": batched,
    "dict": lambda x: {"x": x},
    "PyDataset": Batches,
}


@pytest.mark.fault(103)
@pytest.mark.parametrize("form", LABELLED)
def test_labels_in_every_form(form, images, labels):
    found = take(LABELLED[form](images, labels), SHAPE)
    np.testing.assert_array_equal(found.images, images)
    np.testing.assert_array_equal(found.labels, labels)


@pytest.mark.fault(103)
@pytest.mark.parametrize("form", UNLABELLED)
def test_images_in_every_form(form, images):
    found = take(UNLABELLED[form](images), SHAPE)
    np.testing.assert_array_equal(found.images, images)
    assert found.labels is None


@pytest.mark.fault(103)
@pytest.mark.parametrize(
    "given",
    [
        [2, 0, 1, 1],
        [2.0, 0.0, 1.0, 1.0],
        [[2], [0], [1], [1]],
        [[0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 1, 0]],
        [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]],
        ["c", "a", "b", "b"],
        np.array([b"c", b"a", b"b", b"b"]),
        np.array(["c", "a", "b", "b"], object),
        np.array([2, 0, 1.0, 1], object),
    ],
    ids=["whole", "float", "column", "one-hot", "float one-hot", "text", "bytes", "text objects", "objects"],
)
def test_labels_of_every_kind(given):
    assert class_numbers(given, 4).tolist() == [2, 0, 1, 1]


@pytest.mark.fault(103)
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([0, 1, np.nan, 2], "labels: expected whole numbers, received nan at index 2"),
        ([0, 1, 0.5, 2], "labels: expected whole numbers, received 0.5 at index 2"),
        (["a", None, "b", "c"], "labels: expected numbers or text, received 'a' at index 0"),
        ([0, 1, 2], "labels: expected 4 labels"),
        ([["a"] * 4] * 4, "labels: expected 4 labels"),
        (np.full((4, 3), 0.3), "labels: expected 4 labels"),
        (np.zeros((4, 3)), "labels: expected 4 labels"),
        (7, "labels: expected 4 labels"),
    ],
)
def test_labels_that_are_none(given, words):
    with pytest.raises(DataError) as caught:
        class_numbers(given, 4)
    assert words in str(caught.value)


@pytest.mark.fault(103)
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda x, y: {"picture": x}, "expected images under one of image, images, .* received picture"),
        (lambda x, y: (x, y, np.ones(COUNT)), "received 3 arrays; leave weights out"),
        (lambda x, y: [(x, y), x], "expected labels in every batch or in none, received 1 batches without"),
        (lambda x, y: (x, x), "labels: expected 23 labels"),
        (lambda x, y: batched((x[:, :5], y)), r"expected images of shape \(6,\), as the model has, received \(5,\)"),
        (lambda x, y: tf.data.Dataset.from_tensor_slices(x), r"expected images of shape \(6,\)"),
        (lambda x, y: batched((x, y)).repeat(), "expected batches that come to an end"),
        (lambda x, y: 7, "expected images .* received int"),
        (lambda x, y: [], "expected at least one batch of images"),
    ],
)
def test_what_it_cannot_be(make, words, images, labels):
    with pytest.raises(DataError, match=words):
        take(make(images, labels), SHAPE)


@pytest.fixture
def vae():
    vae = VAE(Encoder(MLP((4,)), 2), Decoder(MLP((4,))), seed=0)
    vae.build((None, *SHAPE))
    return vae


@pytest.mark.fault(103)
def test_labels_are_looked_at_before_anything_is_sampled(vae, images, monkeypatch):
    monkeypatch.setattr("bicoder.evaluation.measure.look", lambda *_: pytest.fail("it has begun"))
    with pytest.raises(DataError, match="labels: expected whole numbers, received nan"):
        evaluate(vae, (images, np.full(COUNT, np.nan)), num_samples=2)


@pytest.mark.fault(103)
def test_a_class_of_one_image_gives_numbers(vae, images):
    labels = np.zeros(COUNT)
    labels[3] = 1
    numbers = evaluate(vae, (images, labels), num_samples=2)
    assert numbers["knn_accuracy"] == numbers["logistic_accuracy"] == pytest.approx(22 / 23, abs=0.01)
    json.dumps(numbers, allow_nan=False)
