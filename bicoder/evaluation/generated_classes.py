"""Whether a model with a condition makes images of the class that it is asked for."""

from typing import Any

import numpy as np
from keras import ops

from bicoder.conditions import Labels
from bicoder.engine.arrays.conditioned import parted
from bicoder.evaluation.classifiers import classifier
from bicoder.evaluation.coherence import Labelled, accuracy, learnt_and_judged, of_view, shown, worth_of
from bicoder.vae import VAE

IMAGES = 1000


def of_generated(
    vae: VAE, test: Labelled | None, training: Labelled | None, seed: int, data_dir: Any, progress: bool
) -> dict[str, Any]:
    """The share of images of z ~ p(z|y) in which a classifier of its own finds y, as many of each class.

    Args:
        vae: told labels.
        test: to judge the classifier by; None if the model is told something else.
        training: the classifier learns from these; if there are none, from one half of the test examples.
        seed: of the images.
        data_dir: see `cache.data_folder`; the classifier is kept there.
        progress: whether to show how long it takes.
    Returns:
        "generated_classes", view -> "accuracy" and "standard_error" of the images, "images", and "classifier", its own
        accuracy on the test examples; "" is the view of data that are one tensor. None if there is nothing to say.
    """
    if not isinstance(vae.condition, Labels) or test is None:
        return {"generated_classes": None}
    learn, judge, source = learnt_and_judged(training, test)
    asked = np.arange(IMAGES) % vae.condition.known_classes
    made = vae.generate(IMAGES, seed, asked)
    found = {}
    for view in vae.decoder.views or [""]:
        images, labels = examples_of(learn, view)
        if len(np.unique(labels)) < 2:
            return {"generated_classes": None}
        known = classifier(images, labels, view or "images", data_dir, progress)
        right = known.of(ops.convert_to_numpy(made[view] if view else made)) == asked
        found[view] = accuracy(right) | {
            "images": IMAGES,
            "classifier": worth_of(known, *examples_of(judge, view)) | {"learnt_from": source},
        }
    return {"generated_classes": found}


def examples_of(examples: Labelled, view: str) -> tuple[Any, np.ndarray]:
    """The images of a view, or of the one tensor, and their labels."""
    images, _ = parted(examples.views)
    return of_view(Labelled(images, examples.labels), view) if view else (images, examples.labels)


def table(numbers: dict[str, Any]) -> list[str]:
    """Lines about the classes of images that were made."""
    lines = []
    for view, one in (numbers.get("generated_classes") or {}).items():
        own = one["classifier"]
        lines.append(
            f"class found in {one['images']:,} images of z ~ p(z|y){f', view {view}' if view else ''}: {shown(one)}; "
            f"the classifier, of {own['learnt_from']}, has {shown(own)} on test examples"
        )
    return ["", *lines] if lines else []
