"""The run folder: everything needed to look at a training again, to repeat it, and to use its model."""

import csv
import importlib.metadata
import io
import itertools
import json
import os
import platform
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bicoder import __version__
from bicoder.data.splits import split_text
from bicoder.errors import ModelError, UsageError
from bicoder.exports.function import SUFFIXES, WHATS
from bicoder.files.regular_file import read_regular
from bicoder.files.whole_file import whole_file
from bicoder.pictures.picture import pictures
from bicoder.runs import checkpoints, weights

if TYPE_CHECKING:
    import numpy as np

    from bicoder.vae import VAE

FORMAT = 2
RUNS = "runs"  # where runs are that have no folder of their own
CONFIG, METRICS, SPLIT = "config.json", "metrics.csv", "split.csv"
EVALUATION, PER_IMAGE = "evaluation.json", "per_image.csv"
REPORT, REPORT_PAGE, REPORT_KEPT = "report", "report.html", "report.safetensors"  # the switch, and its files
FILM = "film.safetensors"  # the frames of `training.gif`
LOG, EVENTS = "tensorboard", "events.out.tfevents.*"  # what TensorBoard shows, and its files
CODES, RECONSTRUCTIONS = "codes.csv", "reconstructions.npy"
RECONSTRUCTED_VIEWS = "reconstructions.npz"
EXPORTED = tuple(f"{what}{ending}" for what in WHATS for ending in SUFFIXES.values())
FROM_MODEL = (CODES, RECONSTRUCTIONS, RECONSTRUCTED_VIEWS, *EXPORTED)  # which another epoch makes false
# What a training says at its end that it has written, beside its pictures.
LISTED = (CONFIG, SPLIT, METRICS, weights.NAME, checkpoints.FOLDER, FILM, LOG, REPORT_KEPT)
LARGEST_METRICS = 2**26  # bytes; ten thousand epochs have a million


def check_free(dset: str, run_dir: Path | str | None, overwrite: bool) -> None:
    """`UsageError` if a new run cannot be in `run_dir`: it lies among its own images, or holds a run already."""
    folder = Path(run_dir or RUNS)
    check_apart(dset, folder, "run_dir")
    if run_dir is not None and os.path.lexists(folder / CONFIG) and not overwrite:
        raise UsageError(f"run_dir: {folder} holds a run already; choose another folder, or add --overwrite")


def check_apart(dset: str, folder: Path, name: str) -> None:
    """`UsageError` in the name of an option if a folder for runs lies among their images."""
    images = Path(dset)
    if images.is_dir() and folder.resolve().is_relative_to(images.resolve()):
        raise UsageError(
            f"{name}: expected a folder outside of the images in {images}, received {folder}, whose pictures would be "
            "among them; choose another one"
        )


def short_name(dset: str) -> str:
    """What the folder of a run is called after its data; a file's name has 255 bytes at most."""
    return re.sub(r"[^\w.-]+", "_", Path(dset).resolve().name)[:50] or "run"


def make_folder(dset: str, run_dir: Path | str | None) -> Path:
    """Make the folder of a new run: `run_dir`, or one of its own, runs/<dset>-<time>/.

    Raises:
        UsageError: it cannot be made.
    """
    base = Path(RUNS) / f"{short_name(dset)}-{time.strftime('%Y%m%d-%H%M%S')}"
    folder, count = Path(run_dir or base), 1
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=run_dir is not None)
            return folder
        except FileExistsError as error:
            if run_dir is not None or not folder.is_dir():
                raise UsageError(f"run_dir: {folder} cannot be made: {error.strerror}") from error
            count += 1  # another run has it, of the same second
            folder = base.with_name(f"{base.name}-{count}")
        except OSError as error:
            raise UsageError(f"run_dir: {folder} cannot be made: {error.strerror or error}") from error


def own_files(folder: Path) -> list[Path]:
    """All files that a run may have, beside its checkpoints; first the one that makes the folder that of a run."""
    numbers = (CONFIG, METRICS, EVALUATION, PER_IMAGE, SPLIT, FILM, REPORT_KEPT, *FROM_MODEL)
    return [
        folder / name for name in (*numbers, weights.NAME, weights.OLD_NAME, *(picture.file for picture in pictures()))
    ]


