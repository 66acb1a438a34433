"""The optimizer of a model whose trainable variables may have changed since it was built."""

import weakref
from typing import Any

import keras

# The variables that each optimizer was built for; Keras builds it once, and does not say for what.
_BUILT_FOR: "weakref.WeakKeyDictionary[keras.optimizers.Optimizer, list[Any]]" = weakref.WeakKeyDictionary()


def build_optimizer(model: Any) -> None:
    """Build the optimizer of a model for its trainable variables.

    If it was built for others, as when a layer was frozen, a new one of the same settings takes its place, with what
    the old one knew of each variable and of the number of steps.
    """
    old, variables = model.optimizer, model.trainable_variables
    if not old.built:
        old.build(variables)
        _BUILT_FOR[old] = variables
    known = {id(variable) for variable in _BUILT_FOR.get(old, variables)}
    if all(id(variable) in known for variable in variables):
        return
    new = type(old).from_config(old.get_config())
    new.build(variables)
    values = {variable.path: variable for variable in old.variables}
    for variable in new.variables:
        if variable.path in values:
            variable.assign(values[variable.path])
    _BUILT_FOR[new], model.optimizer = variables, new
