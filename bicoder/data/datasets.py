"""Data sets: where their images are, and how they become arrays.

A new data set is one class: `read` returns `Images`, and the loader does the rest.
"""

import abc
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bicoder.component import Component
from bicoder.data.formats.archives import kind_of_file
from bicoder.data.formats.arrays import npz_names, open_array, read_array, read_npz
from bicoder.data.formats.pickles import read_views
from bicoder.data.sources import Source, of_files
from bicoder.data.views import VIEWS
from bicoder.errors import DataError, UsageError, suggestion

# dl=1 asks for the file; dl=0, which people share, can answer with a web page.
DROPBOX = "https://www.dropbox.com/scl/fi/{}/{}?rlkey={}&st={}&dl=1"


class Images(NamedTuple):
    """What a data set gives: arrays (N, D), (N, height, width) or (N, height, width, channels), and labels (N,)."""

    train: Any  # None if only the test images were to be read
    test: Any = None  # None: the loader holds some of the training images out
    train_labels: Any = None
    test_labels: Any = None
    label_names: tuple = ()


class Dataset(Component):
    """A source of images.

    Args:
        dset: what the user asked for: the name of a data set, or a path.
        view: for `mnist_color`, which of its five versions.
        image_size: (height, width) or None, for folders of images.
        fetch: function (name, url) -> path of a file in the cache.
        say: function that is called with a line about what was decided.
        only_test: True to leave the training images out, if the test images are a file or an array of their own; a data
            set that cannot reads both.
    """

    # What trains well if the user says nothing: epochs, and the sigma of the Gaussian likelihood.
    epochs: int = 20
    sigma: float | str = "learned"
    # Whether examples are vectors, as the data set's own task has them, or images.
    flatten = False
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
    ) -> None:
        self.dset, self.view, self.image_size, self.fetch, self.say = dset, view, image_size, fetch, say
        self.only_test = only_test

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


class Named(Dataset):
    """A data set that is known by its name, and may have files at its publisher."""

    # File name -> (folder, rlkey, st): what its address is made of.
    files: dict[str, tuple[str, str, str]] = {}

    @classmethod
    def accepts(cls, dset: Any) -> bool:
        return dset == cls.part_name()

    def fetch_all(self) -> list[Path]:
        """Paths of the files, in their order, fetched if they are not there yet."""
        return [self.fetch_file(name) for name in self.files]

    def fetch_file(self, name: str) -> Path:
        """Path of one of the files, fetched if it is not there yet."""
        folder, *keys = self.files[name]
        return self.fetch(name, DROPBOX.format(folder, name, *keys))


class Digits(Named):
    """8x8 grey digits, 1,797 of them, that come with scikit-learn: no network needed."""

    epochs = 300
    flatten = True
    classes = 10

    def read(self) -> Images:
        from sklearn.datasets import load_digits

        digits = load_digits()
        return Images((digits.images / 16.0).astype("float32"), train_labels=digits.target)


class _OwnTest(Named):
    """A data set of three files: training images, test images, and labels of these."""

    def fetch_wanted(self) -> tuple[Path | None, Path, Path]:
        """Paths of the three, of the first only if it is wanted."""
        train, test, labels = self.files
        return None if self.only_test else self.fetch_file(train), self.fetch_file(test), self.fetch_file(labels)


class MnistBW(_OwnTest):
    """28x28 grey digits, 60,000 to train and 10,000 to test, as vectors of 784."""

    sigma = 0.75
    flatten = True
    classes = 10
    files = {
        "mnist_bw.npy": ("fjye8km5530t9981ulrll", "ou7nt8t88wx1z38nodjjx6lch", "5swdpnbr"),
        "mnist_bw_te.npy": ("dj8vbkfpf5ey523z6ro43", "5msedqw3dhv0s8za976qlaoir", "nmu00cvk"),
        "mnist_bw_y_te.npy": ("8kmcsy9otcxg8dbi5cqd4", "atou1x07fnna5sgu6vrrgt9j1", "m05mfkwb"),
    }

    def read(self) -> Images:
        train, test, labels = (None if path is None else read_array(path) for path in self.fetch_wanted())
        shapes = [images.shape for images in (train, test) if images is not None]
        if any(math.prod(shape[1:]) != 784 for shape in shapes):
            received = " and ".join(map(str, shapes))
            raise DataError(f"mnist_bw: expected images of 784 pixels, received shapes {received}")
        train, test = (None if images is None else images.reshape(-1, 28, 28) for images in (train, test))
        return Images(train, test, test_labels=labels)


