"""What callbacks are told of the steps of a program: each step in order, once the program has run."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
from keras import callbacks, ops


class BetweenPrograms(callbacks.Callback):
    """A callback for which a program is one step: it is told of its first step before, and of its last one after."""


def is_once(callback: Any) -> bool:
    """Whether a callback is to be told of the last step alone.

    So are those that show how far a training is, those that save the model, which is that of the last step, and a
    TensorBoard that writes nothing of steps.
    """
    once = (BetweenPrograms, callbacks.ProgbarLogger, callbacks.ModelCheckpoint, callbacks.BackupAndRestore)
    return isinstance(callback, once) or (
        isinstance(callback, callbacks.TensorBoard) and callback.update_freq == "epoch"
    )


class TrueNumbers(callbacks.CallbackList):
    """Callbacks of Keras' own loop, which takes all programs of an epoch for full ones: step 127 of 90."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        steps = self.params.get("steps")
        super().on_train_batch_end(batch if steps is None else min(batch, steps - 1), logs)


class StepCalls:
    """Runs programs and tells callbacks of their steps.

    A callback that heeds steps is told of each, with the metrics that Keras would give it, means over the epoch so far,
    and finds the optimizer's count of steps, and the learning rate of a schedule, as they were after that step. The
    weights are those after the last step of the program.

    Args:
        told: a `keras.callbacks.CallbackList`.
        model: a compiled `keras.Model`.
        steps: the programs, `Steps`.
        kind: "train" or "test".
    """

    def __init__(self, told: Any, model: Any, steps: Any, kind: str) -> None:
        self.told, self.model, self.steps, self.program = told, model, steps, getattr(steps, kind)
        self.begin, self.end = f"on_{kind}_batch_begin", f"on_{kind}_batch_end"
        names = [self.begin, self.end, *(("on_batch_begin", "on_batch_end") if kind == "train" else ())]
        self.heeding = [one for one in told.callbacks if not is_once(one) and heeds(one, names)]

    def run(self, group: Any, first: int) -> int:
        """Run the program of some batches, of which the first has this number in its epoch; how many there were."""
        count = getattr(self.model.optimizer, "iterations", None) if self.heeding else None
        before = count if count is None else int(count)
        getattr(self.told, self.begin)(first)
        logs, done = self.program(group)
        if not self.heeding:
            getattr(self.told, self.end)(first + done - 1, logs)
            return done
        columns = {name: values.tolist() for name, values in self.steps.history.items()}
        with counting(count, before, done) as count_to:
            for i in range(done):
                for callback in self.heeding if i else ():
                    getattr(callback, self.begin)(first + i, logs={})
                count_to(i + 1)
                values = {name: column[i] for name, column in columns.items()}
                for callback in self.told.callbacks if i == done - 1 else self.heeding:
                    getattr(callback, self.end)(first + i, logs=values)
        return done


def heeds(callback: Any, names: list[str]) -> bool:
    """Whether a callback has methods of these names that do something."""
    own = {name: getattr(callback, name, None) for name in names}
    return any(
        one is not None and getattr(one, "__func__", one) is not getattr(callbacks.Callback, name)
        for name, one in own.items()
    )


@contextmanager
def counting(count: Any, before: int | None, done: int) -> Iterator[Callable[[int], Any]]:
    """A function that sets the optimizer's count to what it was after some steps; in the end it is what it is.

    Of an optimizer that counts otherwise, because it gathers the gradients of several steps or leaves steps out, it
    stays that after the last step.

    Args:
        count: the variable.
        before: its value before the steps.
        done: how many steps there were.
    """
    if before is None or not isinstance(count, keras.Variable) or (after := int(count)) != before + done:
        yield lambda steps: None
        return
    values = ops.unstack(ops.arange(before + 1, after + 1, dtype=count.dtype))  # numbers would take thrice as long
    try:
        yield lambda steps: count.assign(values[steps - 1])
    finally:
        count.assign(after)
