"""Runs of several views, from the command line: trained, resumed, loaded, drawn, evaluated, and what is refused."""

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

import bicoder
from bicoder.cli import main as cli
from bicoder.data.loader import DataLoader
from bicoder.errors import ModelError

SMALL = ["--latent_dim", "2", "--network", "mlp:hidden=[8]", "--quiet"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """An .npz file of two views that say the same in other words, with labels."""
    path = tmp_path_factory.mktemp("data") / "two.npz"
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, 120)
    left = np.clip((label / 3)[:, None, None] + 0.1 * rng.random((120, 4, 4)), 0, 1)
    np.savez(path, left=left, right=1 - left.reshape(120, -1)[:, :5], labels=label)
    return path


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """A run on the two views, of two epochs."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(data, "--run_dir", str(folder), "--epochs", "2", "--fusion", "mixture_of_products")
    return folder


def train(data, *options):
    assert cli.main(["--dset", str(data), "--views", "left,right", *SMALL, *options]) == 0


def refused(code, *arguments):
    """What a command says in its one line; the code is what it ends with."""
    done = subprocess.run(
        [sys.executable, "-m", "bicoder", *map(str, arguments)], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == code, done.stderr
    return done.stderr


def test_a_run_of_two_views_has_all_its_files(run):
    config = json.loads((run / "config.json").read_text())
    assert config["arguments"]["views"] == ["left", "right"]
    assert config["data"]["shape"] == config["input_shape"] == {"left": [4, 4, 1], "right": [5]}
    assert config["model"]["encoder"]["fusion"] == {"name": "mixture_of_products"}
    for name in ("curve.png", "prior.png", "posterior.png", "latent.png"):
        with Image.open(run / name) as picture:
            assert min(picture.size) > 300


def test_it_is_loaded_and_goes_from_view_to_view(run):
    vae = bicoder.load(run)
    x = {"left": np.full((3, 4, 4, 1), 0.5, "float32")}
    p = vae.decode(vae.encode(x).mean)
    assert p["right"].mean.shape == (3, 5)
    assert vae.generate(4)["left"].shape == (4, 4, 4, 1)


def test_a_run_that_goes_on_ends_as_one_that_was_not_interrupted(data, run, tmp_path):
    folders = [tmp_path / "in_one", tmp_path / "in_two"]
    train(data, "--run_dir", str(folders[0]), "--epochs", "3", "--no_pictures")
    train(data, "--run_dir", str(folders[1]), "--epochs", "1", "--no_pictures")
    assert cli.main(["--resume", str(folders[1]), "--epochs", "3", "--no_pictures", "--quiet"]) == 0
    one, two = (bicoder.load(folder).get_weights() for folder in folders)
    for expected, found in zip(one, two, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_evaluate_generate_encode_and_draw(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("BICODER_DATA", str(tmp_path / "cache"))
    monkeypatch.setattr("bicoder.evaluation.classifiers.STEPS", 20)
    assert cli.bicoder(["evaluate", str(run), "--num_samples", "20"]) == 0
    said = capsys.readouterr().out
    numbers = json.loads((run / "evaluation.json").read_text())
    assert "nats per example" in said
    assert numbers["images"] == 24
    assert numbers["views"] == ["left", "right"]
    assert numbers["bits_per_dim"] == pytest.approx(numbers["nll"] / (21 * np.log(2)))
    assert numbers["bounds"]["1"] <= numbers["bounds"]["20"]
    left, right = numbers["of_views"]["left"], numbers["of_views"]["right"]
    joint = left["alone"] + right["given_others"]
    assert joint == pytest.approx(right["alone"] + left["given_others"])
    assert joint == pytest.approx(numbers["nll"], abs=6 * numbers["nll_monte_carlo_error"] + 0.1)
    assert numbers["complete_examples"] == 24
    assert "coherence and linear accuracy: learnt from training examples, judged by 24" in said
    assert numbers["coherence"]["examples"] == 24
    assert set(numbers["coherence"]["given"]) == {"1"}
    assert len([*(tmp_path / "cache" / "classifiers").iterdir()]) == 2
    with Image.open(run / "coherence.png") as picture:
        assert min(picture.size) > 300
    assert cli.bicoder(["generate", str(run), "--num_images", "7", "--output", str(tmp_path / "new.npz")]) == 0
    with np.load(tmp_path / "new.npz") as found:
        assert {view: array.shape for view, array in found.items()} == {"left": (7, 4, 4, 1), "right": (7, 5)}
        again = bicoder.load(run).generate(7, seed=0)
        np.testing.assert_allclose(found["right"], again["right"], rtol=1e-5, atol=1e-6)
    assert cli.bicoder(["generate", str(run), "--num_images", "7"]) == 0
    assert cli.bicoder(["encode", str(run), "--output", str(tmp_path / "codes.npy")]) == 0
    assert np.load(tmp_path / "codes.npy").shape == (24, 2)
    (run / "posterior.png").unlink()
    assert cli.bicoder(["draw", str(run), "--generate_from_posterior"]) == 0
    assert (run / "posterior.png").exists()


def test_from_views_to_views(run, data, tmp_path, capsys):
    """Of the test examples, and of files: the same, if they are the same images."""
    output = tmp_path / "new.npz"
    assert cli.bicoder(["generate", str(run), "--given", "left", "--num_images", "9", "--output", str(output)]) == 0
    found = dict(np.load(output))
    assert {view: array.shape for view, array in found.items()} == {"right": (9, 5)}
    loader = DataLoader(data, views=("left", "right"))
    test = loader.test_images
    vae = bicoder.load(run)
    expected = vae.decode(vae.encode({"left": test["left"][:9]}).sample(0))["right"].mean
    np.testing.assert_allclose(found["right"], expected, rtol=1e-4, atol=1e-5)
    np.save(tmp_path / "mine.npy", test["left"][:9])
    mine = ["--given", f"left={tmp_path / 'mine.npy'}", "--want", "right,left", "--output", str(output), "--overwrite"]
    assert cli.bicoder(["generate", str(run), *mine]) == 0
    again = dict(np.load(output))
    assert again["left"].shape == (9, 4, 4, 1)
    np.testing.assert_allclose(again["right"], found["right"], rtol=1e-4, atol=1e-5)
    picture = tmp_path / "new.png"
    assert cli.bicoder(["generate", str(run), "--given", "right,left", "--want", "left", "--output", str(picture)]) == 0
    with Image.open(picture) as image:
        assert min(image.size) > 100


@pytest.mark.fault(212)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--given", "middle"], "given: expected views of the run, left, right, received middle"),
        (["--given", "left", "--want", "middle"], "want: expected views of the run, left, right, received middle"),
        (["--want", "left"], "want: expected it with --given, received it without"),
        (["--dset", "x"], "dset: expected it with --given, received it without"),
        (["--given", "left,left"], "argument --given: expected names of views, each once"),
        (["--given", "left=a.npy,right"], "argument --given: expected names of views, each once"),
        (["--given", "left,right"], "want: expected a view, received none, since all are given"),
        (
            ["--given", "left=four.npy,right=five.npy"],
            "given: expected as many images of each view, received 4 of left",
        ),
    ],
)
def test_views_that_cannot_be_given(run, options, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("four.npy", np.zeros((4, 4, 4)))
    np.save("five.npy", np.zeros((5, 5)))
    try:
        code = cli.bicoder(["generate", str(run), "--output", "new.png", *options])
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    assert message in capsys.readouterr().err


def test_each_view_has_its_own_likelihood_and_network(data, tmp_path):
    options = ["--likelihood", "left=laplace,right=gaussian:sigma=0.2", "--view_weights", "left=1,right=0.5"]
    networks = ["--network", "left=mlp:hidden=[8,8],right=mlp:hidden=[4]"]
    train(data, "--run_dir", str(tmp_path / "run"), "--epochs", "1", "--no_pictures", *options, *networks)
    vae = bicoder.load(tmp_path / "run")
    left, right = (vae.decoder.views[view] for view in ("left", "right"))
    assert (left.likelihood.part_name(), right.likelihood.sigma) == ("laplace", 0.2)
    assert (left.network.hidden, right.network.hidden) == ((8, 8), (4,))
    assert vae.view_weights == {"left": 1.0, "right": 0.5}
    assert cli.main(["--config", str(tmp_path / "run" / "config.json"), "--run_dir", str(tmp_path / "again")]) == 0
    assert bicoder.load(tmp_path / "again").decoder.views["right"].likelihood.sigma == 0.2


@pytest.mark.fault(213)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--fusion", "mixture_of_experts"], "fusion: expected it with --views, received it without"),
        (["--view_weights", "size"], "view_weights: expected it with --views"),
        (
            ["--likelihood", "a=gaussian,b=laplace"],
            "likelihood: expected one part for all, since there are no --views, received a, b",
        ),
        (
            ["--views", "left,right", "--likelihood", "left=gaussian,rihgt=laplace"],
            "likelihood: expected those of --views, left, right, received rihgt",
        ),
        (
            ["--views", "left,right", "--likelihood", "left=gaussian"],
            "likelihood: expected one for each view, received none for right",
        ),
        (["--views", "left"], "argument --views: expected a list of 2 to 10 names of views"),
        (["--views", "left,right", "--view_weights", "left=-1"], "argument --view_weights: expected size, or"),
        (
            ["--views", "left,right", "--view_weights", "middle=1"],
            "view_weights: expected those of --views, left, right, received middle",
        ),
        (["--views", "left,right", "--likelihood", "left=gaussian,left=laplace"], "each view once, received 'left'"),
        (["--views", "left,right", "--binarize", "static"], "binarize: expected one tensor, received several views"),
        (["--views", "left,right", "--posterior", "iaf"], "expected diagonal_gaussian or full_gaussian"),
        (["--views", "left,right", "--objective", "dreg", "--fusion", "mixture_of_experts"], "dreg: expected"),
        (["--dset", "digits", "--objective", "mvae"], "objective mvae: expected data of several views"),
    ],
)
def test_what_is_refused(data, tmp_path, options, message, capsys):
    code = "none"
    try:
        code = cli.main(["--dset", str(data), "--epochs", "1", "--run_dir", str(tmp_path / "run"), *options])
    except SystemExit as stop:
        code = stop.code
    said = capsys.readouterr().err
    assert code == 2, said
    assert message in said
    assert not (tmp_path / "run").exists()


@pytest.mark.fault(214)
def test_a_config_of_views_that_contradicts_itself_is_refused(run, tmp_path):
    for name, change in {
        "views": lambda config: config["data"].update(image_shape={"left": [4, 4, 1]}),
        "pixels": lambda config: config["data"].update(image_shape={"left": [4, 5, 1], "right": None}),
        "shape": lambda config: config["input_shape"].update(right=[6]),
    }.items():
        copy = tmp_path / name
        copy.mkdir()
        for file in run.iterdir():
            if file.is_file():
                (copy / file.name).write_bytes(file.read_bytes())
        config = json.loads((copy / "config.json").read_text())
        change(config)
        (copy / "config.json").write_text(json.dumps(config))
        with pytest.raises(ModelError, match=r"input_shape has|weights"):
            bicoder.load(copy)


def test_commands_that_take_one_tensor_say_so(run):
    assert "of several views" in refused(2, "reconstruct", run)
    assert "a run of several views" in refused(2, "encode", run, ROOT)
    assert ".png or .npz" in refused(2, "generate", run, "--output", "x.npy")


def test_training_examples_are_read_to_be_learnt_from_if_they_have_labels(tmp_path, capsys, monkeypatch):
    """Test examples of a publisher are read without the others; labels of these say whether more is to be read."""
    monkeypatch.setattr("bicoder.evaluation.classifiers.STEPS", 5)
    rng = np.random.default_rng(0)
    for part, count in (("", 60), ("_te", 30)):
        views = {f"m{i}": rng.random((count, 28, 28, 3)).astype("float32") for i in range(5)}
        (tmp_path / f"mnist_color{part}.pkl").write_bytes(pickle.dumps(views))
    np.save(tmp_path / "mnist_color_y_te.npy", np.arange(30) % 3)
    where = ["--data_dir", str(tmp_path)]
    options = ["--dset", "mnist_color", "--views", "m0,m2", "--no_download", "--epochs", "0", "--no_pictures"]
    assert cli.main([*options, *where, *SMALL, "--run_dir", str(tmp_path / "run")]) == 0
    command = ["evaluate", str(tmp_path / "run"), "--num_samples", "2", "--overwrite", "--json", *where]
    found = {}
    for name in ("without", "with"):
        if name == "with":
            np.save(tmp_path / "mnist_color_y.npy", np.arange(60) % 3)
        capsys.readouterr()
        assert cli.bicoder(command) == 0
        found[name] = json.loads(capsys.readouterr().out)["coherence"]
    assert (found["without"]["learnt_from"], found["without"]["examples"]) == ("one half of the test examples", 15)
    assert (found["with"]["learnt_from"], found["with"]["examples"]) == ("training examples", 30)
    assert found["with"]["classifiers"]["m2"]["examples"] == 60
