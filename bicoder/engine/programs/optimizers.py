"""The optimizer of a model whose trainable variables may have changed since it was built."""

import weakref
from typing import Any

import keras

from bicoder.errors import UsageError

# The variables that each optimizer was built for; Keras builds it once, and does not say for what.
_BUILT_FOR: "weakref.WeakKeyDictionary[keras.optimizers.Optimizer, list[Any]]" = weakref.WeakKeyDictionary()


def check_optimizer(method: str, optimizer: Any, more: str = "") -> None:
    """`UsageError`, in the name of `method`, if this is no optimizer of Keras 3."""
    if isinstance(optimizer, keras.optimizers.Optimizer):
        return
    old = type(optimizer).__module__.startswith("tf_keras")
    hint = "; it is of Keras 2: unset TF_USE_LEGACY_KERAS, or take it from keras.optimizers" if old else ""
    raise UsageError(f"{method}: expected {more}a Keras optimizer, received {optimizer!r}{hint}")


def built_for(optimizer: Any) -> list[Any] | None:
    """The variables that an optimizer was built for, as far as `build` did it, else None."""
    return _BUILT_FOR.get(optimizer)


def build(optimizer: Any, variables: list[Any]) -> None:
    """Build an optimizer that is not built yet, and remember for what."""
    optimizer.build(variables)
    _BUILT_FOR[optimizer] = variables


def knows(optimizer: Any, variables: list[Any]) -> bool:
    """Whether a built optimizer was built for all of these."""
    known = {id(variable) for variable in _BUILT_FOR.get(optimizer, variables)}
    return all(id(variable) in known for variable in variables)


def build_optimizer(model: Any) -> None:
    """Build the optimizer of a model for its trainable variables.

    If it was built for others, as when a layer was frozen, a new one of the same settings takes its place, with what
    the old one knew of each variable and of the number of steps.
    """
    old, variables = model.optimizer, model.trainable_variables
    if not old.built:
        build(old, variables)
    # Elsewhere an optimizer may know more variables than are trained; Keras' step on JAX takes neither more nor less.
    more = keras.backend.backend() == "jax" and len(built_for(old) or variables) > len(variables)
    if knows(old, variables) and not more:
        return
    new = type(old).from_config(old.get_config())
    build(new, variables)
    values = {variable.path: variable for variable in old.variables}
    for variable in new.variables:
        if variable.path in values:
            variable.assign(values[variable.path])
    model.optimizer = new
