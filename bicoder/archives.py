"""What a file is, by its first bytes, and its content, taken out of a zip or a gzip where it lies in one."""

import contextlib
import gzip
import zipfile

from bicoder.errors import BicoderError, DataError

# No image set that fits a machine's memory is larger; a member that claims more is not read.
LARGEST = 64 * 2**30


def kind(head):
    """ "npy", "zip", "gzip", "idx", "html", "empty" or "other", from the first 512 bytes of a file."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        return "empty"
    for name, magic in (("npy", b"\x93NUMPY"), ("zip", b"PK\x03\x04"), ("zip", b"PK\x05\x06"), ("gzip", b"\x1f\x8b")):
        if head.startswith(magic):
            return name
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml")):
        return "html"
    if len(head) > 3 and head[:2] == b"\0\0" and head[2] in (8, 9, 11, 12, 13, 14) and 1 <= head[3] <= 4:
        return "idx"
    return "other"


def kind_of_file(path):
    """`kind` of the file at `path`; `DataError` where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return kind(file.read(512))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


@contextlib.contextmanager
def damage_as_data_error(path, what):
    """Whatever a reader raises on damaged bytes becomes `DataError`: no list of what they raise is complete."""
    try:
        yield
    except BicoderError:
        raise
    except Exception as error:
        raise DataError(f"{path}: damaged {what}: {str(error)[:200]}; fetch or save it again") from error


@contextlib.contextmanager
def open_content(path):
    """The content of a file as a seekable binary stream: out of its zip or gzip, or the file itself.

    A zip must hold one file; what macOS adds (`__MACOSX/`) does not count. Errors of the archive are `DataError`.
    """
    found = kind_of_file(path)
    if found == "empty":
        raise DataError(f"{path}: expected data, received an empty file; delete it and fetch it again")
    if found == "html":
        raise DataError(f"{path}: expected data, received a web page; delete it and fetch it again (with dl=1)")
    with damage_as_data_error(path, f"{found} archive" if found in ("zip", "gzip") else "file"):
        if found == "zip":
            with zipfile.ZipFile(path) as archive, archive.open(only_member(archive, path)) as stream:
                yield stream
        elif found == "gzip":
            with gzip.open(path, "rb") as stream:
                yield stream
        else:
            with open(path, "rb") as stream:
                yield stream


def only_member(archive, path):
    """The one file inside a zip."""
    members = [m for m in archive.infolist() if not m.is_dir() and not m.filename.startswith("__MACOSX/")]
    if len(members) != 1:
        names = ", ".join(m.filename for m in members[:5]) or "nothing"
        raise DataError(f"{path}: expected a zip archive with one file, received {len(members)}: {names}")
    if members[0].file_size > LARGEST:
        raise DataError(f"{path}: {members[0].filename} claims {members[0].file_size:,} bytes; refused")
    return members[0]


def read_exactly(stream, size, path):
    """`size` bytes of a stream as a bytearray; memory grows with what is really there, not with what is claimed."""
    content = bytearray()
    while len(content) < size:
        block = stream.read(min(size - len(content), 2**20))
        if not block:
            raise DataError(f"{path}: truncated: expected {size:,} bytes more, received {len(content):,}")
        content += block
    return content
