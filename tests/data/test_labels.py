"""Labels of training images: from a file, from what lies beside the images, and along every way that images take."""

import json
import pickle

import numpy as np
import pytest
from PIL import Image

from bicoder.cli.main import main
from bicoder.data.loader import DataLoader
from bicoder.errors import DataError, UsageError

COUNT = 20
LABELS = np.arange(COUNT) * 7 % 5
WORDS = np.array(["cow", "ant", "eel", "bee", "dog"])


@pytest.fixture
def images(tmp_path):
    """A .npy file of images, each of which is its own row, divided by COUNT."""
    np.save(tmp_path / "x.npy", np.broadcast_to(np.arange(COUNT)[:, None, None] / COUNT, (COUNT, 4, 4)))
    return tmp_path / "x.npy"


@pytest.fixture
def write(tmp_path):
    """Function (text or array, name) -> the path of a file of labels."""

    def make(content, name="labels.csv"):
        path = tmp_path / name
        np.save(path, content) if name.endswith(".npy") else path.write_text(content, encoding="utf-8")
        return path

    return make


def lines(values, header=()):
    return "\n".join([*header, *map(str, values)]) + "\n"


def assert_labelled(loader, expected, row=lambda image: round(float(np.asarray(image).flat[0]) * COUNT)):
    """Each image of a loader, of whatever use, has the label of its row."""
    rows = []
    for use in ("training", "validation", "test"):
        images, labels = getattr(loader, f"{use}_images"), getattr(loader, f"{use}_labels")
        if images is not None:
            rows.append([row(image) for image in images])
            names = loader.label_names
            assert [names[label] if names else label for label in labels] == [expected[i] for i in rows[-1]]
    assert sorted(np.concatenate(rows).tolist()) == list(range(COUNT))


WAYS = {
    "numbers": lambda: (lines(LABELS), LABELS),
    "numbers below a header": lambda: (lines(LABELS, ["class"]), LABELS),
    "floats that are whole": lambda: (lines(f"{label}.0" for label in LABELS), LABELS),
    "words": lambda: (lines(WORDS[LABELS]), WORDS[LABELS]),
    "words below a header": lambda: (lines(WORDS[LABELS], ["animal"]), WORDS[LABELS]),
    "words, in quotes, and lines that are empty at the end": lambda: (
        lines(f'"{word}"' for word in WORDS[LABELS]) + "\n\n",
        WORDS[LABELS],
    ),
    "numbers and words": lambda: (lines(["7up", *WORDS[LABELS[1:-1]], "3"]), ["7up", *WORDS[LABELS[1:-1]], "3"]),
}


@pytest.mark.parametrize("way", WAYS)
def test_labels_of_a_csv_go_with_the_rows(images, write, way):
    text, expected = WAYS[way]()
    loader = DataLoader(images, labels=write(text), validation=0.2, seed=3)
    assert_labelled(loader, expected)
    assert list(loader.label_names) == (sorted(set(expected)) if isinstance(expected[0], str) else [])
    assert loader.classes == len(set(expected))


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32", "bool"])
@pytest.mark.parametrize("shape", [(COUNT,), (COUNT, 1)])
def test_labels_of_an_array_go_with_the_rows(images, write, dtype, shape):
    labels = (LABELS > 2 if dtype == "bool" else LABELS).astype(dtype)
    path, stream = write(labels.reshape(shape), "y.npy"), dtype == "uint8"
    loader = DataLoader(images, labels=path, stream=stream, data_dir=images.parent)
    assert_labelled(loader, labels.astype(int).tolist())
    assert loader.classes == (2 if dtype == "bool" else 5)


def test_a_recorded_split_keeps_its_labels(images, write, tmp_path):
    rows = (f"{'test' if i % 3 else 'training'},{i}" for i in reversed(range(COUNT)))
    (tmp_path / "split.csv").write_text(lines(rows, ["purpose,row"]))
    loader = DataLoader(images, labels=write(lines(LABELS)), split=tmp_path / "split.csv")
    assert loader.training_files.tolist() == [18, 15, 12, 9, 6, 3, 0]
    assert_labelled(loader, LABELS)


