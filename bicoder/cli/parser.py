"""The command line of a command: argparse, filled from the table of its options."""

import argparse
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from bicoder import __version__
from bicoder.cli.command import Command
from bicoder.errors import printable, suggestion
from bicoder.runs.options.kinds import Flag, Kind, Several, Switches
from bicoder.runs.options.option import Option
from bicoder.runs.options.table import DESCRIPTIONS
from bicoder.runs.options.word_kinds import Rest, Words


class Parser(argparse.ArgumentParser):
    """argparse, with an error of one line, and a hint if a name is nearly right."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        namespace, unknown = super().parse_known_args(args, namespace)
        if unknown:  # here, and not in parse_args: a command knows its own options
            options = [option for action in self._actions for option in action.option_strings]
            hint = suggestion(unknown[0].split("=")[0], options)
            self.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
        return namespace, unknown

    def _print_message(self, message: str, file: Any = None) -> None:
        """Print help, version or error; argparse's own way hides that nobody reads it, or that the disk is full."""
        print(message, end="", file=file)

    def error(self, message: str) -> NoReturn:
        if found := re.search(r"invalid choice: '(.*)' \(choose from (.*)\)", message):
            message += suggestion(found[1], re.findall(r"\w+", found[2]))
        self.exit(2, f"{self.prog}: error: {printable(message)} (see --help)\n")


def build_parser(command: Command, prog: str) -> Parser:
    """The parser of a command; what it returns has the options that were given, and no others."""
    parser = Parser(
        prog=prog,
        description=command.summary,
        epilog=command.details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    groups: dict[str | None, Any] = {None: parser}
    for name, entry in command.options.table().items():
        if entry.group not in groups:
            groups[entry.group] = parser.add_argument_group(entry.group, DESCRIPTIONS.get(entry.group or ""))
        add_option(groups[entry.group], name, entry)
    return parser


def add_option(group: Any, name: str, entry: Option) -> None:
    """One option, as its entry has it."""
    kind = entry.kind
    if isinstance(kind, Switches):
        for switch, meaning in kind.switches.items():
            group.add_argument(f"--{switch}", dest=name, action="append_const", const=switch, help=escaped(meaning))
    elif isinstance(kind, Flag):
        group.add_argument(f"--{name}", action="store_true", help=help_of(entry))
    elif isinstance(kind, Several):
        group.add_argument(name, type=reader(kind.each), metavar=kind.metavar, nargs="+", help=help_of(entry))
    elif isinstance(kind, Words):
        group.add_argument(f"--{name}", action="append", nargs="+", metavar=kind.metavars, help=help_of(entry))
    elif isinstance(kind, Rest):
        group.add_argument(name, metavar=f"-- {name.upper()}", nargs="*", help=help_of(entry))
    elif entry.positional:
        count = "?" if entry.may_be_null else None
        group.add_argument(name, type=reader(kind), metavar=name.upper(), nargs=count, help=help_of(entry))
    else:
        group.add_argument(f"--{name}", type=reader(kind), metavar=kind.metavar, help=help_of(entry))


def reader(kind: Kind) -> Callable[[str], Any]:
    """The `type` of argparse for a kind of values."""

    def read(text: str) -> Any:
        try:
            return kind.read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


def help_of(entry: Option) -> str:
    """What --help says of an option."""
    names = ", ".join(entry.kind.names)
    meaning = f"{entry.meaning}: {names}" if names else entry.meaning
    return escaped(meaning if entry.otherwise is None else f"{meaning} (default: {entry.otherwise})")


def escaped(text: str) -> str:
    """A text in which argparse fills nothing in."""
    return text.replace("%", "%%")


def parse(command: Command, argv: Sequence[str] | None, prog: str) -> Any:
    """The options of a command, from its arguments."""
    parser, table = build_parser(command, prog), command.options.table()
    words, rest = divided(sys.argv[1:] if argv is None else argv, table)
    given = vars(parser.parse_args(words))
    for name, value in given.items():
        if value == []:  # what argparse of some Pythons makes of it, and lets nobody check
            parser.error(f"argument --{name}: expected a value, received '--'")
    for name, value in given.items():
        kind = table[name].kind
        if isinstance(kind, Words) and (alone := [" ".join(words) for words in value if len(words) < 2]):
            parser.error(f"argument --{name}: expected {kind.expected}, received {alone[0]!r} alone")
        if isinstance(kind, Rest):
            parser.error(f"expected -- before {value[0]!r}, received none")
        if isinstance(kind, (Switches, Several, Words)):
            given[name] = kind.value(value)
    return command.options(**given, **rest, typed=frozenset(given))


def divided(argv: Sequence[str], table: Mapping[str, Option]) -> tuple[Sequence[str], dict[str, Any]]:
    """The words before the first `--` and, by the name of their option, those after it, if a command takes such."""
    names = [name for name, entry in table.items() if isinstance(entry.kind, Rest)]
    if not names or "--" not in argv:
        return argv, {}
    cut = list(argv).index("--")
    return argv[:cut], {names[0]: tuple(argv[cut + 1 :])}
