"""Images in the portions of which shards are made: of files, a shard at a time, and of arrays, one after the other."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from bicoder.data.formats.images import Plan
from bicoder.data.formats.reading import Pictures
from bicoder.data.stored.array_file import shape_in_file
from bicoder.engine.arrays.portions import portions, rows_of
from bicoder.errors import DataError


class OfFiles:
    """Image files; a shard is of so many files, and has fewer images if some are damaged.

    Args:
        pictures: the files.
        shard_size: images in a shard.
    """

    def __init__(self, pictures: Pictures, shard_size: int) -> None:
        self.pictures, self.shard_size = pictures, shard_size
        self.array = pictures.open()
        self.shape, self.dtype = self.array.shape, self.array.dtype

    def shards(self, done: int) -> Iterator[tuple[int, Iterator[np.ndarray]]]:
        """For each shard after so many: how many images it can have, and its portions."""
        count, rows = len(self.pictures.paths), rows_of(self.array)
        for start in range(done * self.shard_size, count, self.shard_size):
            end = min(start + self.shard_size, count)
            yield end - start, self.pictures.read_between(start, end, rows)
        self.pictures.finish()

    def left_out(self) -> list[int]:
        """Numbers of the files that are damaged."""
        return self.pictures.left_out()

    def state(self) -> dict[str, Any]:
        """What was found out of the files so far, as JSON has it."""
        plan, damaged = self.pictures.plan, self.pictures.damaged
        return {
            "plan": plan and list(plan),
            "damaged": [[number, str(error)] for number, error in damaged.items()],
            "counts": self.pictures.counts,
            "sizes": sorted(self.pictures.sizes),
            "peak": self.pictures.peak,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken."""
        size, grey, deep = state["plan"]
        self.pictures.plan = Plan(tuple(size), grey, deep)  # also if another image than the first one decided it
        self.array = self.pictures.open()
        self.shape, self.dtype = self.array.shape, self.array.dtype
        self.pictures.damaged |= {number: DataError(text) for number, text in state["damaged"]}
        self.pictures.counts, self.pictures.peak = dict(state["counts"]), state["peak"]
        self.pictures.sizes = {(height, width) for height, width in state["sizes"]}


class OfArrays:
    """Arrays, or `Portions`, one after the other.

    Args:
        arrays: (n, ...) each, of images of one shape and dtype.
        name: what messages call them.
        shard_size: images in a shard.
    """

    def __init__(self, arrays: Sequence[Any], name: str, shard_size: int) -> None:
        self.arrays, self.shard_size = arrays, shard_size
        shapes = [shape_in_file(array.shape, name) for array in arrays]
        kinds = {(shape[1:], np.dtype(array.dtype)) for shape, array in zip(shapes, arrays, strict=True)}
        if len(kinds) > 1:
            received = " and ".join(f"{shape} of {dtype}" for shape, dtype in sorted(kinds, key=str))
            raise DataError(f"{name}: expected images of one shape and type, received {received}")
        self.shape, self.dtype = (sum(shape[0] for shape in shapes), *shapes[0][1:]), np.dtype(arrays[0].dtype)

    def shards(self, done: int) -> Iterator[tuple[int, Iterator[np.ndarray]]]:
        """As `OfFiles.shards`; what is done already is read past."""
        arrays, rest = (some for array in self.arrays for some in portions(array)), None

        def take(count: int) -> Iterator[np.ndarray]:
            nonlocal rest
            while count:
                some = next(arrays) if rest is None or not len(rest) else rest
                yield some[:count]
                rest, count = some[count:], count - len(some[:count])

        total = self.shape[0]
        for start in range(0, total, self.shard_size):
            count = min(self.shard_size, total - start)
            if start < done * self.shard_size:
                for _ in take(count):
                    pass
            else:
                yield count, take(count)

    def left_out(self) -> list[int]:
        """None."""
        return []

    def state(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """There is nothing to go on with."""