def test_labels_of_a_file_come_before_those_of_the_data(tmp_path, write):
    x = np.broadcast_to(np.arange(COUNT)[:, None, None] / COUNT, (COUNT, 4, 4))
    np.savez(tmp_path / "x.npz", x=x, y=LABELS)
    assert_labelled(DataLoader(tmp_path / "x.npz"), LABELS)
    assert_labelled(DataLoader(tmp_path / "x.npz", labels=write(lines(9 - LABELS))), 9 - LABELS)
    assert_labelled(DataLoader((x, LABELS), labels=write(lines(9 - LABELS))), 9 - LABELS)


def test_digits_have_labels_of_their_own():
    from sklearn.datasets import load_digits

    loader = DataLoader("digits", validation=0.1)
    np.testing.assert_array_equal(loader.training_labels, load_digits().target[loader.training_files])
    assert loader.classes == 10
    assert DataLoader(np.zeros((5, 4))).classes is None


# ---- What may lie beside the images of a publisher


def write_mnist(folder, name, training_labels=True):
    """Tiny files of mnist_bw or mnist_color: of each image, every pixel is its row."""
    folder.mkdir(exist_ok=True)
    for part in ("", "_te"):
        x = np.broadcast_to(np.arange(COUNT)[:, None, None, None] / COUNT, (COUNT, 28, 28, 3)).astype("float32")
        if name == "mnist_bw":
            np.save(folder / f"{name}{part}.npy", x[..., 0])
        else:
            (folder / f"{name}{part}.pkl").write_bytes(pickle.dumps({f"m{i}": x for i in range(5)}))
    np.save(folder / f"{name}_y_te.npy", LABELS)
    if training_labels:
        np.save(folder / f"{name}_y.npy", 9 - LABELS)
    return folder


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", ["mnist_bw", "mnist_color", "views"])
def test_labels_beside_the_images_of_a_publisher(tmp_path, name, stream):
    more = {"views": ("m1", "m4")} if name == "views" else {}
    name = "mnist_color" if more else name
    folder = write_mnist(tmp_path / "there", name)
    loader = DataLoader(name, data_dir=folder, download=False, stream=stream, validation=0.3, **more)
    for use in ("training", "validation"):
        found = getattr(loader, f"{use}_images")
        rows = np.round((found["m4"] if more else found)[:].reshape(-1, 2352 if name[-1] == "r" else 784)[:, 0] * COUNT)
        np.testing.assert_array_equal(getattr(loader, f"{use}_labels"), 9 - LABELS[rows.astype(int)])
    np.testing.assert_array_equal(loader.test_labels, LABELS)
    without = DataLoader(name, data_dir=write_mnist(tmp_path / "not", name, False), download=False, **more)
    assert without.training_labels is None
    assert without.classes == 10


@pytest.mark.fault(215)
def test_labels_beside_the_images_that_do_not_fit(tmp_path):
    folder = write_mnist(tmp_path, "mnist_bw")
    np.save(folder / "mnist_bw_y.npy", np.zeros(COUNT - 1))
    with pytest.raises(DataError, match=r"mnist_bw: labels: expected 20 labels.*received shape \(19,\)"):
        DataLoader("mnist_bw", data_dir=folder, download=False)
    np.save(folder / "mnist_bw_y.npy", np.full(COUNT, 10))
    with pytest.raises(DataError, match="mnist_bw: labels: expected whole numbers from 0 to 9, received 10 at index 0"):
        DataLoader("mnist_bw", data_dir=folder, download=False)
    loader = DataLoader("mnist_bw", data_dir=folder, download=False, only_test=(1, False))  # which needs none of them
    np.testing.assert_array_equal(loader.test_labels, LABELS)


def test_a_file_of_labels_of_a_publisher_s_images(tmp_path, write):
    folder = write_mnist(tmp_path / "data", "mnist_bw")
    loader = DataLoader("mnist_bw", data_dir=folder, download=False, labels=write(lines(LABELS % 2)))
    np.testing.assert_array_equal(loader.training_labels, LABELS % 2)
    np.testing.assert_array_equal(loader.test_labels, LABELS)
    with pytest.raises(DataError, match=r"labels\.csv: expected whole numbers, as the test labels .* received 'ant'"):
        DataLoader("mnist_bw", data_dir=folder, download=False, labels=write(lines(WORDS[LABELS])))
    gone = tmp_path / "gone.csv"
    with pytest.raises(DataError, match=r"gone\.csv: cannot be read"):
        DataLoader("mnist_bw", data_dir=folder, download=False, labels=gone)
    DataLoader("mnist_bw", data_dir=folder, download=False, labels=gone, only_test=(1, False))  # training labels alone


