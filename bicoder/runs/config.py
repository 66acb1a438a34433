"""config.json of a run: read as data that may come from anyone, by a schema that knows every key."""

import json
import math
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NoReturn

from bicoder import __version__
from bicoder.data.pixels import DIVISORS
from bicoder.engine.start import BACKENDS
from bicoder.errors import MOST_DIMENSIONS, ModelError, suggestion
from bicoder.files.regular_file import NotRegularError, read_regular
from bicoder.pictures.picture import flags
from bicoder.runs.folder import CONFIG, FORMAT, check_no_links
from bicoder.runs.options.kinds import Check, Choice, Flag, Number, Sizes, Text, Whole, check_part, refuse, shown
from bicoder.runs.options.table import Options
from bicoder.runs.options.view_kinds import ViewWeights, of_views

LARGEST = 2**22  # bytes; a config has three thousand, and the names of the labels
LARGEST_EXAMPLE = 2**26  # numbers of one x: 4096 x 4096 in colour fits
VERSION = re.compile(r"\d[\w.+-]{0,40}")


def or_null(check: Check) -> Check:
    """What `check` takes, or null."""
    return lambda where, value: None if value is None else check(where, value)


def every(check: Check, expected: str) -> Check:
    """A list of what `check` takes."""

    def check_all(where: str, value: Any) -> None:
        if type(value) is not list:
            refuse(where, expected, value)
        for i, item in enumerate(value):
            check(f"{where}[{i}]", item)

    return check_all


def mapping(check: Check) -> Check:
    """An object of any keys."""

    def check_all(where: str, value: Any) -> None:
        if type(value) is not dict:
            refuse(where, "an object", value)
        for key, item in value.items():
            check(f"{where}.{key[:80]!r}", item)

    return check_all


def record(checks: Mapping[str, Check], required: Collection[str] = ()) -> Check:
    """An object with these keys and no others."""

    def check_all(where: str, value: Any) -> None:
        if type(value) is not dict:
            refuse(where or "config", "an object", value)
        if unknown := [key for key in value if key not in checks]:
            hint = suggestion(unknown[0][:80], checks)
            raise ValueError(f"{where or 'config'}: unknown key {shown(unknown[0])}{hint}")
        if missing := [key for key in required if key not in value]:
            raise ValueError(f"{where or 'config'}: expected the key {missing[0]!r}, received {shown(sorted(value))}")
        for key, item in value.items():
            checks[key](f"{where}.{key}" if where else key, item)

    return check_all


def part(**checks: Check) -> Check:
    """A part of the model, some of whose arguments are known."""
    return lambda where, value: check_part(where, value, checks)


def scaling(where: str, value: Any) -> None:
    """By what the pixels of the file were divided, and whether they were clipped to [0, 1] before."""
    if type(value) is not list or len(value) != 2:
        refuse(where, "a list of a divisor and true or false", value)
    if type(value[0]) not in (int, float) or value[0] not in DIVISORS.values():
        refuse(f"{where}[0]", f"one of {', '.join(map(str, sorted(set(DIVISORS.values()))))}", value[0])
    Flag().check(f"{where}[1]", value[1])


SEED = or_null(Whole(0, 2**32 - 1).check)
LATENT_DIM = or_null(Whole(1, MOST_DIMENSIONS).check)
SHAPE = Sizes(1, 4, LARGEST_EXAMPLE).check
COUNT, TEXT = Whole(0).check, Text().check
SHARE = Number("a number from 0 to below 1", 0.0, 1.0).check
TEXTS = every(TEXT, "a list of texts")

ARGUMENTS = {
    name: or_null(entry.kind.check) if entry.may_be_null else entry.kind.check
    for name, entry in Options.table().items()
    if entry.kept
}
DATA = {
    "training_images": COUNT,
    "validation_images": COUNT,
    "test_images": COUNT,
    "shape": of_views(SHAPE),
    "image_shape": or_null(of_views(or_null(Sizes(3, 3, LARGEST_EXAMPLE).check))),
    "label_names": TEXTS,
    "sha256": TEXT,
    "test_sha256": TEXT,  # of the test images alone, which can be read without the others
    "labels_sha256": or_null(TEXT),  # of the training and validation images, if they have labels
    "scaling": or_null(of_views(scaling)),
    # Validation images are chosen by the seed, or named by their files.
    "split": record({"seed": COUNT, "validation": SHARE, "files": or_null(mapping(TEXTS))}),
    "views": or_null(mapping(SHAPE)),  # name -> shape, of data of several views, as "shape" has it
}
MODEL = {
    "encoder": part(
        network=of_views(check_part),
        latent_dim=LATENT_DIM,
        posterior=check_part,
        fusion=check_part,
        seed=SEED,
        sees_mask=Flag().check,
    ),
    "decoder": part(
        network=of_views(check_part),
        output_shape=or_null(of_views(SHAPE)),
        likelihood=of_views(check_part),
        seed=SEED,
    ),
    "prior": check_part,
    "objective": check_part,
    "latent_dim": LATENT_DIM,
    "input_noise": Number("a number from 0", 0.0).check,
    "view_weights": or_null(ViewWeights().check),
    "seed": SEED,
    "condition": or_null(check_part),
}
SCHEMA = {
    "format": Whole(1, FORMAT).check,
    "versions": mapping(TEXT),
    "backend": Choice(*BACKENDS).check,
    "arguments": record(ARGUMENTS),
    "data": record(DATA),
    "input_shape": of_views(SHAPE),
    "model": record(MODEL, required=("encoder", "decoder", "prior", "objective")),
}


