"""`bicoder generate`: new images from the model of a run."""

import dataclasses
import math
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bicoder.cli.command import command
from bicoder.cli.run_options import DataOptions, SamplingOptions, check_folder_of, check_views, refuse_existing
from bicoder.engine.arrays.conditioned import parted
from bicoder.engine.start import import_keras
from bicoder.errors import MOST_IN_A_GRID, UsageError
from bicoder.pictures.gallery import generated
from bicoder.pictures.picture import Subject
from bicoder.runs.config import read_config
from bicoder.runs.options.kinds import Text, Whole
from bicoder.runs.options.option import option
from bicoder.runs.options.view_kinds import GivenViews, SomeViews
from bicoder.waiting import watched

if TYPE_CHECKING:
    from bicoder import VAE

PORTION = 1000  # images whose codes are drawn at a time
LARGEST_PICTURE = 2**29  # numbers of all its images, 2 GB


@dataclasses.dataclass(frozen=True, kw_only=True)
class GenerateOptions(DataOptions, SamplingOptions):
    """What `generate` can be told."""

    given: dict[str, str | None] | None = option(
        GivenViews(),
        None,
        "of a run of several views: go from these to --want; from images at a path each, or from those that the run's "
        "test examples have, with z ~ q(z|x given)",
        "z ~ p(z)",
    )
    want: tuple[str, ...] | None = option(SomeViews(), None, "which views to write", "all that are not --given")
    condition: str | None = option(
        Text("CLASS,..."), None, "of a run with a --condition: which classes, by name or number", "all of them"
    )
    num_images: int = option(Whole(1), 100, "how many")
    output: str | None = option(
        Text("FILE"),
        None,
        "a .png for a grid, a .npy for an array; of several views, a .npz for an array of each",
        "RUN/generated.png",
    )


@command
def generate(options: GenerateOptions) -> None:
    """Write new images from the model of a run: a grid as a picture, or an array."""
    output = Path(options.output or Path(options.run) / "generated.png")
    config = read_config(options.run)
    example = config["input_shape"]
    arrays = ".npz" if isinstance(example, dict) else ".npy"
    if output.suffix not in (".png", arrays):
        raise UsageError(f"output: expected a file that ends with .png or {arrays}, received {str(output)!r}")
    check_folder_of(output)
    refuse_existing([output], options.overwrite)
    check_room(options.num_images, example, output)
    check_given(options, example)
    if options.given:
        return from_given(options, config, output)
    import_keras(backend=options.backend)
    import numpy as np

    from bicoder.engine.arrays.trees import mapped
    from bicoder.files.tables import write_array, write_arrays
    from bicoder.runs.load import load
    from bicoder.runs.shown import title_of

    labels, count = labels_of(options, config), options.num_images
    vae = load(options.run, options.force)
    images = portions(vae, count, options.seed, labels)
    if output.suffix == ".npy":
        write_array(output, (count, *example), images)
    elif output.suffix == ".npz":
        write_arrays(output, {view: (count, *shape) for view, shape in example.items()}, images)
    else:
        data, found = config["data"], mapped(lambda *arrays: np.concatenate(arrays), *images)
        title, names = title_of(config["arguments"]), data.get("label_names") or ()
        generated(Subject(vae, title, found, labels, names, data.get("image_shape")), output)
    if labels is not None and output.suffix != ".png":
        say_rows(output, labels, config)
    print(output)


def labels_of(options: GenerateOptions, config: dict[str, Any]) -> Any:
    """The class of each image, (num_images,), one class after the other; None if the run has no condition.

    Raises:
        UsageError: a class is none of the run, there are more of them than images, or the run has no condition.
    """
    from bicoder.pictures.by_class import in_order
    from bicoder.runs.run_data import class_names

    if config["model"].get("condition") is None:
        if options.condition is not None:
            raise UsageError(f"condition: expected none, since {options.run} was trained without; leave it out")
        return None
    known = {name: number for number, name in enumerate(class_names(config))}
    asked = options.condition
    wanted = list(known) if asked is None else [asked] if asked in known else asked.split(",")
    if unknown := [name for name in wanted if name not in known]:
        some = ", ".join([*known][:20]) + (", ..." if len(known) > 20 else "")
        raise UsageError(f"condition: expected classes of the run, {some}, received {unknown[0]!r}")
    if asked is not None and len(wanted) > options.num_images:
        raise UsageError(f"num_images: expected one or more for each of {len(wanted)} classes, received fewer")
    return in_order([known[name] for name in wanted], options.num_images)