# ---- Folders


@pytest.fixture
def folder(tmp_path):
    """Function (names) -> a folder of images of these names, each of one grey, the place of its name."""

    def make(*names, into="set"):
        for name in names:
            path = tmp_path / into / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((4, 3), int(path.stem), "uint8")).save(path)
        return tmp_path / into

    return make


def test_labels_in_the_order_of_paths(folder, write):
    """Those of a sub-folder stand where their path is, among the files beside it; damaged ones have a label too."""
    names = ["10.png", "a b/2.png", "a/0.png", "a/1.png", "b.d/4.png", "b/3.png"]
    root = folder(*names)
    (root / "a" / "9.png").write_bytes(b"no picture")
    labels = write(lines([5, 2, 0, 1, 9, 4, 3]))
    loader = DataLoader(root, labels=labels, skip_damaged=True)
    found = dict(zip(loader.training_files, loader.training_labels, strict=True))
    found |= dict(zip(loader.test_files, loader.test_labels, strict=True))
    assert found == {"10.png": 5, "a b/2.png": 2, "a/0.png": 0, "a/1.png": 1, "b.d/4.png": 4, "b/3.png": 3}
    assert loader.label_names == ()


def test_labels_in_order_of_folders_that_are_a_split(folder, write):
    root = folder("train/0.png", "train/1.png", "val/5.png", "test/2.png", "test/3.png")
    labels = write(lines(["t2", "t3", "n0", "n1", "v5"]))
    for validation in (0.0, 0.2):
        loader = DataLoader(root, labels=labels, validation=validation)
        names = np.array(loader.label_names)
        assert dict(zip(loader.training_files, names[loader.training_labels], strict=True)) == {
            "train/0.png": "n0",
            "train/1.png": "n1",
        }
        assert names[loader.test_labels].tolist() == ["t2", "t3"]
        assert validation == 0 or names[loader.validation_labels].tolist() == ["v5"]
    alone = DataLoader(root, labels=labels, only_test=(255, False))
    assert np.array(alone.label_names)[alone.test_labels].tolist() == ["t2", "t3"]


@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize("stream", [False, True])
def test_labels_of_views_some_of_which_are_missing(folder, write, tmp_path, by_name, stream):
    root = folder(*(f"left/{i}.png" for i in range(8)), *(f"right/{i}.png" for i in range(2, 10)))
    (root / "right" / "4.png").write_bytes(b"no picture")
    (root / "left" / "0.png").write_bytes(b"no picture")  # nothing is left of this example
    rows = [f"{i}.png,{WORDS[i % 5]}" for i in range(10)]
    labels = write(lines(rows, ["file,label"]) if by_name else lines(WORDS[np.arange(10) % 5]))
    more = {"views": ("left", "right"), "skip_damaged": True, "stream": stream, "data_dir": tmp_path}
    loader = DataLoader(root, labels=labels, validation=0.2, **more)
    assert loader.label_names == tuple(sorted(WORDS))
    found = {}
    for use in ("training", "validation", "test"):
        files, given = getattr(loader, f"{use}_files"), getattr(loader, f"{use}_labels")
        found |= {name: loader.label_names[label] for name, label in zip(files, given, strict=True)}
    assert found == {f"{i}.png": WORDS[i % 5] for i in range(1, 10)}


# ---- What is refused


