"""config.json: what is not exactly what a run writes is one line that says where, and nothing is built of it."""

import json
import os
import shutil
import tracemalloc
from pathlib import Path

import pytest

from bicoder import __version__
from bicoder.cli import main as cli
from bicoder.cli.command import commands
from bicoder.cli.parser import parse
from bicoder.errors import ModelError
from bicoder.runs.config import LARGEST, read_config
from bicoder.runs.folder import FORMAT

MLP = {"name": "mlp", "hidden": [400], "activation": "relu"}
CONFIG = {
    "format": FORMAT,
    "versions": {"bicoder": __version__, "python": "3.11.7", "keras": "3.15.1"},
    "backend": "tensorflow",
    "arguments": {},
    "data": {
        "training_images": 1438,
        "image_shape": [8, 8, 1],
        "label_names": ["cats", "größe"],
        "scaling": [255, False],
        "split": {"seed": 0, "validation": 0.1, "files": None},
        "views": None,
    },
    "input_shape": [64],
    "model": {
        "encoder": {
            "name": "encoder",
            "network": MLP,
            "latent_dim": 20,
            "posterior": {"name": "iaf"},
            "seed": 2**32 - 1,
        },
        "decoder": {"name": "decoder", "network": MLP, "output_shape": [64], "likelihood": {"name": "gaussian"}},
        "prior": {"name": "standard_normal"},
        "objective": {"name": "beta_elbo", "beta": 1.0, "schedule": "linear"},
        "latent_dim": 20,
        "seed": 0,
    },
}


def changed(path, value):
    """The config with the value at `path`, keys separated by dots, replaced; ... removes it."""
    config = json.loads(json.dumps(CONFIG))
    place = config
    *parents, last = path.split(".")
    for key in parents:
        place = place[key]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return config


def refusal(folder, content):
    """The message about a config.json of these bytes, or of this object; it is one line and names the file."""
    path = folder / "config.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    before = path.read_bytes()
    with pytest.raises(ModelError) as caught:
        read_config(folder)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert message.isprintable(), "one line, without control characters"
    assert len(message) < len(str(path)) + 400
    assert path.read_bytes() == before
    return message


