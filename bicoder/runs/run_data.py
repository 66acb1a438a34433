"""The data of a run, found again: what it was trained on, and other images that are treated in the same way."""

import dataclasses
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bicoder.data.pixels import Scaling
from bicoder.data.splits import Split
from bicoder.engine.arrays.fingerprint import fingerprint
from bicoder.engine.arrays.masked import Masked, lacking
from bicoder.errors import DataError, ModelError, UsageError
from bicoder.runs.folder import CONFIG
from bicoder.runs.options.earlier import dataset_of
from bicoder.runs.options.table import Options
from bicoder.runs.train import changes, load_data
from bicoder.waiting import told

if TYPE_CHECKING:
    from bicoder.data.likewise import Likewise, Treatment
    from bicoder.data.loader import DataLoader


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
    folder: Path,
    config: dict[str, Any],
    dset: str | None = None,
    labels: str | None = None,
    data_dir: str | None = None,
    mirror: str | None = None,
    anyway: bool = False,
) -> "DataLoader":
    """The test images of a run.

    Args:
        folder: of the run.
        config: what `read_config` read.
        dset: where its data are now, if they are not where they were.
        labels: where the file of its labels is now, if it had one.
        data_dir: where downloaded files are.
        mirror: address of a folder to fetch them from.
        anyway: go on with other images than the run had.
    Raises:
        DataError: they are not there.
        ModelError: they are others, and `anyway` is false.
    """
    found = options_now(folder, config, dset, labels, data_dir, mirror)
    try:
        return test_images_of(folder, config["data"], found, anyway)
    except DataError as error:
        if found.labels is None or os.path.lexists(found.labels):
            raise
        raise DataError(f"{folder}: its labels: {error}; --labels FILE says where they are now") from error


def options_now(
    folder: Path, config: dict[str, Any], dset: str | None, labels: str | None, data_dir: str | None, mirror: str | None
) -> Options:
    """The options of a run that say what data it had, and where they are now; arguments and errors as in `own_data`."""
    options = options_of_data(folder, config["arguments"])
    dataset_of(dset or options.dset, folder if dset is None else None)
    if labels is not None and options.labels is None:
        raise UsageError(f"labels: expected none, since {folder} was trained without --labels; leave it out")
    dset, labels = dset or options.dset, labels or options.labels
    return dataclasses.replace(options, dset=dset, labels=labels, data_dir=data_dir, mirror=mirror)


def own_training_data(
    folder: Path, config: dict[str, Any], loader: "DataLoader", anyway: bool = False, **whereabouts: Any
) -> "DataLoader | None":
    """A loader of the training examples of a run of several views that have labels; None if it has one view, or none.

    Args:
        folder, config, whereabouts: as in `own_data`.
        loader: what `own_data` gave, which may have the training images too.
        anyway: ignored; nothing is measured on them.
    """
    if loader.views and loader.test_labels is not None and not loader.has_training_images:
        if not loader.dataset.may_have_training_labels():
            return None
        with told("reading the training examples"):
            return load_data(options_now(folder, config, **whereabouts), None, folder)
    return loader if loader.views else None


def test_images_of(folder: Path, data: dict[str, Any], of_run: Options, anyway: bool) -> "DataLoader":
    """The `DataLoader` of a run's test images, and a line if they are not those that it had.

    Args:
        folder: of the run.
        data: what its config says of its data.
        of_run: its options, which say where its data are.
        anyway: go on with others.
    Raises:
        ModelError: they are others, and `anyway` is false.
    """
    loader = load_data(of_run, data.get("scaling"), folder)
    images = loader.test_images
    now = {"test_images": len(loader.test_files), "test_sha256": fingerprint(images)}
    if "test_sha256" not in data and loader.has_training_images:  # of an older run, which knows all of them together
        now = {
            "test_images": len(loader.test_files),
            "sha256": fingerprint(loader.training_images, loader.validation_images, images),
        }
    if not (changed := changes(data, {name: value for name, value in now.items() if name in data})):
        return loader
    line = f"{folder} had other data: {', '.join(changed)}"
    if not anyway:
        raise ModelError(f"{line}; give it the images that it had, or add --anyway to take these")
    print(f"{line}; taken all the same, though the model may have learnt from some", file=sys.stderr)
    return loader


def images_for(
    folder: Path,
    config: dict[str, Any],
    images: str | None,
    **whereabouts: Any,
) -> "Likewise":
    """The examples at a path as the model of a run takes them, or, without a path, the run's own test images.

    Args:
        images: a folder or an array file, or None.
        folder, config, whereabouts: as in `own_data`.
    """
    from bicoder.data.likewise import images_like, own
    from bicoder.data.loader import say

    if images is None:
        loader = own_data(folder, config, **whereabouts)
        return own(Split(loader.test_images, loader.test_labels, loader.test_files), loader.label_names)
    if isinstance(config["input_shape"], dict):
        raise UsageError(
            f"images: expected none with a run of several views, whose own test examples are taken, received {images!r}"
            "; in Python, bicoder.load(folder) takes any"
        )
    return images_like(images, treatment(config), say=say)


def treatment(config: dict[str, Any], view: str | None = None) -> "Treatment":
    """What a run did to its images, or to those of one view."""
    from bicoder.data.likewise import Treatment

    data, arguments = config["data"], Options.values(config["arguments"])
    found = (config["input_shape"], data.get("image_shape"), data.get("scaling"))
    shape, image_shape, scaling = (one[view] if view and one is not None else one for one in found)
    return Treatment(
        tuple(shape),
        tuple(image_shape) if image_shape else tuple(shape) if len(shape) == 3 else None,
        None if scaling is None else Scaling(*scaling),
        arguments.get("image_size"),
        bool(arguments.get("binarize")),
    )


def given_views(
    folder: Path, config: dict[str, Any], given: dict[str, str | None], most: int, **whereabouts: Any
) -> dict[str, Any]:
    """The first examples of some views, (n, ...) each, from files, or of the run's own test examples.

    Args:
        folder, config, whereabouts: as in `own_data`.
        given: view -> path of a file or a folder; None for the test examples that have the view.
        most: examples.
    Raises:
        UsageError: the run has no such view, or the files are not as many of each.
    """
    from bicoder.data.likewise import images_like
    from bicoder.data.loader import say

    if None in given.values():
        test = own_data(folder, config, **whereabouts).test_images
        some = {view: x for view, x in test.items() if view in given}
        rows = np.flatnonzero(lacking(some) == 0)[:most]
        return {view: (x.values if isinstance(x, Masked) else x)[rows] for view, x in some.items()}
    found = {}
    for view, path in given.items():
        portions = images_like(path, treatment(config, view), say=say).batches(most)
        found[view] = next(portions)
    lengths = {view: len(images) for view, images in found.items()}
    if len({*lengths.values()}) > 1:
        listed = ", ".join(f"{count} of {view}" for view, count in lengths.items())
        raise UsageError(f"given: expected as many images of each view, received {listed}")
    return found
