"""Opening what somebody else may have laid: a regular file, or an error that says what else it is.

A FIFO holds up whoever opens it until somebody writes, a device gives bytes without end, a socket cannot be opened at
all. None of them is a file of a run, of a data set or of the cache, so none of them is ever opened.
"""

import errno
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
# Without waiting for a writer, should it have become a FIFO just now; and Windows would change the ends of lines.
FLAGS = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY"))


def kind_of_entry(mode: int) -> str | None:
    """What an entry of a folder with this `st_mode` is, in words; None for a regular file."""
    return None if stat.S_ISREG(mode) else KINDS.get(stat.S_IFMT(mode), "something else")


def check_mode(path: str | Path, mode: int) -> None:
    """`OSError` unless this is the `st_mode` of a regular file."""
    if kind := kind_of_entry(mode):
        number = errno.EISDIR if stat.S_ISDIR(mode) else errno.ELOOP if stat.S_ISLNK(mode) else errno.EINVAL
        raise OSError(number, f"expected a file, received {kind}", str(path))


def check_regular(path: str | Path, follow: bool = True) -> os.stat_result:
    """What `os.stat` says of a regular file, for what is opened by others' code.

    Args:
        path: of the file.
        follow: False to refuse a symbolic link, too; those in the folders on the way do not count.
    Raises:
        OSError: it is not there, or something else; `strerror` says what.
    """
    found = os.stat(path, follow_symlinks=follow)  # noqa: PTH116 - of 100,000 files, a new path each would take as long
    check_mode(path, found.st_mode)
    return found


def open_regular(path: str | Path, follow: bool = True) -> FileIO:
    """A regular file, open for reading without a buffer; `io.BufferedReader` and `io.TextIOWrapper` take it.

    Args:
        path, follow: as in `check_regular`, which looks first: some devices do something when they are opened.
    Raises:
        OSError: it is not there, or something else; `strerror` says what.
    """
    check_regular(path, follow)
    descriptor = os.open(path, FLAGS | (0 if follow else getattr(os, "O_NOFOLLOW", 0)))
    try:
        check_mode(path, os.fstat(descriptor).st_mode)  # it may be another one by now
        return FileIO(descriptor)
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: str | Path, most: int, follow: bool = True) -> bytes:
    """The bytes of a regular file of a bounded size.

    Args:
        path, follow: as in `open_regular`.
        most: bytes.
    Raises:
        OSError: as `open_regular`; or it is larger.
    """
    with open_regular(path, follow) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise OSError(errno.EFBIG, f"expected at most {most:,} bytes, received {size:,}", str(path))
        return file.read(size) or b""
