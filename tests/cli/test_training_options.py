"""What the options of training do to a real, small training."""

import csv
import json
import shutil

import keras
import numpy as np
import pytest

from bicoder import load
from bicoder.cli.main import main
from bicoder.data.loader import DataLoader
from bicoder.runs import checkpoints
from bicoder.runs.build import build_model, learning_rate, with_sigma
from bicoder.runs.config import read_config
from bicoder.runs.options.table import OPTIMIZERS, Options
from bicoder.runs.train import settled

SMALL = ["--network", "mlp:hidden=[4]", "--latent_dim", "2", "--batch_size", "16", "--num_images", "4"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """60 images to learn from, and 20 to test with."""
    path = tmp_path_factory.mktemp("data") / "x.npz"
    rng = np.random.default_rng(0)
    np.savez(path, x_train=rng.random((60, 12), "float32"), x_test=rng.random((20, 12), "float32"))
    return path


@pytest.fixture(scope="module")
def train(data, tmp_path_factory):
    """Function (*options) -> the folder of a new run with these options."""

    def run(*options):
        folder = tmp_path_factory.mktemp("run")
        arguments = ["--dset", data, *SMALL, "--generate_from_prior", "--run_dir", folder, *options]
        assert main(list(map(str, arguments))) == 0
        return folder

    return run


@pytest.fixture(scope="module")
def run(train):
    """A run of two epochs."""
    return train("--epochs", 2)


def weights(folder):
    return [np.asarray(variable) for variable in load(folder).weights]


def same(one, other):
    """Whether two runs have the same metrics and weights, to the last bit."""
    equal = all(np.array_equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))
    return equal and (one / "metrics.csv").read_bytes() == (other / "metrics.csv").read_bytes()


def refused(capsys, code, *arguments):
    """What the command says, in one line, that ends with this code."""
    capsys.readouterr()
    try:
        received = main(list(map(str, arguments)))
    except SystemExit as stop:
        received = stop.code
    said = capsys.readouterr().err
    assert received == code, said
    assert len(said.splitlines()) == 1, said
    return said


def cut(folder):
    """Remove the newest checkpoint: what a kill in the last epoch would have left."""
    shutil.rmtree(folder / "checkpoints" / f"{checkpoints.numbers(folder)[-1]:06d}")


@pytest.mark.fault(167)
def test_ftrl_divides_by_a_learning_rate_that_begins_at_zero(capsys):
    said = refused(capsys, 2, "--dset", "digits", "--optimizer", "ftrl", "--learning_rate_warmup", "1")
    assert "learning_rate_warmup: expected none with ftrl" in said


# More epochs


def test_more_epochs_are_what_they_would_have_been_from_the_start(run, train, tmp_path, capsys):
    copy = shutil.copytree(run, tmp_path / "run")
    capsys.readouterr()
    assert main(["--resume", str(copy), "--epochs", "4"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert "going on after 2 epochs" in said.out
    assert read_config(copy)["arguments"]["epochs"] == 4
    assert same(copy, train("--epochs", 4))
    assert main(["--resume", str(copy)]) == 0
    assert "done, all 4 epochs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--learning_rate_schedule", "cosine"], "learning rate: the schedule depends on the number of epochs"),
        (["--objective", "beta_elbo:schedule=linear"], "objective: the schedule depends on the number of epochs"),
    ],
)
def test_a_schedule_of_so_many_epochs_is_named(options, words, train, capsys):
    folder = train("--epochs", 1, *options)
    capsys.readouterr()
    assert main(["--resume", str(folder), "--epochs", "2"]) == 0
    assert words in capsys.readouterr().err


def test_fewer_epochs_are_refused(run, capsys):
    assert "epochs 2 is now 1" in refused(capsys, 2, "--resume", run, "--epochs", 1)


# Weights of another run


def test_init_starts_from_the_weights_of_another_run(run, train):
    started = train("--init", run, "--epochs", 0, "--seed", 5)
    assert all(np.array_equal(a, b) for a, b in zip(weights(started), weights(run), strict=True))
    assert not np.array_equal(weights(train("--epochs", 0, "--seed", 5))[0], weights(run)[0])


