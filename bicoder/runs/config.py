"""config.json of a run: read as data that may come from anyone, by a schema that knows every key."""

import json
import math
import re
import reprlib
import stat
from pathlib import Path

from bicoder import __version__
from bicoder.data.datasets import VIEWS
from bicoder.errors import MOST_DIMENSIONS, ModelError, suggestion
from bicoder.runs.folder import CONFIG, FORMAT

LARGEST = 2**22  # bytes; a config has three thousand, and the names of the labels
LARGEST_EXAMPLE = 2**26  # numbers of one x: 4096 x 4096 in colour fits
VERSION = re.compile(r"\d[\w.+-]{0,40}")

# A check is a function (where, value) that raises ValueError, in one line that begins with `where`.


def shown(value):
    """A value of any size and content, short and without line breaks."""
    return reprlib.repr(value)


def refuse(where, expected, value):
    raise ValueError(f"{where}: expected {expected}, received {shown(value)}")


def whole(least, most=2**31 - 1):
    """A whole number; neither true nor "20" nor 20.0 is one."""

    def check(where, value):
        if type(value) is not int or not least <= value <= most:
            refuse(where, f"a whole number from {least} to {most}", value)

    return check


def positive(where, value):
    if type(value) not in (int, float) or not 0 < value < math.inf:
        refuse(where, "a positive number", value)


def flag(where, value):
    if type(value) is not bool:
        refuse(where, "true or false", value)


def text(where, value):
    if type(value) is not str or len(value) > 4096 or "\0" in value:
        refuse(where, "a text", value)


def choice(*names):
    def check(where, value):
        if type(value) is not str or value not in names:
            raise ValueError(
                f"{where}: expected {' or '.join(names)}, received {shown(value)}{suggestion(str(value)[:80], names)}"
            )

    return check


def or_null(check):
    return lambda where, value: None if value is None else check(where, value)


def sizes(least, most):
    """A list of `least` to `most` positive whole numbers whose product is no more than one example may have."""

    def check(where, value):
        if type(value) is not list or not least <= len(value) <= most:
            refuse(where, f"a list of {least} to {most} sizes", value)
        for i, size in enumerate(value):
            whole(1, LARGEST_EXAMPLE)(f"{where}[{i}]", size)
        if math.prod(value) > LARGEST_EXAMPLE:
            refuse(where, f"a product of at most {LARGEST_EXAMPLE:,}", value)

    return check


def texts(where, value):
    if type(value) is not list:
        refuse(where, "a list of texts", value)
    for i, item in enumerate(value):
        text(f"{where}[{i}]", item)


def mapping(check_value):
    """An object of any keys."""

    def check(where, value):
        if type(value) is not dict:
            refuse(where, "an object", value)
        for key, item in value.items():
            check_value(f"{where}.{key[:80]!r}", item)

    return check


def record(checks, required=()):
    """An object with these keys and no others."""

    def check(where, value):
        if type(value) is not dict:
            refuse(where or "config", "an object", value)
        if unknown := [key for key in value if key not in checks]:
            hint = suggestion(unknown[0][:80], checks)
            raise ValueError(f"{where or 'config'}: unknown key {shown(unknown[0])}{hint}")
        if missing := [key for key in required if key not in value]:
            raise ValueError(f"{where or 'config'}: expected the key {missing[0]!r}, received {shown(sorted(value))}")
        for key, item in value.items():
            checks[key](f"{where}.{key}" if where else key, item)

    return check


def part(checks=None, depth=2):
    """A part of the model: its name, and arguments that are plain values or parts themselves.

    Whether there is a part of that name, and what arguments it takes, is known to its family: `Component.get` says so.
    """

    def check(where, value):
        if type(value) is dict and "class_name" in value:
            raise ValueError(
                f"{where}: has a network of somebody's own, which is loaded from no run; build its VAE yourself, and "
                "call load_weights"
            )
        if type(value) is not dict or type(value.get("name")) is not str:
            refuse(where, 'an object with the "name" of a part', value)
        for key, item in value.items():
            here = f"{where}.{key[:80]}" if key.isidentifier() else f"{where}.{shown(key)}"
            if key in (checks or {}):
                checks[key](here, item)
            elif type(item) is dict and depth:
                part(depth=depth - 1)(here, item)
            else:
                plain(here, item)

    return check


def plain(where, value):
    """A number, a name, true, false, null or a short list of them; a number in quotes is none of these."""
    if type(value) is list and len(value) <= 1000:
        for i, item in enumerate(value):
            if type(item) is list:
                refuse(f"{where}[{i}]", "a number or a name", item)
            plain(f"{where}[{i}]", item)
    elif type(value) not in (int, float, bool, type(None)) and not (type(value) is str and value.isidentifier()):
        refuse(where, "a number or a name", value)


