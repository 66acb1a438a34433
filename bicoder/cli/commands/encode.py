"""`bicoder encode`: the codes of images."""

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bicoder.cli.command import command
from bicoder.cli.run_options import ImagesOptions, check_folder_of, refuse_existing
from bicoder.engine.start import import_keras
from bicoder.errors import UsageError
from bicoder.runs.config import read_config
from bicoder.runs.folder import CODES
from bicoder.runs.options.kinds import Text
from bicoder.runs.options.option import option
from bicoder.waiting import watched

if TYPE_CHECKING:
    import numpy as np

SUFFIXES = (".csv", ".parquet", ".npy")


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncodeOptions(ImagesOptions):
    """What `encode` can be told."""

    output: str | None = option(
        Text("FILE"), None, "a .csv or a .parquet for a table, a .npy for the means alone", "RUN/codes.csv"
    )


@command
def encode(options: EncodeOptions) -> None:
    """Write the codes of images: mean and log standard deviation of q(z|x), and the label and file of each image."""
    from bicoder.files.tables import TABLES, Table, check_parquet, write_array
    from bicoder.runs.run_data import images_for

    folder = Path(options.run)
    output = Path(options.output or folder / CODES)
    if output.suffix not in SUFFIXES:
        raise UsageError(f"output: expected a file that ends with {', '.join(SUFFIXES)}, received {str(output)!r}")
    config = read_config(folder)
    options.check_given(config["input_shape"])
    check_folder_of(output)
    refuse_existing([output], options.overwrite)
    options.check_apart(output, config)
    check_parquet(output)
    others = images_for(folder, config, options.images, options.given, **options.whereabouts())
    import_keras(backend=options.backend)
    from bicoder.evaluation.codes import BATCH, encoded
    from bicoder.runs.load import load

    vae = load(folder, options.force)
    place = None if isinstance(config["input_shape"], dict) else options.images  # a file of each view has the name
    codes = encoded(vae, watched(others.batches(BATCH), "encoding", others.total, size=BATCH))
    if output.suffix == ".npy":
        write_array(output, (others.total, vae.latent_dim), (found.mean for found in codes))
        note = "the means alone; a .csv or a .parquet has log standard deviations, labels and files too"
    else:
        names, numbers, note = columns(codes, vae.latent_dim)
        TABLES[output.suffix](output, Table(names, numbers, others.texts(place)))
    if note:
        print(f"{output}: {note}", file=sys.stderr)
    print(output)


def columns(codes: Iterator[Any], latent_dim: int) -> tuple[list[str], "Iterator[np.ndarray]", str]:
    """The names of the columns of numbers, their rows in portions, and what is to be said about them."""
    import numpy as np

    first = next(codes)
    names = [f"z{number}" for number in range(1, latent_dim + 1)]

    def rows() -> "Iterator[np.ndarray]":
        yield from (np.concatenate([part for part in found if part is not None], axis=1) for found in (first, *codes))

    if first.log_deviation is None:
        return names, rows(), "the means alone, since q(z|x) has no standard deviation that is known"
    return [*names, *(f"log_sigma{number}" for number in range(1, latent_dim + 1))], rows(), ""
