"""Kinds of values: each reads an option from a text, and checks what config.json says of it."""

import abc
import functools
import json
import math
import os
import reprlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, TypeAlias

from bicoder.component import names_in_source, parsed
from bicoder.errors import beyond, suggestion

Check: TypeAlias = Callable[[str, Any], None]  # (where, value): `ValueError` that begins with `where`


def shown(value: object) -> str:
    """A value of any size and content, short and without line breaks."""
    return reprlib.repr(value)


def refuse(where: str, expected: str, value: object, hint: str = "") -> NoReturn:
    """`ValueError` in one line that begins with `where`."""
    raise ValueError(f"{where}: expected {expected}, received {shown(value)}{hint}")


class Kind(abc.ABC):
    """A kind of values: `read` takes a text that somebody typed, `check` a value of JSON that may come from anyone.

    Attributes:
        expected: what a value must be, in words.
        metavar: how `--help` shows a value.
        names: of which a value is one, if `--help` lists them.
    """

    expected: str
    metavar: str | None = None
    names: Sequence[str] = ()

    @abc.abstractmethod
    def fits(self, value: object) -> bool:
        """Whether `value`, of JSON, is of this kind."""

    def parse(self, text: str) -> Any:
        """The value of JSON that a text stands for, or None; it need not fit."""
        return text

    def hint(self, text: str) -> str:
        """What may have been meant by a text that does not fit."""
        return ""

    def value(self, found: Any) -> Any:
        """What a program is given in place of a value of JSON."""
        return found

    def typed(self, value: Any) -> str:
        """The text that stands for a value of JSON: what `read` takes."""
        return str(value)

    def read(self, text: str) -> Any:
        """The value of a text; `ValueError` if it is not of this kind."""
        found = self.parse(text)
        if not self.fits(found):
            raise ValueError(f"expected {self.expected}, received {text!r}{self.hint(text)}")
        return self.value(found)

    def check(self, where: str, value: object) -> None:
        """`ValueError`, beginning with `where`, if `value` is not of this kind."""
        if not self.fits(value):
            refuse(where, self.expected, value, self.hint(value[:80]) if isinstance(value, str) else "")


class Flag(Kind):
    """True or false; on the command line, an option without a value."""

    expected = "true or false"

    def fits(self, value: object) -> bool:
        return type(value) is bool


class Text(Kind):
    """Any text of a bounded length: a name, a path, an address; a `~` that the shell left, after `=`, is the home."""

    expected = "a text"

    def __init__(self, metavar: str | None = None) -> None:
        self.metavar = metavar

    def parse(self, text: str) -> str | None:
        if text == "~" or text.startswith("~/"):
            return os.path.expanduser(text)  # noqa: PTH111 - the other one raises where nobody has a home
        return text or None  # what a shell makes of a variable that is not set; it names no folder

    def fits(self, value: object) -> bool:
        return isinstance(value, str) and len(value) <= 4096 and "\0" not in value


class Several(Kind):
    """One or more values of a kind, one after the other.

    Args:
        each: the kind of each of them.
    """

    def __init__(self, each: Kind) -> None:
        self.each, self.expected, self.metavar = each, f"a list, of each {each.expected}", each.metavar

    def fits(self, value: object) -> bool:
        return isinstance(value, list) and len(value) > 0 and all(map(self.each.fits, value))

    def value(self, found: Any) -> tuple[Any, ...]:
        return tuple(found)


class Whole(Kind):
    """A whole number from `least` to `most`; in JSON neither true nor "20" nor 20.0 is one."""

    metavar = "N"

    def __init__(self, least: int, most: int = 2**31 - 1, metavar: str = "N") -> None:
        self.least, self.most, self.metavar = least, most, metavar
        self.expected = f"a whole number from {least} to {most}"

    def parse(self, text: str) -> Any:
        digits = text.removeprefix("+")
        return int(digits) if digits.isdecimal() and len(digits) <= 20 else None

    def fits(self, value: object) -> bool:
        return type(value) is int and self.least <= value <= self.most


