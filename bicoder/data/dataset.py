"""What a data set is, and what it gives."""

import abc
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bicoder.component import Component
from bicoder.errors import UsageError

if TYPE_CHECKING:
    from bicoder.data.formats.label_file import LabelFile


class Images(NamedTuple):
    """What a data set gives: arrays (N, D), (N, height, width) or (N, height, width, channels), and labels (N,)."""

    train: Any  # None if only the test images were to be read
    test: Any = None  # None: the loader holds some of the training images out
    train_labels: Any = None
    test_labels: Any = None
    label_names: tuple = ()
    # Of the images that are there, be they `train` or the `test` images alone, if they are files:
    names: np.ndarray | None = None  # (N,) of text
    purposes: np.ndarray | None = None  # (N,) of text, what each is for, if the data set says so
    left_out: tuple[int, ...] = ()  # numbers of names that turned out to be damaged, and are not in the array


class Dataset(Component):
    """A source of images.

    Args:
        dset: what the user asked for: the name of a data set, or a path.
        view: for `mnist_color`, which of its five versions.
        image_size: (height, width) or None, for folders of images.
        fetch: function (name, url, most=) -> path of a file in the cache, see `cache.cached_file`.
        say: function that is called with a line about what was decided.
        only_test: True to leave the training images out, if the test images are a file or an array of their own; a data
            set that cannot reads both.
        data_dir: folder of files that are kept, see `cache.data_folder`.
        channels: 1 or 3, of a folder of images; None for what they have.
        labels: function -> what `label_file.read_labels` reads, labels that come before those of the data set; or None.
        skip_damaged: True to go on without images of a folder that are damaged.
        validation: whether images for validation are wanted.
        split: what images are for -> what they are called, to read no others of a folder; or None.
    """

    # What trains well if the user says nothing: epochs, and the sigma of the Gaussian likelihood.
    epochs: int = 20
    sigma: float | str = "learned"
    # Whether examples are vectors, as the data set's own task has them, or images.
    flatten = False
    # Whether the images are always read while the model learns, as there may be more than memory holds.
    streams = False
    # How many labels there are, from 0 on; None if any whole number is one.
    classes: int | None = None

    def __init__(
        self,
        dset: Any,
        view: str = "m0",
        image_size: tuple[int, int] | None = None,
        fetch: Any = None,
        say: Callable[[str], Any] = print,
        only_test: bool = False,
        data_dir: str | Path | None = None,
        channels: int | None = None,
        labels: "Callable[[], LabelFile] | None" = None,
        skip_damaged: bool = False,
        validation: bool = False,
        split: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self.dset, self.view, self.image_size, self.fetch, self.say = dset, view, image_size, fetch, say
        self.only_test, self.data_dir, self.channels, self.labels = only_test, data_dir, channels, labels
        self.skip_damaged, self.validation, self.split = skip_damaged, validation, split

    def of_views(self, views: Sequence[str]) -> "dict[str, Dataset]":
        """View -> the data set of it alone, whose images are in the order of those of all views, or have their names.

        Raises:
            UsageError: it has no such views.
        """
        return {view: self.of_view(view) for view in views}

    def of_view(self, view: str) -> "Dataset":
        """The data set of one view alone."""
        raise UsageError(
            "views: expected mnist_color, a folder with a sub-folder for each view, or an .npz file with an array for "
            f"each, received {self.name}; leave them out"
        )

    def may_have_training_labels(self) -> bool:
        """False if it is known without reading the training images that nobody gives them labels."""
        return True

    def check_size(self, shape: tuple[int, ...]) -> None:
        """`UsageError` if images of this shape are of another size than was asked for: not all data sets scale them."""
        if self.image_size and shape[:2] != tuple(self.image_size):
            raise UsageError(
                f"image_size: expected a folder of images with it, received {self.name} of shape {shape}; leave it out"
            )

    @property
    def name(self) -> str:
        """What messages call it."""
        return str(self.dset)

    @classmethod
    @abc.abstractmethod
    def accepts(cls, dset: Any) -> bool:
        """Whether `dset` names this data set, or is a path of its kind."""

    @abc.abstractmethod
    def read(self) -> Images:
        """The images, as `Images`."""

    def sources(self) -> Images:
        """The same, with a `Source` in place of each array that can be read in portions."""
        return self.read()

    def is_slow(self) -> bool:
        """Whether reading takes much longer than reading a converted copy."""
        return False
