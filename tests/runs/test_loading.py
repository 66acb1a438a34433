"""What the `DataLoader` makes of arrays as they come: types, orders, layouts, ranges, labels, and files that change."""

import gzip
import io
import os
import pickle
import struct
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from scipy import stats

from bicoder.data.loader import DataLoader
from bicoder.errors import DataError

GREY = np.random.default_rng(0).permutation(np.arange(240)).reshape(10, 6, 4)  # all different, 0 to 239
COLOUR = np.stack([GREY, GREY[:, ::-1], 255 - GREY], axis=-1)


def all_images(loader):
    """Training and test images in the order of their first pixel."""
    images = np.concatenate([loader.training_images, loader.test_images])
    return images[np.argsort(images.reshape(len(images), -1)[:, 0])]


def in_order(images):
    return images[np.argsort(images.reshape(len(images), -1)[:, 0])]


def npy(array, pack=bytes):
    stream = io.BytesIO()
    np.save(stream, array)
    return pack(stream.getvalue())


def idx(array):
    codes = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}
    code = codes[array.dtype.str[1:]]
    head = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


# ---- Types and orders


@pytest.mark.fault(35)
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(
    "dtype", ["u1", "i2", ">i2", "u2", ">u2", "i4", ">i8", "u8", "f2", ">f2", "f4", ">f4", "f8", ">f8", "g"]
)
def test_every_type_and_order_gives_the_same_pixels(tmp_path, dtype, order):
    array = np.asarray(GREY.astype(dtype), order=order)
    expected = in_order(GREY)[..., None] / np.float32(255)
    np.save(tmp_path / "a.npy", array)
    np.savez_compressed(tmp_path / "a.npz", x=array)
    (tmp_path / "a.gz").write_bytes(npy(array, gzip.compress))
    for name in ("a.npy", "a.npz", "a.gz"):
        loader = DataLoader(tmp_path / name)
        assert loader.training_images.dtype == loader.test_images.dtype == np.dtype("float32")
        assert loader.training_images.flags.c_contiguous
        np.testing.assert_allclose(all_images(loader), expected, rtol=1e-6)


@pytest.mark.fault(35)
@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "f4", "f8"])
def test_every_type_of_idx_gives_the_same_pixels(tmp_path, dtype):
    (tmp_path / "a-idx3").write_bytes(idx(GREY.astype(dtype)))
    np.testing.assert_allclose(
        all_images(DataLoader(tmp_path / "a-idx3")), in_order(GREY)[..., None] / np.float32(255), rtol=1e-6
    )


@pytest.mark.fault(35)
@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("dtype", ["u1", ">i2", "f4", ">f8"])
def test_every_type_of_a_pickle_gives_the_same_pixels(tmp_path, dtype, protocol):
    for end in ("", "_te"):
        views = {f"m{i}": np.asfortranarray(COLOUR[: 10 - len(end)].astype(dtype)) for i in range(5)}
        (tmp_path / f"mnist_color{end}.pkl").write_bytes(pickle.dumps(views, protocol))
    np.save(tmp_path / "mnist_color_y_te.npy", np.arange(7))
    loader = DataLoader("mnist_color", data_dir=tmp_path, download=False)
    np.testing.assert_allclose(loader.training_images, COLOUR / np.float32(255), rtol=1e-6)
    np.testing.assert_allclose(loader.test_images, COLOUR[:7] / np.float32(255), rtol=1e-6)


@pytest.mark.fault(35)
def test_booleans_are_black_and_white(tmp_path):
    np.save(tmp_path / "a.npy", GREY > 100)
    np.testing.assert_array_equal(np.unique(all_images(DataLoader(tmp_path / "a.npy"))), [0, 1])


@pytest.mark.fault(35)
@pytest.mark.parametrize("dtype", ["c8", "U3", "S3", "M8[s]", "V4", object, [("a", "f4")]])
def test_a_type_that_is_no_number(tmp_path, dtype):
    np.save(tmp_path / "a.npy", np.zeros((10, 6, 4), dtype))
    with pytest.raises(DataError, match="expected an array of numbers, received dtype"):
        DataLoader(tmp_path / "a.npy")