def say_rows(output: Path, labels: Any, config: dict[str, Any]) -> None:
    """Say which rows of an array are of which class."""
    from bicoder.runs.run_data import class_names

    names, rows = class_names(config), labels.tolist()
    found = [f"{rows.count(label)} of {names[label]}" for label in dict.fromkeys(rows)]
    print(f"{output}: rows in this order: {', '.join(found)}", file=sys.stderr)


def check_given(options: GenerateOptions, example: Any) -> None:
    """`UsageError` if a view is named that the run does not have, or an option that means nothing here."""
    check_views("given", options.given, example)
    check_views("want", options.want, example)
    for name in ("want", "dset", "data_dir", "mirror", "anyway"):
        if name in options.typed and not options.given:
            raise UsageError(f"{name}: expected it with --given, received it without; leave it out")
    if options.given and options.condition is not None:
        raise UsageError("condition: expected it without --given, whose examples have their own classes; leave it out")


def from_given(options: GenerateOptions, config: dict[str, Any], output: Path) -> None:
    """Write the wanted views of z ~ q(z|x given), below those that are given."""
    from bicoder.runs.run_data import images_for

    wanted = options.want or tuple(view for view in config["input_shape"] if view not in (options.given or {}))
    if not wanted:
        raise UsageError("want: expected a view, received none, since all are given; name some")
    others = images_for(Path(options.run), config, given=options.given, **options.whereabouts())
    portions = others.first(options.num_images)
    import_keras(backend=options.backend)
    import numpy as np

    from bicoder.engine.arrays.trees import mapped
    from bicoder.files.tables import write_arrays
    from bicoder.runs.load import load
    from bicoder.runs.shown import title_of

    x = mapped(lambda *arrays: np.concatenate(arrays), *portions)
    vae, (views, y) = load(options.run, options.force), parted(x)
    made = vae.decode(vae.encode(x).sample(options.seed), y).mean
    images = {view: np.asarray(made[view]) for view in wanted}
    if output.suffix == ".npz":
        write_arrays(output, {view: made.shape for view, made in images.items()}, [images])
    else:
        from bicoder.pictures.several_views import given_and_made

        shapes = config["data"].get("image_shape") or {}
        given_and_made(views, images, shapes, title_of(config["arguments"]), output)
    print(output)


def check_room(count: int, example: Any, output: Path) -> None:
    """`UsageError` if so many images do not fit: into a picture and the memory, or on the disk.

    Args:
        count: of images.
        example: shape of one, or of each view.
        output: the file.
    """
    numbers = sum(map(math.prod, example.values())) if isinstance(example, dict) else math.prod(example)
    size = 4 * count * numbers
    if output.suffix == ".npy":
        free = shutil.disk_usage(output.parent).free
        if size > free:
            raise UsageError(f"num_images: {count:,} images are {size:,} bytes, and {output.parent} has {free:,} free")
    elif count > MOST_IN_A_GRID or size > 4 * LARGEST_PICTURE:
        most = min(MOST_IN_A_GRID, LARGEST_PICTURE // numbers)
        several = isinstance(example, dict)
        shape = f"shapes {', '.join(map(str, map(tuple, example.values())))}" if several else f"shape {tuple(example)}"
        what, hint = ("examples", "") if several else ("images", "; --output FILE.npy takes more")
        where = "" if several else " in a picture"
        raise UsageError(f"num_images: expected at most {most:,} {what} of {shape}{where}, received {count:,}{hint}")


def portions(vae: "VAE", count: int, seed: int, labels: Any = None) -> "Iterator[Any]":
    """`count` images from the prior in arrays of a few MB, so that memory does not grow with them.

    The first `PORTION` have the seed itself: so many images are those of `VAE.generate(count, seed)`.

    Args:
        labels: of the images, (count,), if the model has a condition.
    """
    import numpy as np

    from bicoder.engine.arrays.trees import mapped

    rng = np.random.default_rng(seed)
    for start in watched(range(0, count, PORTION), "generating", count, size=PORTION):
        number = min(PORTION, count - start)
        for images in vae.generated(number, seed, None if labels is None else labels[start : start + number]):
            yield mapped(np.asarray, images)
        seed = int(rng.integers(2**31))
