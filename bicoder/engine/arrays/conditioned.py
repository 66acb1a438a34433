"""Examples with what is known of each, such as its label: x of a model of log p(x|y). Keras is not needed for them."""

from typing import Any, NamedTuple


class Conditioned(NamedTuple):
    """Examples, or codes, of which a model is told y.

    Args:
        x: see `masked`; what is modelled.
        y: what is given, (batch, ...).
    """

    x: Any
    y: Any


def conditioned(x: Any, y: Any) -> Any:
    """x with y; x itself if there is none."""
    return x if y is None else Conditioned(x, y)


def parted(x: Any) -> tuple[Any, Any]:
    """x, and y or None."""
    return (x.x, x.y) if isinstance(x, Conditioned) else (x, None)
