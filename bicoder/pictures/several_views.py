"""The pictures of data of several views."""

from pathlib import Path
from typing import Any

import numpy as np

from bicoder.engine.arrays.masked import Masked, arrays_in
from bicoder.errors import counted
from bicoder.pictures.matrix import matrix
from bicoder.pictures.picture import Subject
from bicoder.pictures.plotting import as_images

ACROSS = 20  # examples beside each other
EXAMPLES = 6  # of a cell of the matrix


def joint_samples(subject: Subject, images: dict[str, Any], title: str, path: Path) -> Path:
    """In each column, all views of one z ~ p(z); the images are those of each view, (N, ...)."""
    views = list(subject.image_shape)
    count = len(images[views[0]])
    rows = [(view, slice(start, start + ACROSS)) for start in range(0, count, ACROSS) for view in views]
    cells = [[as_images(images[view][some], subject.image_shape[view])] for view, some in rows]
    return matrix(cells, path, title, [view for view, _ in rows], [""], min(ACROSS, count))


def given_and_made(given: dict[str, Any], made: dict[str, Any], shapes: dict[str, Any], name: str, path: Path) -> Path:
    """In each column, the views that are given, and below them those that are made of them.

    Args:
        given, made: view -> images (N, ...).
        shapes: view -> (height, width, channels), or None for vectors that are no images.
        name: of the data.
        path: PNG to write.
    """
    views = [(f"given {view}", view, images) for view, images in given.items()]
    views += [(view, view, images) for view, images in made.items()]
    count = len(views[0][2])
    rows = [(*view, slice(start, start + ACROSS)) for start in range(0, count, ACROSS) for view in views]
    cells = [[as_images(images[some], shapes.get(view))] for _, view, images, some in rows]
    title = f"{name}: {', '.join(made)} from {', '.join(given)}, mean of p(x|z) for z ~ q(z|x given)"
    return matrix(cells, path, title, [called for called, *_ in rows], [""], min(ACROSS, count))


def from_each_to_each(subject: Subject, path: Path) -> Path:
    """Test examples, and below them what the model makes of one view, then of all of them, of every view."""
    views, x = subject.views, subject.taken(complete(subject)[:EXAMPLES])
    given = {f"given {view}": {view: x[view]} for view in views} | {"given all": x}
    made = {"test examples": {view: values(one) for view, one in x.items()}}
    for name, some in given.items():
        codes = subject.vae.encode(some).sample(subject.seed)
        made[name] = subject.vae.decode(codes).mean
    cells = [[as_images(row[view], subject.image_shape[view]) for view in views] for row in made.values()]
    title = f"{subject.name}: {counted(len(cells[0][0]), 'test example')}; below, mean of p(x|z) for z ~ q(z|x given)"
    return matrix(cells, path, title, list(made), views, len(cells[0][0]))


def complete(subject: Subject) -> np.ndarray:
    """The numbers of test examples by chance, those that have all views first."""
    chosen = subject.some(len(arrays_in(subject.images)[0]))
    lacks = np.zeros(len(chosen))
    for one in subject.images.values():
        if isinstance(one, Masked):
            lacks += np.asarray(one.there).reshape(len(one.there), -1)[chosen].min(axis=1) == 0
    return chosen[np.argsort(lacks, kind="stable")]


def values(x: Any) -> np.ndarray:
    """Images in white where they are missing."""
    if not isinstance(x, Masked):
        return x
    there = np.reshape(x.there, (*x.there.shape, *[1] * (x.values.ndim - x.there.ndim)))
    return np.where(there > 0, x.values, 1.0)
