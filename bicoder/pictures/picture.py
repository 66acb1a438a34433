"""A picture: one function under `@picture`, found without Matplotlib or Keras, since `--help` lists its flag."""

import dataclasses
import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from bicoder.errors import UsageError, first_line

if TYPE_CHECKING:
    import numpy as np

    from bicoder.pictures.latent_map import Mapped
    from bicoder.vae import VAE


class About(NamedTuple):
    """What is said of a run, all of it text or numbers of anybody.

    Args:
        command: that repeats it.
        tables: title -> name -> value: its arguments, its data, versions.
    """

    command: str = ""
    tables: Mapping[str, Mapping[str, Any]] = {}


@dataclasses.dataclass(frozen=True)
class Subject:
    """What a picture may need; a command gives what it has.

    Args:
        vae: a built `VAE`.
        name: of the data, for titles.
        images, labels: test images (N, ...), `Conditioned` if the model has a condition, and their labels (N,), or
            None; `generate` gives the images it has drawn.
        label_names: text for every label, or ().
        image_shape: (height, width, channels), or None for vectors that are no images; of views, view -> shape or None.
        history: name -> the values of each epoch.
        numbers: what `evaluate` measures, or what of it is known.
        seed: of what is drawn.
        num_images: images in a grid.
        latent_points: test images in a scatter plot.
        files: names of the files of the test images, or their rows, (N,), or None.
        training: training images (M, ...) like the test images, or None if they are not there.
        per_image: what is known of each test image: name of a column of per_image.csv -> values (N,).
        about: what is said of the run.
        film: function that gives the `drawing.film.Strip` of a training.
    """

    vae: "VAE"
    name: str = ""
    images: Any = None
    labels: "np.ndarray | None" = None
    label_names: Sequence[str] = ()
    image_shape: Any = None
    history: Mapping[str, list[float]] = dataclasses.field(default_factory=dict)
    numbers: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    seed: int = 0
    num_images: int = 100
    latent_points: int = 5000
    files: "np.ndarray | None" = None
    training: Any = None
    per_image: "Mapping[str, np.ndarray]" = dataclasses.field(default_factory=dict)
    about: About = About()
    film: Any = None

    def name_of(self, label: int) -> str:
        """What a class is called; an image without one has a negative label."""
        return "no label" if label < 0 else self.label_names[label] if self.label_names else str(label)

    def some(self, count: int) -> "np.ndarray":
        """The numbers of `count` test images, by chance: (n,)."""
        import numpy as np

        from bicoder.engine.arrays.masked import arrays_in

        return np.random.default_rng(self.seed).permutation(len(arrays_in(self.images)[0]))[:count]

    def taken(self, numbers: "np.ndarray") -> Any:
        """The test images of these numbers, (n, ...), or those of each view."""
        from bicoder.engine.arrays.masked import on_arrays

        return on_arrays(lambda array: array[numbers], self.images)

    @functools.cached_property
    def mapped(self) -> "Mapped":
        """Where the codes of test images lie in the plane, which takes long and is computed once."""
        from bicoder.pictures.latent_map import mapped

        return mapped(self)

    @property
    def views(self) -> list[str]:
        """Names of the views, in their order; none if the data are one tensor."""
        from bicoder.engine.arrays.conditioned import parted

        images, _ = parted(self.images)
        return list(images) if isinstance(images, dict) else []


Draw: TypeAlias = Callable[[Subject, Path], Path | None]


class Picture(NamedTuple):
    """A picture that a command draws.

    Args:
        file: its name in the run folder.
        draw: function (subject, path), which writes it and returns its path, or None if there is nothing to draw.
        help: what it shows, in a few words.
        flag: the switch of `train` that asks for it; None to draw it always.
        command: whose picture it is; "film" is that of `train --film`.
    """

    file: str
    draw: Draw
    help: str
    flag: str | None
    command: str


_pictures: dict[str, Picture] = {}  # file -> picture, in the order in which they are drawn


def picture(file: str, flag: str | None = None, command: str = "train") -> Callable[[Draw], Draw]:
    """Decorator of a function (subject, path) that draws a picture; its docstring is the help of `flag`."""

    def register(draw: Draw) -> Draw:
        _pictures[file] = Picture(file, draw, (draw.__doc__ or "").strip().removesuffix("."), flag, command)
        return draw

    return register


def pictures() -> list[Picture]:
    """All pictures, in the order in which they are drawn."""
    from bicoder.pictures import gallery  # noqa: F401 - which registers those of the package

    return list(_pictures.values())


def flags() -> dict[str, str]:
    """flag -> its help, for the pictures that `train` draws if it is asked to; several may have the same flag."""
    shown: dict[str, list[str]] = {}
    for found in pictures():
        if found.flag:
            shown.setdefault(found.flag, []).append(f"{found.file}: {found.help}")
    return {flag: "; ".join(texts) for flag, texts in shown.items()}


def draw(
    subject: Subject, folder: Path, chosen: Sequence[str] = (), command: str = "train", alone: bool = False
) -> list[Path]:
    """Draw the pictures of a command into a run folder: those without a flag, and those with a `chosen` one.

    A picture that fails is left out, and standard error says so: the others come nevertheless.

    Args:
        subject: what they show.
        folder: of the run.
        chosen: flags.
        command: whose pictures they are.
        alone: whether those with a chosen flag come alone.

    Raises:
        UsageError: a picture cannot be written; the others have been drawn.
    """
    written, unwritten = [], None
    for found in pictures():
        if found.command != command or found.flag not in (chosen if alone else (None, *chosen)):
            continue
        try:
            path = found.draw(subject, folder / found.file)
        except UsageError as error:
            unwritten = unwritten or error
        except Exception as error:  # of a model whose numbers are not finite, and of libraries, anything
            print(f"{folder / found.file}: not drawn: {type(error).__name__}: {first_line(error)}", file=sys.stderr)
        else:
            written += [path] if path else []
    if unwritten:
        raise unwritten
    return written
