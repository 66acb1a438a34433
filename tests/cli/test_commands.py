"""`bicoder evaluate` and `bicoder generate`: numbers and images of a run, and what they refuse."""

import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from bicoder import VAE, Decoder, Encoder, evaluate, load
from bicoder.cli import main as cli
from bicoder.cli.commands.generate import PORTION, portions
from bicoder.errors import UsageError


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of the digits."""
    folder = tmp_path_factory.mktemp("trained")
    assert cli.main(["--epochs", "5", "--run_dir", str(folder), "--generate_from_prior"]) == 0
    return folder


@pytest.fixture
def run(trained, tmp_path):
    """A copy of it, to write into."""
    return shutil.copytree(trained, tmp_path / "run")


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def refusal(tmp_path, capsys):
    """Function (exit code, *arguments) -> what the command says, in one line, and everything is as it was."""

    def refuse(code, *arguments):
        before = content(tmp_path)
        capsys.readouterr()
        try:
            received = cli.bicoder(list(map(str, arguments)))
        except SystemExit as stop:
            received = stop.code
        said = capsys.readouterr()
        assert received == code, said.err
        assert said.out == ""
        assert len(said.err.splitlines()) == 1, said.err
        assert content(tmp_path) == before
        return said.err

    return refuse


def edit(run, **changes):
    config = json.loads((run / "config.json").read_text())
    for name, value in changes.items():
        config[name] = config[name] | value if isinstance(value, dict) else value
    (run / "config.json").write_text(json.dumps(config))


def test_evaluate_a_run(run, capsys):
    assert cli.bicoder(["evaluate", str(run), "--num_samples", "20"]) == 0
    printed = capsys.readouterr()
    numbers = json.loads((run / "evaluation.json").read_text())
    assert f"{numbers['nll']:.2f}" in printed.out
    assert "359 images, 20 importance samples, seed 0" in printed.out
    assert (numbers["images"], numbers["num_samples"]) == (359, 20)
    assert numbers["knn_accuracy"] > 0.3
    assert (run / "kl.png").exists()
    said = r"359 test images, 20 importance samples of each: about \d+ s\n"
    assert re.fullmatch(said, printed.err), "more is for terminals"
    assert cli.bicoder(["evaluate", str(run), "--num_samples", "20", "--json", "--overwrite"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again == numbers


def test_generate_from_a_run(run, refusal):
    assert cli.bicoder(["generate", str(run), "--num_images", "7"]) == 0
    assert (run / "generated.png").exists()
    array = run / "x.npy"
    assert cli.bicoder(["generate", str(run), "--num_images", "7", "--output", str(array)]) == 0
    np.testing.assert_array_equal(np.load(array), load(run).generate(7, seed=0))
    assert "a folder that exists" in refusal(2, "generate", run, "--output", run / "none" / "x.png")
    assert "expected a file that ends with .png or .npy" in refusal(2, "generate", run, "--output", "x.jpg")


@pytest.mark.parametrize("command", ["evaluate", "generate"])
def test_no_run_is_exit_code_5(command, tmp_path, refusal):
    assert "expected a run folder" in refusal(5, command, tmp_path)
    assert "expected a run folder" in refusal(5, command, tmp_path / "none")


@pytest.mark.fault(64, 67, 68)
@pytest.mark.parametrize("command", ["evaluate", "generate"])
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": 99, "versions": {"bicoder": "9.9"}}, "written by bicoder 9.9; this is bicoder"),
        ({"arguments": {"sedd": 3}}, "arguments: unknown key 'sedd'; did you mean 'seed'?"),
        (
            {"input_shape": [32], "data": {"image_shape": None}},
            "model.decoder.output_shape: expected [32], as input_shape has, received [64]",
        ),
    ],
    ids=["format", "key", "shape"],
)
def test_a_run_that_cannot_be_read_is_exit_code_5(command, changes, words, run, refusal):
    edit(run, **changes)
    assert words in refusal(5, command, run)


@pytest.mark.fault(170)
def test_a_run_without_its_arguments_can_be_loaded_but_not_evaluated(run, refusal):
    edit(run, arguments=None)
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"arguments": {}}))
    assert "arguments: expected 'dset', which says what data the run had" in refusal(5, "evaluate", run)
    assert load(run).built


@pytest.mark.fault(84)
def test_what_is_there_is_replaced_only_with_overwrite(run, refusal):
    picture = run / "generated.png"
    for path in (run / "evaluation.json", run / "per_image.csv", run / "kl.png"):
        path.write_text("an hour's work")
        assert f"{path} is there already; add --overwrite to replace it" in refusal(2, "evaluate", run)
        path.unlink()
    for path in (picture, run / "mine.npy"):
        path.write_text("mine")
        assert "is there already; add --overwrite" in refusal(2, "generate", run, "--output", path)
    assert cli.bicoder(["generate", str(run), "--num_images", "1", "--overwrite"]) == 0
    with Image.open(picture) as image:
        assert image.format == "PNG"
    (run / "folder.png").mkdir()
    assert "folder.png is a folder" in refusal(2, "generate", run, "--output", run / "folder.png", "--overwrite")


@pytest.mark.fault(80)
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["evalute", "x"],
            "invalid choice: 'evalute' (choose from 'compare', 'draw', 'encode', 'evaluate', 'export', 'generate', "
            "'interpolate', 'pack', 'reconstruct', 'report', 'sweep', 'train', 'traverse')",
        ),
        (
            ["evaluate", "x", "--num_sample", "3"],
            "bicoder evaluate: error: unrecognized arguments: --num_sample 3; did",
        ),
        (["generate", "x", "--num_image=3"], "unrecognized arguments: --num_image=3; did you mean '--num_images'?"),
        (
            ["train", "--epoch", "3"],
            "bicoder train: error: unrecognized arguments: --epoch 3; did you mean '--epochs'?",
        ),
    ],
)
def test_a_misspelt_command_or_option(arguments, words, refusal):
    assert words.replace("'", "") in refusal(2, *arguments).replace("'", "")


@pytest.mark.fault(79, 85)
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["generate", "--num_images", "0"], "--num_images: expected a whole number from 1"),
        (
            ["generate", "--num_images", "10000000"],
            "num_images: expected at most 10,000 images of shape (64,) in a pict",
        ),
        (["generate", "--num_images", "10000000000"], "--num_images: expected a whole number from 1 to 2147483647"),
        (["evaluate", "--num_samples", "0"], "--num_samples: expected a whole number from 1 to 100000"),
        (["evaluate", "--num_samples", "10000000"], "--num_samples: expected a whole number from 1 to 100000"),
    ],
)
def test_no_images_and_too_many(arguments, words, run, refusal):
    assert words in refusal(2, arguments[0], run, *arguments[1:])


@pytest.mark.fault(85)
def test_too_many_samples_from_python(run):
    with pytest.raises(UsageError, match="num_samples: expected at most 100,000, received 10,000,000"):
        evaluate(load(run), np.zeros((3, 64)), num_samples=10**7)


@pytest.mark.fault(85)
def test_an_array_that_does_not_fit_on_the_disk(run, refusal):
    """The largest images, 2^31 of them: 4e17 bytes."""
    model = json.loads((run / "config.json").read_text())["model"]
    model["decoder"]["output_shape"] = [2**26]
    edit(run, input_shape=[2**26], data={"image_shape": None}, model=model)
    said = refusal(2, "generate", run, "--num_images", 2**31 - 1, "--output", run / "x.npy")
    assert "num_images: 2,147,483,647 images are 576,460,752,034,988,032 bytes, and" in said
    assert "expected at most 8 images of shape (67108864,) in a picture" in refusal(2, "generate", run)


@pytest.mark.fault(85)
@pytest.mark.parametrize("count", [1, 7, 2 * PORTION + 500])
def test_images_are_drawn_in_portions(count, run):
    output = run / "x.npy"

    assert cli.bicoder(["generate", str(run), "--num_images", str(count), "--output", str(output)]) == 0

    images = np.load(output)
    assert images.shape == (count, 64)
    assert images.dtype == "float32"
    first = load(run).generate(min(count, PORTION), seed=0)
    np.testing.assert_allclose(images[:PORTION], first, rtol=1e-4, atol=1e-5)
    assert len(np.unique(images, axis=0)) == count, "no portion repeats another"
    assert cli.bicoder(["generate", str(run), "--num_images", str(count)]) == 0
    with Image.open(run / "generated.png") as image:
        image.verify()


@pytest.mark.fault(127)
def test_large_images_are_drawn_some_mb_at_a_time():
    """Of 4 MB each, and all the same as at once."""
    network = "mlp:hidden=[2]"
    vae = VAE(Encoder(network=network, latent_dim=2), Decoder(network=network), seed=0)
    vae.build((None, 1024, 1024, 1))
    drawn = list(portions(vae, 10, 3))
    assert [len(portion) for portion in drawn] == [4, 4, 2]
    np.testing.assert_array_equal(np.concatenate(drawn), vae.generate(10, 3))


@pytest.mark.fault(85)
def test_one_image_and_one_sample(run, capsys):
    assert cli.bicoder(["evaluate", str(run), "--num_samples", "1"]) == 0
    assert "359 images, 1 importance sample, seed 0" in capsys.readouterr().out