SEED = or_null(whole(0, 2**32 - 1))
LATENT_DIM = or_null(whole(1, MOST_DIMENSIONS))
SHAPE = sizes(1, 4)

# The arguments of the command that wrote the run; a test holds them to those of the command line.
ARGUMENTS = {
    **dict.fromkeys(("debug", "no_download", "overwrite", "stream"), flag),
    **dict.fromkeys(("visualize_latent", "generate_from_prior", "generate_from_posterior"), flag),
    **dict.fromkeys(("network", "likelihood", "posterior", "prior", "objective"), part()),
    **dict.fromkeys(("batch_size", "num_images", "latent_points"), whole(1)),
    **dict.fromkeys(("data_dir", "mirror", "run_dir"), or_null(text)),
    "dset": text,
    "view": choice(*VIEWS),
    "image_size": or_null(sizes(2, 2)),
    "binarize": or_null(choice("static", "dynamic")),
    "latent_dim": LATENT_DIM,
    "sigma": lambda where, value: None if value in (None, "learned") else positive(where, value),
    "epochs": or_null(whole(0)),
    "learning_rate": positive,
    "weights": choice("last", "best"),
    "seed": whole(0),
    "checkpoint_epochs": or_null(whole(1)),
}
DATA = {
    "training_images": whole(0),
    "test_images": whole(0),
    "shape": SHAPE,
    "image_shape": or_null(sizes(3, 3)),
    "label_names": texts,
    "sha256": text,
}
MODEL = {
    "encoder": part({"network": part(), "latent_dim": LATENT_DIM, "posterior": part(), "seed": SEED}),
    "decoder": part({"network": part(), "output_shape": or_null(SHAPE), "likelihood": part(), "seed": SEED}),
    "prior": part(),
    "objective": part(),
    "latent_dim": LATENT_DIM,
    "seed": SEED,
}
SCHEMA = {
    "format": whole(1, FORMAT),
    "versions": mapping(text),
    "arguments": record(ARGUMENTS),
    "data": record(DATA),
    "input_shape": SHAPE,
    "model": record(MODEL, required=("encoder", "decoder", "prior", "objective")),
}


def read_config(folder):
    """What `runs.save_config` wrote: a dict whose every key and type has been checked, and no code.

    Raises:
        ModelError: the folder holds no run, or none that this version can read.
    """
    folder = Path(folder)
    path = folder / CONFIG
    if folder.is_file():
        raise ModelError(
            f"{folder}: expected the folder of a run, received a file; .keras and .h5 files can hold code and are "
            "never loaded here, only keras.saving.load_model does that, if you trust their source"
        )
    config = None
    try:
        config = parse(read_text(path))
        check_format(config)
        record(SCHEMA, required=SCHEMA)("", config)
        check_shapes(config)
    except OSError as error:
        raise ModelError(f"{folder}: expected a run folder, received {CONFIG}: {error.strerror or error}") from error
    except ValueError as error:
        hint = "" if isinstance(error, NewerFormatError) else other_version(config)
        raise ModelError(f"{path}: {error}{hint}") from error
    return config


def read_text(path):
    """The text of a regular file of a bounded size, UTF-8 without a byte order mark."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("expected a file, received a folder or a device")
    with open(path, "rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError(f"expected at most {LARGEST:,} bytes, received {path.stat().st_size:,}")
    if content.startswith(b"\xef\xbb\xbf"):
        raise ValueError("expected UTF-8 without a byte order mark, received one; save it again without")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"expected UTF-8, received the byte 0x{content[error.start]:02x} at {error.start}") from error


def parse(content):
    """One JSON value: no second one after it, no key twice, no NaN, no number too large to be one."""

    def pairs(items):
        found = {}
        for key, value in items:
            if key in found:
                raise ValueError(f"expected every key once, received {shown(key)} twice")
            found[key] = value
        return found

    def constant(name):
        raise ValueError(f"expected numbers of a usual size, received {name}")

    def number(digits):
        value = float(digits)
        return value if math.isfinite(value) else constant(digits[:40])

    def integer(digits):
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


def check_format(config):
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


def writer(config):
    """The version of bicoder that wrote a config, where it says so."""
    versions = config.get("versions") if type(config) is dict else None
    found = versions.get("bicoder") if type(versions) is dict else None
    return found if type(found) is str and VERSION.fullmatch(found) else None


def other_version(config):
    """What is not understood may be another version's."""
    written = writer(config)
    return f"; it was written by bicoder {written}, this is {__version__}" if written not in (None, __version__) else ""


def check_shapes(config):
    """What is said twice must be the same."""
    pixels = math.prod(config["input_shape"])
    image_shape = config["data"].get("image_shape")
    if image_shape is not None and math.prod(image_shape) != pixels:
        refuse("data.image_shape", f"{pixels} pixels, as input_shape has", image_shape)
