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
from bicoder.runs.folder import RECONSTRUCTIONS
from bicoder.runs.options.kinds import Text
from bicoder.runs.options.table import option
from bicoder.waiting import watched

if TYPE_CHECKING:
    import numpy as np

    from bicoder.data.likewise import Likewise


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReconstructOptions(ImagesOptions):
    """What `reconstruct` can be told."""

    output: str | None = option(
        Text("DIR|FILE"), None, "a folder for a .png of each image, a .npy for an array", "RUN/reconstructions.npy"
    )


@command
def reconstruct(options: ReconstructOptions) -> None:
    """Write images as the model gives them back: the mean of p(x|z) at the mean of q(z|x)."""
    from bicoder.files.tables import write_array
    from bicoder.runs.run_data import images_for

    folder = Path(options.run)
    output = Path(options.output or folder / RECONSTRUCTIONS)
    config = read_config(folder)
    if isinstance(config["input_shape"], dict):
        raise UsageError(
            f"run: expected one whose examples are one tensor, received {folder}, of several views; in Python, "
            "bicoder.load(folder).reconstruct(x) takes them"
        )
    image_shape = config["data"].get("image_shape") or config["input_shape"]
    check_output(output, image_shape, options.overwrite)
    options.check_apart(output, config)
    others = images_for(folder, config, options.images, **options.whereabouts())
    import_keras()
    from bicoder.evaluation.codes import BATCH, reconstructed
    from bicoder.runs.load import load

    vae = load(folder, options.force)
    images = reconstructed(vae, watched(others.batches(BATCH), "reconstructing", others.total, size=BATCH))
    if output.suffix == ".npy":
        write_array(output, (others.total, *config["input_shape"]), images)
    else:
        write_pictures(output, names_of(others), images, image_shape)
    print(output)


def check_output(output: Path, image_shape: list[int], overwrite: bool) -> None:
    """`UsageError` unless the output is an array, or a folder of pictures, that can be written."""
    check_folder_of(output)
    if output.suffix == ".npy":
        return refuse_existing([output], overwrite)
    if output.is_file() or (output.suffix and not output.is_dir()):
        raise UsageError(f"output: expected a folder, or a file that ends with .npy, received {str(output)!r}")
    if len(image_shape) == 3 and image_shape[-1] not in (1, 3):
        raise UsageError(f"output: images of {image_shape[-1]} channels are no pictures; write a .npy file")
    if output.is_dir() and any(output.iterdir()) and not overwrite:
        raise UsageError(f"output: {output} holds files already; add --overwrite to replace those of the same names")


def names_of(others: "Likewise") -> list[Path]:
    """Where each picture is written, below the folder of the output: as its image lies below its own folder."""
    if others.names is None or others.names.dtype.kind in "iu":
        return [Path(f"{number:06d}.png") for number in range(others.total)]
    files = [Path(name) for name in others.names]
    return [file if file.suffix == ".png" else file.with_name(f"{file.name}.png") for file in files]


def write_pictures(output: Path, names: list[Path], portions: "Iterator[np.ndarray]", image_shape: Any) -> None:
    """One PNG for each image of portions (n, ...)."""
    import numpy as np
    from PIL import Image

    from bicoder.files.whole_file import whole_file
    from bicoder.pictures.plotting import as_images

    paths = iter(names)
    for portion in portions:
        for image in as_images(portion, image_shape if len(image_shape) == 3 else None):
            path = output / next(paths)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UsageError(f"output: {path.parent} cannot be made: {error.strerror or error}") from error
            with whole_file(path) as new:
                Image.fromarray(np.round(image * 255).astype("uint8")).save(new, format="PNG")
