"""What the dimensions of a code do to the images: each by itself, and of two dimensions both together."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops

from bicoder.engine.arrays.conditioned import parted
from bicoder.engine.arrays.masked import arrays_in, on_arrays
from bicoder.errors import counted
from bicoder.evaluation.latent_space import Dimensions, dimensions
from bicoder.evaluation.paths import all_over, along, normal_quantiles
from bicoder.pictures.drawing.grids import alike, named_grids
from bicoder.pictures.drawing.plotting import as_images
from bicoder.pictures.picture import Subject
from bicoder.pictures.several_views import complete, values
from bicoder.priors import StandardNormal

IMAGES = 3  # whose codes are changed
FARTHEST, STEPS = 2.5, 11  # standard deviations on either side of the mean, and codes from one end to the other
CODES = 1000  # test images over which a standard deviation is taken
MOST_ROWS = 20  # of a picture
AT_ONCE = 100  # codes that are decoded together
SIDE = 20  # codes of a plane in each direction
MOST_PLANES = 6  # in a picture
UNITS = ("standard deviations of the codes, from their mean", "")  # of columns and rows


def each_dimension(subject: Subject, path: Path, count: int = IMAGES) -> Path:
    """Each dimension that does something, in steps over its codes, in the codes of some test images.

    Args:
        subject: whose images they are.
        path: PNG to write.
        count: of the images.
    """
    vae, views = subject.vae, subject.views
    numbers = some_examples(subject)[:count]
    chosen = subject.taken(numbers)
    codes, y = ops.convert_to_numpy(vae.encode(chosen).mean), parted(chosen)[1]
    found = dimensions(vae, subject.taken(subject.some(CODES)))
    shown = found.active[: max(1, MOST_ROWS // max(1, len(views)))]
    steps = np.linspace(-FARTHEST, FARTHEST, STEPS)
    paths = in_steps(codes, found, shown)
    ways = np.stack([np.repeat(codes[:, None], STEPS, axis=1), *paths], axis=1)  # (n, 1 + dimensions, steps, latent)
    images = decoded(subject, ways.reshape(-1, vae.latent_dim), repeated(y, (1 + len(shown)) * STEPS))
    grids, what = {}, "example" if views else "image"
    for i, number in enumerate(numbers):
        own = {view: array.reshape(*ways.shape[:3], *array.shape[1:])[i] for view, array in images.items()}
        for view, array in own.items():  # the first row: the test image, and what the model makes of its own code
            array[0, 0], array[0, 2:] = originals(subject, numbers[i : i + 1])[view][0], 1.0
        told = "" if y is None or subject.labels is None else f", y = {subject.name_of(subject.labels[number])}"
        grids[f"test {what} {number}{told}"] = rows_of_views(own)
    rows = ["x, reconstruction", *(f"z{number + 1}, {worth_of(found, number)}" for number in shown)]
    named = [f"{row}, {view}" if view else row for row in rows for view in images]
    columns = [f"{step:g}" if i % 5 == 0 else "" for i, step in enumerate(steps)]
    return named_grids(grids, path, title_of(subject, found, len(shown)), named, columns, min(len(grids), 3), UNITS)


def in_steps(codes: np.ndarray, found: Dimensions, chosen: Iterable[int]) -> list[np.ndarray]:
    """Codes (n, latent_dim) with each of some dimensions in steps of its standard deviation, around its mean.

    Returns:
        (n, STEPS, latent_dim) of each.
    """
    steps, mean, deviation = np.linspace(-FARTHEST, FARTHEST, STEPS), found.mean, found.deviation
    return [along(codes, number, mean[number] + steps * deviation[number]) for number in chosen]


def worth_of(found: Dimensions, number: int) -> str:
    """What a dimension is worth, in words."""
    return f"{found.worth_name} {found.worth[number]:.2f}"


def title_of(subject: Subject, found: Dimensions, shown: int) -> str:
    """How many dimensions of the code do something, how many of them are shown, and in which order."""
    total, active = len(found.worth), len(found.active)
    most = f", the first {shown} of them shown" if shown < active else ""
    by = "in the order of their KL" if found.by_kl else "in the order of the variance of their means"
    verb = "does" if total - active == 1 else "do"
    examples = counted(len(found.codes), "test example" if subject.views else "test image")
    first = (
        f"{subject.name}: {active} of {counted(total, 'dimension')} of z, {by}{most}; {total - active} {verb} nothing"
    )
    return f"{first}\n{mean_of(subject)} for codes over the range of those of {examples}"


def mean_of(subject: Subject) -> str:
    """What is shown, as a formula."""
    return "mean of p(x|z)" if subject.vae.condition is None else "mean of p(x|z, y)"


def both_dimensions(subject: Subject, path: Path) -> Path:
    """The images all over the plane of a code of two dimensions; of a model with a condition, a plane for each class.

    Where the prior is N(0, I) the codes are at its quantiles, so that each stands for as much of its mass, else they
    are evenly spaced over the range of the test codes without the outermost percent at either end.
    """
    vae, views = subject.vae, subject.views or [""]
    if isinstance(vae.prior, StandardNormal):
        line = normal_quantiles(SIDE)
        lines, how = [line, line], "quantiles of the prior, N(0, I)"
    else:
        codes = dimensions(vae, subject.taken(subject.some(CODES))).codes
        ends = np.quantile(codes, (0.01, 0.99), axis=0)
        lines = [np.linspace(ends[0, i], ends[1, i], SIDE) for i in (0, 1)]
        how = f"even steps from 1 to 99 % of the codes of {counted(len(codes), 'test image')}"
    z = all_over(*lines)
    classes: Sequence[Any] = [None] if vae.condition is None else range(vae.condition.known_classes)
    some = classes[: max(1, MOST_PLANES // len(views))]
    grids: dict[str, np.ndarray] = {}
    for label in some:
        images = decoded(subject, z, None if label is None else np.full(len(z), label, "float32"))
        name = "" if label is None else f"y = {subject.name_of(label)}"
        grids |= {" ".join(filter(None, (name, view))): one for view, one in images.items()}
    title = f"{subject.name}: {mean_of(subject)}, z at {how}"
    title += f"\nthe first {len(some)} of {len(classes)} classes" if len(some) < len(classes) else ""
    names = [[f"{value:.2f}" for value in line] for line in (lines[0], lines[1][::-1])]
    return named_grids(grids, path, title, names[1], names[0], min(len(grids), 3), ("z1", "z2"))


def some_examples(subject: Subject) -> np.ndarray:
    """The numbers of all test images in an order by chance; of several views, those that have all of them first."""
    return complete(subject) if subject.views else subject.some(len(arrays_in(subject.images)[0]))


def repeated(y: Any, times: int) -> Any:
    """y (n, ...) with each so many times, (n * times, ...), or None."""
    return None if y is None else np.repeat(np.asarray(y), times, axis=0)


def decoded(subject: Subject, z: np.ndarray, y: Any) -> dict[str, np.ndarray]:
    """view -> means of p(x|z) for codes (n, latent_dim), as pictures of one size; "" for what is one tensor."""
    return alike(means(subject, z, y))


def means(subject: Subject, z: np.ndarray, y: Any) -> dict[str, np.ndarray]:
    """The same, each view of its own size."""
    portions: dict[str, list[np.ndarray]] = {}
    for start in range(0, len(z), AT_ONCE):
        some = slice(start, start + AT_ONCE)
        found = subject.vae.decode(z[some], None if y is None else y[some]).mean
        for view, images in as_pictures(subject, on_arrays(ops.convert_to_numpy, found)).items():
            portions.setdefault(view, []).append(images)
    return {view: np.concatenate(images) for view, images in portions.items()}


def originals(subject: Subject, numbers: np.ndarray) -> dict[str, np.ndarray]:
    """view -> test images of these numbers as pictures, as `decoded` gives them."""
    return alike(as_pictures(subject, parted(subject.taken(numbers))[0]))


def as_pictures(subject: Subject, x: Any) -> dict[str, np.ndarray]:
    """view -> images, each of its own shape and white where they are missing; "" for what is one tensor."""
    if isinstance(x, dict):
        return {view: as_images(values(x[view]), subject.image_shape[view]) for view in subject.views}
    return {"": as_images(values(x), subject.image_shape)}


def rows_of_views(images: dict[str, np.ndarray]) -> np.ndarray:
    """Images (rows, columns, ...) of each view as one grid, (rows * views * columns, ...), row by row."""
    stacked = np.stack(list(images.values()), axis=1)
    return stacked.reshape(-1, *stacked.shape[3:])
