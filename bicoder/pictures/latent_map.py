"""Where the codes of test images lie in the plane: of all test images, or of some by chance if they are many."""

from typing import NamedTuple

import numpy as np

from bicoder.evaluation.latent_space import FEWEST, Plane, in_the_plane, posterior_means
from bicoder.pictures.picture import Subject
from bicoder.pictures.several_views import complete, have_all

ALL = "all views"


class Mapped(NamedTuple):
    """Codes of test images, and where they lie.

    Args:
        chosen: numbers of the test images, (n,).
        codes: what the codes are made of -> posterior means (n, latent_dim): "" of one tensor; of several views `ALL`,
            and then each view alone.
        plane: of all these codes, one set after the other.
    """

    chosen: np.ndarray
    codes: dict[str, np.ndarray]
    plane: Plane

    @property
    def points(self) -> dict[str, np.ndarray]:
        """What the codes are made of -> where they lie, (n, 2), or (n, 1) for a code of one dimension."""
        return dict(zip(self.codes, np.split(self.plane.points, len(self.codes)), strict=True))


def by_view(subject: Subject) -> bool:
    """Whether the map has the codes of each view alone beside those of all views."""
    return bool(subject.views) and subject.vae.latent_dim > 1 and have_all(subject) > 0


def in_the_map(subject: Subject) -> np.ndarray:
    """The numbers of the test images in the map, (n,), by chance; with codes of each view, of those that have all."""
    if not by_view(subject):
        return subject.some(subject.latent_points)
    found = complete(subject)[: max(FEWEST, subject.latent_points // (len(subject.views) + 1))]
    return found[: have_all(subject)]


def mapped(subject: Subject) -> Mapped:
    """The codes of test images in the plane."""
    chosen = in_the_map(subject)
    x = subject.taken(chosen)
    given = {"": x}
    if by_view(subject):
        given = {ALL: x} | {f"{view} alone": {view: x[view]} for view in subject.views}
    codes = {name: posterior_means(subject.vae, some) for name, some in given.items()}
    return Mapped(chosen, codes, in_the_plane(np.concatenate(list(codes.values())), subject.seed))
