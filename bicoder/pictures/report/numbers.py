"""The numbers of a report, each with what it means."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

PER_IMAGE = "nats per image"


class Number(NamedTuple):
    """A number of `evaluate`.

    Args:
        key: its name there.
        name: what people call it.
        meaning: what it says, in a sentence or two.
        unit: of it; what is in nats per image is in bits per dimension too.
        form: how it is written, as `format` takes it.
    """

    key: str
    name: str
    meaning: str
    unit: str = ""
    form: str = ".3f"


NUMBERS = (
    Number(
        "nll",
        "NLL, -log p(x)",
        "What an image costs under the model, estimated by importance samples: the number to compare models by, on the "
        "same images in the same scaling.",
        PER_IMAGE,
        ".2f",
    ),
    Number(
        "negative_elbo",
        "-ELBO",
        "Distortion plus rate, an upper bound on -log p(x): what training makes small.",
        PER_IMAGE,
        ".2f",
    ),
    Number(
        "distortion",
        "distortion",
        "-E[log p(x|z)], what an image costs once its code is known. Of densities of pixels it may be below 0.",
        PER_IMAGE,
        ".2f",
    ),
    Number(
        "rate",
        "rate",
        "KL[q(z|x) ‖ p(z)], what the code of an image costs: how much the code says about the image.",
        PER_IMAGE,
        ".2f",
    ),
    Number(
        "mutual_information",
        "mutual information I(x; z)",
        "How many nats a code tells about which image it is of; at most the logarithm of the number of images.",
        "nats",
        ".2f",
    ),
    Number(
        "marginal_kl",
        "KL[q(z) ‖ p(z)]",
        "How far all codes together are from the prior: where it is large, samples from the prior fall between them.",
        "nats",
        ".2f",
    ),
    Number("mean_squared_error", "mean squared error", "Of the reconstructions, for each pixel.", form=".5f"),
    Number("knn_accuracy", "10-NN accuracy", "How often the ten nearest codes tell the label."),
    Number("logistic_accuracy", "linear accuracy", "How often a logistic regression of the code tells the label."),
)


def known(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers, with -ELBO as one of them."""
    found = dict(numbers)
    if is_number(found.get("distortion")) and is_number(found.get("rate")):
        found["negative_elbo"] = found["distortion"] + found["rate"]
    return found


def is_number(value: Any) -> bool:
    """Whether a value is a number, which may be NaN."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def bits(nats: float, dimensions: int) -> str:
    """Nats per image as bits per dimension, in words."""
    return f"{nats / (dimensions * math.log(2.0)):.4f} bits per dimension"
