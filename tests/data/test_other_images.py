"""Other images, treated as a run treated its own, a portion at a time."""

import tracemalloc

import numpy as np
import pytest

from bicoder.data.loader import DataLoader
from bicoder.data.other_images import Treatment, read_others
from bicoder.data.pixels import Scaling

IMAGES = Treatment((6, 5, 1), (6, 5, 1), Scaling(255, False), None, False)
VECTORS = Treatment((30,), (6, 5, 1), Scaling(255, False), None, False)


def all_of(path, how):
    return np.concatenate(list(read_others(path, how).read(7)))


@pytest.mark.fault(107)
@pytest.mark.parametrize("shape", [(20, 6, 5), (20, 6, 5, 1), (20, 30)])
def test_arrays_of_every_shape_become_the_runs(tmp_path, rng, shape):
    pixels = rng.integers(256, size=shape).astype("uint8")
    np.save(tmp_path / "x.npy", pixels)
    for how in (IMAGES, VECTORS):
        found = all_of(tmp_path / "x.npy", how)
        np.testing.assert_array_equal(found, pixels.reshape(20, *how.shape) / np.float32(255))


@pytest.mark.fault(107)
def test_the_scale_is_that_of_the_run_whatever_a_portion_holds(tmp_path):
    """Seven dark images come first: by themselves they would be taken as they are."""
    pixels = np.concatenate([np.ones((7, 6, 5), "uint8"), np.full((7, 6, 5), 255, "uint8")])
    np.save(tmp_path / "x.npy", pixels)
    for how in (IMAGES, IMAGES._replace(scaling=None)):
        found = all_of(tmp_path / "x.npy", how)
        assert found[0, 0, 0, 0] == np.float32(1) / np.float32(255)


@pytest.mark.fault(107)
def test_pixels_are_drawn_as_test_images_are(tmp_path, rng):
    np.savez(tmp_path / "x.npz", x_train=np.zeros((2, 6, 5), "uint8"), x_test=rng.integers(256, size=(30, 6, 5)))
    np.save(tmp_path / "x.npy", np.load(tmp_path / "x.npz")["x_test"].astype("uint8"))
    expected = DataLoader(tmp_path / "x.npz", binarize="static").test_images
    np.testing.assert_array_equal(all_of(tmp_path / "x.npy", IMAGES._replace(binarize=True)), expected)


@pytest.mark.fault(107)
def test_memory_does_not_grow_with_the_images(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((400_000, 6, 5), "uint8"))  # 12 MB, and 48 as float32
    tracemalloc.start()
    count = sum(len(portion) for portion in read_others(tmp_path / "x.npy", VECTORS).read(512))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 400_000
    assert peak < 2e6
