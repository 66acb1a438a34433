"""Runs of several views, from the command line: trained, resumed, loaded, drawn, evaluated, and what is refused."""

import csv
import json
import pickle
import shutil

import numpy as np
import pytest
from PIL import Image

import bicoder
from bicoder.cli import main as cli
from bicoder.data.loader import DataLoader
from bicoder.errors import ModelError

SMALL = ["--latent_dim", "2", "--network", "mlp:hidden=[8]", "--quiet"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """An .npz file of two views that say the same in other words, with labels."""
    path = tmp_path_factory.mktemp("data") / "two.npz"
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, 120)
    left = np.clip((label / 3)[:, None, None] + 0.1 * rng.random((120, 4, 4)), 0, 1)
    np.savez(path, left=left, right=1 - left.reshape(120, -1)[:, :5], labels=label)
    return path


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """A run on the two views, of two epochs."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(data, "--run_dir", str(folder), "--epochs", "2", "--fusion", "mixture_of_products")
    return folder


def train(data, *options):
    assert cli.main(["--dset", str(data), "--views", "left,right", *SMALL, *options]) == 0


def test_a_run_of_two_views_has_all_its_files(run):
    config = json.loads((run / "config.json").read_text())
    assert config["arguments"]["views"] == ["left", "right"]
    assert config["data"]["shape"] == config["input_shape"] == {"left": [4, 4, 1], "right": [5]}
    assert config["model"]["encoder"]["fusion"] == {"name": "mixture_of_products"}
    for name in ("curve.png", "prior.png", "posterior.png", "latent.png"):
        with Image.open(run / name) as picture:
            assert min(picture.size) > 300


def test_it_is_loaded_and_goes_from_view_to_view(run):
    vae = bicoder.load(run)
    x = {"left": np.full((3, 4, 4, 1), 0.5, "float32")}
    p = vae.decode(vae.encode(x).mean)
    assert p["right"].mean.shape == (3, 5)
    assert vae.generate(4)["left"].shape == (4, 4, 4, 1)


def test_a_run_that_goes_on_ends_as_one_that_was_not_interrupted(data, run, tmp_path):
    folders = [tmp_path / "in_one", tmp_path / "in_two"]
    train(data, "--run_dir", str(folders[0]), "--epochs", "3", "--no_pictures")
    train(data, "--run_dir", str(folders[1]), "--epochs", "1", "--no_pictures")
    assert cli.main(["--resume", str(folders[1]), "--epochs", "3", "--no_pictures", "--quiet"]) == 0
    one, two = (bicoder.load(folder).get_weights() for folder in folders)
    for expected, found in zip(one, two, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_evaluate_generate_encode_and_draw(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("BICODER_DATA", str(tmp_path / "cache"))
    monkeypatch.setattr("bicoder.evaluation.classifiers.STEPS", 20)
    assert cli.bicoder(["evaluate", str(run), "--num_samples", "20"]) == 0
    said = capsys.readouterr().out
    numbers = json.loads((run / "evaluation.json").read_text())
    assert "nats per example" in said
    assert numbers["images"] == 24
    assert numbers["views"] == ["left", "right"]
    assert numbers["bits_per_dim"] == pytest.approx(numbers["nll"] / (21 * np.log(2)))
    assert numbers["bounds"]["1"] <= numbers["bounds"]["20"]
    left, right = numbers["of_views"]["left"], numbers["of_views"]["right"]
    joint = left["alone"] + right["given_others"]
    assert joint == pytest.approx(right["alone"] + left["given_others"])
    assert joint == pytest.approx(numbers["nll"], rel=1e-9)  # of the same samples, since no example lacks a view
    assert numbers["complete_examples"] == 24
    assert "coherence and linear accuracy: learnt from training examples, judged by 24" in said
    assert numbers["coherence"]["examples"] == 24
    assert set(numbers["coherence"]["given"]) == {"1"}
    assert len([*(tmp_path / "cache" / "classifiers").iterdir()]) == 2
    with Image.open(run / "coherence.png") as picture:
        assert min(picture.size) > 300
    assert cli.bicoder(["generate", str(run), "--num_images", "7", "--output", str(tmp_path / "new.npz")]) == 0
    with np.load(tmp_path / "new.npz") as found:
        assert {view: array.shape for view, array in found.items()} == {"left": (7, 4, 4, 1), "right": (7, 5)}
        again = bicoder.load(run).generate(7, seed=0)
        np.testing.assert_allclose(found["right"], again["right"], rtol=1e-5, atol=1e-6)
    assert cli.bicoder(["generate", str(run), "--num_images", "7"]) == 0
    assert cli.bicoder(["encode", str(run), "--output", str(tmp_path / "codes.npy")]) == 0
    assert np.load(tmp_path / "codes.npy").shape == (24, 2)
    (run / "posterior.png").unlink()
    assert cli.bicoder(["draw", str(run), "--generate_from_posterior"]) == 0
    assert (run / "posterior.png").exists()


def test_from_views_to_views(run, data, tmp_path, capsys):
    """Of the test examples, and of files: the same, if they are the same images."""
    output = tmp_path / "new.npz"
    assert cli.bicoder(["generate", str(run), "--given", "left", "--num_images", "9", "--output", str(output)]) == 0
    found = dict(np.load(output))
    assert {view: array.shape for view, array in found.items()} == {"right": (9, 5)}
    loader = DataLoader(data, views=("left", "right"))
    test = loader.test_images
    vae = bicoder.load(run)
    expected = vae.decode(vae.encode({"left": test["left"][:9]}).sample(0))["right"].mean
    np.testing.assert_allclose(found["right"], expected, rtol=1e-4, atol=1e-5)
    np.save(tmp_path / "mine.npy", test["left"][:9])
    mine = ["--given", f"left={tmp_path / 'mine.npy'}", "--want", "right,left", "--output", str(output), "--overwrite"]
    assert cli.bicoder(["generate", str(run), *mine]) == 0
    again = dict(np.load(output))
    assert again["left"].shape == (9, 4, 4, 1)
    np.testing.assert_allclose(again["right"], found["right"], rtol=1e-4, atol=1e-5)
    picture = tmp_path / "new.png"
    assert cli.bicoder(["generate", str(run), "--given", "right,left", "--want", "left", "--output", str(picture)]) == 0
    with Image.open(picture) as image:
        assert min(image.size) > 100


@pytest.mark.fault(212)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--given", "middle"], "given: expected views of the run, left, right, received middle"),
        (["--given", "left", "--want", "middle"], "want: expected views of the run, left, right, received middle"),
        (["--want", "left"], "want: expected it with --given, received it without"),
        (["--dset", "x"], "dset: expected it with --given, received it without"),
        (["--given", "left,left"], "argument --given: expected names of views, each once"),
        (["--given", "left=a.npy,right"], "argument --given: expected names of views, each once"),
        (["--given", "left,right"], "want: expected a view, received none, since all are given"),
    ],
)
def test_views_that_cannot_be_given(run, options, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("four.npy", np.zeros((4, 4, 4)))
    np.save("five.npy", np.zeros((5, 5)))
    try:
        code = cli.bicoder(["generate", str(run), "--output", "new.png", *options])
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    assert message in capsys.readouterr().err


def test_each_view_has_its_own_likelihood_and_network(data, tmp_path):
    options = ["--likelihood", "left=laplace,right=gaussian:sigma=0.2", "--view_weights", "left=1,right=0.5"]
    networks = ["--network", "left=mlp:hidden=[8,8],right=mlp:hidden=[4]"]
    train(data, "--run_dir", str(tmp_path / "run"), "--epochs", "1", "--no_pictures", *options, *networks)
    vae = bicoder.load(tmp_path / "run")
    left, right = (vae.decoder.views[view] for view in ("left", "right"))
    assert (left.likelihood.part_name(), right.likelihood.sigma) == ("laplace", 0.2)
    assert (left.network.hidden, right.network.hidden) == ((8, 8), (4,))
    assert vae.view_weights == {"left": 1.0, "right": 0.5}
    assert cli.main(["--config", str(tmp_path / "run" / "config.json"), "--run_dir", str(tmp_path / "again")]) == 0
    assert bicoder.load(tmp_path / "again").decoder.views["right"].likelihood.sigma == 0.2


def test_binary_pixels_of_one_view_beside_grey_ones_of_another(data, tmp_path):
    """Drawn anew in every step, as a bernoulli needs them; evaluated and encoded as the test images were drawn."""
    run = tmp_path / "run"
    options = ["--likelihood", "left=bernoulli,right=gaussian", "--binarize", "left=dynamic", "--batch_size", "16"]
    train(data, "--run_dir", str(run), "--epochs", "1", "--no_pictures", *options)
    assert cli.bicoder(["evaluate", str(run), "--num_samples", "2"]) == 0
    loader = DataLoader(data, views=("left", "right"), binarize={"left": "dynamic"}, seed=0)
    test = {"left": loader.test_images["left"], "right": loader.test_images["right"]}
    assert set(np.unique(test["left"])) == {0.0, 1.0}
    expected = bicoder.load(run).encode(test).mean
    for source in ([], ["--given", f"left={tmp_path / 'left.npy'},right={tmp_path / 'right.npy'}"]):
        grey = DataLoader(data, views=("left", "right")).test_images
        for view in test:
            np.save(tmp_path / f"{view}.npy", grey[view])
        output = tmp_path / "codes.npy"
        assert cli.bicoder(["encode", str(run), *source, "--output", str(output), "--overwrite"]) == 0
        np.testing.assert_allclose(np.load(output), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.fault(213)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--fusion", "mixture_of_experts"], "fusion: expected it with --views, received it without"),
        (["--view_weights", "size"], "view_weights: expected it with --views"),
        (
            ["--likelihood", "a=gaussian,b=laplace"],
            "likelihood: expected one for all, since there are no --views, received a, b",
        ),
        (
            ["--views", "left,right", "--likelihood", "left=gaussian,rihgt=laplace"],
            "likelihood: expected those of --views, left, right, received rihgt",
        ),
        (
            ["--views", "left,right", "--likelihood", "left=gaussian"],
            "likelihood: expected one for each view, received none for right",
        ),
        (["--views", "left"], "argument --views: expected a list of 2 to 10 names of views"),
        (["--views", "left,right", "--view_weights", "left=-1"], "argument --view_weights: expected size, or"),
        (
            ["--views", "left,right", "--view_weights", "middle=1"],
            "view_weights: expected those of --views, left, right, received middle",
        ),
        (["--views", "left,right", "--likelihood", "left=gaussian,left=laplace"], "each view once, received 'left'"),
        (
            ["--views", "left,right", "--binarize", "left=static,rihgt=static"],
            "binarize: expected those of --views, left, right, received rihgt",
        ),
        (["--binarize", "left=static"], "binarize: expected one for all, since there are no --views, received left"),
        (
            ["--views", "left,right", "--binarize", "left=maybe"],
            "argument --binarize: expected static or dynamic, or one of them for some views, received 'left=maybe'",
        ),
        (["--views", "left,right", "--posterior", "iaf"], "expected diagonal_gaussian or full_gaussian"),
        (["--views", "left,right", "--objective", "dreg", "--fusion", "mixture_of_experts"], "dreg: expected"),
        (["--dset", "digits", "--objective", "mvae"], "objective mvae: expected data of several views"),
    ],
)
def test_what_is_refused(data, tmp_path, options, message, capsys):
    code = "none"
    try:
        code = cli.main(["--dset", str(data), "--epochs", "1", "--run_dir", str(tmp_path / "run"), *options])
    except SystemExit as stop:
        code = stop.code
    said = capsys.readouterr().err
    assert code == 2, said
    assert message in said
    assert not (tmp_path / "run").exists()


@pytest.mark.fault(214)
def test_a_config_of_views_that_contradicts_itself_is_refused(run, tmp_path):
    for name, change in {
        "views": lambda config: config["data"].update(image_shape={"left": [4, 4, 1]}),
        "pixels": lambda config: config["data"].update(image_shape={"left": [4, 5, 1], "right": None}),
        "shape": lambda config: config["input_shape"].update(right=[6]),
    }.items():
        copy = tmp_path / name
        copy.mkdir()
        for file in run.iterdir():
            if file.is_file():
                (copy / file.name).write_bytes(file.read_bytes())
        config = json.loads((copy / "config.json").read_text())
        change(config)
        (copy / "config.json").write_text(json.dumps(config))
        with pytest.raises(ModelError, match=r"input_shape has|weights"):
            bicoder.load(copy)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of two views of 12 grey images each in class folders, of which 9.png lacks one view and 1.png the other;
    and a run on them."""
    home, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for view, size in (("a", (4, 3)), ("b", (5, 5))):
        for i in range(12):
            path = home / "set" / view / ("even", "odd")[i % 2] / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            if (view, i) not in (("b", 9), ("a", 1)):
                Image.fromarray(rng.integers(0, 256, size, "uint8")).save(path)
    options = ["--epochs", "1", "--run_dir", str(home / "run"), "--no_pictures", *SMALL]
    assert cli.main(["--dset", str(home / "set"), "--views", "a,b", *options]) == 0
    return home


