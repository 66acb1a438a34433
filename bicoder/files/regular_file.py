"""Opening what somebody else may have laid: a regular file, or an error that says what else it is.

A FIFO holds up whoever opens it until somebody writes, a device gives bytes without end, a socket cannot be opened at
all. None of them is a file of a run, of a data set or of the cache, so none of them is ever opened.
"""

import errno
import functools
import os
import stat
from io import FileIO
from pathlib import Path

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFLNK: "a symbolic link",
}
# Without waiting for a writer, should it have become a FIFO just now.
FLAGS = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)


class NotRegularError(OSError):
    """Something else than a regular file of a bounded size; `strerror` says what was expected and received."""

    def __init__(self, path: str | Path, expected: str, received: str) -> None:
        super().__init__(errno.EINVAL, f"expected {expected}, received {received}", str(path))

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}"


def kind_of_entry(mode: int) -> str | None:
    """What an entry of a folder with this `st_mode` is, in words; None for a regular file."""
    return None if stat.S_ISREG(mode) else KINDS.get(stat.S_IFMT(mode), "something else")


def check_mode(path: str | Path, mode: int) -> None:
    """`NotRegularError` unless this is the `st_mode` of a regular file."""
    if kind := kind_of_entry(mode):
        raise NotRegularError(path, "a file", kind)


def check_regular(path: str | Path, follow: bool = True) -> os.stat_result:
    """What `os.stat` says of a regular file, for what is opened by others' code.

    Args:
        path: of the file.
        follow: False to refuse a symbolic link, too; those in the folders on the way do not count.
    Raises:
        NotRegularError: it is something else.
        OSError: it is not there, or cannot be looked at.
    """
    found = os.stat(path, follow_symlinks=follow)  # noqa: PTH116 - of 100,000 files, a new path each would take as long
    check_mode(path, found.st_mode)
    return found


def regular(path: str, flags: int, follow: bool = True) -> int:
    """For `open(path, ..., opener=regular)`: a descriptor of a regular file; errors as in `check_regular`."""
    check_regular(path, follow)  # first, since some devices do something when they are opened
    descriptor = os.open(path, flags | FLAGS | (0 if follow else getattr(os, "O_NOFOLLOW", 0)))
    try:
        check_mode(path, os.fstat(descriptor).st_mode)  # it may be another one by now
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def open_regular(path: str | Path, follow: bool = True) -> FileIO:
    """A regular file, open for reading, without a buffer; arguments and errors as in `check_regular`."""
    return FileIO(os.fspath(path), opener=functools.partial(regular, follow=follow))


def read_regular(path: str | Path, most: int, follow: bool = True) -> bytes:
    """The bytes of a regular file of at most so many; else as in `check_regular`."""
    with open_regular(path, follow) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise NotRegularError(path, f"at most {most:,} bytes", f"{size:,}")
        return file.read(size) or b""
