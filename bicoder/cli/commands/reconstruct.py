"""`bicoder reconstruct`: images as the model of a run gives them back."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bicoder.cli.command import command
from bicoder.cli.run_options import ImagesOptions, check_folder_of, refuse_existing
from bicoder.engine.start import import_keras
from bicoder.errors import UsageError
from bicoder.runs.config import read_config
from bicoder.runs.folder import RECONSTRUCTED_VIEWS, RECONSTRUCTIONS
from bicoder.runs.options.kinds import Text
from bicoder.runs.options.option import option
from bicoder.waiting import watched

if TYPE_CHECKING:
    import numpy as np

    from bicoder.data.likewise import Likewise


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReconstructOptions(ImagesOptions):
    """What `reconstruct` can be told."""

    output: str | None = option(
        Text("DIR|FILE"),
        None,
        "a folder for a .png of each image, a .npy for an array; of several views, a .npz for an array of each",
        "RUN/reconstructions.npy, or .npz",
    )


@command
def reconstruct(options: ReconstructOptions) -> None:
    """Write images as the model gives them back: the mean of p(x|z) at the mean of q(z|x)."""
    from bicoder.files.tables import write_array, write_arrays
    from bicoder.runs.run_data import images_for

    folder = Path(options.run)
    config = read_config(folder)
    example = config["input_shape"]
    several = isinstance(example, dict)
    options.check_given(example)
    output = Path(options.output or folder / (RECONSTRUCTED_VIEWS if several else RECONSTRUCTIONS))
    shapes = {view: image_shape_of(config, view) for view in (example if several else [""])}
    check_output(output, ".npz" if several else ".npy", shapes, options.overwrite)
    options.check_apart(output, config)
    others = images_for(folder, config, options.images, options.given, **options.whereabouts())
    import_keras(backend=options.backend)
    from bicoder.evaluation.codes import BATCH, reconstructed
    from bicoder.runs.load import load

    vae = load(folder, options.force)
    images = reconstructed(vae, watched(others.batches(BATCH), "reconstructing", others.total, size=BATCH))
    if output.suffix == ".npz":
        write_arrays(output, {view: (others.total, *shape) for view, shape in example.items()}, images)
    elif output.suffix == ".npy":
        write_array(output, (others.total, *example), images)
    else:
        by_view = images if several else ({"": portion} for portion in images)
        write_pictures(output, names_of(others), by_view, shapes)
    print(output)


def image_shape_of(config: dict[str, Any], view: str) -> list[int]:
    """(height, width, channels) of what a run has of a view, or of its one tensor, ""; the shape of a vector."""
    found = (config["data"].get("image_shape"), config["input_shape"])
    image_shape, shape = (one[view] if view and one is not None else one for one in found)
    return image_shape or shape


def check_output(output: Path, arrays: str, shapes: dict[str, Any], overwrite: bool) -> None:
    """`UsageError` unless the output is a file of arrays, or a folder of pictures, that can be written.

    Args:
        output: the file or the folder.
        arrays: how the name of a file of arrays ends.
        shapes: of the images of each view.
    """
    from bicoder.data.datasets import is_below

    check_folder_of(output)
    if output.suffix == arrays:
        return refuse_existing([output], overwrite)
    if output.is_file() or (output.suffix and not output.is_dir()):
        raise UsageError(f"output: expected a folder, or a file that ends with {arrays}, received {str(output)!r}")
    for view, shape in shapes.items():
        if view and not is_below(view):
            raise UsageError(f"output: the view {view!r} is no name of a folder; write a {arrays} file")
        if len(shape) == 3 and shape[-1] not in (1, 3):
            raise UsageError(f"output: images of {shape[-1]} channels are no pictures; write a {arrays} file")
    if output.is_dir() and any(output.iterdir()) and not overwrite:
        raise UsageError(f"output: {output} holds files already; add --overwrite to replace those of the same names")


def names_of(others: "Likewise") -> list[Path]:
    """Where each picture is written, below the folder of the output: as its image lies below its own folder."""
    if others.names is None or others.names.dtype.kind in "iu":
        return [Path(f"{number:06d}.png") for number in range(others.total)]
    files = [Path(name) for name in others.names]
    return [file if file.suffix == ".png" else file.with_name(f"{file.name}.png") for file in files]


def write_pictures(
    output: Path, names: list[Path], portions: "Iterator[dict[str, np.ndarray]]", shapes: dict[str, Any]
) -> None:
    """One PNG for each image of portions (n, ...) of each view, below a folder of the view.

    Args:
        output: the folder.
        names: of the images, below it, or below the folder of their view.
        portions: view -> images; "" of what is one tensor.
        shapes: of the images of each view.
    """
    from bicoder.pictures.drawing.plotting import as_images

    start = 0
    for portion in portions:
        for view, images in portion.items():
            shape = shapes[view] if len(shapes[view]) == 3 else None
            for name, image in zip(names[start:], as_images(images, shape), strict=False):
                write_picture(output / view / name, image)
        start += len(images)


def write_picture(path: Path, image: "np.ndarray") -> None:
    """A PNG of an image in [0, 1], in folders that are made."""
    import numpy as np
    from PIL import Image

    from bicoder.files.whole_file import whole_file

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"output: {path.parent} cannot be made: {error.strerror or error}") from error
    with whole_file(path) as new:
        Image.fromarray(np.round(image * 255).astype("uint8")).save(new, format="PNG")
