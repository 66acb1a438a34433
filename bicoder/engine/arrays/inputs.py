"""Examples as people hand them to a model, looked at before Keras does, and some of them at a time."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from bicoder.engine.arrays.conditioned import Conditioned
from bicoder.engine.arrays.masked import Masked, from_numpy
from bicoder.engine.arrays.trees import is_arrays, leaves, mapped
from bicoder.engine.arrays.view_names import is_view_name
from bicoder.engine.streams import batches_of, is_endless, standard
from bicoder.engine.tensor import Shape
from bicoder.errors import UsageError

NUMBERS = 2**22  # of the examples that a network gets at once: 16 MB
WIDTH = 1024  # numbers that a network makes of an example, however few the example has


def numbers_of(shape: Any) -> int:
    """How many numbers an example of a shape has, all its views together."""
    return sum(map(numbers_of, shape.values())) if isinstance(shape, dict) else int(np.prod(shape))


def rows_at_once(shape: Any) -> int:
    """How many examples of a shape a network gets at once."""
    return max(1, NUMBERS // max(WIDTH, numbers_of(shape)))


def portions_of(x: Any, shape: Any, with_condition: Callable[[Any, Any], Any]) -> Iterator[Any]:
    """x in the portions that a network gets: rows of an array (N, ...), or the batches of a data set.

    Args:
        x: see `examples_of`, or a `tf.data.Dataset`, a `PyDataset`, or another iterable of batches.
        shape: of one example, or of each of its views; None if it is not known.
        with_condition: function of x, and of y, which is None unless the data set gives some, to what the model takes.
    """
    if gives_batches(x):
        if is_endless(x):
            raise UsageError(
                "x: expected a data set that ends, received one that is repeated for ever; use take(number)"
            )
        found = None
        for batch in batches_of(x):
            found, y, _ = keras.utils.unpack_x_y_sample_weight(standard(batch))
            yield from rows_of(examples_of(with_condition(found, y), shape))
        if found is None:
            raise UsageError(f"x: expected at least one batch, received none from a {type(x).__name__}")
    else:
        yield from rows_of(examples_of(with_condition(x, None), shape))


def rows_of(x: Any) -> Iterator[Any]:
    """The rows of arrays (N, ...), as many at a time as a network gets; all of them if nobody knows their number."""
    arrays = leaves(x)
    rows = max(1, NUMBERS // max(WIDTH, sum(math.prod(size or 1 for size in array.shape[1:]) for array in arrays)))
    length = arrays[0].shape[0]
    if length is None or length <= rows:
        yield x
    else:
        yield from (mapped(lambda one: one[start : start + rows], x) for start in range(0, length, rows))  # noqa: B023


def joined(portions: list[Any]) -> Any:
    """Tensors one after the other, or those of each view."""
    return portions[0] if len(portions) == 1 else mapped(lambda *tensors: keras.ops.concatenate(tensors), *portions)


def gives_batches(x: Any) -> bool:
    """Whether x gives batches of examples, rather than holding all of them."""
    return (
        not hasattr(x, "shape")
        and not isinstance(x, (list, tuple, dict, str))
        and (hasattr(x, "__iter__") or isinstance(x, keras.utils.PyDataset))
    )


def examples_of(x: Any, shape: Any = None, name: str = "x") -> Any:
    """x as what has a shape (N, ...): an array or a tensor as it is, lists as an array, of a dict each view.

    Args:
        x: of anybody.
        shape: of one example, or of each of its views; None if it is not known.
        name: what an error calls it.
    Raises:
        UsageError: it is something else, or examples of another shape.
    """
    if isinstance(x, Conditioned):
        values, y = examples_of(x.x, shape, name), x.y
        check_lengths({name: values, "condition": y}, "a condition for each example", "")
        return Conditioned(values, y)
    if isinstance(x, dict):
        check_views(x, shape)
        found = {view: examples_of(x[view], shape and shape[view], f"x[{view!r}]") for view in sorted(x)}
        check_lengths(found)
        return found
    if isinstance(shape, dict):
        raise UsageError(f"x: expected a dict of the views {', '.join(shape)}, received {type(x).__name__}")
    if isinstance(x, Masked):
        return Masked(examples_of(x.values, shape, name), x.there)
    if isinstance(x, keras.KerasTensor):
        raise UsageError("x: expected numbers, received a keras.Input; use encoder.mean_model() in its place")
    refuse_sparse(x)
    x = stacked(x) if isinstance(x, (list, tuple)) else x
    if not hasattr(x, "shape"):
        raise UsageError(f"{name}: expected an array (N, ...), received {type(x).__name__}")
    received = tuple(x.shape)
    if len(received) < 2 or (shape is not None and received[1:] != shape):
        raise UsageError(f"{name}: {other_shape(received, shape)}")
    return from_numpy(x) if isinstance(x, np.ma.MaskedArray) else x


def check_views(x: dict[str, Any], shape: Any) -> None:
    """`UsageError` if the views of a dict are none, or some that a model does not have."""
    if shape is not None and not isinstance(shape, dict):
        raise UsageError(f"x: expected examples of shape {shape}, received a dict of {', '.join(map(str, x))}")
    unknown = [view for view in x if not is_view_name(view) or (shape is not None and view not in shape)]
    if unknown or not x:
        names = "views by names other than 'name' and 'class_name'"
        known = names if shape is None else f"some of the views {', '.join(shape)}"
        raise UsageError(
            f"x: expected {known}, received {unknown[0]!r}" if x else f"x: expected {known}, received none"
        )


def check_lengths(
    arrays: dict[str, Any], expected: str = "as many examples of each view", hint: str = "; a missing one is masked"
) -> None:
    """`UsageError` if views, or a condition, have different numbers of examples."""
    lengths = {name: leaves(one)[0].shape[0] for name, one in arrays.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{length} of {name}" for name, length in lengths.items())
        raise UsageError(f"x: expected {expected}, received {said}{hint}")


def refuse_sparse(x: Any) -> None:
    """`UsageError` if x is a matrix of SciPy that leaves zeros out."""
    if type(x).__module__.startswith("scipy.sparse"):
        raise UsageError(
            f"x: expected an array (N, ...), received a scipy.sparse {type(x).__name__}; use x.toarray(), "
            "or x[start:stop].toarray() if it is large"
        )


def whole(x: Any) -> Any:
    """All examples at once: a list as an array, a masked array as `Masked`, all else as it is; of a dict each view."""
    if isinstance(x, dict):
        return {view: whole(one) for view, one in x.items()}
    if isinstance(x, Conditioned):
        return Conditioned(whole(x.x), x.y)
    refuse_sparse(x)
    if isinstance(x, np.ma.MaskedArray):
        return from_numpy(x)
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
