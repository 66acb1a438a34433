"""Named arrays in a safetensors file: a list of names, shapes and numbers, and nothing that a file could hide."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bicoder.errors import BicoderError
from bicoder.files.regular_file import open_regular
from bicoder.files.whole_file import whole_file

LARGEST_HEADER = 2**23  # bytes; an array takes a hundred


def write_arrays(
    path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str], error: type[BicoderError]
) -> None:
    """Write arrays of any shape, whole or not at all.

    Args:
        path: of the file.
        arrays: name -> array.
        metadata: what else the file says, all of it text.
        error: the class of the error if it cannot be written; what was there before is there still.
    """
    from safetensors.numpy import save as as_bytes

    content = as_bytes({name: np.asarray(array, order="C") for name, array in arrays.items()}, dict(metadata))
    with whole_file(path, error) as unfinished:
        unfinished.write_bytes(content)


@contextlib.contextmanager
def opened_arrays(path: Path) -> Iterator[Any]:
    """The file as `safetensors.safe_open` gives it, no larger in its header than one of ours.

    Raises:
        ValueError, or whatever the reader raises: it is damaged, or another file.
    """
    from safetensors import safe_open

    with open_regular(path) as start:
        header = int.from_bytes(start.read(8), "little")
    if header > LARGEST_HEADER:
        raise ValueError(f"a header of {header:,} bytes")
    with safe_open(path, framework="np") as file:
        yield file
