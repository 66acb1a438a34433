"""Test images without the training images: neither read nor fetched, scaled as beside them."""

import gzip
import json
import os
import pickle
import struct

import numpy as np
import pytest

from bicoder.data.loader import DataLoader
from bicoder.data.stored.stored_images import StoredImages
from bicoder.errors import DataError, UsageError

pytestmark = pytest.mark.usefixtures("no_download_settings")


def images_of(rng, count, high=256):
    return rng.integers(0, high, (count, 28, 28), "uint8")


@pytest.fixture
def publisher(tmp_path, rng, serve):
    """A server that has mnist_bw, whose test images are darker, and mnist_color, both small; as `server`, folder."""
    folder = tmp_path / "published"
    folder.mkdir()
    np.save(folder / "mnist_bw.npy", images_of(rng, 30))
    np.save(folder / "mnist_bw_te.npy", images_of(rng, 8, 2))
    np.save(folder / "mnist_bw_y_te.npy", np.arange(8))
    for name, count in (("mnist_color", 30), ("mnist_color_te", 8)):
        views = {f"m{i}": rng.random((count, 28, 28, 3), "float32") for i in range(5)}
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(views, 4))
    np.save(folder / "mnist_color_y_te.npy", np.arange(8))
    return serve(folder)


def idx(path, array):
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(gzip.compress(head + array.tobytes()))


def assert_same_tests(alone, both):
    assert alone.scaling == both.scaling
    np.testing.assert_array_equal(alone.test_images, both.test_images)
    np.testing.assert_array_equal(alone.test_labels, both.test_labels)
    assert (alone.image_shape, alone.label_names) == (both.image_shape, both.label_names)


def assert_no_training(loader):
    for name in ("training_images", "training_labels", "training_data", "get_training_data"):
        with pytest.raises(UsageError, match=r"^training_\w+: not read, since this loader has only_test; make one"):
            getattr(loader, name)


