"""What is done with a run later, from anywhere: its data found again, its pictures drawn anew, codes out."""

import csv
import json
import shutil

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image

from bicoder import load
from bicoder.cli import main as cli
from bicoder.evaluation.importance import PerImage
from bicoder.evaluation.measure import Measured

SIZE = (6, 5)
SMALL = ["--network", "mlp:hidden=[8]", "--latent_dim", "3", "--epochs", "2", "--num_images", "4"]


def write_pictures(folder, count=30, size=SIZE, channels=(), seed=0):
    """Images of two classes, whose names say in what order they are."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        path = folder / ("even", "odd")[i % 2] / f"{i:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(256, size=(*size, *channels)).astype("uint8")).save(path)
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with `pictures`, and `run`, which was trained on them by a path that is relative to it."""
    home = tmp_path_factory.mktemp("home")
    write_pictures(home / "pictures")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.delenv("BICODER_DATA", raising=False)
        assert cli.main(["--dset", "pictures", "--run_dir", "run", *SMALL]) == 0
    return home


@pytest.fixture
def home(trained, tmp_path, monkeypatch):
    """A copy of it, from whose sub-folder everything is called."""
    copy = shutil.copytree(trained, tmp_path / "home")
    edit(copy / "run", dset=str(copy / "pictures"))
    (copy / "elsewhere").mkdir()
    monkeypatch.chdir(copy / "elsewhere")
    return copy


@pytest.fixture
def run(home):
    return home / "run"


def edit(run, **arguments):
    config = json.loads((run / "config.json").read_text())
    config["arguments"] |= arguments
    (run / "config.json").write_text(json.dumps(config))


def bicoder(*arguments):
    return cli.bicoder(list(map(str, arguments)))


def pixels_of(paths):
    return np.stack([np.asarray(Image.open(path)) for path in paths])[..., None] / np.float32(255)


@pytest.fixture
def refused(capsys):
    """Function (exit code, *arguments) -> the line that a command says."""

    def refuse(code, *arguments):
        capsys.readouterr()
        assert bicoder(*arguments) == code
        said = capsys.readouterr()
        assert said.out == ""
        assert len(said.err.splitlines()) == 1, said.err
        return said.err

    return refuse


# The data of a run


@pytest.mark.fault(106)
def test_a_run_says_where_its_data_are(trained):
    arguments = json.loads((trained / "run" / "config.json").read_text())["arguments"]
    assert arguments["dset"] == str(trained / "pictures")
    assert arguments["data_dir"] is None


@pytest.mark.fault(106)
def test_a_run_says_what_the_variable_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BICODER_DATA", "files")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["--run_dir", "run", "--no_pictures", *SMALL]) == 0
    arguments = json.loads((tmp_path / "run" / "config.json").read_text())["arguments"]
    assert (arguments["dset"], arguments["data_dir"]) == ("digits", str(tmp_path / "files"))


@pytest.mark.fault(106)
def test_evaluate_and_resume_from_elsewhere(run, capsys):
    assert bicoder("evaluate", run, "--num_samples", 2) == 0
    assert "6 images" in capsys.readouterr().out
    assert cli.main(["--resume", str(run), "--epochs", "3", "--no_pictures"]) == 0
    assert "going on after 2 epochs" in capsys.readouterr().out


@pytest.mark.fault(106)
def test_data_that_moved(home, run, refused, capsys):
    (home / "pictures").rename(home / "moved")
    for command in (["evaluate", run], ["draw", run], ["encode", run], ["reconstruct", run]):
        said = refused(3, *command)
        assert "not there; --dset PATH says where they are now" in said
    assert "not there" in refused(3, "evaluate", run, "--dset", "nowhere/at/all")
    assert bicoder("evaluate", run, "--num_samples", 2, "--dset", "../moved") == 0
    assert "6 images" in capsys.readouterr().out


