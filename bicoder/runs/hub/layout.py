"""The folder of a run in the layout of model hubs, which `bicoder.load` reads as it reads a run."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bicoder.errors import ModelError, UsageError
from bicoder.files.regular_file import NotRegularError, read_regular
from bicoder.files.whole_file import new_file
from bicoder.pictures.picture import pictures
from bicoder.runs import weights
from bicoder.runs.folder import CONFIG
from bicoder.runs.hub.card import card
from bicoder.runs.shown import read_evaluation

if TYPE_CHECKING:
    from bicoder.vae import VAE

CARD, IMAGES = "README.md", "images"
ROOM = 2**20  # bytes of all pictures together
PNG = b"\x89PNG\r\n\x1a\n"
# What says where things are on the machine of the training, and who is asked for them.
PLACES = ("run_dir", "data_dir", "mirror", "init")
PATHS = ("dset", "labels")


def check_empty(folder: Path) -> None:
    """`UsageError` unless a folder is empty or not there."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UsageError(f"output: expected a folder, received {folder}, which is none; choose another name")
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"output: expected a folder that is empty or not there, {folder} is not; choose another one")


def write(run: Path, config: Mapping[str, Any], vae: "VAE", output: Path) -> None:
    """Write the folder, whole or not at all.

    Args:
        run: folder of the run.
        config: what its config.json says.
        vae: its model.
        output: the folder, which is empty or not there.
    Raises:
        UsageError: it cannot be written.
        ModelError: evaluation.json of the run is something else.
    """
    public = without_places(config)
    numbers, found = read_evaluation(run), pictures_of(run)
    try:
        with new_file(output, folder=True) as new:
            weights.save(new, vae)
            (new / CONFIG).write_text(json.dumps(public, indent=2) + "\n", encoding="utf-8")
            if found:
                (new / IMAGES).mkdir()
            for name, content in found.items():
                (new / IMAGES / name).write_bytes(content)
            shown = {f"{IMAGES}/{picture.file}": picture.help for picture in pictures() if picture.file in found}
            (new / CARD).write_text(card(public, vae, numbers, shown), encoding="utf-8", errors="replace")
            if output.is_dir():
                output.rmdir()  # it is empty, and there are systems that put no folder in its place
            new.rename(output)
    except (OSError, ModelError) as error:
        raise UsageError(f"{output}: cannot be written: {getattr(error, 'strerror', None) or error}") from error


def without_places(config: Mapping[str, Any]) -> dict[str, Any]:
    """What config.json says to everybody: without the folders of this machine and the names of its files."""
    arguments, data = dict(config["arguments"]), dict(config["data"])
    arguments |= {name: None for name in PLACES if name in arguments}
    arguments |= {name: Path(arguments[name]).name or "data" for name in PATHS if arguments.get(name)}
    if data.get("split"):
        data["split"] = {**data["split"], "files": None}
    return {**config, "arguments": arguments, "data": data}


def pictures_of(run: Path) -> dict[str, bytes]:
    """name -> the pictures of a run that fit into a card, the smallest first; what is no picture is left out."""
    found, left = dict[str, bytes](), []
    for name in (picture.file for picture in pictures() if picture.file.endswith(".png")):
        try:
            content = read_regular(run / name, 2**28, follow=False)
        except FileNotFoundError:
            continue
        except (OSError, NotRegularError):
            content = b""
        if content.startswith(PNG):
            found[name] = content
        else:
            left.append(f"{name}, which is no picture")
    room = ROOM
    for name in sorted(found, key=lambda name: len(found[name])):
        room -= len(found[name])
        if room < 0:
            del found[name]
            left.append(f"{name}, with which the pictures would be more than 1 MB")
    if left:
        print(f"{run}: left out: {'; '.join(left)}", file=sys.stderr)
    return found
