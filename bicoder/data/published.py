"""Data sets that have a name: where their publishers have them, and how they become arrays."""

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bicoder.data.dataset import Dataset, Images
from bicoder.data.formats.archives import kind_of_file
from bicoder.data.formats.arrays import read_array
from bicoder.data.formats.pickles import read_views
from bicoder.data.stored.sources import Source, of_files
from bicoder.data.views import VIEWS
from bicoder.errors import DataError, UsageError
from bicoder.files.cache import data_folder

# dl=1 asks for the file; dl=0, which people share, can answer with a web page.
DROPBOX = "https://www.dropbox.com/scl/fi/{}/{}?rlkey={}&st={}&dl=1"


def largest(shape: tuple[int, ...]) -> int:
    """Bytes that a file of so many numbers can have: eight for each, and a tenth for what stands around them."""
    return math.prod(shape) * 88 // 10


class Named(Dataset):
    """A data set that is known by its name, and may have files at its publisher."""

    # File name -> (folder, rlkey, st): what its address is made of.
    files: dict[str, tuple[str, str, str]] = {}
    # File name -> the shape of all its numbers, which says how large it can be; one that is not here has no limit.
    shapes: dict[str, tuple[int, ...]] = {}

    @classmethod
    def accepts(cls, dset: Any) -> bool:
        return dset == cls.part_name()

    def fetch_all(self) -> list[Path]:
        """Paths of the files, in their order, fetched if they are not there yet."""
        return [self.fetch_file(name) for name in self.files]

    def fetch_file(self, name: str) -> Path:
        """Path of one of the files, fetched if it is not there yet."""
        folder, *keys = self.files[name]
        shape = self.shapes.get(name)
        return self.fetch(name, DROPBOX.format(folder, name, *keys), most=None if shape is None else largest(shape))


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

    def training_labels(self) -> np.ndarray | None:
        """Labels of the training images, from a file that nobody publishes but that may lie beside theirs; or None."""
        return read_array(self.labels_file()) if self.labels is None and self.labels_file().is_file() else None

    def labels_file(self) -> Path:
        """Path of that file, which need not be there."""
        return data_folder(self.data_dir) / list(self.files)[2].replace("_te", "")

    def may_have_training_labels(self) -> bool:
        return self.labels is not None or self.labels_file().is_file()


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
    shapes = {"mnist_bw.npy": (60_000, 784), "mnist_bw_te.npy": (10_000, 784), "mnist_bw_y_te.npy": (10_000,)}

    def read(self) -> Images:
        train, test, labels = (None if path is None else read_array(path) for path in self.fetch_wanted())
        shapes = [images.shape for images in (train, test) if images is not None]
        if any(math.prod(shape[1:]) != 784 for shape in shapes):
            received = " and ".join(map(str, shapes))
            raise DataError(f"mnist_bw: expected images of 784 pixels, received shapes {received}")
        train, test = (None if images is None else images.reshape(-1, 28, 28) for images in (train, test))
        return Images(train, test, None if train is None else self.training_labels(), labels)


class MnistColor(_OwnTest):
    """28x28 digits in colour, 60,000 to train and 10,000 to test, in five versions (--view)."""

    sigma = 0.75
    classes = 10
    files = {
        "mnist_color.pkl": ("w7hjg8ucehnjfv1re5wzm", "ya9cpgr2chxt017c4lg52yqs9", "ev984mfc"),
        "mnist_color_te.pkl": ("w08xctj7iou6lqvdkdtzh", "xntuty30shu76kazwhb440abj", "u0hd2nym"),
        "mnist_color_y_te.npy": ("fkf20sjci5ojhuftc0ro0", "fshs83hd5pvo81ag3z209tf6v", "99z1o18q"),
    }
    shapes = {
        "mnist_color.pkl": (len(VIEWS), 60_000, 28, 28, 3),
        "mnist_color_te.pkl": (len(VIEWS), 10_000, 28, 28, 3),
        "mnist_color_y_te.npy": (10_000,),
    }

    def of_view(self, view: str) -> "MnistColor":
        found = copy.copy(self)
        found.view = known_view(view)
        return found

    def read(self) -> Images:
        """The test images stay in the file, if it is a bare pickle, until somebody asks for them."""
        from bicoder.data.stored.conversion import in_place

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
        known_view(self.view)
        train, test, labels = self.fetch_wanted()
        known = None if train is None else self.training_labels()
        return Images(train and train_of(train), test_of(test), known, read_array(labels))

    def is_slow(self) -> bool:
        """A bare pickle is not: its view is found by skipping the others, so a copy is no less to read."""
        return any(kind_of_file(path) in ("zip", "gzip") for path in self.fetch_wanted()[:2] if path)


def known_view(view: str) -> str:
    """The name of a view of `mnist_color`, or `UsageError`."""
    if view not in VIEWS:
        raise UsageError(f"view: expected one of {', '.join(VIEWS)}, received {view!r}")
    return view
