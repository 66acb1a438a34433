"""Gradients on the backend that runs the tests."""

import keras
import numpy as np
from keras import ops

from bicoder.engine.programs.compiled import compiled


def gradient(function, x):
    """d sum(function(x)) / dx at an array x, float32, and function(x)."""
    x = ops.convert_to_tensor(x, "float32")
    if keras.backend.backend() == "jax":
        import jax

        found, value = jax.grad(lambda x: (ops.sum(value := function(x)), value), has_aux=True)(x)
    else:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x)
            value = function(x)
        found = tape.gradient(value, x)
    return np.asarray(found), np.asarray(value)


def gradients_of_weights(loss, model):
    """Gradient of the number loss() for each weight that a model trains, and loss().

    None for those that TensorFlow did not find in it; JAX has zeros there.
    """
    if keras.backend.backend() == "jax":
        import jax

        def of(values):
            pairs = zip(model.trainable_variables, values, strict=True)
            others = [(one, one.value) for one in model.non_trainable_variables]
            with keras.StatelessScope(state_mapping=[*pairs, *others]) as scope:
                return loss(), [scope.get_current_value(one) for one in model.non_trainable_variables]

        (value, after), found = jax.value_and_grad(of, has_aux=True)([v.value for v in model.trainable_variables])
        for one, new in zip(model.non_trainable_variables, after, strict=True):
            one.assign(new)
        return found, value
    import tensorflow as tf

    with tf.GradientTape() as tape:
        value = loss()
    return tape.gradient(value, model.trainable_variables), value


def compiled_gradients(loss, model):
    """A compiled function that gives the gradient of loss() for all weights of a model, flat; each call draws anew."""

    def flat():
        found, _ = gradients_of_weights(loss, model)
        return ops.concatenate([ops.reshape(one, [-1]) for one in found], axis=0)

    program = compiled(flat, model)
    return lambda: np.asarray(program())
