"""What a file is, by its first bytes, and its content, taken out of a zip or a gzip if it lies in one.

An archive can claim anything, so what comes out of it is counted while it is read, and nothing is ever written: a
member's name decides nothing.
"""

import contextlib
import gzip
import io
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath
from typing import IO, Any, TypeAlias

from bicoder.errors import BicoderError, DataError
from bicoder.files.regular_file import NotRegularError, open_regular, read_regular, regular

# No image set that fits a machine's memory is larger; a file that claims more is not read.
LARGEST = 64 * 2**30
# An archive may hold this many bytes, or this many times its own size if that is more. dSprites, black but for one
# white shape in each image, has a ratio of 113; a bomb has 1,000.
SMALL, MOST_RATIO = 2**28, 200
MOST_MEMBERS, MOST_DIRECTORY = 1000, 2**20  # files in a zip, and bytes of the list of them
BLOCK = 2**18  # bytes that are read at a time

Stream: TypeAlias = io.BufferedReader  # of a file, or of what comes out of an archive


def kind(head: bytes) -> str:
    """ "npy", "zip", "gzip", "idx", "tar", "html", "empty" or "other", from the first 512 bytes of a file."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        return "empty"
    for name, magic in (("npy", b"\x93NUMPY"), ("zip", b"PK\x03\x04"), ("zip", b"PK\x05\x06"), ("gzip", b"\x1f\x8b")):
        if head.startswith(magic):
            return name
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml")):
        return "html"
    if head[257:262] == b"ustar":
        return "tar"
    if len(head) > 3 and head[:2] == b"\0\0" and head[2] in (8, 9, 11, 12, 13, 14) and 1 <= head[3] <= 4:
        return "idx"
    return "other"


def kind_of_file(path: str | Path) -> str:
    """`kind` of the file at `path`; `DataError` if it cannot be read."""
    try:
        with open_regular(path) as file:
            return kind(file.read(512))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def read_whole(path: str | Path, largest: int) -> bytes:
    """The bytes of a regular file that has at most so many."""
    try:
        return read_regular(path, largest)
    except NotRegularError as error:
        raise DataError(f"{error}; remove it") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def no_data(found: str) -> str | None:
    """What to say if data was expected and a file is of the kind `found`; None if it may hold data."""
    return {
        "empty": "an empty file; delete it and fetch it again",
        "html": "a web page; delete it and fetch it again (with dl=1)",
        "tar": "a tar archive; unpack it first",
    }.get(found)


@contextlib.contextmanager
def damage_as_data_error(path: str | Path, what: str) -> Iterator[None]:
    """Whatever a reader raises on damaged bytes becomes `DataError`: no list of what they raise is complete."""
    try:
        yield
    except BicoderError:
        raise
    except MemoryError as error:
        raise DataError(f"{path}: takes more memory than there is; use --stream, fewer or smaller images") from error
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{path}: damaged {what}: {reason}; fetch or save it again") from error


@contextlib.contextmanager
def open_content(path: str | Path) -> Iterator[Stream]:
    """The content of a file as a seekable binary stream: out of its zip or gzip, or the file itself.

    A zip must hold one file; what macOS adds (`__MACOSX/`) does not count. Errors of the archive are `DataError`.
    """
    found = kind_of_file(path)
    if no_data(found):
        raise DataError(f"{path}: expected data, received {no_data(found)}")
    with damage_as_data_error(path, f"{found} archive" if found in ("zip", "gzip") else "file"):
        if found == "zip":
            with open_zip(path) as (archive, members), open_member(archive, only(members, path), path) as stream:
                yield stream
        elif found == "gzip":
            with open_regular(path) as file, gzip.GzipFile(fileobj=file) as stream:
                yield counted(stream, path)
        else:
            with open(path, "rb", opener=regular) as stream:
                yield stream


def most_content(path: str | Path) -> int:
    """Bytes that may come out of an archive."""
    return min(LARGEST, max(SMALL, MOST_RATIO * Path(path).stat().st_size))


def counted(stream: IO[bytes] | gzip.GzipFile, path: str | Path) -> io.BufferedReader:
    """The stream of an archive as a buffered one that gives no more than `most_content`."""
    return io.BufferedReader(Counted(stream, most_content(path), path), 2**16)


class Counted(io.RawIOBase):
    """What comes out of an archive, up to a number of bytes.

    If it is moved forward it reads what it passes, so that the archive's checksum covers it.
    """

    def __init__(self, stream: IO[bytes] | gzip.GzipFile, most: int, path: str | Path) -> None:
        self.stream, self.most, self.path, self.position = stream, most, path, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def take(self, size: int) -> bytes:
        block = self.stream.read(min(size, BLOCK))
        self.position += len(block)
        if self.position > self.most:
            raise DataError(
                f"{self.path}: expected at most {self.most:,} bytes out of an archive of its size, received more; "
                "unpack it yourself if you trust it"
            )
        return block

    def readinto(self, buffer: Any) -> int:
        block = self.take(len(buffer))
        buffer[: len(block)] = block
        return len(block)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_END:
            raise io.UnsupportedOperation("the end of an archive's content is not known")
        target = offset + (self.position if whence == io.SEEK_CUR else 0)
        if target < self.position:
            self.stream.seek(0)
            self.position = 0
        while self.position < target and self.take(target - self.position):
            pass
        return self.position


class ZipBytes(io.FileIO):
    """A zip file whose list of members cannot be large: `zipfile` reads it at once and makes an object of each."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MOST_DIRECTORY:
            raise DataError(
                f"{self.name}: expected a zip archive of at most {MOST_MEMBERS:,} files, received a list of "
                f"{size:,} bytes; unpack it yourself if you trust it"
            )
        return super().read(size)


