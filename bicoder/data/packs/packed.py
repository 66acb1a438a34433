"""The data set that a folder of shards is."""

from pathlib import Path
from typing import Any

import numpy as np

from bicoder.data.dataset import Dataset, Images
from bicoder.data.packs.shard_list import JOURNAL, NAME, check_hashes, read_list, row_files
from bicoder.data.splits import PURPOSES
from bicoder.data.stored.conversion import PixelFile
from bicoder.errors import DataError


class Packed(Dataset):
    """A folder that `bicoder pack` wrote: images in shards, which are read while the model learns."""

    streams = True

    @classmethod
    def accepts(cls, dset: Any) -> bool:
        return any((Path(dset) / name).is_file() for name in (NAME, JOURNAL))

    def read(self) -> Images:
        """All shards are there and whole when this returns."""
        folder = Path(self.dset)
        if not (folder / NAME).exists():
            raise DataError(
                f"{folder}: expected a finished pack, received one that was begun; give bicoder pack the same command "
                "again, and it goes on"
            )
        found = read_list(folder)
        row_files(folder, found, found.files())
        check_hashes(folder, found, self.data_dir)
        labels, purposes = (None if file is None else np.load(folder / file.file) for file in found.files_beside())
        if purposes is not None and not ((purposes >= 0) & (purposes < len(PURPOSES))).all():
            raise DataError(f"{folder / NAME}: expected purposes from 0 to {len(PURPOSES) - 1}, received others")
        shape = (found.images, *found.shape)
        files = row_files(folder, found, found.shards)
        pixels = PixelFile(files, np.dtype(found.dtype), shape, found.survey, (), found.content())
        uses = None if purposes is None else np.array(PURPOSES)[purposes]
        if purposes is not None:
            self.say_purposes(np.bincount(purposes, minlength=len(PURPOSES)).tolist())
        return Images(pixels, train_labels=labels, label_names=found.label_names, purposes=uses)

    def say_purposes(self, counts: list[int]) -> None:
        """Say what the images are for."""
        there = {use: count for use, count in zip(PURPOSES, counts, strict=True) if count}
        left = "; those for validation are left out, unless --validation asks for some"
        note = left if "validation" in there and not self.validation else ""
        listed = ", ".join(f"{use} images ({count:,})" for use, count in there.items())
        self.say(f"{self.name}: the split is that of the images that were packed: {listed}{note}.")
