"""A .weights.h5 file from anywhere: looked at before Keras reads it.

HDF5 can do much that weights do not need: a dataset can be a piece of another file of this machine, or claim a size
that fills the memory. What Keras itself writes is plain, and only that is read.
"""

import contextlib
import math
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from bicoder.errors import ModelError, counted

MOST_OBJECTS = 50_000  # groups and datasets; the largest model has some thousands
DEPTH = 32
# Keras writes the state of the optimizer beside the weights; nothing here reads it.
OPTIMIZER = "optimizer"
LINKS = {h5py.SoftLink: "a soft link", h5py.ExternalLink: "a link to another file"}


class Stored(NamedTuple):
    """What a dataset says it is."""

    shape: tuple
    dtype: str

    def __str__(self):
        return f"{self.dtype} {self.shape}"


def stored(path):
    """name -> `Stored`, for every dataset of a weights file.

    Raises:
        ModelError: no HDF5 file, a damaged one, one that is being written, or one with more than plain datasets in it.
    """
    with opened(path) as file:
        return {name: Stored(dataset.shape, str(dataset.dtype)) for name, dataset in datasets(file, path)}


@contextlib.contextmanager
def opened(path):
    """The HDF5 file, open; whatever its reader raises becomes `ModelError`."""
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"{path}: expected the file of the run's weights, received none")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except ModelError:
        raise
    except BlockingIOError as error:
        raise ModelError(f"{path}: another process is writing it; try again when that has ended") from error
    except Exception as error:  # of damaged bytes, anything
        found = "a zip archive, as .keras files are" if zipfile.is_zipfile(path) else str(error).split("\n")[0][:200]
        raise ModelError(f"{path}: expected HDF5 weights, received a damaged or another file: {found}") from error


def datasets(file, path):
    """(name, dataset) for every dataset, none of them opened but through plain groups."""
    groups, seen = [("", file)], 0
    while groups:
        prefix, group = groups.pop()
        for name in group:
            seen += 1
            if seen > MOST_OBJECTS or prefix.count("/") > DEPTH:
                raise ModelError(f"{path}: expected the weights of a model, received groups within groups without end")
            full = f"{prefix}{name}"
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                found = LINKS.get(type(link), "a damaged link")
                raise ModelError(f"{path}: {full!r}: expected plain datasets only, received {found}")
            if full == OPTIMIZER:
                continue
            item = group[name]
            if isinstance(item, h5py.Group):
                groups.append((f"{full}/", item))
            else:
                check_plain(item, full, path)
                yield full, item


def check_plain(item, name, path):
    """One contiguous block of numbers of this file, all of which are there."""
    if not isinstance(item, h5py.Dataset):
        refused = f"a {type(item).__name__}"
    elif item.is_virtual or item.external:
        refused = "one whose numbers are in another file"
    elif item.dtype.kind not in "fiu":
        refused = f"one of type {item.dtype}"
    elif item.chunks is not None:
        refused = "a compressed or chunked one"
    elif item.shape is None or item.id.get_storage_size() != item.nbytes:
        refused = f"shape {item.shape} with {item.id.get_storage_size():,} bytes"
    else:
        return
    raise ModelError(f"{path}: {name!r}: expected plain datasets only, received {refused}")


def count(found):
    """How many numbers there are in what `stored` returned."""
    return sum(math.prod(entry.shape) for entry in found.values())


def check_fit(path, found, vae):
    """`ModelError`, with the names and both shapes, where `found`, of a weights file, is not what this model has."""
    with tempfile.TemporaryDirectory() as folder:  # what Keras would write for this model, and under which names
        reference = Path(folder) / "model.weights.h5"
        vae.save_weights(reference)
        expected = stored(reference)
    if len(expected) != len(vae.weights):
        raise ModelError(
            f"{path}: the model has {counted(len(vae.weights), 'variable')}, of which Keras saves {len(expected)}; "
            "it finds layers in attributes, lists and dicts whose names begin with at most one underscore"
        )
    missing, extra = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    other = [name for name in sorted(expected) if name in found and found[name] != expected[name]]
    problems = [f"{name}: expected {expected[name]}, received {found[name]}" for name in other]
    lines = [some(problems, "; ")] if problems else []
    lines += [f"missing: {some(missing)}"] if missing else []
    lines += [f"not of this model: {some(extra)}"] if extra else []
    if lines:
        raise ModelError(f"{path}: weights of another model; " + "; ".join(lines))


def some(names, between=", "):
    """The first few, and how many more there are; a name from a file can hold anything."""
    first = [name[:300] if name.isprintable() else repr(name[:300]) for name in names[:4]]
    return between.join(first) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def check_finite(path):
    """`ModelError` where a weight is NaN or infinite."""
    with opened(path) as file:
        bad = {name: int((~np.isfinite(dataset[()])).sum()) for name, dataset in datasets(file, path)}
    bad = {name: number for name, number in bad.items() if number}
    if bad:
        name = next(iter(bad))
        raise ModelError(
            f"{path}: expected finite weights, received {sum(bad.values()):,} that are NaN or infinite, the first in "
            f"{name}; train again, or look at the model nevertheless with --force (in Python, force=True)"
        )
