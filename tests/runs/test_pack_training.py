"""Training on a pack: the batches, the numbers and the files that the same images give from memory."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

from bicoder.cli.main import bicoder
from bicoder.data.loader import DataLoader
from bicoder.engine.batches import Batches
from bicoder.engine.programs.tensorflow_steps import batch_of

SMALL = ["--network", "mlp:hidden=[16]", "--generate_from_prior", "--checkpoint_epochs", "1", "--batch_size", "9"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A file of 61 images, and a pack of it in shards of 7."""
    folder = tmp_path_factory.mktemp("data")
    np.save(folder / "x.npy", np.random.default_rng(0).integers(0, 256, (61, 5, 4), "uint8"))
    words = ["pack", str(folder / "x.npy"), "--output", str(folder / "shards"), "--shard_size", "7"]
    assert bicoder(words) == 0
    os.environ["BICODER_DATA"] = str(folder / "cache")
    yield folder
    del os.environ["BICODER_DATA"]


def metrics(run):
    """metrics.csv but for the column of seconds."""
    header, *rows = [line.split(",") for line in (run / "metrics.csv").read_text().splitlines()]
    kept = [i for i, name in enumerate(header) if "second" not in name]
    return [[row[i] for i in kept] for row in (header, *rows)]


def test_a_run_and_its_evaluation_are_the_same(data, capsys):
    numbers = {}
    for name in ("x.npy", "shards"):
        run = data / f"run-{name}"
        words = ["--dset", str(data / name), "--epochs", "2", "--validation", "0.2", *SMALL, "--run_dir", str(run)]
        assert bicoder(["train", *words]) == 0
        assert bicoder(["evaluate", str(run), "--num_samples", "3"]) == 0
        numbers[name] = metrics(run), json.loads((run / "evaluation.json").read_text())
    assert numbers["x.npy"] == numbers["shards"]
    assert not (data / "run-shards/split.csv").exists(), "a line for each image would be millions"
    capsys.readouterr()
    (data / "shards-before").symlink_to(data / "shards")
    again = ["train", "--dset", str(data / "shards-before"), "--epochs", "2", "--validation", "0.2", *SMALL, "--quiet"]
    assert bicoder([*again, "--run_dir", str(data / "again")]) == 0
    assert metrics(data / "again") == numbers["shards"][0]


@pytest.mark.parametrize(("epoch", "skip", "steps"), [(0, 0, 4), (3, 2, 64), (3, 5, 1)])
def test_batches_from_the_middle_of_an_epoch(data, epoch, skip, steps):
    """A place is an epoch and a batch; from there on they are those of memory."""
    found = []
    for name in ("x.npy", "shards"):
        batches = Batches(DataLoader(data / name, seed=1).training_images, 9, 1)
        batches.epoch.assign(epoch)
        batches.skip.assign(skip)
        members = [member for group in batches.groups(steps, chosen=True) for member in group]
        found.append([batch_of(images, i).numpy() for images, count in members for i in range(count)])
    assert len(found[0]) == len(found[1]) == 6 - skip
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.fault(267)
def test_a_training_on_shards_that_is_killed_goes_on(data, tmp_path):
    """At random moments, in the middle of epochs too; the end is that of one that was never stopped."""
    words = ["--dset", str(data / "shards"), *SMALL, "--epochs", "8"]
    command = [sys.executable, ROOT / "tests/runs/killing.py", tmp_path, "2", "1", *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = done.stdout.splitlines()
    assert sum(line.startswith("ended -9") for line in lines) == 2
    assert "different" not in lines
    assert "same" in lines
