"""Checkpoints of a run: each is whole or not there, its files are tied together by hashes, and the last two are kept.

RUN/checkpoints/000007/ holds arrays.npz, state.json, and manifest.json with the size and SHA-256 of the other two. It
is written under another name, synced to the disk, and renamed: a kill at any moment leaves the checkpoint before it.
"""

import contextlib
import hashlib
import io
import json
import os
import re
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import filelock
import numpy as np

from bicoder.data.formats.archives import Stream
from bicoder.data.formats.arrays import check_size, read_header
from bicoder.engine.tensor import Shape
from bicoder.errors import ModelError
from bicoder.files.regular_file import read_regular
from bicoder.files.whole_file import new_file

FOLDER, LOCK, KEPT = "checkpoints", ".lock", 2
ARRAYS, STATE, MANIFEST = "arrays.npz", "state.json", "manifest.json"
# What reading one that somebody has changed may raise.
DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, RecursionError, MemoryError)
NAME = re.compile(r"\d{6,12}")  # of a checkpoint: its number
SPARE = 2**24  # bytes that the files may have beyond the arrays themselves


class Checkpoint(NamedTuple):
    """What a training was made of at one moment: name -> array, and what JSON holds."""

    arrays: dict[str, np.ndarray]
    state: dict[str, Any]


@contextlib.contextmanager
def only_one(run: Path) -> Iterator[None]:
    """Keep other trainings out of a run folder.

    Raises:
        ModelError: another process trains in it.
    """
    lock = filelock.FileLock(run / LOCK)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise ModelError(f"{run}: another process trains in this folder; wait for it, or choose another") from None
    try:
        yield
    finally:
        lock.release()


def numbers(run: Path) -> list[int]:
    """The numbers of the checkpoints of a run, the oldest first."""
    folder = run / FOLDER
    return sorted(int(p.name) for p in folder.iterdir() if NAME.fullmatch(p.name)) if folder.is_dir() else []


def save(run: Path, arrays: dict[str, np.ndarray], state: dict[str, Any]) -> None:
    """Write the next checkpoint.

    Args:
        run: `Path` of the run folder.
        arrays: dict, name -> array.
        state: what JSON can hold.
    Raises:
        ModelError: it could not be written; the one before it is still there.
    """
    folder = run / FOLDER
    there = numbers(run)
    number = there[-1] + 1 if there else 1
    try:
        folder.mkdir(parents=True, exist_ok=True)
        clear(folder)
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        files: dict[str, bytes | memoryview] = {ARRAYS: buffer.getbuffer(), STATE: json.dumps(state).encode()}
        manifest = {name: {"bytes": len(data), "sha256": sha256(data)} for name, data in files.items()}
        with new_file(folder / f"{number:06d}", folder=True) as new:
            for name, data in (files | {MANIFEST: json.dumps(manifest).encode()}).items():
                write(new / name, data)
            sync(new)
            new.rename(folder / f"{number:06d}")
        sync(folder)
    except OSError as error:
        reason = error.strerror or error
        raise ModelError(
            f"{folder}: checkpoint {number} could not be written: {reason}; those before it are whole: make room, then "
            f"train_vae --resume {run}"
        ) from error
    for old in there[: -(KEPT - 1)]:
        remove(folder / f"{old:06d}")


def clear(folder: Path) -> None:
    """Remove what a killed process left unfinished; the lock of the run says that it does not run any more."""
    for path in folder.glob(".*-*"):
        remove(path)


def remove(folder: Path) -> None:
    """Remove a checkpoint; what is a link, or holds anything else, is none of the program's, and stays."""
    with contextlib.suppress(OSError):
        if folder.is_symlink() or {path.name for path in folder.iterdir()} - {ARRAYS, STATE, MANIFEST}:
            return
        for name in (ARRAYS, STATE, MANIFEST):
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()


def remove_all(run: Path) -> None:
    """Remove all checkpoints of a run."""
    folder = run / FOLDER
    for number in numbers(run):
        remove(folder / f"{number:06d}")
    clear(folder)
    with contextlib.suppress(OSError):
        folder.rmdir()


