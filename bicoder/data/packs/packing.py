"""Images into shards: in parallel, and from where it was if it was interrupted.

Whatever is under the name of a shard is whole; what is known of those that are done is in `packing.json`, which is
written after each. When all are done, it becomes `shards.json`.
"""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from bicoder.data.dataset import Dataset, Images
from bicoder.data.formats.folders import NO_LABEL
from bicoder.data.packs.reading_shards import OfArrays, OfFiles
from bicoder.data.packs.shard_list import JOURNAL, LARGEST, NAME, Shard, ShardList, write_list
from bicoder.data.pixels import Survey, Surveyor, to_labels
from bicoder.data.preparation import labelled, without_damaged
from bicoder.data.splits import PURPOSES
from bicoder.data.stored.array_file import kept_as, write_rows
from bicoder.data.stored.conversion import StoreError, check_room
from bicoder.data.stored.sources import WITHOUT_DAMAGED, Source, StartAgain
from bicoder.engine.arrays.fingerprint import fingerprint
from bicoder.errors import DataError, UsageError, counted
from bicoder.files.lock import one_at_a_time
from bicoder.files.record import set_back, sha256_of
from bicoder.files.regular_file import read_regular
from bicoder.files.tables import csv_writer
from bicoder.files.whole_file import remove_stale, whole_file

FILES = "files.csv"  # which file each image was, for people

Say = Callable[[str], Any]
Reading = OfFiles | OfArrays


class Packing:
    """A pack that is being made.

    Args:
        folder: of the pack.
        made_of: what says whether another attempt was of the same images.
        say: called with a line about what was decided.
    """

    def __init__(self, folder: Path, made_of: dict[str, Any], say: Say) -> None:
        self.folder, self.made_of, self.say = folder, made_of, say
        self.shards: list[Shard] = []
        self.survey: Survey | None = None
        self.state: dict[str, Any] = {}

    def go_on(self, reading: Reading) -> None:
        """Take over the shards of an attempt that was interrupted, if they are of these images."""
        path = self.folder / JOURNAL
        if not path.exists():
            return
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError, RecursionError):
            said = json.loads(read_regular(path, LARGEST))
            shards = [Shard(**shard) for shard in said["shards"]]
            there = all((self.folder / shard.file).is_file() for shard in shards)
            if said["made_of"] == self.made_of and there:
                reading.restore(said["state"])
                self.shards, self.state = shards, said["state"]
                self.survey = Survey(**said["survey"]) if said["survey"] else None
                self.say(f"{self.folder}: going on after {counted(len(shards), 'shard')}.")
                return
        self.say(f"{self.folder}: what was begun there is of other images or options; beginning anew.")

    def run(self, reading: Reading) -> None:
        """Write the shards that are missing."""
        done = sum(shard.images for shard in self.shards)
        pixel = kept_as(reading.dtype).itemsize
        check_room(self.folder / NAME, (reading.shape[0] - done) * int(np.prod(reading.shape[1:])) * pixel)
        with tqdm(total=reading.shape[0], initial=done, desc="packing images", leave=False, disable=None) as bar:
            for count, arrays in reading.shards(len(self.shards)):
                path = self.folder / f"shard-{len(self.shards):06}.npy"
                surveyor = Surveyor(reading.dtype, str(self.made_of["name"]))
                surveyor.seen = sum(shard.images for shard in self.shards)
                remove_stale(path)
                with whole_file(path, DataError) as new:
                    rows = write_rows(new, arrays, (count, *reading.shape[1:]), surveyor, bar.update)
                    set_back(new)
                    sha256 = sha256_of(new)
                found = surveyor.survey() if rows else self.survey
                self.survey = found if self.survey is None or found is None else together(self.survey, found)
                self.shards.append(Shard(path.name, rows, sha256))
                self.record(reading.state())

    def record(self, state: dict[str, Any]) -> None:
        """Note the shards that are done."""
        shards = [shard._asdict() for shard in self.shards]
        survey = self.survey and self.survey._asdict()
        said = {"made_of": self.made_of, "shards": shards, "survey": survey, "state": state}
        with whole_file(self.folder / JOURNAL, DataError) as new:
            new.write_text(json.dumps(said), encoding="utf-8")


def together(one: Survey, other: Survey) -> Survey:
    """What is known of the pixels of both."""
    low, high = min(one.low, other.low), max(one.high, other.high)
    return one._replace(low=low, high=high, whole=one.whole and other.whole)


def pack(dataset: Dataset, images: Images, folder: Path, shard_size: int, say: Say) -> ShardList:
    """Write the images of a data set as shards into a folder, which has nothing else.

    Args:
        dataset: the data set.
        images: its `sources()`.
        folder: of the pack, made if it is not there.
        shard_size: images in a shard.
        say: called with a line about what was decided.
    Raises:
        DataError: the images cannot be read, or the folder cannot be written.
        UsageError: it holds something else.
    """
    parts = [array for array in (images.train, images.test) if array is not None]
    made_of = {"name": dataset.name, "shard_size": shard_size, "of": [identity(part) for part in parts]}
    check_folder(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"output: {folder} cannot be made: {error.strerror or error}") from error
    with one_at_a_time(folder / NAME, "packs"):
        check_folder(folder)  # another process was faster
        packing, reading = packed(Packing(folder, made_of, say), parts)
        if [identity(part) for part in parts] != made_of["of"]:
            (folder / JOURNAL).unlink(missing_ok=True)
            raise DataError(f"{dataset.name}: has changed while it was read; leave it alone, and start again")
        found = finished(packing, reading, dataset, images, say)
        (folder / JOURNAL).unlink(missing_ok=True)
    return found


