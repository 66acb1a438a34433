"""The state of a training: it ends when nothing gets better, and goes on to the same result wherever it stopped."""

import json
import shutil

import keras
import numpy as np
import pytest
from test_checkpoints import remade

from bicoder import VAE, Decoder, Encoder
from bicoder.cli.main import main
from bicoder.networks import MLP
from bicoder.runs import checkpoints
from bicoder.runs.state import TrainingState

IMAGES = np.random.default_rng(0).random((60, 12), "float32")


def train(run, epochs, stop=None, **options):
    """Train on noise, which is soon learnt by heart: up to `epochs`, or to the end of epoch `stop` in this process."""
    vae = VAE(Encoder(MLP((32,)), 4), Decoder(MLP((32,))), seed=0)
    vae.build((None, 12))
    vae.compile(keras.optimizers.Adam(0.01))
    training = TrainingState(run, "metrics.csv", 4, every=1, **options)
    said = training.resume(vae, epochs) if checkpoints.numbers(run) else ""
    from bicoder.engine.batches import Batches

    batches = Batches(IMAGES[:40], 10, seed=0)
    batches.epoch.assign(training.state["epoch"])
    last = training.last_epoch(epochs if stop is None else stop)
    keywords = {"validation_data": IMAGES[40:], "callbacks": [training], "verbose": 0}
    vae.fit(batches.dataset(), initial_epoch=training.state["epoch"], epochs=last, **keywords)
    training.use_best()
    return training, vae, said


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    run = tmp_path_factory.mktemp("whole")
    training, vae, _ = train(run, 200, best=True, patience=3)
    return run, training, vae


def test_it_ends_when_nothing_gets_better(whole):
    run, training, _ = whole
    bounds = training.history()["val_elbo"]
    assert len(bounds) < 200
    assert len(bounds) == int(np.argmax(bounds)) + 1 + 3
    assert training.state["best"] == max(bounds)
    assert checkpoints.numbers(run)[-1] == len(bounds), "the state at the end is kept"


@pytest.mark.parametrize("stop", [1, "before the best", "at the best", "after the best"])
def test_a_training_that_goes_on_ends_at_the_same_epoch(whole, tmp_path, stop):
    run, training, vae = whole
    best = int(np.argmax(training.history()["val_elbo"])) + 1
    stop = {"before the best": best - 1, "at the best": best, "after the best": best + 2}.get(stop, stop)
    train(tmp_path, 200, stop=stop, best=True, patience=3)
    _, again, _ = train(tmp_path, 200, best=True, patience=3)
    assert (tmp_path / "metrics.csv").read_bytes() == (run / "metrics.csv").read_bytes()
    for one, other in zip(again.weights, vae.weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_there_is_nothing_left_to_do(whole):
    run, training, vae = whole
    before = (run / "metrics.csv").read_bytes()
    again, other, said = train(run, 200, best=True, patience=3)
    assert said == f"done after {training.state['epoch']} epochs, of which the last 3 had no better val_elbo"
    assert again.state["epoch"] == training.state["epoch"]
    assert (run / "metrics.csv").read_bytes() == before
    for one, two in zip(other.weights, vae.weights, strict=True):
        np.testing.assert_array_equal(one, two)


def test_more_epochs_go_on(tmp_path):
    """A finished training, to a larger number of epochs: what it had been from the start."""
    for name, epochs in (("parts", 2), ("parts", 4), ("whole", 4)):
        (tmp_path / name).mkdir(exist_ok=True)
        _, _, said = train(tmp_path / name, epochs)
        assert said in ("", "going on after 2 epochs")
    assert (tmp_path / "parts" / "metrics.csv").read_bytes() == (tmp_path / "whole" / "metrics.csv").read_bytes()


def test_a_bound_that_is_no_number_is_no_better_one(tmp_path):
    training = TrainingState(tmp_path, "metrics.csv", 4, patience=2)
    for bound, over in ((np.nan, False), (-3.0, False), (np.nan, False), (-3.5, True)):
        training.state["history"].append({"epoch": 0, "val_elbo": bound})
        assert training.is_out_of_patience() == over


def test_a_training_that_goes_on_leaves_no_numbers_of_its_old_weights(tmp_path):
    run = tmp_path / "run"
    small = ["--network", "mlp:hidden=[4]", "--latent_dim", "2", "--generate_from_prior"]
    assert main(["--epochs", "1", "--run_dir", str(run), *small]) == 0
    found = ("evaluation.json", "per_image.csv", "kl.png", "generated.png")
    for name in found:
        (run / name).touch()
    assert main(["--resume", str(run)]) == 0
    assert (run / "evaluation.json").exists(), "nothing was learnt"
    assert main(["--resume", str(run), "--epochs", "2"]) == 0
    assert not {*found} & {path.name for path in run.iterdir()}


@pytest.fixture(scope="module")
def two_epochs(tmp_path_factory):
    run = tmp_path_factory.mktemp("two")
    train(run, 2)
    return run


@pytest.mark.fault(123)
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"batch": -5}, "state.batch: expected a whole number"),
        ({"batch": 10**12}, "state.batch: expected a whole number"),
        ({"epoch": "1"}, "state.epoch: expected a whole number"),
        ({"epoch": 0.5}, "state.epoch: expected a whole number"),
        ({"epoch": -1}, "state.epoch: expected a whole number"),
        ({"epoch": 10**12}, "state.epoch: expected a whole number"),
        ({"epoch": 1}, "state.history: expected epochs from 0 to below 1"),
        ({"history": []}, "state.history: expected epochs from 0 to below 2"),
        ({"history": [{"epoch": 0}, {"epoch": 1, "loss": 3.0}]}, "the same numbers of every epoch"),
        ({"history": [{"epoch": 0}, []]}, "expected an object"),
        ({"seconds": float("nan")}, "state.seconds: expected a number from 0"),
        ({"best": "much"}, "state.best: expected a number"),
        ({"more": 1}, "unknown key 'more'"),
        (b"[" * 100_000, "is damaged"),
        (b"[]", "it holds no state"),
        (b"{}", "expected the key"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_state_that_somebody_has_edited(two_epochs, tmp_path, capsys, change, words):
    """With a manifest that fits: the checkpoint before it is taken."""
    run = tmp_path / "run"
    shutil.copytree(two_epochs, run)
    folder = run / "checkpoints" / "000002"
    state = json.loads((folder / "state.json").read_text())
    remade(folder, "state.json", change if isinstance(change, bytes) else json.dumps(state | change).encode())
    _, _, said = train(run, 1)
    assert said == "done, all 1 epochs; its pictures and numbers are made again"
    assert words in capsys.readouterr().err
