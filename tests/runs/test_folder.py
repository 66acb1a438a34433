"""The run folder."""

import json

import pytest

from bicoder import VAE
from bicoder.errors import UsageError
from bicoder.runs import folder as runs
from bicoder.runs import weights


@pytest.fixture
def saved(tmp_path):
    vae = VAE(seed=0, latent_dim=3)
    vae.build((None, 12))
    runs.save_config(tmp_path, vae, {"dset": "digits"}, {"training_images": 3})
    weights.save(tmp_path, vae)
    return tmp_path, vae


def test_config_says_what_is_needed_to_repeat(saved):
    config = json.loads((saved[0] / "config.json").read_text())
    assert config["arguments"] == {"dset": "digits"}
    assert {"bicoder", "python", "keras", "tensorflow", "numpy", "scikit-learn"} == set(config["versions"])
    assert config["input_shape"] == [12]
    assert config["model"]["seed"] == 0


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
    folder, _ = saved
    with pytest.raises(UsageError, match="cannot be made"):
        runs.make_folder(folder / "config.json" / "run")
