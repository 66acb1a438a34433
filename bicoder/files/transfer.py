"""One try at an address: what is there comes into a file, by wget or by requests."""

import contextlib
import email.message
import email.parser
import errno
import hashlib
import http.client
import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import urljoin

TIMEOUT = 30  # seconds without a byte
REDIRECTS = 10
SLOWEST, WINDOW = 1000, 60  # bytes a second, over so many seconds: a body that comes more slowly is given up
BLOCK = 2**16  # bytes; also bounds what a compressed block can grow to, to 64 MiB

Headers: TypeAlias = Mapping[str, str] | email.message.Message  # whatever the case of their names


class TransferError(Exception):
    """Why a try failed: `again` is whether another may succeed, `wait` the seconds the server asks for, or None."""

    def __init__(self, reason: str, again: bool = False, wait: float | None = None) -> None:
        super().__init__(reason)
        self.again, self.wait = again, wait


class Answer(NamedTuple):
    """What a server answered."""

    status: int
    headers: Headers
    blocks: Iterator[bytes]  # the body as it was sent; `TransferError` if it breaks off


class Received(NamedTuple):
    """What came into the file."""

    sha256: str
    end_is_known: bool  # whether something told where the body ends, so that what came is all of it


def is_web_address(url: str) -> bool:
    """Whether this is fetched at all: nothing but http and https is."""
    return url.lower().startswith(("http://", "https://"))


def without_password(url: str) -> str:
    """The address as it may be shown."""
    return re.sub(r"(?<=//)[^/@]*@", "", url)


def receive(url: str, path: Path, most: int | None = None) -> Received:
    """Write what is at `url` into the file at `path`, from its beginning; returns `Received`.

    Nothing is ever resumed: no request asks for a range, so no answer can be appended to another.

    Args:
        url: an address of http or https.
        path: of the file.
        most: bytes that the file can have, unpacked; None if nobody knows.
    Raises:
        TransferError: the address or the connection.
        OSError: the file.
    """
    get = with_wget if has_wget() else with_requests
    for _ in range(REDIRECTS + 1):
        with get(url) as answer:
            location = answer.headers.get("Location")
            if answer.status in (301, 302, 303, 307, 308) and location:
                url = redirected(url, location)
                continue
            if answer.status != 200:
                phrase = http.client.responses.get(answer.status, "")
                again = answer.status in (408, 425, 429) or answer.status >= 500
                raise TransferError(
                    f"the server answered {answer.status} {phrase}".strip(), again, retry_after(answer.headers)
                )
            return write(answer, path, most)
    raise TransferError(f"over {REDIRECTS} redirects, the last to {without_password(url)}")


def redirected(url: str, location: str) -> str:
    """The address that a redirect leads to; `TransferError` if that is less safe than `url`, or no web address."""
    try:
        target = urljoin(url, location)
    except ValueError:
        target = location
    secure = url.lower().startswith("https://")
    if not is_web_address(target) or (secure and not target.lower().startswith("https://")):
        received, expected = without_password(target)[:200], "https://" if secure else "http:// or https://"
        raise TransferError(f"redirects to {received}, expected an address that begins with {expected}; refused")
    return target


def retry_after(headers: Headers) -> float | None:
    """Seconds that the server asks to wait, which it may give as a date; None if it asks for nothing."""
    from urllib3 import Retry
    from urllib3.exceptions import InvalidHeader

    try:
        return Retry().parse_retry_after(headers["Retry-After"]) if headers.get("Retry-After") else None
    except InvalidHeader:
        return None


class Counted:
    """The blocks of a body, which counts their bytes in `received`; `TransferError` if they come too slowly."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self.blocks, self.received = blocks, 0

    def __iter__(self) -> Iterator[bytes]:
        since, before = time.monotonic(), 0
        for block in self.blocks:
            self.received += len(block)
            yield block
            if (seconds := time.monotonic() - since) >= WINDOW:
                if (speed := (self.received - before) / seconds) < SLOWEST:
                    raise TransferError(f"only {speed:,.3g} bytes a second, expected at least {SLOWEST:,}", again=True)
                since, before = time.monotonic(), self.received


def limited(blocks: Iterable[bytes], most: int | None) -> Iterator[bytes]:
    """The same blocks; `TransferError` before they are more than `most` bytes."""
    total = 0
    for block in blocks:
        total += len(block)
        check_size(total, most)
        yield block


def check_size(size: int, most: int | None) -> None:
    """Refuse a file of more bytes than it can have."""
    if most is not None and size > most:
        raise TransferError(f"expected at most {most:,} bytes, for which the file's arrays have room, received more")


def write(answer: Answer, path: Path, most: int | None = None) -> Received:
    """Write the body of an answer, unpacked if it came with a Content-Encoding, and flush it to the disk."""
    coding = answer.headers.get("Content-Encoding", "identity").strip().lower()
    if coding not in ("", "identity", "gzip", "x-gzip"):
        raise TransferError(f"expected the file as it is, or with Content-Encoding gzip, received {coding[:80]}")
    length, chunked = length_of(answer.headers), "chunked" in answer.headers.get("Transfer-Encoding", "").lower()
    body, digest = Counted(answer.blocks), hashlib.sha256()
    try:
        check_size(length or 0, most)
        if length is not None and 0 < shutil.disk_usage(path.parent).free < length:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # known before the first byte of many
        with open(path, "wb") as file:
            for block in limited(unzipped(body) if "gzip" in coding else body, most):
                file.write(block)
                digest.update(block)
            file.flush()
            os.fsync(file.fileno())
    except TransferError as error:
        of = f" of {length:,}" if length is not None else ""
        raise TransferError(f"received {body.received:,}{of} bytes: {error}", error.again) from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        needed = f"{length:,}" if length is not None else f"over {body.received:,}"
        raise OSError(error.errno, f"{error.strerror}: {needed} bytes are needed") from error
    if length is not None and body.received < length:  # neither wget nor urllib3 2 lets this happen, but urllib3 1 does
        raise TransferError(
            f"received {body.received:,} of {length:,} bytes: the connection ended too early", again=True
        )
    return Received(digest.hexdigest(), length is not None or chunked or "gzip" in coding)


def length_of(headers: Headers) -> int | None:
    """The number of bytes that the answer claims to have, or None; chunks have none."""
    length = headers.get("Content-Length", "").strip()
    return int(length) if length.isdecimal() and not headers.get("Transfer-Encoding") else None


def unzipped(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The content of a gzip that comes in blocks."""
    unzip = zlib.decompressobj(31)
    try:
        for block in blocks:
            while block:
                if unzip.eof:  # one more member
                    unzip = zlib.decompressobj(31)
                yield unzip.decompress(block)
                block = unzip.unused_data
    except zlib.error as error:
        raise TransferError(f"damaged gzip: {error}", again=True) from error
    if not unzip.eof:
        raise TransferError("the gzip ended too early", again=True)