def log_folders(run: Path) -> list[Path]:
    """The folders of what TensorBoard shows: numbers of training and of held-out images, and images."""
    return [run / LOG / name for name in ("train", "validation", "images")]


def remove_log(run: Path) -> None:
    """Remove what TensorBoard shows; what is none of its files stays."""
    for folder in log_folders(run):
        for path in folder.glob(EVENTS):
            path.unlink()


def check_no_links(folder: Path) -> None:
    """`ModelError` if something that the program reads, writes or removes in a run folder is a link.

    A run may come from a stranger, and what a link names is not the run's.
    """
    for path in itertools.chain(own_files(folder), [folder / LOG, *log_folders(folder)], checkpoints.places(folder)):
        if path.is_symlink():
            raise ModelError(
                f"{path}: expected a file or a folder of the run itself, received a link to {path.readlink()}, which "
                "is not followed; put what it leads to in its place, or remove it"
            )


def versions() -> dict[str, str]:
    """name -> version, of what decides the numbers."""
    found = {"bicoder": __version__, "python": platform.python_version()}
    import keras

    backend = keras.backend.backend()
    for package in dict.fromkeys(("keras", "tensorflow", backend, "numpy", "scikit-learn")):
        found[package] = importlib.metadata.version(package)
    return found


def save_config(
    folder: Path,
    vae: "VAE",
    arguments: dict[str, Any],
    data: dict[str, Any],
    split: "Mapping[str, np.ndarray] | None" = None,
) -> None:
    """`write_config` and `write_split` for a new run: what another one left in the folder is removed."""
    for path in own_files(folder):
        path.unlink(missing_ok=True)
    checkpoints.remove_all(folder)
    remove_log(folder)
    write_split(folder, split)  # before what makes the folder that of a run
    write_config(folder, vae, arguments, data)


def write_split(folder: Path, split: "Mapping[str, np.ndarray] | None") -> None:
    """Write down which images are for what, by the names of their files or by their rows.

    Args:
        folder: of the run.
        split: what images are for -> what they are called; None if the data say it themselves.
    """
    if split is None:
        (folder / SPLIT).unlink(missing_ok=True)
        return
    with whole_file(folder / SPLIT) as new:
        new.write_text(split_text(split), encoding="utf-8", errors="surrogateescape", newline="")


def split_file(folder: Path | str) -> Path | None:
    """The file that `write_split` wrote, or None."""
    path = Path(folder) / SPLIT
    return path if path.exists() else None


def forget_numbers(folder: Path) -> None:
    """Remove what other commands found out about weights that are learnt further now."""
    pictured = (picture.file for picture in pictures() if picture.command != "train")
    for name in (EVALUATION, PER_IMAGE, REPORT_KEPT, *FROM_MODEL, *pictured):
        (folder / name).unlink(missing_ok=True)


def write_config(folder: Path, vae: "VAE", arguments: dict[str, Any], data: dict[str, Any]) -> None:
    """Write down what is needed to repeat a run and to build its model again.

    Args:
        folder: of the run.
        vae: a built `VAE`.
        arguments: dict of the command's arguments.
        data: dict that describes the data.
    """
    import keras

    config = {
        "format": FORMAT,
        "versions": versions(),
        "backend": keras.backend.backend(),
        "arguments": arguments,
        "data": data,
        "input_shape": vae.example_shape,
        "model": vae.get_config(),
    }
    with whole_file(folder / CONFIG) as new:
        new.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def read_history(folder: Path) -> dict[str, list[float]]:
    """name -> the values of each epoch, of metrics.csv; {} if the run has none.

    Raises:
        ModelError: it is no table of numbers.
    """
    path = folder / METRICS
    try:
        rows = list(csv.DictReader(io.StringIO(read_regular(path, LARGEST_METRICS).decode(), newline="")))
        return {name: [float(row[name]) for row in rows] for name in (rows[0] if rows else ()) if name != "epoch"}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, csv.Error) as error:
        raise ModelError(f"{path}: expected the metrics of every epoch, received something else: {error}") from error