@pytest.mark.fault(106)
def test_a_training_goes_on_with_data_that_moved(home, run, refused, capsys):
    """If they are the same: that says their hash."""
    (home / "pictures").rename(home / "moved")
    assert "not there; --dset PATH says where they are now" in refused(3, "train", "--resume", run)
    others = write_pictures(home / "others", seed=5)
    assert bicoder("train", "--resume", run, "--dset", others) == 5
    assert "was started with other data: sha256" in capsys.readouterr().err
    assert bicoder("train", "--resume", run, "--dset", home / "moved", "--epochs", 3, "--no_pictures") == 0
    assert json.loads((run / "config.json").read_text())["arguments"]["dset"] == str(home / "moved")


@pytest.mark.fault(106)
def test_a_relative_path_of_an_older_run(home, run, refused, monkeypatch, capsys):
    edit(run, dset="pictures")
    said = refused(3, "evaluate", run)
    assert "its data: " in said
    assert "--dset PATH says where they are now" in said
    monkeypatch.chdir(home)
    assert bicoder("evaluate", run, "--num_samples", 2) == 0
    assert cli.main(["--resume", str(run), "--dset", "pictures", "--epochs", "3", "--no_pictures"]) == 0


@pytest.mark.fault(106)
def test_a_folder_of_downloads_of_another_machine_is_not_made(home, run):
    edit(run, data_dir=str(home / "of" / "somebody"))
    assert bicoder("evaluate", run, "--num_samples", 2) == 0
    assert not (home / "of").exists()


# Pictures


@pytest.mark.fault(106)
def test_pictures_are_drawn_anew(run, capsys):
    names = ("curve.png", "prior.png", "posterior.png", "latent.png")
    before = {name: (run / name).read_bytes() for name in names}
    for name in names:
        (run / name).write_bytes(b"spoilt")
    capsys.readouterr()
    assert bicoder("draw", run, "--generate_from_prior") == 0
    assert capsys.readouterr().out == f"{run / 'prior.png'}\n"
    assert {name: (run / name).read_bytes() for name in names} == dict.fromkeys(names, b"spoilt") | {
        "prior.png": before["prior.png"]
    }
    assert bicoder("draw", run) == 0
    assert {name: (run / name).read_bytes() for name in names} == before, "as the training drew them"
    assert bicoder("draw", run, "--generate_from_prior", "--seed", 7) == 0
    assert (run / "prior.png").read_bytes() != before["prior.png"]


@pytest.mark.fault(106)
@pytest.mark.parametrize("content", ["epoch,elbo\n1,x\n", "epoch,elbo\n1\n", "\0\n\1\n"])
def test_metrics_that_are_none_are_one_line(content, run, refused):
    (run / "metrics.csv").write_text(content)
    assert "metrics.csv: expected the metrics of every epoch" in refused(5, "draw", run)


@pytest.mark.fault(108)
def test_titles_name_the_data_and_the_view():
    from bicoder.runs.shown import title_of

    assert title_of({"dset": "mnist_color", "view": "m3"}) == "mnist_color, view m3"
    assert title_of({"dset": "digits", "view": "m0"}) == "digits"
    assert title_of({"dset": "/somewhere/pictures", "view": "m0"}) == "pictures"
    assert title_of({}) == ""


# Codes


