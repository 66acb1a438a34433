"""One entry of a table of options, and what every command can be told."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

from bicoder.runs.options.kinds import Flag, Kind


class Option(NamedTuple):
    """The entry of an option."""

    kind: Kind
    meaning: str
    otherwise: str | None  # what is done without it, in words
    group: str | None  # title in --help
    resume: bool  # whether it may change when a run goes on
    more: bool  # whether it may become more when a run goes on
    data: bool  # whether `evaluate` needs it to find the data of a run
    kept: bool  # whether config.json has it
    repeated: bool  # whether --config takes it
    may_be_null: bool  # whether config.json may say null
    positional: bool  # whether it is given by its place, without its name


def option(
    kind: Kind,
    default: Any,
    meaning: str,
    otherwise: str | None = None,
    *,
    group: str | None = None,
    resume: bool = False,
    more: bool = False,
    data: bool = False,
    kept: bool = True,
    repeated: bool = True,
    positional: bool = False,
) -> Any:
    """The field of an option; with the default None it may be null in config.json, and with ... it must be given.

    Args:
        kind: of its values.
        default: its value, of JSON.
        meaning: what it is for.
        otherwise: what is done without it, in words; None to show the default.
        group, resume, more, data, kept, repeated, positional: as `Option` has them; what must be given is positional.
    """
    shown = default["name"] if isinstance(default, dict) else default
    otherwise = str(shown) if otherwise is None and shown not in (None, ...) else otherwise
    entry = {
        "option": Option(
            kind,
            meaning,
            otherwise,
            group,
            resume,
            more,
            data,
            kept,
            repeated,
            default is None,
            positional or default is ...,
        )
    }
    if isinstance(default, dict):
        return dataclasses.field(default_factory=lambda: dict(default), metadata=entry)
    return dataclasses.field(metadata=entry) if default is ... else dataclasses.field(default=default, metadata=entry)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CommandOptions:
    """What every command can be told.

    Attributes:
        typed: names of the options that somebody typed; the others have their defaults. Of options that are made in
            Python, those that differ from their defaults.
    """

    debug: bool = option(Flag(), False, "show the traceback of an error", "one line", resume=True, repeated=False)
    typed: frozenset[str] = None  # type: ignore[assignment]  # until __post_init__

    def __post_init__(self) -> None:
        if self.typed is None:
            own = [f for f in dataclasses.fields(self) if "option" in f.metadata]
            defaults = {f.name: f.default_factory() if callable(f.default_factory) else f.default for f in own}
            typed = frozenset(name for name, default in defaults.items() if getattr(self, name) != default)
            object.__setattr__(self, "typed", typed)  # as `dataclasses` itself does in a frozen class

    @classmethod
    def table(cls) -> dict[str, Option]:
        """name -> `Option`, in the order of --help."""
        found = [
            f for base in reversed(cls.__mro__) if dataclasses.is_dataclass(base) for f in dataclasses.fields(base)
        ]
        return {f.name: f.metadata["option"] for f in found if "option" in f.metadata}

    @classmethod
    def values(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """What the options have as values, from what config.json says of them."""
        known = cls.table()
        return {name: None if v is None else known[name].kind.value(v) for name, v in arguments.items()}

    def arguments(self) -> dict[str, Any]:
        """What config.json says of the options."""
        found = {name: getattr(self, name) for name, entry in self.table().items() if entry.kept}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}
