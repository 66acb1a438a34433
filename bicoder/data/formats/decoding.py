"""Image files that are read by processes of their own: threads of Python unpack small images one after the other."""

import os
import pickle
import queue
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from bicoder.errors import DataError

# With the path of this process, so that both import the same; no `multiprocessing`, which would run the user's script.
START = "import sys; sys.path[:] = {path!r}; from bicoder.data.formats.decoding import serve; serve()"
GRACE = 10  # seconds in which a process that has nothing to do any more ends


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Decoders:
    """Some processes that read image files; several threads may ask at once.

    They end with this process, however that ends, since their standard input ends then.

    Args:
        count: how many.
    """

    def __init__(self, count: int) -> None:
        command = [sys.executable, "-c", START.format(path=sys.path)]
        self.processes = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 - this very program
            for _ in range(count)
        ]
        self.free: queue.SimpleQueue[subprocess.Popen] = queue.SimpleQueue()
        for process in self.processes:
            self.free.put(process)

    def __enter__(self) -> "Decoders":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for process in self.processes:
            if kind is not None:  # nobody wants what it is reading now
                process.kill()
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    pipe.close()
        for process in self.processes:
            try:
                process.wait(GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def read(self, paths: Sequence[Path], how: dict[str, Any]) -> list[Any]:
        """What becomes of some files, `reading.Found` each.

        Args:
            paths: of the files.
            how: `size`, `channels` and `plan` of `reading.Pictures`.
        Raises:
            DataError: the process ended.
        """
        process = self.free.get()
        try:
            pickle.dump((list(map(str, paths)), how), process.stdin, protocol=5)  # type: ignore[arg-type]
            process.stdin.flush()  # type: ignore[union-attr]
            return pickle.load(process.stdout)  # type: ignore[arg-type]  # noqa: S301 - of a process of ours
        except (EOFError, BrokenPipeError, pickle.UnpicklingError) as error:
            raise DataError(
                f"{paths[0]}: a process that reads images has ended, with exit code {process.wait()}, at this file or "
                "one after it; if it was killed for its memory, use fewer at once (--jobs)"
            ) from error
        finally:
            self.free.put(process)


def serve() -> None:
    """Read the files that standard input names, until it ends; what becomes of them goes to standard output."""
    from bicoder.data.formats.images import quiet
    from bicoder.data.formats.reading import Pictures

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the process that started this one decides
    questions, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever others print is no answer
    with quiet():
        while True:
            try:
                paths, how = pickle.load(questions)  # noqa: S301 - of the process that started this one
            except EOFError:
                return
            pictures = Pictures(Path(), [], how["size"], how["channels"])
            pictures.plan = how["plan"]
            pickle.dump([pictures.take(Path(path), pictures.fitting) for path in paths], answers, protocol=5)
            answers.flush()
