"""`export --format hub`: a folder that loads elsewhere, a card that hubs read, and no harm by what a stranger made."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import yaml
from conftest import ROOT

import bicoder
from bicoder.cli import main as cli
from bicoder.errors import ModelError
from bicoder.runs.hub import card, layout

NUMBERS = {"nll": 54.25, "nll_standard_error": 0.5, "elbo": -55.0, "distortion": 50.0, "rate": 5.0, "images": 359}
LOADED = """
import sys, numpy as np, bicoder
vae, x = bicoder.load(sys.argv[1]), np.load(sys.argv[2])
codes, bound = np.asarray(vae.encode(x).mean), bicoder.evaluate(vae, x, 4, 0, progress=False)["elbo"]
np.savez(sys.argv[3], codes=codes, bound=bound)
"""


def export(run, output, *more, code=0):
    assert cli.bicoder(["export", str(run), "--format", "hub", "--output", str(output), *more]) == code


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    options = ["--network", "mlp:hidden=[8]", "--epochs", "1", "--quiet", "--generate_from_prior"]
    assert cli.main([*options, "--run_dir", str(folder)]) == 0
    return folder


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


@pytest.fixture(scope="module")
def hub(trained, tmp_path_factory):
    """What is exported of a run that was evaluated, or so it says."""
    run = shutil.copytree(trained, tmp_path_factory.mktemp("hub") / "run")
    (run / "evaluation.json").write_text(json.dumps(NUMBERS | {"doctor": []}))
    export(run, run.parent / "model")
    shutil.rmtree(run)
    return run.parent / "model"


@pytest.fixture
def theirs(hub, tmp_path):
    return shutil.copytree(hub, tmp_path / "theirs")


def front_matter(folder):
    """What a hub reads of a card."""
    start, text, _ = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    assert start == ""
    return yaml.safe_load(text)


def test_moved_elsewhere_it_loads_in_a_fresh_process_to_the_same_codes_and_bound(trained, theirs, tmp_path):
    x = np.random.default_rng(0).random((50, 64), "float32")
    np.save(tmp_path / "x.npy", x)
    vae = bicoder.load(trained)
    command = [sys.executable, "-c", LOADED, theirs, tmp_path / "x.npy", tmp_path / "found.npz"]
    subprocess.run(command, check=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True)
    with np.load(tmp_path / "found.npz") as found:
        np.testing.assert_allclose(found["codes"], np.asarray(vae.encode(x).mean), rtol=1e-6)
        expected = bicoder.evaluate(vae, x, 4, 0, progress=False)["elbo"]
        np.testing.assert_allclose(found["bound"], expected, rtol=1e-6)


def test_it_is_in_the_layout_of_hubs(hub, trained):
    files = sorted(path.relative_to(hub).as_posix() for path in hub.rglob("*") if path.is_file())
    assert files == ["README.md", "config.json", "images/curve.png", "images/prior.png", "model.safetensors"]
    assert (hub / "model.safetensors").read_bytes() == (trained / "model.safetensors").read_bytes()
    found = front_matter(hub)
    assert (found["library_name"], found["pipeline_tag"]) == ("bicoder", "unconditional-image-generation")
    assert "license" not in found
    metrics = found["model-index"][0]["results"][0]["metrics"]
    assert {one["type"]: one["value"] for one in metrics} == {"nll": 54.25, "elbo": -55.0}


def test_the_card_says_what_a_reader_asks(hub):
    text = (hub / "README.md").read_text(encoding="utf-8")
    for said in ("54.25 ± 0.50", "359 test images", "1,438 training images", "diagonal_gaussian", "bicoder.load("):
        assert said in text
    assert "(images/prior.png)" in text
    assert "bicoder train --network 'mlp:hidden=[8]' --sigma learned --epochs 1" in text


def test_of_a_run_that_was_not_evaluated_it_says_so(run, tmp_path):
    export(run, tmp_path / "model")
    assert "It was not evaluated. `bicoder evaluate RUN`" in (tmp_path / "model" / "README.md").read_text()
    assert "model-index" not in front_matter(tmp_path / "model")


def test_nothing_says_where_things_are_on_this_machine(trained):
    config = json.loads((trained / "config.json").read_text())
    config["arguments"] |= {
        "dset": "/home/me/photos",
        "labels": "/home/me/y.csv",
        "data_dir": "/home/me",
        "init": "/me",
    }
    config["data"]["split"]["files"] = {"validation": ["me.png"]}
    public = layout.without_places(config)
    assert str(trained) not in json.dumps(public)
    assert "me" not in {*json.dumps(public).replace("/", '"').replace(".", '"').split('"')}
    assert (public["arguments"]["dset"], public["arguments"]["labels"]) == ("photos", "y.csv")


@pytest.mark.fault(300)
def test_a_folder_that_is_not_empty_is_refused(trained, tmp_path, capsys):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "notes.txt").write_text("mine")
    export(trained, tmp_path / "model", code=2)
    assert "expected a folder that is empty or not there" in capsys.readouterr().err
    export(trained, tmp_path / "model" / "notes.txt", code=2)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    export(trained, tmp_path / "link", code=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "model"]
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["notes.txt"]


@pytest.mark.fault(301)
@pytest.mark.parametrize("more", [["--what", "decoder"], ["--given", "a"], ["--overwrite"], None])
def test_what_a_hub_has_no_use_for_is_refused(trained, tmp_path, capsys, more):
    words = [
        "export",
        str(trained),
        "--format",
        "hub",
        *(["--output", str(tmp_path / "x")] if more else []),
        *(more or []),
    ]
    assert cli.bicoder(words) == 2
    assert f"{more[0][2:] if more else 'output'}: expected " in capsys.readouterr().err


@pytest.mark.fault(302)
@pytest.mark.parametrize(
    "name", ["a\n---\nlicense: mit", "`|[x](y)|` <script>", 'a"b\\c: {', "\x07\udcff\x85é😀", "---"]
)
def test_hostile_names_break_no_card(trained, name, tmp_path):
    config = json.loads((trained / "config.json").read_text())
    config["arguments"]["dset"] = f"/data/{name}"
    config["arguments"]["network"] = {"name": "mlp", "activation": "```\n# x"}
    vae = bicoder.load(trained)
    text = card.card(layout.without_places(config), vae, NUMBERS, {})
    (tmp_path / "README.md").write_text(text, encoding="utf-8")
    found = front_matter(tmp_path)
    assert set(found) == {"library_name", "pipeline_tag", "tags", "model-index"}
    body = text.split("---\n", 2)[2]
    headings = [line for line in body.splitlines() if line.startswith("#")]
    assert len(headings) == 5, headings
    assert "\nlicense:" not in text
    outside = "".join(body.split("```")[::2])
    assert not [line for line in outside.splitlines() if "<script" in line.replace("\\<", "")]


@pytest.mark.fault(303)
@pytest.mark.parametrize("numbers", ["{", '{"doctor": 3}', "[]"])
def test_numbers_that_are_something_else_are_refused(run, tmp_path, numbers):
    (run / "evaluation.json").write_text(numbers)
    export(run, tmp_path / "model", code=5)
    assert not (tmp_path / "model").exists()


@pytest.mark.fault(304)
def test_what_is_no_picture_is_left_out_and_so_is_what_is_too_much(run, tmp_path, capsys):
    (run / "prior.png").write_bytes(b"<script>")
    os.mkfifo(run / "latent.png")
    (run / "posterior.png").write_bytes(layout.PNG + bytes(layout.ROOM))
    export(run, tmp_path / "model")
    assert [path.name for path in (tmp_path / "model" / "images").iterdir()] == ["curve.png"]
    said = capsys.readouterr().err
    for name in ("prior.png, which is no picture", "latent.png, which is no picture", "posterior.png, with which"):
        assert name in said


@pytest.mark.fault(305)
def test_a_disk_that_fills_leaves_nothing(trained, tmp_path, monkeypatch, capsys):
    def fails(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(layout, "card", fails)
    (tmp_path / "model").mkdir()
    export(trained, tmp_path / "model", code=2)
    assert "model: cannot be written: No space left on device" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert not list((tmp_path / "model").iterdir())


@pytest.mark.fault(306)
def test_a_strangers_folder_is_loaded_as_safely_as_a_run(theirs, tmp_path):
    weights = theirs / "model.safetensors"
    kept = weights.read_bytes()
    weights.rename(tmp_path / "elsewhere.safetensors")
    weights.symlink_to(tmp_path / "elsewhere.safetensors")
    with pytest.raises(ModelError, match="received a link"):
        bicoder.load(theirs)
    weights.unlink()
    weights.write_bytes(b"\x80\x04cos\nsystem\n")  # a pickle
    with pytest.raises(ModelError, match="expected safetensors weights"):
        bicoder.load(theirs)
    weights.write_bytes(kept)
    config = json.loads((theirs / "config.json").read_text())
    config["model"]["encoder"]["network"] = {"class_name": "Lambda", "config": {}}
    (theirs / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="network of somebody's own"):
        bicoder.load(theirs)
