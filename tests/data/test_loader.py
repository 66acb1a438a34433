"""DataLoader: what comes out of it is what a VAE can take."""

import gzip
import math
import pickle
import shutil
import struct

import numpy as np
import pytest
from PIL import Image

from bicoder.data.loader import DataLoader
from bicoder.errors import DataError, DownloadError, UsageError

VIEWS = ("m0", "m1", "m2", "m3", "m4")


def numbered(folder, count=1000, shape=(4, 4)):
    """A file of images of which each one's every pixel is its own number, divided by `count`."""
    np.save(folder / "numbered.npy", np.broadcast_to(np.arange(count)[:, None, None] / count, (count, *shape)))
    return folder / "numbered.npy"


def numbers_in(batches, count=1000):
    """The numbers of the images of `numbered`, in the order in which they come."""
    pixels = np.concatenate([batch.numpy().reshape(len(batch), -1) for batch in batches])
    assert (pixels == pixels[:, :1]).all()
    return np.round(pixels[:, 0] * count).astype(int).tolist()


# ---- mnist_bw, the real one


@pytest.fixture(scope="module")
def mnist(real_data):
    return DataLoader(dset="mnist_bw", data_dir=real_data, download=False)


@pytest.mark.parametrize(("split", "name"), [("training", "mnist_bw.npy"), ("test", "mnist_bw_te.npy")])
def test_mnist_bw_is_the_file_divided_by_255(mnist, real_data, split, name):
    images, pixels = getattr(mnist, f"{split}_images"), np.load(real_data / name)
    assert images.shape == ((60000, 784) if split == "training" else (10000, 784))
    assert images.dtype == np.float32
    assert (images.min(), images.max()) == (0, 1)
    np.testing.assert_array_equal(images, pixels.reshape(-1, 784) / np.float32(255))


def test_mnist_bw_has_the_labels_that_are_there(mnist, real_data):
    """Those of the training images have no publisher."""
    training_labels = real_data / "mnist_bw_y.npy"
    assert (mnist.training_labels is None) == (not training_labels.is_file())
    if training_labels.is_file():
        np.testing.assert_array_equal(mnist.training_labels, np.load(training_labels))
    np.testing.assert_array_equal(mnist.test_labels, np.load(real_data / "mnist_bw_y_te.npy"))
    assert mnist.test_labels.dtype == np.int64
    assert mnist.label_names == ()
    assert mnist.image_shape == (28, 28, 1)


def test_an_epoch_of_mnist_bw_is_the_whole_training_set(mnist):
    batches = list(mnist.get_training_data)
    assert [len(batch) for batch in batches] == [128] * 468 + [96]
    total = np.concatenate([batch.numpy() for batch in batches])
    np.testing.assert_allclose(total.sum(axis=0), mnist.training_images.sum(axis=0), rtol=1e-4)
    assert not np.array_equal(total[:100], mnist.training_images[:100])


def test_test_data_keep_their_order(mnist):
    np.testing.assert_array_equal(np.concatenate(list(mnist.test_data)), mnist.test_images)


# ---- Batches


def test_the_names_of_the_contract_are_properties_of_one_tf_dataset(mnist):
    import tensorflow as tf

    assert isinstance(DataLoader.get_training_data, property)
    assert isinstance(mnist.get_training_data, tf.data.Dataset)
    assert mnist.get_training_data is mnist.training_data
    assert mnist.get_training_data.element_spec == tf.TensorSpec((None, 784), tf.float32)
    assert mnist.test_data.element_spec == tf.TensorSpec((None, 784), tf.float32)
    assert mnist.get_training_data.cardinality() == 469


def test_every_image_comes_exactly_once_in_every_epoch_and_in_a_new_order(tmp_path):
    loader = DataLoader(str(numbered(tmp_path)), batch_size=64)
    expected = sorted(np.round(loader.training_images[:, 0, 0, 0] * 1000).astype(int).tolist())
    epochs = [numbers_in(loader.training_data) for _ in range(4)]
    assert len(set(expected)) == 800
    for epoch in epochs:
        assert sorted(epoch) == expected
        assert epoch != expected
    assert len({tuple(epoch) for epoch in epochs}) == 4


