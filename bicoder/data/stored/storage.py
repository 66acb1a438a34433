"""Where a loader keeps images: in memory, or in converted files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bicoder.data.dataset import Dataset, Images
from bicoder.data.pixels import draw_binary, scaling
from bicoder.data.stored.conversion import PixelFile, StoreError, converted
from bicoder.data.stored.sources import Source, drawn_again
from bicoder.data.stored.stored_images import ImageArray, StoredImages
from bicoder.errors import DataError


class Storage(NamedTuple):
    """How the images of a data set are kept.

    Args:
        stream: whether they stay on the disk.
        data_dir: see `cache.data_folder`.
        say: called with a line about what was decided.
    """

    stream: bool
    data_dir: str | Path | None
    say: Callable[[str], Any]

    def read(self, dataset: Dataset) -> Images:
        """The `Images` of a data set: arrays, or `PixelFile`s that are sooner read, or shall stay in files."""
        if not self.stream and not dataset.is_slow():
            return dataset.read()
        images = dataset.sources()
        if self.stream and not any(isinstance(array, (Source, PixelFile)) for array in (images.train, images.test)):
            self.say(f"{dataset.name}: is kept in memory; --stream is for folders, .npy files and mnist_color")
        try:
            found = {name: self.converted(array) for name, array in images._asdict().items()}
        except StoreError as error:
            self.say(f"Going on without a converted copy: {error}")
            return dataset.read()
        return Images(**found)

    def converted(self, array: Any) -> Any:
        """A `Source` as `PixelFile`; everything else as it is."""
        if not isinstance(array, Source):
            return array
        try:
            return converted(array, self.data_dir)
        except StoreError as error:
            if self.stream:
                raise DataError(str(error)) from error
            raise

    def drawn(self, images: ImageArray, seed: int | list[int] | None) -> ImageArray:
        """`draw_binary`; of images in a file into another file."""
        if not (self.stream and isinstance(images, StoredImages)):
            return draw_binary(np.asarray(images), seed)
        source = drawn_again(images, seed)
        found = self.converted(source)
        return found.images(scaling(found.survey, source.place, self.say)).reshape(len(images), *images.shape[1:])