@pytest.mark.parametrize("binarize", [None, "static", "dynamic"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dset", ["mnist_bw", "mnist_color"])
def test_the_training_images_are_not_fetched(tmp_path, publisher, dset, stream, binarize):
    options = {"mirror": publisher.url, "stream": stream, "binarize": binarize}
    both = DataLoader(dset, data_dir=tmp_path / "both", **options)
    publisher.requests.clear()
    alone = DataLoader(dset, data_dir=tmp_path / "alone", only_test=both.scaling, **options)
    ending = "npy" if dset == "mnist_bw" else "pkl"
    assert publisher.requests == [f"/{dset}_te.{ending}", f"/{dset}_y_te.npy"]
    assert_same_tests(alone, both)
    assert_no_training(alone)
    assert isinstance(alone.test_images, StoredImages) == (stream and dset == "mnist_color")


def test_a_dark_test_set_is_scaled_as_beside_the_training_images(tmp_path, publisher):
    """Bytes of 0 and 1 alone would be taken for images that are scaled already."""
    options = {"mirror": publisher.url, "data_dir": tmp_path / "cache"}
    both = DataLoader("mnist_bw", **options)
    assert both.scaling == (255, False)
    scaling = json.loads(json.dumps(both.scaling))
    assert scaling == [255, False]
    alone = DataLoader("mnist_bw", only_test=scaling, **options)
    assert set(np.unique(alone.test_images)) == {0, np.float32(1 / 255)}


def npz(path, rng):
    np.savez(path, x_train=images_of(rng, 30), x_test=images_of(rng, 8), y_train=np.arange(30), y_test=np.arange(8))


def break_member(path):
    """Flip a byte in the middle of the first array, so that its checksum is wrong: whoever reads it fails."""
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)


def test_arrays_of_an_npz_that_are_not_wanted_are_not_read(tmp_path, rng):
    path = tmp_path / "a.npz"
    npz(path, rng)
    both = DataLoader(path)
    break_member(path)
    with pytest.raises(DataError, match="damaged"):
        DataLoader(path)
    assert_same_tests(DataLoader(path, only_test=both.scaling), both)


def test_idx_files_that_are_not_wanted_are_not_read(tmp_path, rng):
    for name, array in (
        ("train-images-idx3-ubyte", images_of(rng, 30)),
        ("t10k-images-idx3-ubyte", images_of(rng, 8)),
        ("train-labels-idx1-ubyte", np.arange(30, dtype="uint8")),
        ("t10k-labels-idx1-ubyte", np.arange(8, dtype="uint8")),
    ):
        idx(tmp_path / f"{name}.gz", array)
    both = DataLoader(tmp_path)
    for name in ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"):
        (tmp_path / name).write_bytes(b"damaged")
    alone = DataLoader(tmp_path, only_test=both.scaling)
    assert_same_tests(alone, both)
    assert_no_training(alone)


@pytest.mark.parametrize("dset", ["digits", "own.npy", "own.npz"])
def test_images_that_are_held_out_are_read_with_the_others(tmp_path, rng, dset):
    """There, all is as without `only_test`."""
    array = rng.random((20, 4, 3)) * 255
    np.save(tmp_path / "own.npy", array)
    np.savez(tmp_path / "own.npz", images=array, labels=np.arange(20))
    dset = dset if dset == "digits" else tmp_path / dset
    options = {"seed": 1, "split_seed": 2, "validation": 0.2}
    both = DataLoader(dset, **options)
    alone = DataLoader(dset, only_test=both.scaling, **options)
    assert_same_tests(alone, both)
    np.testing.assert_array_equal(alone.training_images, both.training_images)
    np.testing.assert_array_equal(alone.validation_images, both.validation_images)


def test_validation_images_are_not_there_either(tmp_path, rng):
    npz(tmp_path / "a.npz", rng)
    loader = DataLoader(tmp_path / "a.npz", only_test=(255, False), validation=0.2)
    with pytest.raises(UsageError, match="validation_images: not read, since this loader has only_test"):
        _ = loader.validation_images
    assert DataLoader(tmp_path / "a.npz", only_test=(255, False)).validation_images is None


SETS = {  # training, test -> how the test images are scaled
    "words": (np.array([0, 65000], "u2"), np.array([0, 200], "u2"), (65535, False)),
    "words of ten bits": (np.array([0, 300], "u2"), np.array([0, 200], "u2"), (1023, False)),
    "words of twelve bits": (np.array([0, 4000], "u2"), np.array([0, 200], "u2"), (4095, False)),
    "bytes beside words": (np.array([0, 300], "u2"), np.array([0, 200], "u1"), (255, False)),
    "dark floats": (np.array([0, 200.0]), np.array([0, 1.0]), (255, False)),
    "binary": (np.array([0, 1], "u1"), np.array([0, 1], "u1"), (1, False)),
    "rounded": (np.array([0, 0.3]), np.array([-1e-4, 0.4]), (1, True)),
    "unit": (np.array([0, 0.3]), np.array([0.1, 0.4], "f4"), (1, False)),
}


@pytest.mark.parametrize("kind", SETS)
def test_every_scaling(tmp_path, kind):
    train, test, scaling = SETS[kind]
    pair = {name: np.tile(values, (6, 2)) for name, values in (("x_train", train), ("x_test", test))}
    np.savez(tmp_path / "a.npz", **pair)
    both = DataLoader(tmp_path / "a.npz")
    assert both.scaling == scaling
    assert_same_tests(DataLoader(tmp_path / "a.npz", only_test=list(scaling)), both)


@pytest.mark.fault(180)
def test_test_images_that_are_scaled_in_another_way_now(tmp_path, rng):
    npz(tmp_path / "a.npz", rng)
    for scaling, said in (((1, False), "divided by 1,"), ((65535, False), "divided by 65535,")):
        with pytest.raises(DataError, match=rf"a\.npz: test images: expected pixels to be {said}.*divided by 255"):
            DataLoader(tmp_path / "a.npz", only_test=scaling)


@pytest.mark.parametrize("value", [255, (255,), (2, False), ("255", False), (255, 0), "ab", {}, [None, None]])
def test_a_scaling_that_is_none(value):
    with pytest.raises(UsageError, match=r"^only_test: expected the scaling of an earlier loader, received "):
        DataLoader("digits", only_test=value)


def test_bad_test_images_are_found_without_the_others(tmp_path, rng):
    test = rng.random((8, 4, 3))
    test[3, 2, 1] = np.nan
    np.savez(tmp_path / "a.npz", x_train=rng.random((20, 4, 3)), x_test=test)
    with pytest.raises(DataError, match=r"test images: expected finite pixels, .* index \(3, 2, 1\)"):
        DataLoader(tmp_path / "a.npz", only_test=(1, False))


def test_a_file_that_nobody_can_read_is_not_opened(tmp_path, publisher):
    """The training file may be gone, or anything at all."""
    options = {"mirror": publisher.url, "data_dir": tmp_path / "cache"}
    both = DataLoader("mnist_bw", **options)
    os.replace(tmp_path / "cache" / "mnist_bw.npy", tmp_path / "elsewhere")
    (tmp_path / "cache" / "mnist_bw.npy").mkdir()
    assert_same_tests(DataLoader("mnist_bw", only_test=both.scaling, **options), both)
