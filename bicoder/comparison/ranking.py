"""Which row is the best: only among numbers that measure the same thing on the same images."""

import math
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bicoder.comparison.reading import Run
from bicoder.comparison.rows import Number, Row
from bicoder.errors import ModelError
from bicoder.runs.per_image import Named, read_named

SHOWN = 5  # names in a sentence
CLOSE = 1e-3  # of an NLL and the mean of per_image.csv, which has nine digits


def reasons_against(rows: Sequence[Row]) -> list[str]:
    """Why the rows are not to be ranked, a sentence for each thing in which they differ; [] if they may be."""
    known = all(run.data.get("test_sha256") for row in rows for run in row.runs)
    hashed = "test_sha256" if known else "sha256"  # an older run has that of all images together

    def images(run: Run) -> str:
        found = run.data.get(hashed)
        count = run.evaluation.get("images", run.data.get("test_images"))
        return f"{count or 'unknown'} images {str(found)[:8]}" if found else f"unknown images of {run.name}"

    def given(run: Run) -> str:
        return f"log p(x|y), labels {str(run.data.get('labels_sha256'))[:8]}" if run.conditional else "log p(x)"

    # An older run does not say how its pixels were scaled; the hash of the images says whether they are the same.
    usual = next((str(one) for row in rows for run in row.runs if (one := run.data.get("scaling"))), "unknown")
    looks: dict[str, Callable[[Run], str]] = {
        "the test images differ": images,
        "pixels were scaled differently": lambda run: str(run.data.get("scaling") or usual),
        "pixels were made binary differently": lambda run: str(run.settings.get("binarize") or "not at all"),
        "what is given beside the pixels differs": given,
        "the likelihoods measure different things": lambda run: run.measures,
    }
    found = [f"{what}: {listed(rows, look)}" for what, look in looks.items() if differ(rows, look)]
    if found and found[0].startswith("the test images") and all(hint_of_split(row.runs) for row in rows):
        found[0] += "; the split follows the seed, train with the same --split_seed"
    return found


def hint_of_split(runs: Sequence[Run]) -> bool:
    """Whether which images are tested on may follow the seed of the run."""
    return all(run.settings.get("split_seed") == run.settings.get("seed") for run in runs)


def differ(rows: Sequence[Row], look: Callable[[Run], str]) -> bool:
    """Whether rows differ in something: in all the answers that their runs give, however many runs give the same."""
    return len({frozenset(look(run) for run in row.runs) for row in rows}) > 1


def listed(rows: Sequence[Row], look: Callable[[Run], str]) -> str:
    """Each of several answers, with the runs that give it."""
    found: dict[str, list[str]] = {}
    for run in (run for row in rows for run in row.runs):
        found.setdefault(look(run), []).append(run.name)
    return "; ".join(f"{answer} of {some(names)}" for answer, names in found.items())


def some(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def by_rank(rows: Sequence[Row]) -> list[Row]:
    """The rows with an NLL, the smallest first, then the others in their order."""
    return sorted(rows, key=nll_of)


def nll_of(row: Row) -> float:
    """The NLL of a row; infinite if it has none."""
    found = row.number("nll")
    return math.inf if found is None else found.value


def differences(ranked: Sequence[Row]) -> tuple[dict[str, Number], list[str]]:
    """Name of a row -> by how much its NLL is above that of the first, with the error of the paired differences.

    Returns:
        The differences, and sentences about rows that have none.
    """
    if len(ranked) < 2:
        return {}, []
    found: dict[str, Number] = {}
    said: list[str] = []
    best: dict[Any, float] | None = None
    for number, row in enumerate(ranked):
        try:
            own = of_images(row)
        except LookupError as error:
            said.append(str(error.args[0]))
            continue
        best = own if number == 0 else best
        if best is None or number == 0:
            continue
        if row.samples != ranked[0].samples:
            said.append(f"{row.name} has no difference to the best, whose NLL is by another K")
        elif best.keys() != own.keys():
            said.append(f"{row.name} has no difference to the best, whose test images have other names")
        else:
            found[row.name] = paired(np.array([best[name] - value for name, value in own.items()]))
    return found, said


def paired(differences: np.ndarray) -> Number:
    """The mean of differences (N,) and its standard error, which nobody knows of one alone."""
    count = len(differences)
    error = float(differences.std(ddof=1)) / math.sqrt(count) if count > 1 else None
    return Number(float(differences.mean()), error)


def of_images(row: Row) -> dict[Any, float]:
    """(test images, name) of each image -> log p(x), the mean over the runs of the row.

    Raises:
        LookupError: a run does not say it, with what to do.
    """
    sums: dict[Any, list[float]] = {}
    for run in row.counted:
        named = log_px_of(run)
        for name, value in zip(named.names, named.log_px.tolist(), strict=True):
            sums.setdefault((run.data.get("test_sha256"), name), []).append(value)
    return {name: sum(values) / len(values) for name, values in sums.items()}


def log_px_of(run: Run) -> Named:
    """log p(x) of each test image of a run; `LookupError` as above."""
    again = f"evaluate it first: {evaluate_command(run)}"
    try:
        named = read_named(Path(run.folder), int(run.evaluation.get("images", 0)))
    except ModelError as error:
        raise LookupError(str(error)) from error
    if named is None:
        raise LookupError(f"{run.name} has no per_image.csv with log p(x); {again}")
    nll = run.evaluation["nll"]
    if not abs(float(named.log_px.mean()) + nll) <= CLOSE * max(1.0, abs(nll)):
        raise LookupError(f"{run.name}: its per_image.csv is not that of its evaluation.json; {again}")
    return named


def evaluate_command(run: Run) -> str:
    """What evaluates a run, as a shell takes it."""
    words = ["bicoder", "evaluate", run.folder, *(["--overwrite"] if run.evaluation else [])]
    return shlex.join(words)
