"""A run that somebody else has made or edited: it costs nothing that is not its own, and reaches nobody."""

import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from bicoder.cli import main as cli
from bicoder.data.loader import DataLoader
from bicoder.errors import DataError, DownloadError, UsageError
from bicoder.files.cache import cached_file
from bicoder.files.record import record_path
from bicoder.runs import checkpoints
from bicoder.runs import folder as runs

SMALL = ["--epochs", "2", "--latent_dim", "2", "--network", "mlp:hidden=[8]", "--quiet", "--no_pictures"]
COMMANDS = {
    "resume": ["train", "--epochs", "3", "--quiet", "--no_pictures", "--resume"],
    "evaluate": ["evaluate", "--num_samples", "2"],
    "draw": ["draw"],
    "encode": ["encode"],
    "reconstruct": ["reconstruct"],
    "generate": ["generate"],
    "traverse": ["traverse"],
    "interpolate": ["interpolate"],
}
MNIST = ("mnist_bw.npy", "mnist_bw_te.npy", "mnist_bw_y_te.npy")

pytestmark = pytest.mark.usefixtures("no_download_settings")


def contents(folder):
    """Way of each file below a folder -> what is in it, or where it leads to if it is a link."""
    found = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
    return {str(p.relative_to(folder)): p.readlink() if p.is_symlink() else p.read_bytes() for p in found}


def call(name, run, *more):
    return cli.bicoder([*COMMANDS[name], str(run), *map(str, more)])


def edit(run, **arguments):
    config = json.loads((run / "config.json").read_text())
    config["arguments"] |= arguments
    (run / "config.json").write_text(json.dumps(config))


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A run of digits."""
    folder = tmp_path_factory.mktemp("digits") / "run"
    assert cli.main([*SMALL, "--checkpoint_epochs", "1", "--run_dir", str(folder)]) == 0
    return folder


@pytest.fixture
def run(digits, tmp_path):
    return shutil.copytree(digits, tmp_path / "run")


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The files of mnist_bw, with a few images."""
    folder, rng = tmp_path_factory.mktemp("published"), np.random.default_rng(0)
    np.save(folder / MNIST[0], rng.integers(0, 256, (40, 28, 28), "uint8"))
    np.save(folder / MNIST[1], rng.integers(0, 256, (10, 28, 28), "uint8"))
    np.save(folder / MNIST[2], np.arange(10, dtype="uint8"))
    return folder


@pytest.fixture(scope="module")
def mnist(published, tmp_path_factory):
    """A run of mnist_bw, from files that were put somewhere by hand."""
    folder = tmp_path_factory.mktemp("mnist") / "run"
    arguments = [*SMALL, "--dset", "mnist_bw", "--data_dir", str(published), "--no_download", "--run_dir", str(folder)]
    assert cli.main(arguments) == 0
    return folder


# Links


@pytest.fixture
def photos(tmp_path):
    """A folder of somebody's, whose sub-folders are called as checkpoints are."""
    folder = tmp_path / "photos"
    for name in ("000000", "000001", "000002", ".unfinished-x-1-a-b-000003"):
        (folder / name).mkdir(parents=True)
        (folder / name / "me.jpg").write_bytes(b"me")
        (folder / name / "state.json").write_bytes(b"mine")
    return folder


@pytest.mark.fault(115)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_link_in_the_place_of_the_checkpoints_is_not_followed(command, run, photos, capsys):
    before = contents(photos)
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").symlink_to(photos)
    assert call(command, run) == 5
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert f"{run / 'checkpoints'}: expected a file or a folder of the run itself" in said[0]
    assert f"received a link to {photos}" in said[0]
    assert contents(photos) == before


