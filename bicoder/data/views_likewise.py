"""Several views of other examples, treated as a run treated its own: which files or rows belong together."""

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bicoder.data.dataset import Dataset
from bicoder.data.datasets import Folder, Npz, find_dataset, is_below
from bicoder.data.formats.arrays import npz_names
from bicoder.data.formats.folders import Arrangement
from bicoder.data.likewise import Likewise, Say, Treatment, check_there, files_of, likewise
from bicoder.data.several_views import Together, relabelled, rows_together
from bicoder.data.splits import Split
from bicoder.engine.arrays.masked import Masked, lacking
from bicoder.engine.arrays.portions import BYTES
from bicoder.errors import DataError, counted


def sources_of_views(path: Any, views: Iterable[str]) -> dict[str, Any]:
    """view -> its sub-folder of a folder, or its array of an .npz file, of those views that are there.

    Raises:
        DataError: none is there, or the path is of something else.
    """
    check_there(path)
    kind, place = find_dataset(path), Path(path)
    found: dict[str, Any] = {}
    if issubclass(kind, Folder):
        found = {view: place / view for view in views if is_below(view) and (place / view).is_dir()}
    elif issubclass(kind, Npz):
        there = npz_names(place)
        found = {view: Npz(place).of_view(view) for view in views if view in there}
    if not found:
        raise DataError(
            f"images: expected a folder with sub-folders, or an .npz file with arrays, of some of the views "
            f"{', '.join(views)}, received {path}; --given VIEW={path} takes images of one view"
        )
    return found


def views_like(sources: Mapping[str, Any], how: Mapping[str, Treatment], name: str, say: Say = print) -> Likewise:
    """Several views as a run would have had them, `Masked` where examples lack one.

    Files of the same name are one example if all views are folders; else images at the same place are one.

    Args:
        sources: view -> what `images_like` takes, or a `Dataset`.
        how: view -> what the run did to it.
        name: what messages call the data.
        say: called with a line about what was decided, and about examples that lack a view.
    Raises:
        DataError: as `images_like`; or there are not as many images of each view.
    """
    files = {view: None if isinstance(one, Dataset) else files_of(one, say) for view, one in sources.items()}
    folders = {view: found for view, found in files.items() if found and Path(sources[view]).is_dir()}
    names = None
    if len(folders) == len(files):
        (names, labels, rows), label_names = of_folders(folders, name, say)
        files = {view: folders[view].take(where[where >= 0]) for view, where in rows.items()}
    found = {view: likewise(source, files[view], how[view], say) for view, source in sources.items()}
    if names is None:
        label_names = next((one.label_names for one in found.values() if one.labels is not None), ())
        alike = {view: one.labels if one.label_names == label_names else None for view, one in found.items()}
        called = {view: Split(None, alike[view], np.arange(one.total)) for view, one in found.items()}
        _, labels, rows = rows_together(called, name, say)
        names = next(iter(found.values())).names if len(found) == 1 else None
    shapes = {view: how[view].shape for view in found}
    portions = side_by_side({view: one.portions for view, one in found.items()}, rows, shapes)
    return Likewise(len(next(iter(rows.values()))), portions, labels, label_names, names)


def of_folders(folders: Mapping[str, Arrangement], name: str, say: Say) -> tuple[Together, tuple[str, ...]]:
    """Which files of the views are one example, by their names, and the names of the labels of all."""
    label_names = sorted({label for found in folders.values() for label in found.label_names})
    called = {
        view: relabelled(Split(None, found.labels, found.names), found.label_names, label_names)
        for view, found in folders.items()
    }
    return rows_together(called, name, say), tuple(label_names)


def side_by_side(
    views: Mapping[str, Iterator[np.ndarray]],
    rows: Mapping[str, np.ndarray],
    shapes: Mapping[str, tuple[int, ...]],
) -> Iterator[dict[str, Any]]:
    """Examples of some views, a few MB at a time, from the images of each.

    Args:
        views: view -> arrays (n, ...) of those images that there are, in the order of the examples.
        rows: view -> (N,), -1 where an example lacks it.
        shapes: view -> that of one image.
    """
    some = max(1, BYTES // (4 * sum(map(math.prod, shapes.values()))))
    total = len(next(iter(rows.values())))
    there = {view: (where >= 0).astype("float32") for view, where in rows.items()}
    blocks = [
        regrouped(views[view], np.add.reduceat(known, range(0, total, some)), shapes[view])
        for view, known in there.items()
    ]
    for start, *images in zip(range(0, total, some), *blocks, strict=True):
        known = {view: one[start : start + some] for view, one in there.items()}
        yield {
            view: one if there[view].all() else spread_out(one, known[view])
            for view, one in zip(known, images, strict=True)
        }


def regrouped(portions: Iterator[np.ndarray], counts: Iterable[float], shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """The rows of portions again, in arrays (n, *shape) of so many each."""
    left = np.zeros((0, *shape), "float32")
    for count in map(int, counts):
        found = [left]
        while sum(map(len, found)) < count:
            found.append(next(portions))
        joined = np.concatenate(found)
        yield joined[:count]
        left = joined[count:]


def spread_out(images: np.ndarray, there: np.ndarray) -> Masked:
    """Images as those examples that have them, of all, (n,)."""
    values = np.zeros((len(there), *images.shape[1:]), "float32")
    values[there > 0] = images
    return Masked(values, there)


def having(split: Split, views: Iterable[str], say: Say) -> Split:
    """Some views alone, of those examples that have one of them."""
    images = {view: split.images[view] for view in views}
    rows = np.flatnonzero(lacking(images) < len(images))
    alone = split._replace(images=images)
    if len(rows) == len(split.names):
        return alone
    left = counted(len(split.names) - len(rows), "example")
    say(f"{left} of {len(split.names):,} have none of the given views, left out.")
    if not len(rows):
        raise DataError(f"given: expected examples that have {' or '.join(images)}, received none; give others")
    return alone.take(rows)
