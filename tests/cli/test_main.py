"""The commands: options, what they write, and what they say when something is wrong."""

import csv
import json
import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from bicoder import load
from bicoder.cli import main as cli
from bicoder.cli.parser import help_of
from bicoder.runs.options.table import Options

FILES = {"config.json", "split.csv", "metrics.csv", "model.safetensors", "checkpoints", "curve.png"}
FLAGS = {
    "--visualize_latent": "latent.png",
    "--generate_from_prior": "prior.png",
    "--generate_from_posterior": "posterior.png",
}
MORE_FLAGS = {"--traversals": "traversals.png", "--interpolation": "interpolation.png", "--report": "report.html"}
KEPT = "report.safetensors"  # what stands beside report.html
PICTURES = {*FLAGS.values(), *MORE_FLAGS.values(), KEPT}


def run(*arguments, cwd=None, env=None):
    command = [sys.executable, ROOT / "train_vae.py", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=env, timeout=600)


def names(folder):
    return {path.name for path in Path(folder).iterdir() if path.name != ".lock"}


def quick(*arguments):
    return cli.main(["--epochs", "1", "--latent_points", "60", "--num_images", "9", *map(str, arguments)])


@pytest.mark.timing
@pytest.mark.fault(81)
@pytest.mark.parametrize("option", ["--help", "--version"])
def test_answers_at_once(option):
    """The best of three, in time of the processor: how long it waits for a busy one is not the program's doing."""
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = run(option)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert done.returncode == 0
    assert min(times) < 0.5