def has_wget() -> bool:
    """Whether there is a wget whose log can be read: GNU's, and not wget2 or that of BusyBox."""
    path = shutil.which("wget")
    if not path:
        return False
    said = subprocess.run([path, "--version"], capture_output=True, check=False).stdout  # noqa: S603 - no shell
    return said.startswith(b"GNU Wget 1.")


@contextlib.contextmanager
def with_wget(url: str) -> Iterator[Answer]:
    """The `Answer` of wget, which shows its own bar with the time left.

    The body comes through a pipe: if this process is killed, wget cannot go on alone. What the server answered stands
    in wget's log. Redirects, retries and lengths are ours, the same as without wget; the user's .wgetrc does not count.
    """
    terminal = sys.stderr.isatty()
    show = ["--show-progress", "--progress=bar:force:noscroll"] if terminal else []
    limits = ["--tries=1", f"--timeout={TIMEOUT}", "--max-redirect=0"]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        places = ["--server-response", f"--output-file={log}", "--output-document=-"]
        command = ["wget", "--no-config", "--no-verbose", *show, *limits, *places, "--", url]
        with subprocess.Popen(  # noqa: S603 - a list, no shell, and `--` before the address
            command, stdout=subprocess.PIPE, stderr=None if terminal else subprocess.DEVNULL
        ) as process:
            blocks = iter(lambda: process.stdout.read1(BLOCK), b"")  # type: ignore[union-attr]
            try:
                first = next(blocks, b"")  # once it is here, wget has logged the headers
                status, headers, reason = read_log(log)
                if status is not None:
                    yield Answer(status, headers, itertools.chain([first], blocks, end_of_wget(process)))
                elif first:
                    raise TransferError("expected an answer in HTTP, received something else")
                else:
                    raise wget_error(process, reason)
            finally:
                process.kill()


def end_of_wget(process: subprocess.Popen) -> Iterator[bytes]:
    """Nothing after the last block, or `TransferError` if wget failed."""
    if process.wait():
        raise wget_error(process, f"the connection broke, or gave nothing for {TIMEOUT:g} s")
    yield from ()


def wget_error(process: subprocess.Popen, reason: str) -> TransferError:
    """The `TransferError` of a wget that has ended."""
    code = process.wait()
    # Another try does not turn a text into an address (1), or make a certificate valid (5).
    return TransferError(reason or f"no answer (wget ended with {code})", again=code not in (1, 2, 5))


def read_log(log: Path) -> tuple[int | None, Headers, str]:
    """Status and headers of the last answer in wget's log, and its last line; None, {} and the line without one."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    lines = text.strip().splitlines()
    answers = re.findall(r"^  HTTP/[\d.]+ (\d{3}).*\n((?:  (?!HTTP/).*\n)*)", text, re.MULTILINE)
    if not answers:
        return None, {}, lines[-1].strip() if lines else ""
    status, headers = answers[-1]
    return int(status), email.parser.HeaderParser().parsestr(textwrap.dedent(headers)), ""


def as_they_come(raw: Any) -> Iterator[bytes]:
    """The blocks of a response of urllib3, each as soon as there is a byte, so that one that trickles is noticed."""
    if hasattr(raw, "read1"):  # urllib3 2
        return iter(lambda: raw.read1(BLOCK, decode_content=False), b"")
    return raw.stream(BLOCK, decode_content=False)


@contextlib.contextmanager
def with_requests(url: str) -> Iterator[Answer]:
    """The `Answer` without wget, with a bar on a terminal."""
    import requests
    from tqdm import tqdm
    from urllib3.exceptions import HTTPError

    def blocks(answer: requests.Response) -> Iterator[bytes]:
        try:
            with tqdm(
                total=length_of(answer.headers), unit="B", unit_scale=True, disable=not sys.stderr.isatty()
            ) as bar:
                for block in as_they_come(answer.raw):
                    yield block
                    bar.update(len(block))
        except HTTPError as error:
            raise TransferError(f"the connection broke, or gave nothing for {TIMEOUT:g} s", again=True) from error

    try:
        # The file as it is: a body that was compressed on the way has another length.
        answer = requests.get(
            url, stream=True, timeout=TIMEOUT, allow_redirects=False, headers={"Accept-Encoding": "identity"}
        )
    except requests.RequestException as error:
        safe = not isinstance(error, (requests.exceptions.SSLError, ValueError))  # ValueError: no address at all
        raise TransferError(str(error), again=safe) from error
    with answer:
        yield Answer(answer.status_code, answer.headers, blocks(answer))
