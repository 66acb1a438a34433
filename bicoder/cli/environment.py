"""What the commands need of the machine, checked before anything large is imported."""

import contextlib
import errno
import io
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bicoder.engine.start import chosen_backend
from bicoder.errors import UsageError

if TYPE_CHECKING:
    from packaging.requirements import Requirement


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def prepare(backend: str | None = None) -> None:
    """Choose the backend of Matplotlib, and how OpenMP waits; check the packages.

    Raises:
        UsageError: a package is missing or has a version that does not work, a backend of Keras is none or is not
            installed, or the working directory was deleted.
    """
    try:
        Path.cwd()
    except OSError as error:  # packages that are imported ask for it, too
        raise UsageError(f"the working directory is gone ({error.strerror}): cd to one that is there") from None
    check_packages()
    # What NumPy 2 says of the variables of Keras, and `python -W error` would make an error of.
    warnings.filterwarnings("ignore", "__array__ implementation doesn't accept a copy", DeprecationWarning)
    chosen_backend(backend)
    os.environ["MPLBACKEND"] = "agg"  # pictures are files: no display is needed, and what is set may not exist
    if "OMP_WAIT_POLICY" not in os.environ:
        # The threads of t-SNE wait for each other; by counting to 300,000, as they would, they keep the cores from
        # those that they wait for wherever other programs run: ten times as long.
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def check_packages() -> None:
    """`UsageError` if a package that bicoder's own metadata asks for is missing or of a version that it excludes."""
    import importlib.metadata
    import importlib.util

    try:
        lines = importlib.metadata.requires("bicoder") or []
    except importlib.metadata.PackageNotFoundError:  # not installed, run from its source: nobody says what it needs
        return
    problems, wanted = [], []
    for requirement in map(parsed, lines):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        name, versions = requirement.name, requirement.specifier
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            if importlib.util.find_spec(name.replace("-", "_")):  # under another name, as tensorflow-cpu is
                continue
            found = None
        if found is None or not versions.contains(found, prereleases=True):
            problems.append(f"{name}: expected a version {versions}, received {found or 'none, it is not installed'}")
            wanted.append(f'"{name}{versions}"')
    if problems:
        raise UsageError(f"{'; '.join(problems)}; run: {sys.executable} -m pip install {' '.join(wanted)}")


def parsed(line: str) -> "Requirement":
    """A line of metadata, such as "keras>=3.12"."""
    try:
        from packaging.requirements import Requirement
    except ImportError:
        raise UsageError(f"packaging: is not installed; run: {sys.executable} -m pip install packaging") from None
    return Requirement(line)


@contextlib.contextmanager
def standard_streams() -> Iterator[None]:
    """Standard output and error on which every name can be printed, and whose reader may leave.

    If it leaves, as `head` does, the command ends without a word, and with the code of a broken pipe; if they go to a
    file whose disk is full, with a line and the code of a file that cannot be written.
    """
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the shell: the next file to be opened would be in its place
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper) and name != "stdin":
            stream.reconfigure(errors="backslashreplace")  # in the locale C, the name of a folder may have no letters
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except OSError as error:
        if not of_stream(error):
            raise
        if not isinstance(error, BrokenPipeError):
            with contextlib.suppress(OSError):  # it may be standard error itself
                print(f"error: standard output cannot be written: {error.strerror}", file=sys.stderr)
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        raise SystemExit(141 if isinstance(error, BrokenPipeError) else UsageError.exit_code) from None


def of_stream(error: Exception) -> bool:
    """Whether this is what `print` raises of a reader who has gone, or a full disk; files are written under a name."""
    full = isinstance(error, OSError) and error.filename is None and error.errno in FULL
    return full or isinstance(error, BrokenPipeError)
