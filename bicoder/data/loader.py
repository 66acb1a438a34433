"""DataLoader: download, unzip, transform, batch."""

import functools
import os
import sys

import numpy as np

from bicoder.data.conversion import PixelFile, StoreError, converted
from bicoder.data.datasets import Images, find_dataset
from bicoder.data.pixels import scaled, scaling, split, survey, to_images, to_labels, warn_of_overlap
from bicoder.data.sources import Source
from bicoder.data.stored_images import StoredImages
from bicoder.engine.memory import aligned
from bicoder.engine.portions import Portions, portions
from bicoder.errors import DataError, UsageError, check_count, check_seed
from bicoder.files.cache import cached_file

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
        stream: True to keep the images of a folder, a .npy file or `mnist_color` out of memory: they are converted
            once, into a file in `data_dir`, and read from there.
    Attributes:
        training_images, test_images: arrays (N, ...); with `stream`, `StoredImages`, which read what they are asked
            for.
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
        stream=False,
    ):
        if not isinstance(dset, (str, os.PathLike)):
            raise UsageError(f"dset: expected a name or a path, received {type(dset).__name__}")
        if image_size is not None and np.ndim(image_size) == 0:
            image_size = (image_size, image_size)
        self.batch_size, self.seed = check_count("batch_size", batch_size), check_seed(seed)
        fetch = functools.partial(cached_file, data_dir=data_dir, mirror=mirror, download=download)
        self.dataset = find_dataset(dset)(dset, view, image_size, fetch, say)
        self.stream, self.data_dir = bool(stream), data_dir
        try:
            arrays = self._arrays(self._read())
        except MemoryError as error:
            raise DataError(
                f"{dset}: takes more memory than there is; use --stream, fewer or smaller images"
            ) from error
        train, test, self.training_labels, self.test_labels, self.label_names = arrays
        self.image_shape = train.shape[1:] if train.ndim == 4 else None
        if flatten or (flatten is None and self.dataset.flatten):
            train, test = (images.reshape(len(images), -1) for images in (train, test))
        if binarize not in (None, "static", "dynamic"):
            raise UsageError(f"binarize: expected static or dynamic, received {binarize!r}")
        self.binarize = binarize
        if binarize:
            test = self._drawn(test if self.stream else np.asarray(test), TEST_SEED)
        self.training_images = self._drawn(train, seed) if binarize == "static" else train
        self._test = test

    def _read(self):
        """The data set's `Images`: arrays, or `PixelFile`s that are sooner read, or shall stay in files."""
        if not self.stream and not self.dataset.is_slow():
            return self.dataset.read()
        images = self.dataset.sources()
        if self.stream and not isinstance(images.train, Source):
            say(f"{self.dataset.dset}: is kept in memory; --stream is for folders, .npy files and mnist_color")
        try:
            found = {name: self._stored(array) for name, array in images._asdict().items()}
        except StoreError as error:
            say(f"Going on without a converted copy: {error}")
            return self.dataset.read()
        return Images(**found)

    def _stored(self, array):
        """A `Source` as `PixelFile`; everything else as it is."""
        if not isinstance(array, Source):
            return array
        try:
            return converted(array, self.data_dir)
        except StoreError as error:
            if self.stream:
                raise DataError(str(error)) from error
            raise

    def _arrays(self, images: Images):
        """What the data set gave, checked and transformed: training and test images, labels of both, names."""
        name, classes = str(self.dataset.dset), self.dataset.classes
        parts = {name: images.train} | ({} if images.test is None else {f"{name}: test images": images.test})
        surveys = {}
        for part, array in parts.items():
            surveys[part] = array.survey if isinstance(array, PixelFile) else survey(array, part)
            if not isinstance(array, PixelFile):
                parts[part] = to_images(array, part)
        given = zip(parts.items(), (images.train_labels, images.test_labels), strict=False)
        labels = [to_labels(found, array.shape[0], f"{part}: labels", classes) for (part, array), found in given]
        # All are scaled in the same way, also where one of them happens to be dark.
        peak = max(found.high for found in surveys.values())
        train, *test = (self._pixels(array, scaling(surveys[part], part, say, peak)) for part, array in parts.items())
        if not self.stream:
            train = np.asarray(train)
        if not test:
            orders = split(len(train), self.seed)
            held_out = [train.select(order) if isinstance(train, StoredImages) else train[order] for order in orders]
            return *held_out, *(None if labels[0] is None else labels[0][order] for order in orders), images.label_names
        [test] = test
        if test.shape[1:] != train.shape[1:]:
            raise DataError(f"{name}: expected test images of shape {train.shape[1:]}, received {test.shape[1:]}")
        warn_of_overlap(train, test, name, say)
        return train, test, *labels, images.label_names

    def _pixels(self, array, how):
        """An array as float32 in [0, 1]; a `PixelFile` one stays where it is."""
        return array.images(how) if isinstance(array, PixelFile) else scaled(array, how)

    def _drawn(self, images, seed):
        """`draw_binary`; of images in a file into another file."""
        if not isinstance(images, StoredImages):
            return draw_binary(images, seed)

        def draw(_):
            rng = np.random.default_rng(seed)
            return ((rng.random(part.shape, "float32") < part).astype("uint8") for part in portions(images))

        place = f"{images.path} drawn with {seed}"
        source = Source(lambda: Portions(images.shape, "uint8", draw), images.path.name, place, images.identity)
        found = self._stored(source)
        return found.images(scaling(found.survey, place, say)).reshape(len(images), *images.shape[1:])

    @functools.cached_property
    def test_images(self):
        """Test images (N, ...), which some data sets read when they are asked for: who only trains needs no memory."""
        return self._test if self.stream else np.asarray(self._test)

    @functools.cached_property
    def training_data(self):
        """A `tf.data.Dataset` of batches (batch, ...), in a new order every time it is iterated."""
        from bicoder.engine.batches import Batches

        return Batches(self.training_images, self.batch_size, self.seed, binarize=self.binarize == "dynamic").dataset()

    @property
    def get_training_data(self):
        """The same as `training_data`."""
        return self.training_data

    @functools.cached_property
    def test_data(self):
        """A `tf.data.Dataset` of batches of test images, in their own order."""
        from bicoder.engine.batches import Batches

        return Batches(self.test_images, self.batch_size, self.seed, shuffle=False).dataset()


def draw_binary(images, seed):
    """Every pixel 1 with its grey value as probability, else 0 (Salakhutdinov & Murray 2008)."""
    rng, drawn, start = np.random.default_rng(seed), aligned(images.shape), 0
    for part in portions(images):
        drawn[start : start + len(part)] = rng.random(part.shape, "float32") < part
        start += len(part)
    return drawn


def say(line):
    """A note about the data; standard output is for results."""
    print(line, file=sys.stderr)
