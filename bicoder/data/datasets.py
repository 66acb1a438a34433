"""Data sets of one's own: folders, arrays, files; and which data set somebody means.

A new data set is one class: `read` returns `Images`, and the loader does the rest.
"""

import contextlib
import copy
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bicoder.data.dataset import Dataset, Images
from bicoder.data.formats.archives import kind_of_file
from bicoder.data.formats.arrays import npz_names, open_array, read_array, read_npz
from bicoder.data.packs.packed import Packed
from bicoder.data.published import Named
from bicoder.data.stored.sources import WITHOUT_DAMAGED, of_files
from bicoder.errors import DataError, UsageError, counted, suggestion
from bicoder.files.cache import data_folder
from bicoder.files.regular_file import kind_of_entry
from bicoder.files.whole_file import whole_file

if TYPE_CHECKING:
    from bicoder.data.formats.folders import Arrangement
    from bicoder.data.formats.reading import Pictures


class Folder(Dataset):
    """A folder of images of any size; its sub-folders are labels, or a split, see `folders.arrange`."""

    @classmethod
    def accepts(cls, dset: Any) -> bool:
        return Path(dset).is_dir() and not Idx.accepts(dset) and not Packed.accepts(dset)

    every: Sequence[str] = ()  # names of all files of all views, if there are several; else they are those found here

    def of_views(self, views: Sequence[str]) -> dict[str, Dataset]:
        found = [self.of_view(view) for view in views]
        if self.labels is not None:  # which may be in the order of the examples, some of which lack this view or that
            from bicoder.data.formats.folders import find_images, names_below

            folders = [Path(part.dset) for part in found]
            every = {name for folder in folders for name in names_below(folder, find_images(folder))}
            for part in found:
                part.every = sorted(every)
        return dict(zip(views, found, strict=True))

    def of_view(self, view: str) -> "Folder":
        folder, found = Path(self.dset), copy.copy(self)
        found.dset = folder / view
        if not is_below(view) or not found.dset.is_dir():
            raise DataError(f"views: expected a sub-folder for each view, received {view!r}: not there in {folder}")
        return found

    def check_size(self, shape: tuple[int, ...]) -> None:
        """They were scaled when they were read."""

    def read(self) -> Images:
        found, alone = self.arranged(), False
        if self.only_test and found.purposes is not None:
            alone, found = True, found.take(np.flatnonzero(found.purposes == "test"))
        pictures = self.pictures(found)
        return self.images(pictures.array(), found, tuple(pictures.left_out()), alone)

    def sources(self) -> Images:
        folder, found = Path(self.dset), self.arranged()
        pictures = self.pictures(found)
        how = f"{self.image_size} {self.channels}" + (WITHOUT_DAMAGED if self.skip_damaged else "")
        source = of_files(pictures.open, folder, found.paths, how, folder, pictures.left_out)
        return self.images(source._replace(pictures=pictures), found)

    def arranged(self) -> "Arrangement":
        """The images that are wanted, with their names, labels and purposes."""
        from bicoder.data.formats.folders import arrange, find_images, names_below

        folder = Path(self.dset)
        paths = find_images(folder, self.say)
        found = arrange(folder, paths, self.validation, self.say if not self.split else str)
        if self.labels is not None:
            every = self.every or names_below(folder, paths)
            labels, label_names = self.labels().of(found.names.tolist(), every, self.say)
            found = found._replace(labels=labels, label_names=label_names)
        if self.split is None:
            return found
        uses = {name: use for use, names in self.split.items() for name in names.tolist()}
        there = np.array([name in uses for name in found.names], bool)
        if others := int((~there).sum()):
            self.say(f"{folder}: {counted(others, 'image')} that the split does not name, left out.")
        found = found.take(np.flatnonzero(there))
        if not found.paths:
            raise DataError(f"{folder}: expected the images that the split names, received none of them")
        return found._replace(purposes=np.array([uses[name] for name in found.names], object))

    def pictures(self, found: "Arrangement") -> "Pictures":
        """The files as one array."""
        from bicoder.data.formats.reading import Pictures

        return Pictures(
            Path(self.dset), found.paths, self.image_size, self.channels, self.skip_damaged, self.say, self.list_file
        )

    def list_file(self, lines: list[str]) -> Path | None:
        """Keep the list of damaged files beside the downloads; its path, or None if that cannot be."""
        folder = Path(self.dset).absolute()
        number = hashlib.sha256(os.fsencode(folder)).hexdigest()[:8]
        path = data_folder(self.data_dir) / "damaged" / f"{folder.name[:40]}-{number}.txt"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as new:
                new.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="surrogateescape")
        except (OSError, UsageError):
            return None
        return path

    def images(self, array: Any, found: "Arrangement", left_out: tuple[int, ...] = (), alone: bool = False) -> Images:
        """`Images` of an array, or a `Source`, of files; alone if they are the test images and no others."""
        images = Images(array, None, found.labels, None, found.label_names, found.names, found.purposes, left_out)
        return images._replace(train=None, test=array, train_labels=None, test_labels=found.labels) if alone else images


