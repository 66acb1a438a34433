"""What `VAE.fit` does with its arguments."""

import contextlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from bicoder.engine import loop
from bicoder.engine.arrays.trees import batched, is_arrays, split
from bicoder.engine.batches import Batches, source_of
from bicoder.engine.programs.devices import check_divides, is_spread
from bicoder.engine.programs.optimizers import build_optimizer
from bicoder.engine.step_calls import TrueNumbers
from bicoder.engine.streams import Stream, count_of
from bicoder.errors import UsageError


def fit(model: Any, keras_fit: Callable, options: dict[str, Any]) -> keras.callbacks.History:
    """Train a compiled model by its own programs; by Keras' loop on PyTorch, eagerly, or on several devices of
    TensorFlow.

    Args:
        model: a `VAE`.
        keras_fit: `keras.Model.fit` of the model.
        options: the arguments of `fit`.
    """
    if not model.compiled:
        raise UsageError('fit: expected a compiled model; call compile("adam") first, or with an optimizer of yours')
    if is_for_keras(model):
        with strategy_of(model):
            return by_keras(model, keras_fit, options)
    data, validation = sources(model, options)
    if isinstance(data, Batches):
        check_divides(data.batch_size)
    check_shapes(model, data, validation)
    names = ("steps_per_epoch", "validation_steps", "validation_freq", "initial_epoch")
    given = {name: options[name] for name in names} | {"epochs": epochs_of(options)}
    return loop.fit(model, data, validation, called(model, options, data.count), **given)


def epochs_of(options: dict[str, Any]) -> int:
    """The number of the last epoch."""
    return min(options["epochs"], keras.config.max_epochs() or options["epochs"])


def called(model: Any, options: dict[str, Any], count: int | None, kind: Any = keras.callbacks.CallbackList) -> Any:
    """The callbacks of `fit` as a `CallbackList` of some kind, unless they are one.

    Args:
        count: batches in an epoch, if nothing else is asked for; None if nobody knows.
    """
    callbacks, verbose = options["callbacks"], options["verbose"]
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return callbacks
    shown = {"epochs": epochs_of(options), "steps": options["steps_per_epoch"] or count, "verbose": verbose}
    return kind(callbacks, add_history=True, add_progbar=verbose != 0, model=model, **shown)


def is_for_keras(model: Any) -> bool:
    """Whether Keras' own loop has to train a model."""
    if model.run_eagerly or keras.backend.backend() == "torch":
        return True
    if keras.distribution.distribution() is not None and not is_spread():
        return True
    eagerly = keras.backend.backend() == "tensorflow" and tf.config.functions_run_eagerly()
    return eagerly or replicas(model) > 1


def replicas(model: Any) -> int:
    """On how many devices a strategy of TensorFlow has a model."""
    return model.distribute_strategy.num_replicas_in_sync if keras.backend.backend() == "tensorflow" else 1


def strategy_of(model: Any) -> contextlib.AbstractContextManager:
    """The scope of a strategy of several devices, or none."""
    return model.distribute_strategy.scope() if replicas(model) > 1 else contextlib.nullcontext()


def by_keras(model: Any, keras_fit: Callable, options: dict[str, Any]) -> keras.callbacks.History:
    """Train by Keras' own loop, on the same batches in the same order."""
    if not is_arrays(options["x"]):
        options = options | {"callbacks": called(model, options, count_of(options["x"]), TrueNumbers)}
        # The batches of a `tf.data.Dataset` have their order, and no number by which they could be shuffled.
        return keras_fit(**options | ({"shuffle": False} if hasattr(options["x"], "element_spec") else {}))
    data, validation = sources(model, options, only_arrays=True)
    check_shapes(model, data, validation)
    build_optimizer(model)
    options = options | {"callbacks": called(model, options, data.count, TrueNumbers)}
    return keras_fit(**options | as_datasets(data, validation))


def check_shapes(model: Any, *found: Batches | Stream | None) -> None:
    """Build a model that is not built yet, and see that the examples of all sources are of its shape."""
    for one in found:
        shape = () if one is None else one.example_shape
        if one is not None and not shape:
            raise UsageError("x: expected examples (N, ...) of one axis or more, received numbers (N,)")
        if not model.built:
            model.build(batched(shape))
        if one is not None and shape != model.example_shape:
            raise UsageError(f"x: expected examples of shape {model.example_shape}, received {shape}")


def sources(
    model: Any, options: dict[str, Any], only_arrays: bool = False
) -> tuple[Batches | Stream, Batches | Stream | None]:
    """Where the batches of training and validation come from; of the latter None if there are none.

    Args:
        only_arrays: leave validation data alone that give batches: who looks at a generator takes its first one.
    """
    batch_size, seed = options["batch_size"] or 32, [int(number) for number in np.array(model.noise.state)]
    given, shuffle = tuple(options[name] for name in ("x", "y", "sample_weight")), options["shuffle"]
    held_out, size = options["validation_data"], options["validation_batch_size"] or batch_size
    data: Batches | Stream
    validation: Batches | Stream | None = None
    if options["validation_split"] and held_out is None:
        if not is_arrays(given[0]):
            raise UsageError("validation_split: expected x to be arrays; give validation_data to hold batches out")
        arrays, rest = split(model.examples(*given), options["validation_split"])
        data, validation = in_batches(arrays, batch_size, seed, shuffle), in_batches(rest, size, seed, False)
    else:
        data = source(model, *given, batch_size=batch_size, seed=seed, shuffle=shuffle)
        held = (None, None, None) if held_out is None else keras.utils.unpack_x_y_sample_weight(held_out)
        if held_out is not None and (is_arrays(held[0]) or not only_arrays):
            validation = source(model, *held, batch_size=size, seed=seed, shuffle=False)
    if isinstance(data, Batches) and is_arrays(given[0]):
        data.epoch.assign(options["initial_epoch"])
    return data, validation


def as_datasets(data: Any, validation: Any) -> dict[str, Any]:
    """Arguments of Keras' own `fit` that give the same batches."""
    shown = dict.fromkeys(("y", "sample_weight", "batch_size"))
    shown |= {"x": data.dataset(), "shuffle": False, "validation_split": 0.0}
    return shown | ({"validation_data": validation.dataset()} if isinstance(validation, Batches) else {})


def source(
    model: Any, x: Any, y: Any = None, sample_weight: Any = None, *, batch_size: int, seed: list[int], shuffle: bool
) -> Batches | Stream:
    """The source of these data, which a model can learn from; the order of arrays follows from the seed."""
    if is_arrays(x):
        return in_batches(model.examples(x, y, sample_weight), batch_size, seed, shuffle)
    for name, value in (("y", y), ("sample_weight", sample_weight)):
        if value is not None:
            raise UsageError(f"{name}: a {type(x).__name__} gives it in its batches; expected None beside it")
    ours = source_of(x)
    if ours is None:
        return Stream(x, shuffle, model.check_batch, model.arranged_batch)
    model.learn(keras.utils.unpack_x_y_sample_weight(model.arranged_batch(ours.images))[0])
    return ours


def in_batches(arrays: tuple[Any, Any, Any], batch_size: int, seed: list[int], shuffle: bool) -> Batches:
    """The `Batches` of x, y and sample weights, which Keras' own function leaves out if there is no y."""
    x, y, weights = arrays
    packed = keras.utils.pack_x_y_sample_weight(x, y) if weights is None else arrays
    return Batches(packed, batch_size, seed, shuffle)
