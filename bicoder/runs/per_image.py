"""per_image.csv: what is known of each test image of a run."""

import contextlib
import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bicoder.data.likewise import own
from bicoder.data.splits import Split
from bicoder.errors import ModelError
from bicoder.files.regular_file import read_regular
from bicoder.files.tables import Table, write_csv
from bicoder.runs.folder import PER_IMAGE

if TYPE_CHECKING:
    from bicoder.data.loader import DataLoader
    from bicoder.evaluation.measure import Measured

LARGEST = 2**30  # bytes; a million images have a tenth
TERMS = ("elbo", "distortion", "rate")


def columns_of(found: "Measured") -> dict[str, np.ndarray]:
    """Name of a column -> its numbers (N,): log p(x), the bound and its terms.

    How log p(x) was estimated stands in the name of its column, so that columns of two files are not mistaken for each
    other: log_px_K1000_seed0, or log_px_given_y_K1000_seed0 of a model with a condition.
    """
    numbers, of_each = found.numbers, found.per_image
    given = "_given_y" if numbers["condition"] else ""
    return {
        f"log_px{given}_K{numbers['num_samples']}_seed{numbers['seed']}": of_each.log_likelihood,
        "elbo": of_each.elbo,
        "distortion": of_each.distortion,
        "rate": of_each.rate,
    }


def write_per_image(path: Path, loader: "DataLoader", columns: dict[str, np.ndarray]) -> None:
    """A CSV file with a row for each test image: its file or row, its label, and its numbers."""
    texts = own(Split(loader.test_images, loader.test_labels, loader.test_files), loader.label_names).texts()
    write_csv(path, Table(list(columns), [np.stack(list(columns.values()), axis=1)], texts))


def read_per_image(folder: Path, count: int) -> dict[str, np.ndarray]:
    """Name of a column of numbers -> its values (N,), in the order of the test images; {} if there is no such file.

    Args:
        folder: of the run.
        count: N, of its test images.
    Raises:
        ModelError: it is something else, or of other images.
    """
    with expecting(f"the numbers of {count:,} test images", folder):
        if (table := table_of(folder)) is None:
            return {}
        head, rows = table[0], [row for row in table[1] if row]  # a line may be blank
        places = {name: i for i, name in enumerate(head) if name in TERMS or is_log_px(name)}
        found = {name: np.array([float(row[i]) for row in rows]) for name, i in places.items()}
        if len(rows) != count or "elbo" not in found:
            raise ValueError(f"{len(rows):,} rows of {', '.join(places) or 'no numbers'}")
        return found


def table_of(folder: Path) -> tuple[list[str], list[list[str]]] | None:
    """The names of the columns of per_image.csv and its rows; None if there is no such file."""
    try:
        content = read_regular(folder / PER_IMAGE, LARGEST).decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return None
    head, *rows = csv.reader(io.StringIO(content, newline=""))
    return head, rows


@contextlib.contextmanager
def expecting(what: str, folder: Path) -> Iterator[None]:
    """Whatever is wrong with per_image.csv inside becomes a `ModelError`."""
    try:
        yield
    except (OSError, ValueError, LookupError, csv.Error) as error:
        raise ModelError(
            f"{folder / PER_IMAGE}: expected {what}, received something else: {error}; evaluate the run again"
        ) from error


def is_log_px(name: str) -> bool:
    """Whether a column has log p(x)."""
    return name.startswith("log_px_") and name.replace("_", "").isalnum() and len(name) < 60


class Named(NamedTuple):
    """log p(x) of test images by their names.

    Args:
        names: file or row of each, text, each once.
        log_px: (N,).
    """

    names: list[str]
    log_px: np.ndarray


def read_named(folder: Path, count: int) -> Named | None:
    """What `read_per_image` reads of log p(x), with the names of the images; None if there is none of it.

    Args:
        folder: of the run.
        count: N, of its test images.
    Raises:
        ModelError: it is something else, or of other images.
    """
    with expecting(f"log p(x) of {count:,} test images", folder):
        if (table := table_of(folder)) is None:
            return None
        head, rows = table
        places = [i for i, name in enumerate(head) if is_log_px(name)]
        if not places:
            return None
        by = head.index("file") if "file" in head else head.index("row") if "row" in head else None
        names = [str(number) if by is None else row[by] for number, row in enumerate(rows)]
        values = np.array([float(row[places[0]]) for row in rows])
        if len(rows) != count or len(set(names)) != count or not np.isfinite(values).all():
            raise ValueError(f"{len(rows):,} rows, {len(set(names)):,} names")
        return Named(names, values)
