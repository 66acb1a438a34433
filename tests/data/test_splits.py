"""The split that folders make, the split of a run, and the names of images and labels that go with them."""

import numpy as np
import pytest
from PIL import Image

from bicoder.data.loader import DataLoader
from bicoder.data.splits import read_split, split_text
from bicoder.errors import DataError


@pytest.fixture
def write(tmp_path, rng):
    """Function (names) -> a folder of images of these names, each another."""

    def make(*names):
        for name in names:
            (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (4, 3), "uint8")).save(tmp_path / "set" / name)
        return tmp_path / "set"

    return make


def numbered(*places, count=3):
    return [f"{place}/{i}.png" for place in places for i in range(count)]


def assert_files(files, images, folder):
    """Each image is the one in the file of its name."""
    for name, image in zip(files, images, strict=True):
        with Image.open(folder / name) as right:
            np.testing.assert_array_equal(image[..., 0], np.asarray(right) / np.float32(255))


# ---- Folders


@pytest.mark.fault(94)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("names", [("train", "test"), ("Training", "TESTING"), ("train", "val"), ("train", "Valid")])
def test_folders_called_train_and_test_are_the_split(write, tmp_path, capsys, names, stream):
    train, test = names
    folder = write(*numbered(f"{train}/cat", f"{train}/dog", f"{test}/dog", f"{test}/cat"))
    loader = DataLoader(folder, stream=stream, data_dir=tmp_path / "cache")
    assert set(loader.training_files) == set(numbered(f"{train}/cat", f"{train}/dog"))
    assert set(loader.test_files) == set(numbered(f"{test}/cat", f"{test}/dog"))
    assert loader.label_names == ("cat", "dog")
    for files, labels in ((loader.training_files, loader.training_labels), (loader.test_files, loader.test_labels)):
        assert [loader.label_names[label] for label in labels] == [name.split("/")[1] for name in files]
    assert_files(loader.training_files, loader.training_images, folder)
    assert_files(loader.test_files, loader.test_images, folder)
    said = capsys.readouterr().err
    assert (
        f"{folder}: the split is that of its folders: training images in {train} (6), test images in {test} (6)."
        in said
    )
    alone = DataLoader(folder, only_test=loader.scaling)
    np.testing.assert_array_equal(alone.test_images, loader.test_images[:])
    np.testing.assert_array_equal(alone.test_labels, loader.test_labels)
    assert not alone.has_training_images


@pytest.mark.fault(94)
def test_images_for_validation_are_taken_if_some_are_asked_for(write, capsys):
    folder = write(*numbered("train", "test", count=5), *numbered("val"))
    loader = DataLoader(folder)
    assert loader.validation_images is None
    assert len(loader.training_images) == 5
    assert "test images in test (5); those for validation are left out, unless --validation" in capsys.readouterr().err
    loader = DataLoader(folder, validation=0.1)
    assert loader.validation_files.tolist() == numbered("val")
    assert (len(loader.training_images), len(loader.test_images)) == (5, 5)
    assert_files(loader.validation_files, loader.validation_images, folder)


def test_images_for_validation_are_drawn_if_no_folder_has_any(write):
    loader = DataLoader(write(*numbered("train", "test", count=10)), validation=0.2)
    assert (len(loader.training_images), len(loader.validation_images), len(loader.test_images)) == (8, 2, 10)
    assert all(name.startswith("train/") for name in loader.validation_files)


@pytest.mark.fault(94)
@pytest.mark.parametrize(
    ("places", "label_names", "said"),
    [
        (("train/cat", "train/dog"), ("cat", "dog"), "train looks like part of a split.*all of their images are taken"),
        (("val/cat", "test/dog"), ("cat", "dog"), "test and val looks like.*all of their images are taken together"),
        (("train", "plane"), ("plane", "train"), "train looks like part of a split.*they are labels here"),
    ],
)
def test_names_like_those_of_a_split_that_are_none_are_said(write, capsys, places, label_names, said):
    loader = DataLoader(write(*numbered(*places, count=5)))
    assert loader.label_names == label_names
    assert (len(loader.training_images), len(loader.test_images)) == (8, 2)
    [line] = capsys.readouterr().err.splitlines()
    assert said.split(".*")[0] in line
    assert said.split(".*")[1] in line


