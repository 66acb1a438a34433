"""Many steps of training as one compiled program of TensorFlow.

Called once for every batch, a step of a small network is mostly overhead: a program that is entered, a batch that is
fetched, one kernel for every small operation. Here the batches of many steps lie in one tensor, and the loop over them
is inside the program. XLA makes few kernels of the many small operations (noise, bound, optimizer), which halves the
time of an MLP; on a CPU it has no fast convolutions, so a model that holds some is left to TensorFlow's own kernels.
"""

import contextlib
import os
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras
import tensorflow as tf

from bicoder.engine.arrays.trees import mapped
from bicoder.engine.programs.many_steps import Chosen, ManySteps, has_convolutions
from bicoder.engine.programs.slices import fastest_slices
from bicoder.engine.programs.tracing import SLICES, XLA, during
from bicoder.engine.tensor import Tensor
from bicoder.errors import UsageError


class TensorFlowSteps(ManySteps):
    """The programs of a model on TensorFlow."""

    def compiles(self, model: Any) -> bool:
        return uses_xla(model, self.xla)

    def program(self, model: Any, name: str) -> Callable:
        step = model.train_step if name == "train" else model.test_step
        return many_steps(step, model.get_metrics_result, self.count, self.chooses)

    def compile(self, calls: list[tuple[Callable, Any]]) -> None:
        compile_together(calls)

    def stacked(self, arrays: list[Any]) -> Tensor:
        return tf.stack(arrays)

    def one_step(self, model: Any, optimizer: keras.optimizers.Optimizer) -> Callable[[Tensor], Tensor]:
        if model.distribute_strategy.num_replicas_in_sync > 1:
            raise UsageError("train: expected one device, received a strategy of several; use fit, which takes it")
        return one_step(model, optimizer, uses_xla(model, self.xla))


def uses_xla(model: Any, wanted: bool | str = "auto") -> bool:
    """Whether XLA compiles the steps of a model: what `compile` was told, else if that makes them faster.

    XLA takes seconds for each program: BICODER_XLA=0 in the environment leaves it out of what nobody told.
    """
    if wanted != "auto":
        return bool(wanted)
    if os.environ.get("BICODER_XLA") == "0":
        return False
    # On a GPU always; on a CPU without convolutions.
    return bool(tf.config.list_logical_devices("GPU")) or not has_convolutions(model)


def many_steps(step: Callable, logs: Callable, steps: int, xla: bool) -> Callable:
    """A compiled function of the batches of up to `steps` steps, tensors or `Chosen`, and of their number.

    Args:
        step: function of one batch, which updates the model and its metrics.
        logs: function without arguments that gives the metrics, a dict of scalars.
        steps: how many steps the program is compiled for.
        xla: whether XLA compiles it.
    Returns:
        The function; it gives the metrics after each step, a dict of arrays (steps,).
    """

    @tf.function(jit_compile=xla, autograph=False)
    def program(batches: Any, count: Tensor) -> dict[str, Tensor]:
        def body(i: Tensor, history: Any) -> tuple[Tensor, Any]:
            step(batch_of(batches, i))
            values = logs()
            return i + 1, {name: array.write(i, values[name]) for name, array in history.items()}

        with traced(xla):
            history = {name: tf.TensorArray("float32", steps) for name in logs()}
            _, history = tf.while_loop(lambda i, _: i < count, body, (0, history), parallel_iterations=1)
        return {name: array.stack() for name, array in history.items()}

    return program


def one_step(model: Any, optimizer: keras.optimizers.Optimizer, xla: bool) -> Callable[[Tensor], Tensor]:
    """A compiled function of one batch x: one update of the trainable variables, and the loss before."""
    known = weakref.ref(optimizer)  # whoever calls the function has it; the function does not keep it

    @tf.function(reduce_retracing=True, jit_compile=xla, autograph=False)
    def step(x: Tensor) -> Tensor:
        optimizer: Any = known()
        with traced(xla):
            with tf.GradientTape() as tape:
                loss = model.compute_loss(x=x, y_pred=model(x, training=True))
                scaled = optimizer.scale_loss(loss)
            gradients = tape.gradient(scaled, model.trainable_variables)
            optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    return step


class Alone(tf.distribute.ReplicaContext):
    """The context of a program on one device, where a sum over all devices is what there is.

    TensorFlow's own would keep every program for good: it defines the gradient of the sum, by a function that knows the
    program, and never forgets how gradients are defined.
    """

    def all_reduce(self, reduce_op: Any, value: Any, options: Any = None) -> Any:
        return value


@contextlib.contextmanager
def traced(xla: bool) -> Iterator[None]:
    """What is traced inside is compiled by XLA, or has its batches in the slices that TensorFlow's kernels want."""
    with (
        during(XLA, xla),
        during(SLICES, 1 if xla else fastest_slices()),
        Alone(tf.distribute.get_strategy(), replica_id_in_sync_group=0),
    ):
        yield


def batch_of(batches: Any, i: Tensor) -> Any:
    """Batch i, inside a program."""
    if isinstance(batches, Chosen):
        return mapped(lambda examples: tf.gather(examples, batches.numbers[i]), batches.examples)
    return mapped(lambda array: array[i], batches)


def compile_together(calls: list[tuple[Any, Any]]) -> None:
    """Have XLA compile programs at the same time, which takes little longer than one.

    Args:
        calls: pairs of a `tf.function` and batches, of which it takes none, so that nothing happens.
    """
    none = tf.constant(0)
    for program, batches in calls:  # traced here, since what Keras keeps for a thread is known in this one
        program.get_concrete_function(batches, none)
    with ThreadPoolExecutor() as threads:
        list(threads.map(lambda call: call[0](call[1], none), calls))
