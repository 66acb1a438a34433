"""The pictures of data of several views."""

from pathlib import Path
from typing import Any

import numpy as np

from bicoder.engine.arrays.conditioned import parted
from bicoder.engine.arrays.masked import Masked, lacking
from bicoder.engine.arrays.there import spread
from bicoder.errors import counted
from bicoder.evaluation.latent_space import FEWEST, label_accuracy
from bicoder.pictures.drawing.matrix import matrix
from bicoder.pictures.drawing.panels import scatter_panels
from bicoder.pictures.drawing.plotting import as_images
from bicoder.pictures.picture import Subject

ACROSS = 20  # examples beside each other
EXAMPLES = 6  # of a cell of the matrix


def joint_samples(subject: Subject, images: dict[str, Any], title: str, path: Path) -> Path:
    """In each column, all views of one z ~ p(z); the images are those of each view, (N, ...)."""
    views = [(view, as_images(images[view], shape)) for view, shape in subject.image_shape.items()]
    return below_each_other(views, title, path)


def given_and_made(given: dict[str, Any], made: dict[str, Any], shapes: dict[str, Any], name: str, path: Path) -> Path:
    """In each column, the views that are given, and below them those that are made of them.

    Args:
        given, made: view -> images (N, ...).
        shapes: view -> (height, width, channels), or None for vectors that are no images.
        name: of the data.
        path: PNG to write.
    """
    views = [(f"given {view}", as_images(values(images), shapes.get(view))) for view, images in given.items()]
    views += [(view, as_images(images, shapes.get(view))) for view, images in made.items()]
    title = f"{name}: {', '.join(made)} from {', '.join(given)}, mean of p(x|z) for z ~ q(z|x given)"
    return below_each_other(views, title, path)


def below_each_other(views: list[tuple[str, np.ndarray]], title: str, path: Path) -> Path:
    """A row for each view of its name and images, and rows below them for examples that are too many for one."""
    count = len(views[0][1])
    rows = [(name, images[start : start + ACROSS]) for start in range(0, count, ACROSS) for name, images in views]
    cells = [[images] for _, images in rows]
    return matrix(cells, path, title, [name for name, _ in rows], [""], min(ACROSS, count))


def from_each_to_each(subject: Subject, path: Path) -> Path:
    """Test examples, and below them what the model makes of one view, then of all of them, of every view."""
    x, y = parted(subject.taken(complete(subject)[:EXAMPLES]))
    views = subject.views
    given = {f"given {view}": {view: x[view]} for view in views} | {"given all": x}
    made = {"test examples": {view: values(one) for view, one in x.items()}}
    for name, some in given.items():
        codes = subject.vae.encode(some, y).sample(subject.seed)
        made[name] = subject.vae.decode(codes, y).mean
    cells = [[as_images(row[view], subject.image_shape[view]) for view in views] for row in made.values()]
    title = f"{subject.name}: {counted(len(cells[0][0]), 'test example')}; below, mean of p(x|z) for z ~ q(z|x given)"
    return matrix(cells, path, title, list(made), views, len(cells[0][0]))


def have_all(subject: Subject) -> int:
    """How many test examples have all views; 0 if they are too few to have neighbours."""
    count = int((lacking(parted(subject.images)[0]) == 0).sum())
    return count if count >= FEWEST else 0


def codes_by_what_is_given(subject: Subject, path: Path) -> Path:
    """Posterior means given all views and given each alone, in one plane: of test examples that have all of them."""
    found = subject.mapped
    labels = None if subject.labels is None else subject.labels[found.chosen]
    how = found.plane.how
    title = f"{subject.name}: {how} of {counted(len(found.chosen), 'test example')}, given all views and one alone"
    known = (
        {} if labels is None else {name: label_accuracy(some, labels, "10-NN") for name, some in found.codes.items()}
    )
    notes = {name: f", 10-NN accuracy {one:.3f}" for name, one in known.items() if one is not None}
    return scatter_panels(found.points, notes, path, title, labels, subject.label_names, found.plane.axes)


def complete(subject: Subject) -> np.ndarray:
    """The numbers of test examples by chance, those that have all views first."""
    lacks = lacking(parted(subject.images)[0])
    chosen = subject.some(len(lacks))
    return chosen[np.argsort(lacks[chosen], kind="stable")]


def values(x: Any) -> np.ndarray:
    """Images in white where they are missing."""
    if not isinstance(x, Masked):
        return x
    return np.where(np.asarray(spread(x.there, x.values)) > 0, x.values, 1.0)
