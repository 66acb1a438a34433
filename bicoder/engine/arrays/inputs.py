"""Examples as people hand them to a model, looked at before Keras does, and some of them at a time."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from bicoder.engine.arrays.trees import is_arrays
from bicoder.engine.streams import batches_of, is_endless, standard
from bicoder.engine.tensor import Shape, Tensor
from bicoder.errors import UsageError

NUMBERS = 2**22  # of the examples that a network gets at once: 16 MB
WIDTH = 1024  # numbers that a network makes of an example, however few the example has


def rows_at_once(shape: Shape) -> int:
    """How many examples of a shape a network gets at once."""
    return max(1, NUMBERS // max(WIDTH, int(np.prod(shape))))


def portions_of(x: Any, shape: Shape | None) -> Iterator[Any]:
    """x in the portions that a network gets: rows of an array (N, ...), or the batches of a data set.

    Args:
        x: see `examples_of`, or a `tf.data.Dataset`, a `PyDataset`, or another iterable of batches.
        shape: of one example, if it is known.
    """
    if gives_batches(x):
        if is_endless(x):
            raise UsageError(
                "x: expected a data set that ends, received one that is repeated for ever; use take(number)"
            )
        found = None
        for batch in batches_of(x):
            found, _, _ = keras.utils.unpack_x_y_sample_weight(standard(batch))
            yield from rows_of(examples_of(found, shape))
        if found is None:
            raise UsageError(f"x: expected at least one batch, received none from a {type(x).__name__}")
    else:
        yield from rows_of(examples_of(x, shape))


def rows_of(x: Any) -> Iterator[Any]:
    """The rows of an array (N, ...), as many at a time as a network gets; all of them if nobody knows their number."""
    rows = rows_at_once(tuple(size or 1 for size in x.shape[1:]))
    if x.shape[0] is None or x.shape[0] <= rows:
        yield x
    else:
        yield from (x[start : start + rows] for start in range(0, x.shape[0], rows))


def joined(portions: list[Tensor]) -> Tensor:
    """Tensors one after the other."""
    return portions[0] if len(portions) == 1 else keras.ops.concatenate(portions)


def gives_batches(x: Any) -> bool:
    """Whether x gives batches of examples, rather than holding all of them."""
    return (
        not hasattr(x, "shape")
        and not isinstance(x, (list, tuple, dict, str))
        and (hasattr(x, "__iter__") or isinstance(x, keras.utils.PyDataset))
    )


def examples_of(x: Any, shape: Shape | None = None) -> Any:
    """x as what has a shape (N, ...): an array or a tensor as it is, lists as an array.

    Args:
        x: of anybody.
        shape: of one example, if it is known.
    Raises:
        UsageError: it is something else, or examples of another shape.
    """
    if isinstance(x, keras.KerasTensor):
        raise UsageError("x: expected numbers, received a keras.Input; use encoder.mean_model() in its place")
    refuse_sparse(x)
    x = stacked(x) if isinstance(x, (list, tuple)) else x
    if not hasattr(x, "shape"):
        raise UsageError(f"x: expected an array (N, ...), received {type(x).__name__}")
    received = tuple(x.shape)
    if len(received) < 2 or (shape is not None and received[1:] != shape):
        raise UsageError(f"x: {other_shape(received, shape)}")
    return x


def refuse_sparse(x: Any) -> None:
    """`UsageError` if x is a matrix of SciPy that leaves zeros out."""
    if type(x).__module__.startswith("scipy.sparse"):
        raise UsageError(
            f"x: expected an array (N, ...), received a scipy.sparse {type(x).__name__}; use x.toarray(), "
            "or x[start:stop].toarray() if it is large"
        )


def whole(x: Any) -> Any:
    """All examples at once: a list of them as an array, all else as it is."""
    refuse_sparse(x)
    return stacked(x) if isinstance(x, list) and is_arrays(x) else x


def stacked(x: list[Any] | tuple[Any, ...]) -> Any:
    """Examples of one shape as one array, or as one tensor if they are tensors."""
    if any(keras.ops.is_tensor(one) for one in x) and len({tuple(one.shape) for one in x}) == 1:
        return keras.ops.stack(x)
    try:
        return np.stack(x) if all(isinstance(one, np.ndarray) for one in x) else np.asarray(x, "float32")
    except (TypeError, ValueError):
        pass
    shapes = sorted({np.shape(one) for one in x if hasattr(one, "shape")})
    if len(shapes) < 2:
        raise UsageError("x: expected examples of one shape, received lists of several lengths, or no numbers")
    more = f" and {len(shapes) - 3} more" if len(shapes) > 3 else ""
    raise UsageError(
        f"x: expected examples of one shape, received {', '.join(map(str, shapes[:3]))}{more}; bring them to one size, "
        "for instance with keras.ops.image.resize(image, (height, width))"
    )


def other_shape(received: Shape, shape: Shape | None) -> str:
    """What was expected and received, and what makes the one of the other if that is plain."""
    if shape is None:
        return f"expected examples (N, ...) of one axis or more, received shape {received}"
    if received == shape:
        return f"expected examples (N, {', '.join(map(str, shape))}), received one of them; use x[None]"
    hint = "; use x[..., None]" if (*received[1:], 1) == shape else ""
    return f"expected examples of shape {shape}, received {received[1:]}{hint}"
