"""Validation images: what chooses sees them and nothing else; test images are for the numbers that are printed."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from bicoder import DataLoader, load
from bicoder.cli.main import bicoder, main
from bicoder.runs.config import read_config

SMALL = ["--network", "mlp:hidden=[4]", "--latent_dim", "2", "--batch_size", "16", "--num_images", "4"]
# So large that the bound becomes worse again.
CHOOSING = ["--epochs", "5", "--learning_rate", "0.3"]
FORMAT_1 = Path(__file__).parents[1] / "runs" / "format1"


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    """Function (*options, test=seed of the test images) -> the folder of a new run."""
    images = np.random.default_rng(0).random((60, 12), "float32")

    def run(*options, test=1):
        folder = tmp_path_factory.mktemp("run")
        other = np.random.default_rng(test).random((20, 12), "float32")
        np.savez(folder / "x.npz", x_train=images, x_test=other)
        arguments = ["--dset", folder / "x.npz", *SMALL, "--generate_from_prior", "--run_dir", folder, *options]
        assert main(list(map(str, arguments))) == 0
        return folder

    return run


def weights(folder):
    return [np.asarray(variable) for variable in load(folder).weights]


def rows(folder):
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("options", [["--weights", "best"], ["--patience", "1"]], ids=" ".join)
def test_other_test_images_leave_the_weights_as_they_are(options, train, capsys):
    one = train(*CHOOSING, *options)
    printed = capsys.readouterr().out
    other = train(*CHOOSING, *options, test=2)
    assert all(np.array_equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))
    assert rows(one) == rows(other), "the columns val_ are of validation images"
    numbers = [
        [line for line in text.splitlines() if "test -ELBO" in line] for text in (printed, capsys.readouterr().out)
    ]
    assert numbers[0] != numbers[1], "the printed numbers are of test images"


def test_patience_ends_the_training(train):
    bounds = [float(row["val_elbo"]) for row in rows(train(*CHOOSING, "--patience", "1"))]
    assert len(bounds) < 5
    assert bounds[-1] <= max(bounds[:-1])
    assert bounds[:-1] == sorted(bounds[:-1]), "better in every epoch but the last"


def test_a_share_is_set_aside_and_written_down(train):
    folder = train("--epochs", 1, "--validation", "0.25", "--split_seed", "3")
    config = read_config(folder)
    counts = [config["data"][f"{name}_images"] for name in ("training", "validation", "test")]
    assert counts == [45, 15, 20]
    assert config["data"]["split"] == {"seed": 3, "validation": 0.25, "files": None}
    assert config["data"]["scaling"] == [1, False]
    loader = DataLoader(folder / "x.npz", validation=0.25, split_seed=3)
    vae = load(folder)
    vae.compile()
    reached = vae.evaluate(loader.validation_images, verbose=0, return_dict=True)["elbo"]
    assert reached == pytest.approx(float(rows(folder)[-1]["val_elbo"]), rel=0.15), "other noise for 15 images"


def test_the_split_has_a_seed_of_its_own(train):
    def split_of(*options):
        return read_config(train("--epochs", 0, "--validation", "0.25", *options))["data"]["sha256"]

    assert split_of("--seed", 1, "--split_seed", 5) == split_of("--seed", 2, "--split_seed", 5)
    assert split_of("--seed", 1) != split_of("--seed", 2)


def test_without_a_choice_all_images_are_learnt_from(train):
    config = read_config(train("--epochs", 0))
    assert (config["data"]["training_images"], config["data"]["validation_images"]) == (60, 0)
    assert config["arguments"]["validation"] == 0.0
    config = read_config(train("--epochs", 0, "--weights", "best"))
    assert (config["data"]["training_images"], config["data"]["validation_images"]) == (54, 6)
    assert config["arguments"]["validation"] == 0.1


@pytest.mark.fault(168)
def test_nothing_is_chosen_without_validation_images(train, tmp_path, capsys):
    for choosing in (["--weights", "best"], ["--patience", "3"]):
        assert main([*choosing, "--validation", "0", "--run_dir", str(tmp_path / "run")]) == 2
        assert "validation: expected a share of the training images" in capsys.readouterr().err


def test_a_run_of_format_1_goes_on_as_it_was(tmp_path, capsys):
    """Its best weights were chosen by test images, and more epochs are compared with them."""
    run = shutil.copytree(FORMAT_1, tmp_path / "run")
    before = rows(run)
    assert main(["--resume", str(run), "--epochs", "4"]) == 0
    after = rows(run)
    for one, other in zip(before[:2], after[:2], strict=True):  # those that its checkpoint has; epochs count from 1 now
        assert other | {"epoch": one["epoch"]} == one
    assert [row["epoch"] for row in after] == ["1", "2", "3", "4"]
    data = json.loads((run / "config.json").read_text())["data"]
    assert (data["training_images"], data["validation_images"], data["test_images"]) == (1438, 0, 359)


def test_evaluate_reads_the_test_images_alone(train, capsys):
    """The training images are no longer needed: only those of this file are gone, which has both."""
    folder = train("--epochs", 1, "--validation", "0.25")
    capsys.readouterr()
    assert bicoder(["evaluate", str(folder), "--num_samples", "3", "--json"]) == 0
    whole = json.loads(capsys.readouterr().out)
    with np.load(folder / "x.npz") as arrays:
        test = arrays["x_test"]
    np.savez(folder / "x.npz", x_train=np.full((3, 12), 7e5), x_test=test)
    assert bicoder(["evaluate", str(folder), "--num_samples", "3", "--json", "--overwrite"]) == 0
    assert json.loads(capsys.readouterr().out) == whole