class Number(Kind):
    """A number from `least` to just below `below`; without them, a positive one."""

    metavar = "X"

    def __init__(
        self, expected: str = "a positive number", least: float = math.ulp(0.0), below: float = math.inf
    ) -> None:
        self.expected, self.least, self.below = expected, least, below

    def parse(self, text: str) -> Any:
        try:
            return float(text)
        except ValueError:
            return None

    def hint(self, text: str) -> str:
        return beyond(self.parse(text) or 0.0)

    def fits(self, value: object) -> bool:
        if not isinstance(value, (int, float)) or type(value) is bool:
            return False
        return self.least <= value < self.below and not beyond(value)


class Choice(Kind):
    """One of some names."""

    def __init__(self, *names: str) -> None:
        self.allowed, self.expected = names, " or ".join(names)
        self.metavar = "{" + ",".join(names) + "}"

    def hint(self, text: str) -> str:
        return suggestion(text, self.allowed)

    def fits(self, value: object) -> bool:
        return isinstance(value, str) and value in self.allowed


class AnyCase(Choice):
    """One of some names, which may be typed as `AdamW`, `adam_w` or `adamw`."""

    def __init__(self, *names: str) -> None:
        super().__init__(*names)
        self.metavar, self.names = "NAME", names

    def parse(self, text: str) -> str:
        return text.lower().replace("_", "")


class Switches(Kind):
    """Some of the names that a table has; on the command line, each is an option without a value.

    Args:
        find: function that gives the table, name -> help.
    """

    def __init__(self, find: Callable[[], Mapping[str, str]]) -> None:
        self.find = find

    @property
    def switches(self) -> Mapping[str, str]:
        """name -> help, of all that there are by now."""
        return self.find()

    @property
    def expected(self) -> str:  # type: ignore[override]  # it follows from what there is
        return f"a list of {', '.join(self.switches)}"

    def fits(self, value: object) -> bool:
        return type(value) is list and all(isinstance(name, str) and name in self.switches for name in value)

    def value(self, found: Any) -> tuple[str, ...]:
        return tuple(name for name in self.switches if name in found)


class Learned(Number):
    """A positive number, or the word that says that training finds it."""

    metavar = "X|learned"

    def __init__(self) -> None:
        super().__init__("a positive number or learned")

    def parse(self, text: str) -> Any:
        return text if text == "learned" else super().parse(text)

    def hint(self, text: str) -> str:
        return suggestion(text, ["learned"]) or super().hint(text)

    def fits(self, value: object) -> bool:
        return value == "learned" or super().fits(value)


class AllOrSome(Whole):
    """A positive whole number, or the word for as many as there are."""

    metavar = "all|N"

    def __init__(self) -> None:
        super().__init__(1)
        self.expected = f"all or {self.expected}"

    def parse(self, text: str) -> Any:
        return text if text == "all" else super().parse(text)

    def hint(self, text: str) -> str:
        return suggestion(text, ["all"]) or super().hint(text)

    def fits(self, value: object) -> bool:
        return value == "all" or super().fits(value)


class Sizes(Kind):
    """A list of `least` to `most` positive whole numbers whose product is at most `largest`."""

    def __init__(self, least: int, most: int, largest: int) -> None:
        self.least, self.most, self.largest = least, most, largest
        self.expected = f"a list of {least} to {most} sizes" if least < most else f"a list of {least} sizes"

    def fits(self, value: object) -> bool:
        return type(value) is list and self.least <= len(value) <= self.most

    def check(self, where: str, value: Any) -> None:
        super().check(where, value)
        for i, size in enumerate(value):
            Whole(1, self.largest).check(f"{where}[{i}]", size)
        if math.prod(value) > self.largest:
            refuse(where, f"a product of at most {self.largest:,}", value)


