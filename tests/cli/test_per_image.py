"""What `evaluate` says of each test image, and `traverse` and `interpolate`: files of a run, and what is refused."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

import bicoder
from bicoder import load
from bicoder.cli import main as cli
from bicoder.data.loader import DataLoader
from bicoder.waiting import duration

SMALL = ["--network", "mlp:hidden=[8]", "--epochs", "2", "--quiet", "--num_images", "4", "--latent_points", "30"]


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A run of the digits with a code of two dimensions, and all pictures."""
    folder = tmp_path_factory.mktemp("digits") / "run"
    assert cli.main([*SMALL, "--latent_dim", "2", "--run_dir", str(folder)]) == 0
    return folder


@pytest.fixture
def run(digits, tmp_path):
    return shutil.copytree(digits, tmp_path / "run")


def rows(run):
    with open(run / "per_image.csv", encoding="utf-8", errors="surrogateescape", newline="") as file:
        return list(csv.DictReader(file))


def column(found, name):
    return np.array([float(row[name]) for row in found])


def test_each_test_image_has_a_row_whose_means_are_the_numbers(run, capsys):
    assert cli.bicoder(["evaluate", str(run), "--num_samples", "30", "--seed", "4"]) == 0
    assert str(run / "per_image.csv") in capsys.readouterr().out.splitlines()
    numbers, found, loader = json.loads((run / "evaluation.json").read_text()), rows(run), DataLoader("digits")
    assert list(found[0]) == ["row", "label", "log_px_K30_seed4", "elbo", "distortion", "rate"]
    assert [int(row["row"]) for row in found] == list(loader.test_files)
    assert [int(row["label"]) for row in found] == loader.test_labels.tolist()
    assert -column(found, "log_px_K30_seed4").mean() == pytest.approx(numbers["nll"], rel=1e-6)
    for name in ("elbo", "distortion", "rate"):
        assert column(found, name).mean() == pytest.approx(numbers[name], rel=1e-6)
    np.testing.assert_allclose(column(found, "elbo"), -column(found, "distortion") - column(found, "rate"), rtol=1e-6)
    expected = load(run).log_likelihood(loader.test_images[:100], 3000)
    assert np.corrcoef(column(found, "log_px_K30_seed4")[:100], expected)[0, 1] > 0.99, "in the order of the images"


def test_numbers_are_those_of_python_though_the_first_block_is_weighed_twice(run, capsys):
    """To say how long it takes, a block is drawn again; what is drawn after it stays the same."""
    assert cli.bicoder(["evaluate", str(run), "--num_samples", "7", "--json"]) == 0
    said = capsys.readouterr()
    assert said.err.startswith("359 test images, 7 importance samples of each: about ")
    silent = bicoder.evaluate(load(run), DataLoader("digits"), num_samples=7)
    assert capsys.readouterr().err == ""
    assert json.loads(said.out)["nll"] == pytest.approx(silent["nll"], rel=1e-6)


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    """A run with a condition, of images in folders whose names a table has to quote."""
    home, rng = tmp_path_factory.mktemp("named"), np.random.default_rng(0)
    for i in range(30):
        path = home / "set" / ('a, "b"', "c\nd")[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(256, size=(4, 4)).astype("uint8")).save(path)
    options = ["--condition", "labels", "--latent_dim", "3", "--run_dir", str(home / "run")]
    assert cli.main(["--dset", str(home / "set"), *SMALL, *options]) == 0
    return home


def test_files_and_labels_are_one_cell_each_and_a_condition_is_in_the_name(named, monkeypatch, tmp_path):
    monkeypatch.setenv("BICODER_DATA", str(tmp_path / "cache"))
    monkeypatch.setattr("bicoder.evaluation.classifiers.STEPS", 5)
    run = named / "run"
    assert cli.bicoder(["evaluate", str(run), "--num_samples", "5"]) == 0
    found = rows(run)
    assert list(found[0]) == ["file", "label", "log_px_given_y_K5_seed0", "elbo", "distortion", "rate"]
    assert len(found) == 6
    for row in found:
        assert (named / "set" / row["file"]).is_file()
        assert row["file"].split("/")[0] == row["label"]


def test_commands_draw_what_the_training_drew(run, capsys):
    """Until they are told otherwise."""
    names = ("traversals.png", "plane.png", "interpolation.png")
    before = {name: (run / name).read_bytes() for name in names}
    for name in names:
        (run / name).write_bytes(b"spoilt")
    capsys.readouterr()
    assert cli.bicoder(["traverse", str(run)]) == 0
    assert cli.bicoder(["interpolate", str(run)]) == 0
    assert capsys.readouterr().out.splitlines() == [str(run / name) for name in names]
    assert {name: (run / name).read_bytes() for name in names} == before
    assert cli.bicoder(["draw", str(run), "--interpolation"]) == 0
    assert capsys.readouterr().out.splitlines() == [str(run / "interpolation.png")]
    assert (run / "interpolation.png").read_bytes() == before["interpolation.png"]
    for command, *more in (("traverse", "--num_images", "1"), ("interpolate", "--num_pairs", "2", "--labels_shown")):
        assert cli.bicoder([command, str(run), *more]) == 0
    assert cli.bicoder(["traverse", str(run), "--seed", "5"]) == 0
    for name in ("traversals.png", "interpolation.png"):
        with Image.open(run / name) as picture:
            picture.verify()
        assert (run / name).read_bytes() != before[name]


@pytest.mark.fault(222, 223)
def test_what_cannot_be_interpolated(tmp_path, capsys, rng):
    """Labels where there are none, and a pair where there is one image."""
    np.savez(tmp_path / "x.npz", x_train=rng.random((20, 4, 4)), x_test=rng.random((1, 4, 4)))
    run = tmp_path / "run"
    assert cli.main(["--dset", str(tmp_path / "x.npz"), "--latent_dim", "2", "--run_dir", str(run), *SMALL]) == 0
    said = capsys.readouterr()
    assert "interpolation.png" not in said.out + said.err
    assert (run / "traversals.png").exists()
    for more, code, words in (
        (["--labels_shown"], 2, f"labels_shown: expected test images with labels, but those of {run} have none"),
        ([], 3, f"{run}: expected two test images for a pair, received none"),
    ):
        assert cli.bicoder(["interpolate", str(run), *more]) == code
        [line] = capsys.readouterr().err.splitlines()
        assert words in line
    assert not (run / "interpolation.png").exists()


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.02, "1 s"), (12.4, "12 s"), (99.4, "99 s"), (119, "2 min"), (5990, "100 min"), (9000, "2.5 h")],
)
def test_a_time_in_words(seconds, said):
    assert duration(seconds) == said
