"""Kinds of options that take several words: a name with values, and a command line of another command."""

from typing import Any

from bicoder.runs.options.kinds import Kind


class Words(Kind):
    """A name and one or more values, such as `--vary seed 0 1 2`; the option may come several times."""

    expected = "a name and one or more values"
    metavars = ("NAME", "VALUE")

    def fits(self, value: object) -> bool:
        return isinstance(value, list) and all(isinstance(words, list) and len(words) > 1 for words in value)

    def value(self, found: Any) -> tuple[tuple[str, ...], ...]:
        return tuple(map(tuple, found))


class Rest(Kind):
    """Whatever comes after `--`, as it is: the options of another command."""

    expected = "-- and options"

    def fits(self, value: object) -> bool:
        return isinstance(value, list)

    def value(self, found: Any) -> tuple[str, ...]:
        return tuple(found)
