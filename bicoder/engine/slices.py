"""A batch in parts, which TensorFlow's operations learn from at the same time: what keeps the cores of a CPU busy.

An operation that is cut up for all cores ends when the slowest of them does, and the next one waits. A part of the
batch has its own chain of operations, which waits for no other until the gradients are added. Examples are independent
given the weights, so that log p(x|z) and q(z|x) are what they would be for the whole batch.
"""

import contextlib
import os

from keras import ops

from bicoder.engine.tracing import PARTS, during

SMALLEST = 8  # examples in a part, of which fewer keep no core busy
WITH_OWN_THREADS = 3  # parts at most, where every operation has threads of its own


def by_parts(function, *arguments, axis, allowed=True):
    """`function` of some tensors, or of up to `PARTS` parts of them, joined.

    Args:
        function: of tensors, to a tensor.
        arguments: pairs (tensor, its batch axis).
        axis: batch axis of what the function returns.
        allowed: False where the function does not treat the examples of a batch one by one.
    """
    tensors, axes = zip(*arguments, strict=True)
    size = tensors[0].shape[axes[0]]  # None where it is not known while the program is traced
    count = min(PARTS.get() if allowed else 1, (size or 0) // SMALLEST)
    if count < 2:
        return function(*tensors)
    cuts = [size * part // count for part in range(1, count)]
    parts = [ops.split(tensor, cuts, axis=where) for tensor, where in arguments]
    with during(PARTS, 1):  # what it calls has its part
        return ops.concatenate([function(*part) for part in zip(*parts, strict=True)], axis=axis)


def one_by_one(part):
    """Whether the class of a network or a likelihood says that it treats the examples of a batch one by one.

    What a parent says does not count: a class that adds something to it may not.
    """
    return vars(type(part)).get("one_by_one", False)


def cores():
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def one_thread_each(batch):
    """Before TensorFlow starts, give its operations one thread each, where parts of such batches keep all cores busy.

    Nothing happens where there is a GPU, where TensorFlow has started, and where the user has chosen.

    Args:
        batch: examples in a batch.
    """
    import tensorflow as tf

    variables = {"TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"}
    chosen = variables & set(os.environ) or tf.config.list_physical_devices("GPU")
    if not chosen and batch >= SMALLEST * cores():
        with contextlib.suppress(RuntimeError):  # it has started
            tf.config.threading.set_intra_op_parallelism_threads(1)


def fastest_parts():
    """In how many parts TensorFlow's own kernels are fastest on this machine, with the threads that it was given."""
    import tensorflow as tf

    if tf.config.list_logical_devices("GPU"):
        return 1
    threads = tf.config.threading.get_intra_op_parallelism_threads() or os.environ.get("TF_NUM_INTRAOP_THREADS")
    return cores() if threads in (1, "1") else max(1, min(WITH_OWN_THREADS, cores() - 1))