def test_encode_takes_any_views_of_a_folder(pictures, tmp_path, capsys):
    """All of them, those of one, and one image: what is encoded is what the model says of the same images."""
    vae, run, table = bicoder.load(pictures / "run"), pictures / "run", tmp_path / "codes.csv"
    assert cli.bicoder(["encode", str(run), str(pictures / "set"), "--output", str(table)]) == 0
    assert "1 of 12 examples lack the view b." in capsys.readouterr().err
    rows = {row["file"]: row for row in csv.DictReader(table.read_text().splitlines())}
    assert {name: row["label"] for name, row in rows.items()} == {
        f"{('even', 'odd')[i % 2]}/{i}.png": ("even", "odd")[i % 2] for i in range(12)
    }

    def code(name, views):
        x = {v: np.asarray(Image.open(pictures / "set" / v / name), "float32")[None, ..., None] / 255 for v in views}
        return np.asarray(vae.encode(x).mean)[0]

    def of_row(row):
        return [float(row["z1"]), float(row["z2"])]

    for name, views in (("even/0.png", "ab"), ("odd/9.png", "a"), ("odd/1.png", "b")):
        np.testing.assert_allclose(of_row(rows[name]), code(name, views), atol=1e-5)
    (tmp_path / "some").mkdir()
    shutil.copytree(pictures / "set" / "b", tmp_path / "some" / "b")
    assert cli.bicoder(["encode", str(run), str(tmp_path / "some"), "--output", str(table), "--overwrite"]) == 0
    rows = {row["file"]: row for row in csv.DictReader(table.read_text().splitlines())}
    assert len(rows) == 11
    np.testing.assert_allclose(of_row(rows["even/0.png"]), code("even/0.png", "b"), atol=1e-5)
    given = [f"{view}={pictures / 'set' / view / 'even' / '2.png'}" for view in "ab"]
    for some, views in ((given[:1], "a"), (given, "ab")):
        options = ["--given", ",".join(some), "--output", str(table), "--overwrite"]
        assert cli.bicoder(["encode", str(run), *options]) == 0
        [row] = csv.DictReader(table.read_text().splitlines())
        np.testing.assert_allclose(of_row(row), code("even/2.png", views), atol=1e-5)


