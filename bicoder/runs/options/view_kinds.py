"""Kinds of values for data of several views: their names, and what may be given for each of them."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bicoder.engine.arrays.view_names import MOST_VIEWS, is_of_views, is_view_name
from bicoder.errors import UsageError
from bicoder.runs.options.kinds import Check, Choice, Kind, Number, Part, Text, check_part, refuse, shown

if TYPE_CHECKING:
    from bicoder.runs.options.table import Options


def of_views(check: Check) -> Check:
    """What `check` takes, or an object of one for each view."""

    def check_all(where: str, value: Any) -> None:
        if not is_of_views(value):
            return check(where, value)
        if not 0 < len(value) <= MOST_VIEWS or not all(map(str.isprintable, value)):
            refuse(where, f"1 to {MOST_VIEWS} views, whose names a terminal can show", value)
        for view, one in value.items():
            check(f"{where}.{shown(view)}", one)

    return check_all


class Views(Kind):
    """Names of views: m0,m1,m2."""

    metavar = "VIEW,VIEW,..."
    least = 2
    expected = f"a list of 2 to {MOST_VIEWS} names of views, each once, none of them name or class_name"

    def parse(self, text: str) -> Any:
        return text.split(",")

    def fits(self, value: object) -> bool:
        if type(value) is not list or not self.least <= len(value) <= MOST_VIEWS:
            return False
        names = {name for name in value if is_view_name(name) and len(name) <= 200 and name.isprintable()}
        return len(names) == len(value)

    def typed(self, value: Any) -> str:
        return ",".join(value)

    def value(self, found: Any) -> tuple[str, ...]:
        return tuple(found)


class SomeViews(Views):
    """Names of some views: m0, or m0,m1."""

    expected = f"a list of 1 to {MOST_VIEWS} names of views, each once"
    least = 1


class GivenViews(Kind):
    """Views, each with a file or a folder, or without one: m0,m1 or m0=photo.png,m1=others/."""

    metavar = "VIEW[=PATH],..."
    expected = "names of views, each once, either all or none of them with a path"

    def parse(self, text: str) -> Any:
        pairs = [one.partition("=") for one in text.split(",")]
        # After the = a shell leaves ~ as it is.
        found = {view: Text().parse(path) or "" if equals else None for view, equals, path in pairs}
        return found if len(found) == len(pairs) else None

    def fits(self, value: object) -> bool:
        if type(value) is not dict or not 0 < len(value) <= MOST_VIEWS or "" in value:
            return False
        paths = list(value.values())
        return not any(paths) if None in paths else all(paths)


class ViewWeights(Kind):
    """`size`, or a weight of each view: m0=1,m1=0.5."""

    metavar = "size|VIEW=X,..."
    expected = "size, or an object of a number from 0 for each view"

    def parse(self, text: str) -> Any:
        if text == "size":
            return text
        try:
            return {view: float(number) for view, number in (one.split("=") for one in text.split(","))}
        except ValueError:
            return None

    def fits(self, value: object) -> bool:
        weight = Number("a number from 0", 0.0)
        return value == "size" or (
            type(value) is dict and 0 < len(value) <= MOST_VIEWS and all(weight.fits(one) for one in value.values())
        )

    def typed(self, value: Any) -> str:
        return typed_of_views(value, str)


def typed_of_views(value: Any, typed: Callable[[Any], str]) -> str:
    """VIEW=VALUE,VIEW=VALUE for a dict of one for each view, else the text of the one for all."""
    if not is_of_views(value):
        return typed(value)
    return ",".join(f"{view}={typed(one)}" for view, one in value.items())


class ChoiceOfViews(Choice):
    """One of some names for all views, or VIEW=NAME,... for some of them."""

    def __init__(self, *names: str) -> None:
        super().__init__(*names)
        self.expected += ", or one of them for some views"
        self.metavar = f"{'|'.join(names)}|VIEW=NAME,..."

    def parse(self, text: str) -> Any:
        pairs = [one.partition("=") for one in text.split(",")]
        found = {view: name for view, _, name in pairs}
        return text if "=" not in text else found if len(found) == len(pairs) else None

    def fits(self, value: object) -> bool:
        if not is_of_views(value):
            return super().fits(value)
        names = value.values() if isinstance(value, dict) else ()
        return 0 < len(names) <= MOST_VIEWS and all(super(ChoiceOfViews, self).fits(name) for name in names)

    def typed(self, value: Any) -> str:
        return typed_of_views(value, str)


class PartOfViews(Part):
    """A part of the model for all views, or VIEW=NAME,VIEW=NAME:argument=value of one for each."""

    metavar = "NAME|VIEW=NAME,..."

    def fits(self, value: Any) -> bool:
        if is_of_views(value):
            return all(super(PartOfViews, self).fits(one) for one in value.values())
        return super().fits(value)

    def check(self, where: str, value: object) -> None:
        of_views(check_part)(where, value)

    def typed(self, value: dict[str, Any]) -> str:
        return typed_of_views(value, super().typed)

    def read(self, text: str) -> dict[str, Any]:
        # A comma ends a view if a view and the name of a part follow: else it stands between arguments.
        views = re.split(rf",(?=[^,=:]+=(?:{'|'.join(map(re.escape, self.names))})(?:[,:]|$))", text)
        if "=" not in views[0].partition(":")[0]:
            if len(views) > 1:
                raise ValueError(f"expected VIEW=NAME for each view, received {views[0]!r}")
            return super().read(text)
        found = {}
        for one in views:
            view, _, part = one.partition("=")
            if view in found:
                raise ValueError(f"expected each view once, received {view!r} twice")
            found[view] = super().read(part)
        return found


def check_several(options: "Options") -> None:
    """`UsageError` if something is given of several views, and there are none, or for a view that there is not."""
    if options.views is None:
        for name in ("fusion", "view_weights"):
            if name in options.typed:
                raise UsageError(f"{name}: expected it with --views, received it without; leave it out, or add them")
    for name in ("network", "likelihood", "view_weights", "binarize"):
        value, views = getattr(options, name), options.views or ()
        if not is_of_views(value):
            continue
        if unknown := [view for view in value if view not in views]:
            known = f"those of --views, {', '.join(views)}" if views else "one for all, since there are no --views"
            raise UsageError(f"{name}: expected {known}, received {', '.join(unknown)}")
        if name in ("network", "likelihood") and (left := [view for view in views if view not in value]):
            raise UsageError(f"{name}: expected one for each view, received none for {', '.join(left)}")