@contextlib.contextmanager
def open_zip(path: str | Path) -> Iterator[tuple[zipfile.ZipFile, list[zipfile.ZipInfo]]]:
    """A `zipfile.ZipFile` for reading, and its files, in which there is nothing to object to."""
    with (
        damage_as_data_error(path, "zip archive"),
        ZipBytes(path, opener=regular) as file,
        zipfile.ZipFile(file) as archive,
    ):
        check_count(archive, file, path)
        yield archive, plain_files(archive, path)


def check_count(archive: zipfile.ZipFile, file: io.FileIO, path: str | Path) -> None:
    """`DataError` unless the archive has as many files as its last bytes say; `zipfile` does not compare them."""
    file.seek(-22 - len(archive.comment), io.SEEK_END)
    end, count = file.read(22), len(archive.infolist())
    if not end.startswith(b"PK\x05\x06"):
        raise DataError(f"{path}: expected a zip archive to end after its list of files, received more bytes")
    claimed = int.from_bytes(end[10:12], "little")
    if claimed not in (count, 2**16 - 1):  # the latter says that the number is elsewhere
        raise DataError(f"{path}: damaged zip archive: lists {claimed:,} files, of which {count:,} are found")


def open_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: str | Path) -> io.BufferedReader:
    """A buffered stream of one member."""
    return counted(archive.open(member), path)


def plain_files(archive: zipfile.ZipFile, path: str | Path) -> list[zipfile.ZipInfo]:
    """The files in a zip, without what macOS adds; `DataError` for what no honest archive of arrays has."""
    everything = archive.infolist()
    if len(everything) > MOST_MEMBERS:
        raise DataError(
            f"{path}: expected a zip archive of at most {MOST_MEMBERS:,} files, received {len(everything):,}"
        )
    found = [m for m in everything if not m.is_dir() and not m.filename.startswith("__MACOSX/")]
    for member in everything:
        fault = fault_of(member)
        if fault:
            raise DataError(
                f"{path}: expected plain files in a zip archive, received {member.filename[:80]!r}: {fault}"
            )
    names = [m.filename for m in found]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{path}: expected every name once, received {twice[:80]!r} twice; make the archive again")
    claimed = sum(m.file_size for m in found)
    if claimed > most_content(path):
        raise DataError(
            f"{path}: claims to unpack to {claimed:,} bytes, more than an archive of its size may hold; refused; "
            "unpack it yourself if you trust it"
        )
    return found


def fault_of(member: zipfile.ZipInfo) -> str | None:
    """Why a member of a zip is refused; None if it is a plain file or a folder.

    Its name is used for nothing but messages; a name that leads out of a folder has no honest reason all the same.
    Only stored and deflated members can be read a few bytes at a time: `zipfile` unpacks a block of any other method
    in one go, however large it is.
    """
    name = PureWindowsPath(member.filename)  # knows drives, and both slashes
    mode = stat.S_IFMT(member.external_attr >> 16)
    if "\0" in member.orig_filename or "\\" in member.filename or name.drive or name.root or ".." in name.parts:
        return "a name that leads out of the archive; make the archive again"
    if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "a link or a device; make the archive again with the file itself"
    if member.flag_bits & 1:
        return "encrypted; unpack it first"
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"compressed by method {member.compress_type}; make the archive again with deflate"
    return None


def only(members: list[zipfile.ZipInfo], path: str | Path) -> zipfile.ZipInfo:
    """The one file inside a zip."""
    if len(members) != 1:
        names = ", ".join(m.filename[:80] for m in members[:5]) or "nothing"
        hint = "; call it .npz if it is one" if members and all(m.filename.endswith(".npy") for m in members) else ""
        raise DataError(f"{path}: expected a zip archive with one file, received {len(members)}: {names}{hint}")
    return members[0]


def read_exactly(stream: Stream, size: int, path: str | Path) -> bytearray:
    """`size` bytes of a stream as a bytearray; memory grows with what is really there, not with what is claimed."""
    content = bytearray()
    while len(content) < size:
        block = stream.read(min(size - len(content), BLOCK))
        if not block:
            raise DataError(f"{path}: truncated: expected {size:,} bytes more, received {len(content):,}")
        content += block
    return content


def check_end(stream: Stream, path: str | Path) -> None:
    """`DataError` unless the stream ends here; an archive compares its checksum there."""
    if stream.read(1):
        raise DataError(f"{path}: expected the end of the file, received more bytes; save it again")
