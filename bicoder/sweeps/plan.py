"""sweep.json: what a folder of runs is about, read as data that may come from anyone.

Nothing of it is carried out: what a run is trained with is what was typed, and the file says whether that is the same.
"""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bicoder import __version__
from bicoder.comparison.settings import SETTINGS, as_text, said
from bicoder.errors import MOST_RUNS, ModelError, UsageError
from bicoder.files.whole_file import UNFINISHED, whole_file
from bicoder.runs import checkpoints
from bicoder.runs.config import ARGUMENTS, COUNT, TEXT, TEXTS, mapping, parse, read_text, record
from bicoder.runs.folder import RUNS, short_name
from bicoder.runs.options.kinds import refuse, shown
from bicoder.sweeps.combinations import VARIED, folder_name

NAME, FORMAT = "sweep.json", 1
FOLDER = re.compile(r"[a-z_]+=[\w.+=,-]{0,199}")  # of a run: one name, which leads nowhere else


class Plan(NamedTuple):
    """A sweep.

    Args:
        vary: options that are varied, in the order of the alphabet.
        train: option -> value of JSON, of those that all runs share.
        num_samples: by how many importance samples a run is evaluated.
        search: option -> its range or its values, of a search; {} of all combinations.
        seed: of the search.
        runs: folder -> option -> value as it is typed.
    """

    vary: tuple[str, ...]
    train: dict[str, Any]
    num_samples: int
    search: dict[str, list[str]]
    seed: int
    runs: dict[str, dict[str, str]]

    def with_runs(self, wanted: Sequence[dict[str, str]]) -> "Plan":
        """The same with these runs too, each in a folder of its own name."""
        runs = dict(self.runs)
        for values in wanted:
            if values not in runs.values():
                runs[folder_name(values, [*runs])] = values
        if len(runs) > MOST_RUNS:
            raise UsageError(f"output: expected at most {MOST_RUNS:,} runs in a folder, received {len(runs):,}")
        return self._replace(runs=runs)

    def folder_of(self, values: Mapping[str, str]) -> str:
        """What the folder of the run with these values is called."""
        return next(name for name, found in self.runs.items() if found == values)


def usual_folder(plan: Plan) -> Path:
    """Where a sweep is that has no folder of its own: the same for the same command, so that it goes on there."""
    about = hashlib.sha256(as_text([*plan[:-1]]).encode()).hexdigest()[:8]
    return Path(RUNS) / f"sweep-{short_name(plan.train['dset'])}-{about}"


def plan_of(folder: Path, new: Plan) -> Plan:
    """What the folder of a sweep says it is, or `new` if it is empty or not there; nothing is written.

    Raises:
        UsageError: it is that of another sweep, or holds something else.
        ModelError: its sweep.json cannot be read.
    """
    check_no_links(folder)
    if not os.path.lexists(folder / NAME):
        others = [p for p in folder.iterdir() if not is_own(p.name)] if folder.is_dir() else folder.exists()
        if others:
            raise UsageError(f"output: expected a new or empty folder, or that of a sweep, received {folder}")
        return new
    found = read_plan(folder / NAME)
    for what, there, now in (
        ("varies", ", ".join(found.vary), ", ".join(new.vary)),
        ("searches", said_of(found), said_of(new)),
        ("evaluates by", f"{found.num_samples} samples", f"{new.num_samples} samples"),
        ("trains with", *differences(found.train, new.train)),
    ):
        if there != now:
            raise UsageError(f"output: {folder} holds a sweep that {what} {there}, not {now}; choose another folder")
    return found


def said_of(plan: Plan) -> str:
    """What is searched for, in words."""
    ranges = [f"{name} {' '.join(words)}" for name, words in sorted(plan.search.items())]
    return f"{', '.join(ranges)} with the seed {plan.seed}" if ranges else "nothing"


def is_own(name: str) -> bool:
    """Whether a sweep that ended before it began may have left a file of this name."""
    return name == checkpoints.LOCK or name.startswith(UNFINISHED)


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, str]:
    """The settings in which two differ, of each in words."""
    names = [name for name in sorted({*then, *now}) if as_text(then.get(name)) != as_text(now.get(name))]
    one, other = (", ".join(f"{n} {said(n, s[n]) if n in s else 'by default'}" for n in names) for s in (then, now))
    return one, other


def check_no_links(folder: Path, names: Sequence[str] = (NAME, checkpoints.LOCK)) -> None:
    """`ModelError` if something that a sweep writes in its folder is a link, which may lead anywhere."""
    for path in (folder / name for name in names):
        if path.is_symlink():
            raise ModelError(f"{path}: expected a file or a folder of the sweep itself, received a link; remove it")


def read_plan(path: Path) -> Plan:
    """What `write_plan` wrote; `ModelError` if it is something else."""
    known = {
        "format": COUNT,
        "bicoder": TEXT,
        "vary": names,
        "train": train,
        "num_samples": COUNT,
        "search": mapping(TEXTS),
        "seed": COUNT,
        "runs": runs,
    }
    try:
        found = parse(read_text(path))
        if type(found) is dict and found.get("format") not in (FORMAT, None):
            raise ValueError(f"format: expected {FORMAT}, received {shown(found['format'])}; it needs a newer bicoder")
        record(known, required=known)("", found)
        for folder, values in found["runs"].items():
            if sorted(values) != found["vary"]:
                refuse(f"runs.{folder}", f"values of {', '.join(found['vary'])}", values)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise ModelError(f"{path}: {error}") from error
    return Plan(tuple(found["vary"]), *(found[name] for name in Plan._fields[1:]))


def names(where: str, value: Any) -> None:
    """A list of options that can be varied."""
    if type(value) is not list or not value or value != [name for name in sorted(VARIED) if name in value]:
        refuse(where, "a list of options of train, in the order of the alphabet", value)


def train(where: str, value: Any) -> None:
    """An object of options of `train`, each with its value."""
    record({name: ARGUMENTS[name] for name in SETTINGS}, required=("dset",))(where, value)


def runs(where: str, value: Any) -> None:
    """An object of folder -> option -> text."""
    mapping(mapping(TEXT))(where, value)
    if len(value) > MOST_RUNS:
        refuse(where, f"at most {MOST_RUNS:,} runs", len(value))
    for folder in value:
        if not FOLDER.fullmatch(folder):
            refuse(where, "names of folders in the folder of the sweep", folder)


@contextlib.contextmanager
def opened(folder: Path, new: Plan, wanted: Sequence[dict[str, str]]) -> Iterator[tuple[Path, Plan]]:
    """The folder of a sweep and what it is about; it is made if it is not there, and no other sweep gets in meanwhile.

    Args:
        folder: of the sweep.
        new: what it is about, without runs.
        wanted: values of the runs that it shall have, beside those that it has.
    Raises:
        UsageError, ModelError: as `plan_of` has them; then everything in the folder is as it was.
    """
    plan_of(folder, new).with_runs(wanted)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"output: {folder} cannot be made: {error.strerror or error}") from error
    with checkpoints.only_one(folder):
        then = plan_of(folder, new)
        plan = then.with_runs(wanted)
        if plan != then or not (folder / NAME).exists():
            write_plan(folder, plan)
        yield folder, plan


def write_plan(folder: Path, plan: Plan) -> None:
    """Write sweep.json, before the first run of it."""
    found = {"format": FORMAT, "bicoder": __version__, **plan._asdict()}
    with whole_file(folder / NAME) as new:
        new.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
