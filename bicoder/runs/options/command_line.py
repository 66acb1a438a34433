"""The command that trains a run again."""

import dataclasses
import shlex
from collections.abc import Mapping
from typing import Any

from bicoder.runs.options.kinds import Flag, Switches
from bicoder.runs.options.table import Options


def command_line(arguments: Mapping[str, Any]) -> str:
    """`bicoder train` with the arguments of a config.json, as a shell takes it, without those that say nothing new.

    Args:
        arguments: name -> value of JSON.
    """
    said = {
        name: arguments.get(name)
        for name, entry in Options.table().items()
        if entry.repeated and arguments.get(name) not in usual(name, arguments)
    }
    return shlex.join(["bicoder", "train", *words_of(said)])


def words_of(values: Mapping[str, Any]) -> list[str]:
    """The options of `train` that have these values, as somebody types them; None and false are not said.

    Args:
        values: name -> value, of JSON or as `Options` has it.
    """
    words: list[str] = []
    for name, entry in Options.table().items():
        value = values.get(name)
        if value is None or value is False:
            continue
        if isinstance(entry.kind, Switches):
            words += [f"--{switch}" for switch in value]
        else:
            words += [f"--{name}"] if isinstance(entry.kind, Flag) else [f"--{name}", entry.kind.typed(value)]
    return words


def usual(name: str, arguments: Mapping[str, Any]) -> list[Any]:
    """The values of an option that need not be said: its default, and what `settled` makes of that."""
    fields = {field.name: field for field in dataclasses.fields(Options)}
    default = fields[name].default_factory if fields[name].default is dataclasses.MISSING else fields[name].default
    found: list[Any] = [default() if callable(default) else default]
    if name == "validation" and arguments.get("weights") != "best" and not arguments.get("patience"):
        found.append(0.0)
    if name == "split_seed":
        found.append(arguments.get("seed", 0))
    if name == "pictures":
        kind: Any = Options.table()[name].kind
        found.append(list(kind.switches))
    return found
