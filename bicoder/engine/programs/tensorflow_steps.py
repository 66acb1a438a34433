"""Many steps of training as one compiled program of TensorFlow.

Called once for every batch, a step of a small network is mostly overhead: a program that is entered, a batch that is
fetched, one kernel for every small operation. Here the batches of many steps lie in one tensor, and the loop over them
is inside the program. XLA makes few kernels of the many small operations (noise, bound, optimizer), which halves the
time of an MLP; on a CPU it has no fast convolutions, so a model that holds some is left to TensorFlow's own kernels.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from bicoder.engine.batches import Chosen, mapped
from bicoder.engine.loop import Logs
from bicoder.engine.programs.fixed import fixed_in_programs
from bicoder.engine.programs.optimizers import build_optimizer
from bicoder.engine.programs.slices import fastest_slices
from bicoder.engine.programs.tracing import SLICES, XLA, during
from bicoder.engine.tensor import Tensor

STEPS = 64  # at most, in one program
NUMBERS = 2**23  # at most, in the tensor of its batches: 32 MB, and up to four of them are in memory
SLOWER = 8  # times fewer if XLA does not compile: steps that take long need not be many in a program


class TensorFlowSteps:
    """The programs of a model, kept from one `fit` to the next as long as nothing has changed that is fixed in them.

    Args:
        xla: whether XLA compiles them; "auto" for what makes them faster.
        steps: how many steps a program takes; "auto" for what is fastest.
    Attributes:
        history: the metrics after each step of the last call, a dict of arrays (steps,).
    """

    def __init__(self, xla: bool | str = "auto", steps: int | str = "auto") -> None:
        self.xla, self.steps = xla, steps
        self.count, self.chooses = 1, False
        self.history: dict[str, np.ndarray] | None = None
        self._fixed: Any = None  # what the programs were made for
        self._programs: dict[str, Callable] = {}
        self._one_step: dict[int, Any] = {}  # of each optimizer of `VAE.train`

    # What the training loop asks for

    def prepare(self, model: Any, data: Any, validation: Any = None) -> None:
        """Make the programs for a built model and these sources, and compile what is known to come, all together."""
        build_optimizer(model)
        self.chooses = uses_xla(model, self.xla)
        fixed = fixed_in_programs(model, model.optimizer)
        count = choose_steps(self.steps, self.chooses, data, validation)
        if fixed != self._fixed or count != self.count:
            self._programs = {}
        self.count, new = count, not self._programs
        for name, step in (("train", model.train_step), ("test", model.test_step)):
            if name not in self._programs:
                self._programs[name] = many_steps(step, model.get_metrics_result, count, self.chooses)
        if new and self.chooses:
            known = {"train": data, "test": validation}
            compile_together(
                [
                    (self._programs[name], batches)
                    for name, one in known.items()
                    if one
                    for batches in one.members(count)
                ]
            )
        self._fixed = fixed

    def train(self, group: list[Any]) -> tuple[Logs, int]:
        """Learn from the batches of a group; the metrics after the last, and how many there were."""
        return self._run(self._programs["train"], group)

    def test(self, group: list[Any]) -> tuple[Logs, int]:
        """The same without learning."""
        return self._run(self._programs["test"], group)

    def _run(self, program: Callable, group: list[Any]) -> tuple[Logs, int]:
        members = [stacked(self.count, member) if isinstance(member, list) else member for member in group]
        histories = []
        for batches, count in members:
            metrics = program(batches, tf.constant(count))
            histories.append({name: values.numpy()[:count] for name, values in metrics.items()})
        self.history = {name: np.concatenate([h[name] for h in histories]) for name in histories[0]}
        return {name: values[-1] for name, values in self.history.items()}, sum(count for _, count in members)

    # What `VAE.train` asks for

    def one_step(self, model: Any, optimizer: keras.optimizers.Optimizer) -> Callable[[Tensor], Tensor]:
        """A compiled function of one batch that updates a built model, and gives the loss before."""
        fixed = [id(variable) for variable in model.trainable_variables]  # all else would take longer than a step
        found, step = self._one_step.get(id(optimizer), (None, None))
        if found != fixed:
            if not optimizer.built:
                optimizer.build(model.trainable_variables)
            step = one_step(model, optimizer, uses_xla(model, self.xla))
            self._one_step[id(optimizer)] = fixed, step
        return step


def uses_xla(model: Any, wanted: bool | str = "auto") -> bool:
    """Whether XLA compiles the steps of a model: what `compile` was told, else if that makes them faster.

    XLA takes seconds for each program: BICODER_XLA=0 in the environment leaves it out of what nobody told.
    """
    if wanted != "auto":
        return bool(wanted)
    if os.environ.get("BICODER_XLA") == "0":
        return False
    # On a GPU always; on a CPU without convolutions, whose kernels have more than two axes.
    return bool(tf.config.list_logical_devices("GPU")) or all(len(v.shape) < 3 for v in model.trainable_variables)


def choose_steps(wanted: int | str, xla: bool, *sources: Any) -> int:
    """How many steps one program takes, if `compile` left it open.

    Args:
        wanted: what `compile` was told.
        xla: whether XLA compiles the program.
        sources: of training and validation; None among them does not count.
    """
    if wanted != "auto":
        return int(wanted)
    limits = [STEPS] + [source.count for source in sources[:1] if source.count]
    for source in sources:
        if source is not None and not (xla and source.examples is not None):  # else there is no tensor of batches
            limits.append((NUMBERS if xla else NUMBERS // SLOWER) // source.numbers_in_a_batch())
    return max(1, min(limits))


def stacked(steps: int, batches: list[Any]) -> tuple[Any, int]:
    """Batches of one shape as one of tensors (steps, batch, ...), and how many they are.

    They are filled up to `steps` with the last of them, so that one program serves; a single batch, often a short one,
    has its own.
    """

    def stack(*arrays: Any) -> Tensor:
        return tf.stack([*arrays, *arrays[-1:] * (steps - len(arrays))] if len(arrays) > 1 else arrays)

    return mapped(stack, *batches), len(batches)


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

    def program(batches: Any, count: Tensor) -> dict[str, Tensor]:
        def body(i: Tensor, history: Any) -> tuple[Tensor, Any]:
            step(batch_of(batches, i))
            values = logs()
            return i + 1, {name: array.write(i, values[name]) for name, array in history.items()}

        with traced(xla):
            history = {name: tf.TensorArray("float32", steps) for name in logs()}
            _, history = tf.while_loop(lambda i, _: i < count, body, (0, history), parallel_iterations=1)
        return {name: array.stack() for name, array in history.items()}

    return tf.function(program, jit_compile=xla, autograph=False)


def one_step(model: Any, optimizer: keras.optimizers.Optimizer, xla: bool) -> Callable[[Tensor], Tensor]:
    """A compiled function of one batch x: one update of the trainable variables, and the loss before."""

    @tf.function(reduce_retracing=True, jit_compile=xla, autograph=False)
    def step(x: Tensor) -> Tensor:
        with traced(xla), tf.GradientTape() as tape:
            loss = model.compute_loss(x=x, y_pred=model(x, training=True))
            scaled = optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    return step


@contextlib.contextmanager
def traced(xla: bool) -> Iterator[None]:
    """What is traced inside is compiled by XLA, or has its batches in the slices that TensorFlow's kernels want."""
    with during(XLA, xla), during(SLICES, 1 if xla else fastest_slices()):
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
