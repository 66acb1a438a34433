"""`bicoder generate`: new images from the model of a run."""

import dataclasses
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bicoder.cli.command import command
from bicoder.cli.run_options import SamplingOptions, check_folder_of, refuse_existing
from bicoder.engine.start import import_keras
from bicoder.errors import MOST_IN_A_GRID, UsageError
from bicoder.pictures.gallery import generated
from bicoder.pictures.picture import Subject
from bicoder.runs.config import read_config
from bicoder.runs.options.kinds import Text, Whole
from bicoder.runs.options.table import option
from bicoder.waiting import watched

if TYPE_CHECKING:
    import numpy as np

    from bicoder import VAE

PORTION = 1000  # images whose codes are drawn at a time
LARGEST_PICTURE = 2**29  # numbers of all its images, 2 GB


@dataclasses.dataclass(frozen=True, kw_only=True)
class GenerateOptions(SamplingOptions):
    """What `generate` can be told."""

    num_images: int = option(Whole(1), 100, "how many")
    output: str | None = option(Text("FILE"), None, "a .png for a grid, a .npy for an array", "RUN/generated.png")


@command
def generate(options: GenerateOptions) -> None:
    """Write new images from the model of a run: a grid as a picture, or an array."""
    output = Path(options.output or Path(options.run) / "generated.png")
    if output.suffix not in (".png", ".npy"):
        raise UsageError(f"output: expected a file that ends with .png or .npy, received {str(output)!r}")
    config = read_config(options.run)
    check_folder_of(output)
    refuse_existing([output], options.overwrite)
    shape = (options.num_images, *config["input_shape"])
    check_room(shape, output)
    import_keras()
    import numpy as np

    from bicoder.files.tables import write_array
    from bicoder.runs.load import load
    from bicoder.runs.train import title_of

    vae = load(options.run, options.force)
    images = portions(vae, options.num_images, options.seed)
    if output.suffix == ".npy":
        write_array(output, shape, images)
    else:
        title, image_shape = title_of(config["arguments"]), config["data"].get("image_shape")
        generated(Subject(vae, title, np.concatenate(list(images)), image_shape=image_shape), output)
    print(output)


def check_room(shape: tuple[int, ...], output: Path) -> None:
    """`UsageError` if images of this shape, (N, ...), do not fit: into a picture and the memory, or on the disk."""
    count, size = shape[0], 4 * math.prod(shape)
    if output.suffix == ".npy":
        free = shutil.disk_usage(output.parent).free
        if size > free:
            raise UsageError(f"num_images: {count:,} images are {size:,} bytes, and {output.parent} has {free:,} free")
    elif count > MOST_IN_A_GRID or size > 4 * LARGEST_PICTURE:
        most = min(MOST_IN_A_GRID, LARGEST_PICTURE // math.prod(shape[1:]))
        raise UsageError(
            f"num_images: expected at most {most:,} images of shape {shape[1:]} in a picture, received {count:,}; "
            "--output FILE.npy takes more"
        )


def portions(vae: "VAE", count: int, seed: int) -> "Iterator[np.ndarray]":
    """`count` images from the prior in arrays of a few MB, so that memory does not grow with them.

    The first `PORTION` have the seed itself: so many images are those of `VAE.generate(count, seed)`.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    for start in watched(range(0, count, PORTION), "generating", count, size=PORTION):
        yield from map(np.asarray, vae.generated(min(PORTION, count - start), seed))
        seed = int(rng.integers(2**31))