@pytest.mark.fault(45)
def test_the_shuffling_is_over_the_whole_set(tmp_path):
    order = numbers_in(DataLoader(str(numbered(tmp_path)), batch_size=100).training_data)
    assert abs(np.corrcoef(order, range(len(order)))[0, 1]) < 0.15
    assert max(order[:50]) - min(order[:50]) > 800


def orders(path, seed):
    """The split and the first three epochs of a fresh loader."""
    loader = DataLoader(str(path), batch_size=64, seed=seed)
    return [numbers_in(loader.test_data), *(numbers_in(loader.training_data) for _ in range(3))]


def test_the_orders_follow_the_seed(tmp_path):
    path = numbered(tmp_path)
    first = orders(path, 0)
    assert orders(path, 0) == first
    for mine, other in zip(first, orders(path, 1), strict=True):
        assert mine != other


@pytest.mark.fault(39)
@pytest.mark.parametrize(
    ("count", "batch_size", "sizes"),
    [(1000, 128, [128] * 6 + [32]), (1000, 800, [800]), (1000, 5000, [800]), (5, 1, [1] * 4), (2, 8, [1]), (1, 8, [1])],
)
def test_the_last_short_batch_is_kept(tmp_path, count, batch_size, sizes):
    loader = DataLoader(str(numbered(tmp_path, count)), batch_size=batch_size)
    for _ in range(2):
        assert [len(batch) for batch in loader.training_data] == sizes
    assert sum(len(batch) for batch in loader.test_data) == max(1, count // 5)


@pytest.mark.fault(39)
@pytest.mark.parametrize("count", [1, 13])
def test_a_model_trains_on_any_number_of_images(tmp_path, rng, count):
    """One image, fewer than a batch, and a number that is no multiple of it: every image counts once."""
    from bicoder import VAE

    np.save(tmp_path / "a.npy", rng.integers(0, 256, (count, 12), "uint8"))
    loader = DataLoader(tmp_path / "a.npy", batch_size=8)
    vae = VAE(seed=0, latent_dim=2)
    vae.compile("adam")
    history = vae.fit(loader.training_data, validation_data=loader.test_data, shuffle=False, verbose=0).history
    assert np.isfinite([history["loss"][0], history["val_loss"][0]]).all()
    assert vae.optimizer.iterations == math.ceil(max(1, count - max(1, round(0.2 * count))) / 8)
    assert vae.predict(loader.test_images, verbose=0).shape == loader.test_images.shape


@pytest.mark.parametrize("batch_size", [0, -1, 2.5, "8", None, True])
def test_a_batch_size_that_is_none(batch_size):
    with pytest.raises(UsageError, match="batch_size: expected a positive whole number, received") as caught:
        DataLoader("digits", batch_size=batch_size)
    assert caught.value.exit_code == 2


@pytest.mark.fault(35)
def test_pixels_are_float32_whatever_the_file_has(tmp_path):
    for dtype in ("uint8", "float64", ">f4", "bool", "uint16"):
        np.save(tmp_path / "a.npy", np.ones((10, 4, 4)).astype(dtype))
        [batch] = DataLoader(str(tmp_path / "a.npy")).training_data
        assert batch.dtype == "float32"
        assert batch.shape == (8, 4, 4, 1)


# ---- mnist_color


@pytest.fixture(scope="module")
def color_views(color_data):
    """Both dictionaries that the script beside the real images wrote."""
    return [pickle.loads((color_data / f"mnist_color{end}.pkl").read_bytes()) for end in ("", "_te")]


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_of_mnist_color(color_data, zipped_color_data, color_views, view):
    for folder in (color_data, zipped_color_data):
        loader = DataLoader("mnist_color", view=view, data_dir=folder, download=False)
        np.testing.assert_array_equal(loader.training_images, color_views[0][view])
        np.testing.assert_array_equal(loader.test_images, color_views[1][view])
        np.testing.assert_array_equal(loader.test_labels, np.load(color_data / "mnist_color_y_te.npy"))
        assert loader.training_images.shape == (1000, 28, 28, 3)
        assert loader.training_images.dtype == np.float32
        assert loader.image_shape == (28, 28, 3)
        assert loader.training_data.element_spec.shape.as_list() == [None, 28, 28, 3]


def test_the_views_differ_and_m0_is_the_one_by_default(color_data, color_views):
    loader = DataLoader("mnist_color", data_dir=color_data, download=False)
    np.testing.assert_array_equal(loader.training_images, color_views[0]["m0"])
    assert len({color_views[0][view].tobytes() for view in VIEWS}) == 5


def test_test_images_are_read_when_they_are_asked_for(color_data, color_views, tmp_path):
    """Who only trains needs no memory for them; and they are those that were checked, or none."""
    for path in color_data.iterdir():
        shutil.copy(path, tmp_path)
    loader = DataLoader("mnist_color", data_dir=tmp_path, download=False)
    next(iter(loader.training_data))
    assert "test_images" not in vars(loader)
    assert isinstance(loader.test_images, np.ndarray)
    np.testing.assert_array_equal(loader.test_images, color_views[1]["m0"])
    loader = DataLoader("mnist_color", data_dir=tmp_path, download=False)
    (tmp_path / "mnist_color_te.pkl").write_bytes(b"other")
    with pytest.raises(DataError, match=r"has changed|has been cut short"):
        _ = loader.test_images


def test_the_two_forms_of_mnist_color_are_what_they_claim(color_data, zipped_color_data):
    assert (color_data / "mnist_color.pkl").read_bytes()[:1] == b"\x80"
    assert (zipped_color_data / "mnist_color.pkl").read_bytes()[:2] == b"PK"


@pytest.mark.fault(45)
def test_sorted_digits_are_shuffled(color_data):
    loader = DataLoader("mnist_color", data_dir=color_data, download=False, batch_size=500)
    order = {image.tobytes(): i for i, image in enumerate(loader.training_images)}
    first = [order[image.tobytes()] for image in next(iter(loader.training_data)).numpy()]
    assert np.bincount(np.array(first) // 100, minlength=10).min() >= 25


def test_a_view_that_there_is_not(color_data):
    with pytest.raises(UsageError, match="view: expected one of m0, m1, m2, m3, m4, received 'm5'"):
        DataLoader("mnist_color", view="m5", data_dir=color_data, download=False)


@pytest.mark.fault(44)
def test_a_color_file_without_the_view_lists_its_keys(tmp_path, color_data, color_views):
    for name in ("mnist_color_te.pkl", "mnist_color_y_te.npy"):
        (tmp_path / name).symlink_to(color_data / name)
    (tmp_path / "mnist_color.pkl").write_bytes(pickle.dumps({"m0": color_views[0]["m0"], "x": 1}))
    with pytest.raises(DataError, match="under the key 'm3', received the keys m0, x"):
        DataLoader("mnist_color", view="m3", data_dir=tmp_path, download=False)


# ---- Vectors and images


def test_flatten(tmp_path, real_data, rng):
    np.save(tmp_path / "a.npy", rng.random((10, 4, 6, 3)))
    images, vectors = (DataLoader(str(tmp_path / "a.npy"), flatten=flatten) for flatten in (None, True))
    assert images.training_images.shape == (8, 4, 6, 3)
    assert vectors.training_images.shape == (8, 72)
    np.testing.assert_array_equal(vectors.training_images, images.training_images.reshape(8, 72))
    np.testing.assert_array_equal(vectors.test_images, images.test_images.reshape(2, 72))
    assert vectors.image_shape == images.image_shape == (4, 6, 3)
    assert vectors.training_data.element_spec.shape.as_list() == [None, 72]


def test_digits_are_vectors_unless_images_are_asked_for():
    assert DataLoader("digits").training_images.shape == (1438, 64)
    loader = DataLoader("digits", flatten=False)
    assert loader.training_images.shape == (1438, 8, 8, 1)
    assert loader.test_images.shape == (359, 8, 8, 1)


def test_vectors_of_no_known_shape(tmp_path, rng):
    np.save(tmp_path / "a.npy", rng.random((10, 72)))
    loader = DataLoader(str(tmp_path / "a.npy"))
    assert loader.training_images.shape == (8, 72)
    assert loader.image_shape is None


# ---- digits


def test_digits_are_split_into_two_parts_without_the_network(tmp_path):
    from sklearn.datasets import load_digits

    loader = DataLoader("digits", data_dir=tmp_path / "never", download=False)
    train, test = ({image.tobytes() for image in images} for images in (loader.training_images, loader.test_images))
    everything = {image.tobytes() for image in (load_digits().data / 16).astype("float32")}
    assert train.isdisjoint(test)
    assert train | test == everything
    assert not (tmp_path / "never").exists()


@pytest.mark.fault(45)
def test_digits_of_every_kind_are_in_both_parts():
    loader = DataLoader("digits")
    train, test = np.bincount(loader.training_labels), np.bincount(loader.test_labels)
    assert (train.sum(), test.sum()) == (1438, 359)
    assert (test / (train + test)).min() > 0.1
    assert (test / (train + test)).max() < 0.3


def test_labels_stay_with_their_images():
    from sklearn.datasets import load_digits

    digits = load_digits()
    label = {
        image.tobytes(): target
        for image, target in zip((digits.data / 16).astype("float32"), digits.target, strict=True)
    }
    loader = DataLoader("digits", seed=5)
    for images, labels in (
        (loader.training_images, loader.training_labels),
        (loader.test_images, loader.test_labels),
    ):
        assert [label[image.tobytes()] for image in images] == labels.tolist()


# ---- A user's own


def test_a_folder_of_pictures_with_labels(tmp_path):
    for i in range(10):
        path = tmp_path / ("dark" if i < 5 else "light") / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (6, 4), (i * 20,) * 3).save(path)
    loader = DataLoader(str(tmp_path))
    assert loader.image_shape == (4, 6, 3)
    assert loader.label_names == ("dark", "light")
    for images, labels in (
        (loader.training_images, loader.training_labels),
        (loader.test_images, loader.test_labels),
    ):
        np.testing.assert_array_equal(labels, images[:, 0, 0, 0] > 90 / 255)
    assert DataLoader(tmp_path, image_size=(2, 3)).image_shape == (2, 3, 3)


def test_idx_with_its_own_test_images(tmp_path, rng):
    for name, array in (
        ("train-images-idx3-ubyte", rng.integers(0, 256, (7, 5, 4), "uint8")),
        ("t10k-images-idx3-ubyte", rng.integers(0, 256, (3, 5, 4), "uint8")),
        ("train-labels-idx1-ubyte", np.arange(7, dtype="uint8")),
        ("t10k-labels-idx1-ubyte", np.arange(3, dtype="uint8")),
    ):
        head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(head + array.tobytes()))
    loader = DataLoader(str(tmp_path))
    assert loader.training_images.shape == (7, 5, 4, 1)
    assert loader.test_images.shape == (3, 5, 4, 1)
    assert loader.training_labels.tolist() == list(range(7))
    assert loader.test_labels.tolist() == list(range(3))


