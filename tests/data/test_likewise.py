"""Other images, treated as a run treated its own."""

import numpy as np
import pytest
from PIL import Image

from bicoder.data.likewise import images_like
from bicoder.data.loader import DataLoader
from bicoder.data.pixels import Scaling
from bicoder.errors import DataError, UsageError

BYTES, UNIT = Scaling(255, False), Scaling(1, False)


def pictures(folder, rng, count=20, shape=(9, 8, 3)):
    for i in range(count):
        (folder / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, shape, "uint8")).save(folder / "ab"[i % 2] / f"{i:02d}.png")
    return folder


def together(parts):
    """Images, labels and names of all portions."""
    images, labels, names = zip(*parts, strict=True)
    return np.concatenate(images), None if labels[0] is None else np.concatenate(labels), np.concatenate(names)


@pytest.mark.parametrize("size", [None, 6])
def test_images_of_a_folder_are_those_of_the_loader(tmp_path, rng, monkeypatch, size):
    """In portions of a few rows."""
    loader = DataLoader(pictures(tmp_path / "set", rng), image_size=size)
    monkeypatch.setattr("bicoder.engine.arrays.portions.BYTES", 700)
    parts = list(images_like(tmp_path / "set", loader.image_shape, loader.image_shape, loader.scaling))
    assert len(parts) > 2
    images, labels, names = together(parts)
    places = [names.tolist().index(name) for name in loader.test_files]
    np.testing.assert_array_equal(images[places], loader.test_images)
    np.testing.assert_array_equal(labels[places], loader.test_labels)
    assert len(names) == 20


def test_grey_and_colour_of_another_size_are_made_to_fit(tmp_path, rng):
    pictures(tmp_path / "set", rng)
    pictures(tmp_path / "set", rng, 3, (20, 30))
    images, _, _ = together(images_like(str(tmp_path / "set"), (48,), (8, 6, 1), BYTES))
    assert images.shape == (20, 48)
    expected = DataLoader(tmp_path / "set", image_size=(8, 6), channels=1)
    np.testing.assert_array_equal(np.sort(images.sum(1))[:2], np.sort(together_of(expected).sum(1))[:2])


def together_of(loader):
    return np.concatenate([loader.training_images, loader.test_images]).reshape(-1, 48)


def test_one_image(tmp_path, rng):
    [part] = images_like(next(pictures(tmp_path, rng).rglob("*.png")), (9, 8, 3), (9, 8, 3), BYTES)
    assert part.images.shape == (1, 9, 8, 3)
    assert part.labels is None
    assert part.names.tolist()[0].endswith(".png")


@pytest.mark.fault(109)
def test_damaged_files_are_left_out(tmp_path, rng):
    folder = pictures(tmp_path / "set", rng)
    (folder / "a" / "04.png").write_bytes(b"")
    with pytest.raises(DataError, match="add --skip_damaged"):
        together(images_like(folder, (9, 8, 3), (9, 8, 3), BYTES))
    images, labels, names = together(images_like(folder, (9, 8, 3), (9, 8, 3), BYTES, skip_damaged=True))
    assert len(images) == len(labels) == len(names) == 19
    for name, image in zip(names, images, strict=True):
        with Image.open(folder / name) as right:
            np.testing.assert_array_equal(image, np.asarray(right) / np.float32(255))


@pytest.mark.parametrize("kind", ["npy", "npz", "array", "pair"])
def test_arrays(tmp_path, rng, monkeypatch, kind):
    monkeypatch.setattr("bicoder.engine.arrays.portions.BYTES", 100)
    array, labels = rng.integers(0, 256, (30, 4, 3), "uint8"), np.arange(30)
    np.save(tmp_path / "x.npy", array)
    np.savez(tmp_path / "x.npz", images=array, labels=labels)
    source = {"npy": tmp_path / "x.npy", "npz": tmp_path / "x.npz", "array": array, "pair": (array, labels)}[kind]
    images, found, rows = together(images_like(source, (4, 3, 1), (4, 3, 1), BYTES))
    np.testing.assert_array_equal(images[..., 0], array / np.float32(255))
    np.testing.assert_array_equal(rows, np.arange(30))
    assert (found is None) == (kind in ("npy", "array"))


@pytest.mark.parametrize(
    ("array", "scaling", "said"),
    [
        (np.zeros((3, 5, 3)), UNIT, r"expected images of shape \(4, 3, 1\), as the run had, received \(5, 3\)"),
        (np.zeros((3, 4, 3, 3)), UNIT, r"expected images of shape \(4, 3, 1\)"),
        (np.full((3, 4, 3), 200, "uint8"), UNIT, "expected pixels from 0 to 1, .* from 200 to 200 in rows 0 to 2"),
        (np.full((3, 4, 3), -0.1), UNIT, "expected pixels from 0 to 1"),
        (np.full((3, 4, 3), np.nan), UNIT, "expected pixels from 0 to 1"),
        (np.full((3, 4, 3), 0.5), BYTES, "expected pixels from 0 to 255, as the run had, received none above 1"),
        (np.full((3, 4, 3), "a"), UNIT, "expected numbers"),
    ],
)
def test_arrays_that_do_not_fit(array, scaling, said):
    with pytest.raises(DataError, match=said):
        list(images_like(array, (4, 3, 1), (4, 3, 1), scaling))


def test_files_for_a_run_of_vectors_and_deep_ones_for_bytes(tmp_path, rng):
    folder = pictures(tmp_path / "set", rng)
    with pytest.raises(DataError, match="expected an array, since the run had vectors"):
        list(images_like(folder, (48,), None, UNIT))
    Image.fromarray(np.full((9, 8), 4000, "uint16")).save(folder / "a" / "04.png")
    with pytest.raises(DataError, match="expected images of eight bits, as the run had, received some of 16"):
        list(images_like(folder, (9, 8, 3), (9, 8, 3), BYTES))
    with pytest.raises(UsageError, match="images: expected a folder, a file or an array, received the data set digits"):
        list(images_like("digits", (9, 8, 3), (9, 8, 3), BYTES))


def test_twelve_bits_for_a_run_of_twelve_bits(tmp_path, rng):
    levels = rng.integers(0, 4096, (6, 9, 8)).astype("uint16")
    (tmp_path / "set").mkdir()
    for i, image in enumerate(levels):
        Image.fromarray(image).save(tmp_path / "set" / f"{i}.png")
    loader = DataLoader(tmp_path / "set")
    images, _, _ = together(images_like(tmp_path / "set", (9, 8, 1), (9, 8, 1), loader.scaling))
    np.testing.assert_array_equal(images[..., 0], levels / np.float32(4095))
