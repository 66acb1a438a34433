"""Runs of models with a condition, from the command line: trained, resumed, asked for a class, and what is refused."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

import bicoder
from bicoder.cli import main as cli
from bicoder.data.loader import DataLoader
from bicoder.errors import DataError

SMALL = ["--latent_dim", "2", "--network", "mlp:hidden=[16]", "--quiet"]
NAMES = ("cat", "dog", "owl")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with a sub-folder for each of three classes, which differ in how bright they are."""
    folder, rng = tmp_path_factory.mktemp("data") / "animals", np.random.default_rng(0)
    for grey, name in zip((30, 120, 220), NAMES, strict=True):
        (folder / name).mkdir(parents=True)
        for number in range(30):
            pixels = np.clip(grey + rng.normal(0, 8, (6, 6)), 0, 255).astype("uint8")
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(data, "--run_dir", str(folder), "--epochs", "300", "--learning_rate", "0.01")
    return folder


@pytest.fixture
def few_steps(tmp_path, monkeypatch):
    """Classifiers that learn little, and are kept where nobody looks."""
    monkeypatch.setenv("BICODER_DATA", str(tmp_path / "cache"))
    monkeypatch.setattr("bicoder.evaluation.classifiers.STEPS", 20)


def train(data, *options):
    assert cli.main(["--dset", str(data), "--condition", "labels", *SMALL, *options]) == 0


def refused(capsys, code, words, *arguments):
    """That a command ends with this code and says these words in its last line."""
    capsys.readouterr()
    try:
        found = cli.bicoder(list(map(str, arguments)))
    except SystemExit as stop:  # of the parser
        found = stop.code
    said = capsys.readouterr().err
    assert found == code, said
    assert words in said.splitlines()[-1]


def test_a_run_knows_its_classes(run):
    config = json.loads((run / "config.json").read_text())
    assert config["arguments"]["condition"] == {"name": "labels"}
    assert config["model"]["condition"] == {"name": "labels", "classes": 3}
    assert config["data"]["label_names"] == list(NAMES)
    for name in ("curve.png", "prior.png", "posterior.png", "latent.png"):
        with Image.open(run / name) as picture:
            assert min(picture.size) > 150


def test_generate_gives_the_class_that_is_asked_for(run, tmp_path, capsys):
    """Each class by its brightness; by name, by several names, and all of them in turn."""
    for asked, classes in (("dog", [1] * 9), ("owl,cat", [2] * 5 + [0] * 4), (None, [0] * 3 + [1] * 3 + [2] * 3)):
        output, more = tmp_path / f"{asked}.npy", [] if asked is None else ["--condition", asked]
        assert cli.bicoder(["generate", str(run), "--num_images", "9", "--output", str(output), *more]) == 0
        brightness = np.load(output).reshape(9, -1).mean(axis=1)
        np.testing.assert_allclose(brightness, np.array([30, 120, 220])[classes] / 255, atol=0.1)
    assert "rows in this order: 3 of cat, 3 of dog, 3 of owl" in capsys.readouterr().err
    picture = tmp_path / "all.png"
    assert cli.bicoder(["generate", str(run), "--output", str(picture)]) == 0
    with Image.open(picture) as found:
        assert min(found.size) > 150


def test_evaluate_and_encode_are_given_the_classes(run, data, tmp_path, capsys, few_steps):
    assert cli.bicoder(["evaluate", str(run), "--num_samples", "20"]) == 0
    said = capsys.readouterr().out
    assert "everything is given y, log p(x|y)" in said
    assert "class found in 1,000 images of z ~ p(z|y): " in said
    numbers = json.loads((run / "evaluation.json").read_text())
    loader = DataLoader(data)
    vae = bicoder.load(run)
    expected = bicoder.evaluate(vae, (loader.test_images, loader.test_labels), 20)
    assert numbers["nll"] == pytest.approx(expected["nll"], rel=1e-5)
    other = bicoder.evaluate(vae, (loader.test_images, (loader.test_labels + 1) % 3), 20)
    assert other["nll"] > numbers["nll"] + 10
    assert cli.bicoder(["encode", str(run), "--output", str(tmp_path / "own.npy")]) == 0
    mean = vae.encode(loader.test_images, loader.test_labels).mean
    np.testing.assert_allclose(np.load(tmp_path / "own.npy"), mean, rtol=1e-4, atol=1e-5)


def test_images_at_a_path_have_their_classes_by_name(run, data, tmp_path):
    """A folder without the first class counts the others from 0, and the run does not."""
    for name in ("dog", "owl"):
        shutil.copytree(data / name, tmp_path / "some" / name)
    output = tmp_path / "some.npy"
    assert cli.bicoder(["reconstruct", str(run), str(tmp_path / "some"), "--output", str(output)]) == 0
    brightness = np.load(output).reshape(2, -1).mean(axis=1)
    np.testing.assert_allclose(brightness, np.array([120, 220]) / 255, atol=0.1)


