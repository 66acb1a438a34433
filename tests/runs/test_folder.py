"""The run folder."""

import json
from concurrent.futures import ThreadPoolExecutor

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
    assert runs.make_folder("some/folder of images", None).name.startswith("folder_of_images-")
    given = runs.make_folder("digits", tmp_path / "a" / "b")
    assert given == tmp_path / "a" / "b"
    runs.check_free("digits", given, overwrite=False)
    (given / "config.json").write_text("{}")
    with pytest.raises(UsageError, match="holds a run already"):
        runs.check_free("digits", given, overwrite=False)
    runs.check_free("digits", given, overwrite=True)


@pytest.mark.fault(122)
def test_runs_that_begin_together_have_folders_of_their_own(tmp_path, monkeypatch):
    """All in one second, as a loop of a shell starts them: whoever makes the folder has it."""
    monkeypatch.chdir(tmp_path)
    with ThreadPoolExecutor(16) as threads:
        folders = list(threads.map(lambda _: runs.make_folder("digits", None), range(64)))
    assert len(set(folders)) == 64
    assert all(folder.is_dir() and folder.name.startswith("digits-") for folder in folders)


def test_a_folder_that_cannot_be_made(saved):
    folder, _ = saved
    with pytest.raises(UsageError, match="cannot be made"):
        runs.make_folder("digits", folder / "config.json" / "run")