class Given(Dataset):
    """Images that are in memory already: an array, or a pair (images, labels) of arrays."""

    @classmethod
    def accepts(cls, dset: Any) -> bool:
        pair = dset if isinstance(dset, tuple) and len(dset) == 2 else (dset,)
        return all(hasattr(array, "__array__") for array in pair)

    @property
    def name(self) -> str:
        return "images"

    def read(self) -> Images:
        images, labels = self.dset if isinstance(self.dset, tuple) else (self.dset, None)
        return Images(np.asarray(images), train_labels=None if labels is None else np.asarray(labels))


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

    array: str | None = None  # the only one that is wanted, of one view

    @property
    def name(self) -> str:
        return str(self.dset) if self.array is None else f"{self.dset}: {self.array}"

    def of_view(self, view: str) -> "Npz":
        names = npz_names(self.dset)
        if view not in names:
            received = f"{view!r}, and the file has {', '.join(names[:20]) or 'none'}"
            raise DataError(f"{self.dset}: views: expected an array for each view, received {received}")
        found = copy.copy(self)
        found.array = view
        return found

    @classmethod
    def accepts(cls, dset: Any) -> bool:
        path = Path(dset)
        return path.suffix.lower() == ".npz" and path.is_file() and kind_of_file(path) == "zip"

    def read(self) -> Images:
        names = npz_names(self.dset)
        chosen = {field: next((n for n in known if n in names), None) for field, known in self.known.items()}
        if self.array is not None:
            chosen = {"train": self.array, "train_labels": chosen["train_labels"]}
        if chosen["train"] is None and len(names) == 1:
            chosen["train"] = names[0]
        if chosen["train"] is None:
            listed = ", ".join(names[:20]) or "nothing"
            raise DataError(f"{self.dset}: expected an array called images, received {listed}")
        if self.only_test and chosen.get("test"):
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


def missing(path: str | os.PathLike) -> str:
    """How an error ends that is about a path where nothing is."""
    if "://" in str(path):
        return f"the address {str(path)!r}; fetch it first, and give the path of the file"
    return f"the path {str(path)!r}: not there"


def find_dataset(dset: Any) -> type[Dataset]:
    """The class that `dset` is of; `UsageError` for an unknown name, `DataError` for a path that is not there."""
    if Given.accepts(dset):
        return Given
    if not isinstance(dset, (str, os.PathLike)):
        raise UsageError(
            "dset: expected a name, a path, an array, or a pair (images, labels) of arrays, received "
            f"{type(dset).__name__}"
        )
    if not str(dset):
        raise UsageError("dset: expected a name or a path, received an empty text")
    members, there = Dataset.members(), None
    try:
        for member in members.values():
            if member.accepts(dset):
                return member
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, ValueError):  # the last for a zero byte
            there = kind_of_entry(Path(dset).stat().st_mode)
    except OSError as error:
        raise DataError(f"dset: the path {str(dset)[:200]!r} cannot be read: {error.strerror}") from error
    if there is not None:
        raise DataError(f"dset: expected a folder, a .npy, .npz or IDX file, received {str(dset)!r}: {there}")
    names = [name for name, member in members.items() if issubclass(member, Named)]
    if any(mark in str(dset) for mark in ("/", "\\", ".")):
        raise DataError(f"dset: expected a folder, a .npy, .npz or IDX file, received {missing(dset)}")
    raise UsageError(
        f"dset: expected {', '.join(names)}, or the path of a folder or an array file, received {str(dset)!r}"
        f"{suggestion(dset, names)}"
    )


def is_below(name: str) -> bool:
    """Whether a name is that of something in a folder, and leads out of it in no way."""
    return Path(name).name == name and name not in ("", ".", "..")
