"""The command line: arguments in, an exit code out. TensorFlow is imported only when there is something to train."""

import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

from bicoder import __version__
from bicoder.cli.command import Command, commands
from bicoder.cli.environment import of_stream, prepare, standard_streams
from bicoder.cli.parser import Parser, parse
from bicoder.errors import BicoderError, UsageError, printable


def main(argv: Sequence[str] | None = None, prog: str = "train_vae") -> int:
    """`train_vae`, which is `bicoder train`; returns its exit code.

    0; 2 usage, 3 data, 4 network, 5 model, 6 numeric, 7 hosts; 129, 130 and 143 for signals, 141 if nobody reads the
    output.
    """
    return run(commands("train")["train"], argv, prog)


def bicoder(argv: Sequence[str] | None = None) -> int:
    """`bicoder COMMAND`; returns its exit code, see `main`."""
    argv = sys.argv[1:] if argv is None else list(argv)
    if argv and (found := commands(argv[0]).get(argv[0])):
        return run(found, argv[1:], f"bicoder {argv[0]}")
    with standard_streams():
        listing = Parser(
            prog="bicoder", description="Train, evaluate and use variational autoencoders.", allow_abbrev=False
        )
        listing.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
        listed = listing.add_subparsers(required=True, metavar="COMMAND")
        for name, command in commands().items():
            listed.add_parser(name, help=command.summary.replace("%", "%%"), add_help=False)
        listing.parse_args(argv)
        listing.error("expected a command first")


def run(command: Command, argv: Sequence[str] | None, prog: str) -> int:
    """Run a command with its arguments."""
    with standard_streams():
        options = parse(command, argv, prog)
        return guarded(command.run, options, prog)


def guarded(function: Callable[[Any], None], options: Any, prog: str) -> int:
    """Run `function(options)`; an error becomes one line and an exit code."""
    try:
        prepare(getattr(options, "backend", None))
        function(options)
    except BicoderError as error:
        if options.debug:
            raise
        print(f"{prog}: error: {one_line(error)}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"\n{prog}: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if options.debug or of_stream(error):  # the latter for `standard_streams`
            raise
        if lacks_memory(error):
            print(f"{prog}: error: {too_large(error)}", file=sys.stderr)
            return UsageError.exit_code
        print(f"{prog}: error: {type(error).__name__}: {one_line(error)}; --debug shows where", file=sys.stderr)
        return 1
    return 0


def lacks_memory(error: Exception) -> bool:
    """Whether Python, NumPy or TensorFlow, which nobody may have imported, found no room for an array."""
    return isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"


def too_large(error: Exception) -> str:
    """What to do about `lacks_memory`, in one line, with the array that did not fit if the error says so."""
    shape = re.search(r"shape ?[\[(]([\d, ]+)", str(error))
    array = f"an array of shape ({shape[1]})" if shape else "an array"
    return f"memory: there is too little for {array}; take a smaller network, batch or number of samples"


def one_line(error: Exception) -> str:
    """The message of an error, which may name a file that has a line break in its name."""
    return printable(" ".join(str(error).splitlines()))
