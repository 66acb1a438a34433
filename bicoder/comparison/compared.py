"""The comparison of runs as a whole: its rows in their order, its columns, and what is said below."""

import dataclasses
import os
from collections.abc import Sequence
from typing import NamedTuple

from bicoder.comparison import ranking
from bicoder.comparison.reading import DENSITIES, Run, read_run
from bicoder.comparison.rows import Number, Row, rows_of
from bicoder.comparison.settings import RANDOM, as_text, differing, key_of_group, with_places
from bicoder.errors import UsageError


class Comparison(NamedTuple):
    """Rows, the best first if they are ranked.

    Args:
        rows: in the order in which they are shown.
        differing: names of the settings in which they differ.
        ranks: name of a row -> its rank; {} if they are not ranked.
        differences: name of a row -> its NLL minus that of the best.
        against: why they are not ranked.
        notes: what else is to be said.
        grouped: whether rows are groups.
    """

    rows: list[Row]
    differing: list[str]
    ranks: dict[str, int]
    differences: dict[str, Number]
    against: list[str]
    notes: list[str]
    grouped: bool


def compare(folders: Sequence[str], grouped: bool = False) -> Comparison:
    """Compare the runs in some folders.

    Args:
        folders: of the runs.
        grouped: whether runs that differ in nothing but the seed are one row.
    Raises:
        UsageError: a folder is named twice.
        ModelError: one holds no run.
    """
    runs = [read_run(folder, name) for folder, name in zip(folders, names_of(folders), strict=True)]
    settings = with_places([run.settings for run in runs], [run.data for run in runs])
    runs = [dataclasses.replace(run, settings=one) for run, one in zip(runs, settings, strict=True)]
    rows = rows_of(runs, grouped)
    found = differing([run.settings for run in runs])
    if grouped:  # in the seed they may differ within a row; in that of the split, if that makes rows of their own
        keys = [key_of_group(row.settings) for row in rows]
        within = ("seed",) if len(set(keys)) < len(keys) else RANDOM
        found = [name for name in found if name not in within]
    against = ranking.reasons_against(rows)
    with_nll = [] if against else [row for row in ranking.by_rank(rows) if row.number("nll")]
    apart, said = ranking.differences(with_nll)
    rows = rows if against else ranking.by_rank(rows)
    ranks = {row.name: number for number, row in enumerate(with_nll, 1)}
    return Comparison(rows, found, ranks, apart, against, notes_of(rows, bool(ranks), grouped) + said, grouped)


def names_of(folders: Sequence[str]) -> list[str]:
    """What runs are called: their folders' own names if these differ, else their paths."""
    places = [os.path.realpath(folder) for folder in folders]
    for folder, place in zip(folders, places, strict=True):
        if places.count(place) > 1:
            raise UsageError(f"runs: expected each run once, received {folder} more than once; leave one out")
    names = [os.path.basename(os.path.abspath(folder)) or folder for folder in folders]  # noqa: PTH100, PTH119
    return names if len(set(names)) == len(names) else list(folders)


def notes_of(rows: Sequence[Row], ranked: bool, grouped: bool) -> list[str]:
    """What is to be said about the numbers."""
    runs = [run for row in rows for run in row.runs]
    notes = [note for run in runs for note in notes_of_run(run)]
    if len({number for row in rows for number in row.samples}) > 1:
        notes.append(
            "The NLL is by different K, and fewer samples make it larger; evaluate with the same --num_samples"
        )
    if ranked and has_sigmas(rows):
        notes.append(
            "sigma differs: for 8-bit images a density grows without limit as sigma falls, so a lower NLL by a smaller "
            "sigma alone is no better model"
        )
    if grouped:
        notes.append(
            "Numbers are means over n runs that differ in nothing but the seed, ± their standard deviation; the error "
            "of a difference is that of the test images alone"
        )
        notes += [note for row in rows for note in notes_of_seeds(row)]
    return notes


def notes_of_run(run: Run) -> list[str]:
    """What is missing of a run, with what to do."""
    notes = []
    if not run.evaluation:
        last = (
            f", and its numbers are those of its training ({run.source})"
            if run.history
            else " and not trained, so it has no numbers"
        )
        notes.append(f"{run.name} has not been evaluated{last}; run: {ranking.evaluate_command(run)}")
    if not run.settings:
        notes.append(f"{run.name}: its config.json has lost its arguments, so its settings are not known")
    return notes


def notes_of_seeds(row: Row) -> list[str]:
    """Of a group, which seed it has twice, and which of its runs do not count."""
    seeds = [as_text(run.settings.get("seed")) for run in row.runs]
    twice = [run.name for run, seed in zip(row.runs, seeds, strict=True) if seeds.count(seed) > 1]
    notes = [f"{ranking.some(twice)} have the same seed"] if twice else []
    if row.evaluated and len(row.counted) < len(row.runs):
        notes.append(
            f"{row.name}: the means are over the {len(row.counted)} of {len(row.runs)} runs that are evaluated"
        )
    return notes


def has_sigmas(rows: Sequence[Row]) -> bool:
    """Whether densities of pixels are compared whose sigmas differ."""
    densities = any(DENSITIES in run.measures for row in rows for run in row.runs)
    return densities and len({run.sigma for row in rows for run in row.runs}) > 1
