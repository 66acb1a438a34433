"""What parts return is looked at once, while a step is traced: a part of one's own that forgets a sum still runs."""

from typing import Any

from bicoder.distributions import Distribution
from bicoder.errors import UsageError


def check_tensor(part: Any, method: str, value: Any, shape: tuple[int | None, ...], meaning: str) -> None:
    """`UsageError` if a method of a part has returned no tensor of this shape.

    Args:
        part: a `Component`.
        method: its name.
        value: what it has returned.
        shape: that it should have; None for a size that is not known yet.
        meaning: of its axes, in words.
    """
    received = tuple(value.shape) if hasattr(value, "shape") else type(value).__name__
    fits = hasattr(value, "shape") and len(received) == len(shape)
    if not fits or any(a != b for a, b in zip(received, shape, strict=True) if None not in (a, b)):
        raise UsageError(f"{name_of(part)}: {method}: expected a tensor {meaning}, {shape}, received {received}")


def check_distribution(part: Any, method: str, value: Any) -> None:
    """`UsageError` if a method of a part has returned no `Distribution`."""
    if not isinstance(value, Distribution):
        raise UsageError(f"{name_of(part)}: {method}: expected a Distribution, received {type(value).__name__}")


def name_of(part: Any) -> str:
    """A part as messages call it."""
    return f"{part.family().__name__.lower()} {part.part_name()}"
