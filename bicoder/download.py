"""Files from the network into the cache: whole or not at all."""

import contextlib
import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import filelock
import platformdirs

from bicoder.archives import kind_of_file
from bicoder.errors import DataError, DownloadError

TIMEOUT = 30  # seconds without a byte
LOCK_TIMEOUT = 3600  # seconds that another process may take for the same file
WGET_ERRORS = {
    3: "the file could not be written",
    4: "the network failed, or there is none",
    5: "the server's certificate is not valid",
    8: "the server answered with an error",
}


def data_folder(data_dir=None):
    """Where data files live: `data_dir`, else $BICODER_DATA, else the user's cache."""
    return Path(data_dir or os.environ.get("BICODER_DATA") or platformdirs.user_cache_dir("bicoder")).expanduser()


def cached_file(name, url, data_dir=None, mirror=None, download=True):
    """Path of a data file; it is fetched where it is not there yet.

    Args:
        name: the file's name in the cache and on a mirror.
        url: where its publisher has it.
        data_dir: see `data_folder`.
        mirror: address of a folder that holds a copy, else $BICODER_MIRROR, else None.
        download: False to fail where the file is not there.
    Raises:
        DownloadError: it could not be fetched.
        DataError: it is not there, and fetching was not allowed.
    """
    path = data_folder(data_dir) / name
    try:
        if path.is_file():
            return path
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; --data_dir or $BICODER_DATA moves it") from error
    if not download:
        raise DataError(f"{path}: expected the file there, since downloading is switched off; received nothing")
    mirror = mirror or os.environ.get("BICODER_MIRROR")
    fetch(mirror.rstrip("/") + "/" + name if mirror else url, path)
    return path


def fetch(url, path):
    """Fetch `url` into `path`, by way of a temporary file beside it that is renamed when it is whole."""
    if not url.lower().startswith(("http://", "https://")):
        raise DownloadError(f"{url}: expected an address that begins with http:// or https://")
    part = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(path.with_name(f".{path.name}.lock"), timeout=LOCK_TIMEOUT):
            if path.is_file():  # another process was faster
                return
            print(f"Fetching {path.name} from {url.split('/')[2]} into {path.parent}", file=sys.stderr)
            with_wget(url, part) if shutil.which("wget") else with_requests(url, part)
            check_content(part, url)
            part.replace(path)
    except filelock.Timeout as error:
        raise DownloadError(
            f"{path}: another process has been fetching it for over an hour; remove its lock"
        ) from error
    except OSError as error:
        if isinstance(error, DownloadError):
            raise
        reason = error.strerror or error
        raise DownloadError(f"{path}: cannot be written: {reason}; --data_dir or $BICODER_DATA moves it") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def check_content(part, url):
    """Refuse what is not data: an empty answer, or a web page that came with status 200."""
    found = kind_of_file(part)
    if found in ("html", "empty"):
        received = "a web page" if found == "html" else "nothing"
        raise DownloadError(f"{url}: expected data, received {received}; open it in a browser, or use --mirror (dl=1)")


def with_wget(url, part):
    """Fetch with wget, which shows its own bar with the time left."""
    show = ["--quiet", "--show-progress", "--progress=bar:force:noscroll"] if sys.stderr.isatty() else ["--no-verbose"]
    limits = ["--tries=3", f"--timeout={TIMEOUT}", "--waitretry=2", "--max-redirect=10"]
    command = ["wget", *show, *limits, f"--output-document={part}", "--", url]
    done = subprocess.run(  # noqa: S603 - a list, no shell, and `--` before the address
        command, stderr=None if sys.stderr.isatty() else subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        said = [line for line in (done.stderr or "").splitlines() if line.strip()]
        reason = WGET_ERRORS.get(done.returncode, f"wget ended with {done.returncode}")
        raise DownloadError(f"{url}: {reason}{': ' + said[-1] if said else ''}; check the address and the connection")


def with_requests(url, part):
    """Fetch without wget."""
    import requests
    from tqdm import tqdm

    try:
        with requests.get(url, stream=True, timeout=TIMEOUT) as answer:
            answer.raise_for_status()
            length = answer.headers.get("Content-Length", "")
            total = int(length) if length.isdecimal() else None
            with (
                open(part, "wb") as file,
                tqdm(total=total, unit="B", unit_scale=True, disable=not sys.stderr.isatty()) as bar,
            ):
                for block in answer.iter_content(2**20):
                    file.write(block)
                    bar.update(len(block))
            if total is not None and answer.raw.tell() < total:  # urllib3 1 does not check it
                raise DownloadError(f"{url}: expected {total:,} bytes, received {answer.raw.tell():,}; try again")
    except requests.RequestException as error:
        raise DownloadError(f"{url}: {error}; check the address and the connection") from error
