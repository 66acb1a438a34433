"""Training on images that stay in a file: the same batches, the same numbers, the same files."""

import json
import shutil

import numpy as np
import pytest

from bicoder.cli.commands.evaluate import EVALUATION
from bicoder.cli.main import main
from bicoder.data.loader import DataLoader
from bicoder.engine.batches import Batches
from bicoder.engine.programs.tensorflow_steps import batch_of
from bicoder.runs import checkpoints

SMALL = ["--network", "mlp:hidden=[16]", "--generate_from_prior", "--checkpoint_epochs", "1", "--batch_size", "9"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A file of 61 images, of which 49 are trained on: five batches of 9, and one of 4."""
    folder = tmp_path_factory.mktemp("data")
    np.save(folder / "x.npy", np.random.default_rng(0).integers(0, 256, (61, 5, 4), "uint8"))
    return folder


@pytest.fixture(scope="module")
def runs(data):
    """The folders of two runs, in memory and with --stream."""
    folders = {}
    for name, more in (("memory", []), ("stream", ["--stream"])):
        arguments = ["--dset", str(data / "x.npy"), "--data_dir", str(data / "cache"), "--epochs", "2", *SMALL, *more]
        assert main([*arguments, "--run_dir", str(data / name)]) == 0
        folders[name] = data / name
    return folders


def config(run):
    return json.loads((run / "config.json").read_text())


def metrics(run):
    """metrics.csv but for the column of seconds."""
    header, *rows = [line.split(",") for line in (run / "metrics.csv").read_text().splitlines()]
    kept = [i for i, name in enumerate(header) if "second" not in name]
    return [[row[i] for i in kept] for row in (header, *rows)]


def test_a_run_is_the_same(runs):
    memory, stream = runs["memory"], runs["stream"]
    assert metrics(memory) == metrics(stream)
    assert config(memory)["data"] == config(stream)["data"]
    assert config(stream)["arguments"]["stream"] is True
    assert (memory / "prior.png").read_bytes() == (stream / "prior.png").read_bytes()


@pytest.mark.fault(70)
@pytest.mark.parametrize(("started", "more"), [("memory", ["--stream"]), ("stream", [])])
def test_a_run_goes_on(runs, started, more, tmp_path):
    """After its first epoch; whether the images are in memory may change."""
    copy = tmp_path / "run"
    shutil.copytree(runs[started], copy)
    last = max(checkpoints.numbers(copy))
    shutil.rmtree(copy / "checkpoints" / f"{last:06d}")
    assert main(["--resume", str(copy), *more]) == 0
    assert metrics(copy) == metrics(runs[started])


def test_evaluation_is_the_same(runs, capsys):
    from bicoder.cli.main import bicoder

    numbers = []
    for run in runs.values():
        assert bicoder(["evaluate", str(run), "--num_samples", "3"]) == 0
        numbers.append(json.loads((run / EVALUATION).read_text()))
    assert numbers[0] == numbers[1]
    capsys.readouterr()


def in_order(batches, count):
    """The batches of a member of what `Batches.groups` gives."""
    return [batch_of(batches, i).numpy() for i in range(count)]


@pytest.mark.parametrize("binarize", [None, "dynamic"])
@pytest.mark.parametrize(("steps", "skip"), [(1, 0), (4, 0), (4, 3), (5, 5), (64, 1)])
def test_batches_are_the_same_one_by_one_and_together(data, binarize, steps, skip):
    loaders = [DataLoader(data / "x.npy", 9, seed=1, data_dir=data / "cache", stream=stream) for stream in (0, 1)]
    found = []
    for loader in loaders:
        for together, chosen in ((True, True), (True, False), (False, False)):
            batches = Batches(loader.training_images, 9, 1, binarize=[""] if binarize else [])
            batches.epoch.assign(4)
            if together:
                batches.skip.assign(skip)
                members = [member for group in batches.groups(steps, chosen) for member in group]
                drawn = [batch for member in members for batch in in_order(*member)]
            else:
                drawn = list(batches.dataset())[skip:]
            assert [len(batch) for batch in drawn] == [9, 9, 9, 9, 9, 4][skip:]
            found.append(np.concatenate(drawn))
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


@pytest.mark.xla
def test_fit_and_evaluate_take_them(data):
    from bicoder import VAE, evaluate

    numbers = []
    for stream in (False, True):
        loader = DataLoader(data / "x.npy", data_dir=data / "cache", stream=stream, flatten=True)
        vae = VAE(seed=0)
        vae.compile("adam")
        vae.fit(loader.training_images, batch_size=9, epochs=2, verbose=0)
        numbers.append(evaluate(vae, loader, num_samples=2))
    assert numbers[0] == numbers[1]