def places(run: Path) -> Iterator[Path]:
    """Where checkpoints are in a run, from the outside in, so that no folder is looked into before it was given."""
    yield from (run / LOCK, run / FOLDER)
    for number in numbers(run):
        folder = run / FOLDER / f"{number:06d}"
        yield folder
        yield from (folder / name for name in (ARRAYS, STATE, MANIFEST))


def write(path: Path, data: bytes | memoryview) -> None:
    """Write a file and wait until it is on the disk."""
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync(folder: Path) -> None:
    """Wait until the names in a folder are on the disk; Windows has no such call."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sha256(data: bytes | memoryview) -> str:
    """Hexadecimal SHA-256 of bytes."""
    return hashlib.sha256(data).hexdigest()


def load(
    run: Path, expected: dict[str, Shape], check: Callable[[dict[str, Any]], Any] = lambda state: None
) -> Checkpoint | None:
    """The newest checkpoint that is whole; None if there has been none.

    Args:
        run: `Path` of the run folder.
        expected: dict, name -> shape of each array.
        check: function (state) that raises `ValueError` if it is none.
    Raises:
        ModelError: none is whole, or they are of another model.
    """
    failures = []
    for number in reversed(numbers(run)):
        try:
            found = read(run / FOLDER / f"{number:06d}", expected)
            check(found.state)
        except (*DAMAGE, zipfile.BadZipFile) as error:
            failures.append(f"checkpoint {number} is damaged ({error})")
            print(f"{run}: {failures[-1]}; falling back to the one before", file=sys.stderr)
        else:
            check_shapes(run, found.arrays, expected)
            return found
    if failures:
        raise ModelError(f"{run}: no checkpoint is whole: {'; '.join(failures)}; train it anew")
    return None


def read(folder: Path, expected: dict[str, Shape]) -> Checkpoint:
    """One checkpoint; any of several exceptions if it is not as it was written."""
    limit = SPARE + 8 * sum(int(np.prod(shape, dtype=float)) for shape in expected.values())
    manifest = json.loads(read_regular(folder / MANIFEST, SPARE))
    files = {}
    for name in (ARRAYS, STATE):
        data = read_regular(folder / name, limit)
        if len(data) != manifest[name]["bytes"] or sha256(data) != manifest[name]["sha256"]:
            raise ValueError(f"{name} is not the file that {MANIFEST} describes")
        files[name] = data
    state = json.loads(files[STATE])
    if not isinstance(state, dict):
        raise ValueError("it holds no state of a training")
    return Checkpoint(arrays_in(files[ARRAYS]), state)


def arrays_in(data: bytes) -> dict[str, np.ndarray]:
    """name -> array, of the bytes of an archive; never more than these bytes are."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError(f"{ARRAYS} is compressed")
        if sum(member.file_size for member in members) > len(data) or len({m.filename for m in members}) < len(members):
            raise ValueError(f"{ARRAYS} holds the same bytes, or the same name, several times")
        return {member.filename.removesuffix(".npy"): array_in(archive, member) for member in members}


def array_in(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """One array of numbers, whose header claims no more than there is."""
    with archive.open(member) as file:
        shape, fortran, dtype = read_header(cast("Stream", file), f"{ARRAYS}[{member.filename[:80]}]")
        content = file.read()
    if dtype.kind not in "biuf" or check_size(shape, dtype, ARRAYS) != len(content):
        raise ValueError(f"{ARRAYS}[{member.filename[:80]}] is not the array that its header describes")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")


def check_shapes(run: Path, arrays: dict[str, np.ndarray], expected: dict[str, Shape]) -> None:
    """`ModelError` if a checkpoint is that of another model."""
    for name in sorted(expected.keys() | arrays.keys()):
        there = arrays[name].shape if name in arrays else "nothing"
        needed = tuple(expected[name]) if name in expected else "nothing"
        if there != needed:
            raise ModelError(f"{run}: the checkpoint is of another model: {name}: expected {needed}, received {there}")
