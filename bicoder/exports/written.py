"""Writing a function in a format: its file is there whole, and computes what Python computes, or it is not there."""

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from bicoder.errors import UsageError, first_line, suggestion
from bicoder.exports import keras_format, litert_format, onnx_format
from bicoder.exports.function import SUFFIXES, Function
from bicoder.files.whole_file import whole_file
from bicoder.waiting import told

LARGEST = 1e-4  # difference, of numbers up to 1; of larger ones, times their size


class Format(NamedTuple):
    """A format.

    Args:
        packages: that it needs besides those that this package does.
        save: function (function, path), which writes a file.
        run: function (path, inputs) -> outputs, by a runtime that knows nothing of this package.
    """

    packages: tuple[str, ...]
    save: Callable[[Function, Path], None]
    run: Callable[[Path, dict[str, np.ndarray]], Mapping[str, np.ndarray]]


FORMATS = {
    "onnx": Format(onnx_format.PACKAGES, onnx_format.save, onnx_format.run),
    "litert": Format(litert_format.PACKAGES, litert_format.save, litert_format.run),
    "keras": Format(keras_format.PACKAGES, keras_format.save, keras_format.run),
}


def write(function: Function, path: str | Path, form: str) -> float:
    """Write a function in a format, and see that its runtime computes the same.

    Args:
        function: what is written.
        path: of the file, which is replaced if it is there.
        form: name of the format.
    Returns:
        The largest difference between numbers of the runtime and of Python; of numbers above 1, relative to them.
    Raises:
        UsageError: the format cannot hold it, a package is missing, or the numbers differ by more than 1e-4. A file
            that was there stays.
    """
    path = Path(path)
    with told(f"exporting {path}"), whole_file(path) as new:
        try:
            FORMATS[form].save(function, new)
            difference = largest_difference(function, lambda inputs: FORMATS[form].run(new, inputs))
        except (UsageError, OSError):
            raise
        except Exception as error:  # converters and runtimes refuse in their own ways
            reason = f"{type(error).__name__}: {first_line(error)}"
            raise UsageError(f"export: {form} cannot hold {function.called}: {reason}") from error
        if not difference <= LARGEST:  # NaN is no small one
            raise UsageError(
                f"export: {form}: {function.called} gives numbers that differ by {difference:.1e} from those of "
                f"Python, expected at most {LARGEST:.0e}; nothing is written"
            )
    return difference


def format_of(path: Path, form: str | None) -> str:
    """The format of a file that is to be written, with what it needs there.

    Raises:
        UsageError: it is no format, the file is called otherwise, or something is missing.
    """
    endings = ", ".join(f"{ending} for {name}" for name, ending in SUFFIXES.items())
    if form is not None and form not in SUFFIXES:
        raise UsageError(f"format: expected {', '.join(SUFFIXES)}, received {form!r}{suggestion(form, SUFFIXES)}")
    found = form or next((name for name, ending in SUFFIXES.items() if path.suffix == ending), None)
    if found is None or path.suffix != SUFFIXES[found]:
        raise UsageError(f"export: expected a file that ends with {endings}, received {str(path)!r}")
    if not path.parent.is_dir():
        raise UsageError(f"export: expected a file in a folder that exists, received {str(path)!r}")
    if keras.backend.backend() != "tensorflow":
        raise UsageError(
            f"export: expected the backend tensorflow, received {keras.backend.backend()}; bicoder export RUN "
            "--backend tensorflow takes runs of all backends"
        )
    if lacking := [name for name in FORMATS[found].packages if importlib.util.find_spec(name) is None]:
        packages = " ".join(lacking)
        raise UsageError(f"export: {found} needs {packages.replace(' ', ', ')}; run: pip install {packages}")
    return found


def largest_difference(function: Function, run: Callable[[dict[str, np.ndarray]], Mapping[str, np.ndarray]]) -> float:
    """The largest difference between what a runtime computes of the examples, all and one alone, and what Python does.

    Raises:
        UsageError: a shape is another one, or Python's own numbers are not finite.
    """
    expected = {name: ops.convert_to_numpy(found) for name, found in function.call(function.examples).items()}
    if not all(np.isfinite(numbers).all() for numbers in expected.values()):
        raise UsageError("export: the model gives NaN or infinite numbers in Python, which cannot be compared")
    count = len(next(iter(function.examples.values())))
    worst = 0.0
    for rows in (count, 1):  # the batch is free
        found = run({name: numbers[:rows] for name, numbers in function.examples.items()})
        for name, numbers in expected.items():
            wanted, received = numbers[:rows], np.asarray(found[name])
            if received.shape != wanted.shape:
                raise UsageError(f"export: {name}: expected the shape {wanted.shape}, the file gives {received.shape}")
            difference = np.abs(received - wanted) / np.maximum(1.0, np.abs(wanted))
            worst = float(np.max([worst, difference.max()]))  # NaN stays
    return worst
