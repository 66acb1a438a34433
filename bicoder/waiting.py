"""What is said while something takes long, on a terminal and in a log: nobody shall wonder whether it still runs."""

import contextlib
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

FIRST, NEXT = 5.0, 60.0  # seconds until something is said, and until it is said again

Item = TypeVar("Item")


@contextlib.contextmanager
def told(what: str, aloud: bool = True) -> Iterator[None]:
    """Inside, a line on standard error says what is done, if it takes more than a few seconds, and again every minute.

    Args:
        what: is done.
        aloud: False to say nothing.
    """
    over, began = threading.Event(), time.monotonic()

    def speak() -> None:
        wait = FIRST
        while not over.wait(wait):
            say(f"{what}: {time.monotonic() - began:.0f} s so far")
            wait = NEXT

    thread = threading.Thread(target=speak, daemon=True)
    if aloud:
        thread.start()
    try:
        yield
    finally:
        over.set()
        if aloud:
            thread.join()


def watched(items: Iterable[Item], what: str, total: int, aloud: bool = True, size: int = 1) -> Iterator[Item]:
    """The items; if they take more than a few seconds, with a bar on a terminal, and else a line every minute.

    Args:
        items: of any kind.
        what: is done with them.
        total: how many there are.
        aloud: False to say nothing.
        size: as how many each item counts; the last one may be less.
    """
    if aloud and sys.stderr.isatty():
        yield from tqdm(items, what, -(-total // size), unit_scale=size, delay=FIRST, leave=False)
        return
    due = time.monotonic() + FIRST
    for number, item in enumerate(items, 1):
        yield item
        if aloud and number * size < total and time.monotonic() > due:
            say(f"{what}: {number * size:,} of {total:,}")
            due = time.monotonic() + NEXT


def duration(seconds: float) -> str:
    """A time in words, as exact as a guess can be: "1 s", "40 s", "3 min", "2.5 h"."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def say(line: str) -> None:
    """A line on standard error, which on a terminal takes the place of a line that moves."""
    with contextlib.suppress(OSError, ValueError):  # nobody reads it
        print(f"\r{line}\x1b[K" if sys.stderr.isatty() else line, file=sys.stderr, flush=True)
