"""Images that stay in files, as an array that reads what it is asked for."""

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from bicoder.data.pixels import Scaling, scaled
from bicoder.data.stored.row_files import RowFile, RowFiles


class StoredImages:
    """Images (N, ...) of float32 in [0, 1] that stay in files until they are asked for.

    `images[3]`, `images[10:20]` and `images[[5, 2, 7]]` are arrays, as those of a NumPy array are; `select` and
    `reshape` give images that are in the file still. `numpy.asarray(images)` reads all of them.

    The file is read and not memory-mapped: what is mapped counts as this process's memory until the kernel takes it
    back, and a file that somebody cuts short would end the process with SIGBUS instead of an error. Pixels that were
    bytes are bytes in the file, a quarter of float32, and are scaled when they are read.

    Args:
        files: whose content is trusted, see `conversion` and `packs.shard_list`.
        dtype: of the pixels in the files.
        shape: (N, ...).
        scaling: `pixels.Scaling`.
        content: what says which pixels the files hold, such as a hash; None if nobody knows.
    """

    dtype = np.dtype("float32")
    in_file = True  # for the training loop, which would make an array of anything else
    rows: np.ndarray | None

    def __init__(
        self,
        files: Sequence[RowFile],
        dtype: np.dtype | str,
        shape: tuple[int, ...],
        scaling: Scaling,
        content: str | None = None,
    ) -> None:
        self.stored, self.shape, self.scaling, self.content = np.dtype(dtype), shape, scaling, content
        # Which row of the files each image is; None if all are, in their order.
        self.rows = None
        # Open as long as the images are there.
        self.files = RowFiles(files, math.prod(shape[1:]) * self.stored.itemsize)

    @property
    def path(self) -> Path:
        """Of the file, or of the first one."""
        return self.files.files[0].path

    def identity(self) -> dict[str, Any]:
        """What says that these are the same images of the same files."""
        rows = None if self.rows is None else hashlib.sha256(self.rows.astype("<i8").tobytes()).hexdigest()
        states = [number for state in self.files.states for number in state]
        return {"state": states, "scaling": list(self.scaling), "shape": list(self.shape), "rows": rows}

    def digest(self) -> bytes | None:
        """What tells whether these are the same images as earlier, without reading them; None if that is not known."""
        if self.content is None:
            return None
        rows = np.arange(len(self)) if self.rows is None else self.rows
        told = f"{self.content} {tuple(self.scaling)} {self.shape}"
        return hashlib.sha256(told.encode() + rows.astype("<i8").tobytes()).digest()

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def changed(self, rows: np.ndarray | None, shape: tuple[int, ...]) -> "StoredImages":
        """The same files, read in another way."""
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
        self.files.read(rows, pixels)
        return scaled(pixels, self.scaling).reshape(len(rows), *self.shape[1:])


ImageArray: TypeAlias = np.ndarray | StoredImages  # (N, ...) of float32 in [0, 1]
