"""Files that are there whole or not at all."""

import contextlib
import os
from pathlib import Path

from bicoder.errors import UsageError


@contextlib.contextmanager
def whole_file(path, error=UsageError):
    """A path beside `path` to write to; what is there is renamed to `path` at the end, and removed on an error.

    Whoever is killed while writing leaves what was there before. The name ends as `path` does, since savefig and
    save_weights go by that.

    Args:
        path: of the file.
        error: the class of the error where it cannot be written.
    Raises:
        UsageError, or the class given: the file cannot be written.
    """
    path = Path(path)
    part = path.with_name(f"part-{os.getpid()}-{path.name}")
    try:
        yield part
        part.replace(path)
    except OSError as reason:
        raise error(f"{path}: cannot be written: {reason.strerror or reason}") from reason
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
