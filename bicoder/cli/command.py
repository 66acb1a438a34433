"""Commands: each is one function with its options, and is found by itself."""

import importlib
import inspect
import pkgutil
import typing
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from bicoder.runs.options.option import CommandOptions

Function = TypeVar("Function", bound=Callable[[Any], None])


class Command(NamedTuple):
    """A command as the parser needs it."""

    name: str
    run: Callable[[Any], None]
    options: type[CommandOptions]
    summary: str
    details: str  # what --help says at its end


FOUND: dict[str, Command] = {}


def command(function: Function) -> Function:
    """Make a command of a function: of its name, of its docstring, and of the options that its parameter is of."""
    hints = typing.get_type_hints(function)
    options = hints[next(iter(inspect.signature(function).parameters))]
    summary, _, details = (inspect.getdoc(function) or "").partition("\n")
    name = function.__name__
    FOUND[name] = Command(name, function, options, summary, details.strip())
    return function


def commands(name: str | None = None) -> dict[str, Command]:
    """name -> `Command`, of the files of `bicoder.cli.commands`, or of the one of a name, and of what was imported."""
    from bicoder.cli import commands as folder

    for module in pkgutil.walk_packages(folder.__path__, f"{folder.__name__}."):
        if name in (None, module.name.rpartition(".")[2]):
            importlib.import_module(module.name)
    return dict(sorted(FOUND.items()))