@pytest.mark.fault(37)
def test_what_was_decided_is_said_on_standard_error(tmp_path, capsys):
    np.save(tmp_path / "a.npy", np.full((10, 4, 4), 200.0))
    DataLoader(str(tmp_path / "a.npy"))
    out, err = capsys.readouterr()
    assert out == ""
    assert "values up to 200 are taken as 0 to 255" in err


# ---- Bad data


@pytest.mark.fault(36)
@pytest.mark.parametrize("place", ["images", "test_images"])
def test_a_pixel_that_is_no_number(tmp_path, rng, place):
    arrays = {"images": rng.random((10, 4, 4)), "test_images": rng.random((10, 4, 4))}
    arrays[place][7, 2, 1] = np.nan
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=r"received 1 that are NaN or infinite, the first at index \(7, 2, 1\)"):
        DataLoader(str(tmp_path / "a.npz"))


@pytest.mark.fault(34, 37, 38, 39, 40)
@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"images": np.zeros((10, 4, 4)), "labels": np.zeros(9)}, "expected 10 labels"),
        ({"images": np.zeros((10, 4, 4)), "labels": np.eye(10)}, r"received shape \(10, 10\)"),
        ({"images": np.zeros((10, 4, 4)), "test_images": np.zeros((2, 4, 5))}, "expected test images of shape"),
        ({"images": np.zeros((10, 4, 4)), "test_images": np.zeros((0, 4, 4))}, "test images: expected at least one"),
        ({"images": np.zeros((10, 4, 4)), "test_images": np.zeros((2, 4, 4)), "y_test": [1]}, "expected 2 labels"),
        ({"images": np.zeros((0, 4, 4))}, "at least one image"),
        ({"images": np.zeros((10, 2, 4, 4))}, "the channels on the last axis, .* save numpy.moveaxis"),
        ({"images": np.full((10, 4, 4), -1.0)}, "received values from -1 to -1"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path, arrays, said):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=said) as caught:
        DataLoader(str(tmp_path / "a.npz"))
    assert str(tmp_path / "a.npz") in str(caught.value)


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(DataError, match="downloading is switched off") as caught:
        DataLoader("mnist_bw", data_dir=tmp_path, download=False)
    assert str(tmp_path / "mnist_bw.npy") in str(caught.value)