# ---- Pixels that are no numbers


@pytest.mark.fault(36)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("form", ["npy", "F order", "npz", "idx", "pickle"])
def test_pixels_that_are_not_finite_in_every_form(tmp_path, form, value):
    array = (COLOUR / 255).astype("float32")
    array[7, 2, 1, 0] = array[7, 2, 1, 2] = array[9] = value
    dset, options = tmp_path / f"a.{form}", {}
    if form == "npz":
        np.savez(dset, x_train=COLOUR / 255, x_test=array)
    elif form == "idx":
        dset.write_bytes(idx(array))
    elif form == "pickle":
        for end in ("", "_te"):
            (tmp_path / f"mnist_color{end}.pkl").write_bytes(pickle.dumps({"m0": array}))
        np.save(tmp_path / "mnist_color_y_te.npy", np.arange(10))
        dset, options = "mnist_color", {"data_dir": tmp_path, "download": False}
    else:
        dset.write_bytes(npy(np.asfortranarray(array) if form == "F order" else array))
    with pytest.raises(DataError, match=r"received 74 that are NaN or infinite, the first at index \(7, 2, 1, 0\)"):
        DataLoader(dset, **options)


# ---- Ranges


@pytest.mark.fault(37)
@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((5, 4, 4), "uint8"), "every pixel of every image is 0; there is nothing to learn from them."),
        (np.ones((5, 4, 4)), "every pixel of every image is 1; there is nothing to learn from them."),
        (GREY.astype("float32"), "values up to 239 are taken as 0 to 255 and divided by 255."),
        (GREY.astype("int16"), "values up to 239 are taken as 0 to 255 and divided by 255."),
    ],
)
def test_what_is_done_about_a_range_is_said(tmp_path, capsys, array, said):
    np.save(tmp_path / "a.npy", array)
    loader = DataLoader(tmp_path / "a.npy")
    assert loader.training_images.min() >= 0
    assert loader.training_images.max() <= 1
    assert capsys.readouterr().err == f"{tmp_path / 'a.npy'}: {said}\n"


@pytest.mark.fault(37)
@pytest.mark.parametrize(
    ("array", "said"),
    [
        (GREY / 120 - 1, r"received values from -1 to 0\.99\d*; \(x \+ 1\) / 2 brings them there"),
        (GREY - 100.0, "received values from -100 to 139; rescale them"),
        (GREY * 2.0, "received values from 0 to 478; rescale them"),
        ((GREY * 100).astype("int32"), "received values from 0 to 23900; rescale them"),
    ],
)
def test_a_range_that_nothing_can_be_made_of(tmp_path, array, said):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(DataError, match=rf"expected pixels in \[0, 1\] or \[0, 255\], {said}"):
        DataLoader(tmp_path / "a.npy")


@pytest.mark.fault(37)
@pytest.mark.parametrize("scaled", ["x_train", "x_test"])
def test_training_and_test_images_on_two_scales(tmp_path, scaled):
    arrays = {"x_train": GREY.astype("float32"), "x_test": GREY.astype("uint8")}
    np.savez(tmp_path / "a.npz", **(arrays | {scaled: GREY / 255}))
    with pytest.raises(DataError, match="expected all images on one scale"):
        DataLoader(tmp_path / "a.npz")


# ---- Layouts


