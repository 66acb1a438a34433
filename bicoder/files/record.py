"""The record of a fetched file, beside it: its size, its SHA-256 and its address, so that a change is noticed."""

import contextlib
import hashlib
import json
import os
import time
from pathlib import Path
from typing import NamedTuple

from bicoder.errors import DataError
from bicoder.files.regular_file import NotRegularError, check_regular, open_regular, read_regular
from bicoder.files.whole_file import whole_file

LARGEST = 2**16  # bytes of a record; it has two hundred


class Record(NamedTuple):
    """What a file was when it was fetched; with its time, a file that nobody touched need not be read again."""

    size: int
    sha256: str
    mtime_ns: int
    url: str = ""  # from where it was fetched; older records do not say


def record_path(path: Path) -> Path:
    """The path of a file's record."""
    return path.with_name(f".{path.name}.json")


def read_record(path: Path) -> Record | None:
    """The `Record` of a file, or None if it has none, as a file that was put there by hand."""
    record = record_path(path)
    try:
        fields = json.loads(read_regular(record, LARGEST))
        return Record(int(fields["size"]), str(fields["sha256"]), int(fields["mtime_ns"]), str(fields.get("url", "")))
    except FileNotFoundError:
        return None
    except (NotRegularError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{record}: expected the size and SHA-256 of {path.name}, received something else; delete it to use "
            f"{path.name} as it is"
        ) from error


def write_record(path: Path, sha256: str, url: str) -> None:
    """Record a file that is known to be good, if that can be: a cache that is read-only is read again instead."""
    found = path.stat()
    text = json.dumps(Record(found.st_size, sha256, found.st_mtime_ns, url)._asdict(), indent=2) + "\n"
    with contextlib.suppress(DataError), whole_file(record_path(path), DataError) as new:
        new.write_text(text, encoding="utf-8")


def set_back(path: Path) -> None:
    """Give a file a time in the past, so that any later change changes its time too, even in the same millisecond."""
    past = int(time.time()) - 2
    os.utime(path, (past, past))


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def change_of(path: Path) -> str | None:
    """How a file differs from its record: "expected ..., received ..."; None if it does not, or has none.

    It is read only if its size is the recorded one and its time is not.
    """
    record, found = read_record(path), check_regular(path)
    if record is None or (found.st_size, found.st_mtime_ns) == (record.size, record.mtime_ns):
        return None
    if found.st_size != record.size:
        return f"expected {record.size:,} bytes, received {found.st_size:,}"
    sha256 = sha256_of(path)
    if sha256 != record.sha256:
        return f"expected SHA-256 {record.sha256}, received {sha256}"
    write_record(path, sha256, record.url)  # touched or copied
    return None
