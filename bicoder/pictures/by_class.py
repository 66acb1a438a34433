"""The pictures of a model that is told the class of an image."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bicoder.pictures.drawing.matrix import matrix
from bicoder.pictures.drawing.plotting import as_images, image_grid, shortened
from bicoder.pictures.picture import Subject

ACROSS = 20  # images of a class beside each other


def in_order(classes: Sequence[int], count: int) -> np.ndarray:
    """The class of each of `count` images, (count,): as many of each as possible, one class after the other."""
    return np.repeat(classes, [len(part) for part in np.array_split(np.arange(count), len(classes))])


def rows_of_classes(subject: Subject, images: Any, labels: np.ndarray, title: str, path: Path) -> Path:
    """A row for each class, or more where one is too short; of one class a grid.

    Args:
        subject: whose images they are.
        images: (N, ...).
        labels: of the images, (N,).
        title: line above all.
        path: PNG to write.
    """
    if (labels == labels[0]).all():
        name = subject.name_of(labels[0])
        return image_grid(images, path, f"{title}, y = {shortened(name)}", subject.image_shape)
    found, most = as_images(images, subject.image_shape), min(ACROSS, max(np.bincount(labels)))
    cells, names = [], []
    for label in dict.fromkeys(labels.tolist()):
        own = found[labels == label]
        rows = [own[start : start + most] for start in range(0, len(own), most)]
        cells += [[row] for row in rows]
        names += [subject.name_of(label)] + [""] * (len(rows) - 1)
    return matrix(cells, path, f"{title}, a row for each class y", names, [""], most)
