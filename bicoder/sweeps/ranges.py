"""What a search looks through: a range of an option, or some values of it."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from bicoder.comparison.settings import SETTINGS
from bicoder.errors import UsageError, suggestion
from bicoder.runs.options.kinds import Number, Whole
from bicoder.runs.options.table import MODEL, TRAINING, Options
from bicoder.sweeps.combinations import VARIED, check_name, read, values_of

WIDE = 100.0  # from so many times as much on, a range is looked through by its logarithm
# Bounds of different data, likelihoods or conditions measure different things, and a seed is nothing to be good at.
UNLIKE = ("likelihood", "condition", "view_weights", "init", "seed")
SEARCHED = {name: VARIED[name] for name in VARIED if SETTINGS[name].group in (MODEL, TRAINING) and name not in UNLIKE}


class Range(NamedTuple):
    """Numbers from `low` to `high`, both included, whole or not; `log` if each factor counts the same."""

    low: int | float
    high: int | float
    log: bool

    def text_of(self, value: int | float) -> str:
        """A number in it as one types it; four digits are enough to train with."""
        return str(value) if isinstance(self.low, int) else str(min(max(float(f"{value:.4g}"), self.low), self.high))


Space: TypeAlias = dict[str, Range | list[str]]


def space_of(search: Sequence[Sequence[str]], base: Options) -> Space:
    """option -> what of it is looked through.

    Args:
        search: for each option its name, and LOW..HIGH or several values, as they were typed.
        base: the options that all runs share.
    Raises:
        UsageError: an option cannot be searched for, or something is no range.
    """
    found: Space = {}
    for typed, *words in search:
        name = typed.removeprefix("--")
        if name not in SEARCHED:
            raise UsageError(
                f"search: expected an option of train that leaves the bounds comparable, received {name!r}"
                f"{suggestion(name, SEARCHED)}"
            )
        check_name("search", name, [*found], base)
        found[name] = range_of(name, words[0]) if len(words) == 1 else sorted(values_of("search", name, words))
    return dict(sorted(found.items()))  # whatever the order in which it was typed, the samples are the same


def range_of(name: str, text: str) -> Range:
    """The range that LOW..HIGH stands for."""
    low, dots, high = text.partition("..")
    if not dots or not isinstance(SEARCHED[name], (Number, Whole)):
        what = "LOW..HIGH or several values" if isinstance(SEARCHED[name], (Number, Whole)) else "several values"
        raise UsageError(f"search {name}: expected {what}, received {text!r}")
    ends = [read("search", name, end) for end in (low, high)]
    if isinstance(ends[0], str) or isinstance(ends[1], str) or ends[0] >= ends[1]:
        raise UsageError(f"search {name}: expected LOW..HIGH, the lower number first, received {text!r}")
    return Range(ends[0], ends[1], ends[0] > 0 and ends[1] / ends[0] >= WIDE)


def words_of_space(space: Mapping[str, Any]) -> dict[str, list[str]]:
    """What is looked through, as sweep.json has it."""
    return {name: [f"{one.low}..{one.high}"] if isinstance(one, Range) else one for name, one in space.items()}


def said_of_space(space: Mapping[str, Any]) -> str:
    """What is looked through, in words."""
    found = []
    for name, one in space.items():
        if isinstance(one, Range):
            found.append(f"{name} from {one.low} to {one.high}{' on a log scale' if one.log else ''}")
        else:
            found.append(f"{name} {' or '.join(one)}")
    return ", ".join(found)


def first_of(space: Mapping[str, Any]) -> dict[str, Any]:
    """Some values of what is looked through, as `Options` has them."""
    texts = {name: one.text_of(one.low) if isinstance(one, Range) else one[0] for name, one in space.items()}
    return {name: read("search", name, text) for name, text in texts.items()}