def test_files_come_from_a_mirror_once(tmp_path, color_data, serve):
    server = serve(color_data)
    for _ in range(2):
        loader = DataLoader("mnist_color", data_dir=tmp_path, mirror=server.url)
        assert loader.training_images.shape == (1000, 28, 28, 3)
    assert server.requests == ["/mnist_color.pkl", "/mnist_color_te.pkl", "/mnist_color_y_te.npy"]


def test_a_mirror_without_the_files(tmp_path, serve):
    server = serve(tmp_path)
    with pytest.raises(DownloadError, match=r"/mnist_bw\.npy: ") as caught:
        DataLoader("mnist_bw", data_dir=tmp_path / "cache", mirror=server.url)
    assert caught.value.exit_code == 4


def test_binarize_static_is_drawn_once_and_dynamic_anew(tmp_path):
    np.save(tmp_path / "x.npy", np.full((400, 5, 4), 0.3, "float32"))
    path = tmp_path / "x.npy"
    static, dynamic = (DataLoader(path, 64, binarize=kind) for kind in ("static", "dynamic"))
    for loader in (static, dynamic):
        assert set(np.unique(loader.test_images)) == {0.0, 1.0}
        assert loader.test_images.mean() == pytest.approx(0.3, abs=0.05)
        np.testing.assert_array_equal(loader.test_images, static.test_images)
    epochs = [
        [np.concatenate([np.asarray(b) for b in loader.training_data]) for _ in range(2)]
        for loader in (static, dynamic)
    ]
    for first, second in epochs:
        assert set(np.unique(first)) == {0.0, 1.0}
        assert first.mean() == pytest.approx(0.3, abs=0.02)
        assert len(first) == len(second) == 320
    (static_sums, again), (dynamic_sums, other) = ([sorted(e.sum(axis=(1, 2, 3))) for e in pair] for pair in epochs)
    assert static_sums == again
    assert dynamic_sums != other


