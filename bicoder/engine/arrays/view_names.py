"""What views are called, and whether something is given for each of them; nothing large is imported for it."""

from typing import Any

MOST_VIEWS = 10  # all sets of them are 1,023
# A dict with one of these keys is the config of a part.
OF_PARTS = {"name", "class_name"}


def is_view_name(name: Any) -> bool:
    """Whether a view may be called so."""
    return isinstance(name, str) and name != "" and name not in OF_PARTS


def is_of_views(value: Any) -> bool:
    """Whether a value is a dict of one for each view, and not that of a part."""
    return isinstance(value, dict) and not OF_PARTS & set(value)
