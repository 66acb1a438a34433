"""Where images are, and how they become arrays."""

import gzip
import inspect
import io
import pickle
import struct
import zipfile
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from PIL import Image
from test_regular_file import OTHERS

from bicoder.cli.main import bicoder
from bicoder.data.dataset import Dataset, Images
from bicoder.data.datasets import find_dataset
from bicoder.data.published import DROPBOX, MnistBW, MnistColor, Named
from bicoder.errors import DataError, UsageError

# What the task gives as the addresses: what varies in each.
ADDRESSES = {
    "mnist_bw.npy": ("fjye8km5530t9981ulrll", "ou7nt8t88wx1z38nodjjx6lch", "5swdpnbr"),
    "mnist_bw_te.npy": ("dj8vbkfpf5ey523z6ro43", "5msedqw3dhv0s8za976qlaoir", "nmu00cvk"),
    "mnist_bw_y_te.npy": ("8kmcsy9otcxg8dbi5cqd4", "atou1x07fnna5sgu6vrrgt9j1", "m05mfkwb"),
    "mnist_color.pkl": ("w7hjg8ucehnjfv1re5wzm", "ya9cpgr2chxt017c4lg52yqs9", "ev984mfc"),
    "mnist_color_te.pkl": ("w08xctj7iou6lqvdkdtzh", "xntuty30shu76kazwhb440abj", "u0hd2nym"),
    "mnist_color_y_te.npy": ("fkf20sjci5ojhuftc0ro0", "fshs83hd5pvo81ag3z209tf6v", "99z1o18q"),
}
IMAGES = np.arange(6 * 5 * 4, dtype="uint8").reshape(6, 5, 4)
LABELS = np.array([3, 1, 4, 1, 5, 9], "uint8")


def read(dset, fetch=None, say=print, **options):
    """What the data set that `dset` stands for gives."""
    dset = str(dset) if isinstance(dset, Path) else dset
    return find_dataset(dset)(dset, fetch=fetch, say=say, **options).read()


def from_folder(folder):
    """A `fetch` that takes everything out of a folder and asks nobody."""
    return lambda name, url, most=None: folder / name


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def zipped(content):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mnist_bw.npy", content)
        archive.writestr("__MACOSX/._mnist_bw.npy", b"resource fork")
    return stream.getvalue()


PACKS = {"bare": bytes, "zip": zipped, "gzip": gzip.compress}


# ---- Every member


def write_color(folder, count=4):
    """mnist_color, tiny, of random pixels."""
    for name in ("mnist_color.pkl", "mnist_color_te.pkl"):
        views = {f"m{i}": np.full((count, 28, 28, 3), i / 4, "float32") for i in range(5)}
        (folder / name).write_bytes(pickle.dumps(views))
    np.save(folder / "mnist_color_y_te.npy", np.arange(count))


def write_bw(folder, count=6, change=lambda images: images, pack=bytes):
    """mnist_bw, tiny; returns the images of both files."""
    both = np.random.default_rng(0).integers(0, 256, (2, count, 28, 28), "uint8")
    for name, images in zip(("mnist_bw.npy", "mnist_bw_te.npy"), both, strict=True):
        (folder / name).write_bytes(pack(npy(change(images))))
    np.save(folder / "mnist_bw_y_te.npy", np.arange(count, dtype="uint8"))
    return both


def write_folder(folder):
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        Image.fromarray(IMAGES[0]).save(folder / name / "1.png")


def write_pack(folder):
    np.save(folder.parent / "x.npy", IMAGES)
    assert bicoder(["pack", str(folder.parent / "x.npy"), "--output", str(folder), "--quiet"]) == 0


def example(name, folder):
    """Write a small data set of a kind into a folder; what --dset is for it."""
    path = folder / f"images.{name}"
    writers = {
        "digits": lambda: None,
        "mnist_bw": lambda: write_bw(folder),
        "mnist_color": lambda: write_color(folder),
        "folder": lambda: write_folder(path),
        "npy": lambda: path.write_bytes(npy(IMAGES)),
        "npz": lambda: np.savez(path, images=IMAGES),
        "idx": lambda: path.write_bytes(idx(IMAGES)),
        "given": lambda: None,
        "packed": lambda: write_pack(path),
    }
    writers[name]()
    return IMAGES if name == "given" else str(path) if path.exists() else name


