"""Examples x: one array, `Masked` where something is missing, or a dict view -> x; `Conditioned` if y comes with them.

Keras is not needed for them.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from bicoder.engine.arrays.conditioned import Conditioned, parted


class Masked(NamedTuple):
    """Examples of which something is missing; NumPy's masked arrays become this.

    Args:
        values: (batch, ...), whatever stands where nothing is known.
        there: 1 where a value is known, else 0: (batch,) for examples that are there as a whole or not at all, or of
            the shape of `values` for single ones.
    """

    values: Any
    there: Any


def on_values(function: Callable[[Any], Any], x: Any) -> Any:
    """A function of a tensor, of the values of `Masked` ones, or of those of each view of a dict; y stays as it is."""
    if isinstance(x, dict):
        return {name: on_values(function, one) for name, one in x.items()}
    if isinstance(x, Conditioned):
        return Conditioned(on_values(function, x.x), x.y)
    return Masked(function(x.values), x.there) if isinstance(x, Masked) else function(x)


def from_numpy(array: np.ma.MaskedArray) -> Any:
    """A masked array (N, ...) as `Masked`, whole examples if it hides nothing less; an array if it hides nothing."""
    hidden = np.ma.getmaskarray(array)
    if not hidden.any():
        return array.data
    by_example = hidden.reshape(len(hidden), -1)
    whole = (by_example.all(axis=1) == by_example.any(axis=1)).all()
    return Masked(array.filled(0), (~(by_example[:, 0] if whole else hidden)).astype("float32"))


def on_arrays(function: Callable[[Any], Any], x: Any) -> Any:
    """A function of one array, of both of `Masked` or `Conditioned`, or of those of each view of a dict."""
    if isinstance(x, dict):
        return {name: on_arrays(function, one) for name, one in x.items()}
    if isinstance(x, (Masked, Conditioned)):
        return type(x)(*(on_arrays(function, one) for one in x))
    return function(x)


def arrays_in(x: Any) -> list[Any]:
    """One array, both of `Masked` or `Conditioned`, or those of each view of a dict in the order of their names."""
    if isinstance(x, dict):
        return [array for name in sorted(x) for array in arrays_in(x[name])]
    return [array for one in x for array in arrays_in(one)] if isinstance(x, (Masked, Conditioned)) else [x]


def shape_of_example(x: Any) -> Any:
    """Shape of one example of x (batch, ...), or of each view of a dict; x may be shapes, as Keras gives them."""
    x, _ = parted(x)
    if isinstance(x, dict):
        return {name: shape_of_example(x[name]) for name in sorted(x)}
    values = x.values if isinstance(x, Masked) else x
    return tuple(values if isinstance(values, (tuple, list)) else values.shape)[1:]


def lacking(views: dict[str, Any]) -> np.ndarray:
    """How many of its views each example lacks, in part or as a whole, (N,)."""
    length = len(arrays_in(views)[0])
    found = np.zeros(length, int)
    for one in views.values():
        if isinstance(one, Masked):
            found += np.asarray(one.there).reshape(length, -1).min(axis=1) == 0
    return found
