"""DataLoader: download, unzip, transform, batch."""

import functools
import os
import sys

import numpy as np

from bicoder.datasets import Images, find_dataset
from bicoder.download import cached_file
from bicoder.errors import DataError, UsageError, check_count, check_seed
from bicoder.pixels import check_finite, largest, split, to_images, to_labels, to_unit_range, warn_of_overlap

TEST_SEED = 20160101  # binarised test images are the same in every run, so that their numbers can be compared


class DataLoader:
    """Images as batches that a `VAE` can take: float32 in [0, 1], shuffled anew every epoch.

    Args:
        dset: "digits", "mnist_bw", "mnist_color", the path of a folder of PNG or JPEG images, or of a .npy, .npz or
            IDX file.
        batch_size: images in a batch; the last one of an epoch may be shorter.
        view: for `mnist_color`, "m0" to "m4".
        data_dir: folder of the downloaded files; by default $BICODER_DATA, else the user's cache.
        seed: of the shuffling, and of the split where a data set has no test images of its own.
        mirror: address of a folder to fetch the files from; by default $BICODER_MIRROR, else their publisher.
        image_size: a number or (height, width), for folders of images; by default their own size.
        flatten: True for vectors, False for images; None for what the data set's own task has.
        binarize: None; "static", every pixel drawn once as 0 or 1 with its grey value as probability; "dynamic", drawn
            anew each time. Test images are drawn once, always the same.
        download: False to use only what is there already.
    Attributes:
        training_images, test_images: arrays (N, ...).
        training_labels, test_labels: whole numbers (N,), or None.
        label_names: tuple of text, may be empty.
        image_shape: (height, width, channels), for pictures; None where the examples are vectors of no known shape.
    Raises:
        UsageError, DataError, DownloadError.
    """

    def __init__(
        self,
        dset,
        batch_size=128,
        view="m0",
        data_dir=None,
        seed=0,
        mirror=None,
        image_size=None,
        flatten=None,
        binarize=None,
        download=True,
    ):
        if not isinstance(dset, (str, os.PathLike)):
            raise UsageError(f"dset: expected a name or a path, received {type(dset).__name__}")
        if image_size is not None and np.ndim(image_size) == 0:
            image_size = (image_size, image_size)
        self.batch_size, self.seed = check_count("batch_size", batch_size), check_seed(seed)
        fetch = functools.partial(cached_file, data_dir=data_dir, mirror=mirror, download=download)
        self.dataset = find_dataset(dset)(dset, view, image_size, fetch, say)
        try:
            arrays = self._arrays(self.dataset.read())
        except MemoryError as error:
            raise DataError(f"{dset}: takes more memory than there is; use fewer or smaller images") from error
        train, test, self.training_labels, self.test_labels, self.label_names = arrays
        self.image_shape = train.shape[1:] if train.ndim == 4 else None
        if flatten or (flatten is None and self.dataset.flatten):
            train, test = (images.reshape(len(images), -1) for images in (train, test))
        if binarize not in (None, "static", "dynamic"):
            raise UsageError(f"binarize: expected static or dynamic, received {binarize!r}")
        self.binarize = binarize
        if binarize:
            test = draw_binary(test, TEST_SEED)
        self.training_images = draw_binary(train, seed) if binarize == "static" else train
        self.test_images = test

    def _arrays(self, images: Images):
        """What the data set gave, checked and transformed: training and test images, labels of both, names."""
        name, classes = str(self.dataset.dset), self.dataset.classes
        parts = {name: images.train} | ({} if images.test is None else {f"{name}: test images": images.test})
        for part, array in parts.items():
            check_finite(array, part)
            parts[part] = to_images(array, part)
        given = zip(parts.items(), (images.train_labels, images.test_labels), strict=False)
        labels = [to_labels(found, len(array), f"{part}: labels", classes) for (part, array), found in given]
        # All are scaled in the same way, also where one of them happens to be dark.
        peak = max(map(largest, parts.values()))
        train, *test = (to_unit_range(array, part, say, peak) for part, array in parts.items())
        if not test:
            return *split(train, labels[0], self.seed), images.label_names
        [test] = test
        if test.shape[1:] != train.shape[1:]:
            raise DataError(f"{name}: expected test images of shape {train.shape[1:]}, received {test.shape[1:]}")
        warn_of_overlap(train, test, name, say)
        return train, test, *labels, images.label_names

    @functools.cached_property
    def training_data(self):
        """A `tf.data.Dataset` of batches (batch, ...), in a new order every time it is iterated."""
        from bicoder.batches import Batches

        return Batches(self.training_images, self.batch_size, self.seed, binarize=self.binarize == "dynamic").dataset()

    @property
    def get_training_data(self):
        """The same as `training_data`."""
        return self.training_data

    @functools.cached_property
    def test_data(self):
        """A `tf.data.Dataset` of batches of test images, in their own order."""
        import tensorflow as tf

        return tf.data.Dataset.from_tensor_slices(self.test_images).batch(self.batch_size).prefetch(tf.data.AUTOTUNE)


def draw_binary(images, seed):
    """Every pixel 1 with its grey value as probability, else 0 (Salakhutdinov & Murray 2008)."""
    rng = np.random.default_rng(seed)
    return (rng.random(images.shape, "float32") < images).astype("float32")


def say(line):
    """A note about the data; standard output is for results."""
    print(line, file=sys.stderr)
