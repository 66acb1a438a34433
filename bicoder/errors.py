"""Every error the package raises on purpose: one line for people, one exit code for programs."""

import difflib
import math
import numbers
import re
from collections.abc import Iterable
from typing import Any


def printable(text: str) -> str:
    """A text in one line that a terminal shows as it stands: line breaks and control characters are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def decodable(text: Any) -> str:
    """A text, such as the name of a file, as letters of Unicode; bytes that are none are replaced."""
    return str(text).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def without_frame(text: str) -> str:
    """What Keras has put in bold between words of its own, or the text as it is."""
    bold = re.search(r"\x1b\[1m(.*)\x1b\[0m", text, re.DOTALL)
    return bold[1] if bold else text


def first_line(error: BaseException) -> str:
    """The first line of what an error of others' code says."""
    return (without_frame(str(error)).splitlines() or [""])[0][:300]


class BicoderError(Exception):
    """Root of the package's own errors; `exit_code` is what the commands end with."""

    exit_code = 1

    def __str__(self) -> str:
        """One line that a terminal shows as it stands: what a path or a file put into it is escaped."""
        return printable(without_frame(super().__str__()))


class UsageError(BicoderError, ValueError):
    """An argument that cannot be used: unknown name, wrong type, out of range."""

    exit_code = 2


class DataError(BicoderError, ValueError):
    """Data that cannot be used: missing, damaged, of the wrong shape or outside the range."""

    exit_code = 3


class DownloadError(BicoderError, OSError):
    """A file that could not be fetched."""

    exit_code = 4


class ModelError(BicoderError, ValueError):
    """A saved model that does not fit what was asked for."""

    exit_code = 5


class NumericError(BicoderError, ArithmeticError):
    """A loss that is no longer a number."""

    exit_code = 6


class HostError(BicoderError, ConnectionError):
    """Another host of a training that is gone, or that never came."""

    exit_code = 7


def suggestion(received: Any, choices: Iterable[str]) -> str:
    """ "; did you mean 'x'?" if one of `choices` is close to `received`, else "" (both are strings)."""
    close = difflib.get_close_matches(str(received), list(choices), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


LEAST, MOST = 2.0**-126, 2.0**128 - 2.0**104  # sizes of numbers in float32; what is smaller vanishes
# A number beyond these is a slip of the pen: it would fill the memory before anybody could say so.
MOST_UNITS = 2**16  # of one layer
MOST_DIMENSIONS = 2**14  # of z
MOST_BLOCKS = 128  # of a residual network, each of several layers
MOST_REPEATS = 256  # layers, blocks or steps of one kind
MOST_SAMPLES = 100_000  # of z for every image
MOST_RUNS = 1000  # of a sweep
MOST_IN_A_GRID = 10_000  # images, each nine pixels wide or more


def check_count(name: str, value: Any, most: int = 2**31 - 1, least: int = 1) -> int:
    """`value` if it is a whole number from `least` to `most`, else `UsageError`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or int(value) < least:
        expected = "a positive whole number" if least == 1 else f"a whole number from {least}"
        raise UsageError(f"{name}: expected {expected}, received {value!r}")
    if int(value) > most:
        raise UsageError(f"{name}: expected at most {most:,}, received {value:,}")
    return int(value)


def beyond(value: float) -> str:
    """ "" if float32, in which all is computed, holds a number; else what it holds, to end a message with."""
    fits = value == 0 or value != value or LEAST <= abs(value) <= MOST  # NaN is refused for itself
    return "" if fits else f"; float32 holds sizes from {LEAST:.2g} to {MOST:.2g}"


def counted(number: int, noun: str) -> str:
    """ "1 image", "5,000 images": a number with its noun, whose plural ends with an s."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def check_seed(seed: Any, name: str = "seed") -> int | None:
    """`seed` if it is None or a whole number that every generator takes, else `UsageError`."""
    if seed is None:
        return None
    if isinstance(seed, bool) or not isinstance(seed, numbers.Integral) or not 0 <= int(seed) < 2**31:
        raise UsageError(f"{name}: expected a whole number from 0 to 2147483647, received {seed!r}")
    return int(seed)


def check_number(name: str, value: float, least: float = 0.0) -> float:
    """`value` as a float, if it is a finite number from `least`."""
    hint = beyond(value) if isinstance(value, (int, float)) else ""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value < math.inf or hint:
        raise UsageError(f"{name}: expected a number from {least:g}, received {value!r}{hint}")
    return float(value)
