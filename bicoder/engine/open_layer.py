"""Layers that a functional model of Keras is not made of, but of their operations."""

from typing import Any

import keras


class OpenLayer(keras.layers.Layer):
    """A layer that leaves its operations in a functional model in its own place.

    So it may return what is no tensor there, as a posterior returns a distribution, and a file of the model can be
    opened without the class.
    """

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        if any(isinstance(one, keras.KerasTensor) for one in keras.tree.flatten((arguments, options))):
            return self.call(*arguments, **options)
        return super().__call__(*arguments, **options)
