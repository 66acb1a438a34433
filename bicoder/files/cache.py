"""Files from the network into the cache: whole or not at all."""

import contextlib
import errno
import itertools
import os
import signal
import sys
import threading
import time
from pathlib import Path, PureWindowsPath

import filelock
import platformdirs

from bicoder.errors import DataError, DownloadError
from bicoder.files import transfer
from bicoder.files.record import change_of, read_record, record_path, write_record
from bicoder.files.unfinished import new_part, parts_of, remove_stale_parts

TRIES = 3
FIRST_WAIT = 1  # seconds before the second try; twice that before the third
LONGEST_WAIT = 120  # seconds that a server may ask for
LOCK_TIMEOUT = 300  # seconds in which nothing is written, after which a lock does not count
ELSEWHERE = "--data_dir or $BICODER_DATA moves it"


def data_folder(data_dir=None):
    """Where data files live: `data_dir`, else $BICODER_DATA, else the user's cache."""
    return Path(data_dir or os.environ.get("BICODER_DATA") or platformdirs.user_cache_dir("bicoder")).expanduser()


def cached_file(name, url, data_dir=None, mirror=None, download=True):
    """Path of a data file; it is fetched where it is not there yet, or where it is not what was fetched any more.

    A file that was put there by hand is used as it is.

    Args:
        name: the file's name in the cache and on a mirror.
        url: where its publisher has it.
        data_dir: see `data_folder`.
        mirror: address of a folder that holds a copy, else $BICODER_MIRROR, else None.
        download: False to fail where the file would have to be fetched.
    Raises:
        DownloadError: it could not be fetched, or it has changed and fetching was not allowed.
        DataError: it is not there, and fetching was not allowed; or it cannot be read.
    """
    if name in ("", ".", "..") or name != PureWindowsPath(name).name or "\0" in name:
        raise DownloadError(f"name: expected the name of a file, without a folder, received {name!r}")
    path = data_folder(data_dir) / name
    try:
        there = path.is_file()
        change = change_of(path) if there else None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; {ELSEWHERE}") from error
    if there and not change:
        return path
    if not download and change:
        raise DownloadError(
            f"{path}: has changed since it was fetched: {change}; downloading is switched off: allow it, or delete "
            f"{record_path(path)} to use the file as it is"
        )
    if not download:
        raise DataError(f"{path}: expected the file there, since downloading is switched off; received nothing")
    mirror = mirror or os.environ.get("BICODER_MIRROR")
    fetch(mirror.rstrip("/") + "/" + name if mirror else url, path)
    return path


def fetch(url, path):
    """Fetch `url` into `path`, by way of a file beside it that is renamed when it is whole.

    Raises:
        DownloadError: it could not be fetched or written, or is not what it was the first time.
    """
    shown = transfer.without_password(url)
    if not transfer.is_web_address(url):
        raise DownloadError(f"{shown}: expected an address that begins with http:// or https://")
    part = new_part(path)
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        path.parent.mkdir(parents=True, exist_ok=True)
        with exit_on_sigterm(), one_at_a_time(path):
            change = change_of(path) if path.is_file() else None
            if path.is_file() and not change:  # another process was faster
                return
            record = read_record(path)
            remove_stale_parts(path)
            part.touch()  # a folder that cannot be written is found out before anything is asked for
            if change:
                print(f"{path}: has changed since it was fetched: {change}; fetching it again", file=sys.stderr)
            print(f"Fetching {path.name} from {shown.split('/')[2]} into {path.parent}", file=sys.stderr)
            received = receive_with_patience(url, part, path)
            check_content(part, shown)
            check_record(received, record, shown, path)
            put_in_place(part, path, received)
            remove_stale_parts(path)  # of a process that was still ending when this one came after it
    except DownloadError:
        raise
    except OSError as error:
        raise DownloadError(f"{path}: cannot be written: {error.strerror or error}; {ELSEWHERE}") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def receive_with_patience(url, part, path):
    """`transfer.receive` with three tries, where trying again makes sense, and the waits between them."""
    shown = transfer.without_password(url)
    for number in itertools.count(1):
        try:
            return transfer.receive(url, part)
        except transfer.TransferError as error:
            wait = FIRST_WAIT * 2 ** (number - 1) if error.wait is None else error.wait
            late = f"; it asks to wait {wait:,.0f} s, try again then" if error.again and wait > LONGEST_WAIT else ""
            if late or not error.again or number == TRIES:
                hint = f"check the address and the connection; if you are offline: the file is expected at {path}"
                raise DownloadError(f"{shown}: {error}{late}; {hint}") from error
            asked = ", as the server asks" if error.wait is not None else ""
            print(f"{shown}: {error}; trying again in {wait:.3g} s{asked} ({number + 1} of {TRIES})", file=sys.stderr)
            time.sleep(wait)


