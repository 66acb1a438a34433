"""What `VAE.fit` does with its arguments on TensorFlow."""

import contextlib
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from bicoder.engine import loop
from bicoder.engine.batches import Batches, leaves, mapped, source_of
from bicoder.engine.optimizers import build_optimizer
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
    several = model.distribute_strategy.num_replicas_in_sync > 1
    if several or model.run_eagerly or tf.config.functions_run_eagerly():
        with model.distribute_strategy.scope() if several else contextlib.nullcontext():
            return by_keras(model, keras_fit, options)
    data, validation = sources(model, options)
    check_shapes(model, data, validation)
    callbacks, names = options["callbacks"], ("steps_per_epoch", "validation_steps", "validation_freq", "initial_epoch")
    epochs = min(options["epochs"], keras.config.max_epochs() or options["epochs"])
    if not isinstance(callbacks, keras.callbacks.CallbackList):
        verbose, steps = options["verbose"], options["steps_per_epoch"] or data.count
        shown = {"add_progbar": verbose != 0, "verbose": verbose, "epochs": epochs, "steps": steps}
        callbacks = keras.callbacks.CallbackList(callbacks, add_history=True, model=model, **shown)
    return loop.fit(model, data, validation, callbacks, epochs=epochs, **{name: options[name] for name in names})


def by_keras(model: Any, keras_fit: Callable, options: dict[str, Any]) -> keras.callbacks.History:
    """Train by Keras' own loop, on the same batches in the same order."""
    if not is_arrays(options["x"]):
        # The batches of a `tf.data.Dataset` have their order, and no number by which they could be shuffled.
        return keras_fit(**options | ({"shuffle": False} if hasattr(options["x"], "element_spec") else {}))
    data, validation = sources(model, options, only_arrays=True)
    check_shapes(model, data, validation)
    build_optimizer(model)
    return keras_fit(**options | as_datasets(data, validation))


def check_shapes(model: Any, *found: Batches | Stream | None) -> None:
    """Build a model that is not built yet, and see that the examples of all sources are of its shape."""
    for one in found:
        shape = () if one is None else one.example_shape
        if one is not None and not shape:
            raise UsageError("x: expected examples (N, ...) of one axis or more, received numbers (N,)")
        if not model.built:
            model.build((None, *shape))
        expected = tuple(model.input_spec.shape[1:])
        if one is not None and shape != expected:
            raise UsageError(f"x: expected examples of shape {expected}, received {shape}")


def sources(
    model: Any, options: dict[str, Any], only_arrays: bool = False
) -> tuple[Batches | Stream, Batches | Stream | None]:
    """Where the batches of training and validation come from; of the latter None if there are none.

    Args:
        only_arrays: leave validation data alone that give batches: who looks at a generator takes its first one.
    """
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
    x, y, weights = (None, None, None) if held_out is None else keras.utils.unpack_x_y_sample_weight(held_out)
    if held_out is None or (only_arrays and not is_arrays(x)):
        return data, None
    batch_size = options["validation_batch_size"] or batch_size
    return data, source(x, y, weights, batch_size=batch_size, seed=seed, shuffle=False)


def as_datasets(data: Any, validation: Any) -> dict[str, Any]:
    """Arguments of Keras' own `fit` that give the same batches."""
    shown = dict.fromkeys(("y", "sample_weight", "batch_size", "class_weight"))
    shown |= {"x": data.dataset(), "shuffle": False, "validation_split": 0.0}
    return shown | ({"validation_data": validation.dataset()} if isinstance(validation, Batches) else {})


def is_arrays(x: Any) -> bool:
    """Whether `x` holds all examples, an array or a tree of them, rather than giving batches of them."""
    found = keras.tree.flatten(x)
    numbers = isinstance(x, (list, tuple)) and all(isinstance(leaf, (int, float)) for leaf in found)
    return bool(found) and (numbers or all(hasattr(leaf, "shape") for leaf in found))


def as_array(array: Any, dtype: str | None = None) -> Any:
    """A leaf as a NumPy array, of float32 if it was one of float64; images that stay in a file are left there."""
    if getattr(array, "in_file", False):
        return array
    found = np.asarray(array, dtype)
    return found.astype("float32") if found.dtype == "float64" else found


def arrays_of(x: Any, y: Any, sample_weight: Any) -> tuple[Any, Any, Any]:
    """x, y and the weights of the examples as trees of arrays; x becomes float32."""
    x = np.asarray(x, "float32") if isinstance(x, list) else mapped(lambda leaf: as_array(leaf, "float32"), x)
    y = None if y is None else mapped(as_array, y)
    weights = None if sample_weight is None else as_array(sample_weight, "float32").reshape(-1)
    lengths = {len(leaf) for leaf in leaves((x, y, weights))}
    if len(lengths) > 1:
        raise UsageError(f"x: expected as many y and sample weights as examples, received lengths {sorted(lengths)}")
    if lengths == {0}:
        raise UsageError("x: expected at least one example, received none")
    return x, y, weights


def weights_of(y: Any, class_weight: dict[int, float]) -> np.ndarray:
    """The weight of each example (N,), of classes y: whole numbers (N,) or (N, 1), or one-hot (N, classes)."""
    classes = np.asarray(y)
    classes = classes.argmax(axis=-1) if classes.ndim > 1 and classes.shape[-1] > 1 else classes.reshape(-1)
    return np.array([class_weight.get(int(label), 1.0) for label in classes], "float32")


def split(arrays: Any, fraction: float) -> tuple[Any, Any]:
    """The arrays of a tree cut in two, (training, validation): the last `fraction` is held out, as in Keras."""
    count = math.floor(len(leaves(arrays)[0]) * (1.0 - fraction))
    return mapped(lambda leaf: leaf[:count], arrays), mapped(lambda leaf: leaf[count:], arrays)


def source(
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    *,
    batch_size: int,
    seed: list[int],
    shuffle: bool,
    class_weight: dict[int, float] | None = None,
) -> Batches | Stream:
    """The source of these data; the order of arrays follows from the seed."""
    if is_arrays(x):
        x, y, weights = arrays_of(x, y, sample_weight)
        if class_weight is not None:
            if y is None or weights is not None:
                raise UsageError("class_weight: expected y, the classes, and no sample_weight beside it")
            weights = weights_of(y, class_weight)
        # Keras' own function leaves weights out if there is no y.
        arrays = keras.utils.pack_x_y_sample_weight(x, y) if weights is None else (x, y, weights)
        return Batches(arrays, batch_size, seed, shuffle)
    for name, value in (("y", y), ("sample_weight", sample_weight)):
        if value is not None:
            raise UsageError(f"{name}: a {type(x).__name__} gives it in its batches; expected None beside it")
    if ours := source_of(x):
        if class_weight is not None:
            raise UsageError("class_weight: expected batches (x, y), received those of a DataLoader, which have no y")
        return ours
    if not hasattr(x, "__iter__") and not isinstance(x, keras.utils.PyDataset):
        raise UsageError(f"x: expected arrays or an iterable of batches, received {type(x).__name__}")
    return Stream(x, shuffle, None if class_weight is None else lambda batch: weighted(batch, class_weight))


def weighted(batch: Any, class_weight: dict[int, float]) -> Any:
    """A batch (x, y) with the weights of its classes."""
    x, y, given = keras.utils.unpack_x_y_sample_weight(batch)
    if y is None or given is not None:
        raise UsageError("class_weight: expected batches (x, y), with no weights of their own")
    return x, y, weights_of(y, class_weight)