@pytest.mark.fault(115)
@pytest.mark.parametrize(
    "name",
    [
        "config.json", "metrics.csv", "split.csv", "model.safetensors", "model.weights.h5", ".lock", "evaluation.json",
        "per_image.csv", "curve.png", "latent.png", "traversals.png", "kl.png", "codes.csv", "reconstructions.npy",
        "generated.png",
        "checkpoints/000002", "checkpoints/000002/state.json", "checkpoints/000002/arrays.npz",
    ],
)  # fmt: skip
@pytest.mark.parametrize("is_there", [True, False])
def test_nothing_in_a_run_is_followed_if_it_is_a_link(name, is_there, run, tmp_path, capsys):
    """Whether what it leads to is there, as the very file of the run, or is not."""
    target, path = tmp_path / "theirs", run / name
    if path.exists():
        path.rename(target)
    elif is_there:
        target.write_bytes(b"theirs")
    if not is_there and target.exists():
        shutil.rmtree(target) if target.is_dir() else target.unlink()
    path.symlink_to(target)
    before = contents(tmp_path)
    for command in ("resume", "evaluate"):
        assert call(command, run, *(["--overwrite"] if command == "evaluate" else [])) == 5
        assert f"{path}: expected a file or a folder of the run itself" in capsys.readouterr().err
    assert contents(tmp_path) == before


@pytest.mark.fault(115)
def test_a_new_run_does_not_follow_links_of_the_folder_that_it_takes(run, photos, capsys):
    before = contents(photos)
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").symlink_to(photos)
    assert cli.main([*SMALL, "--overwrite", "--run_dir", str(run)]) == 5
    assert "received a link to" in capsys.readouterr().err
    assert contents(photos) == before


@pytest.mark.fault(115)
def test_only_own_checkpoints_are_removed(run, photos):
    """Without any link: what is no checkpoint stays, whatever it is called."""
    shutil.rmtree(run / "checkpoints")
    shutil.copytree(photos, run / "checkpoints")
    kept = contents(run / "checkpoints")
    assert len(kept) == 8
    for number in range(4):
        checkpoints.save(run, {"a": np.zeros(3)}, {"epoch": number})
    assert kept.items() <= contents(run / "checkpoints").items()
    assert [number for number in checkpoints.numbers(run) if number > 2] == [5, 6]
    checkpoints.remove_all(run)
    assert contents(run / "checkpoints") == kept


# Temporary files


@pytest.mark.fault(116)
@pytest.mark.parametrize("command", ["generate", "evaluate"])
def test_links_under_names_that_can_be_guessed_are_not_written_through(command, run, tmp_path):
    """Of every process there may be, as older versions called what they had not finished."""
    target = tmp_path / "theirs"
    target.write_bytes(b"theirs")
    for name in ("generated.png", "evaluation.json", "kl.png"):
        for process in range(os.getpid() - 2, os.getpid() + 3):
            (run / f"part-{process}-{name}").symlink_to(target)
    assert call(command, run, "--overwrite") == 0
    assert target.read_bytes() == b"theirs"


# Places


@pytest.mark.fault(117)
@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "generate"])
def test_neither_mirror_nor_folder_of_a_run_is_taken_unasked(
    command, mnist, published, tmp_path, serve, monkeypatch, capsys
):
    monkeypatch.setenv("BICODER_DATA", str(tmp_path / "mine"))
    run, server = shutil.copytree(mnist, tmp_path / "run"), serve(published)
    edit(run, mirror=server.url, data_dir=str(tmp_path / "of" / "a" / "stranger"), no_download=False)
    before = contents(run)
    assert call(command, run) == 3
    said = capsys.readouterr().err
    assert f"--data_dir {tmp_path / 'of' / 'a' / 'stranger'} and --mirror {server.url}: not taken from a config" in said
    assert "mnist_bw" in said.splitlines()[-1]
    assert server.requests == []
    assert not (tmp_path / "of").exists()
    assert not (tmp_path / "mine").exists()
    assert contents(run) == before


@pytest.mark.fault(117)
@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "generate"])
def test_what_a_run_names_is_taken_if_it_is_asked_for(command, mnist, published, tmp_path, serve, monkeypatch):
    monkeypatch.setenv("BICODER_DATA", str(tmp_path / "mine"))
    run, server = shutil.copytree(mnist, tmp_path / "run"), serve(published)
    edit(run, mirror=server.url, no_download=False)
    assert call(command, run, "--data_dir", tmp_path / "asked", "--mirror", server.url) == 0
    assert (tmp_path / "asked" / MNIST[1]).exists()
    assert not (tmp_path / "mine").exists()