def test_a_run_that_goes_on_ends_as_one_that_was_not_interrupted(data, tmp_path):
    folders, more = [tmp_path / "in_one", tmp_path / "in_two"], ["--no_pictures", "--prior", "conditional_gaussian"]
    train(data, "--run_dir", str(folders[0]), "--epochs", "3", *more)
    train(data, "--run_dir", str(folders[1]), "--epochs", "1", *more)
    assert cli.main(["--resume", str(folders[1]), "--epochs", "3", "--no_pictures", "--quiet"]) == 0
    one, two = (bicoder.load(folder).get_weights() for folder in folders)
    for expected, found in zip(one, two, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("options", [["--stream"], ["--binarize", "dynamic"], ["--validation", "0.2"]], ids=str)
def test_labels_go_with_their_images(data, options, tmp_path):
    """From the disk, drawn anew and split off: the batches have the images with their own labels."""
    named = {option.removeprefix("--"): value for option, value in zip(options[::2], options[1::2], strict=False)}
    if "validation" in named:
        named["validation"] = float(named["validation"])
    loader = DataLoader(data, stream="--stream" in options, data_dir=tmp_path, with_labels=True, **named)
    for found in (loader.training_data, loader.test_data, loader.validation_data):
        for images, labels in found or ():
            brightness = np.asarray(images).reshape(len(images), -1).mean(axis=1)
            np.testing.assert_allclose(
                brightness, np.array([30, 120, 220])[labels.numpy().astype(int)] / 255, atol=0.35
            )
    train(
        data,
        "--run_dir",
        str(tmp_path / "run"),
        "--epochs",
        "1",
        "--no_pictures",
        "--data_dir",
        str(tmp_path),
        *options,
    )


def test_two_views_and_a_class(tmp_path, few_steps):
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, 90)
    left = np.clip((label / 3)[:, None, None] + 0.1 * rng.random((90, 4, 4)), 0, 1)
    np.savez(tmp_path / "two.npz", left=left, right=1 - left.reshape(90, -1)[:, :5], labels=label)
    run = tmp_path / "run"
    train(tmp_path / "two.npz", "--views", "left,right", "--run_dir", str(run), "--epochs", "2")
    for arguments in (["--condition", "2"], ["--given", "left", "--want", "right"]):
        output = tmp_path / f"{arguments[0]}.npz"
        assert cli.bicoder(["generate", str(run), "--output", str(output), "--num_images", "4", *arguments]) == 0
        with np.load(output) as found:
            assert found["right"].shape == (4, 5)
    assert cli.bicoder(["evaluate", str(run), "--num_samples", "5"]) == 0
    assert cli.bicoder(["draw", str(run)]) == 0


@pytest.mark.fault(218)
def test_a_condition_needs_labels(tmp_path, capsys):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((20, 4, 4)))
    words = "training images: expected a label for each image, as a condition needs it, received none"
    refused(capsys, 3, words, "train", "--dset", tmp_path / "x.npy", "--condition", "labels", *SMALL)
    with pytest.raises(DataError, match=words):
        DataLoader(tmp_path / "x.npy", with_labels=True)


@pytest.mark.fault(219)
def test_classes_that_a_run_never_saw(run, data, tmp_path, capsys):
    words = "condition: expected classes of the run, cat, dog, owl, received 'cow'"
    refused(capsys, 2, words, "generate", run, "--condition", "cow", "--output", tmp_path / "x.png")
    refused(capsys, 2, "received '1'", "generate", run, "--condition", "1", "--output", tmp_path / "x.png")
    for name in ("cat", "cow"):
        shutil.copytree(data / "cat", tmp_path / "others" / name)
    words = "expected classes of the run, cat, dog, owl, received 'cow'"
    refused(capsys, 3, words, "encode", run, tmp_path / "others", "--output", tmp_path / "x.npy")
    words = "expected the class of each image, as the run has a condition, received none"
    refused(capsys, 3, words, "encode", run, tmp_path / "others" / "cow", "--output", tmp_path / "x.npy")
    assert not [*tmp_path.glob("x.*")]


@pytest.mark.fault(220)
def test_conditions_that_are_refused(run, data, tmp_path, capsys):
    refused(capsys, 2, "expected one of labels, embedding", "train", "--dset", data, "--condition", "vector", *SMALL)
    words = "prior vamp: takes no condition"
    refused(capsys, 2, words, "train", "--dset", data, "--condition", "labels", "--prior", "vamp", *SMALL)
    words = "conditional_gaussian: expected a VAE with a condition"
    refused(capsys, 2, words, "train", "--dset", data, "--prior", "conditional_gaussian", *SMALL)
    words = "num_images: expected one or more for each of 2 classes"
    few = ("--condition", "cat,dog", "--num_images", 1, "--output", tmp_path / "x.png")
    refused(capsys, 2, words, "generate", run, *few)
    plain = tmp_path / "plain"
    assert cli.main(["--dset", str(data), *SMALL, "--epochs", "1", "--no_pictures", "--run_dir", str(plain)]) == 0
    refused(capsys, 2, "was trained without; leave it out", "generate", plain, "--condition", "cat")
