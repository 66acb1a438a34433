"""Slices of a batch, which TensorFlow's operations learn from at the same time: that keeps the cores of a CPU busy.

An operation that is cut up for all cores ends when the slowest of them does, and the next one waits. A slice of the
batch has its own chain of operations, which waits for no other until the gradients are added. Examples are independent
given the weights, so log p(x|z) and q(z|x) are those of the whole batch.
"""

import contextlib
import os
from collections.abc import Callable

from keras import ops

from bicoder.engine.programs.tracing import SLICES, during
from bicoder.engine.tensor import Tensor

SMALLEST = 8  # examples in a slice; fewer keep no core busy
WITH_OWN_THREADS = 3  # slices at most, if every operation has threads of its own


def by_slices(
    function: Callable[..., Tensor], *arguments: tuple[Tensor, int], axis: int, allowed: bool = True
) -> Tensor:
    """`function` of some tensors, or of up to `SLICES` slices of them, joined.

    Args:
        function: of tensors, to a tensor.
        arguments: pairs (tensor, its batch axis).
        axis: batch axis of what the function returns.
        allowed: False if the function does not treat the examples of a batch one by one.
    """
    tensors, axes = zip(*arguments, strict=True)
    size = tensors[0].shape[axes[0]]  # None if it is not known while the program is traced
    count = min(SLICES.get() if allowed else 1, (size or 0) // SMALLEST)
    if count < 2:
        return function(*tensors)
    cuts = [size * number // count for number in range(1, count)]
    slices = [ops.split(tensor, cuts, axis=where) for tensor, where in arguments]
    with during(SLICES, 1):  # what it calls has its slice
        return ops.concatenate([function(*one) for one in zip(*slices, strict=True)], axis=axis)


def one_by_one(part: object) -> bool:
    """Whether the class of a network or a likelihood says that it treats the examples of a batch one by one.

    What a parent says does not count: a class that adds something to it may not.
    """
    return vars(type(part)).get("one_by_one", False)


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def one_thread_each(batch: int) -> None:
    """Before TensorFlow starts, give its operations one thread each, if slices of such batches keep all cores busy.

    Nothing happens if there is a GPU, if TensorFlow has started, or if the user has chosen.

    Args:
        batch: examples in a batch.
    """
    import tensorflow as tf

    variables = {"TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"}
    chosen = variables & set(os.environ) or tf.config.list_physical_devices("GPU")
    if not chosen and batch >= SMALLEST * cores():
        with contextlib.suppress(RuntimeError):  # it has started
            tf.config.threading.set_intra_op_parallelism_threads(1)


def fastest_slices() -> int:
    """In how many slices TensorFlow's own kernels are fastest on this machine, with the threads that it was given."""
    import tensorflow as tf

    if tf.config.list_logical_devices("GPU"):
        return 1
    threads = tf.config.threading.get_intra_op_parallelism_threads() or os.environ.get("TF_NUM_INTRAOP_THREADS")
    return cores() if threads in (1, "1") else max(1, min(WITH_OWN_THREADS, cores() - 1))
