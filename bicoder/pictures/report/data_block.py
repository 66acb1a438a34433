"""What the script of the page knows: codes, points, labels, decoders, and sheets of the test images."""

import math
import re
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from bicoder.engine.arrays.conditioned import parted
from bicoder.errors import decodable
from bicoder.pictures.report import markup
from bicoder.pictures.report.decoder_program import decoder_programs, for_page
from bicoder.pictures.report.drawn import COLUMNS, drawn
from bicoder.pictures.report.facts import Facts
from bicoder.pictures.traversals import as_pictures
from bicoder.priors import draw_codes

FROM_PRIOR = 64  # codes for a button
MEASURES = {"elbo": "bound", "distortion": "distortion", "rate": "rate"}


class DataBlock(NamedTuple):
    """The JSON of the page, the sheets of images that stand beside it, and what must be said of both."""

    data: dict[str, Any]
    sheets: str
    said: list[str]


def data_block(facts: Facts) -> DataBlock:
    """Everything that moves in the page."""
    views, weights, sheets, said = views_of(facts)
    chosen, subject, dimensions = facts.chosen, facts.subject, facts.dimensions
    labels = facts.labels
    data = {
        "columns": COLUMNS,
        "count": len(chosen),
        "pictured": facts.pictured,
        "views": views,
        "weights": markup.floats(weights),
        "latent": facts.codes.shape[1],
        "codes": markup.floats(facts.codes),
        "points": markup.floats(facts.points),
        "axes": [*facts.plane.axes, ""][:2] if facts.plane.axes else [],
        "how": facts.plane.how,
        "rows": chosen.tolist(),
        "names": names_of(facts),
        "labels": None if labels is None else labels.tolist(),
        "labelNames": {} if labels is None else {str(label): subject.name_of(label) for label in np.unique(labels)},
        "measures": [measure(name, values) for name, values in facts.measures.items()],
        "order": np.argsort(-dimensions.worth, kind="stable").tolist(),
        "active": len(dimensions.active),
        "worth": dimensions.worth.tolist(),
        "worthName": dimensions.worth_name,
        "mean": markup.floats(dimensions.mean),
        "deviation": markup.floats(dimensions.deviation),
        "beside": beside_codes(facts),
        "prior": prior_codes(facts),
    }
    return DataBlock(data, sheets, said)


def names_of(facts: Facts) -> list[str] | None:
    """The names of the files of the test images; None if they have numbers alone."""
    files = facts.subject.files
    if files is None or np.asarray(files).dtype.kind in "iu":
        return None
    return [decodable(name) for name in np.asarray(files)[facts.chosen]]


def measure(name: str, values: np.ndarray) -> dict[str, str]:
    """A number of each image, by the name of its column in per_image.csv, such as log_px_K1000_seed0."""
    shown = MEASURES.get(name, name)
    if found := re.fullmatch(r"log_px(_given_y)?_K(\d+)_seed\d+", name):
        shown = f"log p(x{'|y' if found[1] else ''}), K = {int(found[2]):,}"
    return {"key": name, "name": shown, "unit": "nats", "values": markup.floats(values)}


def beside_codes(facts: Facts) -> dict[str, Any] | None:
    """What stands beside z in the decoder of a conditional model: of each class, or else of each test image."""
    condition, subject = facts.vae.condition, facts.subject
    if condition is None:
        return None
    if facts.labels is not None and hasattr(condition, "known_classes"):
        classes = condition.known_classes
        told, of = condition(np.arange(classes, dtype="float32")), facts.labels.tolist()
        names: list[str] | None = [subject.name_of(label) for label in range(classes)]
    else:
        told, of, names = condition(facts.y_of(facts.chosen)), list(range(len(facts.chosen))), None
    values = ops.convert_to_numpy(told)
    return {"width": values.shape[1], "values": markup.floats(values), "of": of, "names": names}


def prior_codes(facts: Facts) -> dict[str, Any]:
    """Codes z ~ p(z); of a conditional model z ~ p(z|y), for its classes in turn, or y of the first test images."""
    vae, count = facts.vae, FROM_PRIOR
    y: Any = None
    if hasattr(vae.condition, "known_classes"):
        y = np.arange(count, dtype="float32") % vae.condition.known_classes
        told = y.astype(int)
    elif vae.condition is not None:
        count = min(count, len(facts.chosen))
        y, told = facts.y_of(facts.chosen[:count]), np.arange(count)
    prior = vae.prior_given(vae.known_condition(y, count))
    codes = ops.convert_to_numpy(draw_codes(prior, count, facts.subject.seed))
    return {"count": count, "codes": markup.floats(codes), "beside": None if y is None else told.tolist()}


def views_of(facts: Facts) -> tuple[list[dict[str, Any]], np.ndarray, str, list[str]]:
    """The views as the script has them, the weights of their decoders, sheets of their images, and what to say."""
    answers = decoder_programs(facts.vae.decoder)
    programs, weights = for_page(answers)
    images = as_pictures(facts.subject, parted(facts.subject.taken(facts.chosen[: facts.pictured]))[0])
    shapes = facts.vae.example_shape
    views: list[dict[str, Any]] = []
    sheets, said = [], []
    for number, (view, (_, why)) in enumerate(answers.items()):
        html, exact = markup.sheet(images[view], COLUMNS, f"sheet-{number}")
        sheets.append(html)
        if not exact:
            where = f" of {view}" if view else ""
            said.append(f"The test images{where} in the map are kept as JPEG, which is not exact.")
        height, width = images[view].shape[1:3]
        channels = math.prod(shapes[view] if view else shapes) // (height * width)
        own = {"height": height, "width": width, "channels": channels, "sheet": f"sheet-{number}", "drawn": None}
        views.append({"name": view, "program": programs[view], "why": why, **own})
    if not all(view["program"] for view in views):
        sheets += beforehand(facts, views)
    return views, weights, "".join(sheets), said


def beforehand(facts: Facts, views: list[dict[str, Any]]) -> list[str]:
    """Sheets of what is drawn in Python, for the views that the page cannot decode, which are told of them."""
    numbers = facts.chosen[: facts.pictured]
    found = drawn(facts.subject, facts.dimensions, facts.codes[: facts.pictured], facts.y_of(numbers))
    sheets = []
    for number, view in enumerate(views):
        if view["program"] is None:
            own = found[view["name"]]
            view["drawn"] = own.for_page(f"drawn-{number}")
            sheets.append(markup.sheet(own.images, COLUMNS, f"drawn-{number}")[0])
    return sheets
