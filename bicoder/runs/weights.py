"""The weights of a run: model.safetensors, a list of names, shapes and numbers, and nothing that a file could hide.

Older runs have model.weights.h5. HDF5 can do much that weights do not need: a dataset can be a piece of another file of
this machine, or claim a size that fills the memory. What Keras itself writes is plain, and only that is read.
"""

import contextlib
import math
import re
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bicoder.errors import ModelError, counted
from bicoder.files.named_arrays import opened_arrays, write_arrays
from bicoder.files.regular_file import NotRegularError, check_regular

if TYPE_CHECKING:
    import h5py
    import keras

    from bicoder.vae import VAE

NAME, OLD_NAME = "model.safetensors", "model.weights.h5"
METADATA = {"format": "bicoder 1"}
PARTS = ("encoder", "decoder", "prior", "objective")
MOST_OBJECTS = 50_000  # groups and datasets of HDF5; the largest model has some thousands
DEPTH = 32
# Keras writes the state of the optimizer beside the weights; nothing here reads it.
OPTIMIZER = "optimizer"


class Stored(NamedTuple):
    """What an array of a file says it is."""

    shape: tuple[int, ...]
    dtype: str

    def __str__(self) -> str:
        return f"{self.dtype} {self.shape}"


# ---- Both formats


def save(folder: Path, vae: "VAE") -> None:
    """Write the weights of a built `VAE` into a run folder.

    Raises:
        ModelError: they cannot be written; those that were there still are.
    """
    write_arrays(folder / NAME, {name: np.asarray(one) for name, one in variables(vae).items()}, METADATA, ModelError)
    (folder / OLD_NAME).unlink(missing_ok=True)


def variables(vae: "VAE") -> "dict[str, keras.Variable]":
    """name -> variable; encoder/00/kernel is the first one of the encoder, in every process."""
    found, seen = {}, set()
    for owner in (*PARTS, "vae"):
        members = (vae if owner == "vae" else getattr(vae, owner)).weights
        for number, variable in enumerate(members):
            if id(variable) not in seen:
                seen.add(id(variable))
                found[f"{owner}/{number:02d}/{variable.name}"] = variable
    return found


def find(folder: Path) -> Path:
    """The file of a run's weights, which may not be there."""
    old = folder / OLD_NAME
    return old if old.exists() and not (folder / NAME).exists() else folder / NAME


def stored(path: Path) -> dict[str, Stored]:
    """name -> `Stored`, for every array of a weights file; no array is read.

    Raises:
        ModelError: no such file, a damaged or another one, one that is being written, or HDF5 with more than plain
            datasets in it.
    """
    if path.name != OLD_NAME:
        with opened(path) as file:
            pieces = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
            return {name: Stored(tuple(p.get_shape()), dtype_name(p.get_dtype())) for name, p in pieces.items()}
    with opened_hdf5(path) as file:
        return {name: Stored(dataset.shape, str(dataset.dtype)) for name, dataset in datasets(file, path)}


def count(found: dict[str, Stored]) -> int:
    """How many numbers there are in what `stored` returned."""
    return sum(math.prod(entry.shape) for entry in found.values())


def read(path: Path, found: dict[str, Stored], vae: "VAE", force: bool = False) -> None:
    """Give a built `VAE` the weights of a file.

    Args:
        path: of the file.
        found: what `stored` returned for it.
        vae: of a config; it is not touched on an error.
        force: take weights that are NaN or infinite too.
    Raises:
        ModelError: they are of another model, with the names and both shapes, or not finite.
    """
    is_old = path.name == OLD_NAME
    model = variables(vae)
    check_fit(
        path, found, in_hdf5(path, vae) if is_old else {n: Stored(tuple(v.shape), v.dtype) for n, v in model.items()}
    )
    arrays = arrays_of_hdf5(path) if is_old else arrays_of(path)
    if not force:
        check_finite(path, arrays)
    if is_old:
        vae.load_weights(path)
    else:
        for name, variable in model.items():
            variable.assign(arrays[name])


def check_fit(path: Path, found: dict[str, Stored], expected: dict[str, Stored]) -> None:
    """`ModelError`, with the names and both shapes, if a file does not hold exactly what a model has."""
    missing, extra = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    other = [name for name in sorted(expected) if name in found and found[name] != expected[name]]
    problems = [f"{name}: expected {expected[name]}, received {found[name]}" for name in other]
    lines = [some(problems, "; ")] if problems else []
    lines += [f"missing: {some(missing)}"] if missing else []
    lines += [f"not of this model: {some(extra)}"] if extra else []
    if lines:
        raise ModelError(f"{path}: weights of another model; " + "; ".join(lines))


