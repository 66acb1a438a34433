"""Several views of the same examples: which rows or files of them belong together."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bicoder.data.formats.folders import NO_LABEL
from bicoder.data.preparation import Read
from bicoder.data.splits import Split, rows_of
from bicoder.engine.arrays.masked import Masked
from bicoder.engine.arrays.view_names import MOST_VIEWS, is_view_name
from bicoder.errors import DataError, UsageError, counted


def check_views(views: Sequence[str]) -> tuple[str, ...]:
    """Names of views, as a tuple.

    Raises:
        UsageError: they are no names, come twice, or are too many.
    """
    names = tuple(views)
    if not all(is_view_name(name) and name.isprintable() for name in names):
        raise UsageError(f"views: expected names of views other than 'name' and 'class_name', received {names!r}")
    if not 1 < len(set(names)) == len(names) <= MOST_VIEWS:
        raise UsageError(f"views: expected 2 to {MOST_VIEWS} names, each once, received {', '.join(names)}")
    return names


def together(views: Mapping[str, Read], name: str, say: Callable[[str], Any]) -> Read:
    """What was read of each view as one, whose images are a dict view -> images, `Masked` if some lack the view.

    Args:
        views: view -> what was read of it.
        name: what messages call the data.
        say: called with a line about examples that lack a view.
    Raises:
        DataError: arrays of the views differ in length.
    """
    first = next(iter(views.values()))
    labels: list[str] = sorted({label for read in views.values() for label in read.label_names})
    parts: dict[str, Split | None] = {}
    for part in ("train", "test"):
        splits = {view: getattr(read, part) for view, read in views.items()}
        known = {view: relabelled(one, views[view].label_names, labels) for view, one in splits.items() if one}
        parts[part] = aligned_by_name(known, name, say) if known else None
    there = {called for part in parts.values() if part for called in part.names.tolist()}
    damaged = {called for read in views.values() for called in read.damaged.tolist()} - there
    said = any(read.purposes is not None for read in views.values())
    return Read(
        parts["train"],
        parts["test"],
        {view: read.scaling for view, read in views.items()},
        purposes_of(views, parts["train"].names) if said and parts["train"] else None,
        tuple(labels),
        np.array(sorted(damaged), object),
        first.are_files,
    )


def relabelled(split: Split, names: Sequence[str], all_names: Sequence[str]) -> Split:
    """A view's images with labels that count the names of all views."""
    if split.labels is None or not names:
        return split
    new = np.array([all_names.index(name) for name in names])
    return split._replace(labels=np.where(split.labels < 0, NO_LABEL, new[split.labels]))


class Together(NamedTuple):
    """Which rows of some views are one example.

    Args:
        names: of the examples, text (N,), or whole numbers (N,).
        labels: whole numbers (N,), `NO_LABEL` if no view says one; None if none has any.
        rows: view -> its row of each example, (N,), in their order; -1 if the example lacks it.
    """

    names: np.ndarray
    labels: np.ndarray | None
    rows: dict[str, np.ndarray]


def rows_together(views: Mapping[str, Split], name: str, say: Callable[[str], Any]) -> Together:
    """The rows of each view, of which those of the same name are one example; the images themselves are not asked for.

    Args:
        views: view -> what its images are called, and their labels.
        name: what messages call the data.
        say: called with a line about examples that lack a view.
    Raises:
        DataError: they are called by their rows, and views differ in length.
    """
    called = {view: split.names for view, split in views.items()}
    first = next(iter(called.values()))
    if first.dtype.kind == "i":
        lengths = {view: len(names) for view, names in called.items()}
        if len(set(lengths.values())) > 1:
            listed = ", ".join(f"{count:,} of {view}" for view, count in lengths.items())
            raise DataError(f"{name}: expected as many images of each view, received {listed}")
        names, found = first, dict.fromkeys(views, np.arange(len(first)))
    else:
        names = np.array(sorted({one for some in called.values() for one in some.tolist()}), object)
        found = {view: places_of(names, some) for view, some in called.items()}
    labels = None
    for view, split in views.items():
        rows = found[view]
        if missing := int((rows < 0).sum()):
            say(f"{name}: {missing:,} of {counted(len(names), 'example')} lack the view {view}.")
        if split.labels is not None:
            labels = np.full(len(names), NO_LABEL) if labels is None else labels
            labels = np.where((labels < 0) & (rows >= 0), split.labels[rows], labels)
    return Together(names, labels, found)


def places_of(names: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Where names (N,) stand among others, (N,), -1 for those that do not."""
    places = {one: place for place, one in enumerate(among.tolist())}
    return np.array([places.get(one, -1) for one in names.tolist()], "int64")


def aligned_by_name(views: Mapping[str, Split], name: str, say: Callable[[str], Any]) -> Split:
    """The images of each view, of which those of the same name are one example."""
    names, labels, rows = rows_together(views, name, say)
    images = {view: of_rows(split.images, rows[view]) for view, split in views.items()}
    return Split(images, None if labels is None or (labels < 0).any() else labels, names)


def of_rows(images: Any, rows: np.ndarray) -> Any:
    """Images of these rows (N,), `Masked` where a row is -1."""
    there = rows >= 0
    places = np.maximum(rows, 0)
    found = images if np.array_equal(places, np.arange(len(images))) else rows_of(images, places)
    return found if there.all() else Masked(found, there.astype("float32"))


def purposes_of(views: Mapping[str, Read], names: np.ndarray) -> np.ndarray:
    """What each example is for, by any of its views that says so."""
    said: dict[Any, str] = {}
    for read in views.values():
        if read.train and read.purposes is not None:
            said |= dict(zip(read.train.names.tolist(), read.purposes.tolist(), strict=True))
    return np.array([said.get(name, "training") for name in names.tolist()], object)