def test_what_the_runs_own_examples_have_of_a_view_is_encoded(pictures, run, tmp_path):
    output = tmp_path / "codes.npy"
    assert cli.bicoder(["encode", str(run), "--given", "left", "--output", str(output)]) == 0
    config = json.loads((run / "config.json").read_text())
    test = DataLoader(config["arguments"]["dset"], views=("left", "right")).test_images
    expected = bicoder.load(run).encode({"left": test["left"]}).mean
    np.testing.assert_allclose(np.load(output), expected, rtol=1e-4, atol=1e-5)


def test_reconstruct_gives_all_views_back(run, data, pictures, tmp_path):
    output = tmp_path / "copies.npz"
    assert cli.bicoder(["reconstruct", str(run), str(data), "--output", str(output)]) == 0
    with np.load(data) as arrays:
        x = {"left": arrays["left"][..., None].astype("float32"), "right": arrays["right"].astype("float32")}
    expected = bicoder.load(run).reconstruct(x)
    with np.load(output) as found:
        assert set(found) == {"left", "right"}
        for view, array in found.items():
            np.testing.assert_allclose(array, expected[view], rtol=1e-4, atol=1e-5)
    assert cli.bicoder(["reconstruct", str(run)]) == 0
    with np.load(run / "reconstructions.npz") as found:
        assert found["right"].shape == (24, 5)
    folder = tmp_path / "pictures"
    assert cli.bicoder(["reconstruct", str(pictures / "run"), str(pictures / "set"), "--output", str(folder)]) == 0
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")}
    assert names == {f"{view}/{('even', 'odd')[i % 2]}/{i}.png" for view in "ab" for i in range(12)}
    image = np.asarray(Image.open(folder / "b" / "odd" / "9.png"), "float32") / 255
    a = np.asarray(Image.open(pictures / "set" / "a" / "odd" / "9.png"), "float32")[None, ..., None] / 255
    found = np.asarray(bicoder.load(pictures / "run").reconstruct({"a": a})["b"])[0, ..., 0]
    np.testing.assert_allclose(image, np.clip(found, 0, 1), atol=0.51 / 255)


