"""How the TensorFlow program that is being traced will run; nothing in TensorFlow says so."""

import contextlib
import contextvars

XLA = contextvars.ContextVar("XLA", default=False)  # whether XLA compiles it
PARTS = contextvars.ContextVar("PARTS", default=1)  # in how many parts its batches come: see bicoder/engine/slices.py


@contextlib.contextmanager
def during(variable, value):
    """What is traced inside sees this value."""
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)