def read_config(folder: Path | str) -> dict[str, Any]:
    """What `folder.save_config` wrote, in format 2: every key and type has been checked, and there is no code in it.

    Raises:
        ModelError: the folder holds no run, or none that this version can read.
    """
    folder = Path(folder)
    check_no_links(folder)
    if folder.is_file():
        raise ModelError(
            f"{folder}: expected the folder of a run, received a file; .keras and .h5 files can hold code and are "
            "never loaded here, only keras.saving.load_model does that, if you trust their source"
        )
    try:
        return read_file(folder / CONFIG)
    except OSError as error:
        raise ModelError(f"{folder}: expected a run folder, received {CONFIG}: {error.strerror or error}") from error


def read_file(path: Path) -> dict[str, Any]:
    """The same for a file of any name; `OSError` if it cannot be read."""
    config = None
    try:
        config = parse(read_text(path))
        check_format(config)
        if type(config.get("format")) is int and config["format"] == 1:
            config = upgraded(config)
        record(SCHEMA, required=SCHEMA)("", config)
        check_shapes(config)
    except ValueError as error:
        hint = "" if isinstance(error, NewerFormatError) else other_version(config)
        raise ModelError(f"{path}: {error}{hint}") from error
    return config


def upgraded(config: dict[str, Any]) -> dict[str, Any]:
    """A config of format 1 as format 2 has it; what is wrong in it stays wrong, for the schema to say."""
    config = config | {"format": 2, "backend": "tensorflow"}
    arguments, data = config.get("arguments"), config.get("data")
    if not isinstance(arguments, dict) or not arguments:
        return config
    switches = {name: arguments[name] for name in flags() if name in arguments}
    for name, value in switches.items():
        Flag().check(f"arguments.{name}", value)
    # There were no validation images: the best weights were those of the best bound on test images.
    seed = arguments.get("seed", 0)
    new = {"validation": 0.0, "split_seed": seed, "pictures": [name for name, value in switches.items() if value]}
    if found := [name for name in new if name in arguments]:
        raise ValueError(f"arguments: unknown key {found[0]!r}")
    config["arguments"] = {name: value for name, value in arguments.items() if name not in switches} | new
    if isinstance(data, dict) and data:
        split = {"seed": seed, "validation": 0.0, "files": None}
        config["data"] = {"validation_images": 0, "scaling": None, "split": split, "views": None} | data
    return config


def read_text(path: Path) -> str:
    """The text of a regular file of a bounded size, UTF-8 without a byte order mark."""
    try:
        content = read_regular(path, LARGEST)
    except NotRegularError as error:
        raise ValueError(error.strerror) from error
    if content.startswith(b"\xef\xbb\xbf"):
        raise ValueError("expected UTF-8 without a byte order mark, received one; save it again without")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"expected UTF-8, received the byte 0x{content[error.start]:02x} at {error.start}") from error


def parse(content: str) -> Any:
    """One JSON value: no second one after it, no key twice, no NaN, no number too large to be one."""

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in items:
            if key in found:
                raise ValueError(f"expected every key once, received {shown(key)} twice")
            found[key] = value
        return found

    def constant(name: str) -> NoReturn:
        raise ValueError(f"expected numbers of a usual size, received {name}")

    def number(digits: str) -> float:
        value = float(digits)
        return value if math.isfinite(value) else constant(digits[:40])

    def integer(digits: str) -> int:
        return int(digits) if len(digits) <= 20 else constant(digits[:40])

    try:
        return json.loads(
            content, object_pairs_hook=pairs, parse_constant=constant, parse_float=number, parse_int=integer
        )
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from error
    except RecursionError as error:
        raise ValueError("not a config: objects within objects without end") from error


class NewerFormatError(ValueError):
    """A format that this version cannot know."""


def check_format(config: Any) -> None:
    """The format comes before the schema, which another format may not follow."""
    if type(config) is not dict:
        refuse("config", "an object", config)
    found = config.get("format")
    if type(found) is int and found > FORMAT:
        written = writer(config)
        need = f"bicoder >= {written}" if written not in (None, __version__) else "a newer bicoder"
        raise NewerFormatError(
            f"format {found}, written by bicoder {written or 'of unknown version'}; this is bicoder {__version__}, "
            f"which reads formats up to {FORMAT}: need {need}"
        )


def writer(config: Any) -> str | None:
    """The version of bicoder that wrote a config, if it says so."""
    versions = config.get("versions") if type(config) is dict else None
    found = versions.get("bicoder") if type(versions) is dict else None
    return found if type(found) is str and VERSION.fullmatch(found) else None


def other_version(config: Any) -> str:
    """What is not understood may be another version's."""
    written = writer(config)
    return f"; it was written by bicoder {written}, this is {__version__}" if written not in (None, __version__) else ""


def check_shapes(config: dict[str, Any]) -> None:
    """What is said twice must be the same."""
    shapes, pictured = config["input_shape"], config["data"].get("image_shape")
    if isinstance(pictured, dict) and (not isinstance(shapes, dict) or set(pictured) != set(shapes)):
        refuse("data.image_shape", f"that of {shown(list(shapes))}, as input_shape has", pictured)
    for view, shape in shapes.items() if isinstance(shapes, dict) else [("", shapes)]:
        image_shape = pictured.get(view) if isinstance(pictured, dict) else pictured
        if image_shape is not None and math.prod(image_shape) != math.prod(shape):
            refuse("data.image_shape", f"{math.prod(shape)} pixels, as input_shape has", image_shape)
    output_shape = config["model"]["decoder"].get("output_shape")
    if output_shape not in (None, config["input_shape"]):
        refuse("model.decoder.output_shape", f"{config['input_shape']}, as input_shape has", output_shape)