def test_help_shows_every_default_groups_and_examples(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    options = re.findall(r"^  (--\w+)", text, re.MULTILINE)
    assert len(options) >= 22
    described = dict(re.findall(r"^  (--\w+)(.*?)(?=^  -|^\w|\Z)", text, re.MULTILINE | re.DOTALL))
    switches = {*FLAGS, *MORE_FLAGS, "--version"}
    assert [name for name, words in described.items() if "default" not in words and name not in switches] == []
    for group in ("data:", "model:", "training:", "pictures", "examples:"):
        assert re.search(rf"^{group}", text, re.MULTILINE), group
    assert text.count("  python train_vae.py") == 3
    for member in ("gaussian", "laplace", "bernoulli", "mlp", "conv", "mnist_bw", "mnist_color", "digits"):
        assert member in text


def test_help_states_the_real_defaults():
    stated = {name: re.search(r"\(default: ([^ ;,)]+)", help_of(entry)) for name, entry in Options.table().items()}
    real = vars(Options())
    chosen = {name: value["name"] if isinstance(value, dict) else value for name, value in real.items()}
    checked = {name: (match[1], str(chosen[name])) for name, match in stated.items() if match and chosen.get(name)}
    assert len(checked) >= 11
    assert [name for name, (text, value) in checked.items() if text != value] == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--bogus"], 2, ["--bogus", "--help"]),
        (["--seed", "99999999999"], 2, ["--seed", "2147483647"]),
        (["--network", "mlp:activation=foo"], 2, ["activation", "'foo'"]),
        (["--epochs", "x"], 2, ["--epochs", "whole number", "'x'"]),
        (["--epochs", "-1"], 2, ["--epochs"]),
        (["--epochs", "++5"], 2, ["--epochs", "whole number", "'++5'"]),
        (["--epoch", "3"], 2, ["--epoch 3", "did you mean '--epochs'?"]),
        (["--weights", "bst"], 2, ["--weights", "'bst'", "did you mean 'best'?"]),
        (["--binarize", "statc"], 2, ["--binarize", "'statc'", "did you mean 'static'?"]),
        (["--posterior", "fullgaussian"], 2, ["--posterior", "did you mean 'full_gaussian'?"]),
        (["--prior", "vamp:pseudo_input=3"], 2, ["takes pseudo_inputs", "did you mean 'pseudo_inputs'?"]),
        (["--objective", "beta_elbo:steps=0"], 2, ["steps: expected a positive whole number, received 0"]),
        (["--objective", "elbo:num_samples=0"], 2, ["num_samples: expected a positive whole number, received 0"]),
        (["--network", "mlp:hidden=[1000000000]"], 2, ["hidden: expected at most 65,536, received 1,000,000,000"]),
        (["--num_images", "0"], 2, ["--num_images", "whole number from 1", "'0'"]),
        (["--num_images", "10000000"], 2, ["--num_images", "to 10000", "'10000000'"]),
        (["--latent_points", "0"], 2, ["--latent_points", "whole number from 1"]),
        (["--latent_dim", "1000000000"], 2, ["--latent_dim", "to 16384"]),
        (["--batch_size", "0"], 2, ["--batch_size", "from 1", "'0'"]),
        (["--latent_dim", "0"], 2, ["--latent_dim"]),
        (["--sigma", "lerned"], 2, ["--sigma", "learned", "did you mean"]),
        (["--sigma", "-1"], 2, ["--sigma", "positive"]),
        (["--learning_rate", "nan"], 2, ["--learning_rate", "positive"]),
        (["--view", "m7"], 2, ["--view", "m0", "m7"]),
        (["--network", "cnn"], 2, ["--network", "mlp", "conv", "cnn"]),
        (["--likelihood", "gaus"], 2, ["--likelihood", "gaussian", "'gaus'; did you mean 'gaussian'?"]),
        (["--image_size", "big"], 2, ["--image_size", "64x48", "big"]),
        (["--dset", "mnist_bx"], 2, ["dset", "digits", "mnist_bx", "did you mean 'mnist_bw'"]),
        (["--dset", "no/such/folder"], 3, ["dset", "no/such/folder", "not there"]),
        (["--dset", r"C:\Users\me\digits"], 3, ["dset", r"'C:\\Users\\me\\digits'", "not there"]),
        (["--likelihood", "bernoulli"], 3, ["bernoulli", "only 0 and 1", "0.875", "--likelihood"]),
        (["--likelihood", "bernoulli", "--sigma", "1"], 2, ["bernoulli", "sigma"]),
    ],
)
@pytest.mark.fault(79, 80, 85, 87)
def test_bad_arguments_are_one_clear_line(arguments, code, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        received = cli.main(arguments)
    except SystemExit as stop:
        received = stop.code
    said = capsys.readouterr()
    assert received == code
    assert len(said.err.strip().splitlines()) == 1, said.err
    assert all(word in said.err for word in words), said.err
    assert names(tmp_path) == set(), "nothing was written"


def bad_data(kind, folder):
    """A path of data that cannot be used, and words of the message."""
    path = folder / "bad.npy"
    images = np.random.default_rng(0).random((5, 6, 6), "float32")
    if kind == "empty folder":
        path = folder / "nothing"
        path.mkdir()
        return path, ["PNG, JPEG", "none"]
    if kind == "web page":
        path.write_text("<!DOCTYPE html><html>")
        return path, ["web page"]
    if kind == "NaN":
        images[2, 3, 4] = np.nan
        words = ["finite", "1", "(2, 3, 4"]
    elif kind == "rank":
        images, words = images[0, 0], ["(N, height, width)", "(6,)"]
    elif kind == "object":
        np.save(path, np.array([{}], dtype=object), allow_pickle=True)
        return path, ["bad.npy"]
    else:
        images, words = images - 2.0, ["[0, 1]", "-"]
    np.save(path, images)
    return path, words


@pytest.mark.parametrize("kind", ["empty folder", "web page", "NaN", "rank", "object", "range"])
def test_bad_data_is_one_clear_line(kind, capsys, tmp_path):
    path, words = bad_data(kind, tmp_path)
    assert quick("--dset", path, "--run_dir", tmp_path / "run") == 3
    said = capsys.readouterr().err.strip()
    assert len(said.splitlines()) == 1, said
    assert str(path) in said
    assert all(word in said for word in words), said


def test_debug_shows_the_traceback(tmp_path):
    assert "Traceback" in run("--dset", "no/such", "--debug").stderr
    done = run("--dset", "no/such")
    assert (done.returncode, "Traceback" in done.stderr) == (3, False)


@pytest.mark.parametrize("flags", [(), *((flag,) for flag in FLAGS), tuple(FLAGS), tuple(MORE_FLAGS)])
def test_flags_choose_the_pictures(flags, tmp_path, capsys):
    assert quick("--run_dir", tmp_path, *flags) == 0
    drawn = {(FLAGS | MORE_FLAGS)[flag] for flag in flags} or PICTURES
    assert names(tmp_path) == FILES | drawn | ({KEPT} if "report.html" in drawn else set())
    printed = capsys.readouterr().out
    listed = {line for line in printed.splitlines() if line.startswith(str(tmp_path))}
    assert listed == {str(tmp_path / name) for name in names(tmp_path)}


@pytest.mark.fault(108)
def test_a_run_can_be_read_again(tmp_path, capsys):
    quick("--run_dir", tmp_path, "--generate_from_prior", "--epochs", "3", "--seed", "4")
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["arguments"]["seed"] == 4
    assert config["arguments"]["sigma"] == "learned"
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert set(rows[0]) == {"epoch", *(p + n for p in ("", "val_") for n in ("loss", "elbo", "distortion", "rate"))}
    table = capsys.readouterr().out
    numbers = {
        name: float(v) for name, v in re.findall(r"^(test -ELBO|distortion|rate) +(-?[\d.]+)", table, re.MULTILINE)
    }
    assert numbers["test -ELBO"] == pytest.approx(numbers["distortion"] + numbers["rate"], abs=0.02)
    assert numbers["test -ELBO"] == pytest.approx(float(rows[-1]["val_loss"]), rel=0.02)
    vae = load(tmp_path)
    assert vae.generate(2).shape == (2, 64)


@pytest.mark.xla
@pytest.mark.fault(77)
def test_same_seed_same_numbers(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        quick("--run_dir", tmp_path / name, "--generate_from_prior", "--epochs", "2", "--seed", seed)
    a, b, c = ((tmp_path / name / "metrics.csv").read_text() for name in "abc")
    assert a == b
    assert a != c
    assert (tmp_path / "a" / "prior.png").read_bytes() == (tmp_path / "b" / "prior.png").read_bytes()


@pytest.mark.fault(84)
def test_a_folder_that_holds_a_run_is_kept(tmp_path, capsys):
    quick("--run_dir", tmp_path, "--generate_from_prior")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert quick("--run_dir", tmp_path, "--generate_from_prior", "--seed", "9") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    for name in ("latent.png", "evaluation.json", "mine.txt"):
        (tmp_path / name).write_text("of another model")
    assert quick("--run_dir", tmp_path, "--generate_from_prior", "--seed", "9", "--overwrite") == 0
    assert names(tmp_path) == FILES | {"prior.png", "mine.txt"}, "what belonged to the old model is gone"


def test_best_weights_are_those_of_the_best_unweighted_bound(tmp_path):
    """A learning rate that is far too large makes the bound worse again; beta = 50 makes loss and bound disagree."""
    options = ["--learning_rate", "0.1", "--objective", "beta_elbo:beta=50", "--generate_from_prior"]
    options += ["--validation", "0.2"]
    assert quick("--run_dir", tmp_path / "best", "--weights", "best", "--epochs", "8", *options) == 0
    bounds = [float(row["val_elbo"]) for row in csv.DictReader((tmp_path / "best" / "metrics.csv").open())]
    best = int(np.argmax(bounds)) + 1
    assert best < 8, "the last epoch is the best one: this test shows nothing"
    assert quick("--run_dir", tmp_path / "last", "--epochs", str(best), *options) == 0
    for one, other in zip(load(tmp_path / "best").weights, load(tmp_path / "last").weights, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.fault(79)
@pytest.mark.parametrize("weights", ["last", "best"])
def test_no_epochs_draws_the_untrained_model(weights, tmp_path, capsys):
    assert quick("--epochs", "0", "--run_dir", tmp_path, "--generate_from_prior", "--weights", weights) == 0
    assert names(tmp_path) == {"config.json", "split.csv", "prior.png", "model.safetensors"}
    assert "0 epochs: everything is of the untrained model" in capsys.readouterr().out
    fresh = load(tmp_path)
    for variable in fresh.encoder.body.layers[0].variables[1:]:
        assert not np.asarray(variable).any(), "a bias begins at zero, and stayed there"


@pytest.mark.parametrize("shape", [(28, 28), (64, 64, 3), (100, 75, 3)])
def test_own_images_train_and_draw(shape, tmp_path, rng):
    for label in ("cats", "dogs"):
        (tmp_path / "images" / label).mkdir(parents=True)
        for i in range(12):
            pixels = (rng.random(shape) * 255).astype("uint8")
            Image.fromarray(pixels).save(tmp_path / "images" / label / f"{i}.png")
    assert quick("--dset", tmp_path / "images", "--run_dir", tmp_path / "run", "--batch_size", "8") == 0
    assert names(tmp_path / "run") == FILES | PICTURES
    data = json.loads((tmp_path / "run" / "config.json").read_text())["data"]
    assert data["image_shape"] == [*shape, 1][:3]
    assert data["label_names"] == ["cats", "dogs"]


@pytest.mark.parametrize("dimensions", [30, 36])
def test_own_vectors_train_and_draw(dimensions, tmp_path, rng):
    np.save(tmp_path / "x.npy", rng.random((40, dimensions)))
    assert quick("--dset", tmp_path / "x.npy", "--run_dir", tmp_path / "run") == 0
    assert names(tmp_path / "run") == FILES | PICTURES


def test_options_reach_the_model(tmp_path):
    options = ["--network", "conv", "--latent_dim", "5", "--likelihood", "laplace", "--sigma", "0.2"]
    assert quick("--run_dir", tmp_path, "--generate_from_prior", *options) == 0
    model = json.loads((tmp_path / "config.json").read_text())["model"]
    assert model["encoder"]["network"]["name"] == "conv"
    assert model["latent_dim"] == 5
    assert model["decoder"]["likelihood"] == {"name": "laplace", "sigma": 0.2}


@pytest.mark.fault(86, 129)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_interrupt(number, code, tmp_path):
    command = [sys.executable, "-u", ROOT / "train_vae.py", "--epochs", "100000", "--run_dir", "never"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    for line in process.stdout:
        if "epoch      1/100000" in line:
            break
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code
    assert ("interrupted" in said) == (code == 130)
    assert [path.name for path in (tmp_path / "never" / "checkpoints").iterdir()], "a checkpoint is there"
    assert "Traceback" not in said


@pytest.mark.fault(82, 87, 88)
def test_a_poor_environment(tmp_path, rng):
    """No home, no display, a backend of Matplotlib and one of Keras that are not there, and ASCII alone."""
    folder, home = tmp_path / "größe $x$", tmp_path / "keras"
    for label in ("ä", "ö"):
        (folder / label).mkdir(parents=True)
        for i in range(12):
            Image.fromarray((rng.random((8, 8)) * 255).astype("uint8")).save(folder / label / f"{label}{i}.png")
    home.mkdir()
    (home / "keras.json").write_text('{"backend": "jax"}')
    env = {k: v for k, v in os.environ.items() if k not in ("HOME", "DISPLAY", "KERAS_BACKEND")}
    env |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    env |= {"MPLBACKEND": "no_such_backend", "KERAS_HOME": str(home)}
    done = run("--dset", folder, "--epochs", "1", "--batch_size", "8", cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if "so far" not in line] == []
    [written] = (tmp_path / "runs").iterdir()
    assert names(written) == FILES | PICTURES
    assert "gr\\udcc3\\udcb6\\udcc3\\udc9fe" in done.stdout, "what ASCII cannot show"
    data = json.loads((written / "config.json").read_text())["data"]
    assert [os.fsdecode(os.fsencode(label)) for label in data["label_names"]] == ["ä", "ö"]


@pytest.mark.fault(100, 112)
def test_a_training_that_collapses_says_so_and_is_drawn(tmp_path, capsys):
    """All its codes are the same, of which t-SNE would end the process."""
    options = ["--network", "mlp:hidden=[16]", "--learning_rate", "0.3", "--epochs", "5"]
    assert quick("--run_dir", tmp_path, *options, *FLAGS) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert names(tmp_path) == FILES | set(FLAGS.values())
    assert "Posterior collapse: 0 of 20 units are active" in said.out
    assert said.out.index("test -ELBO") < said.out.index("Posterior collapse") < said.out.index("config.json")


@pytest.mark.fault(112)
def test_a_good_training_says_nothing_of_that_kind(tmp_path, capsys):
    assert quick("--run_dir", tmp_path, "--generate_from_prior", "--epochs", "10", "--learning_rate", "0.01") == 0
    out = capsys.readouterr().out
    assert "collapse" not in out
    assert "floor" not in out


@pytest.mark.fault(100)
def test_the_table_comes_before_the_pictures(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("bicoder.runs.train.draw", lambda *_: print("drawn") or [])
    assert quick("--run_dir", tmp_path) == 0
    out = capsys.readouterr().out
    assert out.index("test -ELBO") < out.index("drawn")


@pytest.mark.fault(106)
def test_no_pictures(tmp_path, capsys):
    assert quick("--run_dir", tmp_path / "run", "--no_pictures") == 0
    assert names(tmp_path / "run") == FILES - {"curve.png"}
    assert "test -ELBO" in capsys.readouterr().out
    assert quick("--run_dir", tmp_path / "no-run", "--no_pictures", "--visualize_latent") == 2
    assert "no_pictures: expected it without --visualize_latent, received both" in capsys.readouterr().err


def test_bicoder_train_is_train_vae(tmp_path, capsys):
    arguments = ["--epochs", "1", "--run_dir", str(tmp_path / "run"), "--generate_from_prior"]
    assert cli.bicoder(["train", *arguments]) == 0
    assert names(tmp_path / "run") == FILES | {"prior.png"}


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--objective", "iwea", ["did you mean 'iwae'"]),
        ("--objective", "iwae:num_samples", ["iwae:argument=value"]),
        ("--prior", "vamp:name=3", ["vamp:argument=value"]),
    ],
)
@pytest.mark.fault(80)
def test_bad_parts(option, value, words, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([option, value])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert all(word in said for word in words)


def test_bad_arguments_of_parts(tmp_path, capsys):
    for value, words in (("iwae:num_samples=0", "received 0"), ("iwae:foo=1", "takes num_samples; received ['foo']")):
        assert quick("--objective", value, "--run_dir", tmp_path / "run") == 2
        assert words in capsys.readouterr().err


@pytest.mark.fault(161)
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--prior", "vamp", "--posterior", "iaf"], "prior vamp: expected a Gaussian posterior, received iaf"),
        (
            ["--objective", "dreg", "--posterior", "iaf"],
            "objective dreg: expected a Gaussian or FullGaussian posterior",
        ),
        (["--sigma", "0.3", "--likelihood", "gaussian:sigma=0.5"], "sigma: expected it once, received 0.3 and 0.5"),
    ],
)
def test_parts_that_do_not_fit_are_one_line_and_nothing_is_written(options, words, tmp_path, capsys):
    assert quick("--run_dir", tmp_path / "run", *options) == 2
    said = capsys.readouterr().err.strip()
    assert words in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_no_number_stops_the_run(tmp_path, capsys):
    assert quick("--run_dir", tmp_path, "--learning_rate", "1e10", "--epochs", "5") == 6
    said = capsys.readouterr().err.strip()
    assert re.search(r"loss: expected a finite number, received (nan|inf) in epoch \d, step \d", said)
    assert len(said.splitlines()) == 1


def test_a_schedule_takes_half_of_the_training(tmp_path):
    options = ["--objective", "beta_elbo:schedule=linear", "--epochs", "6", "--batch_size", "100"]
    assert quick("--run_dir", tmp_path, "--generate_from_prior", *options) == 0
    assert json.loads((tmp_path / "config.json").read_text())["model"]["objective"]["steps"] == 6 * 15 // 2


def test_parts_with_arguments(tmp_path):
    parts = ["--network", "mlp:hidden=[30,20],activation=tanh", "--objective", "beta_tc:beta=2", "--prior", "real_nvp"]
    assert quick("--run_dir", tmp_path, "--generate_from_prior", *parts) == 0
    model = json.loads((tmp_path / "config.json").read_text())["model"]
    assert model["encoder"]["network"] == {"name": "mlp", "hidden": [30, 20], "activation": "tanh"}
    assert model["objective"]["data_size"] == 1438
    assert model["prior"]["name"] == "real_nvp"
    assert load(tmp_path).generate(1).shape == (1, 64)


@pytest.mark.parametrize("binarize", ["static", "dynamic"])
def test_binarized_images_suit_a_bernoulli(binarize, tmp_path):
    options = ["--likelihood", "bernoulli", "--binarize", binarize]
    assert quick("--run_dir", tmp_path, "--generate_from_prior", *options) == 0
    assert cli.bicoder(["evaluate", str(tmp_path), "--num_samples", "5"]) == 0
    assert json.loads((tmp_path / "evaluation.json").read_text())["nll"] > 0


def test_installed_command():
    script = Path(sys.executable).with_name("train_vae")
    done = subprocess.run([script, "--version"], capture_output=True, text=True)
    assert done.stdout.startswith("train_vae ")