class ImageSize(Sizes):
    """Height and width: 64 or 64x48."""

    metavar = "N|HxW"

    def __init__(self, side: int = 4096) -> None:
        super().__init__(2, 2, side * side)
        self.side = side

    def read(self, text: str) -> tuple[int, int]:
        sides = text.lower().split("x")
        if len(sides) > 2 or not all(side.isdecimal() and 1 <= int(side[:9]) <= self.side for side in sides):
            raise ValueError(f"expected 64 or 64x48 (height x width, up to {self.side}), received {text!r}")
        return int(sides[0]), int(sides[-1])

    def typed(self, value: Any) -> str:
        return "x".join(map(str, value))

    def value(self, found: Any) -> tuple[int, int]:
        return found[0], found[1]


class Part(Kind):
    """A part of the model: NAME or NAME:argument=value,argument=value; in JSON, an object with the name.

    Whether there is a part of that name, and what arguments it takes, is known to its family: `Component.get` says so.

    Args:
        module: file name of the family, such as "networks.py", or of all files that have members of it.
        family: name of its root class.
        more: names that stand for a choice among the members.
        without: names of members that a terminal has no use for.
    """

    expected = 'an object with the "name" of a part'
    metavar = "NAME"

    def __init__(self, module: str | Sequence[str], family: str, *more: str, without: Sequence[str] = ()) -> None:
        self.modules, self.family, self.more = [module] if isinstance(module, str) else module, family, more
        self.without = without

    @functools.cached_property
    def names(self) -> Sequence[str]:  # type: ignore[override]  # read from the source when somebody asks
        found = [name for module in self.modules for name in names_in_source(module, self.family)]
        return [*self.more, *(name for name in found if name not in self.without)]

    def fits(self, value: object) -> bool:
        return isinstance(value, dict) and isinstance(value.get("name"), str)

    def check(self, where: str, value: object) -> None:
        check_part(where, value)

    def read(self, text: str) -> dict[str, Any]:
        name = text.partition(":")[0]
        if name not in self.names:
            hint = suggestion(name, self.names)
            raise ValueError(f"expected one of {', '.join(self.names)}, received {name!r}{hint}")
        config = parsed(text)
        self.check(name, config)
        return config

    def typed(self, value: dict[str, Any]) -> str:
        given = [
            f"{name}={one if isinstance(one, str) else json.dumps(one, separators=(',', ':'))}"
            for name, one in value.items()
            if name != "name"
        ]
        return f"{value['name']}:{','.join(given)}" if given else value["name"]


def check_part(where: str, value: object, checks: Mapping[str, Check] | None = None, depth: int = 2) -> None:
    """`ValueError` if `value` is not a name with arguments that are plain values or parts themselves.

    Args:
        where: what the message begins with.
        value: of JSON.
        checks: argument -> its check, of those that are known.
        depth: how many levels of parts within parts there may be.
    """
    if isinstance(value, dict) and "class_name" in value:
        raise ValueError(
            f"{where}: has a network of somebody's own, which is loaded from no run; build its VAE yourself, and "
            "call load_weights"
        )
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        refuse(where, Part.expected, value)
    for key, item in value.items():
        here = f"{where}.{key[:80]}" if key.isidentifier() else f"{where}.{shown(key)}"
        if checks and key in checks:
            checks[key](here, item)
        elif type(item) is dict and depth:
            check_part(here, item, depth=depth - 1)
        else:
            check_plain(here, item)


def check_plain(where: str, value: object) -> None:
    """A number, a name, true, false, null or a short list of them; a number in quotes is none of these."""
    if isinstance(value, list) and len(value) <= 1000:
        for i, item in enumerate(value):
            if type(item) is list:
                refuse(f"{where}[{i}]", "a number or a name", item)
            check_plain(f"{where}[{i}]", item)
    elif not (value is None or isinstance(value, (int, float)) or (isinstance(value, str) and value.isidentifier())):
        refuse(where, "a number or a name", value)
