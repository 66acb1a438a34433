"""DataLoader: download, unzip, transform, batch."""

import functools
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bicoder.data.dataset import Images
from bicoder.data.datasets import find_dataset
from bicoder.data.formats.folders import NO_LABEL
from bicoder.data.formats.label_file import class_count, read_labels
from bicoder.data.pixels import check_binarize, say_channels, seed_of_view, warn_of_overlap
from bicoder.data.preparation import Read, known_scalings, prepared
from bicoder.data.several_views import check_views, together
from bicoder.data.splits import (
    DAMAGED,
    PURPOSES,
    Split,
    as_recorded,
    by_purpose,
    check_share,
    known_labels,
    read_split,
    set_aside,
)
from bicoder.data.stored.storage import Storage
from bicoder.engine.arrays.conditioned import Conditioned
from bicoder.engine.arrays.masked import arrays_in, on_arrays, on_values, shape_of_example
from bicoder.errors import DataError, UsageError, check_count, check_seed
from bicoder.files.cache import cached_file

if TYPE_CHECKING:
    import tensorflow as tf

    from bicoder.engine.batches import Batches

# Binarised test and validation images are the same in every run, so that their numbers can be compared.
TEST_SEED, VALIDATION_SEED = 20160101, 20160102


class DataLoader:
    """Images as batches that a `VAE` can take: float32 in [0, 1], shuffled anew every epoch.

    Args:
        dset: "digits", "mnist_bw", "mnist_color", the path of a folder of images, or of a .npy, .npz or IDX file; or
            an array of images, or a pair (images, labels) of arrays.
        batch_size: images in a batch; the last one of an epoch may be shorter.
        view: for `mnist_color`, "m0" to "m4".
        data_dir: folder of the downloaded files; by default $BICODER_DATA, else the user's cache.
        seed: of the shuffling, and of the pixels that `binarize` draws.
        mirror: address of a folder to fetch the files from; by default $BICODER_MIRROR, else their publisher.
        image_size: a number or (height, width), for folders of images; by default their own size.
        flatten: True for vectors, False for images; None for what the data set's own task has.
        binarize: None; "static", every pixel drawn once as 0 or 1 with its grey value as probability; "dynamic", anew
            each time; or a dict view -> one of these. Test and validation images are drawn once, always the same.
        download: False to use only what is there already.
        stream: True to keep the images of a folder, a .npy file or `mnist_color` out of memory: they are converted
            once, into a file in `data_dir`, and read from there.
        validation: the share of the training images, from 0 and below 1, that is set aside to choose by, at least one
            image unless it is 0. Test images do not depend on it.
        split_seed: of the validation images, and of the test images of a data set that has none; by default `seed`.
        only_test: the `scaling` of an earlier loader, to read the test images without the training images; a data set
            that holds its test images out of the others reads all of them all the same.
        labels: path of a file with a label for each training image, or for each image if test images are held out of
            them, see `label_file.read_labels`; by default what the data set has: sub-folders are labels.
        skip_damaged: True to go on without images of a folder that are damaged; else they are listed in an error.
        channels: 1 or 3, to read a folder of images as grey or in colour; by default in colour unless all are grey.
        split: path of the split.csv of a run, whose split is taken by the names of the files, or by their rows.
        scaling: the `scaling` of an earlier loader, if 16-bit pixels are to be divided by what they were then.
        views: names of views that are read together, so that an example is one image of each: "m0" to "m4" of
            `mnist_color`; sub-folders of a folder, in which files of equal names belong together; arrays of a .npz
            file.
        with_labels: True for batches (images, labels), as a model with a condition takes them.
    Attributes:
        training_images, test_images: arrays (N, ...); with `stream`, `StoredImages`, which read what they are asked
            for; of several views, a dict view -> array, `Masked` where examples lack the view.
        training_labels, test_labels: whole numbers (N,), or None.
        classes: how many classes the labels are of: as many as there are names, or as the data set says, or from 0 to
            the largest label; None without labels.
        training_files, test_files: names of their files below the folder, text (N,); of arrays, their rows, whole
            numbers (N,).
        validation_images, validation_labels, validation_files: the same of the validation images; None if `validation`
            is 0.
        label_names: tuple of text, may be empty.
        image_shape: (height, width, channels), for pictures; None if the examples are vectors of no known shape; of
            several views, view -> its shape or None.
        scaling: (divisor, clip), how the pixels of the test images became what they are; or view -> (divisor, clip).
    Raises:
        UsageError: an argument is none that fits.
        DataError: the data set is not there, or not as it should be.
        DownloadError: it cannot be fetched.
    """

    def __init__(
        self,
        dset: str | os.PathLike,
        batch_size: int = 128,
        view: str = "m0",
        data_dir: str | Path | None = None,
        seed: int = 0,
        mirror: str | None = None,
        image_size: int | tuple[int, int] | None = None,
        flatten: bool | None = None,
        binarize: str | dict[str, Any] | None = None,
        download: bool = True,
        stream: bool = False,
        validation: float = 0.0,
        split_seed: int | None = None,
        only_test: Sequence | dict[str, Sequence] | None = None,
        labels: str | Path | None = None,
        skip_damaged: bool = False,
        channels: int | None = None,
        split: str | Path | None = None,
        scaling: Sequence | dict[str, Sequence] | None = None,
        views: Sequence[str] | None = None,
        with_labels: bool = False,
    ) -> None:
        size: Any = image_size if image_size is None or np.ndim(image_size) else (image_size, image_size)
        if channels not in (None, 1, 3):
            raise UsageError(f"channels: expected 1 or 3, received {channels!r}")
        self.batch_size, self.seed = check_count("batch_size", batch_size), check_seed(seed)
        self.split_seed = self.seed if split_seed is None else check_seed(split_seed, "split_seed")
        self.validation = check_share(validation)
        self.split, self.recorded = split, None if split is None else read_split(split)
        fetch = functools.partial(cached_file, data_dir=data_dir, mirror=mirror, download=download)
        self.dataset = find_dataset(dset)(
            dset,
            view,
            size,
            fetch,
            say,
            only_test is not None,
            data_dir=data_dir,
            channels=channels,
            labels=None if labels is None else functools.cache(functools.partial(read_labels, labels)),
            skip_damaged=skip_damaged,
            validation=self.validation > 0,
            split=self.recorded,
        )
        if self.dataset.labels is not None and only_test is None:
            self.dataset.labels()  # what is wrong with it is said before the images are read
        self.views = None if views is None else check_views(views)
        # view -> its data set; "" of data that are one tensor
        self.parts = self.dataset.of_views(self.views) if self.views else {"": self.dataset}
        self.binarize = check_binarize(binarize, self.parts)
        self.known = known_scalings(self.parts, only_test, scaling)
        self.stream = bool(stream) or self.dataset.streams
        self.data_dir, self.with_labels = data_dir, with_labels
        self.storage = Storage(self.stream, data_dir, say)
        self.flatten = self.dataset.flatten if flatten is None else bool(flatten)
        try:
            self._take({view: self.storage.read(part) for view, part in self.parts.items()})
        except MemoryError as error:
            raise DataError(
                f"{self.dataset.name}: takes more memory than there is; use --stream, fewer or smaller images"
            ) from error

    def __repr__(self) -> str:
        """How many images of each kind there are, of which shape, and how large a batch is."""
        splits = {"training": self._training, "validation": self._validation, "test": self._test}
        counts = ", ".join(f"{len(split.names):,} {name}" for name, split in splits.items() if split)
        shape = shape_of_example(self._test.images)
        return f"DataLoader({str(self.dataset.dset)!r}, {counts} images of shape {shape}, batches of {self.batch_size})"

    def _take(self, images: dict[str, Images]) -> None:
        """Make of what was read of each view what is for training, validation and testing."""
        views = {view: prepared(found, self.parts[view], *self.known[view], say=say) for view, found in images.items()}
        read = together(views, self.dataset.name, say) if self.views else views[""]
        self.scaling, self._damaged, self.label_names = read.scaling, read.damaged, read.label_names
        if read.train and not self.stream:
            read = read._replace(train=read.train._replace(images=on_arrays(np.asarray, read.train.images)))
        # What nobody could tell without the seed, or without the names of files, a run has to remember; what is drawn
        # of a pack is drawn again from the seed, since a line for each image would be millions.
        self.is_drawn = read.are_files or self.recorded is not None
        self._own_test = read.test is not None and not read.are_files
        parts = self._parts(read, self.dataset.name)
        shape = shape_of_example(parts["test"].images)
        shapes = shape if self.views else {"": shape}
        found = {view: shape if len(shape) == 3 else None for view, shape in shapes.items()}
        self.image_shape = found if self.views else found[""]
        for view, shape in shapes.items():
            if self.recorded is None:
                self.parts[view].check_size(shape)
            if len(shape) == 3:
                say_channels(shape[-1], self.parts[view].name, say)
        training, validation, kinds = parts.get("training"), parts.get("validation"), ("static", "dynamic")
        self._test = self._ready(parts["test"], kinds, TEST_SEED)
        self._validation = validation and self._ready(validation, kinds, VALIDATION_SEED)
        self._training = training and self._ready(training, ("static",), self.seed)
        for purpose, split in (("training", training), ("validation", validation), ("test", self._test)):
            if split:
                self._examples(split, purpose)  # what lacks is said before anything takes long

    def _parts(self, read: Read, name: str) -> dict[str, Split]:
        """What images are for -> those images."""
        train, test = read.train, read.test
        parts = {use: part for use, part in (("training", train), ("test", test)) if part}
        if self.recorded is not None:
            pool = train or self._there(test, "test_images")
            wanted = {use: self.recorded[use] for use in PURPOSES if use in self.recorded and (train or use == "test")}
            parts |= as_recorded(pool, wanted, Path(self.split or ""), say)
        elif train and read.purposes is not None:
            parts = by_purpose(train, read.purposes, NO_LABEL)
            if not self.validation:
                parts.pop("validation", None)
        if "test" not in parts:
            if train and len(train.names) == 1:
                say(f"{name}: its one image is for training and for testing.")
            parts["training"], parts["test"] = self._there(train, "training_images").hold_out(self.split_seed)
            self.is_drawn = self.is_drawn or not self.dataset.streams
        elif "training" in parts and self.recorded is None:
            expected, received = (shape_of_example(parts[use].images) for use in ("training", "test"))
            if received != expected:
                raise DataError(f"{name}: expected test images of shape {expected}, received {received}")
            first = {use: arrays_in(parts[use].images)[0] for use in ("training", "test")}
            warn_of_overlap(first["training"], first["test"], name, say)
        if self.validation and "training" in parts and "validation" not in parts:
            share, seed = self.validation, self.split_seed
            parts["training"], parts["validation"] = set_aside(parts["training"], share, seed, name, say)
            self.is_drawn = self.is_drawn or not self.dataset.streams
        return parts

    def split_names(self) -> dict[str, np.ndarray] | None:
        """What images are for -> what they are called, to be remembered by a run; None if the data say it themselves.

        What the data say themselves, such as which test images there are, is left out.
        """
        if not self.is_drawn:
            return None
        parts = {"training": self._training, "validation": self._validation, "test": self._test}
        found = {use: part.names for use, part in parts.items() if part}
        if self._own_test:
            del found["test"]
        return found | ({DAMAGED: self._damaged} if len(self._damaged) else {})

    def _ready(self, split: Split, kinds: Sequence[str], seed: int | None) -> Split:
        """A split as it is asked for: its images as vectors if they shall be, and drawn as 0 or 1 in these ways."""
        images = on_values(lambda some: some.reshape(len(some), -1), split.images) if self.flatten else split.images

        def ready(view: str, one: Any) -> Any:
            own = seed_of_view(seed, view)
            return on_values(lambda some: self.storage.drawn(some, own), one) if self.binarize[view] in kinds else one

        several = bool(self.views)
        return split._replace(images={v: ready(v, one) for v, one in images.items()} if several else ready("", images))

    def _there(self, split: Split | None, name: str) -> Split:
        """A split, if it was read."""
        if split is None:
            raise UsageError(f"{name}: not read, since this loader has only_test; make one without it")
        return split

    @property
    def has_training_images(self) -> bool:
        """Whether they were read; with `only_test` they may not have been."""
        return self._training is not None

    @property
    def training_images(self) -> Any:
        """Training images (N, ...)."""
        return self._there(self._training, "training_images").images

    @property
    def training_labels(self) -> np.ndarray | None:
        """Their labels (N,), or None."""
        return self._there(self._training, "training_labels").labels

    @property
    def validation_images(self) -> Any:
        """Validation images (N, ...), or None."""
        return self._there(self._validation, "validation_images").images if self.validation else None

    @property
    def validation_labels(self) -> np.ndarray | None:
        """Their labels (N,), or None."""
        return self._there(self._validation, "validation_labels").labels if self.validation else None

    @property
    def training_files(self) -> np.ndarray:
        """Names of their files below the folder, text (N,); of an array, its rows, whole numbers (N,)."""
        return self._there(self._training, "training_files").names

    @property
    def validation_files(self) -> np.ndarray | None:
        """The same of the validation images, or None."""
        return self._there(self._validation, "validation_files").names if self.validation else None

    @property
    def test_files(self) -> np.ndarray:
        """The same of the test images."""
        return self._test.names

    @functools.cached_property
    def test_images(self) -> Any:
        """Test images (N, ...), which some data sets read when they are asked for; training needs none."""
        return self._test.images if self.stream else on_arrays(np.asarray, self._test.images)

    @property
    def test_labels(self) -> np.ndarray | None:
        """Their labels (N,), or None."""
        return self._test.labels

    @property
    def classes(self) -> int | None:
        """How many classes the labels are of, or None."""
        labels = [part.labels for part in (self._training, self._validation, self._test) if part]
        return class_count(labels, self.label_names, self.dataset.classes)

    @property
    def test_examples(self) -> Any:
        """The test images as a model takes them, `Conditioned` on their labels if batches have labels."""
        x = self._examples(self._test._replace(images=self.test_images), "test")
        return Conditioned(*x) if self.with_labels else x

    @functools.cached_property
    def batches(self) -> "Batches":
        """The batches of `training_data`, which know the epoch and the place in it."""
        from bicoder.engine.batches import Batches

        anew = [view for view, kind in self.binarize.items() if kind == "dynamic"]
        examples = self._examples(self._there(self._training, "training_images"), "training")
        return Batches(examples, self.batch_size, self.seed, binarize=anew)

    @functools.cached_property
    def training_data(self) -> "tf.data.Dataset":
        """A `tf.data.Dataset` of batches (batch, ...), in a new order every time it is iterated."""
        return self.batches.dataset()

    @property
    def get_training_data(self) -> "tf.data.Dataset":
        """The same as `training_data`."""
        return self.training_data

    @functools.cached_property
    def validation_data(self) -> "tf.data.Dataset | None":
        """A `tf.data.Dataset` of batches of validation images, in their own order, or None."""
        return self._in_order(self._validation, "validation") if self._validation and self.validation else None

    @functools.cached_property
    def test_data(self) -> "tf.data.Dataset":
        """A `tf.data.Dataset` of batches of test images, in their own order."""
        return self._in_order(self._test._replace(images=self.test_images), "test")

    def _in_order(self, split: Split, purpose: str) -> "tf.data.Dataset":
        """Batches of images in their own order."""
        from bicoder.engine.batches import Batches

        return Batches(self._examples(split, purpose), self.batch_size, self.seed, shuffle=False).dataset()

    def _examples(self, split: Split, purpose: str) -> Any:
        """What batches are made of: images (N, ...), or images and labels (N,)."""
        name = f"{self.dataset.name}: {purpose} images"
        return (split.images, known_labels(split, name)) if self.with_labels else split.images


def say(line: str) -> None:
    """A note about the data; standard output is for results."""
    print(line, file=sys.stderr)