def test_generate_takes_folders_of_which_files_are_missing(pictures, tmp_path):
    given = ",".join(f"{view}={pictures / 'set' / view}" for view in "ab")
    for name in ("new.png", "new.npz"):
        options = ["--given", given, "--want", "b", "--output", str(tmp_path / name)]
        assert cli.bicoder(["generate", str(pictures / "run"), *options]) == 0
    assert np.load(tmp_path / "new.npz")["b"].shape == (12, 5, 5, 1)


@pytest.mark.fault(217)
@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["encode", "RUN", "none"], 3, "images: expected a folder or a file, received the path 'none': not there"),
        (["encode", "RUN", "four.npy"], 3, "of some of the views left, right, received four.npy; --given VIEW=four"),
        (["reconstruct", "RUN", "empty"], 3, "expected a folder with sub-folders"),
        (["encode", "RUN", "four.npy", "--given", "left"], 2, "given: expected it without IMAGES, received 'four.npy'"),
        (["encode", "RUN", "--given", "middle"], 2, "given: expected views of the run, left, right, received middle"),
        (["reconstruct", "RUN", "--given", "left=none.npy"], 3, "received the path 'none.npy': not there"),
        (["reconstruct", "RUN", "--given", "left=four.npy,right=five.npy"], 3, "expected as many images of each view"),
        (["reconstruct", "RUN", "--output", "x.npy"], 2, "expected a folder, or a file that ends with .npz"),
        (
            ["reconstruct", "RUN", "--given", "left=four.npz", "--output", "four.npz", "--overwrite"],
            2,
            "output: expected another file than that of the images, received four.npz",
        ),
        (["generate", "RUN", "--output", "x.npy"], 2, ".png or .npz"),
    ],
)
def test_what_cannot_be_encoded(run, options, code, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    np.save("four.npy", np.zeros((4, 4, 4)))
    np.save("five.npy", np.zeros((5, 5)))
    np.savez("four.npz", images=np.zeros((4, 4, 4)))
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    output = [] if "--output" in options else ["--output", "new.npy" if options[0] == "encode" else "new.npz"]
    assert cli.bicoder([str(run) if one == "RUN" else one for one in options] + output) == code
    assert message in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_training_examples_are_read_to_be_learnt_from_if_they_have_labels(tmp_path, capsys, monkeypatch):
    """Test examples of a publisher are read without the others; labels of these say whether more is to be read."""
    monkeypatch.setattr("bicoder.evaluation.classifiers.STEPS", 5)
    rng = np.random.default_rng(0)
    for part, count in (("", 60), ("_te", 30)):
        views = {f"m{i}": rng.random((count, 28, 28, 3)).astype("float32") for i in range(5)}
        (tmp_path / f"mnist_color{part}.pkl").write_bytes(pickle.dumps(views))
    np.save(tmp_path / "mnist_color_y_te.npy", np.arange(30) % 3)
    where = ["--data_dir", str(tmp_path)]
    options = ["--dset", "mnist_color", "--views", "m0,m2", "--no_download", "--epochs", "0", "--no_pictures"]
    assert cli.main([*options, *where, *SMALL, "--run_dir", str(tmp_path / "run")]) == 0
    command = ["evaluate", str(tmp_path / "run"), "--num_samples", "2", "--overwrite", "--json", *where]
    found = {}
    for name in ("without", "with"):
        if name == "with":
            np.save(tmp_path / "mnist_color_y.npy", np.arange(60) % 3)
        capsys.readouterr()
        assert cli.bicoder(command) == 0
        found[name] = json.loads(capsys.readouterr().out)["coherence"]
    assert (found["without"]["learnt_from"], found["without"]["examples"]) == ("one half of the test examples", 15)
    assert (found["with"]["learnt_from"], found["with"]["examples"]) == ("training examples", 30)
    assert found["with"]["classifiers"]["m2"]["examples"] == 60
