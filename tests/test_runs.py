"""The run folder."""

import json

import numpy as np
import pytest

from bicoder import VAE, runs
from bicoder.errors import ModelError, UsageError


@pytest.fixture
def saved(tmp_path):
    vae = VAE(seed=0, latent_dim=3)
    vae.build((None, 12))
    runs.save_config(tmp_path, vae, {"dset": "digits"}, {"training_images": 3})
    runs.save_weights(tmp_path, vae)
    return tmp_path, vae


def test_load_gives_the_same_model(saved, rng):
    folder, vae = saved
    x = rng.random((5, 12), "float32")
    loaded = runs.load(folder)
    np.testing.assert_array_equal(loaded.reconstruct(x), vae.reconstruct(x))
    assert loaded.get_config() == vae.get_config()
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "model.weights.h5"]


def test_config_says_what_is_needed_to_repeat(saved):
    config = json.loads((saved[0] / "config.json").read_text())
    assert config["arguments"] == {"dset": "digits"}
    assert {"bicoder", "python", "keras", "tensorflow", "numpy", "scikit-learn"} == set(config["versions"])
    assert config["input_shape"] == [12]
    assert config["model"]["seed"] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, "written by bicoder"),
        ({"model": {"encoder": {"name": "nothing"}}}, "expected one of"),
        ({"model": {"nonsense": 1}}, "expected a run folder"),
        ({"input_shape": [13]}, "expected a run folder"),
        (None, "expected a run folder"),
    ],
)
def test_a_damaged_run_is_one_clear_error(saved, change, message):
    folder, _ = saved
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text("{" if change is None else json.dumps(config | change))
    with pytest.raises((ModelError, UsageError), match=message):
        runs.load(folder)


def test_missing_run(tmp_path):
    with pytest.raises(ModelError, match="expected a run folder"):
        runs.load(tmp_path / "none")


def test_new_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = runs.new_folder("digits")
    first.mkdir(parents=True)
    second = runs.new_folder("digits")
    assert first != second
    assert first.name.startswith("digits-")
    assert runs.new_folder("some/folder of images").name.startswith("folder_of_images-")
    given = runs.new_folder("digits", tmp_path / "a" / "b")
    given.mkdir(parents=True)
    (given / "config.json").write_text("{}")
    with pytest.raises(UsageError, match="holds a run already"):
        runs.new_folder("digits", given)
    assert runs.new_folder("digits", given, overwrite=True) == given


def test_a_folder_that_cannot_be_made(saved):
    folder, vae = saved
    with pytest.raises(UsageError, match="cannot be made"):
        runs.save_config(folder / "config.json" / "run", vae, {}, {})
