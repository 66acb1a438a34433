"""The options of an earlier run: for a run that goes on, and for a new one that repeats it."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bicoder.errors import DataError, UsageError
from bicoder.runs.config import read_config, read_file
from bicoder.runs.options.table import Options

if TYPE_CHECKING:
    from bicoder.data.datasets import Dataset


def placed(dset: str) -> str:
    """The absolute path of a data set that is one and is there; everything else, such as "digits", as it is."""
    return str(Path(dset).absolute()) if os.path.lexists(dset) and not is_name(dset) else dset


def is_name(dset: str) -> bool:
    """Whether this is the name of a data set, and no path."""
    from bicoder.data.published import Named

    return dset in Named.members()


def dataset_of(dset: str, run: Path | str | None = None) -> "type[Dataset]":
    """The class of a data set; if it is not there, and is that of a run, the error says how to find it."""
    from bicoder.data.datasets import find_dataset

    try:
        return find_dataset(dset)
    except (DataError, UsageError) as error:
        if run is None:
            raise
        raise DataError(f"{run}: its data: {error}; --dset PATH says where they are now") from error


def resumed(options: Options) -> Options:
    """The options of the run that `options.resume` names, with those that were given and may be others.

    Raises:
        UsageError: an option was given that would make it another training; all of them are listed.
    """
    folder, table = options.resume or "", Options.table()
    config = read_config(folder)
    then = Options.values(config["arguments"])
    for name in ("data_dir", "mirror"):  # see `places_left`
        then.pop(name, None)
    now = {name: getattr(options, name) for name in table if name in options.typed}
    for arguments in (then, now):
        if arguments.get("dset"):
            arguments["dset"] = placed(arguments["dset"])
        if arguments.get("labels"):
            arguments["labels"] = str(Path(arguments["labels"]).absolute())
    if "dset" in now and "dset" in then and not is_name(then["dset"]) and not os.path.lexists(then["dset"]):
        then["dset"] = now["dset"]  # its data have moved; whether they are the same their hash will say
    if "labels" in now and then.get("labels") and not os.path.lexists(then["labels"]):
        then["labels"] = now["labels"]  # as above
    changed = [
        name
        for name in then
        if name in now
        and now[name] != then[name]
        and not table[name].resume
        and not (table[name].more and None not in (then[name], now[name]) and now[name] > then[name])
    ]
    if options.config is not None:
        raise UsageError("config: a run that goes on has the arguments that it was started with; leave --config out")
    if changed:
        listed = ", ".join(f"{name} {then[name]!r} is now {now[name]!r}" for name in changed)
        raise UsageError(f"resume: {folder} was started with other arguments: {listed}; leave them out, or train anew")
    backend = options.backend or os.environ.get("KERAS_BACKEND") or config["backend"]
    return dataclasses.replace(options, **then | now | {"backend": backend})


def places_left(arguments: Mapping[str, Any], data_dir: str | None, mirror: str | None) -> str:
    """What is said of `data_dir` and `mirror` of somebody's arguments, which nobody asked for here; "" if nothing is.

    A run may come from a stranger: where files are written, and who is asked for them, its reader decides.

    Args:
        arguments: of a config.
        data_dir, mirror: what was asked for, or None.
    """
    from bicoder.files.cache import named_folder

    named = named_folder()
    usual = {"data_dir": named and str(named.absolute()), "mirror": os.environ.get("BICODER_MIRROR")}
    asked = {"data_dir": data_dir, "mirror": mirror}
    left = [
        name
        for name, own in usual.items()
        if asked[name] in (None, own) and arguments.get(name) not in (None, own)  # nothing else was asked for
    ]
    listed = " and ".join(f"--{name} {arguments[name]}" for name in left)
    return f"{listed}: not taken from a config; give it on the command line to use it" if left else ""


def repeated(options: Options, say: Callable[[str], None]) -> Options:
    """Options whose defaults are the arguments of the config.json that `options.config` names.

    Args:
        options: what was given; it wins.
        say: called with a line about what is not taken.
    Raises:
        UsageError: there is no such file.
    """
    path, table = Path(options.config or ""), Options.table()
    try:
        then = Options.values(read_file(path)["arguments"])
    except OSError as error:
        raise UsageError(f"config: {path} cannot be read: {error.strerror or error}") from error
    if left := places_left(then, options.data_dir, options.mirror):
        say(f"{path}: {left}")
    kept = options.typed | ({"sigma"} if "likelihood" in options.typed else set())  # another one may have no sigma
    taken = {name: value for name, value in then.items() if table[name].repeated and name not in kept}
    return dataclasses.replace(options, **taken)
