"""A run of format 1, as version 0.1.0 wrote it: its weights in HDF5 and its checkpoint go on being read."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from bicoder import DataLoader, load
from bicoder.cli.main import main

FORMAT1 = Path(__file__).parent / "format1"


def test_its_model_gives_the_numbers_that_it_gave():
    vae = load(FORMAT1)
    q = vae.encode(DataLoader("digits").test_images[:3])
    mean = [[0.1272131, -0.269248], [0.074674, -0.1667744], [0.149035, -0.3178137]]
    scale = [[1.0410087, 0.8397256], [1.0230266, 0.8960939], [1.0456872, 0.8167837]]
    np.testing.assert_allclose(q.mean, mean, rtol=1e-4)
    np.testing.assert_allclose(q.scale, scale, rtol=1e-4)
    p = vae.decode(np.array([[0.5, -1.0]], "float32"))
    np.testing.assert_allclose(p.mean[0, ::16], [-0.0284043, 0.0242364, 0.0325854, -0.0274442], rtol=1e-4)
    np.testing.assert_allclose(np.ravel(p.scale), 0.965554, rtol=1e-5)


@pytest.mark.xla  # which draws its noise in its own way
def test_its_checkpoint_goes_on_to_its_last_row(tmp_path):
    """From the end of epoch 2 of 3."""
    run = tmp_path / "run"
    shutil.copytree(FORMAT1, run)
    assert main(["--resume", str(run)]) == 0
    before, after = (np.loadtxt(folder / "metrics.csv", delimiter=",", skiprows=1) for folder in (FORMAT1, run))
    assert [before[:, 0].tolist(), after[:, 0].tolist()] == [[0, 1, 2], [1, 2, 3]], "its epochs counted from 0"
    np.testing.assert_array_equal(after[:2, 1:], before[:2, 1:])
    np.testing.assert_allclose(after[2, 1:], before[2, 1:], rtol=1e-4)
    expected, found = load(FORMAT1), load(run)
    assert (run / "model.safetensors").exists()
    assert not (run / "model.weights.h5").exists(), "the new file takes its place"
    for one, other in zip(found.weights, expected.weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


def test_keras_files_are_there_for_who_wants_them(tmp_path):
    """`save_weights` and `load_weights` of Keras, for programs of one's own."""
    vae = load(FORMAT1)
    vae.save_weights(tmp_path / "x.weights.h5")
    other = load(FORMAT1)
    other.encoder.body.layers[0].kernel.assign(np.zeros((64, 4)))
    other.load_weights(tmp_path / "x.weights.h5")
    for one, two in zip(other.weights, vae.weights, strict=True):
        np.testing.assert_array_equal(one, two)