def check_content(part, shown):
    """Refuse what is not data: an empty answer, or a web page that came with status 200."""
    with open(part, "rb") as file:
        head = file.read(512)
    page = head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")  # no format of arrays begins like this
    if page or not head:
        received = "a web page" if page else "nothing"
        hint = "open the address in a browser, or use --mirror (an address of Dropbox ends with dl=1)"
        raise DownloadError(f"{shown}: expected data, received {received}; {hint}")


def check_record(received, record, shown, path):
    """Refuse content that is not what it was when the file was fetched for the first time."""
    if record and received.sha256 != record.sha256:
        raise DownloadError(
            f"{shown}: expected SHA-256 {record.sha256}, as when {path.name} was first fetched, received "
            f"{received.sha256}; try again, or, if its publisher has changed it, delete {path} and {record_path(path)}"
        )


def put_in_place(part, path, received):
    """Give a file that is whole its name, keep the changed one aside that had it, and record what it is."""
    change = change_of(path) if path.exists() else None
    if path.exists() and not change:  # somebody else put it there in the meantime
        return
    # A time in the past, so that whatever is changed later changes the time too, be it in the same millisecond.
    past = int(time.time()) - 2
    os.utime(part, (past, past))
    if change:
        aside = path.with_name(path.name + ".changed")
        path.replace(aside)
        print(f"The changed file is kept as {aside}", file=sys.stderr)
    part.replace(path)
    if received.end_is_known:  # else nobody knows whether it is whole
        write_record(path, received.sha256)


@contextlib.contextmanager
def one_at_a_time(path, does="fetches"):
    """A lock, so that of several processes one makes the file and the others wait for it; `does` is what it does.

    Nothing but traffic depends on it: each process writes a file of its own and renames it when it is whole. So where
    a file system has no locks, they are done without.
    """
    lock = filelock.FileLock(path.with_name(f".{path.name}.lock"))
    with contextlib.suppress(OSError, NotImplementedError):  # a folder that cannot be written shows with the first byte
        acquire(lock, path, does)
    try:
        yield
    finally:
        if lock.is_locked:
            with contextlib.suppress(OSError):
                Path(lock.lock_file).unlink()
            lock.release()


def acquire(lock, path, does):
    """Take a lock; a lock whose process is gone, or writes nothing any more, is taken over."""
    file, sizes = Path(lock.lock_file), sizes_of_parts(path)
    left = file.exists()
    try:
        lock.acquire(timeout=0)
        if left:
            print(f"Taking over {file}: the process that made it is gone", file=sys.stderr)
        return
    except filelock.Timeout:
        print(f"Waiting for another process that {does} {path.name}", file=sys.stderr)
    while True:
        try:
            lock.acquire(timeout=LOCK_TIMEOUT)
            return
        except filelock.Timeout:
            before, sizes = sizes, sizes_of_parts(path)
            if sizes == before:
                print(f"Taking over {file}: nothing was written for {LOCK_TIMEOUT:g} s", file=sys.stderr)
                file.unlink(missing_ok=True)
                lock.acquire(timeout=0)
                return


def sizes_of_parts(path):
    """How far other processes are with a file."""
    sizes = {}
    for part in parts_of(path):
        with contextlib.suppress(OSError):  # finished in the meantime
            sizes[part.name] = part.stat().st_size
    return sizes


@contextlib.contextmanager
def exit_on_sigterm():
    """SIGTERM ends the program with 143 as it would anyway, but by an exception, so that nothing is left behind."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
