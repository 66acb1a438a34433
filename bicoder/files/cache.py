"""Files from the network into the cache: whole or not at all."""

import os
import sys
import time
from pathlib import Path, PureWindowsPath

import platformdirs

from bicoder.errors import DataError, DownloadError
from bicoder.files import transfer
from bicoder.files.lock import one_at_a_time
from bicoder.files.record import Record, change_of, read_record, record_path, set_back, write_record
from bicoder.files.regular_file import check_regular
from bicoder.files.whole_file import new_file, remove_stale

TRIES = 3
FIRST_WAIT = 1  # seconds before the second try; twice that before the third
LONGEST_WAIT = 120  # seconds that a server may ask for
ELSEWHERE = "--data_dir or $BICODER_DATA moves it"


def data_folder(data_dir: str | Path | None = None) -> Path:
    """The folder of data files: `data_dir`, else $BICODER_DATA, else the user's cache."""
    return named_folder(data_dir) or Path(platformdirs.user_cache_dir("bicoder")).expanduser()


def named_folder(data_dir: str | Path | None = None) -> Path | None:
    """The folder that somebody named, `data_dir` or $BICODER_DATA; None for the user's cache."""
    named = data_dir or os.environ.get("BICODER_DATA")
    return Path(named).expanduser() if named else None


def cached_file(
    name: str,
    url: str,
    data_dir: str | Path | None = None,
    mirror: str | None = None,
    download: bool = True,
    most: int | None = None,
) -> Path:
    """Path of a data file; it is fetched if it is not there yet, or is not what was fetched any more.

    A file that was put there by hand is used as it is; one that was fetched from elsewhere is not taken for what its
    publisher has.

    Args:
        name: the file's name in the cache and on a mirror.
        url: its address at its publisher.
        data_dir: see `data_folder`.
        mirror: address of a folder that holds a copy, else $BICODER_MIRROR, else None.
        download: False to fail if the file would have to be fetched.
        most: bytes that it can have; None if nobody knows.
    Raises:
        DownloadError: it could not be fetched, it has changed and fetching was not allowed, or it came from elsewhere.
        DataError: it is not there, and fetching was not allowed; or it cannot be read.
    """
    if name in ("", ".", "..") or name != PureWindowsPath(name).name or "\0" in name:
        raise DownloadError(f"name: expected the name of a file, without a folder, received {name!r}")
    path, mirror = data_folder(data_dir) / name, mirror or os.environ.get("BICODER_MIRROR")
    copy = mirror and mirror.rstrip("/") + "/" + name
    try:
        there = path.is_file()
        change = change_of(path) if there else None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; {ELSEWHERE}") from error
    if there and not change:
        check_origin(path, url, copy)
        return path
    if not download and change:
        raise DownloadError(
            f"{path}: has changed since it was fetched: {change}; downloading is switched off: allow it, or delete "
            f"{record_path(path)} to use the file as it is"
        )
    if not download:
        raise DataError(f"{path}: expected the file there, since downloading is switched off; received nothing")
    fetch(copy or url, path, most)
    check_origin(path, url, copy)  # another process may have been faster
    return path


def check_origin(path: Path, *urls: str | None) -> None:
    """`DownloadError` if a file was fetched from another address than these."""
    record = read_record(path)
    if record and record.url and record.url not in [transfer.without_password(url) for url in urls if url]:
        raise DownloadError(
            f"{path}: expected the file of its publisher, or of --mirror, received one that was fetched from "
            f"{record.url}; --mirror {record.url.rpartition('/')[0]} takes it as it is, and if it is deleted it is "
            "fetched again"
        )


def fetch(url: str, path: Path, most: int | None = None) -> None:
    """Fetch `url` into `path`, by way of a file beside it that is renamed when it is whole.

    Raises:
        DownloadError: it could not be fetched or written, or is not what it was the first time.
    """
    shown = transfer.without_password(url)
    if not transfer.is_web_address(url):
        raise DownloadError(f"{shown}: expected an address that begins with http:// or https://")
    try:
        if path.exists():
            check_regular(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(path):
            change = change_of(path) if path.is_file() else None
            if path.is_file() and not change:  # another process was faster
                return
            record = read_record(path)
            remove_stale(path, record_path(path))
            with new_file(path) as new:  # a folder that cannot be written is found out before anything is asked for
                if change:
                    print(f"{path}: has changed since it was fetched: {change}; fetching it again", file=sys.stderr)
                print(f"Fetching {path.name} from {shown.split('/')[2]} into {path.parent}", file=sys.stderr)
                received = receive_with_patience(url, new, path, most)
                check_content(new, shown)
                check_record(received, record, shown, path)
                put_in_place(new, path, received, shown)
            remove_stale(path, record_path(path))  # of a process that was still ending when this one came after it
    except DownloadError:
        raise
    except OSError as error:
        raise DownloadError(f"{path}: cannot be written: {error.strerror or error}; {ELSEWHERE}") from error


def receive_with_patience(url: str, new: Path, path: Path, most: int | None) -> transfer.Received:
    """`transfer.receive` with three tries, if trying again makes sense, and the waits between them."""
    shown = transfer.without_password(url)
    number = 0
    while True:
        number += 1
        try:
            return transfer.receive(url, new, most)
        except transfer.TransferError as error:
            wait = FIRST_WAIT * 2 ** (number - 1) if error.wait is None else error.wait
            late = f"; it asks to wait {wait:,.0f} s, try again then" if error.again and wait > LONGEST_WAIT else ""
            if late or not error.again or number == TRIES:
                hint = f"check the address and the connection; if you are offline: the file is expected at {path}"
                raise DownloadError(f"{shown}: {error}{late}; {hint}") from error
            asked = ", as the server asks" if error.wait is not None else ""
            print(f"{shown}: {error}; trying again in {wait:.3g} s{asked} ({number + 1} of {TRIES})", file=sys.stderr)
            time.sleep(wait)


def check_content(new: Path, shown: str) -> None:
    """Refuse what is not data: an empty answer, or a web page that came with status 200."""
    with open(new, "rb") as file:
        head = file.read(512)
    page = head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")  # no format of arrays begins like this
    if page or not head:
        received = "a web page" if page else "nothing"
        hint = "open the address in a browser, or use --mirror (an address of Dropbox ends with dl=1)"
        raise DownloadError(f"{shown}: expected data, received {received}; {hint}")


def check_record(received: transfer.Received, record: Record | None, shown: str, path: Path) -> None:
    """Refuse content that is not what it was when the file was fetched for the first time."""
    if record and received.sha256 != record.sha256:
        raise DownloadError(
            f"{shown}: expected SHA-256 {record.sha256}, as when {path.name} was first fetched, received "
            f"{received.sha256}; try again, or, if its publisher has changed it, delete {path} and {record_path(path)}"
        )


def put_in_place(new: Path, path: Path, received: transfer.Received, shown: str) -> None:
    """Give a file that is whole its name, keep the changed one aside that had it, and record what it is."""
    change = change_of(path) if path.exists() else None
    if path.exists() and not change:  # somebody else put it there in the meantime
        return
    set_back(new)
    if change:
        aside = path.with_name(path.name + ".changed")
        path.replace(aside)
        print(f"The changed file is kept as {aside}", file=sys.stderr)
    new.replace(path)
    if received.end_is_known:  # else nobody knows whether it is whole
        write_record(path, received.sha256, shown)
