"""Views that are read together: rows and files that belong to each other, what is missing, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from bicoder.data.loader import DataLoader
from bicoder.engine.arrays.fingerprint import fingerprint
from bicoder.engine.arrays.masked import Masked, arrays_in, on_arrays
from bicoder.engine.batches import Batches
from bicoder.errors import DataError, UsageError


@pytest.fixture
def write(tmp_path, rng):
    """Function (names) -> a folder of images of these names, each another."""

    def make(*names, size=(4, 3)):
        for name in names:
            path = tmp_path / "set" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, size, "uint8")).save(path)
        return tmp_path / "set"

    return make


@pytest.fixture
def npz(tmp_path, rng):
    """Path of an .npz file of two views of 20 examples, whose mean says which example it is, and labels."""
    path, level = tmp_path / "two.npz", np.linspace(0.0, 1.0, 20)
    left, right = np.full((20, 4, 4), level[:, None, None]), np.full((20, 6), level[:, None])
    np.savez(path, left=left, right=right, labels=np.arange(20) % 3)
    return path


def test_rows_of_arrays_belong_together(npz):
    loader = DataLoader(npz, views=("left", "right"), batch_size=4, validation=0.2)
    for images, files, labels in (
        (loader.training_images, loader.training_files, loader.training_labels),
        (loader.validation_images, loader.validation_files, loader.validation_labels),
        (loader.test_images, loader.test_files, loader.test_labels),
    ):
        np.testing.assert_allclose(images["left"][:, 0, 0, 0], files / 19, atol=1e-6)
        np.testing.assert_allclose(images["right"][:, 0], files / 19, atol=1e-6)
        np.testing.assert_array_equal(labels, files % 3)
    assert sorted([*loader.training_files, *loader.validation_files, *loader.test_files]) == list(range(20))
    assert loader.image_shape == {"left": (4, 4, 1), "right": None}
    batch = next(iter(loader.training_data))
    assert {view: tuple(x.shape) for view, x in batch.items()} == {"left": (4, 4, 4, 1), "right": (4, 6)}
    np.testing.assert_allclose(batch["left"][:, 0, 0, 0], batch["right"][:, 0], atol=1e-6)


@pytest.mark.fault(210)
def test_files_of_equal_names_belong_together_and_a_missing_file_is_a_missing_view(write, capsys):
    folder = write(*(f"left/{i}.png" for i in range(9)))
    write(*(f"right/{i}.png" for i in range(2, 10)), size=(5, 2))
    loader = DataLoader(folder, views=("left", "right"))
    said = capsys.readouterr().err
    assert "1 of 10 examples lack the view left." in said
    assert "2 of 10 examples lack the view right." in said
    for images, files in ((loader.training_images, loader.training_files), (loader.test_images, loader.test_files)):
        for view, known in (("left", set(range(9))), ("right", set(range(2, 10)))):
            there = [int(name.removesuffix(".png")) in known for name in files]
            found = images[view]
            np.testing.assert_array_equal(found.there if isinstance(found, Masked) else np.ones(len(files)), there)
            for row, name in enumerate(files):
                if there[row]:
                    values = found.values if isinstance(found, Masked) else found
                    expected = np.asarray(Image.open(folder / view / name))[..., None] / 255
                    np.testing.assert_allclose(values[row], expected, atol=1e-6)


def test_what_is_missing_is_no_part_of_the_fingerprint():
    there = np.array([1.0, 0.0, 1.0], "float32")
    one = Masked(np.arange(6, dtype="float32").reshape(3, 2), there)
    other = Masked(np.where(there[:, None] > 0, one.values, 9.0).astype("float32"), there)
    assert fingerprint({"a": one}) == fingerprint({"a": other})
    assert fingerprint({"a": one}) != fingerprint({"a": Masked(one.values, there[::-1].copy() * [1, 1, 0])})
    assert fingerprint({"a": one}) != fingerprint({"a": Masked(one.values + 1, there)})


def test_a_view_that_no_example_has_is_part_of_the_fingerprint():
    values, nobody = np.ones((3, 2), "float32"), np.zeros(3, "float32")
    assert fingerprint({"a": values, "b": Masked(values, nobody)}) != fingerprint({"a": values, "b": values})
    assert fingerprint({"a": values, "b": Masked(values, nobody)}) != fingerprint({"a": values})


def test_class_folders_in_each_view_are_labels(write):
    folder = write(*(f"{view}/{label}/{i}.png" for view in ("a", "b") for label in ("cat", "dog") for i in range(5)))
    write("a/cow/0.png")
    loader = DataLoader(folder, views=("a", "b"))
    assert loader.label_names == ("cat", "cow", "dog")
    for labels, files in ((loader.training_labels, loader.training_files), (loader.test_labels, loader.test_files)):
        assert [loader.label_names[label] for label in labels] == [name.split("/")[0] for name in files]


def test_folders_to_train_and_to_test_in_each_view(write):
    folder = write(*(f"{view}/{use}/{i}.png" for view in ("a", "b") for use in ("train", "test") for i in range(4)))
    loader = DataLoader(folder, views=("a", "b"))
    assert {name.split("/")[0] for name in loader.test_files} == {"test"}
    assert {name.split("/")[0] for name in loader.training_files} == {"train"}


@pytest.mark.fault(211)
def test_a_damaged_file_of_a_pair(write):
    folder = write(*(f"{view}/{i}.png" for view in ("a", "b") for i in range(6)))
    (folder / "b" / "3.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"3\.png"):
        DataLoader(folder, views=("a", "b"))
    loader = DataLoader(folder, views=("a", "b"), skip_damaged=True)
    found = {
        name: there
        for images, files in ((loader.training_images, loader.training_files), (loader.test_images, loader.test_files))
        for name, there in zip(files, getattr(images["b"], "there", np.ones(len(files))), strict=True)
    }
    assert {name for name, there in found.items() if not there} == {"3.png"}
    assert len(found) == 6


def test_views_of_mnist_color_are_those_of_one_view_each(tmp_path):
    """The loader of three views has what the loaders of each have, in the same rows."""
    import pickle

    rng = np.random.default_rng(0)
    for name, count in (("mnist_color.pkl", 30), ("mnist_color_te.pkl", 10)):
        images = {view: rng.random((count, 28, 28, 3)).astype("float32") for view in ("m0", "m1", "m2", "m3", "m4")}
        (tmp_path / name).write_bytes(pickle.dumps(images))
    np.save(tmp_path / "mnist_color_y_te.npy", np.arange(10))
    together = DataLoader("mnist_color", views=("m0", "m3"), data_dir=tmp_path, download=False)
    for view in ("m0", "m3"):
        alone = DataLoader("mnist_color", view=view, data_dir=tmp_path, download=False)
        np.testing.assert_array_equal(together.training_images[view], alone.training_images)
        np.testing.assert_array_equal(together.test_images[view], alone.test_images)
    np.testing.assert_array_equal(together.test_labels, np.arange(10))


@pytest.mark.parametrize("stream", [False, True])
def test_pixels_of_some_views_are_drawn(write, tmp_path, stream):
    """The others stay grey, what is missing stays missing, and no two views have the same noise."""
    folder = write(*(f"{view}/{i:02d}.png" for view in ("a", "b", "c") for i in range(40)))
    for i in range(0, 40, 3):
        (folder / "a" / f"{i:02d}.png").unlink()
    for path in folder.rglob("*.png"):
        Image.fromarray(np.full((4, 3), 128, "uint8")).save(path)
    binarize = {"a": "dynamic", "b": "static"}
    options = {"views": ("a", "b", "c"), "data_dir": tmp_path / "cache", "stream": stream, "seed": 1}
    loader = DataLoader(folder, 32, binarize=binarize, **options)
    test = {view: np.asarray(getattr(one, "values", one)[:]) for view, one in loader.test_images.items()}
    assert set(np.unique(test["a"])) == set(np.unique(test["b"])) == {0.0, 1.0}
    assert (test["a"] != test["b"]).mean() > 0.2
    np.testing.assert_allclose(test["c"], 128 / 255, atol=1e-6)
    again = DataLoader(folder, 32, binarize="dynamic", **options).test_images
    for view, one in loader.test_images.items():
        if view != "c":  # whatever is drawn of the others
            np.testing.assert_array_equal(test[view], np.asarray(getattr(again[view], "values", again[view])[:]))
        if isinstance(one, Masked):
            np.testing.assert_array_equal(one.there, [int(name[:2]) % 3 != 0 for name in loader.test_files])
    first, second = (next(iter(loader.training_data)) for _ in range(2))
    assert isinstance(first["a"], Masked)
    assert set(np.unique(first["a"].values)) == set(np.unique(first["b"])) == {0.0, 1.0}
    np.testing.assert_allclose(first["c"], 128 / 255, atol=1e-6)
    sums = {view: [np.sum(getattr(batch[view], "values", batch[view])) for batch in (first, second)] for view in "ab"}
    assert sums["a"][0] != sums["a"][1]
    assert sums["b"][0] == sums["b"][1]


def test_dynamic_pixels_of_views_are_drawn_in_programs_of_many_steps_as_in_one():
    """The same numbers, however many batches come together; the masks as they were."""
    rng = np.random.default_rng(0)
    x = {"a": Masked(rng.random((20, 6), "float32"), (np.arange(20) % 2).astype("float32")), "b": rng.random((20, 3))}
    x["b"] = x["b"].astype("float32")
    one, many = (Batches(x, 8, seed=3, binarize=("a",)) for _ in range(2))
    single = [batch for group in one.groups(1) for batches, n in group for batch in rows(batches, n)]
    joint = [batch for group in many.groups(2) for batches, n in group for batch in rows(batches, n)]
    assert len(single) == len(joint) == 3
    for expected, found in zip(single, joint, strict=True):
        for view in x:
            for left, right in zip(arrays_in(expected[view]), arrays_in(found[view]), strict=True):
                np.testing.assert_array_equal(left, right)
    values = np.concatenate([batch["a"].values for batch in joint])
    assert set(np.unique(values)) == {0.0, 1.0}
    assert np.concatenate([batch["a"].there for batch in joint]).sum() == 10
    grey = np.concatenate([batch["b"] for batch in joint])
    np.testing.assert_array_equal(np.sort(grey, axis=0), np.sort(x["b"], axis=0))


def rows(batches, count):
    """Some batches of a group, one by one."""
    return [on_arrays(lambda array: np.asarray(array)[i], batches) for i in range(count)]  # noqa: B023


def test_equal_names_in_all_folders_are_mentioned(write, capsys):
    DataLoader(write(*(f"{view}/{i}.png" for view in ("a", "b") for i in range(3))))
    assert "files of equal names; if they are views of one, --views a,b." in capsys.readouterr().err
    DataLoader(write("a/3.png"))
    assert "--views" not in capsys.readouterr().err


@pytest.mark.fault(208, 209)
@pytest.mark.parametrize(
    ("views", "error", "message"),
    [
        (("left",), UsageError, "views: expected 2 to 10 names, each once, received left"),
        (("left", "left"), UsageError, "views: expected 2 to 10 names, each once"),
        (("left", "name"), UsageError, "views: expected names of views other than 'name'"),
        (
            ("left", "rihgt"),
            DataError,
            "expected an array for each view, received 'rihgt', and the file has left, right",
        ),
        (("left", "short"), DataError, "expected as many images of each view, received 20 of left, 19 of short"),
    ],
)
def test_views_that_are_refused(npz, views, error, message):
    arrays = dict(np.load(npz))
    del arrays["labels"]
    np.savez(npz, **arrays, short=arrays["left"][:19])
    with pytest.raises(error, match=message) as raised:
        DataLoader(npz, views=views)
    assert "\n" not in str(raised.value)


def test_data_that_have_no_views_are_refused(tmp_path, write):
    np.save(tmp_path / "one.npy", np.zeros((5, 4, 4)))
    for dset in ("digits", tmp_path / "one.npy", np.zeros((5, 4, 4))):
        with pytest.raises(UsageError, match="views: expected mnist_color, a folder with a sub-folder for each view"):
            DataLoader(dset, views=("a", "b"))
    with pytest.raises(DataError, match="expected a sub-folder for each view, received 'b': not there"):
        DataLoader(write("a/0.png"), views=("a", "b"))
    with pytest.raises(DataError, match="expected a sub-folder for each view"):
        DataLoader(write("a/0.png"), views=("a", ".."))
    for binarize, message in (
        ({"c": "static"}, "binarize: expected the views a, b, received c"),
        ({"a": "maybe"}, "binarize: expected static or dynamic, or one of them for some views"),
    ):
        with pytest.raises(UsageError, match=message):
            DataLoader(write("b/0.png"), views=("a", "b"), binarize=binarize)
    with pytest.raises(UsageError, match="binarize: expected one for all, since there are no views, received a"):
        DataLoader("digits", binarize={"a": "static"})
