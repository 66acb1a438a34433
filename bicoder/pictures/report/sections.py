"""The sections of a report, in their order: a function under `@section` each, whose docstring is the title."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from bicoder.engine.arrays.inputs import numbers_of
from bicoder.errors import counted
from bicoder.pictures import gallery, several_views
from bicoder.pictures.drawing.plotting import curves as draw_curves
from bicoder.pictures.interpolation import between_pairs
from bicoder.pictures.report import interactive, markup
from bicoder.pictures.report import numbers as known_numbers
from bicoder.pictures.report.facts import NEAREST, SHOWN, Facts
from bicoder.pictures.traversals import each_dimension

Write: TypeAlias = Callable[[Facts], str]
MOST = 16  # reconstructions


class Section(NamedTuple):
    """A section.

    Args:
        name: of its place in the page.
        write: function (facts) -> markup; empty if a run has nothing for it.
        moves: whether it needs the data of the script.
    """

    name: str
    write: Write
    moves: bool

    @property
    def title(self) -> str:
        """What stands above it."""
        return (self.write.__doc__ or "").removesuffix(".")


SECTIONS: list[Section] = []


def section(moves: bool = False) -> Callable[[Write], Write]:
    """Decorator of a function that writes a section, after those above it."""

    def register(write: Write) -> Write:
        SECTIONS.append(Section(write.__name__, write, moves))
        return write

    return register


@section()
def run(facts: Facts) -> str:
    """What this run is."""
    about = facts.subject.about
    found = f'<pre class="command">{markup.text(about.command)}</pre>' if about.command else ""
    for title, rows in about.tables.items():
        opened = f"<details><summary>{markup.text(title)}</summary>{markup.table(rows)}</details>"
        found += opened if rows else ""
    return found


@section()
def numbers(facts: Facts) -> str:
    """Numbers on the test images."""
    known: dict[str, Any] = known_numbers.known(facts.subject.numbers)
    dimensions, cards = numbers_of(facts.vae.example_shape), ""
    for number in known_numbers.NUMBERS:
        value: Any = known.get(number.key)
        if not known_numbers.is_number(value):
            continue
        unit = number.unit
        if unit == known_numbers.PER_IMAGE:
            unit += f", {known_numbers.bits(value, dimensions)}"
        text = format(value, number.form)
        error = known.get("nll_standard_error") if number.key == "nll" else None
        text += f" ± {error:.2f}" if known_numbers.is_number(error) else ""
        cards += markup.card(number.name, text, unit, number.meaning)
    if "active_units" in known:
        meaning = "Dimensions of the code whose mean varies over the images: the others say nothing."
        cards += markup.card("active units", f"{known['active_units']} of {known['latent_dim']}", "", meaning)
    later = "" if "nll" in known else markup.note("bicoder evaluate RUN adds the NLL, and more, to this page.")
    return f'<div class="cards">{cards}</div>{later}'


@section()
def doctor(facts: Facts) -> str:
    """Advice."""
    sentences = facts.subject.numbers.get("doctor")
    return "" if sentences is None else markup.items(sentences or ["Nothing is wrong as far as these numbers tell."])


@section()
def training(facts: Facts) -> str:
    """Training."""
    history, name = facts.subject.history, facts.subject.name
    if not history:
        return ""
    title = f"{name}: the bound, in nats per image"
    return markup.drawn(
        lambda path: draw_curves(history, path, title), "bound, distortion and rate of every epoch of the training"
    )


@section(moves=True)
def latent_map(facts: Facts) -> str:
    """Latent map."""
    return interactive.latent_map(facts)


@section(moves=True)
def explorer(facts: Facts) -> str:
    """Explorer."""
    return interactive.explorer(facts)


@section()
def samples(facts: Facts) -> str:
    """Samples from the prior."""
    subject, y = facts.subject, facts.class_of_samples
    made = facts.made_of_samples
    classes = 10 if y is None else min(len(made), facts.vae.condition.known_classes)
    columns = markup.most_columns(made, classes)
    told = "" if y is None else f"One of each class after the other{', in columns' if columns == classes else ''}."
    found = markup.note(told) if told else ""
    what = counted(len(made), "example" if subject.views else "image")
    found += markup.grid(made, columns, f"{what} from the prior", "Means of p(x|z) for z ~ p(z).")
    near, among = facts.near
    if not near.size:
        return found + markup.note("The training images are not there, so that copies of them would not show.")
    caption = (
        f"Left, {len(near)} samples; right of each, the {near.shape[1] - 1} nearest of {among[0]:,} training images"
        f"{'' if among[0] == among[1] else f', the first of {among[1]:,}'}. A copy of an image would show."
    )
    rows = near.reshape(-1, *near.shape[2:]).astype("float32") / 255.0
    return found + markup.grid(rows, near.shape[1], f"{SHOWN} samples and the {NEAREST} nearest images", caption)


@section()
def reconstructions(facts: Facts) -> str:
    """Reconstructions."""
    worst = np.argsort(facts.measures["elbo"], kind="stable")[:MOST]
    random = np.arange(min(MOST, len(facts.chosen)))
    found = ""
    for how, places in {"by chance": random, "of the worst bound": worst}.items():
        numbers = facts.chosen[places]
        x, made = facts.pictures(numbers), facts.made_of(facts.codes[places], facts.y_of(numbers))
        columns = markup.most_columns(x, MOST)
        caption = f"{len(places)} test images {how}, and below each its reconstruction."
        found += markup.grid(in_pairs_of_rows(x, made, columns), columns, caption, caption)
    return found


def in_pairs_of_rows(above: np.ndarray, below: np.ndarray, columns: int) -> np.ndarray:
    """Images (n, ...) in rows, each row of `above` followed by the same of `below`; the last ones are white."""
    count = -(-len(above) // columns) * columns
    rows = []
    for images in (above, below):
        white = np.ones((count - len(images), *images.shape[1:]), images.dtype)
        rows.append(np.concatenate([images, white]).reshape(-1, columns, *images.shape[1:]))
    return np.stack(rows, axis=1).reshape(-1, *above.shape[1:])


@section(moves=True)
def traversals(facts: Facts) -> str:
    """Traversals."""
    still = markup.drawn(
        lambda path: each_dimension(facts.subject, path, 1),
        "what each dimension of the code changes in a test image",
        "traversals-picture",
    )
    return interactive.traversals(facts) + still


@section(moves=True)
def interpolation(facts: Facts) -> str:
    """Interpolation."""
    still = markup.drawn(
        lambda path: between_pairs(facts.subject, path), "images on the way between pairs", "interpolation-picture"
    )
    return interactive.interpolation(facts) + still


@section(moves=True)
def kl(facts: Facts) -> str:
    """What each dimension is worth."""
    return interactive.dimensions(facts)


@section()
def plane(facts: Facts) -> str:
    """The plane of the code."""
    return markup.drawn(lambda path: gallery.plane(facts.subject, path), "images all over the code")


@section()
def views(facts: Facts) -> str:
    """From view to view."""
    subject = facts.subject
    if not subject.views:
        return ""
    matrix = markup.drawn(lambda path: several_views.from_each_to_each(subject, path), "from each view to each")
    return matrix + markup.drawn(lambda path: gallery.coherence(subject, path), "how well the views agree")
