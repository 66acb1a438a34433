"""What is known while a step is traced, and cannot be handed down: how its program runs, and what comes beside x."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, TypeVar

Value = TypeVar("Value")


XLA: ContextVar[bool] = ContextVar("XLA", default=False)  # whether XLA compiles the program
SLICES: ContextVar[int] = ContextVar("SLICES", default=1)  # in how many slices its batches come
# Keras' own steps hand a model x alone.
TARGET: ContextVar[Any] = ContextVar("TARGET", default=None)  # what p(x|z) has to explain; None for x itself
WEIGHTS: ContextVar[Any] = ContextVar("WEIGHTS", default=None)  # of the examples, (batch,)


@contextlib.contextmanager
def during(variable: ContextVar[Value], value: Value) -> Iterator[None]:
    """What is traced inside sees this value."""
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)