@pytest.mark.parametrize("name", Dataset.members())
def test_every_member_reads_images(tmp_path, name):
    dset = example(name, tmp_path)
    assert find_dataset(dset) is Dataset.members()[name]
    found = read(dset, from_folder(tmp_path))
    assert isinstance(found, Images)
    assert len(found.train.shape) in (2, 3, 4)
    assert found.train.dtype.kind in "buif"
    assert found.train_labels is None or len(found.train_labels) == found.train.shape[0]
    assert found.test is None or found.test.shape[1:] == found.train.shape[1:]
    assert found.test_labels is None or len(found.test_labels) == len(found.test)


@pytest.mark.parametrize("member", Dataset.members().values())
def test_every_member_is_documented_and_has_defaults_that_train(member):
    assert inspect.getdoc(member) != inspect.getdoc(Dataset)
    assert member.epochs >= 1
    assert member.sigma == "learned" or member.sigma > 0
    assert isinstance(member.flatten, bool)


@pytest.mark.parametrize("dset", ["digits", "mnist_bw", "mnist_color", "nonsense", "no/such/path.npy"])
def test_at_most_one_member_accepts(dset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    accepting = [name for name, member in Dataset.members().items() if member.accepts(dset)]
    assert accepting == ([dset] if dset in Dataset.members() else [])


def test_the_root_and_what_is_abstract_are_no_members():
    assert {"dataset", "named"}.isdisjoint(Dataset.members())
    with pytest.raises(TypeError, match="abstract"):
        Named("x")


# ---- Choice


@pytest.mark.parametrize(
    ("dset", "meant"),
    [("mnist_bww", "mnist_bw"), ("minst_bw", "mnist_bw"), ("mnist_colour", "mnist_color"), ("digit", "digits")],
)
def test_a_name_that_is_nearly_right(dset, meant):
    with pytest.raises(UsageError, match=f"received '{dset}'; did you mean '{meant}'\\?$") as caught:
        find_dataset(dset)
    assert caught.value.exit_code == 2
    assert "expected digits, mnist_bw, mnist_color, or the path of" in str(caught.value)


def test_a_name_that_is_far_from_right():
    with pytest.raises(UsageError, match=r"received 'zzzzzz'$"):
        find_dataset("zzzzzz")


@pytest.mark.fault(125)
@pytest.mark.parametrize("kind", ["a FIFO", "a socket", "a device"])
def test_a_path_of_no_file_is_named(tmp_path, kind):
    path = tmp_path / "images.npy"
    OTHERS[kind](path)
    with pytest.raises(DataError, match=rf"dset: expected a folder, .*received '{path}': {kind}$"):
        find_dataset(path)


@pytest.mark.fault(46)
@pytest.mark.parametrize("dset", ["a/b", "./a", "images.npy", "C:\\images", "/no/such/folder", "a/" + "x" * 300])
def test_a_path_that_is_not_there(dset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="not there") as caught:
        find_dataset(dset)
    assert caught.value.exit_code == 3
    assert repr(dset) in str(caught.value)


def test_a_name_wins_over_a_folder_of_that_name(tmp_path, monkeypatch):
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_dataset("digits").part_name() == "digits"
    assert find_dataset("./digits").part_name() == "folder"


@pytest.mark.fault(31)
@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("images.npy", npy(IMAGES), "npy"),
        ("images", npy(IMAGES), "npy"),
        ("images.zip", zipped(npy(IMAGES)), "npy"),
        ("mnist.idx3.gz", gzip.compress(idx(IMAGES)), "idx"),
        ("train-images-idx3-ubyte.gz", gzip.compress(idx(IMAGES)), "idx"),
        ("images.dat", idx(IMAGES), "idx"),
        ("images.gz", gzip.compress(idx(IMAGES)), "npy"),
        ("idx.npy", npy(IMAGES), "idx"),
    ],
)
def test_an_array_file_is_read_whatever_it_is_called(tmp_path, name, content, kind):
    (tmp_path / name).write_bytes(content)
    assert find_dataset(str(tmp_path / name)).part_name() == kind
    np.testing.assert_array_equal(read(tmp_path / name).train, IMAGES)