class MnistColor(_OwnTest):
    """28x28 digits in colour, 60,000 to train and 10,000 to test, in five versions (--view)."""

    sigma = 0.75
    classes = 10
    files = {
        "mnist_color.pkl": ("w7hjg8ucehnjfv1re5wzm", "ya9cpgr2chxt017c4lg52yqs9", "ev984mfc"),
        "mnist_color_te.pkl": ("w08xctj7iou6lqvdkdtzh", "xntuty30shu76kazwhb440abj", "u0hd2nym"),
        "mnist_color_y_te.npy": ("fkf20sjci5ojhuftc0ro0", "fshs83hd5pvo81ag3z209tf6v", "99z1o18q"),
    }

    def read(self) -> Images:
        """The test images stay in the file, if it is a bare pickle, until somebody asks for them."""
        from bicoder.data.conversion import in_place

        def read(path: Path) -> np.ndarray:
            return read_views(path, [self.view], VIEWS)[0]

        def read_later(path: Path) -> Any:
            return in_place(read_views(path, [self.view], VIEWS, True)[0], path) or read(path)

        return self.images(read, read_later)

    def sources(self) -> Images:
        def source(path: Path) -> Source:
            return of_files(lambda: read_views(path, [self.view], VIEWS, True)[0], path, [path], self.view)

        return self.images(source, source)

    def images(self, train_of: Callable[[Path], Any], test_of: Callable[[Path], Any]) -> Images:
        """`Images` of the files, each array what its function makes of its path."""
        if self.view not in VIEWS:
            raise UsageError(f"view: expected one of {', '.join(VIEWS)}, received {self.view!r}")
        train, test, labels = self.fetch_wanted()
        return Images(train and train_of(train), test_of(test), test_labels=read_array(labels))

    def is_slow(self) -> bool:
        """A bare pickle is not: its view is found by skipping the others, so a copy is no less to read."""
        return any(kind_of_file(path) in ("zip", "gzip") for path in self.fetch_wanted()[:2] if path)


class Folder(Dataset):
    """A folder of PNG or JPEG images of any size; the names of its sub-folders are the labels."""

    @classmethod
    def accepts(cls, dset: Any) -> bool:
        return Path(dset).is_dir() and not Idx.accepts(dset)

    def read(self) -> Images:
        from bicoder.data.formats.folders import read_folder

        images, labels, names = read_folder(Path(self.dset), self.image_size, self.say)
        return Images(images, train_labels=labels, label_names=names)

    def sources(self) -> Images:
        from bicoder.data.formats.folders import find_images, labels_of, open_images

        folder, size = Path(self.dset), self.image_size
        paths = find_images(folder)
        labels, names = labels_of(folder, paths)
        source = of_files(lambda: open_images(folder, paths, size, self.say), folder, paths, str(size), folder)
        return Images(source, train_labels=labels, label_names=names)


class Npy(Dataset):
    """A .npy array (N, height, width), (N, height, width, channels) or (N, D)."""

    @classmethod
    def accepts(cls, dset: Any) -> bool:
        return Path(dset).is_file() and not Npz.accepts(dset) and not Idx.accepts(dset)

    def read(self) -> Images:
        return Images(read_array(self.dset))

    def sources(self) -> Images:
        return Images(of_files(lambda: open_array(self.dset), self.dset, [self.dset]))


