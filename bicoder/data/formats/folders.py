"""A folder of images: which files they are, what they are called, their labels, and the split that folders make."""

import collections
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bicoder.data.formats.images import LISTED, SUFFIXES
from bicoder.engine.arrays.view_names import MOST_VIEWS
from bicoder.errors import DataError, counted

# What images are for -> names of the folders that say so, in small letters.
SPLITS = {
    "training": ("train", "training"),
    "validation": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
# What shows that a folder is that of a run, whose pictures are none to learn from.
RUN = ("config.json", {"metrics.csv", "model.safetensors", "model.weights.h5"})
NO_LABEL = -1  # of an image in a folder; all labels are 0 or more


class Arrangement(NamedTuple):
    """The images of a folder.

    Args:
        paths: of the files.
        names: (N,) of text, the paths below the folder.
        labels: (N,), `NO_LABEL` if an image has none, or None if no image has one.
        label_names: text of every label.
        purposes: (N,) of text, what each is for; None if the folder does not say.
    """

    paths: list[Path]
    names: np.ndarray
    labels: np.ndarray | None = None
    label_names: tuple[str, ...] = ()
    purposes: np.ndarray | None = None

    def take(self, numbers: np.ndarray) -> "Arrangement":
        """Those of these numbers, in this order."""
        return self._replace(
            paths=[self.paths[i] for i in numbers],
            names=self.names[numbers],
            labels=None if self.labels is None else self.labels[numbers],
            purposes=None if self.purposes is None else self.purposes[numbers],
        )


def find_images(folder: Path, say: Callable[[str], Any] | None = None) -> list[Path]:
    """Paths of the images in a folder and its sub-folders, sorted; hidden files do not count.

    A link to a folder is followed, but no folder is entered twice. The folder of a run is left out.

    Args:
        folder: path.
        say: called with a line about files that are no images, if there are some.
    """
    found: list[Path] = []
    runs: list[str] = []
    others: collections.Counter[str] = collections.Counter()
    for root, seen in walk(folder):
        if is_run(seen):
            runs.append(root)
            continue
        images = [name for name in seen if name.lower().endswith(SUFFIXES)]
        found += [Path(root, name) for name in images]
        others.update(Path(name).suffix.lower()[:20] or "no suffix" for name in set(seen) - set(images))
    if runs and say:
        say(f"{folder}: {counted(len(runs), 'folder')} of runs, left out: {', '.join(runs[:3])}.")
    if not found:
        received = "a run, whose pictures are none to learn from" if runs[:1] == [str(folder)] else "none"
        raise DataError(f"{folder}: expected images, {LISTED}, in the folder or its sub-folders, received {received}")
    if others and say:
        listed = ", ".join(f"{count:,} {suffix}" for suffix, count in sorted(others.items())[:10])
        say(f"{folder}: {counted(others.total(), 'file')} of other kinds, left out: {listed}.")
    return found


def is_run(names: Collection[str]) -> bool:
    """Whether files of these names are those of a run."""
    config, others = RUN
    return config in names and not others.isdisjoint(names)


def walk(folder: str | Path) -> Iterator[tuple[str, list[str]]]:
    """Every folder from this one on, and the sorted names in it that are no folders; hidden ones do not count.

    What is below the folder of a run is left out. It is no recursion, as that of `os.walk` in older Pythons is: folders
    may lie in each other as deep as they like.
    """
    entered: set[tuple[int, int]] = set()
    left = [os.fspath(folder)]
    while left:
        root = left.pop()
        try:
            place = os.stat(root)  # noqa: PTH116 - it is a text
            if (place.st_dev, place.st_ino) in entered:
                continue
            entered.add((place.st_dev, place.st_ino))
            with os.scandir(root) as entries:
                visible = sorted((e.name, e.path, is_folder(e)) for e in entries if not e.name.startswith("."))
        except OSError as error:
            raise DataError(f"{error.filename}: cannot be read: {error.strerror or error}") from error
        names = [name for name, _, is_one in visible if not is_one]
        if not is_run(names):
            left += [path for _, path, is_one in reversed(visible) if is_one]
        yield root, names


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder, or a link to one; a link to itself is not."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def arrange(
    folder: Path, paths: Sequence[Path], validation: bool = False, say: Callable[[str], Any] = print
) -> Arrangement:
    """What the names of folders say of images: labels, and what they are for if folders are called train and test.

    The folder on the way to an image that says what it is for does not count as its label, but the next one.

    Args:
        folder: that holds them.
        paths: of the images.
        validation: whether images for validation are wanted; else those in a folder for them are left out.
        say: called with a line if folders look like a split.
    """
    ways = [path.relative_to(folder).parts for path in paths]
    tops = sorted({way[0] if len(way) > 1 else "" for way in ways})
    meant = {top: use for top in tops for use, names in SPLITS.items() if top.lower() in names}
    is_split = len(meant) == len(tops) and len(set(meant.values())) > 1 and "training" in meant.values()
    if meant and not is_split:
        as_what = "all of their images are taken together" if len(meant) == len(tops) else "they are labels here"
        say(
            f"{folder}: {' and '.join(meant)} looks like part of a split, which takes folders to train and to test and "
            f"no others: {as_what}."
        )
    level = 1 if len(meant) == len(tops) else 0
    labels, label_names = labels_of([way[level:] for way in ways], is_split)
    found = Arrangement(list(paths), np.array(names_below(folder, paths), object), labels, label_names)
    if not meant:
        say_if_views(folder, ways, say)
    return split_of_folders(folder, found, meant, validation, say) if is_split else found


