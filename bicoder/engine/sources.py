"""What `VAE.fit` is given as a source of batches: `Batches` of arrays and of a `DataLoader`, else a `Stream`."""

import math
from typing import Any

import keras
import numpy as np

from bicoder.engine.batches import Batches, mapped, source_of
from bicoder.engine.streams import Stream
from bicoder.errors import UsageError


def is_arrays(x: Any) -> bool:
    """Whether `x` holds all examples, an array or a tree of them, rather than giving batches of them."""
    leaves = keras.tree.flatten(x)
    numbers = isinstance(x, (list, tuple)) and all(isinstance(leaf, (int, float)) for leaf in leaves)
    return bool(leaves) and (numbers or all(hasattr(leaf, "shape") for leaf in leaves))


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
    weights = None if sample_weight is None else as_array(sample_weight, "float32")
    return x, y, weights


def weights_of(y: Any, class_weight: dict[int, float]) -> np.ndarray:
    """The weight of each example (N,), of classes y: whole numbers (N,) or (N, 1), or one-hot (N, classes)."""
    classes = np.asarray(y)
    classes = classes.argmax(axis=-1) if classes.ndim > 1 and classes.shape[-1] > 1 else classes.reshape(-1)
    return np.array([class_weight.get(int(label), 1.0) for label in classes], "float32")


def split(arrays: Any, fraction: float) -> tuple[Any, Any]:
    """The arrays of a tree cut in two, (training, validation): the last `fraction` is held out, as in Keras."""
    length = len(next(leaf for leaf in keras.tree.flatten(arrays) if leaf is not None))
    count = math.floor(length * (1.0 - fraction))
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
        return Batches(keras.utils.pack_x_y_sample_weight(x, y, weights), batch_size, seed, shuffle)
    for name, value in (("y", y), ("sample_weight", sample_weight)):
        if value is not None:
            raise UsageError(f"{name}: a {type(x).__name__} gives it in its batches; expected None beside it")
    if ours := source_of(x):
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