@pytest.mark.fault(162)
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--network", "mlp:hidden=[5]"], "expected the encoder"),
        (["--network", "mlp:hidden=[4],activation=tanh"], "expected the encoder"),
        (["--latent_dim", "3"], "expected the encoder"),
        (["--sigma", "0.5"], "expected weights of the decoder"),
        (["--prior", "vamp"], "expected the prior"),
    ],
)
def test_init_of_another_architecture_is_refused(options, words, run, data, tmp_path, capsys):
    there = tmp_path / "new"
    said = refused(capsys, 5, "--dset", data, *SMALL, "--init", run, "--run_dir", there, "--epochs", 1, *options)
    assert words in said.split("error: ")[-1]
    assert not there.exists()


# The optimizer


def options_of(data, **more):
    """Settled options for one epoch of 4 steps."""
    return settled(Options(dset=str(data), epochs=3, network={"name": "mlp", "hidden": [4]}, latent_dim=2, **more))


def rates(options):
    """The learning rate of each of 12 steps."""
    found = learning_rate(options, 4)
    return [float(found(step)) if callable(found) else found for step in range(13)]


def test_learning_rates(data):
    constant, cosine = {"learning_rate": 0.1}, {"learning_rate": 0.1, "learning_rate_schedule": "cosine"}
    assert rates(options_of(data, **constant)) == [0.1] * 13
    expected = [0.05 * (1 + np.cos(np.pi * step / 12)) for step in range(13)]
    np.testing.assert_allclose(rates(options_of(data, **cosine)), expected, atol=1e-7)
    rising = [0.1 * step / 6 for step in range(6)]
    warm = rates(options_of(data, **constant, learning_rate_warmup=1.5))
    np.testing.assert_allclose(warm, [*rising, *[0.1] * 7], atol=1e-7)
    falling = [0.05 * (1 + np.cos(np.pi * step / 6)) for step in range(7)]
    warm = rates(options_of(data, **cosine, learning_rate_warmup=1.5))
    np.testing.assert_allclose(warm, [*rising, *falling], atol=1e-7)


def test_a_cosine_schedule_goes_on_exactly(train, run, tmp_path):
    options = ["--epochs", 2, "--learning_rate_schedule", "cosine", "--learning_rate_warmup", "0.5"]
    whole = train(*options, "--checkpoint_epochs", 1)
    assert not same(whole, run)
    broken = shutil.copytree(whole, tmp_path / "run")
    cut(broken)
    (broken / "metrics.csv").unlink()
    assert main(["--resume", str(broken)]) == 0
    assert same(whole, broken)


def test_weight_decay_is_that_of_adamw(train, run):
    with_adam = train("--epochs", 2, "--weight_decay", 0.5, "--learning_rate", 0.01)
    assert same(with_adam, train("--epochs", 2, "--weight_decay", 0.5, "--optimizer", "AdamW", "--learning_rate", 0.01))
    assert not same(with_adam, train("--epochs", 2, "--learning_rate", 0.01))


def test_a_gradient_is_no_longer_than_clip_norm(train):
    start, end = (
        train("--epochs", n, "--optimizer", "sgd", "--learning_rate", "1", "--clip_norm", "1e-3") for n in (0, 1)
    )
    moved = np.sqrt(sum(np.square(a - b).sum() for a, b in zip(weights(start), weights(end), strict=True)))
    assert 0 < moved <= 4 * 1.001e-3, "four steps of that length"


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_can_be_made(name, data):
    from bicoder.runs.build import make_optimizer

    made = make_optimizer(options_of(data, optimizer=name, weight_decay=0.1, clip_norm=2.0), 4)
    assert type(made).__name__.lower() == name
    assert (made.weight_decay, made.global_clipnorm) == (0.1, 2.0)


def test_an_unknown_optimizer(capsys):
    assert "did you mean 'adamw'?" in refused(capsys, 2, "--optimizer", "adamww")


# The machine


def test_networks_of_half_precision_have_densities_of_float32(data, train):
    options = options_of(data, precision="mixed_bfloat16")
    loader = DataLoader(data)
    before = keras.config.dtype_policy().name
    vae = build_model(with_sigma(options, loader), loader)
    assert keras.config.dtype_policy().name == before
    assert {layer.compute_dtype for coder in (vae.encoder, vae.decoder) for layer in coder.body.layers} == {"bfloat16"}
    assert {variable.dtype for variable in vae.trainable_variables} == {"float32"}
    x = loader.test_images[:3]
    assert {str(keras.backend.standardize_dtype(v.dtype)) for v in vae(x)} == {"float32"}
    assert vae.compute_dtype == "float32", "x is not rounded"
    folder = train("--epochs", 1, "--precision", "mixed_bfloat16")
    assert np.isfinite(load(folder).generate(2)).all()
    assert not same(folder, train("--epochs", 1))


