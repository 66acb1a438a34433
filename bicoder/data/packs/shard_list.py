"""The list of the shards of a pack, `shards.json`: what they are, and how one sees that they are whole."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from bicoder.data.formats.arrays import check_size, read_header
from bicoder.data.formats.decoding import cores
from bicoder.data.pixels import Survey
from bicoder.data.stored.row_files import RowFile
from bicoder.errors import BicoderError, DataError, counted
from bicoder.files.cache import data_folder
from bicoder.files.record import sha256_of
from bicoder.files.regular_file import read_regular, regular
from bicoder.files.whole_file import whole_file

NAME, JOURNAL = "shards.json", "packing.json"  # of a pack, and of one that is being made
FORMAT = 1
LARGEST = 2**28  # bytes of the list; a shard takes about a hundred and fifty
AGAIN = "copy it again from where it is whole, or pack the images again"


class Shard(NamedTuple):
    """A .npy file of a pack."""

    file: str
    images: int
    sha256: str


class ShardList(NamedTuple):
    """What `shards.json` says.

    Args:
        images: N, of all shards together.
        shape: of an image.
        dtype: of the pixels in the shards, as NumPy writes it.
        survey: of all pixels.
        label_names: text of every label.
        shards: in the order of their images.
        labels, purposes: files with a whole number for each image: its label, and which of `splits.PURPOSES` it is
            for; None without.
    """

    images: int
    shape: tuple[int, ...]
    dtype: str
    survey: Survey
    label_names: tuple[str, ...]
    shards: tuple[Shard, ...]
    labels: Shard | None
    purposes: Shard | None

    def files(self) -> tuple[Shard, ...]:
        """All files of the pack."""
        return self.shards + tuple(file for file in (self.labels, self.purposes) if file)

    def files_beside(self) -> tuple[Shard | None, Shard | None]:
        """The files of labels and of purposes."""
        return self.labels, self.purposes

    def content(self) -> str:
        """A hash of the pixels of all shards."""
        return hashlib.sha256(" ".join(shard.sha256 for shard in self.shards).encode()).hexdigest()

    def shape_of(self, file: Shard) -> tuple[tuple[int, ...], np.dtype]:
        """What is in a file."""
        if file in self.shards:
            return (file.images, *self.shape), np.dtype(self.dtype)
        return (file.images,), np.dtype("<i8")


def write_list(folder: Path, found: ShardList) -> None:
    """Write the list of a pack, whose files are all there."""
    said = found._asdict() | {"survey": found.survey._asdict()}
    said |= {"shards": [shard._asdict() for shard in found.shards]}
    said |= {name: file and file._asdict() for name, file in (("labels", found.labels), ("purposes", found.purposes))}
    with whole_file(folder / NAME) as new:
        new.write_text(json.dumps({"format": FORMAT, **said}, indent=1) + "\n", encoding="utf-8")


def read_list(folder: Path) -> ShardList:
    """The list of the pack in a folder, which may come from anyone.

    Raises:
        DataError: it is none.
    """
    path = folder / NAME
    try:
        said = json.loads(read_regular(path, LARGEST))
        if said["format"] != FORMAT:
            raise ValueError(f"format {said['format']!r}, which another version of bicoder writes")
        survey = Survey(**said["survey"])
        labels, purposes = (file and Shard(**file) for file in (said["labels"], said["purposes"]))
        shards = tuple(Shard(**shard) for shard in said["shards"])
        found = ShardList(
            said["images"],
            tuple(said["shape"]),
            said["dtype"],
            survey,
            tuple(said["label_names"]),
            shards,
            labels,
            purposes,
        )
        check(found)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        raise DataError(f"{path}: expected the list of a pack, received something else ({reason}); {AGAIN}") from error
    return found


def check(found: ShardList) -> None:
    """`ValueError` unless everything in a list is of its type, and fits."""
    names = [file.file for file in found.files()]
    right = (
        found.dtype in ("|u1", "<f4")
        and all(type(side) is int and 0 < side < 2**31 for side in found.shape)
        and all(type(text) is str for text in (*found.label_names, *names, *(file.sha256 for file in found.files())))
        and all(Path(name).name == name and name.endswith(".npy") and name[0] != "." for name in names)
        and len({*names}) == len(names)
        and all(type(file.images) is int and file.images > 0 for file in found.files())
        and found.images == sum(shard.images for shard in found.shards) > 0
        and all(file.images == found.images for file in (found.labels, found.purposes) if file)
        and all(type(value) in (int, float) for value in (found.survey.low, found.survey.high))
    )
    if not right:
        raise ValueError("its values do not fit each other")
    check_size((found.images, *found.shape), np.dtype(found.dtype), NAME)


def row_files(folder: Path, found: ShardList, files: Sequence[Shard]) -> list[RowFile]:
    """Files of a pack, which are there and as long as the list says.

    Raises:
        DataError: one is not, which is named.
    """
    rows, missing = [], [file for file in files if not os.path.lexists(folder / file.file)]
    if missing:
        one = folder / missing[0].file
        many = f"; {len(missing):,} of {counted(len(files), 'shard')} are missing" if len(missing) > 1 else ""
        raise DataError(f"{one}: expected {counted(missing[0].images, 'image')}, received no file{many}; {AGAIN}")
    for file in files:
        path, (shape, dtype) = folder / file.file, found.shape_of(file)
        try:
            with open(path, "rb", opener=regular) as opened:
                header, offset = read_header(opened, path), opened.tell()
                size = os.fstat(opened.fileno()).st_size
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
        except BicoderError as error:
            raise DataError(f"{error}; {AGAIN}") from error
        expected = offset + check_size(shape, dtype, path)
        if header != (shape, False, dtype) or size != expected:
            received = f"{size:,}" if size != expected else f"an array of shape {header[0]} of {header[2]}"
            raise DataError(
                f"{path}: expected {expected:,} bytes, shape {shape} of {dtype}, received {received}; {AGAIN}"
            )
        rows.append(RowFile(path, offset, file.images))
    return rows


def check_hashes(folder: Path, found: ShardList, data_dir: str | Path | None = None) -> None:
    """Read all files of a pack, unless that was done before and their sizes and times are what they were then.

    Args:
        folder: of the pack.
        found: its list.
        data_dir: see `cache.data_folder`; there it is kept what was read.
    Raises:
        DataError: one is not what the list says; it is named.
    """
    number = hashlib.sha256(os.fsencode(folder.absolute())).hexdigest()[:16]
    kept = data_folder(data_dir) / "checked" / f"{number}.json"
    known: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError, RecursionError):
        known = json.loads(read_regular(kept, LARGEST))
    states = {file.file: [*state_of(folder / file.file), file.sha256] for file in found.files()}
    left = [file for file in found.files() if not isinstance(known, dict) or known.get(file.file) != states[file.file]]
    if not left:
        return
    for file, sha256 in hashed(folder, left):
        if sha256 != file.sha256:
            path = folder / file.file
            raise DataError(f"{path}: is damaged: expected SHA-256 {file.sha256}, received {sha256}; {AGAIN}")
    with contextlib.suppress(OSError, DataError):  # then they are read again the next time
        kept.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(kept, DataError) as new:
            new.write_text(json.dumps(states), encoding="utf-8")


def state_of(path: Path) -> tuple[int, int]:
    """Size and time of a file."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def hashed(folder: Path, files: Sequence[Shard]) -> Iterator[tuple[Shard, str]]:
    """Files with the SHA-256 that each has."""
    with ThreadPoolExecutor(cores()) as pool:
        found = pool.map(sha256_of, (folder / file.file for file in files))
        bar = tqdm(found, desc="checking shards", total=len(files), delay=5, leave=False, disable=None)
        yield from zip(files, bar, strict=True)
