"""Images on the way from one test image to another."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops

from bicoder.engine.arrays.conditioned import parted
from bicoder.evaluation.paths import spherical, straight
from bicoder.pictures.drawing.grids import named_grids
from bicoder.pictures.picture import Subject
from bicoder.pictures.traversals import CODES, decoded, mean_of, originals, repeated, rows_of_views, some_examples

PAIRS = 4
STEPS = 9  # codes from one end to the other


def between_pairs(subject: Subject, path: Path, count: int = PAIRS, labels_shown: bool = False) -> Path | None:
    """A row for each pair of test images, on the straight way and beside it on the spherical one.

    Of a model with a condition the two are of one class, which the whole way has.

    Args:
        subject: whose images they are.
        path: PNG to write.
        count: of the pairs.
        labels_shown: whether the rows say what the labels of the two are.
    Returns:
        None if there are no two images for a pair.
    """
    vae = subject.vae
    pairs = some_pairs(subject, count)
    if not len(pairs):
        return None
    chosen = subject.taken(pairs.ravel())
    codes = ops.convert_to_numpy(vae.encode(chosen).mean).reshape(-1, 2, vae.latent_dim)
    y = parted(chosen)[1]
    ways = {"straight": straight, "spherical": spherical} if vae.latent_dim > 1 else {"straight": straight}
    ends = {view: one.reshape(-1, 2, *one.shape[1:]) for view, one in originals(subject, pairs.ravel()).items()}
    grids = {}
    for name, way in ways.items():
        z = way(codes[:, 0], codes[:, 1], STEPS).reshape(-1, vae.latent_dim)
        images = decoded(subject, z, None if y is None else repeated(y[::2], STEPS))
        grids[name] = rows_of_views({view: between(one, ends[view]) for view, one in images.items()})
    named = [f"{text}, {view}" if view else text for text in names_of(subject, pairs, labels_shown) for view in ends]
    columns = ["x", "0", *[""] * (STEPS - 2), "1", "x"]
    title = f"{subject.name}: from one test image x to another" + ("" if y is None else ", both of the same class y")
    q = "q(z|x)" if y is None else "q(z|x, y)"
    title += f"\n{mean_of(subject)} on the way between the means of their {q}"
    return named_grids(grids, path, title, named, columns, axes_names=("share of the way", ""))


def some_pairs(subject: Subject, count: int) -> np.ndarray:
    """The numbers of pairs of test images by chance, (pairs, 2): of one class if the model is told it, else of two."""
    left, y = some_examples(subject)[:CODES].tolist(), parted(subject.images)[1]
    kinds, same = (subject.labels, False) if y is None else (of_one_kind(np.asarray(y)), True)
    pairs: list[tuple[int, int]] = []
    for first in list(left):
        if len(pairs) == count:
            break
        if first not in left:
            continue
        left.remove(first)
        fits = (one for one in left if kinds is None or (kinds[one] == kinds[first]) == same)
        second = next(fits, None if same or not left else left[0])
        if second is not None:
            left.remove(second)
            pairs.append((first, second))
    return np.array(pairs, int).reshape(-1, 2)


def of_one_kind(y: np.ndarray) -> np.ndarray:
    """A number for each y, (N, ...), the same for those that are equal: (N,)."""
    return np.unique(y.reshape(len(y), -1), axis=0, return_inverse=True)[1].reshape(-1)


def between(images: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Ways (pairs * steps, ...) with the test images of their ends (pairs, 2, ...): (pairs, steps + 2, ...)."""
    ways = images.reshape(len(ends), STEPS, *images.shape[1:])
    return np.concatenate([ends[:, :1], ways, ends[:, 1:]], axis=1)


def names_of(subject: Subject, pairs: np.ndarray, labels_shown: bool) -> Sequence[str]:
    """What the row of each pair is called."""
    labels: Any = subject.labels
    if not labels_shown or labels is None:
        return [f"pair {number}" for number in range(1, len(pairs) + 1)]
    return [" to ".join(subject.name_of(labels[number]) for number in pair) for pair in pairs]
