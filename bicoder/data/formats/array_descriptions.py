"""Arrays described in a pickle; their bytes are read later."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np

from bicoder.data.formats.archives import Stream
from bicoder.data.formats.arrays import check_size
from bicoder.data.formats.rows_in_file import rows_in_file
from bicoder.engine.arrays.portions import Portions
from bicoder.errors import DataError

NUMBER = re.compile(r"[<>=|]?([?]|b1|[iu][1248]|f(2|4|8|16))")


@dataclasses.dataclass(frozen=True)
class Span:
    """A byte string that stays in the file."""

    offset: int
    size: int

    def __len__(self) -> int:
        return self.size

    def read(self, stream: Stream, path: str | Path) -> np.ndarray:
        """The bytes; all of them were there when the place was found, so their memory is taken at once."""
        stream.seek(self.offset)
        content = np.empty(self.size, "u1")
        left = content.data
        while left:
            count = stream.readinto(left)
            if not count:
                raise DataError(f"{path}: truncated: expected {len(left):,} bytes more, received nothing")
            left = left[count:]
        return content


@dataclasses.dataclass(frozen=True)
class Encoded:
    """A byte string that was written as text; it is made when its array is read, not each time it is mentioned."""

    text: str

    def __len__(self) -> int:
        return len(self.text)


class DType:
    """A dtype while its pickle is read: the code first, the byte order when BUILD comes."""

    def __init__(self, code: Any) -> None:
        if not isinstance(code, str) or not NUMBER.fullmatch(code):
            raise ValueError("a dtype that is no number")
        self.dtype = np.dtype(code)

    def build(self, state: Any) -> None:
        # (version, byte order, fields of a structured dtype, size of a text or a structure, flags[, metadata])
        if not isinstance(state, tuple) or len(state) not in (8, 9) or state[2:5] != (None, None, None):
            raise ValueError("a dtype with a state that no number has")
        if state[1] not in ("<", ">", "|", "="):
            raise ValueError("a dtype with a byte order that there is not")
        self.dtype = self.dtype.newbyteorder(state[1])


class Array:
    """An array that is not read yet: shape, dtype, order and the place of its bytes."""

    def __init__(self) -> None:
        self.data, self.dtype, self.shape, self.fortran, self.axes = None, None, (), False, None

    def build(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5 or state[0] != 1 or not isinstance(state[2], DType):
            raise ValueError("an array with a state that none has")
        _, self.shape, dtype, self.fortran, self.data = state
        if not isinstance(self.fortran, bool):
            raise ValueError("an array whose order is neither C nor Fortran")
        self.dtype = dtype.dtype
        if isinstance(self.data, str):  # Python 2 wrote bytes as text
            self.data = Encoded(self.data)

    def check(self, path: str | Path) -> None:
        """`DataError` unless it has a shape, and as many bytes as that takes."""
        if not isinstance(self.data, (bytes, Span, Encoded)) or not are_whole(self.shape):
            raise DataError(f"{path}: expected an array, received one without data or without a shape")
        if self.axes is not None and not are_whole(self.axes):
            raise DataError(f"{path}: expected an order of the axes, received something else")
        size = check_size(self.shape, self.dtype, path)
        if len(self.data) != size:
            raise DataError(f"{path}: expected {size:,} bytes for shape {self.shape}, received {len(self.data):,}")

    def read(self, stream: Stream, path: str | Path) -> np.ndarray:
        """The array itself."""
        self.check(path)
        content: Any = self.data
        if isinstance(content, Span):
            content = content.read(stream, path)
        elif isinstance(content, Encoded):
            content = content.text.encode("latin1")
        array = np.frombuffer(content, self.dtype).reshape(self.shape, order="F" if self.fortran else "C")
        return array if self.axes is None else array.transpose(self.axes)

    def open(self, stream: Stream, path: str | Path) -> np.ndarray | Portions:
        """The array as `Portions` if its rows lie in the file one after the other, else itself."""
        self.check(path)
        if isinstance(self.data, Span) and self.shape and not self.fortran and self.axes is None:
            return rows_in_file(path, self.data.offset, self.shape, self.dtype)
        return self.read(stream, path)


def are_whole(numbers: Any) -> bool:
    """Whether this is a tuple of whole numbers."""
    return isinstance(numbers, tuple) and all(isinstance(n, int) for n in numbers)
