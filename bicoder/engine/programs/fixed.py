"""What a compiled program has fixed inside: all that is no variable when it is traced."""

import contextlib
import types
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

PLAIN = (bool, int, float, str, type(None), np.generic)
SMALL = 1000  # numbers of an array that are compared; of a larger one, which array it is
STATES = ("built", "stop_training", "stop_evaluating")  # what Keras notes while a model is used


def fixed_in_programs(model: Any, optimizer: Any) -> list[Any]:
    """What must be the same for a program of a model to do still what a new one would do.

    That is: which objects the model and the optimizer are made of, and on which devices, which of its variables are
    trained, dtypes, and every plain value and function that one of its layers holds, such as the weight of a term of an
    objective.
    """
    found: list[Any] = [Same(variable) for variable in model.trainable_variables]
    for layer in layers_of(model):
        found += [Same(layer), layer.dtype_policy.name, layer.trainable]
        found += values_of({name: value for name, value in list(vars(layer).items()) if not name.startswith("_")})
    found += [Same(keras.distribution.distribution()), Same(optimizer)]
    return [*found, *values_of(vars(optimizer))]


def values_of(attributes: dict[str, Any]) -> list[tuple[str, Any]]:
    """Of the attributes of an object, what a trace reads as it is."""
    found = ((name, snapshot(value)) for name, value in attributes.items() if name not in STATES)
    return [(name, value) for name, value in found if value is not NOTHING]


NOTHING = object()  # of a value that a trace does not read, or that is looked at elsewhere


def snapshot(value: Any) -> Any:
    """What stays as it is when a value is changed in place: a copy of what it says, or which object it is."""
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, (keras.Variable, types.FunctionType)):
        return Same(value)
    if isinstance(value, (list, tuple)):
        return tuple(value) if all(isinstance(item, PLAIN) for item in value) else NOTHING
    if isinstance(value, dict):
        return tuple(value.items()) if all(isinstance(item, PLAIN) for item in value.values()) else NOTHING
    if isinstance(value, np.ndarray):
        return value.tobytes() if value.size <= SMALL else Same(value)
    # Regularisers, schedules of the learning rate and their kind, which are no layers.
    if hasattr(value, "get_config") and not isinstance(value, keras.layers.Layer):
        return type(value), repr(value.get_config())
    return NOTHING


class Same:
    """An object that equals itself alone; it is kept, so that no other takes its place in memory."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and other.value is self.value

    __hash__ = None  # type: ignore[assignment]  # it is compared, not looked up


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
            left += list(vars(one).values())  # a copy: another thread may use the model, and Keras note something
        elif isinstance(one, (list, tuple)):
            left += one
        elif isinstance(one, dict):
            left += one.values()


@contextlib.contextmanager
def still_frozen(layer: keras.layers.Layer) -> Iterator[None]:
    """What is made inside is frozen if what holds it is: Keras freezes only what there is when it is told."""
    flags = [(one, one.trainable) for one in layers_of(layer)]
    frozen = [variable for variable in layer.variables if not variable.trainable]
    yield
    if all(flag for _, flag in flags):
        return
    for one, flag in flags:  # from the outside in: each hands its flag on to all that it holds, if it changes
        one.trainable = not flag
        one.trainable = flag
    for variable in frozen:
        variable.trainable = False
