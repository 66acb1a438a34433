"""Pictures that are drawn beforehand, for a view that the page cannot decode."""

from typing import Any, NamedTuple

import numpy as np

from bicoder.conditions import Labels, is_soft
from bicoder.evaluation.latent_space import Dimensions
from bicoder.pictures.picture import Subject
from bicoder.pictures.traversals import FARTHEST, STEPS, in_steps, means

MOST_DIMENSIONS = 8  # whose traversals are drawn
COLUMNS = 50  # tiles beside each other in a sheet


class Drawn(NamedTuple):
    """What the page shows of a view in place of what it would decode.

    Args:
        images: the tiles of a sheet, row by row, in [0, 1], as `as_images` gives them: the traversals, a dimension
            after the other, then the reconstructions.
        dimensions: whose traversals there are.
        reconstructions: how many there are.
        said: of a conditional model, for which y the traversals are; else "".
    """

    images: np.ndarray
    dimensions: list[int]
    reconstructions: int
    said: str

    def for_page(self, sheet: str) -> dict[str, Any]:
        """What the page is told, if the sheet has this name."""
        return {
            "dimensions": self.dimensions,
            "steps": STEPS,
            "reach": FARTHEST,
            "sheet": sheet,
            "columns": COLUMNS,
            "reconstructions": self.reconstructions,
            "said": self.said,
        }


def drawn(subject: Subject, found: Dimensions, codes: np.ndarray, y: Any = None) -> dict[str, Drawn]:
    """view -> what is drawn of it, "" for data that are one tensor.

    Args:
        subject: whose images they are.
        found: the dimensions of the code; the first that do something are shown, in steps of standard deviations from
            the mean code, and all others at their mean.
        codes: of the test images whose reconstructions are wanted, (n, latent_dim).
        y: of a conditional model, what it is told of each of them, (n, ...).
    """
    dimensions = found.active[:MOST_DIMENSIONS].tolist()
    paths = in_steps(found.mean[None], found, dimensions)
    z, said = np.concatenate([*(path[0] for path in paths), codes]), ""
    if y is not None:
        first, said = told_of_all(subject, np.asarray(y))
        y = np.concatenate([np.repeat(first, len(z) - len(codes), axis=0), y])
    said = said if dimensions else ""
    return {view: Drawn(tiles, dimensions, len(codes), said) for view, tiles in means(subject, z, y).items()}


def told_of_all(subject: Subject, y: np.ndarray) -> tuple[np.ndarray, str]:
    """The y that all traversals have, (1, ...), and which one it is: the first class, else that of the first image."""
    if not isinstance(subject.vae.condition, Labels):
        return y[:1], "y of the first image"
    first = np.zeros((1, *y.shape[1:]), "float32")
    first[..., 0] = is_soft(y)
    return first, f"y = {subject.name_of(0)}"