def some(names: list[str], between: str = ", ") -> str:
    """The first few, and how many more there are; a name from a file can hold anything."""
    first = [name[:300] if name.isprintable() else repr(name[:300]) for name in names[:4]]
    return between.join(first) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def check_finite(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """`ModelError` if a weight is NaN or infinite."""
    bad = {name: int((~np.isfinite(array)).sum()) for name, array in arrays.items()}
    bad = {name: number for name, number in bad.items() if number}
    if bad:
        raise ModelError(
            f"{path}: expected finite weights, received {sum(bad.values()):,} that are NaN or infinite, the first in "
            f"{next(iter(bad))}; train again, or look at the model nevertheless with --force (in Python, force=True)"
        )


def check_is_file(path: Path) -> None:
    """`ModelError` if there is no regular file."""
    try:
        check_regular(path)
    except NotRegularError as error:
        raise ModelError(f"{path}: the run's weights: {error.strerror}") from error
    except FileNotFoundError:
        raise ModelError(f"{path}: expected the file of the run's weights, received none") from None
    except OSError as error:
        raise ModelError(f"{path}: the run's weights cannot be read: {error.strerror}") from error


def other_file(path: Path, kind: str, error: Exception) -> ModelError:
    """The error for a file that is not of its kind."""
    found = "a zip archive, as .keras files are" if zipfile.is_zipfile(path) else str(error).split("\n")[0][:200]
    return ModelError(f"{path}: expected {kind} weights, received a damaged or another file: {found}")


# ---- safetensors


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The file, open, its header checked; whatever its reader raises becomes `ModelError`."""
    check_is_file(path)
    try:
        with opened_arrays(path) as file:
            if file.metadata() != METADATA:
                raise ValueError(f"written by another program, {str(file.metadata())!r}")
            yield file
    except Exception as error:  # of damaged bytes, anything
        raise other_file(path, "safetensors", error) from error


def dtype_name(code: str) -> str:
    """The name of a type: F32 is float32; what cannot be a weight keeps its code."""
    match = re.fullmatch(r"(BF|F|I|U)(\d+)", code)
    return {"BF": "bfloat", "F": "float", "I": "int", "U": "uint"}[match[1]] + match[2] if match else code


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    """name -> array."""
    with opened(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict


# ---- HDF5


@contextlib.contextmanager
def opened_hdf5(path: Path) -> Iterator["h5py.File"]:
    """The HDF5 file, open; whatever its reader raises becomes `ModelError`."""
    import h5py

    check_is_file(path)
    try:
        with h5py.File(path, "r") as file:
            yield file
    except ModelError:
        raise
    except BlockingIOError as error:
        raise ModelError(f"{path}: another process is writing it; try again when that has ended") from error
    except Exception as error:  # of damaged bytes, anything
        raise other_file(path, "HDF5", error) from error


def datasets(file: "h5py.File", path: Path) -> Iterator[tuple[str, "h5py.Dataset"]]:
    """(name, dataset) for every dataset, none of them opened but through plain groups."""
    import h5py

    links = {h5py.SoftLink: "a soft link", h5py.ExternalLink: "a link to another file"}
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
                found = links.get(type(link), "a damaged link")
                raise ModelError(f"{path}: {full!r}: expected plain datasets only, received {found}")
            if full == OPTIMIZER:
                continue
            item = group[name]
            if isinstance(item, h5py.Group):
                groups.append((f"{full}/", item))
            else:
                check_plain(item, full, path)
                yield full, item


def check_plain(item: Any, name: str, path: Path) -> None:
    """One contiguous block of numbers of this file, all of which are there."""
    import h5py

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


def in_hdf5(path: Path, vae: "VAE") -> dict[str, Stored]:
    """name -> `Stored`, of what Keras would write for this model."""
    with tempfile.TemporaryDirectory() as folder:
        reference = Path(folder) / OLD_NAME
        vae.save_weights(reference)
        expected = stored(reference)
    if len(expected) != len(vae.weights):
        raise ModelError(
            f"{path}: the model has {counted(len(vae.weights), 'variable')}, of which Keras saves {len(expected)}; "
            "it finds layers in attributes, lists and dicts whose names begin with at most one underscore"
        )
    return expected


def arrays_of_hdf5(path: Path) -> dict[str, np.ndarray]:
    """name -> array."""
    with opened_hdf5(path) as file:
        return {name: dataset[()] for name, dataset in datasets(file, path)}