class Npz(Dataset):
    """An .npz file with one array of images and, if it has them, `labels`; x_train, x_test and so on are known."""

    known = {
        "train": ("x_train", "train_images", "images", "imgs", "x", "X", "data", "arr_0"),
        "test": ("x_test", "test_images"),
        "train_labels": ("y_train", "train_labels", "labels", "y"),
        "test_labels": ("y_test", "test_labels"),
    }

    @classmethod
    def accepts(cls, dset: Any) -> bool:
        path = Path(dset)
        return path.suffix.lower() == ".npz" and path.is_file() and kind_of_file(path) == "zip"

    def read(self) -> Images:
        names = npz_names(self.dset)
        chosen = {field: next((n for n in known if n in names), None) for field, known in self.known.items()}
        if chosen["train"] is None and len(names) == 1:
            chosen["train"] = names[0]
        if chosen["train"] is None:
            listed = ", ".join(names[:20]) or "nothing"
            raise DataError(f"{self.dset}: expected an array called images, received {listed}")
        if self.only_test and chosen["test"]:
            chosen["train"] = chosen["train_labels"] = None
        arrays = read_npz(self.dset, chosen.values())
        found: dict[str, Any] = {field: arrays[name] for field, name in chosen.items() if name in arrays}
        return Images(found.pop("train", None), **found)


class Idx(Dataset):
    """The format of the original MNIST files: train-images-idx3-ubyte(.gz), or the folder that holds it."""

    @staticmethod
    def beside(path: Path, old: str, new: str) -> Path | None:
        """The file whose name has `new` for `old`, with or without .gz, or None."""
        name = path.name.removesuffix(".gz").replace(old, new)
        return next((p for p in (path.with_name(name), path.with_name(name + ".gz")) if p.is_file()), None)

    @classmethod
    def training_file(cls, dset: Any) -> Path | None:
        """The file of images that `dset` stands for, or None."""
        path = Path(dset)
        return (
            cls.beside(path / "train-images-idx3-ubyte", "", "") if path.is_dir() else path if path.is_file() else None
        )

    @classmethod
    def accepts(cls, dset: Any) -> bool:
        path = cls.training_file(dset)
        return path is not None and ("idx" in path.name or kind_of_file(path) == "idx")

    def read(self) -> Images:
        train = self.training_file(self.dset)
        if train is None:
            raise DataError(f"{self.dset}: expected an IDX file, received nothing; it has been removed")
        files: list[Path | None] = [train, None, None, None]
        if "images-idx3" in train.name:
            files[2] = self.beside(train, "images-idx3", "labels-idx1")
        if train.name.startswith("train-images-idx3"):
            files[1] = self.beside(train, "train-", "t10k-")
            files[3] = self.beside(train, "train-images-idx3", "t10k-labels-idx1")
        if self.only_test and files[1]:
            files[0] = files[2] = None
        arrays: Any = (None if file is None else read_array(file) for file in files)
        return Images(*arrays)


def find_dataset(dset: Any) -> type[Dataset]:
    """The class that `dset` is of; `UsageError` for an unknown name, `DataError` for a path that is not there."""
    if not str(dset):
        raise UsageError("dset: expected a name or a path, received an empty text")
    members = Dataset.members()
    try:
        for member in members.values():
            if member.accepts(dset):
                return member
    except OSError as error:
        raise DataError(f"dset: the path {str(dset)[:80]!r} cannot be read: {error.strerror}") from error
    names = [name for name, member in members.items() if issubclass(member, Named)]
    if any(mark in str(dset) for mark in ("/", "\\", ".")):
        raise DataError(
            f"dset: expected a folder, a .npy, .npz or IDX file, received the path {str(dset)!r}: not there"
        )
    raise UsageError(
        f"dset: expected {', '.join(names)}, or the path of a folder or an array file, received {str(dset)!r}"
        f"{suggestion(dset, names)}"
    )
