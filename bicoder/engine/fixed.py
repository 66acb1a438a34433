"""What a compiled program has fixed inside: all that is no variable when it is traced."""

from collections.abc import Iterator
from typing import Any

import keras

PLAIN = (bool, int, float, str, type(None))


def fixed_in_programs(model: Any, optimizer: Any) -> list[Any]:
    """What must be the same for a program of a model to do still what a new one would do.

    That is: which objects the model and the optimizer are made of, which of its variables are trained, dtypes, and
    every plain value that one of its layers holds, such as the weight of a term of an objective.
    """
    found: list[Any] = [Same(variable) for variable in model.trainable_variables]
    for layer in [*layers_of(model), optimizer]:
        found.append(Same(layer))
        found.append(getattr(getattr(layer, "dtype_policy", None), "name", None))
        found += [
            (name, Same(value) if isinstance(value, keras.Variable) else value)
            for name, value in vars(layer).items()
            if isinstance(value, (*PLAIN, keras.Variable)) or is_plain_list(value)
        ]
    return found


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