@pytest.mark.fault(117)
def test_a_place_that_is_the_usual_one_needs_no_word(mnist, published, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BICODER_DATA", str(published))
    assert call("evaluate", shutil.copytree(mnist, tmp_path / "run")) == 0
    assert "not taken" not in capsys.readouterr().err


@pytest.mark.fault(117)
def test_a_file_from_elsewhere_is_not_taken_for_the_publishers(published, tmp_path, serve):
    mirror, other, nobody = serve(published), serve(published), "http://127.0.0.1:9/mnist_bw.npy"
    path = cached_file(MNIST[0], nobody, tmp_path / "cache", mirror.url)
    assert json.loads(record_path(path).read_text())["url"] == f"{mirror.url}/{MNIST[0]}"
    words = f"received one that was fetched from {mirror.url}/{MNIST[0]}; --mirror {mirror.url} takes it as it is"
    for options in ({"download": False}, {}, {"mirror": other.url}):
        with pytest.raises(DownloadError, match=words):
            cached_file(MNIST[0], nobody, tmp_path / "cache", **options)
    assert other.requests == []
    assert cached_file(MNIST[0], nobody, tmp_path / "cache", mirror.url + "/", download=False) == path
    assert cached_file(MNIST[0], f"{mirror.url}/{MNIST[0]}", tmp_path / "cache", other.url) == path
    with pytest.raises(DownloadError, match=words):
        DataLoader("mnist_bw", data_dir=tmp_path / "cache", download=False)


# A run among its images


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    (tmp_path / "pictures").mkdir()
    for number in range(20):
        pixels = rng.integers(256, size=(8, 8)).astype("uint8")
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{number}.png")
    return tmp_path / "pictures"


@pytest.mark.fault(120)
@pytest.mark.parametrize("run_dir", ["pictures", "pictures/run", "elsewhere/../pictures/a/b", "link/run"])
def test_a_run_is_not_made_among_its_images(run_dir, pictures, capsys):
    (pictures.parent / "link").symlink_to(pictures)
    before = contents(pictures)
    assert cli.main(["--dset", "pictures", "--run_dir", run_dir, *SMALL]) == 2
    assert f"run_dir: expected a folder outside of the images in {pictures}" in capsys.readouterr().err
    assert contents(pictures) == before


@pytest.mark.fault(120)
def test_a_run_without_a_folder_is_not_made_among_its_images(pictures, monkeypatch, capsys):
    monkeypatch.chdir(pictures)
    assert cli.main(["--dset", ".", *SMALL]) == 2
    assert "received runs, whose pictures would be among them" in capsys.readouterr().err
    runs.check_free("..", "../../elsewhere", overwrite=False)
    with pytest.raises(UsageError, match="outside of the images"):
        runs.check_free("..", None, overwrite=False)


@pytest.mark.fault(120)
@pytest.mark.parametrize("stream", [False, True])
def test_a_run_that_lies_among_images_is_not_read_as_images(stream, digits, pictures, tmp_path, capsys):
    options = {"stream": stream, "data_dir": tmp_path / "cache", "seed": 0}
    before = np.asarray(DataLoader("pictures", **options).training_images)
    shutil.copytree(digits, pictures / "a" / "run")
    Image.new("L", (8, 8)).save(pictures / "a" / "run" / "prior.png")
    (pictures / "a" / "run" / "more").mkdir()
    Image.new("L", (8, 8)).save(pictures / "a" / "run" / "more" / "x.png")
    capsys.readouterr()
    np.testing.assert_array_equal(DataLoader("pictures", **options).training_images, before)
    assert "pictures: 1 folder of runs, left out: pictures/a/run." in capsys.readouterr().err
    with pytest.raises(DataError, match="received a run, whose pictures are none to learn from"):
        DataLoader(pictures / "a" / "run", **options)
