"""Images by which a training is watched."""

from collections import Counter
from typing import Any

import numpy as np
from keras import ops

from bicoder.engine.arrays.conditioned import parted
from bicoder.engine.arrays.masked import lacking
from bicoder.evaluation.paths import all_over, normal_quantiles
from bicoder.pictures.drawing.film import small
from bicoder.pictures.picture import Subject
from bicoder.pictures.traversals import decoded, originals, some_examples
from bicoder.priors import draw_codes

ACROSS, NARROW = 10, 20  # images beside each other, of one or two views and of more, which are smaller
MOST_VIEWS = 5
SIDE = 10  # codes of the plane in each direction
LARGEST, LARGEST_OF_PLANE = 64, 32  # pixels of an image as it is kept, at most, in each direction


class Watched:
    """Test images and noise, the same throughout a training, and what the model makes of them at a moment.

    Nothing is drawn from the generators of the model: a training that is watched is the training that is not.

    Args:
        subject: the model and the test images.
    Attributes:
        classes: y of the samples of a conditional model, (samples,); None of any other.
        samples: how many new images there are.
        originals: the test images, uint8 (views, n, height, width[, 3]).
    """

    def __init__(self, subject: Subject) -> None:
        self.subject, condition = subject, subject.vae.condition
        across = ACROSS if len(subject.views) < 3 else NARROW
        numbers = one_of_each_class(subject, across)
        classes = None if condition is None else np.arange(condition.known_classes)
        self.classes = None if classes is None else classes[:across].astype("float32")
        self.samples = across if self.classes is None else len(self.classes)
        self.x, self.originals = subject.taken(numbers), stacked(originals(subject, numbers))

    def look(self) -> dict[str, np.ndarray]:
        """What the model makes now: reconstructions and samples, uint8 (views, n, height, width[, 3]).

        A code of two dimensions has the plane, too, of one view.
        """
        vae, count = self.subject.vae, self.originals.shape[1]
        prior = vae.prior_given(vae.known_condition(self.classes, self.samples))
        codes = [vae.encode(self.x).mean, draw_codes(prior, self.samples, self.subject.seed)]
        told: Any = None if self.classes is None else [np.asarray(parted(self.x)[1]), self.classes]
        if vae.latent_dim == 2:
            line = normal_quantiles(SIDE).astype("float32")
            codes.append(all_over(line, line))
            told = told and [*told, np.zeros(SIDE * SIDE, "float32")]
        z = np.concatenate([ops.convert_to_numpy(some) for some in codes])
        images = decoded(self.subject, z, None if told is None else np.concatenate(told))
        end = count + self.samples
        found = {
            "reconstructions": stacked({view: one[:count] for view, one in images.items()}),
            "samples": stacked({view: one[count:end] for view, one in images.items()}),
        }
        if vae.latent_dim == 2:
            found["plane"] = small(next(iter(images.values()))[end:], LARGEST_OF_PLANE)[None]
        return found


def stacked(images: dict[str, np.ndarray]) -> np.ndarray:
    """The images of all views that are shown, (views, n, height, width[, 3]), as they are kept."""
    return np.stack([small(one, LARGEST) for one in list(images.values())[:MOST_VIEWS]])


def one_of_each_class(subject: Subject, count: int) -> np.ndarray:
    """The numbers of some test images by chance: of as many classes as possible, in their order, if there are labels.

    Of several views, they are of those examples that have all of them, if there are any.
    """
    order = some_examples(subject)
    if subject.views:
        whole = lacking(parted(subject.images)[0])[order] == 0
        order = order[whole] if whole.any() else order
    if subject.labels is None:
        return order[:count]
    labels, seen, rank = subject.labels[order], Counter[int](), []
    for label in labels.tolist():
        rank.append(seen[label])
        seen[label] += 1
    chosen = np.lexsort((labels, rank))[:count]
    return order[chosen[np.argsort(labels[chosen], kind="stable")]]
