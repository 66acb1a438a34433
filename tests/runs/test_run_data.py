"""The data of a run: which images were for what is in its folder, and others are noticed."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from bicoder import DataLoader
from bicoder.cli.main import bicoder, main
from bicoder.data.splits import read_split
from bicoder.errors import ModelError
from bicoder.runs.config import read_config
from bicoder.runs.run_data import options_of_data
from bicoder.runs.run_data import test_images_of as images_of

SMALL = ["--network", "mlp:hidden=[4]", "--latent_dim", "2", "--num_images", "4", "--generate_from_prior"]


def pictures(folder, count, rng):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.fromarray(rng.integers(0, 256, (4, 3), "uint8")).save(folder / f"{i:03d}.png")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with images, `set`, and a run of two epochs on them, `run`."""
    folder = tmp_path_factory.mktemp("trained")
    pictures(folder / "set", 50, np.random.default_rng(0))
    arguments = ["--dset", folder / "set", *SMALL, "--epochs", "2", "--run_dir", folder / "run", "--validation", "0.1"]
    assert main(list(map(str, arguments))) == 0
    return folder


@pytest.fixture
def copy(trained, tmp_path, monkeypatch):
    """The same to change; `set` is where the run has it."""
    shutil.copytree(trained, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    config = json.loads((tmp_path / "copy" / "run" / "config.json").read_text())
    config["arguments"]["dset"] = str(tmp_path / "copy" / "set")
    (tmp_path / "copy" / "run" / "config.json").write_text(json.dumps(config))
    return tmp_path / "copy"


def evaluated(folder, anyway=False):
    """Names and pixels of the test images that `bicoder evaluate` takes."""
    config = read_config(folder / "run")
    loader = images_of(folder / "run", config["data"], options_of_data(folder, config["arguments"]), anyway)
    return loader.test_files.tolist(), loader.test_images.tolist()


def newer(folder):
    """An image that comes first, so that every number would be another's."""
    Image.new("L", (3, 4)).save(folder / "set" / "000 new.png")


def darker(folder, name):
    with Image.open(folder / "set" / name) as image:
        changed = np.asarray(image) // 2
    Image.fromarray(changed).save(folder / "set" / name)


@pytest.mark.fault(94)
def test_the_split_is_in_the_run_by_file_name(trained):
    found = read_split(trained / "run" / "split.csv")
    assert {use: len(names) for use, names in found.items()} == {"training": 36, "validation": 4, "test": 10}
    assert sorted(name for names in found.values() for name in names) == [f"{i:03d}.png" for i in range(50)]
    assert found["test"].tolist() == DataLoader(trained / "set", validation=0.1).test_files.tolist()


@pytest.mark.fault(94)
def test_three_seeds_have_one_test_set_with_split_seed(trained):
    one, two, three = (DataLoader(trained / "set", seed=seed, split_seed=7) for seed in (1, 2, 3))
    assert one.test_files.tolist() == two.test_files.tolist() == three.test_files.tolist()


@pytest.mark.fault(95)
def test_an_image_that_is_added_changes_nothing(copy, capsys):
    before = evaluated(copy)
    newer(copy)
    assert evaluated(copy) == before
    assert len(before[0]) == 10
    assert "1 image that the split does not name, left out." in capsys.readouterr().err


@pytest.mark.fault(95)
@pytest.mark.parametrize("change", ["gone", "another"])
def test_other_test_images_are_refused_unless_anyway(copy, capsys, change):
    name = read_split(copy / "run" / "split.csv")["test"][3]
    (copy / "set" / name).unlink() if change == "gone" else darker(copy, name)
    assert bicoder(["evaluate", "run"]) == 5
    error = capsys.readouterr().err.splitlines()[-1]
    assert "run had other data: " in error
    assert "--anyway" in error
    assert bicoder(["evaluate", "run", "--num_samples", "1", "--anyway"]) == 0
    assert "run had other data: " in capsys.readouterr().err
    found = json.loads((copy / "run" / "evaluation.json").read_text())
    assert found["images"] == (9 if change == "gone" else 10)


@pytest.mark.fault(95)
def test_a_training_image_that_is_another_does_not_matter_to_evaluate(copy):
    before = evaluated(copy)
    darker(copy, read_split(copy / "run" / "split.csv")["training"][3])
    assert evaluated(copy) == before


@pytest.mark.fault(95)
def test_an_older_run_without_a_split_is_compared_as_a_whole(copy):
    before = evaluated(copy)
    (copy / "run" / "split.csv").unlink()
    config = read_config(copy / "run")
    del config["data"]["test_sha256"]
    (copy / "run" / "config.json").write_text(json.dumps(config))
    assert evaluated(copy) == before
    newer(copy)
    with pytest.raises(ModelError, match="had other data: "):
        evaluated(copy)
    assert evaluated(copy, anyway=True) != before


@pytest.mark.fault(95)
def test_a_run_goes_on_with_its_own_images(copy):
    newer(copy)
    before = (copy / "run" / "split.csv").read_bytes()
    assert main(["--resume", "run", "--epochs", "3"]) == 0
    assert (copy / "run" / "split.csv").read_bytes() == before
    assert read_config(copy / "run")["arguments"]["epochs"] == 3


@pytest.mark.fault(95)
def test_a_run_goes_on_with_others_if_it_is_told_to(copy, capsys):
    darker(copy, read_split(copy / "run" / "split.csv")["training"][3])
    gone = read_split(copy / "run" / "split.csv")["training"][5]
    (copy / "set" / gone).unlink()
    assert main(["--resume", "run", "--epochs", "3"]) == 5
    error = capsys.readouterr().err.splitlines()[-1]
    assert "was started with other data: training_images 36 is now 35" in error
    assert "add --anyway" in error
    assert main(["--resume", "run", "--epochs", "3", "--anyway"]) == 0
    assert "goes on with other data than it was started with" in capsys.readouterr().err
    assert gone not in read_split(copy / "run" / "split.csv")["training"]
    assert main(["--resume", "run", "--epochs", "4"]) == 0
    assert len(evaluated(copy)[0]) == 10


@pytest.mark.fault(166)
def test_anyway_is_for_a_run_that_goes_on(capsys):
    assert main(["--anyway"]) == 2
    assert "anyway: expected it with --resume" in capsys.readouterr().err


def test_what_is_drawn_of_arrays_is_there_by_row(tmp_path, rng):
    np.save(tmp_path / "x.npy", rng.random((30, 5), "float32"))
    arguments = ["--dset", tmp_path / "x.npy", *SMALL, "--epochs", "0", "--run_dir", tmp_path / "run", "--overwrite"]
    assert main(list(map(str, arguments))) == 0
    assert sorted(row for rows in read_split(tmp_path / "run" / "split.csv").values() for row in rows) == list(
        range(30)
    )
    assert len(evaluated(tmp_path)[0]) == 6
    np.savez(tmp_path / "x.npz", x_train=rng.random((30, 5)), x_test=rng.random((5, 5)))
    assert main([*map(str, arguments[2:]), "--dset", str(tmp_path / "x.npz")]) == 0
    assert not (tmp_path / "run" / "split.csv").exists(), "the data say themselves which images are for testing"
    assert len(evaluated(tmp_path)[0]) == 5
    np.savez(tmp_path / "x.npz", x_train=rng.random((30, 5)), x_test=rng.random((5, 5)))
    with pytest.raises(ModelError, match="had other data: test_sha256 "):
        evaluated(tmp_path)


@pytest.mark.fault(109)
def test_damaged_images_are_in_the_split_of_the_run(tmp_path, rng):
    pictures(tmp_path / "set", 30, rng)
    for name in ("003.png", "020.png"):
        (tmp_path / "set" / name).write_bytes(b"")
    arguments = ["--dset", tmp_path / "set", *SMALL, "--epochs", "1", "--run_dir", tmp_path / "run"]
    assert main(list(map(str, arguments))) == 3
    assert main([*map(str, arguments), "--skip_damaged"]) == 0
    found = read_split(tmp_path / "run" / "split.csv")
    assert found["damaged"].tolist() == ["003.png", "020.png"]
    assert len(found["training"]) + len(found["test"]) == 28
    assert main(["--resume", str(tmp_path / "run"), "--epochs", "2"]) == 0
    evaluated(tmp_path)


@pytest.mark.fault(96)
@pytest.mark.parametrize("channels", [2, 4, 13])
def test_images_of_several_channels_are_learnt_and_drawn(tmp_path, rng, capsys, channels):
    np.save(tmp_path / "x.npy", rng.random((20, 8, 8, channels), "float32"))
    arguments = ["--dset", tmp_path / "x.npy", "--network", "conv:filters=[2]", "--latent_dim", "2", "--epochs", "1"]
    drawn = ["--generate_from_prior", "--generate_from_posterior", "--num_images", "4", "--run_dir", tmp_path / "run"]
    assert main(list(map(str, [*arguments, *drawn]))) == 0
    error = capsys.readouterr().err
    shown = {2: "the first", 4: "them as red, green, blue and opacity", 13: "the first three"}[channels]
    assert error.count(f"images of {channels} channels, of which pictures show {shown}.") == 1
    assert "not drawn" not in error
    assert {"prior.png", "posterior.png"} <= {path.name for path in (tmp_path / "run").iterdir()}


@pytest.mark.fault(94)
def test_a_folder_with_a_split_is_trained_and_measured_by_it(tmp_path, rng, capsys):
    for use in ("train", "test"):
        for label in ("a", "b"):
            pictures(tmp_path / "set" / use / label, 10, rng)
    arguments = ["--dset", tmp_path / "set", *SMALL, "--epochs", "1", "--run_dir", tmp_path / "run"]
    assert main(list(map(str, arguments))) == 0
    assert (
        "the split is that of its folders: training images in train (20), test images in test (20)."
        in capsys.readouterr().err
    )
    found = read_split(tmp_path / "run" / "split.csv")
    assert all(name.startswith("train/") for name in found["training"])
    assert all(name.startswith("test/") for name in found["test"])
    assert read_config(tmp_path / "run")["data"]["label_names"] == ["a", "b"]
    evaluated(tmp_path)
