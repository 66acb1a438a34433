"""What a report shows, each found out once, when a section asks for it."""

import functools
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from bicoder.engine.arrays.conditioned import parted
from bicoder.engine.arrays.masked import arrays_in, on_arrays
from bicoder.evaluation.latent_space import Dimensions, Plane, dimensions, in_the_plane, posterior_means
from bicoder.evaluation.measure import look
from bicoder.pictures.drawing.grids import alike
from bicoder.pictures.latent_map import in_the_map
from bicoder.pictures.picture import Subject
from bicoder.pictures.report import markup
from bicoder.pictures.report.kept import Kept
from bicoder.pictures.report.nearest import nearest
from bicoder.pictures.traversals import CODES, as_pictures, decoded, originals

SAMPLES = 50  # from the prior
SHOWN, NEAREST = 10, 5  # samples whose nearest training images are shown, and how many of each
PIXELS = 12_000_000  # numbers of all images of the map, 5,000 of 28x28 in colour


class Facts:
    """The facts of one run.

    Args:
        subject: the run.
        known: what an earlier report of the same weights found out, or None.
    """

    def __init__(self, subject: Subject, known: Kept | None = None) -> None:
        self.subject, self.vae = subject, subject.vae
        self.chosen = in_the_map(subject)
        fits = known is not None and np.array_equal(known.chosen, self.chosen)
        self.known = known if fits else None

    @functools.cached_property
    def codes(self) -> np.ndarray:
        """The posterior means of the test images in the map, (n, latent_dim)."""
        return posterior_means(self.vae, self.subject.taken(self.chosen))

    @functools.cached_property
    def plane(self) -> Plane:
        """Where they lie."""
        if self.known is not None and self.codes.shape[1] > 2:
            return in_the_plane(self.codes, self.subject.seed, self.known.points)
        found = self.subject.mapped
        return found.plane._replace(points=next(iter(found.points.values())))

    @functools.cached_property
    def points(self) -> np.ndarray:
        """The same as (n, 2); a code of one dimension has a height by chance, so that points do not hide each other."""
        points = self.plane.points
        if points.shape[1] == 2:
            return points
        spread = max(float(np.ptp(points)), 1e-6)
        heights = np.random.default_rng(0).uniform(-0.1, 0.1, len(points)) * spread
        return np.stack([points[:, 0], heights], axis=1)

    @functools.cached_property
    def dimensions(self) -> Dimensions:
        """What the dimensions of the code are worth, as traversals.png has it."""
        return dimensions(self.vae, self.subject.taken(self.subject.some(CODES)))

    @functools.cached_property
    def measures(self) -> dict[str, np.ndarray]:
        """What is known of each test image in the map, by the names of per_image.csv: `elbo` first, (n,) each."""
        known = self.subject.per_image
        if "elbo" in known:
            return {"elbo": known["elbo"][self.chosen]} | {
                name: values[self.chosen] for name, values in known.items() if name != "elbo"
            }
        noise = keras.random.SeedGenerator(self.subject.seed)
        _, _, sums = look(self.vae, self.subject.taken(self.chosen), 1, noise, progress=False)
        found = sums.per_image()
        return {"elbo": found.elbo, "distortion": found.distortion, "rate": found.rate}

    @property
    def labels(self) -> np.ndarray | None:
        """The labels of the test images in the map, (n,)."""
        return None if self.subject.labels is None else self.subject.labels[self.chosen]

    @functools.cached_property
    def pictured(self) -> int:
        """How many of the test images in the map have their picture in the page, the first ones."""
        numbers = sum(int(np.prod(array.shape[1:])) for array in arrays_in(parted(self.subject.images)[0]))
        return max(1, min(len(self.chosen), PIXELS // max(1, numbers)))

    def pictures(self, numbers: np.ndarray) -> np.ndarray:
        """Test images of these numbers, their views beside each other: (n, height, width[, 3 or 4])."""
        return beside(originals(self.subject, numbers))

    def made_of(self, codes: np.ndarray, y: Any) -> np.ndarray:
        """The means of p(x|z) of codes (n, latent_dim), as pictures like the test images."""
        return beside(decoded(self.subject, codes, y))

    def y_of(self, numbers: np.ndarray) -> Any:
        """The condition of test images of these numbers, or None."""
        return parted(self.subject.taken(numbers))[1]

    @functools.cached_property
    def class_of_samples(self) -> np.ndarray | None:
        """The class of each sample from the prior, in turn, so that all classes are among the first; or None."""
        if not hasattr(self.vae.condition, "known_classes"):
            return None
        return np.arange(SAMPLES) % self.vae.condition.known_classes

    @functools.cached_property
    def samples(self) -> Any:
        """Means of p(x|z) for z ~ p(z), (SAMPLES, ...), or of each view."""
        y: Any = self.class_of_samples
        if y is not None:
            y = y.astype("float32")
        elif self.vae.condition is not None:  # of no classes: what test images have
            y = self.y_of(np.resize(self.chosen, SAMPLES))
        return on_arrays(ops.convert_to_numpy, self.vae.generate(SAMPLES, self.subject.seed, y))

    @property
    def made_of_samples(self) -> np.ndarray:
        """The samples as pictures, their views beside each other: (SAMPLES, height, width[, 3 or 4])."""
        return beside(alike(as_pictures(self.subject, self.samples)))

    @functools.cached_property
    def near(self) -> tuple[np.ndarray, np.ndarray]:
        """Samples with their nearest training images, as `Kept` has them, and among how many; empty without any."""
        known, training = self.known, self.subject.training
        if training is None:
            return (known.near, known.among) if known is not None else (np.zeros(0, "uint8"), np.zeros(2, "int64"))
        some = on_arrays(lambda array: array[:SHOWN], self.samples)
        numbers, looked_at = nearest(some, training, NEAREST)
        x, _ = parted(training)
        found = on_arrays(lambda array: np.concatenate([array[i : i + 1] for i in numbers.ravel().tolist()]), x)
        made, real = beside(alike(as_pictures(self.subject, some))), beside(alike(as_pictures(self.subject, found)))
        real = real.reshape(len(made), numbers.shape[1], *real.shape[1:])
        near = np.concatenate([made[:, None], real], axis=1)
        total = len(arrays_in(x)[0])
        return markup.as_bytes(near), np.array([looked_at, total])

    def to_keep(self) -> Kept:
        """What took long to find out."""
        return Kept(np.asarray(self.chosen, "int64"), np.asarray(self.points, "float32"), *self.near)


def beside(images: Mapping[str, np.ndarray]) -> np.ndarray:
    """Pictures of each view, of one size, as one picture (n, height, width[, 3 or 4]) of each example."""
    return np.concatenate(list(images.values()), axis=2)
