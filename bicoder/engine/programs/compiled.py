"""Functions of tensors as compiled programs, on backends whose single operations are slow."""

import contextlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np


def compiled(function: Callable[..., Any], *holders: Any) -> Callable[..., Any]:
    """`function` as a program: a graph of TensorFlow, or one that XLA compiles for JAX; on PyTorch without gradients.

    Args:
        function: of tensors and trees of them, and of whole numbers that are part of the program.
        holders: models and seed generators whose variables it uses.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.function(function)
    return on_jax(function, *holders) if backend == "jax" else without_gradients(function)


def on_jax(function: Callable[..., Any], *holders: Any) -> Callable[..., Any]:
    """A program of JAX is a function of all that it uses, and gives all that it changes."""
    import jax

    variables = list({id(one): one for holder in holders for one in variables_of(holder)}.values())

    def run(values: list[Any], tensors: tuple[Any, ...], numbers: tuple[int, ...]) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))) as scope:
            found = function(*tensors, *numbers)
        return found, [scope.get_current_value(variable) for variable in variables]

    program = jax.jit(run, static_argnums=2)

    def call(*arguments: Any) -> Any:
        count = sum(isinstance(one, (int, np.integer)) for one in arguments)  # whole numbers come last
        tensors, numbers = arguments[: len(arguments) - count], arguments[len(arguments) - count :]
        found, values = program([variable.value for variable in variables], tensors, numbers)
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        return found

    return call


def variables_of(holder: Any) -> list[keras.Variable]:
    """The variables of a model or of a seed generator."""
    return [holder.state] if isinstance(holder, keras.random.SeedGenerator) else holder.variables


def without_gradients(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function for whose results PyTorch keeps no gradients, so that NumPy takes them; elsewhere it is as it is."""

    def call(*arguments: Any, **options: Any) -> Any:
        with no_gradients():
            return function(*arguments, **options)

    return call


def no_gradients() -> contextlib.AbstractContextManager:
    """Inside, PyTorch keeps no gradients; nothing on other backends."""
    if keras.backend.backend() != "torch":
        return contextlib.nullcontext()
    import torch

    return torch.no_grad()
