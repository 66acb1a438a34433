"""`bicoder pack`: images into shards."""

import contextlib
import dataclasses
import functools
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bicoder.cli.command import command
from bicoder.errors import UsageError, counted
from bicoder.runs.options.kinds import Choice, Flag, ImageSize, Text, Whole
from bicoder.runs.options.option import CommandOptions, option
from bicoder.runs.options.table import VIEWS

if TYPE_CHECKING:
    from bicoder.data.dataset import Dataset

MOST_JOBS = 1024
FEW = 2000  # files that are read before processes have begun


@dataclasses.dataclass(frozen=True, kw_only=True)
class PackOptions(CommandOptions):
    """What `pack` can be told."""

    images: str = option(Text(), ..., "a folder of images, an array file, or mnist_bw and its kind, as --dset takes it")
    output: str | None = option(Text("DIR"), None, "folder of the shards", "<images>-shards, in the working directory")
    shard_size: int = option(Whole(1), 10_000, "images in a shard")
    jobs: int | None = option(Whole(1, MOST_JOBS), None, "processes that read image files", "as many as cores")
    view: str = option(Choice(*VIEWS), "m0", "which version of mnist_color")
    image_size: tuple[int, int] | None = option(
        ImageSize(),
        None,
        "scale the images of a folder, after a centred crop",
        "their own size, or 64 where they differ",
    )
    labels: str | None = option(
        Text("FILE"), None, "labels, as train takes them", "what the data have, such as sub-folders"
    )
    skip_damaged: bool = option(Flag(), False, "go on without images that are damaged", "list them and end")
    data_dir: str | None = option(
        Text("DIR"), None, "where downloaded files live", "$BICODER_DATA, else the user's cache"
    )
    quiet: bool = option(Flag(), False, "print no line at the end", "one")


@command
def pack(options: PackOptions) -> None:
    """Write images as shards, which train reads from the disk: --dset DIR.

    The same command goes on where it was if it was interrupted.

    examples:
      bicoder pack path/to/images --output shards
          shards of 10,000 images, shards.json with the SHA-256 of each; then: bicoder train --dset shards
    """
    from bicoder.data.formats.decoding import Decoders, cores
    from bicoder.data.loader import say
    from bicoder.data.packs.packing import pack as packed
    from bicoder.runs.folder import check_apart, short_name

    started = time.perf_counter()
    folder = Path(options.output or f"{short_name(options.images)}-shards")
    check_apart(options.images, folder, "output")
    dataset = dataset_of(options)
    images = dataset.sources()
    pictures = getattr(images.train, "pictures", None)
    with contextlib.ExitStack() as stack:
        jobs = options.jobs or cores()
        if pictures is not None and jobs > 1 and len(pictures.paths) > FEW:
            pictures.decoders = stack.enter_context(Decoders(jobs))
        found = packed(dataset, images, folder, options.shard_size, say)
    if not options.quiet:
        size = sum((folder / file.file).stat().st_size for file in found.files())
        what = f"{counted(found.images, 'image')} of shape {found.shape} in {counted(len(found.shards), 'shard')}"
        print(f"{folder}: {what}, {size:,} bytes; {time.perf_counter() - started:.1f} s")


def dataset_of(options: PackOptions) -> "Dataset":
    """The data set that is packed."""
    from bicoder.data.datasets import find_dataset
    from bicoder.data.formats.label_file import read_labels
    from bicoder.data.loader import say
    from bicoder.files.cache import cached_file

    kind = find_dataset(options.images)
    if kind.streams:
        raise UsageError(f"images: expected images that are no pack yet, received {options.images}")
    dataset = kind(
        options.images,
        options.view,
        options.image_size,
        functools.partial(cached_file, data_dir=options.data_dir, mirror=None, download=True),
        say,
        False,
        data_dir=options.data_dir,
        channels=None,
        labels=None if options.labels is None else functools.cache(functools.partial(read_labels, options.labels)),
        skip_damaged=options.skip_damaged,
        validation=True,  # whoever trains says whether they are wanted
        split=None,
    )
    if dataset.labels is not None:
        dataset.labels()  # what is wrong with it is said before the images are read
    return dataset