@pytest.mark.fault(38)
@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (GREY, GREY[..., None]),
        (GREY[..., None], GREY[..., None]),
        (GREY[:, None], GREY[..., None]),
        (COLOUR, COLOUR),
        (np.moveaxis(COLOUR, -1, 1), COLOUR),
        (np.ascontiguousarray(np.moveaxis(COLOUR, -1, 1)), COLOUR),
        (GREY.reshape(10, 24), GREY.reshape(10, 24)),
    ],
    ids=["NHW", "NHW1", "N1HW", "NHW3", "N3HW, a view", "N3HW", "ND"],
)
@pytest.mark.parametrize("form", ["npy", "npz", "idx"])
def test_every_layout_gives_the_same_pixels(tmp_path, array, expected, form):
    path, array = tmp_path / f"a.{form}", array.astype("uint8")
    if form == "npz":
        np.savez(path, x=array)
    else:
        path.write_bytes(npy(array) if form == "npy" else idx(array))
    loader = DataLoader(path)
    np.testing.assert_array_equal(all_images(loader), in_order(expected).astype("uint8") / np.float32(255))
    assert loader.image_shape == (expected.shape[1:] if expected.ndim == 4 else None)


@pytest.mark.fault(38)
@pytest.mark.parametrize("shape", [(), (10,), (10, 2, 6, 4), (2, 5, 6, 4, 1)])
def test_a_layout_that_holds_no_images(tmp_path, shape):
    np.save(tmp_path / "a.npy", np.resize(GREY, shape).astype("uint8"))
    with pytest.raises(DataError, match=rf"received shape \({', '.join(map(str, shape))}"):
        DataLoader(tmp_path / "a.npy")


# ---- Labels


@pytest.mark.fault(40)
def test_images_without_labels_have_none(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=GREY, x_test=GREY[:2])
    loader = DataLoader(tmp_path / "a.npz")
    assert loader.training_labels is None
    assert loader.test_labels is None


def digits_on_disk(folder, labels, train=GREY, test=GREY[::2]):
    """mnist_bw of a few images, of which each is one of ours four times over."""
    for name, images in (("mnist_bw.npy", train), ("mnist_bw_te.npy", test)):
        np.save(folder / name, np.resize(images, (len(images), 784)).astype("uint8") + images[:, 0, :1].astype("uint8"))
    np.save(folder / "mnist_bw_y_te.npy", labels)
    return {"dset": "mnist_bw", "data_dir": folder, "download": False}


@pytest.mark.fault(40)
@pytest.mark.parametrize("labels", [[0, 9, 5, 3, 3], np.array([0, 9, 5, 3, 3], ">f4"), [[0], [9], [5], [3], [3]]])
def test_labels_of_digits(tmp_path, labels):
    assert DataLoader(**digits_on_disk(tmp_path, labels)).test_labels.tolist() == [0, 9, 5, 3, 3]


@pytest.mark.fault(40)
@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([0, 1, 2, 3], "expected 5 labels"),
        (np.eye(10)[:5], "if they are one-hot"),
        ([0, 1, 10, 3, 4], "from 0 to 9, received 10 at index 2"),
        ([0, -1, 2, 3, 4], "from 0 to 9, received -1 at index 1"),
        ([0, 1, 2, 3, 4.5], r"from 0 to 9, received 4\.5 at index 4"),
        ([np.nan, 1, 2, 3, 4], "from 0 to 9, received nan at index 0"),
        ([], "expected 5 labels"),
    ],
)
def test_labels_that_are_none_of_the_digits(tmp_path, labels, said):
    with pytest.raises(DataError, match=rf"mnist_bw: test images: labels: .*{said}"):
        DataLoader(**digits_on_disk(tmp_path, labels))


# ---- Test images among the training images


@pytest.mark.fault(41)
def test_the_same_images_to_train_and_to_test(tmp_path, capsys):
    np.savez(tmp_path / "a.npz", x_train=GREY.astype("uint8"), x_test=np.asfortranarray(GREY[::-1] / np.float32(1)))
    DataLoader(tmp_path / "a.npz")
    assert "10 of 10 test images are training images too; that flatters their numbers." in capsys.readouterr().err


@pytest.mark.fault(41)
def test_training_and_test_files_that_are_swapped(tmp_path, capsys):
    DataLoader(**digits_on_disk(tmp_path, np.arange(8), GREY[8:], GREY[:8]))
    assert "mnist_bw: more test images, 8, than training images, 2; are they swapped?" in capsys.readouterr().err


