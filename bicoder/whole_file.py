"""Files that are there whole or not at all."""

import contextlib
import os
from pathlib import Path

from bicoder.errors import UsageError


@contextlib.contextmanager
def whole_file(path):
    """A path beside `path` to write to; what is there is renamed to `path` at the end, and removed on an error.

    Whoever is killed while writing leaves what was there before. The name ends as `path` does, since savefig and
    save_weights go by that.

    Raises:
        UsageError: the file cannot be written.
    """
    path = Path(path)
    part = path.with_name(f"part-{os.getpid()}-{path.name}")
    try:
        yield part
        part.replace(path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