@pytest.mark.fault(216)
@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("y.csv", lines(LABELS[:-1]), "expected 20 labels, one a line, received 19"),
        ("y.csv", lines([*LABELS, 1]), "expected 20 labels, one a line, received 21"),
        ("y.csv", lines(WORDS[LABELS[:-1]], ["label"]), "expected 20 labels, one a line, received 19"),
        ("y.csv", lines([*LABELS[:-1], -1]), "line 20: expected whole numbers of 0 or more, or words, received '-1'"),
        ("y.csv", lines([*LABELS[:-1], 1.5]), "line 20: expected whole numbers of 0 or more, or words, received '1.5'"),
        (
            "y.csv",
            lines([*LABELS[:-1], "nan"]),
            "line 20: expected whole numbers of 0 or more, .* received 'nan'",
        ),
        ("y.csv", lines([*LABELS[:-1], "1e400"]), "line 20: expected whole numbers of 0 or more"),
        ("y.csv", lines([*LABELS[:9], "", *LABELS[10:]]), "line 10: expected one label, .* received an empty line"),
        ("y.csv", lines([*LABELS[:9], "a,b", *LABELS[10:]]), "line 10: expected one label, .* received 2 columns"),
        (
            "y.csv",
            lines([f"{i},{i}" for i in LABELS], ["row,label"]),
            "expected one label a line, since the images",
        ),
        ("y.csv", "\n\n", "expected a label for each image, received an empty file"),
        ("y.npy", LABELS[:-1], r"expected 20 labels, whole numbers of shape \(20,\), received shape \(19,\)"),
        ("y.npy", np.eye(5)[LABELS], r"if they are one-hot, save labels.argmax\(axis=1\)"),
        ("y.npy", LABELS - 1, "expected labels of 0 or more, received -1 at index 0"),
        ("y.npy", LABELS / 2, "expected whole numbers, received"),
        ("y.npy", np.where(LABELS > 3, np.nan, 1.0), "expected whole numbers, received nan"),
        ("y.npy", WORDS[LABELS], "expected an array of numbers, received dtype <U3"),
        ("y.npy", np.array(list(WORDS[LABELS]), object), "expected an array of numbers, received dtype object"),
        ("y.csv", None, "cannot be read: No such file"),
    ],
)
def test_labels_that_do_not_fit(images, write, tmp_path, name, content, said):
    path = tmp_path / name if content is None else write(content, name)
    with pytest.raises(DataError, match=said) as raised:
        DataLoader(images, labels=path)
    assert str(raised.value).startswith(str(path))
    assert "\n" not in str(raised.value)


@pytest.mark.fault(216)
def test_classes_that_cannot_be_counted():
    for worst, said in ((-1, "received -1"), (10**6, "received 1000000")):
        loader = DataLoader((np.zeros((5, 4)), np.array([0, 1, worst, 2, 1])))
        assert loader.training_labels is not None
        with pytest.raises(DataError, match=f"labels: expected whole numbers from 0 to 65,535 .* {said}; number"):
            loader.classes  # noqa: B018


# ---- Runs


SMALL = ["--epochs", "1", "--latent_dim", "2", "--network", "mlp:hidden=[4]", "--quiet", "--no_pictures"]


def test_a_run_knows_its_labels_and_goes_on_with_no_others(images, write, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    labels, run = write(lines(LABELS)), tmp_path / "run"
    assert main(["--dset", "x.npy", "--labels", "labels.csv", "--run_dir", "run", *SMALL]) == 0
    config = json.loads((run / "config.json").read_text())
    assert config["arguments"]["labels"] == str(labels)
    assert len(config["data"]["labels_sha256"]) == 64
    more = ["--epochs", "2", "--quiet", "--no_pictures"]
    monkeypatch.chdir("/")
    labels.write_text(lines(LABELS[::-1]))
    assert main([*more, "--resume", str(run)]) == 5
    assert "was started with other data: labels_sha256" in capsys.readouterr().err
    labels.rename(tmp_path / "moved.csv").write_text(lines(LABELS))
    assert main([*more, "--resume", str(run)]) == 3
    assert "labels.csv: cannot be read" in capsys.readouterr().err
    assert main([*more, "--resume", str(run), "--labels", str(tmp_path / "moved.csv")]) == 0


def test_commands_are_told_where_labels_are_now(images, write, tmp_path, capsys):
    from bicoder.runs.config import read_config
    from bicoder.runs.run_data import own_data

    labels, run = write(lines(LABELS)), tmp_path / "run"
    assert main(["--dset", str(images), "--labels", str(labels), "--run_dir", str(run), *SMALL]) == 0
    config, moved = read_config(run), labels.rename(tmp_path / "moved.csv")
    with pytest.raises(DataError, match=r"run: its labels: .*labels\.csv: .*; --labels FILE says where they are"):
        own_data(run, config)
    loader = own_data(run, config, labels=str(moved))
    np.testing.assert_array_equal(loader.test_labels, LABELS[loader.test_files])
    del config["arguments"]["labels"]
    with pytest.raises(UsageError, match=r"labels: expected none, since .* was trained without --labels"):
        own_data(run, config, labels=str(moved))