@pytest.mark.fault(29, 31)
@pytest.mark.parametrize("content", [b"", b"<!doctype html>", b"hello", pickle.dumps({"m0": IMAGES}), b"\x89PNG\r\n"])
@pytest.mark.parametrize("name", ["a.npy", "a.pkl", "a.npz", "a-idx3-ubyte"])
def test_a_file_that_holds_no_array(tmp_path, content, name):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        read(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


# ---- mnist_bw and mnist_color


def fetched(dset, folder):
    """name -> address of everything that a data set asks for."""
    asked = {}

    def fetch(name, url, most=None):
        asked[name] = url
        return folder / name

    read(dset, fetch)
    return asked


@pytest.mark.parametrize(("dset", "write"), [("mnist_bw", write_bw), ("mnist_color", write_color)])
def test_the_addresses_are_those_of_the_publisher_and_ask_for_the_file(tmp_path, dset, write):
    write(tmp_path)
    asked = fetched(dset, tmp_path)
    assert set(asked) == {name for name in ADDRESSES if name.startswith(dset)}
    for name, url in asked.items():
        folder, key, st = ADDRESSES[name]
        assert urlsplit(url)[:3] == ("https", "www.dropbox.com", f"/scl/fi/{folder}/{name}")
        assert parse_qs(urlsplit(url).query) == {"rlkey": [key], "st": [st], "dl": ["1"]}


def test_an_address_is_one_line_of_safe_characters():
    for member in (MnistBW, MnistColor):
        assert member.shapes.keys() == member.files.keys(), "each has a largest size"
        for name, (folder, *keys) in member.files.items():
            assert DROPBOX.format(folder, name, *keys).isascii()
            assert "/" not in name


CHANGES = {
    "images": lambda images: images,
    "images with a channel": lambda images: images[..., None],
    "channels first": lambda images: images[:, None],
    "vectors": lambda images: images.reshape(len(images), 784),
    "F order": np.asfortranarray,
    "scaled": lambda images: (images / 255).astype("float32"),
    "float up to 255": lambda images: images.astype("float64"),
    "big-endian": lambda images: images.astype(">i4"),
}


@pytest.mark.fault(35, 37, 38)
@pytest.mark.parametrize("pack", PACKS)
@pytest.mark.parametrize("change", CHANGES)
def test_mnist_bw_is_the_same_however_it_was_saved(tmp_path, change, pack):
    from bicoder.data.loader import DataLoader

    train, test = write_bw(tmp_path, change=CHANGES[change], pack=PACKS[pack])
    loader = DataLoader("mnist_bw", data_dir=tmp_path, download=False)
    np.testing.assert_allclose(loader.training_images, train.reshape(-1, 784) / 255, rtol=1e-6)
    np.testing.assert_allclose(loader.test_images, test.reshape(-1, 784) / 255, rtol=1e-6)
    np.testing.assert_array_equal(loader.test_labels, np.arange(6))
    assert loader.training_labels is None
    assert loader.image_shape == (28, 28, 1)


@pytest.mark.fault(38)
@pytest.mark.parametrize("shape", [(), (784,), (6, 28, 27), (6, 783), (6, 28, 28, 3)])
@pytest.mark.parametrize("name", ["mnist_bw.npy", "mnist_bw_te.npy"])
def test_mnist_bw_of_another_shape(tmp_path, shape, name):
    write_bw(tmp_path)
    np.save(tmp_path / name, np.zeros(shape))
    with pytest.raises(DataError, match="mnist_bw: expected images of 784 pixels, received shapes"):
        read("mnist_bw", from_folder(tmp_path))


@pytest.mark.fault(39)
def test_mnist_bw_without_images(tmp_path):
    from bicoder.data.loader import DataLoader

    write_bw(tmp_path, count=0)
    with pytest.raises(DataError, match="at least one image"):
        DataLoader("mnist_bw", data_dir=tmp_path, download=False)


@pytest.mark.parametrize("view", ["m0", "m1", "m2", "m3", "m4"])
def test_mnist_color_gives_the_view_that_is_asked_for(tmp_path, view):
    write_color(tmp_path)
    found = read("mnist_color", from_folder(tmp_path), view=view)
    assert found.train.shape == found.test.shape == (4, 28, 28, 3)
    assert (found.train == int(view[1]) / 4).all()
    assert (found.test == int(view[1]) / 4).all()
    np.testing.assert_array_equal(found.test_labels, range(4))


@pytest.mark.parametrize("view", ["m5", "M0", "", None, 0])
def test_a_view_that_there_is_not_is_refused_before_anything_is_fetched(view):
    def fetch(name, url, most=None):
        raise AssertionError("nothing may be fetched")

    with pytest.raises(UsageError, match="view: expected one of m0, m1, m2, m3, m4, received"):
        read("mnist_color", fetch, view=view)


# ---- digits


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    found = read("digits")
    np.testing.assert_allclose(found.train * 16, load_digits().images)
    np.testing.assert_array_equal(found.train_labels, load_digits().target)
    assert found.train.shape == (1797, 8, 8)
    assert (found.train.min(), found.train.max()) == (0, 1)
    assert found.test is None


# ---- Folders of pictures


def test_a_folder_of_pictures(tmp_path):
    write_folder(tmp_path)
    found = read(tmp_path)
    np.testing.assert_array_equal(found.train, np.stack([IMAGES[0]] * 2)[..., None])
    np.testing.assert_array_equal(found.train_labels, [0, 1])
    assert found.label_names == ("cat", "dog")


def test_a_folder_is_scaled_to_the_size_that_is_asked_for_and_says_so_otherwise(tmp_path):
    write_folder(tmp_path)
    Image.new("L", (30, 20)).save(tmp_path / "cat" / "2.png")
    said = []
    assert read(tmp_path, say=said.append, image_size=(7, 9)).train.shape == (3, 7, 9, 1)
    assert not said
    assert read(tmp_path, say=said.append).train.shape == (3, 64, 64, 1)
    assert len(said) == 1


# ---- .npz


@pytest.mark.parametrize("key", ["x_train", "train_images", "images", "x", "X", "data", "arr_0", "anything"])
def test_npz_with_images_alone(tmp_path, key):
    np.savez(tmp_path / "a.npz", **{key: IMAGES})
    found = read(tmp_path / "a.npz")
    np.testing.assert_array_equal(found.train, IMAGES)
    assert found[1:] == Images(None)[1:]


@pytest.mark.parametrize(
    "keys",
    [
        ("x_train", "x_test", "y_train", "y_test"),
        ("train_images", "test_images", "train_labels", "test_labels"),
        ("images", "test_images", "labels", "test_labels"),
        ("x", "x_test", "y", "y_test"),
    ],
)
def test_npz_with_all_four(tmp_path, keys):
    arrays = (IMAGES, IMAGES[:2] + 1, LABELS, LABELS[:2] + 1)
    np.savez_compressed(tmp_path / "A.NPZ.npz", **dict(zip(keys, arrays, strict=True)))
    for found, expected in zip(read(tmp_path / "A.NPZ.npz")[:4], arrays, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.fault(176)
def test_npz_without_anything_that_could_be_images(tmp_path):
    np.savez(tmp_path / "a.npz", weights=IMAGES, biases=LABELS)
    with pytest.raises(DataError, match="expected an array called images, received weights, biases"):
        read(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz")
    with pytest.raises(DataError, match="received nothing"):
        read(tmp_path / "b.npz")


# ---- IDX


def write_idx(folder, names, pack=bytes):
    """Files of the original MNIST format, of which the name says what is in them."""
    for name in names:
        array = (LABELS if "labels" in name else IMAGES)[: 2 if name.startswith("t10k") else None]
        (folder / name).write_bytes(pack(idx(array)))


ORIGINAL = ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-labels-idx1-ubyte")


@pytest.mark.parametrize("dset", [".", "train-images-idx3-ubyte"])
@pytest.mark.parametrize("end", ["", ".gz"])
def test_idx_with_all_four(tmp_path, dset, end):
    write_idx(tmp_path, [name + end for name in ORIGINAL], gzip.compress if end else bytes)
    found = read(tmp_path / (dset + end if dset != "." else dset))
    for array, expected in zip(found[:4], (IMAGES, IMAGES[:2], LABELS, LABELS[:2]), strict=True):
        np.testing.assert_array_equal(array, expected)


def test_idx_takes_what_is_there(tmp_path):
    write_idx(tmp_path, ORIGINAL[:1])
    found = read(tmp_path)
    np.testing.assert_array_equal(found.train, IMAGES)
    assert found[1:] == Images(None)[1:]
    write_idx(tmp_path, [ORIGINAL[2] + ".gz"], gzip.compress)
    np.testing.assert_array_equal(read(tmp_path).train_labels, LABELS)


def test_idx_of_the_test_images_alone(tmp_path):
    write_idx(tmp_path, ORIGINAL)
    found = read(tmp_path / "t10k-images-idx3-ubyte")
    np.testing.assert_array_equal(found.train, IMAGES[:2])
    np.testing.assert_array_equal(found.train_labels, LABELS[:2])
    assert found.test is None