def packed(packing: Packing, parts: list[Any]) -> tuple[Packing, Reading]:
    """Write all shards; arguments and errors as in `pack`."""
    name, shard_size, folder = packing.made_of["name"], packing.made_of["shard_size"], packing.folder
    while True:
        try:
            reading = reading_of(parts, name, shard_size)
            packing.go_on(reading)
            packing.run(reading)
            return packing, reading
        except StartAgain:  # what the images have in common is something else than the first of them said
            packing = Packing(folder, packing.made_of, packing.say)
            (folder / JOURNAL).unlink(missing_ok=True)
        except StoreError as error:
            raise DataError(str(error).replace("for the converted images", "for the shards")) from error


def identity(part: Any) -> dict[str, Any]:
    """What says whether images are those that they were."""
    if isinstance(part, Source):
        place = part.place.encode("utf-8", "backslashreplace").decode().removesuffix(WITHOUT_DAMAGED)
        return {"place": place, **part.identity()}
    return {"sha256": fingerprint(np.asarray(part)), "shape": list(part.shape)}


def check_folder(folder: Path) -> None:
    """`UsageError` if a folder holds a pack, or something else that is none that was begun."""
    if (folder / NAME).exists():
        raise UsageError(f"output: {folder} holds a pack already; choose another folder, or remove it")
    if folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir()):
        if not (folder / JOURNAL).exists() and not (folder / "shard-000000.npy").exists():
            raise UsageError(f"output: expected an empty folder, or none, received {folder}, which holds other files")
    elif folder.exists() and not folder.is_dir():
        raise UsageError(f"output: expected a folder, received {folder}, a file")


def reading_of(parts: list[Any], name: str, shard_size: int) -> Reading:
    """How the images are read."""
    if len(parts) == 1 and isinstance(parts[0], Source) and parts[0].pictures is not None:
        return OfFiles(parts[0].pictures, shard_size)
    return OfArrays([part.open() if isinstance(part, Source) else part for part in parts], name, shard_size)


def finished(packing: Packing, reading: Reading, dataset: Dataset, images: Images, say: Say) -> ShardList:
    """Write what else a pack has: labels, what images are for, the names of files, and the list of it all."""
    shards = tuple(shard for shard in packing.shards if shard.images)
    listed = {shard.file for shard in shards}
    for path in packing.folder.glob("shard-*.npy"):
        if path.name not in listed:  # all of its images are damaged, or it is of another attempt
            path.unlink(missing_ok=True)
    if packing.survey is None:
        raise DataError(f"{dataset.name}: expected at least one image, received none")
    counts = [0 if part is None else part_count(part, reading) for part in (images.train, images.test)]
    if images.train is not None:
        there = np.broadcast_to(np.uint8(0), (counts[0], 1))  # of whose number `labelled` asks
        images = labelled(images._replace(train=there, left_out=tuple(reading.left_out())), dataset)
    images, _ = without_damaged(images, dataset.name, say)
    total = sum(shard.images for shard in shards)
    labels = labels_of(images, counts, total, dataset)
    purposes = None if images.purposes is None else np.array([PURPOSES.index(use) for use in images.purposes], "<i8")
    if all(counts):
        purposes = np.repeat(np.array([PURPOSES.index("training"), PURPOSES.index("test")], "<i8"), counts)
    beside = {"labels": labels, "purposes": purposes}
    files = {name: kept(packing.folder, name, array) for name, array in beside.items()}
    if images.names is not None:
        write_names(packing.folder / FILES, images.names)
    shape, dtype = tuple(map(int, reading.shape[1:])), kept_as(reading.dtype).str
    found = ShardList(total, shape, dtype, packing.survey, tuple(images.label_names), shards, **files)
    write_list(packing.folder, found)
    return found


def part_count(part: Any, reading: Reading) -> int:
    """How many images training or test images are, those of files before damaged ones are left out."""
    if isinstance(reading, OfFiles):
        return reading.shape[0]
    return part.open().shape[0] if isinstance(part, Source) else part.shape[0]


def labels_of(images: Images, counts: list[int], total: int, dataset: Dataset) -> np.ndarray | None:
    """The labels of all images, `NO_LABEL` for those without, or None if none has one."""
    given = (images.train_labels, images.test_labels)
    if all(labels is None for labels in given):
        return None
    counts = counts if all(counts) else [total if count else 0 for count in counts]
    found = [
        np.full(count, NO_LABEL) if labels is None else to_labels(labels, count, f"{dataset.name}: labels")
        for labels, count in zip(given, counts, strict=True)
    ]
    return np.concatenate([labels for labels in found if labels is not None]).astype("<i8")


def kept(folder: Path, name: str, array: np.ndarray | None) -> Shard | None:
    """A whole number for each image, as a file of the pack; None without."""
    if array is None:
        return None
    path = folder / f"{name}.npy"
    with whole_file(path, DataError) as new:
        with open(new, "wb") as file:
            np.save(file, array)
        set_back(new)
        return Shard(path.name, len(array), sha256_of(new))


def write_names(path: Path, names: np.ndarray) -> None:
    """Which file each image was."""
    with (
        whole_file(path, DataError) as new,
        open(new, "w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv_writer(file, names)
        writer.writerow(["row", "file"])
        writer.writerows(enumerate(names))