@pytest.mark.fault(41)
def test_nothing_is_said_of_the_real_images(real_data, capsys):
    DataLoader("mnist_bw", data_dir=real_data, download=False)
    assert capsys.readouterr() == ("", "")


# ---- Sorted data


@pytest.mark.fault(45)
@pytest.mark.parametrize("seed", range(5))
def test_images_sorted_by_class_are_held_out_from_every_class(tmp_path, seed):
    labels = np.repeat(np.arange(10), 200)
    images = np.random.default_rng(1).integers(0, 20, (2000, 4, 4)) + 20 * labels[:, None, None]
    np.savez(tmp_path / "a.npz", images=images.astype("uint8"), labels=labels)
    loader = DataLoader(tmp_path / "a.npz", seed=seed)
    counts = np.bincount(loader.test_labels, minlength=10)
    assert counts.sum() == 400
    # Without replacement, the sum is (N - 1) / (N - n) times that of independent draws.
    assert ((counts - 40) ** 2 / 40).sum() * 1999 / 1600 < stats.chi2.ppf(1 - 1e-6, 9)
    for images, labels in (
        (loader.training_images, loader.training_labels),
        (loader.test_images, loader.test_labels),
    ):
        np.testing.assert_array_equal(np.round(images[:, 0, 0, 0] * 255) // 20, labels)


# ---- Files that change


def change(path, how):
    """Do to a file what another program may do to it."""
    if how == "deleted":
        path.unlink()
    elif how == "replaced":
        other = path.with_name("other")
        other.write_bytes(bytes(path.stat().st_size))
        os.replace(other, path)
    elif how == "overwritten":
        with open(path, "r+b") as file:
            file.write(bytes(path.stat().st_size))
    else:
        os.truncate(path, 0)


@pytest.mark.fault(47)
@pytest.mark.parametrize("how", ["deleted", "replaced", "overwritten", "truncated"])
@pytest.mark.parametrize("form", ["npy", "npz", "idx", "pickle"])
def test_a_file_may_change_once_it_was_read(tmp_path, form, how):
    """All images are in memory when the `DataLoader` is there; no array is a map of a file."""
    dset, options = tmp_path / f"a.{form}", {}
    if form == "npz":
        np.savez(dset, images=COLOUR.astype("float32") / 255)
    elif form == "idx":
        dset.write_bytes(idx(COLOUR.astype("uint8")))
    elif form == "pickle":
        large = np.resize(COLOUR, (3000, 6, 4, 3)).astype("float32") / 255  # so large that it is skipped and sought
        for end in ("", "_te"):
            (tmp_path / f"mnist_color{end}.pkl").write_bytes(pickle.dumps({"m0": large[::-1], "m1": large}, 4))
        np.save(tmp_path / "mnist_color_y_te.npy", np.arange(3000) % 10)
        dset, options = "mnist_color", {"view": "m1", "data_dir": tmp_path, "download": False}
    else:
        np.save(dset, COLOUR.astype("float32") / 255)
    loader = DataLoader(dset, **options)
    arrays = [loader.training_images, loader.test_images]
    before = [array.copy() for array in arrays]
    for path in list(tmp_path.iterdir()):
        change(path, how)
    for array, expected in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, expected)
        while array is not None:
            assert not isinstance(array, np.memmap)
            array = getattr(array, "base", None)


# ---- Memory


SCRIPT = """
import resource, sys
from bicoder.data.loader import DataLoader
from bicoder.errors import DataError
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**29,) * 2)
try:
    DataLoader(sys.argv[1])
except DataError as error:
    print(error)
"""


@pytest.mark.parametrize("size", [2**28, 2**34])
def test_images_that_memory_does_not_hold(tmp_path, size):
    """Bytes that fit and become floats that do not, and bytes that do not; the file has holes and takes no room."""
    path = tmp_path / "a.npy"
    with open(path, "wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (size // 2**12, 64, 64)}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + size)
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", SCRIPT, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=True)
    assert done.stdout == f"{path}: takes more memory than there is; use --stream, fewer or smaller images\n"
