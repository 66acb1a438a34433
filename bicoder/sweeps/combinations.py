"""The runs of a sweep: each combination of the values of some options of `train`, checked before one of them starts."""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bicoder.comparison.settings import SETTINGS
from bicoder.component import arguments_in_source
from bicoder.engine.arrays.view_names import is_of_views
from bicoder.errors import MOST_RUNS, UsageError, suggestion
from bicoder.runs.options.command_line import words_of
from bicoder.runs.options.earlier import placed
from bicoder.runs.options.kinds import Flag, Part
from bicoder.runs.options.table import Options
from bicoder.runs.train import settled

# What a sweep decides itself for each of its runs.
OWN = ("run_dir", "resume", "overwrite", "anyway")
VARIED = {name: entry.kind for name, entry in SETTINGS.items() if not isinstance(entry.kind, Flag)}


class Combination(NamedTuple):
    """One run.

    Args:
        values: option -> its value as one types it, of those that are varied.
        options: of `train`, all of them.
    """

    values: dict[str, str]
    options: Options


def check_base(base: Options) -> None:
    """`UsageError` if options of all runs are given that a sweep decides for each of them."""
    if given := [name for name in OWN if name in base.typed]:
        raise UsageError(f"{given[0]}: expected no such option after --, since a sweep decides it itself; leave it out")


def varied(vary: Sequence[Sequence[str]], base: Options) -> dict[str, dict[str, Any]]:
    """option -> its values: as one types it -> as `Options` has it.

    Args:
        vary: for each option that is varied its name, and its values as they were typed.
        base: the options that all runs share.
    Raises:
        UsageError: an option or a value is none, comes twice, or is in `base` too.
    """
    found: dict[str, dict[str, Any]] = {}
    for typed, *texts in vary:
        name = typed.removeprefix("--")
        check_name("vary", name, [*found], base)
        found[name] = values_of("vary", name, texts)
    return found


def values_of(where: str, name: str, texts: Sequence[str]) -> dict[str, Any]:
    """The values of an option: as one types it -> as `Options` has it; `UsageError` if one is none or comes twice."""
    found: dict[str, Any] = {}
    for text in texts:
        value = read(where, name, text)
        canonical = VARIED[name].typed(value)
        if canonical in found:
            raise UsageError(f"{where} {name}: expected each value once, received {canonical} twice")
        found[canonical] = value
    return found


def check_name(where: str, name: str, before: Sequence[str], base: Options) -> None:
    """`UsageError` unless a name is that of an option of `train` that can be varied, and that is given nowhere else."""
    if name not in VARIED:
        raise UsageError(
            f"{where}: expected an option of train that takes a value and decides what the model becomes, received "
            f"{name!r}{suggestion(name, VARIED)}"
        )
    if name in before:
        raise UsageError(f"{where} {name}: expected it once, received it twice; give all its values at one place")
    if name in base.typed:
        raise UsageError(f"{where} {name}: expected --{name} not after -- too, received it at both places")


def read(where: str, name: str, text: str) -> Any:
    """The value of an option from what was typed; `UsageError` if it is none, or has arguments that it does not take.

    What only a part itself can judge, such as `iwae:num_samples=0`, its run will say.
    """
    kind = VARIED[name]
    try:
        value = kind.read(text)
    except ValueError as error:
        raise UsageError(f"{where} {name}: {error}") from None
    if isinstance(kind, Part):
        takes = arguments_in_source(kind.modules, kind.family)
        for part in value.values() if is_of_views(value) else [value]:
            known = takes.get(part["name"], [*part])
            if unknown := [argument for argument in part if argument not in ("name", *known)]:
                raise UsageError(
                    f"{where} {name}: {part['name']} takes {', '.join(known) or 'no arguments'}; received "
                    f"{unknown[0]!r}{suggestion(unknown[0], known)}"
                )
    return value


def combinations(found: Mapping[str, Mapping[str, Any]], base: Options) -> list[Combination]:
    """All combinations of the values of some options, the last of which changes fastest.

    Raises:
        UsageError, DataError: options that do not go together, data that are not there, or too many runs.
    """
    result, count = [], math.prod(map(len, found.values()))
    if count > MOST_RUNS:
        raise UsageError(f"vary: expected at most {MOST_RUNS:,} runs, received {count:,}")
    for texts in itertools.product(*found.values()):
        values = dict(zip(found, texts, strict=True))
        result.append(
            Combination(values, with_values({name: found[name][text] for name, text in values.items()}, base))
        )
    return result


def replaced(values: Mapping[str, Any], base: Options) -> Options:
    """The options of all runs with those of one."""
    return dataclasses.replace(base, **values, typed=base.typed | set(values))


def with_values(values: Mapping[str, Any], base: Options) -> Options:
    """The same, if these options can be had together; else the error says which they are."""
    options = replaced(values, base)
    try:
        settled(options)
    except Exception as error:
        said = ", ".join(f"{name} {VARIED[name].typed(value)}" for name, value in values.items())
        error.args = (f"{said}: {error}",)
        raise
    return options


def with_one_split(base: Options, names: Sequence[str]) -> Options:
    """Options whose split is that of one seed, if the seed is varied and nobody has said what the split shall be."""
    if "seed" not in names or "split_seed" in names or base.split_seed is not None:
        return base
    return dataclasses.replace(base, split_seed=0, typed=base.typed | {"split_seed"})


def settings_of(base: Options) -> dict[str, Any]:
    """name -> value of JSON, of the options that all runs share and that decide what a model becomes, but for defaults.

    Two commands that mean the same training have the same.
    """
    changed = dataclasses.replace(base, typed=None).typed  # type: ignore[arg-type]  # found out anew
    found = {name: value for name, value in base.arguments().items() if name in SETTINGS and name in changed}
    for name in ("labels", "init"):
        if name in found:
            found[name] = str(Path(found[name]).absolute())
    return found | {"dset": placed(base.dset)}


def train_words(options: Options) -> list[str]:
    """The options of `train` as they are typed for one run: those that were given, and what a config.json gave."""
    given = dataclasses.replace(options, typed=None).typed - {"pictures"}  # type: ignore[arg-type]  # found out anew
    return words_of({name: getattr(options, name) for name in options.typed | given})


def folder_name(values: Mapping[str, str], taken: Sequence[str]) -> str:
    """What the folder of a run is called: after its values, in letters that every file system takes.

    Args:
        values: option -> value as it is typed.
        taken: names that other runs have.
    """
    kept = {name: "".join(c if c.isalnum() or c in "_.+=" else "-" for c in value) for name, value in values.items()}
    base = ",".join(f"{name}={value.strip('-.')[:40]}" for name, value in kept.items())[:120].rstrip(".")
    used, name = {one.lower() for one in taken}, base
    numbers = itertools.count(2)
    while name.lower() in used:
        name = f"{base}-{next(numbers)}"
    return name