def test_a_good_config_is_read_as_it_is(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    assert read_config(tmp_path) == CONFIG
    (tmp_path / "config.json").write_text(json.dumps(CONFIG, indent=2, ensure_ascii=False), encoding="utf-8")
    assert read_config(str(tmp_path)) == CONFIG


@pytest.mark.fault(67)
@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("modle", {}, "config: unknown key 'modle'; did you mean 'model'?"),
        ("model.latent_dims", 3, "model: unknown key 'latent_dims'; did you mean 'latent_dim'?"),
        ("data.labels", [], "data: unknown key 'labels'"),
        ("arguments.epoch", 3, "arguments: unknown key 'epoch'; did you mean 'epochs'?"),
        ("model", ..., "config: expected the key 'model'"),
        ("model.prior", ..., "model: expected the key 'prior'"),
        ("model", [], "model: expected an object, received []"),
        ("versions", 3, "versions: expected an object, received 3"),
        ("model.latent_dim", "20", "model.latent_dim: expected a whole number from 1 to 16384, received '20'"),
        ("model.latent_dim", 0, "received 0"),
        ("model.latent_dim", -1, "received -1"),
        ("model.latent_dim", 1e9, "received 1000000000.0"),
        ("model.latent_dim", 10**9, "received 1000000000"),
        ("model.latent_dim", 20.0, "received 20.0"),
        ("model.latent_dim", True, "received True"),
        ("model.encoder.latent_dim", [20], "model.encoder.latent_dim: expected a whole number"),
        ("model.seed", -1, "model.seed: expected a whole number from 0"),
        ("model.decoder.seed", 2**32, "model.decoder.seed: expected a whole number"),
        ("model.objective.beta", float("nan"), "expected numbers of a usual size, received NaN"),
        ("model.objective.beta", float("-inf"), "received -Infinity"),
        ("model.objective.beta", "1.0", "model.objective.beta: expected a number or a name, received '1.0'"),
        ("model.objective.beta", {"x": 1}, 'model.objective.beta: expected an object with the "name" of a part'),
        ("model.encoder.network.hidden", [400, "300"], "model.encoder.network.hidden[1]: expected a number or a name"),
        ("model.encoder.network.hidden", [[400]], "model.encoder.network.hidden[0]: expected a number or a name"),
        ("model.encoder.network.hidden", [1] * 1001, "model.encoder.network.hidden: expected a number or a name"),
        ("model.encoder.network", "mlp", 'model.encoder.network: expected an object with the "name" of a part'),
        ("model.encoder.network.name", 3, 'model.encoder.network: expected an object with the "name" of a part'),
        (
            "model.encoder",
            {"name": "a", "b": {"name": "c", "d": {"name": "e", "f": {"name": "g"}}}},
            "expected a number",
        ),
        ("input_shape", [], "input_shape: expected a list of 1 to 4 sizes, received []"),
        ("input_shape", [64, 0], "input_shape[1]: expected a whole number from 1"),
        ("input_shape", [2**20, 2**20], "input_shape: expected a product of at most 67,108,864"),
        ("input_shape", 64, "input_shape: expected a list"),
        ("model.decoder.output_shape", [10**12], "model.decoder.output_shape[0]: expected a whole number"),
        ("data.image_shape", [7, 7, 1], "data.image_shape: expected 64 pixels, as input_shape has, received [7, 7, 1]"),
        ("data.label_names", ["a", 3], "data.label_names[1]: expected a text, received 3"),
        ("arguments.dset", "a\0b", "arguments.dset: expected a text"),
        ("arguments.view", "m7", "arguments.view: expected m0 or m1"),
        ("arguments.binarize", "statc", "did you mean 'static'?"),
        ("arguments.overwrite", 1, "arguments.overwrite: expected true or false, received 1"),
        ("arguments.learning_rate", 0, "arguments.learning_rate: expected a positive number, received 0"),
        ("arguments.sigma", False, "arguments.sigma: expected a positive number or learned, received False"),
        ("arguments.pictures", ["latent"], "arguments.pictures: expected a list of generate_from_prior"),
        ("arguments.optimizer", "adamm", "did you mean 'adam'?"),
        ("arguments.validation", 1, "arguments.validation: expected a number from 0 to below 1, received 1"),
        ("arguments.resume", "run", "arguments: unknown key 'resume'"),
        ("backend", "theano", "backend: expected tensorflow or jax or torch, received 'theano'"),
        ("data.split.seed", -1, "data.split.seed: expected a whole number from 0"),
        ("data.split.files", {"test": [3]}, "data.split.files.'test'[0]: expected a text, received 3"),
        ("data.views", {"left": [0]}, "data.views.'left'[0]: expected a whole number from 1"),
        ("data.scaling", [255, "no"], "data.scaling[1]: expected true or false"),
        ("data.scaling", [3, False], "data.scaling[0]: expected one of 1, 255, 1023, 4095, 16383, 65535, received 3"),
        ("data.scaling", [True, False], "data.scaling[0]: expected one of 1, 255"),
        ("data.scaling", [1e300, False], "data.scaling[0]: expected one of 1, 255"),
        ("model.condition", 3, 'model.condition: expected an object with the "name" of a part, received 3'),
        ("arguments.image_size", [0, 3], "arguments.image_size[0]: expected a whole number"),
        ("format", "1", "format: expected a whole number from 1"),
        ("format", True, "format: expected a whole number from 1"),
        ("format", 0, "format: expected a whole number from 1"),
        ("format", ..., "config: expected the key 'format'"),
        ("line\nbreak\x1b[2J", 1, "unknown key 'line\\nbreak\\x1b[2J'"),
        ("versions.bicoder", ["0"] * 10**5, "versions.'bicoder': expected a text"),
    ],
)
def test_what_no_run_writes_is_refused(path, value, words, tmp_path):
    assert words in refusal(tmp_path, changed(path, value))


GOOD = json.dumps(CONFIG).encode()


@pytest.mark.fault(67)
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not JSON: Expecting value: line 1 column 1"),
        (GOOD[:-1], "not JSON"),
        (GOOD + b" {}", "not JSON: Extra data"),
        (b"\xef\xbb\xbf" + GOOD, "expected UTF-8 without a byte order mark, received one"),
        (GOOD.decode().encode("utf-16"), "expected UTF-8, received the byte 0xff at 0"),
        (GOOD.replace(b"cats", b"c\xe4ts"), "expected UTF-8, received the byte 0xe4 at"),
        (b'{"format": 1, ' + GOOD[1:], "expected every key once, received 'format' twice"),
        (GOOD.replace(b'"latent_dim": 20', b'"latent_dim": 20, "latent_dim": 21'), "received 'latent_dim' twice"),
        (GOOD.replace(b'"beta": 1.0', b'"beta": 1e999'), "received 1e999"),
        (GOOD.replace(b'"beta": 1.0', b'"beta": ' + b"9" * 10**5), "expected numbers of a usual size, received 999"),
        (b"[" * 10**6, "not a config: objects within objects without end"),
        (b'{"a":' * 10**5 + b"1" + b"}" * 10**5, "not a config: objects within objects without end"),
        (b"[1, 2]", "config: expected an object, received [1, 2]"),
        (b"null", "config: expected an object, received None"),
    ],
    ids=lambda value: str(len(value)) if isinstance(value, bytes) else None,
)
def test_what_is_not_one_json_object_is_refused(content, words, tmp_path):
    assert words in refusal(tmp_path, content)


