"""The part of every batch that one of several processes reads, so that together they read each batch once."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from bicoder.engine.arrays.trees import mapped
from bicoder.engine.batches import Batches, taken
from bicoder.errors import UsageError


def part(batches: Batches, process: int, of: int) -> Iterator[tuple[Any, np.ndarray]]:
    """What one of several processes reads of the next epoch: its part of each batch, and which examples count.

    The order follows from seed and epoch, and the batches are the same whatever the number of processes: the parts of
    all, one after the other, are the batch. All parts have as many examples. A last batch that is shorter is filled
    with its own first example, which counts for nothing, so that no process waits for another and nothing is lost.
    An epoch goes on at the batch that `Batches.skip` says.

    Args:
        batches: the same in every process.
        process: the number of this one, from 0.
        of: how many there are; the size of a batch divides by it.
    Yields:
        examples: as `batches.images` are, (batch / of, ...).
        there: float32 (batch / of,), 1 for an example and 0 for what fills up.
    """
    if not 0 <= process < of:
        raise UsageError(f"process: expected a number from 0 and below {of}, received {process}")
    if batches.batch_size % of:
        raise UsageError(f"batch_size: expected a multiple of the {of} processes, received {batches.batch_size}")
    if batches.binarize:
        raise UsageError("binarize: expected None or static for several processes, received dynamic")
    order, _, skip = (np.asarray(found) for found in batches.begin())
    size = batches.batch_size // of
    for number in range(int(skip), batches.count):
        whole = order[number * batches.batch_size : (number + 1) * batches.batch_size]
        own = np.full(size, whole[0])
        mine = whole[process * size : (process + 1) * size]
        own[: len(mine)] = mine
        there = (np.arange(size) < len(mine)).astype("float32")
        yield mapped(lambda array: taken(array, own, size), batches.images), there  # noqa: B023 - called at once
