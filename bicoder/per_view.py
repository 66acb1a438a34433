"""Arguments that are one for all views of the data, or a dict with one for each."""

from collections.abc import Callable
from typing import Any

from bicoder.engine.arrays.inputs import numbers_of
from bicoder.engine.arrays.view_names import is_of_views
from bicoder.errors import UsageError, check_number

ViewWeights = dict[str, float] | str | None


def for_views(function: Callable[[Any], Any], value: Any) -> Any:
    """A function of what is given for all views, or of that of each view of a dict; the config of a part is no dict."""
    if is_of_views(value):
        return {view: function(one) for view, one in value.items()}
    return function(value)


def of_view(name: str, value: Any, view: str) -> Any:
    """What is given for one view, or for all of them."""
    if not isinstance(value, dict):
        return value
    if view not in value:
        raise UsageError(f"{name}: expected one for each view, received none for {view}, but for {', '.join(value)}")
    return value[view]


def check_names(arguments: dict[str, Any], views: dict[str, Any]) -> None:
    """`UsageError` if an argument that has something for each view names one that there is not."""
    for name, value in arguments.items():
        unknown = sorted(set(value) - set(views)) if isinstance(value, dict) else []
        if unknown:
            raise UsageError(f"{name}: expected the views {', '.join(views)}, received {', '.join(unknown)} too")


def check_view_weights(weights: Any) -> ViewWeights:
    """`weights` as `VAE` takes them."""
    if isinstance(weights, dict):
        return {view: check_number(f"view_weights[{view!r}]", weight) for view, weight in weights.items()}
    if weights not in (None, "size"):
        raise UsageError(f"view_weights: expected a dict view -> weight, 'size' or None, received {weights!r}")
    return weights


def weight_of(weights: ViewWeights, view: str, shape: Any) -> float:
    """How much log p(x_v|z) of a view counts in the objective.

    Args:
        weights: as `check_view_weights` returned them.
        view: its name.
        shape: of one example, or a dict view -> shape.
    """
    if weights == "size":
        return 1.0 / numbers_of(shape[view] if isinstance(shape, dict) else shape)
    return weights.get(view, 1.0) if isinstance(weights, dict) else 1.0