@pytest.mark.fault(169)
def test_devices(train, data, tmp_path, capsys):
    import tensorflow as tf

    assert (train("--epochs", 0, "--device", "cpu") / "config.json").exists()
    if not tf.config.list_physical_devices("GPU"):
        said = refused(capsys, 2, "--dset", data, "--device", "gpu", "--run_dir", tmp_path / "none")
        assert "device: expected a GPU that TensorFlow can use, found none" in said.split("error: ")[-1]
        assert not (tmp_path / "none").exists()


# What is printed


def test_quiet_prints_the_numbers_alone(train, capsys):
    capsys.readouterr()
    folder = train("--epochs", 1, "--quiet")
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.lstrip().startswith("nats per image")
    assert str(folder / "config.json") in said.out
    assert main(["--resume", str(folder), "--quiet"]) == 0
    assert capsys.readouterr().out.lstrip().startswith("nats per image")


@pytest.mark.fault(166)
def test_quiet_and_verbose(capsys):
    assert "quiet: expected it without --verbose" in refused(capsys, 2, "--quiet", "--verbose")


# A config as defaults


def test_a_config_repeats_a_run_with_another_seed(run, train, capsys):
    again = train("--config", run / "config.json", "--seed", 1)
    then, now = (read_config(folder) for folder in (run, again))
    other = {"seed", "run_dir"}
    kept = [{k: v for k, v in config["arguments"].items() if k not in other} for config in (then, now)]
    assert kept[0] == kept[1]
    assert now["arguments"]["seed"] == 1
    assert now["arguments"]["split_seed"] == then["arguments"]["split_seed"] == 0
    assert now["data"] == then["data"], "the same split"
    assert same(train("--config", run / "config.json"), run)
    assert not same(again, run)


@pytest.mark.fault(164)
def test_flags_win_and_places_are_not_taken(run, train, tmp_path, capsys):
    config = json.loads((run / "config.json").read_text())
    places = {"data_dir": "/somebody's", "mirror": "http://somebody", "overwrite": True, "debug": True}
    config["arguments"] |= places | {"run_dir": "/nowhere", "likelihood": {"name": "laplace", "sigma": 0.3}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    capsys.readouterr()
    folder = train("--config", tmp_path / "config.json", "--epochs", 1, "--likelihood", "optimal_gaussian")
    [line] = capsys.readouterr().err.splitlines()
    assert (
        "--data_dir /somebody's and --mirror http://somebody: not taken from a config; give it on the command" in line
    )
    found = read_config(folder)["arguments"]
    assert [found[name] for name in places] == [None, None, False, False]
    assert (found["epochs"], found["likelihood"], found["sigma"]) == (1, {"name": "optimal_gaussian"}, None)
    assert found["run_dir"] == str(folder)


@pytest.mark.fault(163)
@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (None, 2, "cannot be read: No such file"),
        (b"{", 5, "not JSON"),
        (b'{"format": 99}', 5, "format 99"),
        (b'{"format": 2}', 5, "expected the key"),
    ],
)
def test_a_config_from_anyone(content, code, words, tmp_path, capsys):
    path = tmp_path / "their.json"
    if content:
        path.write_bytes(content)
    said = refused(capsys, code, "--config", path, "--run_dir", tmp_path / "run")
    assert str(path) in said
    assert words in said
    assert not (tmp_path / "run").exists()


@pytest.mark.fault(165)
def test_a_run_that_goes_on_takes_no_config(run, capsys):
    said = refused(capsys, 2, "--resume", run, "--config", run / "config.json")
    assert "config: a run that goes on has the arguments that it was started with" in said


def metrics(folder):
    """The rows of metrics.csv."""
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.fault(99)
def test_the_program_says_which_sigma_it_took(train, capsys):
    train("--epochs", 0)
    assert "sigma of p(x|z) is learned by default; --sigma sets it" in capsys.readouterr().out
    train("--epochs", 0, "--sigma", "0.3")
    assert "by default" not in capsys.readouterr().out


@pytest.mark.fault(90)
def test_noise_on_the_input_changes_the_training_and_no_number_of_an_untrained_model(train, run):
    noisy = train("--epochs", 2, "--input_noise", "0.5")
    assert load(noisy).input_noise == 0.5
    assert not same(noisy, run)
    clean, other = (train("--epochs", 0, "--input_noise", noise) for noise in (0, 5))
    x = np.random.default_rng(0).random((4, 12), "float32")
    np.testing.assert_array_equal(load(clean).encode(x).mean, load(other).encode(x).mean)
