"""Images that stay in a file, as an array that reads what it is asked for."""

import hashlib
import math
import os
import threading
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from bicoder.data.pixels import Scaling, scaled
from bicoder.errors import DataError
from bicoder.files.regular_file import open_regular


class StoredImages:
    """Images (N, ...) of float32 in [0, 1] that stay in a file until they are asked for.

    `images[3]`, `images[10:20]` and `images[[5, 2, 7]]` are arrays, as those of a NumPy array are; `select` and
    `reshape` give images that are in the file still. `numpy.asarray(images)` reads all of them.

    The file is read and not memory-mapped: what is mapped counts as this process's memory until the kernel takes it
    back, and a file that somebody cuts short would end the process with SIGBUS instead of an error. Pixels that were
    bytes are bytes in the file, a quarter of float32, and are scaled when they are read.

    Args:
        path: of a file whose content is trusted, see `conversion`.
        offset: bytes in front of the first image.
        dtype: of the pixels in the file.
        shape: (N, ...).
        scaling: `pixels.Scaling`.
    """

    dtype = np.dtype("float32")
    in_file = True  # for the training loop, which would make an array of anything else
    rows: np.ndarray | None

    def __init__(
        self, path: Path, offset: int, dtype: np.dtype | str, shape: tuple[int, ...], scaling: Scaling
    ) -> None:
        self.path, self.offset, self.stored, self.shape, self.scaling = path, offset, np.dtype(dtype), shape, scaling
        # Which row of the file each image is; None if all are, in their order.
        self.rows = None
        self.file = open_regular(path)  # open as long as the images are there
        self.lock = threading.Lock()
        self.opened = self.state()

    def state(self) -> tuple[int, int]:
        """Size and time of the file that is open, even if it has been replaced under its name."""
        found = os.fstat(self.file.fileno())
        return found.st_size, found.st_mtime_ns

    def identity(self) -> dict[str, Any]:
        """What says that these are the same images of the same file."""
        rows = None if self.rows is None else hashlib.sha256(self.rows.astype("<i8").tobytes()).hexdigest()
        return {"state": list(self.opened), "scaling": list(self.scaling), "shape": list(self.shape), "rows": rows}

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def changed(self, rows: np.ndarray | None, shape: tuple[int, ...]) -> "StoredImages":
        """The same file, read in another way."""
        other = object.__new__(StoredImages)
        other.__dict__.update(self.__dict__, rows=rows, shape=shape)
        return other

    def select(self, numbers: np.ndarray | list[int]) -> "StoredImages":
        """The images of these numbers (n,), in this order, still in the file."""
        rows = np.asarray(numbers) if self.rows is None else self.rows[numbers]
        return self.changed(rows, (len(rows), *self.shape[1:]))

    def reshape(self, count: int, *shape: int) -> "StoredImages":
        """Images of another shape, with the same number of pixels; -1 for what is left."""
        [example] = np.broadcast_to(np.float32(0), (1, *self.shape[1:])).reshape(1, *shape)
        return self.changed(self.rows, (count, *example.shape))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)

    def __getitem__(self, key: Any) -> np.ndarray:
        numbers = np.arange(len(self))[key]  # whatever NumPy takes, and its errors
        if numbers.ndim == 0:
            return self.read(numbers[None])[0]
        if numbers.ndim > 1:
            return self.read(numbers.ravel()).reshape(*numbers.shape, *self.shape[1:])
        return self.read(numbers)

    def read(self, numbers: np.ndarray) -> np.ndarray:
        """The images of these numbers (n,), float32 (n, ...)."""
        rows = numbers if self.rows is None else self.rows[numbers]
        pixels = np.empty((len(rows), math.prod(self.shape[1:])), self.stored)
        with self.lock:
            if len(rows) and rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all():
                self.read_into(pixels, rows[0])
            else:  # in the order of the file, which is faster on every disk
                for place in np.argsort(rows, kind="stable"):
                    self.read_into(pixels[place], rows[place])
            if self.state() != self.opened:
                raise DataError(f"{self.path}: has changed while it was in use; leave it alone, and start again")
        return scaled(pixels, self.scaling).reshape(len(rows), *self.shape[1:])

    def read_into(self, pixels: np.ndarray, row: int) -> None:
        """Fill an array with the file from a row on."""
        left = pixels.data.cast("B")
        self.file.seek(self.offset + int(row) * math.prod(self.shape[1:]) * self.stored.itemsize)
        while left.nbytes:  # two GB at most come at a time
            count = self.file.readinto(left)
            if not count:
                raise DataError(f"{self.path}: has been cut short while it was in use; leave it alone, and start again")
            left = left[count:]


ImageArray: TypeAlias = np.ndarray | StoredImages  # (N, ...) of float32 in [0, 1]