def test_test_images_without_labels(write):
    """As the test images of a contest."""
    loader = DataLoader(write(*numbered("train/cat", "train/dog"), *numbered("test")))
    assert loader.label_names == ("cat", "dog")
    assert sorted(loader.training_labels) == [0, 0, 0, 1, 1, 1]
    assert loader.test_labels is None


def test_train_and_test_of_other_sizes_have_one_size(write, tmp_path, rng):
    folder = write(*numbered("train", "test"))
    Image.fromarray(rng.integers(0, 256, (9, 9, 3), "uint8")).save(folder / "test" / "0.png")
    assert DataLoader(folder).training_images.shape == (3, 64, 64, 3)


# ---- What images are called


@pytest.mark.fault(111)
def test_rows_and_labels_of_arrays(rng):
    images, labels = rng.integers(0, 256, (30, 4, 3), "uint8"), np.arange(30)
    for dset in ((images, labels), images):
        loader = DataLoader(dset, validation=0.2, seed=3)
        for use in ("training", "validation", "test"):
            files, found, named = (getattr(loader, f"{use}_{what}") for what in ("files", "images", "labels"))
            np.testing.assert_array_equal(found[..., 0], images[files] / np.float32(255))
            if isinstance(dset, tuple):
                np.testing.assert_array_equal(named, labels[files])
        assert sorted([*loader.training_files, *loader.validation_files, *loader.test_files]) == list(range(30))
    again = DataLoader(images, validation=0.2, seed=3)
    np.testing.assert_array_equal(again.test_images, loader.test_images)


@pytest.mark.fault(111)
def test_an_array_is_as_its_file(tmp_path, rng):
    images = rng.random((20, 7), "float32")
    np.save(tmp_path / "x.npy", images)
    file, array = DataLoader(tmp_path / "x.npy"), DataLoader(images)
    np.testing.assert_array_equal(file.training_images, array.training_images)
    assert not np.shares_memory(array.training_images, images)


@pytest.mark.parametrize(
    ("dset", "said"),
    [
        (np.zeros((10, 4, 4, 4, 4)), "images: expected an array"),
        ((np.zeros((10, 4)), np.zeros(9)), "images: labels: expected 10 labels"),
        (np.full((10, 4), np.nan), "images: expected finite pixels"),
    ],
)
def test_an_array_that_does_not_fit(dset, said):
    with pytest.raises(DataError, match=said):
        DataLoader(dset)


# ---- Labels in a file


@pytest.fixture
def labelled(write, tmp_path):
    """Function (lines of a CSV) -> the folder and the file."""
    folder = write("a/1.png", "a/2.png", "b/1.png", "3.png")

    def make(*lines, encoding="utf-8"):
        (tmp_path / "labels.csv").write_bytes("\n".join(lines).encode(encoding))
        return folder, tmp_path / "labels.csv"

    return make


@pytest.mark.fault(111)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_labels_of_a_folder_from_a_file(labelled, capsys, encoding):
    lines = ("file,label", "a/1.png,10", "b/1.png,9", '"2.png","10"', "gone.png,3", "", "3.png,9")
    folder, path = labelled(*lines, encoding=encoding)
    loader = DataLoader(folder, labels=path)
    assert loader.label_names == ("9", "10")
    found = dict(zip(loader.training_files, loader.training_labels, strict=True))
    found |= dict(zip(loader.test_files, loader.test_labels, strict=True))
    assert found == {"3.png": 0, "a/1.png": 1, "a/2.png": 1, "b/1.png": 0}
    assert f"{path}: 1 line of files that are not there, the first 'gone.png'." in capsys.readouterr().err