def table(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def numbers(rows, prefix):
    return np.array([[float(row[f"{prefix}{i}"]) for i in (1, 2, 3)] for row in rows])


@pytest.mark.fault(107)
def test_codes_of_a_folder(home, run, capsys):
    other = write_pictures(home / "other", 600, seed=1)
    assert bicoder("encode", run, other) == 0
    assert capsys.readouterr() == (f"{run / 'codes.csv'}\n", "")
    rows = table(run / "codes.csv")
    paths = sorted(other.rglob("*.png"))
    assert [row["file"] for row in rows] == list(map(str, paths))
    assert [row["label"] for row in rows] == [path.parent.name for path in paths]
    q = load(run).encode(pixels_of(paths))
    np.testing.assert_allclose(numbers(rows, "z"), q.mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(numbers(rows, "log_sigma"), np.log(q.scale), rtol=1e-4, atol=1e-5)


@pytest.mark.fault(107)
def test_codes_of_the_runs_own_test_images(run, capsys):
    assert bicoder("encode", run, "--output", "codes.npy") == 0
    printed = capsys.readouterr()
    assert printed.out == "codes.npy\n"
    assert printed.err.splitlines()[-1].startswith("codes.npy: the means alone; a .csv or a .parquet has log standard")
    codes = np.load("codes.npy")
    assert (codes.shape, codes.dtype) == ((6, 3), "float32")
    assert bicoder("encode", run, "--output", "codes.csv") == 0
    rows = table("codes.csv")
    np.testing.assert_allclose(numbers(rows, "z"), codes, rtol=1e-6)
    assert {row["label"] for row in rows} <= {"even", "odd"}


@pytest.mark.fault(107)
@pytest.mark.parametrize("with_labels", [True, False])
def test_codes_of_an_array_as_csv_and_parquet(with_labels, run, rng):
    images, labels = rng.integers(256, size=(40, *SIZE)).astype("uint8"), np.arange(40) % 3
    np.savez("images.npz", images=images, **({"labels": labels} if with_labels else {}))
    for name in ("codes.csv", "codes.parquet"):
        assert bicoder("encode", run, "images.npz", "--output", name) == 0
    rows, found = table("codes.csv"), pyarrow.parquet.read_table("codes.parquet").to_pydict()
    assert (
        list(rows[0])
        == list(found)
        == ["label"] * with_labels + [f"{n}{i}" for n in ("z", "log_sigma") for i in (1, 2, 3)]
    )
    for name, column in found.items():
        np.testing.assert_array_equal(np.float32([float(row[name]) for row in rows]), np.float32(column))
    if with_labels:
        assert found["label"] == labels.tolist()


@pytest.mark.fault(107)
def test_codes_are_replaced_only_with_overwrite(run, refused):
    (run / "codes.csv").write_text("mine")
    assert "codes.csv is there already; add --overwrite" in refused(2, "encode", run)
    assert bicoder("encode", run, "--overwrite") == 0
    assert "expected a file that ends with .csv, .parquet, .npy" in refused(2, "encode", run, "--output", "codes.txt")
    assert "a folder that exists" in refused(2, "encode", run, "--output", "no/codes.csv")


@pytest.mark.fault(107)
@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((4, 7, 5), "uint8"), "expected images of shape (6, 5, 1), as the run had, received (7, 5)"),
        (np.zeros((4, 6, 5, 3), "uint8"), "expected images of shape (6, 5, 1), as the run had, received (6, 5, 3)"),
        (np.full((4, 6, 5), 0.5), "expected pixels from 0 to 255, as the run had, received none above 1"),
        (
            np.full((4, 6, 5), 300, "uint16"),
            "expected pixels from 0 to 255, as the run had, received some from 300 to 300",
        ),
        (np.full((4, 6, 5), -1.0), "expected pixels from 0 to 255, as the run had, received some from -1 to -1"),
        (np.full((4, 6, 5), np.nan), "expected finite pixels, received NaN or infinity in rows 0 to 3"),
    ],
    ids=["size", "colour", "fractions", "sixteen bits", "negative", "NaN"],
)
def test_an_array_that_does_not_fit(array, words, run, refused):
    np.save("images.npy", array)
    assert words in refused(3, "encode", run, "images.npy", "--output", "codes.npy")
    assert [path.name for path in run.parent.joinpath("elsewhere").iterdir()] == ["images.npy"], "nothing is left"


@pytest.mark.fault(107)
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": (7, 5)}, "expected images of 6x5 pixels, as the run had, received 7x5"),
        ({"channels": (3,)}, "expected grey images, as the run had, received 4 of 4 images in colour"),
    ],
)
def test_a_folder_that_does_not_fit(options, words, home, run, refused):
    assert words in refused(3, "encode", run, write_pictures(home / "other", 4, **options))
    assert "not there" in refused(3, "encode", run, "nowhere")


@pytest.mark.fault(107)
def test_images_are_scaled_if_the_run_scaled_its_own(home, run):
    edit(run, image_size=SIZE)
    assert bicoder("encode", run, write_pictures(home / "other", 4, size=(20, 30))) == 0


