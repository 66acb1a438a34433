"""How the TensorFlow program that is being traced will run; nothing in TensorFlow says so."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TypeVar

Value = TypeVar("Value")

XLA: ContextVar[bool] = ContextVar("XLA", default=False)  # whether XLA compiles it
SLICES: ContextVar[int] = ContextVar("SLICES", default=1)  # in how many slices its batches come


@contextlib.contextmanager
def during(variable: ContextVar[Value], value: Value) -> Iterator[None]:
    """What is traced inside sees this value."""
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)
