"""`--log tensorboard`: what the event files hold, that it changes nothing else, and how it goes on with a training."""

import csv
import importlib.util
import io
import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator

from bicoder.cli import main as cli
from bicoder.runs.callbacks import tensorboard
from bicoder.runs.state import TrainingState

SMALL = ["--network", "mlp:hidden=[8]", "--epochs", "6", "--no_pictures", "--quiet"]
LOG = ["--log", "tensorboard", "--log_image_epochs", "2", "--checkpoint_epochs", "3"]


def run(folder, *options, small=SMALL, code=0):
    """Train into a folder."""
    assert cli.main([*small, "--run_dir", str(folder), *map(str, options)]) == code
    return folder


def resumed(folder, *options, code=0):
    assert cli.main(["--resume", str(folder), "--quiet", "--no_pictures", *map(str, options)]) == code
    return folder


def events(folder, name):
    """tag -> {step: tensor} of a part of the log, as TensorBoard reads it; no step is there twice."""
    found = EventAccumulator(str(folder / "tensorboard" / name), size_guidance={"tensors": 0})
    found.Reload()
    rows = {tag: found.Tensors(tag) for tag in found.Tags()["tensors"]}
    for tag, values in rows.items():
        steps = [event.step for event in values]
        assert steps == sorted(set(steps)), f"{tag}: {steps}"
    return {tag: {event.step: tf.make_ndarray(event.tensor_proto) for event in values} for tag, values in rows.items()}


def metrics(folder):
    """column -> the numbers of every epoch, of metrics.csv."""
    with open(folder / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows] for name in rows[0]}


def pixels(tensor):
    """The image of an event, (height, width, 3), once its width and height are those that it says."""
    width, height, png = tensor
    with Image.open(io.BytesIO(png)) as image:
        assert image.size == (int(width), int(height))
        return np.asarray(image.convert("RGB")).astype(int)


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """A run of 6 epochs of the digits with a log, and images of every second one."""
    return run(tmp_path_factory.mktemp("logged") / "run", *LOG)


@pytest.fixture
def copy(logged, tmp_path):
    return shutil.copytree(logged, tmp_path / "run")


def test_the_numbers_of_every_epoch_are_those_of_metrics(logged):
    columns = metrics(logged)
    for name, prefix in (("train", ""), ("validation", "val_")):
        found = events(logged, name)
        of_learning = {"epoch_learning_rate"} if name == "train" else set()
        assert set(found) == {f"epoch_{one}" for one in ("loss", "elbo", "distortion", "rate")} | of_learning
        for tag in set(found) - of_learning:
            expected = columns[prefix + tag.removeprefix("epoch_")]
            assert list(found[tag]) == list(range(6))
            np.testing.assert_allclose(list(found[tag].values()), expected, rtol=1e-6)


def test_images_of_every_second_epoch(logged):
    found = events(logged, "images")
    assert {tag: list(images) for tag, images in found.items()} == {"reconstructions": [1, 3, 5], "samples": [1, 3, 5]}
    first, last = (pixels(found["reconstructions"][step]) for step in (1, 5))
    samples = [pixels(found["samples"][step]) for step in (1, 5)]
    assert (first[: 64 + 2] == last[: 64 + 2]).all(), "the test images above"
    assert np.abs(first[66:] - last[66:]).max() > 20, "what the model makes of them below"
    assert np.abs(samples[0] - samples[1]).max() > 20
    assert first.shape[0] == 2 * samples[0].shape[0] + 2


def test_a_log_changes_nothing_else(logged, tmp_path):
    without = run(tmp_path / "run")
    for name in ("metrics.csv", "model.safetensors", "split.csv"):
        assert (without / name).read_bytes() == (logged / name).read_bytes()
    assert {path.name for path in logged.iterdir()} - {path.name for path in without.iterdir()} == {"tensorboard"}


@pytest.mark.fault(284)
def test_a_training_that_goes_on_has_every_epoch_once(copy, logged):
    """A process that is killed has written of epochs that its last checkpoint knows nothing of."""
    whole = {name: events(logged, name) for name in ("train", "validation", "images")}
    (newest,) = sorted((copy / "checkpoints").iterdir())[-1:]
    shutil.rmtree(newest)  # that of the sixth epoch
    resumed(copy)
    resumed(copy)
    for name, expected in whole.items():
        found = events(copy, name)
        assert {tag: list(steps) for tag, steps in found.items()} == {tag: list(s) for tag, s in expected.items()}
    assert list(events(copy, "train")["epoch_loss"].values()) == list(whole["train"]["epoch_loss"].values())