@pytest.mark.fault(111)
@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ((), "received an empty file"),
        (("3.png,x", "a/1.png,y"), r"line 1: expected a header, such as file,label, received '3\.png'"),
        (("file,label", "3.png"), "line 2: expected a file name and a label, received 1 column"),
        (("file,label", "3.png,1,2"), "line 2: expected a file name and a label, received 3 columns"),
        (("file,label", "3.png,", "2.png,1"), "line 2: expected a file name and a label, received an empty one"),
        (("file,label", "1.png,x"), r"line 2: several images are called '1\.png'; write the path"),
        (("file,label", "3.png,x", "", "3.png,y"), r"line 4: a second label of '3\.png', after that in line 2"),
        (
            ("file,label", "3.png,x", "a/l.png,y"),
            r"expected a label of each of 4 images, received none of 3, the first 'a/1\.png'; line 3 names 'a/l\.png'",
        ),
        (("file,label", 'a"b\0,"'), "line 2"),
    ],
)
def test_a_file_of_labels_that_is_wrong_says_where(labelled, lines, said):
    folder, path = labelled(*lines)
    with pytest.raises(DataError, match=said) as caught:
        DataLoader(folder, labels=path)
    assert str(path) in str(caught.value)


@pytest.mark.fault(178)
def test_labels_that_are_no_text(labelled):
    folder, path = labelled("file,label", "3.png,é", encoding="latin-1")
    with pytest.raises(DataError, match="line 2: expected UTF-8, received the byte 0xe9"):
        DataLoader(folder, labels=path)


@pytest.mark.fault(179)
def test_labels_by_names_of_what_is_no_folder(labelled):
    with pytest.raises(DataError, match="expected one label a line, since the images are no files, received two col"):
        DataLoader("digits", labels=labelled("file,label", "3.png,x")[1])


# ---- The split of a run


@pytest.mark.fault(95)
@pytest.mark.parametrize("stream", [False, True])
def test_a_recorded_split_finds_its_images_again(write, tmp_path, capsys, stream):
    """Though one was added and one is gone, and in the order in which they were."""
    folder = write(*numbered("a", "b", count=10))
    options = {"stream": stream, "data_dir": tmp_path / "cache"}
    first = DataLoader(folder, seed=1, validation=0.2, **options)
    path = tmp_path / "split.csv"
    path.write_text(split_text(first.split_names()))
    write("a/another.png")
    again = DataLoader(folder, seed=2, validation=0.2, split=path, **options)
    for use in ("training", "validation", "test"):
        assert getattr(again, f"{use}_files").tolist() == getattr(first, f"{use}_files").tolist()
        np.testing.assert_array_equal(getattr(again, f"{use}_images"), getattr(first, f"{use}_images"))
        np.testing.assert_array_equal(getattr(again, f"{use}_labels"), getattr(first, f"{use}_labels"))
    assert "1 image that the split does not name, left out." in capsys.readouterr().err
    (folder / first.test_files[1]).unlink()
    again = DataLoader(folder, split=path, **options)
    assert again.test_files.tolist() == [first.test_files[0], *first.test_files[2:]]
    said = f"{path}: 1 of 4 test images are not there, the first {first.test_files[1]!r}."
    assert said in capsys.readouterr().err
    alone = DataLoader(folder, split=path, only_test=first.scaling)
    np.testing.assert_array_equal(alone.test_images, again.test_images)


def test_a_recorded_split_of_rows(tmp_path, rng):
    images = rng.random((30, 5), "float32")
    first = DataLoader(images, seed=1)
    path = tmp_path / "split.csv"
    path.write_text(split_text(first.split_names()))
    again = DataLoader(images, seed=2, split=path)
    np.testing.assert_array_equal(again.training_images, first.training_images)
    np.testing.assert_array_equal(again.test_images, first.test_images)
    with pytest.raises(
        DataError, match=r"split\.csv: 6 of 6 test images are not there, the first '\d+'; give the data"
    ):
        DataLoader(images[: first.test_files.min()], split=path)