def names_below(folder: Path, paths: Sequence[Path]) -> list[str]:
    """What images are called: their paths below the folder."""
    return ["/".join(path.relative_to(folder).parts) for path in paths]


def say_if_views(folder: Path, ways: Sequence[Sequence[str]], say: Callable[[str], Any]) -> None:
    """Say so if every sub-folder has files of the same names, as those of views do."""
    below: dict[str, set[Sequence[str]]] = {}
    for way in ways:
        below.setdefault(way[0] if len(way) > 1 else "", set()).add(tuple(way[1:]))
    first, *others = below.values()
    if 0 < len(others) < MOST_VIEWS and all(other == first for other in others):
        say(f"{folder}: its folders have files of equal names; if they are views of one, --views {','.join(below)}.")


def labels_of(ways: Sequence[Sequence[str]], gaps: bool) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Labels (N,) or None, and their names: the first folder on the way to each image.

    Args:
        ways: of each image, the folders on the way to it, and its name.
        gaps: whether some images may have none.
    """
    names = sorted({way[0] for way in ways if len(way) > 1})
    if len(names) < 2 or not (gaps or all(len(way) > 1 for way in ways)):
        return None, ()
    numbers = {name: number for number, name in enumerate(names)}
    return np.array([numbers[way[0]] if len(way) > 1 else NO_LABEL for way in ways]), tuple(names)


def split_of_folders(
    folder: Path, found: Arrangement, meant: dict[str, str], validation: bool, say: Callable[[str], Any]
) -> Arrangement:
    """The images with what they are for, as their folders have it, and that is said.

    Args:
        folder, validation, say: as in `arrange`.
        found: the images.
        meant: name of a folder -> what its images are for.
    """
    tops = np.array([name.split("/", 1)[0] for name in found.names], object)
    if "test" not in meant.values():
        meant = {top: "test" if use == "validation" else use for top, use in meant.items()}
    purposes = np.array([meant[top] for top in tops], object)
    counts = {top: int((tops == top).sum()) for top in meant}
    listed = ", ".join(
        f"{use} images in {top} ({counts[top]:,})" for use in SPLITS for top in meant if meant[top] == use
    )
    wanted = np.full(len(tops), True) if validation else purposes != "validation"
    left = "" if wanted.all() else "; those for validation are left out, unless --validation asks for some"
    say(f"{folder}: the split is that of its folders: {listed}{left}.")
    return found._replace(purposes=purposes).take(np.flatnonzero(wanted))