@pytest.mark.fault(67)
def test_a_huge_config_is_refused_by_its_size(tmp_path):
    with open(tmp_path / "config.json", "wb") as file:
        file.write(b"[")
        file.truncate(100 * 2**20)  # a hole: nothing on the disk
    tracemalloc.start()
    with pytest.raises(ModelError, match="expected at most 4,194,304 bytes, received 104,857,600"):
        read_config(tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 3 * LARGEST
    tracemalloc.stop()


@pytest.mark.fault(67, 125)
def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "config.json")  # reading it would wait for ever
    with pytest.raises(ModelError, match="expected a file, received a FIFO"):
        read_config(tmp_path)


@pytest.mark.fault(68)
def test_another_format_names_the_versions(tmp_path):
    newer = changed("format", FORMAT + 1) | {"versions": {"bicoder": "7.2.1"}, "new": 1}
    message = refusal(tmp_path, newer)
    assert f"format {FORMAT + 1}, written by bicoder 7.2.1; this is bicoder {__version__}" in message
    assert message.endswith("need bicoder >= 7.2.1")
    for versions in ({}, {"bicoder": "\x1b[2J"}, 3, None):
        assert refusal(tmp_path, newer | {"versions": versions}).endswith("need a newer bicoder")


@pytest.mark.fault(68)
def test_format_1_is_read_as_format_2(tmp_path):
    path = shutil.copy(Path(__file__).parent / "format1" / "config.json", tmp_path)
    older = json.loads(Path(path).read_text())
    config = read_config(tmp_path)
    assert (config["format"], config["backend"]) == (2, "tensorflow")
    assert config["arguments"]["pictures"] == ["generate_from_prior", "generate_from_posterior", "visualize_latent"]
    assert (config["arguments"]["validation"], config["arguments"]["split_seed"]) == (0.0, 0)
    assert config["data"]["split"] == {"seed": 0, "validation": 0.0, "files": None}
    for name in ("model", "versions", "input_shape"):
        assert config[name] == older[name]
    written_by = f"it was written by bicoder 0.1.0, this is {__version__}" if __version__ != "0.1.0" else ""
    message = refusal(tmp_path, older | {"modell": 1})
    assert "unknown key 'modell'; did you mean 'model'?" in message
    assert message.endswith(written_by)


@pytest.mark.fault(67)
@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("arguments", 3, "arguments: expected an object, received 3"),
        ("data", [1], "data: expected an object, received [1]"),
        ("arguments", {"visualize_latent": 3}, "arguments.visualize_latent: expected true or false, received 3"),
        ("arguments", {"seed": "x"}, "arguments.seed: expected a whole number from 0"),
        ("arguments", {"pictures": 3}, "arguments: unknown key 'pictures'"),
        ("versions", None, "versions: expected an object, received None"),
    ],
)
def test_what_no_run_of_format_1_has_is_refused(name, value, words, tmp_path):
    older = json.loads((Path(__file__).parent / "format1" / "config.json").read_text())
    assert words in refusal(tmp_path, older | {name: value})


@pytest.mark.fault(69)
@pytest.mark.parametrize("name", ["model.keras", "model.h5", "model.weights.h5"])
def test_a_file_in_place_of_a_run(name, tmp_path, capsys):
    (tmp_path / name).write_bytes(b"PK\3\4")
    for command in ("evaluate", "generate"):
        assert cli.bicoder([command, str(tmp_path / name)]) == 5
        said = capsys.readouterr().err
        assert f"{name}: expected the folder of a run, received a file; .keras and .h5 files can hold code" in said
        assert len(said.splitlines()) == 1


@pytest.mark.fault(69)
@pytest.mark.parametrize("place", ["model.encoder.network", "model.decoder.network", "model.prior"])
def test_a_layer_as_keras_wrote_it_down_is_refused(place, tmp_path):
    """A Lambda is code, a TFSMLayer a file of graphs: neither is made."""
    for name in ("Lambda", "TFSMLayer"):
        layer = {"module": "keras.layers", "class_name": name, "config": {"filepath": "/"}, "registered_name": None}
        assert f"{place}: has a network of somebody's own" in refusal(tmp_path, changed(place, layer))


def written(options):
    """What a run writes down of its options."""
    return json.loads(json.dumps(parse(commands()["train"], options, "train_vae").arguments()))


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--dset", "x", "--view", "m3", "--image_size", "64x48", "--binarize", "dynamic", "--no_download"],
        ["--network", "mlp:hidden=[3,4],activation=tanh", "--sigma", "0.5", "--latent_dim", "7", "--epochs", "0"],
        ["--mirror", "http://x", "--data_dir", "d", "--run_dir", "r", "--weights", "best", "--learning_rate", "1"],
        ["--validation", "0.2", "--split_seed", "3", "--optimizer", "AdamW", "--clip_norm", "1", "--patience", "3"],
        ["--objective", "beta_tc:data_size=null", "--overwrite", "--visualize_latent", "--debug", "--sigma", "learned"],
    ],
)
def test_the_schema_takes_what_the_command_writes(options, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | {"arguments": written(options)}))
    assert read_config(tmp_path)["arguments"] == written(options)