def test_what_the_data_say_themselves_is_not_recorded(tmp_path, rng):
    np.savez(tmp_path / "x.npz", x_train=rng.random((20, 3)), x_test=rng.random((5, 3)))
    assert DataLoader(tmp_path / "x.npz").split_names() is None
    found = DataLoader(tmp_path / "x.npz", validation=0.2).split_names()
    assert {use: len(names) for use, names in found.items()} == {"training": 16, "validation": 4}
    (tmp_path / "split.csv").write_text(split_text(found))
    again = DataLoader(tmp_path / "x.npz", validation=0.2, seed=9, split=tmp_path / "split.csv")
    assert again.validation_files.tolist() == found["validation"].tolist()
    assert len(again.test_images) == 5


NAMES = ["plain.png", 'a,"b"\n.png', "é/ü.png", "\udcff.png"]


def test_names_of_every_kind_are_the_same_again(tmp_path):
    parts = {"training": np.array(NAMES[:3], object), "test": np.array(NAMES[3:], object)}
    path = tmp_path / "split.csv"
    path.write_text(split_text(parts), encoding="utf-8", errors="surrogateescape", newline="")
    assert {use: names.tolist() for use, names in read_split(path).items()} == {
        "training": NAMES[:3],
        "test": NAMES[3:],
    }


@pytest.mark.fault(95)
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "expected a header purpose,file or purpose,row"),
        (b"a,b\n", "expected a header purpose,file or purpose,row"),
        (b"purpose,file\nlearning,a.png\n", "line 2: expected a purpose and a file"),
        (b"purpose,file\ntest,a.png\ntest\n", "line 3: expected a purpose and a file"),
        (b"purpose,row\ntest,-1\n", "line 2: expected a purpose and a row"),
        (b"purpose,row\ntest,1e3\n", "line 2: expected a purpose and a row"),
        (b"purpose,row\ntest," + b"9" * 30, "line 2: expected a purpose and a row"),
        (b"purpose,file\ntraining,a\nvalidation,a\n", "line 3: 'a' comes twice"),
        (b"purpose,file\ntest," + b"x" * 5000, "line 2: expected a purpose and a file"),
        (b"purpose,file\ntest," + b"x" * 200_000, "no CSV"),
    ],
)
def test_a_split_that_is_none(tmp_path, content, said):
    (tmp_path / "split.csv").write_bytes(content)
    with pytest.raises(DataError, match=rf"split\.csv: .*{said}"):
        read_split(tmp_path / "split.csv")


@pytest.mark.fault(95)
def test_a_split_leads_to_no_file_outside_the_folder(write, tmp_path, capsys):
    folder = write(*numbered("a"))
    Image.new("L", (3, 4)).save(tmp_path / "secret.png")
    (tmp_path / "split.csv").write_text(
        "purpose,file\ntraining,a/0.png\ntraining,a/1.png\ntest,a/2.png\ntest,../secret.png\n"
    )
    loader = DataLoader(folder, split=tmp_path / "split.csv")
    assert loader.test_files.tolist() == ["a/2.png"]
    assert "1 of 2 test images are not there, the first '../secret.png'" in capsys.readouterr().err


@pytest.mark.fault(155)
def test_names_of_files_with_any_character(write, tmp_path):
    """A carriage return too, which Python's csv leaves bare: a split.csv could be written, and never be read."""
    names = [
        "Icon\r.png",
        "a\r\nb.png",
        "new\nline.png",
        '"q",x.png',
        "\udcff.png",
        " .png",
        "=1+1.png",
        "\x1b[31m.png",
    ]
    loader = DataLoader(write(*names))
    path = tmp_path / "split.csv"
    path.write_text(split_text(loader.split_names()), encoding="utf-8", errors="surrogateescape", newline="")
    again = DataLoader(tmp_path / "set", split=path, seed=7)
    assert again.training_files.tolist() == loader.training_files.tolist()
    assert again.test_files.tolist() == loader.test_files.tolist()
    assert sorted([*again.training_files, *again.test_files]) == sorted(names)
