"""The data of a run, found again: what it was trained on, and other images that are treated in the same way."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bicoder.data.pixels import Scaling
from bicoder.errors import ModelError
from bicoder.runs.config import dataset_of
from bicoder.runs.folder import CONFIG
from bicoder.runs.options.table import Options
from bicoder.runs.train import load_data

if TYPE_CHECKING:
    from bicoder.data.loader import DataLoader
    from bicoder.data.other_images import Others


def options_of_data(folder: Path, arguments: dict[str, Any]) -> Options:
    """Those options of a run that say what data it had; the others have their defaults.

    Raises:
        ModelError: the run does not say.
    """
    if "dset" not in arguments:
        raise ModelError(
            f"{folder / CONFIG}: arguments: expected 'dset', which says what data the run had, received none; "
            "the program writes it; in Python, bicoder.evaluate(bicoder.load(folder), images) needs none"
        )
    table = Options.table()
    return Options(**{name: v for name, v in Options.values(arguments).items() if table[name].data})


def own_data(
    folder: Path, config: dict[str, Any], dset: str | None = None, data_dir: str | None = None
) -> "DataLoader":
    """The test images of a run.

    Args:
        folder: of the run.
        config: what `read_config` read.
        dset: where its data are now, if they are not where they were.
        data_dir: where downloaded files are now.
    Raises:
        DataError: they are not there.
    """
    options = options_of_data(folder, config["arguments"])
    dataset_of(dset or options.dset, folder if dset is None else None)
    there = options.data_dir if options.data_dir and Path(options.data_dir).is_dir() else None  # of another machine
    scaling = config["data"].get("scaling")
    found = dataclasses.replace(options, dset=dset or options.dset, data_dir=data_dir or there)
    return load_data(found, None if scaling is None else Scaling(*scaling))


def images_for(
    folder: Path, config: dict[str, Any], images: str | None, dset: str | None = None, data_dir: str | None = None
) -> "Others":
    """The examples at a path as the model of a run takes them, or, without a path, the run's own test images.

    Args:
        images: a folder or an array file, or None.
        folder, config, dset, data_dir: as in `own_data`.
    """
    from bicoder.data.other_images import Treatment, others_of, read_others

    if images is None:
        loader = own_data(folder, config, dset, data_dir)
        labels, names, files = loader.test_labels, loader.label_names, getattr(loader, "test_files", None)
        return others_of(loader.test_images, labels=labels, label_names=names, files=files)
    data, arguments = config["data"], Options.values(config["arguments"])
    shape, image_shape, scaling = config["input_shape"], data.get("image_shape"), data.get("scaling")
    how = Treatment(
        tuple(shape),
        tuple(image_shape) if image_shape else tuple(shape) if len(shape) == 3 else None,
        None if scaling is None else Scaling(*scaling),
        arguments.get("image_size"),
        bool(arguments.get("binarize")),
    )
    return read_others(Path(images), how)
