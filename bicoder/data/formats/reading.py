"""Many image files as one array: each is opened once, by several threads."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from bicoder.data.formats.archives import damage_as_data_error
from bicoder.data.formats.arrays import check_size
from bicoder.data.formats.decoding import Decoders, cores
from bicoder.data.formats.images import Look, Plan, quiet, read_image
from bicoder.data.stored.sources import StartAgain
from bicoder.engine.arrays.portions import Portions, rows_of
from bicoder.errors import DataError, counted

# Images of different sizes, or larger than this, are scaled to DEFAULT pixels if no size is asked for.
LARGEST_SIDE, DEFAULT = 128, (64, 64)
MOST_THREADS = 8  # each may unpack an image of 89 million pixels
TOGETHER, MOST_ROWS = 64, 1024  # images that a thread reads before it is asked again, and that are there at a time
NAMED = 10  # damaged files in a message


class Found(NamedTuple):
    """What became of a file."""

    look: Look | None  # None if it is damaged
    pixels: np.ndarray | None  # None if it is damaged, or another plan is needed
    damage: DataError | None


class Pictures:
    """Image files as one array (N, height, width, channels) of uint8, or uint16 if some have 16 bits of grey.

    What they have in common shows when all have been seen, and each is opened once: so the first one says how all are
    read, and an image that contradicts it lets the reading begin again.

    Args:
        folder: for messages; names of files are those below it.
        paths: of the files.
        size: (height, width) to scale to after a centred crop; by default their own if they agree and are small.
        channels: 1 or 3; by default 1 if all are grey. Transparency goes onto white.
        skip_damaged: go on without those that are damaged; None if nobody could ask for that.
        say: called with a line about what was decided.
        list_file: function (lines) that keeps a long list, and returns its path, or None if it cannot.
        decoders: processes that read the files; by default threads of this one do.
    Attributes:
        damaged: number of a file in `paths` -> the error of reading it.
        numbers: of the files in the portion that was read last.
    """

    def __init__(
        self,
        folder: Path,
        paths: Sequence[Path],
        size: tuple[int, int] | None = None,
        channels: int | None = None,
        skip_damaged: bool | None = False,
        say: Callable[[str], Any] = print,
        list_file: Callable[[list[str]], Path | None] = lambda lines: None,
        decoders: Decoders | None = None,
    ) -> None:
        self.folder, self.paths, self.size, self.channels = folder, paths, size, channels
        self.skip_damaged, self.say, self.list_file, self.decoders = skip_damaged, say, list_file, decoders
        self.plan: Plan | None = None
        self.damaged: dict[int, DataError] = {}
        self.numbers: list[int] = []
        self.first: dict[int, Found] = {}  # the image that the plan was made for, which is read by then
        self.sizes: set[tuple[int, int]] = set()
        self.counts = dict.fromkeys(("all", "colour", "deep", "pages", "cut"), 0)
        self.peak = 0  # of the images that have more than eight bits of grey

    def left_out(self) -> list[int]:
        """Numbers of the files that are damaged, once all have been read."""
        return sorted(self.damaged)

    def array(self) -> np.ndarray:
        """All images; those that are damaged are left out if they may be."""
        while True:
            source = self.open()
            with damage_as_data_error(self.folder, "images"):  # of memory
                images = np.empty(source.shape, source.dtype)
            filled = 0
            try:
                with tqdm(total=len(self.paths), desc="reading images", disable=len(self.paths) < 1000) as bar:
                    for portion in source.read(rows_of(source)):
                        images[filled : filled + len(portion)] = portion
                        filled += len(portion)
                        bar.update(len(portion))
            except StartAgain:
                continue
            return images[:filled]

    def open(self) -> Portions:
        """The images as `Portions`, fewer rows than its shape says if some are damaged; it may raise `StartAgain`."""
        if self.size is not None:  # before one of them is scaled
            check_size((len(self.paths), *self.size, 1), np.dtype("float32"), self.folder)
        with quiet():
            for number, path in enumerate(self.paths):
                if self.plan is not None:
                    break
                if number not in self.damaged:
                    found = self.take(path, self.planned)
                    if found.damage is not None:
                        self.damaged[number] = found.damage
                    elif found.look is not None:
                        self.plan, self.first = self.planned(found.look), {number: found}
        if self.plan is None:
            raise self.error()
        shape = (len(self.paths), *self.plan.size, 1 if self.plan.grey else 3)
        check_size(shape, np.dtype("float32"), self.folder)  # what becomes of the bytes
        self.sizes, self.counts, self.peak = set(), dict.fromkeys(self.counts, 0), 0
        return Portions(shape, "uint16" if self.plan.deep else "uint8", self.read)

    def planned(self, look: Look) -> Plan:
        """How all images are read if all are like this one."""
        own = look.size if max(look.size) <= LARGEST_SIDE else DEFAULT
        grey = look.grey if self.channels is None else self.channels == 1
        return Plan(self.size or own, grey, look.deep)

    def fitting(self, look: Look) -> Plan | None:
        """The plan, if it is one for an image like this too."""
        plan = self.plan
        if plan is None or (self.channels is None and plan.grey and not look.grey) or (look.deep and not plan.deep):
            return None
        return None if self.size is None and plan.size not in (look.size, DEFAULT) else plan

    @staticmethod
    def take(path: Path, choose: Callable[[Look], Plan | None]) -> Found:
        """What becomes of a file."""
        try:
            return Found(*read_image(path, choose), None)
        except DataError as error:
            return Found(None, None, error)

    def read(self, rows: int) -> Iterator[np.ndarray]:
        """The images in portions of at most so many rows, or of one for every thread if that is more."""
        yield from self.read_between(0, len(self.paths), rows)
        self.finish()

    def read_between(self, start: int, end: int, rows: int) -> Iterator[np.ndarray]:
        """The images of the files from one number on and below another, in portions as `read` has them."""
        threads = len(self.decoders.processes) if self.decoders else min(MOST_THREADS, cores())
        rows = max(threads, min(rows, MOST_ROWS))
        with ThreadPoolExecutor(threads) as pool:
            for first in range(start, end, rows):
                numbers = [i for i in range(first, min(first + rows, end)) if i not in self.damaged]
                each = max(1, min(TOGETHER, -(-len(numbers) // threads)))
                tasks = [numbers[i : i + each] for i in range(0, len(numbers), each)]
                with quiet():
                    found = [pair for task in pool.map(self.read_some, tasks) for pair in task]
                if images := self.kept(found):
                    yield np.stack(images)

    def read_some(self, numbers: Sequence[int]) -> list[tuple[int, Found]]:
        """What becomes of some files, in a thread."""
        if self.decoders:
            how = {"size": self.size, "channels": self.channels, "plan": self.plan}
            return list(zip(numbers, self.decoders.read([self.paths[n] for n in numbers], how), strict=True))
        return [(n, self.first.get(n) or self.take(self.paths[n], self.fitting)) for n in numbers]

    def kept(self, found: Sequence[tuple[int, Found]]) -> list[np.ndarray]:
        """The images that were read; the damaged ones are noted, and `StartAgain` is raised if the plan is wrong."""
        self.damaged |= {number: damage for number, (_, _, damage) in found if damage is not None}
        looks = [look for _, (look, _, _) in found if look is not None]
        self.sizes |= {look.size for look in looks}
        self.counts["all"] += len(looks)
        for name in ("colour", "deep", "pages", "cut"):
            self.counts[name] += sum(getattr(look, name) for look in looks)
        peaks = (int(pixels.max()) for _, (look, pixels, _) in found if look and look.deep and pixels is not None)
        self.peak = max(self.peak, 0, *peaks)
        wrong = [look for look in looks if self.fitting(look) is None]
        if wrong and self.plan is not None:
            grey = self.plan.grey and all(look.grey for look in wrong) if self.channels is None else self.plan.grey
            other = self.size is None and any(look.size != self.plan.size for look in wrong)
            deep = self.plan.deep or any(look.deep for look in wrong)
            self.plan, self.first = Plan(DEFAULT if other else self.plan.size, grey, deep), {}
            raise StartAgain
        read = [(number, pixels) for number, (_, pixels, _) in found if pixels is not None]
        self.numbers = [number for number, _ in read]
        return [pixels for _, pixels in read]

    def finish(self) -> None:
        """Say what was decided, or raise what is wrong, once all have been read."""
        if self.damaged and not (self.skip_damaged and self.counts["all"]):
            raise self.error()
        count = self.counts["all"]
        if self.plan is not None and self.size is None and (len(self.sizes) > 1 or self.sizes != {self.plan.size}):
            received = f"{len(self.sizes)} different sizes" if len(self.sizes) > 1 else "large images"
            height, width = self.plan.size
            self.say(
                f"The folder holds {received}: cropped and scaled to {height}x{width}; --image_size sets another size."
            )
        if self.counts["pages"]:
            self.say(f"{self.folder}: several pages or frames in {self.some('pages')}: the first of each is read.")
        if self.counts["cut"]:
            self.say(f"{self.folder}: 16 bits of each colour in {self.some('cut')}: the upper eight are read.")
        if 0 < self.counts["deep"] < count:
            if self.peak < 2**15:
                raise DataError(
                    f"{self.folder}: 16 bits of grey in {self.some('deep')}, with values up to {self.peak:,} alone, "
                    "and eight in the others; save all of them with the same number of bits"
                )
            self.say(
                f"{self.folder}: 16 bits of grey in {self.some('deep')}, and eight in the others: all are read as 16."
            )

    def some(self, name: str) -> str:
        """ "3 of 20 images", by a name of `counts`."""
        return f"{self.counts[name]:,} of {counted(self.counts['all'], 'image')}"

    def error(self) -> DataError:
        """What is wrong with the damaged files, all of them at once."""
        numbers, hint = self.left_out(), "add --skip_damaged to go on without"
        if self.skip_damaged is None:
            hint = "mend or remove"
        first = self.damaged[numbers[0]]
        if len(numbers) == 1 and len(self.paths) > 1:
            return DataError(f"{first}, or {hint} it")
        if len(numbers) == 1:
            return first
        lines = [str(self.damaged[number]) for number in numbers]
        names = ", ".join(str(self.paths[number].relative_to(self.folder)) for number in numbers[:NAMED])
        listed = self.list_file(lines) if len(numbers) > NAMED else None
        more = "" if len(numbers) <= NAMED else f" and {len(numbers) - NAMED:,} more"
        where = "" if listed is None else f", all of which are listed in {listed}"
        which = f"{len(numbers):,} of {counted(len(self.paths), 'image')} are damaged: {names}{more}{where}"
        return DataError(f"{self.folder}: {which}; the first: {first}, or {hint} them")
