"""The settings of a run: the options that decide what its model becomes."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from bicoder.engine.arrays.view_names import is_of_views
from bicoder.runs.options.command_line import usual
from bicoder.runs.options.kinds import Flag
from bicoder.runs.options.table import Options

RANDOM = ("seed", "split_seed")  # in which the runs of a group may differ
PLACES = {
    "dset": "sha256",
    "labels": "labels_sha256",
}  # options that are a path -> what of the data says whether it moved

BACKEND = "backend"  # which config.json says for itself

# What may change when a run goes on is no setting, nor is what a run that repeats it does not take.
SETTINGS = {
    name: entry for name, entry in Options.table().items() if entry.kept and entry.repeated and not entry.resume
}


def settings_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """name -> value of JSON of each setting of a run; {} if its config.json has lost its arguments.

    What was left to the program is what it chose then, so that a choice by name is no other than the same by default.
    """
    arguments, model = config["arguments"], config["model"]
    if not arguments:
        return {}
    found = {name: arguments.get(name, usual(name, arguments)[0]) for name in SETTINGS}
    network, likelihood = model["encoder"].get("network"), found["likelihood"]
    if found["network"] == {"name": "auto"} and network and not is_of_views(network):
        found["network"] = {"name": network["name"]}
    if found["latent_dim"] is None:
        found["latent_dim"] = model.get("latent_dim") or model["encoder"].get("latent_dim")
    if not is_of_views(likelihood) and found["sigma"] in (likelihood.get("sigma"), str(likelihood.get("sigma"))):
        found["likelihood"] = {name: value for name, value in likelihood.items() if name != "sigma"}
    return found | {BACKEND: config[BACKEND]}


def with_places(settings: Sequence[Mapping[str, Any]], data: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The settings of all runs, in which the same data at two paths are at one.

    Args:
        settings: of each run, as `settings_of` gives them.
        data: what the config.json of each says of its data.
    """
    found = [dict(one) for one in settings]
    for name, hashed in PLACES.items():
        first: dict[str, Any] = {}  # hash -> the path where it was seen first
        moved: dict[Any, Any] = {}  # path -> that path
        for one, about in zip(found, data, strict=True):
            if one.get(name) and about.get(hashed):
                moved.setdefault(one[name], first.setdefault(about[hashed], one[name]))
        for one in found:
            if name in one:
                one[name] = moved.get(one[name], one[name])
    return found


def differing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of the settings in which runs differ, in the order of --help.

    Runs without settings say nothing. A split_seed that follows the seed of each run is no setting of its own.
    """
    known = [one for one in settings if one]
    found = [name for name in [*SETTINGS, BACKEND] if len({as_text(one[name]) for one in known}) > 1]
    if all(one["split_seed"] in (None, one["seed"]) for one in known):
        return [name for name in found if name != "split_seed"]
    return found


def key_of_group(settings: Mapping[str, Any]) -> str:
    """The same text for runs that differ in nothing but what is random."""
    return as_text({name: value for name, value in settings.items() if name not in RANDOM})


def as_text(value: Any) -> str:
    """A value of JSON as a text that equal ones share."""
    return json.dumps(value, sort_keys=True)


def said(name: str, value: Any) -> str:
    """A setting as somebody would type it."""
    if value is None:
        return "-"
    kind = Options.table()[name].kind
    if isinstance(kind, Flag):
        return "yes" if value else "no"
    return kind.typed(value)
