"""What `VAE.fit` does with its arguments on TensorFlow."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from bicoder.engine import loop
from bicoder.engine.batches import Batches
from bicoder.engine.optimizers import build_optimizer
from bicoder.engine.sources import arrays_of, is_arrays, source, split
from bicoder.engine.streams import Stream
from bicoder.errors import UsageError


def fit(model: Any, keras_fit: Callable, options: dict[str, Any]) -> keras.callbacks.History:
    """Train a compiled model by its own programs, or by Keras' loop if it runs eagerly or on several devices.

    Args:
        model: a `VAE`.
        keras_fit: `keras.Model.fit` of the model.
        options: the arguments of `fit`.
    """
    if not model.compiled:
        raise UsageError('fit: expected a compiled model; call compile("adam") first, or with an optimizer of yours')
    data, validation = sources(model, options)
    if not model.built:
        model.build((None, *data.example_shape))
    build_optimizer(model)
    if model.run_eagerly or model.distribute_strategy.num_replicas_in_sync > 1:
        return keras_fit(**options | as_datasets(data, validation, options))
    callbacks, names = options["callbacks"], ("steps_per_epoch", "validation_steps", "validation_freq", "initial_epoch")
    epochs = min(options["epochs"], keras.config.max_epochs() or options["epochs"])
    if not isinstance(callbacks, keras.callbacks.CallbackList):
        verbose, steps = options["verbose"], options["steps_per_epoch"] or data.count
        shown = {"add_progbar": verbose != 0, "verbose": verbose, "epochs": epochs, "steps": steps}
        callbacks = keras.callbacks.CallbackList(callbacks, add_history=True, model=model, **shown)
    return loop.fit(model, data, validation, callbacks, epochs=epochs, **{name: options[name] for name in names})


def sources(model: Any, options: dict[str, Any]) -> tuple[Batches | Stream, Batches | Stream | None]:
    """Where the batches of training and validation come from; of the latter None if there are none."""
    batch_size, seed = options["batch_size"] or 32, [int(number) for number in np.array(model.noise.state)]
    x, y, weights = (options[name] for name in ("x", "y", "sample_weight"))
    held_out = options["validation_data"]
    if options["validation_split"] and held_out is None:
        if not is_arrays(x):
            raise UsageError("validation_split: expected x to be arrays; give validation_data to hold batches out")
        (x, y, weights), held_out = split(arrays_of(x, y, weights), options["validation_split"])
    shuffle, classes = options["shuffle"], options["class_weight"]
    data = source(x, y, weights, batch_size=batch_size, seed=seed, shuffle=shuffle, class_weight=classes)
    if isinstance(data, Batches) and is_arrays(x):
        data.epoch.assign(options["initial_epoch"])
    if held_out is None:
        return data, None
    batch_size = options["validation_batch_size"] or batch_size
    x, y, weights = keras.utils.unpack_x_y_sample_weight(held_out)
    return data, source(x, y, weights, batch_size=batch_size, seed=seed, shuffle=False)


def as_datasets(data: Any, validation: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Arguments of Keras' own `fit` that give the same batches."""
    if not isinstance(data, Batches):
        return {}
    shown = dict.fromkeys(("y", "sample_weight", "batch_size", "class_weight"))
    shown |= {"x": data.dataset(), "shuffle": False, "validation_split": 0.0}
    return shown | ({"validation_data": validation.dataset()} if isinstance(validation, Batches) else {})