def test_more_epochs_go_on_in_the_same_folder(copy):
    resumed(copy, "--epochs", 8, "--log_image_epochs", 1)
    assert list(events(copy, "train")["epoch_loss"]) == list(range(8))
    assert list(events(copy, "images")["samples"]) == [1, 3, 5, 6, 7]


def test_a_log_may_begin_late_and_then_goes_on_by_itself(copy):
    """In the place of a run with a log, of which nothing is left."""
    (copy / "tensorboard" / "notes.txt").write_text("mine")
    run(copy, "--epochs", 1, "--overwrite")
    assert not list(copy.rglob("*tfevents*"))
    resumed(copy, "--epochs", 2, "--log", "tensorboard")
    resumed(copy, "--epochs", 3)
    assert list(events(copy, "train")["epoch_loss"]) == [1, 2]
    assert (copy / "tensorboard" / "notes.txt").read_text() == "mine"


def test_a_training_out_of_patience_ends_with_its_images(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(TrainingState, "is_out_of_patience", lambda self: self.state["epoch"] >= 3)
    folder = run(tmp_path / "run", "--log", "tensorboard", "--log_image_epochs", 2, "--epochs", 9)
    assert list(events(folder, "images")["samples"]) == [1, 2]
    assert f"{folder / 'tensorboard'}\n" in capsys.readouterr().out


@pytest.mark.parametrize(("epochs", "every"), [(1, 1), (10, 1), (11, 2), (300, 30)])
def test_there_are_up_to_ten_sets_of_images(epochs, every, tmp_path):
    assert tensorboard.TensorBoard(None, tmp_path, epochs).every == every


def test_several_views_have_a_pair_of_rows_each(tmp_path):
    rng = np.random.default_rng(0)
    views = {"left": rng.random((60, 8, 8), "float32"), "right": rng.random((60, 4, 4, 3), "float32")}
    np.savez(tmp_path / "x.npz", **views)
    options = ["--dset", tmp_path / "x.npz", "--views", "left,right", "--epochs", 1, "--log", "tensorboard"]
    found = events(run(tmp_path / "run", *options), "images")
    image, samples = pixels(found["reconstructions"][0]), pixels(found["samples"][0])
    assert image.shape[0] == 2 * samples.shape[0] + 2
    colour = np.ptp(image, axis=-1) > 30
    half = len(image) // 2
    assert (colour[:half].any(), colour[half:].any()) == (False, True), "left above right"


@pytest.mark.fault(281)
def test_without_tensorboard_it_says_how_to_install_it(tmp_path, monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tensorboard" else find(name))
    run(tmp_path / "run", "--log", "tensorboard", code=2)
    assert "log: tensorboard needs the package tensorboard; run: pip install tensorboard" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.fault(282)
def test_epochs_of_images_need_a_log(tmp_path, capsys):
    run(tmp_path / "run", "--log_image_epochs", 2, code=2)
    assert "log_image_epochs: expected it with --log tensorboard" in capsys.readouterr().err


@pytest.mark.fault(283)
@pytest.mark.parametrize("name", ["tensorboard", "tensorboard/train"])
def test_a_log_is_no_link_and_no_file(copy, tmp_path, capsys, name):
    shutil.rmtree(copy / name)
    (copy / name).write_text("mine")
    resumed(copy, "--epochs", 7, code=5)
    assert "cannot be made: " in capsys.readouterr().err
    assert (copy / name).read_text() == "mine"
    (copy / name).unlink()
    (copy / name).symlink_to(tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    resumed(copy, "--epochs", 7, code=5)
    assert "received a link" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.fault(285)
def test_a_log_that_fails_costs_no_training(logged, tmp_path, monkeypatch, capsys):
    def fails(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tf.summary, "scalar", fails)
    folder = run(tmp_path / "run", *LOG)
    said = [line for line in capsys.readouterr().err.splitlines() if "log ends here" in line]
    assert said == [f"{folder / 'tensorboard'}: the log ends here: OSError: [Errno 28] No space left on device"]
    assert (folder / "model.safetensors").read_bytes() == (logged / "model.safetensors").read_bytes()
