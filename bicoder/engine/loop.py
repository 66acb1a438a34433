"""The training loop: epochs, callbacks and validation on Keras' public pieces. It knows no backend."""

import warnings
from collections.abc import Sequence
from contextlib import closing
from typing import Any, Protocol, TypeAlias

import keras

from bicoder.engine.step_calls import StepCalls

Logs: TypeAlias = "dict[str, Any]"


class Steps(Protocol):
    """Many steps as one compiled program; there is one such class for each backend."""

    count: int  # steps in a program, at most
    chooses: bool  # whether it takes batches by their numbers out of all examples
    history: Any  # the metrics after each step of the last call, a dict of arrays (steps,)

    def prepare(self, model: Any, data: Any, validation: Any) -> None:
        """See that the programs do what new ones would do."""

    def train(self, group: Any) -> tuple[Logs, int]:
        """Learn from the batches of a group; the metrics after the last, and how many there were."""

    def test(self, group: Any) -> tuple[Logs, int]:
        """The same without learning."""


def fit(
    model: Any,
    data: Any,
    validation: Any,
    callbacks: Any,
    *,
    epochs: int,
    initial_epoch: int,
    steps_per_epoch: int | None,
    validation_steps: int | None,
    validation_freq: int | Sequence[int],
) -> keras.callbacks.History:
    """Train a built model.

    Args:
        model: a compiled `keras.Model`, whose `programs` are `Steps`.
        data, validation: sources of batches, see `fit.source`; None for no validation.
        callbacks: a `keras.callbacks.CallbackList`.
        epochs: the number of the last epoch.
        initial_epoch: how many epochs there were before.
        steps_per_epoch, validation_steps: batches, or None for all that the source has.
        validation_freq: epochs from one validation to the next, or the numbers of the epochs, from 1, that have one.
    """
    steps: Steps = model.programs
    steps.prepare(model, data, validation)
    model.stop_training = False
    callbacks.on_train_begin()
    logs: Logs | None = None
    try:
        # BackupAndRestore says there, and nowhere else, where training goes on.
        for epoch in range(model._initial_epoch or initial_epoch, epochs):
            model.reset_metrics()
            callbacks.on_epoch_begin(epoch)
            if model.programs is not steps:  # a callback has compiled the model
                steps = model.programs
                steps.prepare(model, data, validation)
            if not learn(model, steps, data, callbacks, steps_per_epoch):
                warnings.warn(f"fit: the data ran out, training ends after {epoch} epochs", stacklevel=2)
                break
            logs = dict(model.get_metrics_result())
            if validation is not None and is_due(epoch, validation_freq):
                found = validate(model, steps, validation, callbacks, validation_steps)
                logs |= {f"val_{name}": value for name, value in found.items()}
            callbacks.on_epoch_end(epoch, logs)
            if model.stop_training:
                break
    finally:
        if steps_per_epoch is not None:  # also after an error: the next `fit` begins with the first batch
            data.restart()
    if epochs > 0 and isinstance(model.optimizer, keras.optimizers.Optimizer):
        model.optimizer.finalize_variable_values(model.trainable_weights)
    callbacks.on_train_end(logs)
    return model.history


def learn(model: Any, steps: Steps, data: Any, callbacks: Any, count: int | None) -> int:
    """Learn from the batches of an epoch, or from so many; how many there were."""
    first = number = data.done if count is None else 0
    calls = StepCalls(callbacks, model, steps, "train")
    with closing(data.groups(steps.count, steps.chooses, count)) as groups:
        for group in groups:
            number += calls.run(group, number)
            if model.stop_training:
                break
    return number - first


def is_due(epoch: int, frequency: int | Sequence[int]) -> bool:
    """Whether an epoch, counted from 0, ends with a validation."""
    return (epoch + 1) % frequency == 0 if isinstance(frequency, int) else epoch + 1 in frequency


def validate(model: Any, steps: Steps, data: Any, callbacks: Any, count: int | None) -> Logs:
    """The metrics of validation data."""
    model.stop_evaluating = False
    callbacks.on_test_begin()
    model.reset_metrics()
    data.restart()
    number, calls = 0, StepCalls(callbacks, model, steps, "test")
    with closing(data.groups(steps.count, steps.chooses, count)) as groups:
        for group in groups:
            number += calls.run(group, number)
            if model.stop_evaluating:
                break
    logs = dict(model.get_metrics_result())
    callbacks.on_test_end(logs)
    return logs
