"""Other images, treated as a run treated its own."""

import tracemalloc

import numpy as np
import pytest
from PIL import Image

from bicoder.data.likewise import Treatment, images_like
from bicoder.data.loader import DataLoader
from bicoder.data.pixels import Scaling
from bicoder.errors import DataError, UsageError

BYTES, UNIT = Scaling(255, False), Scaling(1, False)


def pictures(folder, rng, count=20, shape=(9, 8, 3)):
    for i in range(count):
        (folder / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, shape, "uint8")).save(folder / "ab"[i % 2] / f"{i:02d}.png")
    return folder


def how(shape, image_shape=None, scaling=BYTES, **more):
    return Treatment(shape, image_shape or shape, scaling, **more)


def together(found):
    """All images, labels and names."""
    images = np.concatenate(list(found.portions))
    assert len(images) == found.total
    return images, found.labels, found.names


@pytest.mark.parametrize("size", [None, 6])
def test_images_of_a_folder_are_those_of_the_loader(tmp_path, rng, monkeypatch, size):
    """In portions of a few rows."""
    loader = DataLoader(pictures(tmp_path / "set", rng), image_size=size)
    monkeypatch.setattr("bicoder.engine.arrays.portions.BYTES", 700)
    found = images_like(tmp_path / "set", how(loader.image_shape, scaling=loader.scaling, image_size=size and (6, 6)))
    assert found.label_names == ("a", "b")
    images, labels, names = together(found)
    places = [names.tolist().index(name) for name in loader.test_files]
    np.testing.assert_array_equal(images[places], loader.test_images)
    np.testing.assert_array_equal(labels[places], loader.test_labels)
    assert len(names) == 20


@pytest.mark.fault(107)
def test_images_of_another_size_fit_if_the_run_scaled_its_own(tmp_path, rng):
    pictures(tmp_path / "set", rng)
    pictures(tmp_path / "set", rng, 3, (20, 30, 3))
    images, _, _ = together(images_like(str(tmp_path / "set"), how((144,), (8, 6, 3), image_size=(8, 6))))
    expected = DataLoader(tmp_path / "set", image_size=(8, 6))
    expected = np.concatenate([expected.training_images, expected.test_images]).reshape(-1, 144)
    np.testing.assert_array_equal(np.sort(images.sum(1)), np.sort(expected.sum(1)))
    with pytest.raises(DataError, match="expected images of 9x8 pixels, as the run had, received 20x30"):
        together(images_like(tmp_path / "set", how((9, 8, 3))))
    with pytest.raises(DataError, match="expected grey images, as the run had, received 20 of 20 images in colour"):
        together(images_like(tmp_path / "set", how((8, 6, 1), image_size=(8, 6))))


def test_one_image(tmp_path, rng):
    found = images_like(next(pictures(tmp_path, rng).rglob("*.png")), how((9, 8, 3)))
    images, labels, names = together(found)
    assert images.shape == (1, 9, 8, 3)
    assert labels is None
    assert names.tolist()[0].endswith(".png")


