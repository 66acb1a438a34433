"""What a compiled program has fixed inside: all that is no variable when it is traced."""

import types
from collections.abc import Iterator
from typing import Any

import keras

PLAIN = (bool, int, float, str, type(None))
BY_IDENTITY = (keras.Variable, keras.optimizers.schedules.LearningRateSchedule, types.FunctionType)
STATES = ("built", "stop_training", "stop_evaluating")  # what Keras notes while a model is used


def fixed_in_programs(model: Any, optimizer: Any) -> list[Any]:
    """What must be the same for a program of a model to do still what a new one would do.

    That is: which objects the model and the optimizer are made of, which of its variables are trained, dtypes, and
    every plain value and function that one of its layers holds, such as the weight of a term of an objective.
    """
    found: list[Any] = [Same(variable) for variable in model.trainable_variables]
    for layer in layers_of(model):
        found += [Same(layer), layer.dtype_policy.name]
        found += values_of({name: value for name, value in vars(layer).items() if not name.startswith("_")})
    return [*found, Same(optimizer), *values_of(vars(optimizer))]


def values_of(attributes: dict[str, Any]) -> list[tuple[str, Any]]:
    """Of the attributes of an object, those that a trace reads as they are."""
    return [
        (name, Same(value) if isinstance(value, BY_IDENTITY) else value)
        for name, value in attributes.items()
        if (isinstance(value, (*PLAIN, *BY_IDENTITY)) or is_plain_list(value)) and name not in STATES
    ]


class Same:
    """An object that equals itself alone; it is kept, so that no other takes its place in memory."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and other.value is self.value

    __hash__ = None  # type: ignore[assignment]  # it is compared, not looked up


def is_plain_list(value: Any) -> bool:
    """Whether a value is a list or tuple of plain ones."""
    return isinstance(value, (list, tuple)) and all(isinstance(item, PLAIN) for item in value)


def layers_of(layer: Any) -> Iterator[keras.layers.Layer]:
    """A layer and all that it holds, in attributes, lists, tuples and dicts, each once."""
    seen, left = set(), [layer]
    while left:
        one = left.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, keras.layers.Layer):
            yield one
            left += vars(one).values()
        elif isinstance(one, (list, tuple)):
            left += one
        elif isinstance(one, dict):
            left += one.values()
