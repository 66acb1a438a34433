"""The rows of a comparison: runs, or groups of runs that differ in nothing but the seed."""

import dataclasses
import re
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

from bicoder.comparison.reading import Run
from bicoder.comparison.settings import as_text, key_of_group


class Number(NamedTuple):
    """A number and its error: of a run the standard error, of a group the standard deviation over its runs."""

    value: float
    error: float | None = None


@dataclasses.dataclass(frozen=True)
class Row:
    """A run, or a group of runs.

    Attributes:
        name: what it is called.
        runs: of the row.
        settings: that its runs share, and of a single run all.
        grouped: whether it is a group.
    """

    name: str
    runs: tuple[Run, ...]
    settings: dict[str, Any]
    grouped: bool

    @property
    def counted(self) -> list[Run]:
        """The runs whose numbers count: those that were evaluated; if none was, all."""
        return [run for run in self.runs if run.evaluation] or list(self.runs)

    @property
    def evaluated(self) -> bool:
        """Whether at least one of its runs has been evaluated."""
        return any(run.evaluation for run in self.runs)

    def number(self, name: str) -> Number | None:
        """A number of the row by its name, or None if not all of its runs that count have it."""
        values = [run.numbers[name] for run in self.counted if name in run.numbers]
        if len(values) < len(self.counted):
            return None
        if not self.grouped:
            return Number(values[0], self.runs[0].numbers.get("nll_standard_error") if name == "nll" else None)
        return Number(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)

    def said(self, what: str) -> str:
        """What its runs that count say of themselves, each answer once: `sigma`, `source` or `measures`."""
        return "; ".join(dict.fromkeys(getattr(run, what) for run in self.counted if getattr(run, what)))

    @property
    def sigma(self) -> str:
        """The sigma of its runs in words; of a group that learned one each, their mean and standard deviation."""
        learned = [re.fullmatch(r"([\d.e+-]+), learned", run.sigma) for run in self.counted]
        values = [float(found[1]) for found in learned if found]
        if len(values) < max(2, len(learned)):
            return self.said("sigma")
        return f"{statistics.fmean(values):.4f} ± {statistics.stdev(values):.4f}, learned"

    @property
    def samples(self) -> tuple[int, ...]:
        """The K of its NLL, each once."""
        return tuple(sorted({int(run.evaluation.get("num_samples", 0)) for run in self.runs if run.evaluation}))


def rows_of(runs: Sequence[Run], grouped: bool) -> list[Row]:
    """A row for each run, or for each group of runs that differ in nothing but the seed.

    Args:
        runs: with the same data at one place.
        grouped: whether runs are put together.
    """
    if not grouped:
        return [Row(run.name, (run,), run.settings, False) for run in runs]
    found: dict[str, list[Run]] = {}
    for number, run in enumerate(runs):
        key = key_of_group(run.settings) if run.settings else f"run {number}"  # of one without arguments nobody knows
        found.setdefault(key, []).append(run)
    groups = [group for members in found.values() for group in by_split(members)]
    return [Row(", ".join(run.name for run in group), tuple(group), group[0].settings, True) for group in groups]


def by_split(members: list[Run]) -> list[list[Run]]:
    """Runs that differ in the seed and the seed of the split alone, as one group if the latter follows the former."""
    splits = {as_text(run.settings.get("split_seed")) for run in members}
    if len(splits) == 1 or all(run.settings["split_seed"] in (None, run.settings["seed"]) for run in members):
        return [members]
    return [[run for run in members if as_text(run.settings["split_seed"]) == split] for split in sorted(splits)]