def test_binarize_something_else():
    with pytest.raises(UsageError, match="binarize: expected static or dynamic"):
        DataLoader("digits", binarize="maybe")


@pytest.mark.fault(37)
def test_training_and_test_images_are_scaled_in_the_same_way(tmp_path):
    """A test set that happens to hold no value above 1 is not taken for one that is scaled already."""
    train = np.arange(20 * 16, dtype="int64").reshape(20, 4, 4) % 256
    np.savez(tmp_path / "x.npz", x_train=train, x_test=train[:2] % 2)
    loader = DataLoader(tmp_path / "x.npz")
    np.testing.assert_allclose(loader.test_images[..., 0], (train[:2] % 2) / 255)
    np.testing.assert_allclose(loader.training_images[..., 0], train / 255)


def test_binary_images_in_bytes_stay_binary(tmp_path):
    np.save(tmp_path / "x.npy", (np.arange(160).reshape(10, 4, 4) % 2).astype("uint8"))
    assert set(np.unique(DataLoader(tmp_path / "x.npy").training_images)) == {0.0, 1.0}


def test_an_empty_name_is_no_folder():
    with pytest.raises(UsageError, match="expected a name or a path"):
        DataLoader("")


@pytest.mark.parametrize(
    "arguments", [{"dset": None}, {"dset": ["a"]}, {"dset": ("a", "b")}, {"dset": "digits", "seed": -1}]
)
def test_wrong_types_are_usage_errors(arguments):
    with pytest.raises(UsageError, match="expected"):
        DataLoader(**arguments)


def test_image_size_may_be_one_number(tmp_path):
    for i in range(3):
        Image.new("L", (9, 7)).save(tmp_path / f"{i}.png")
    assert DataLoader(tmp_path, image_size=16).image_shape == (16, 16, 1)


@pytest.mark.fault(137)
def test_one_image_is_for_everything_and_that_is_said(capsys):
    loader = DataLoader(np.full((1, 4, 3), 0.5, "float32"))
    assert len(loader.training_images) == len(loader.test_images) == 1
    assert "its one image is for training and for testing" in capsys.readouterr().err