@pytest.mark.fault(107)
def test_reconstructions(home, run, capsys):
    paths = sorted((home / "pictures").rglob("*.png"))
    assert bicoder("reconstruct", run, home / "pictures", "--output", "copies") == 0
    expected = np.asarray(load(run).reconstruct(pixels_of(paths)))
    names = [path.relative_to(home / "pictures") for path in paths]
    found = pixels_of([home / "elsewhere" / "copies" / name for name in names])
    assert np.abs(found - np.clip(expected, 0, 1)).max() < 0.51 / 255
    assert bicoder("reconstruct", run, home / "pictures", "--output", "copies.npy") == 0
    np.testing.assert_allclose(np.load("copies.npy"), expected, rtol=1e-4, atol=1e-5)
    assert bicoder("reconstruct", run) == 0
    assert np.load(run / "reconstructions.npy").shape == (6, *SIZE, 1)


@pytest.mark.fault(107)
def test_reconstructions_replace_only_with_overwrite(home, run, refused):
    (home / "elsewhere" / "mine").mkdir()
    (home / "elsewhere" / "mine" / "x").write_text("mine")
    assert "mine holds files already; add --overwrite" in refused(2, "reconstruct", run, "--output", "mine")
    assert bicoder("reconstruct", run, "--output", "mine", "--overwrite") == 0
    assert (home / "elsewhere" / "mine" / "x").read_text() == "mine"
    assert "expected a folder, or a file that ends with .npy" in refused(2, "reconstruct", run, "--output", "x.jpg")


@pytest.mark.fault(200)
@pytest.mark.parametrize("below", ["", "even", "new"])
def test_reconstructions_replace_no_images(below, home, run, refused):
    """They have the names of the images that they are of."""
    write_pictures(home / "others", count=4)
    for images in ([home / "others"], []):  # without, the run's own are read
        folder = images[0] if images else home / "pictures"
        before = {path: path.read_bytes() for path in folder.rglob("*.png")}
        said = refused(2, "reconstruct", run, *images, "--output", folder / below, "--overwrite")
        assert f"output: expected a folder outside of the images in {folder}" in said
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.fault(201)
def test_codes_replace_no_images(home, run, refused):
    images = np.zeros((3, 6, 5), "uint8")
    np.save(home / "x.npy", images)
    (home / "link.npy").symlink_to("x.npy")
    for command in ("encode", "reconstruct"):
        for read, written in (("x.npy", "x.npy"), ("x.npy", "link.npy"), ("link.npy", "x.npy")):
            said = refused(2, command, run, home / read, "--output", home / written, "--overwrite")
            assert "output: expected another file than that of the images" in said
    np.testing.assert_array_equal(np.load(home / "x.npy"), images)


@pytest.mark.fault(107)
def test_what_is_learnt_further_leaves_no_old_codes(run):
    assert bicoder("encode", run) == 0
    assert bicoder("reconstruct", run) == 0
    assert cli.main(["--resume", str(run), "--epochs", "3", "--no_pictures"]) == 0
    assert not (run / "codes.csv").exists()
    assert not (run / "reconstructions.npy").exists()


@pytest.mark.fault(107)
def test_parquet_without_pyarrow_is_said_at_once(run, refused, monkeypatch):
    monkeypatch.setattr("bicoder.files.tables.importlib.util.find_spec", lambda name: None)
    assert "output: .parquet needs pyarrow; run: pip install pyarrow" in refused(
        2, "encode", run, "--output", "x.parquet"
    )


# Numbers


@pytest.mark.fault(103)
def test_json_holds_no_nan(run, monkeypatch, capsys):
    odd = {"elbo": np.nan, "bounds": {1: -np.inf, 10: 1.0}, "kl_per_dimension": None, "doctor": []}
    odd |= {"num_samples": 10, "seed": 0, "condition": None}
    found = Measured(odd, PerImage(*np.zeros((3, 6))))
    monkeypatch.setattr("bicoder.evaluation.measure.measured", lambda *_, **__: found)
    assert bicoder("evaluate", run, "--json") == 0
    expected = odd | {"elbo": None, "bounds": {"1": None, "10": 1.0}}
    for text in (capsys.readouterr().out, (run / "evaluation.json").read_text()):
        assert json.loads(text, parse_constant=pytest.fail) == expected
