"""The data of a run, found again: what it was trained on, and other images that are treated in the same way."""

import dataclasses
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bicoder.data.pixels import Scaling
from bicoder.data.splits import Split
from bicoder.engine.arrays.conditioned import Conditioned
from bicoder.engine.arrays.fingerprint import fingerprint
from bicoder.engine.arrays.masked import arrays_in
from bicoder.errors import BicoderError, DataError, ModelError, UsageError
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
    """A loader of the training examples of a run of several views, or with a condition, if they may have labels.

    Args:
        folder, config, whereabouts: as in `own_data`.
        loader: what `own_data` gave, which may have the training images too.
        anyway: ignored; nothing is measured on them.
    """
    asked = loader.views or loader.with_labels
    if asked and loader.test_labels is not None and not loader.has_training_images:
        if not loader.dataset.may_have_training_labels():
            return None
        with told("reading the training examples"):
            return load_data(options_now(folder, config, **whereabouts), None, folder)
    return loader if asked else None


def all_training_images(
    folder: Path, config: dict[str, Any], loader: "DataLoader", anyway: bool = False, **whereabouts: Any
) -> Any:
    """The training images of any run, (M, ...), or None and a line if they cannot be had; arguments as above."""
    if loader.has_training_images:
        return loader.training_images
    try:
        with told("reading the training images"):
            return load_data(options_now(folder, config, **whereabouts), None, folder).training_images
    except BicoderError as error:
        print(f"{folder}: its training images cannot be had: {error}", file=sys.stderr)
        return None


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
    images: str | None = None,
    given: dict[str, str | None] | None = None,
    **whereabouts: Any,
) -> "Likewise":
    """The examples at a path as the model of a run takes them, or, without a path, the run's own test images.

    Args:
        images: a folder or an array file, or None; of several views, a folder or an .npz file of some of them.
        given: view -> path of its images; None for the test examples that have one of these views, and these alone.
        folder, config, whereabouts: as in `own_data`.
    """
    from bicoder.data.likewise import images_like, own
    from bicoder.data.loader import say
    from bicoder.data.views_likewise import having, sources_of_views, views_like

    sources: dict[str, Any] = {view: path for view, path in (given or {}).items() if path is not None}
    if images is None and not sources:
        loader = own_data(folder, config, **whereabouts)
        split = Split(loader.test_images, loader.test_labels, loader.test_files)
        found = own(having(split, given, say) if given else split, loader.label_names)
    elif not isinstance(config["input_shape"], dict):
        found = images_like(images, treatment(config), say=say)
    else:
        sources = sources or sources_of_views(images, config["input_shape"])
        found = views_like(sources, {view: treatment(config, view) for view in sources}, str(images or "given"), say)
    return with_classes(found, config, str(images or "given")) if config["model"].get("condition") else found


def class_names(config: dict[str, Any]) -> list[str]:
    """What the classes of a run with a condition are called, by their numbers."""
    classes = config["model"]["condition"].get("classes") or 0
    return config["data"].get("label_names") or [str(number) for number in range(classes)]


def with_classes(found: "Likewise", config: dict[str, Any], name: str) -> "Likewise":
    """Images with the class of each as its condition, by the numbers that the run has for its classes.

    Raises:
        DataError: an image has no class, or one that the run never saw.
    """
    import numpy as np

    known, names = class_names(config), found.label_names
    if found.labels is None:
        raise DataError(
            f"{name}: expected the class of each image, as the run has a condition, received none; images in a "
            "sub-folder for each class have one"
        )
    numbers = np.array([known.index(one) if one in known else -1 for one in names] if names else range(len(known)))
    inside = (found.labels >= 0) & (found.labels < len(numbers))
    y = np.where(inside, numbers[np.where(inside, found.labels, 0)], -1)
    if (y < 0).any():
        label = int(found.labels[int((y < 0).argmax())])
        received = "an image without one" if label < 0 else repr(names[label] if names else label)
        raise DataError(f"{name}: expected classes of the run, {', '.join(known[:20])}, received {received}")
    return found._replace(portions=with_conditions(found.portions, y.astype("float32")))


def with_conditions(portions: "Iterator[Any]", y: Any) -> "Iterator[Any]":
    """Portions of images, each with its part of y, (N,)."""
    start = 0
    for images in portions:
        stop = start + len(arrays_in(images)[0])
        yield Conditioned(images, y[start:stop])
        start = stop


def treatment(config: dict[str, Any], view: str = "") -> "Treatment":
    """What a run did to its images, or to those of one view."""
    from bicoder.data.likewise import Treatment

    data, arguments = config["data"], Options.values(config["arguments"])
    found = (config["input_shape"], data.get("image_shape"), data.get("scaling"))
    shape, image_shape, scaling = (one[view] if view and one is not None else one for one in found)
    drawn = arguments.get("binarize")
    return Treatment(
        tuple(shape),
        tuple(image_shape) if image_shape else tuple(shape) if len(shape) == 3 else None,
        None if scaling is None else Scaling(*scaling),
        arguments.get("image_size"),
        bool(drawn.get(view) if isinstance(drawn, dict) else drawn),
        view,
    )