@pytest.mark.fault(109)
def test_damaged_files_are_all_listed(tmp_path, rng):
    folder = pictures(tmp_path / "set", rng)
    (folder / "a" / "04.png").write_bytes(b"")
    (folder / "b" / "05.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"2 of 20 images are damaged: a/04.png, b/05.png; .* or mend or remove them"):
        together(images_like(folder, how((9, 8, 3))))


@pytest.mark.parametrize("kind", ["npy", "npz", "array", "pair"])
def test_arrays(tmp_path, rng, monkeypatch, kind):
    monkeypatch.setattr("bicoder.engine.arrays.portions.BYTES", 100)
    array, labels = rng.integers(0, 256, (30, 4, 3), "uint8"), np.arange(30)
    np.save(tmp_path / "x.npy", array)
    np.savez(tmp_path / "x.npz", images=array, labels=labels)
    source = {"npy": tmp_path / "x.npy", "npz": tmp_path / "x.npz", "array": array, "pair": (array, labels)}[kind]
    images, found, _ = together(images_like(source, how((4, 3, 1))))
    np.testing.assert_array_equal(images[..., 0], array / np.float32(255))
    assert (found is None) == (kind in ("npy", "array"))


@pytest.mark.parametrize(
    ("array", "scaling", "said"),
    [
        (np.zeros((3, 5, 3)), UNIT, r"expected images of shape \(4, 3, 1\), as the run had, received \(5, 3\)"),
        (np.zeros((3, 4, 3, 3)), UNIT, r"expected images of shape \(4, 3, 1\)"),
        (np.full((3, 4, 3), 200, "uint8"), UNIT, "expected pixels from 0 to 1, .* from 200 to 200 in rows 0 to 2"),
        (np.full((3, 4, 3), -0.1), UNIT, "expected pixels from 0 to 1"),
        (np.full((3, 4, 3), np.nan), UNIT, "expected finite pixels"),
        (np.full((3, 4, 3), 0.5), BYTES, "expected pixels from 0 to 255, as the run had, received none above 1"),
        (np.full((3, 4, 3), "a"), UNIT, "expected numbers"),
    ],
)
def test_arrays_that_do_not_fit(array, scaling, said):
    with pytest.raises(DataError, match=said):
        together(images_like(array, how((4, 3, 1), scaling=scaling)))


def test_files_for_a_run_of_vectors_and_deep_ones_for_bytes(tmp_path, rng):
    folder = pictures(tmp_path / "set", rng)
    with pytest.raises(DataError, match="expected an array, since the run had vectors"):
        images_like(folder, Treatment((48,), None, UNIT))
    Image.fromarray(np.full((9, 8), 4000, "uint16")).save(folder / "a" / "04.png")
    with pytest.raises(DataError, match="expected images of eight bits, as the run had, received some of 16"):
        together(images_like(folder, how((9, 8, 3))))
    with pytest.raises(UsageError, match="images: expected a folder, a file or an array, received the data set digits"):
        images_like("digits", how((9, 8, 3)))


def test_twelve_bits_for_a_run_of_twelve_bits(tmp_path, rng):
    levels = rng.integers(0, 4096, (6, 9, 8)).astype("uint16")
    (tmp_path / "set").mkdir()
    for i, image in enumerate(levels):
        Image.fromarray(image).save(tmp_path / "set" / f"{i}.png")
    loader = DataLoader(tmp_path / "set")
    images, _, _ = together(images_like(tmp_path / "set", how((9, 8, 1), scaling=loader.scaling)))
    np.testing.assert_array_equal(images[..., 0], levels / np.float32(4095))


@pytest.mark.fault(107)
@pytest.mark.parametrize("shape", [(20, 6, 5), (20, 6, 5, 1), (20, 30)])
def test_arrays_of_every_shape_become_the_runs(tmp_path, rng, shape):
    pixels = rng.integers(256, size=shape).astype("uint8")
    np.save(tmp_path / "x.npy", pixels)
    for treatment in (how((6, 5, 1)), how((30,), (6, 5, 1))):
        images, _, _ = together(images_like(tmp_path / "x.npy", treatment))
        np.testing.assert_array_equal(images, pixels.reshape(20, *treatment.shape) / np.float32(255))


@pytest.mark.fault(107)
@pytest.mark.parametrize("scaling", [BYTES, None])
def test_the_scale_is_that_of_the_run_whatever_a_portion_holds(tmp_path, monkeypatch, scaling):
    """Seven dark images come first: by themselves they would be taken as they are."""
    monkeypatch.setattr("bicoder.engine.arrays.portions.BYTES", 7 * 30)
    np.save(tmp_path / "x.npy", np.concatenate([np.ones((7, 6, 5), "uint8"), np.full((7, 6, 5), 255, "uint8")]))
    images, _, _ = together(images_like(tmp_path / "x.npy", how((6, 5, 1), scaling=scaling)))
    assert images[0, 0, 0, 0] == np.float32(1) / np.float32(255)


@pytest.mark.fault(107)
def test_pixels_are_drawn_as_test_images_are(tmp_path, rng):
    np.savez(tmp_path / "x.npz", x_train=np.zeros((2, 6, 5), "uint8"), x_test=rng.integers(256, size=(30, 6, 5)))
    np.save(tmp_path / "x.npy", np.load(tmp_path / "x.npz")["x_test"].astype("uint8"))
    images, _, _ = together(images_like(tmp_path / "x.npy", how((6, 5, 1), binarize=True)))
    np.testing.assert_array_equal(images, DataLoader(tmp_path / "x.npz", binarize="static").test_images)


@pytest.mark.fault(107)
def test_memory_does_not_grow_with_the_images(tmp_path, monkeypatch):
    monkeypatch.setattr("bicoder.engine.arrays.portions.BYTES", 2**18)
    np.save(tmp_path / "x.npy", np.zeros((400_000, 6, 5), "uint8"))  # 12 MB, and 48 as float32
    tracemalloc.start()
    count = sum(len(batch) for batch in images_like(tmp_path / "x.npy", how((30,), (6, 5, 1))).batches(512))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 400_000
    assert peak < 4e6
