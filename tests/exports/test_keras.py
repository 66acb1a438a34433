"""Parts of a model as plain Keras files, opened in a process that does not have this package."""

import json
import os
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
from keras import ops
from models import ONE_OF_EACH, SMALL, check_parts, close, score, vector_model

from bicoder import VAE, Decoder, Encoder
from bicoder.errors import UsageError
from bicoder.networks import Residual

WITHOUT = """
import sys
import keras, numpy as np
for name in sys.argv[1:]:
    inputs = dict(np.load(f"{name}.npz"))
    np.savez(f"{name}.out.npz", **keras.models.load_model(f"{name}.keras").predict(inputs, verbose=0))
assert "bicoder" not in sys.modules
"""


def by_keras(path, **inputs):
    """Output -> numbers."""
    return keras.models.load_model(path)(inputs)


def without_this_package(folder, **inputs):
    """File -> output -> numbers, of files of a folder and inputs of each, in a process of its own."""
    for name, one in inputs.items():
        np.savez(folder / f"{name}.npz", **one)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([sys.executable, "-c", WITHOUT, *inputs], check=True, cwd=folder, env=environment)
    return {name: dict(np.load(folder / f"{name}.out.npz")) for name in inputs}


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_every_part_computes_what_python_does(name, tmp_path):
    check_parts(".keras", by_keras, *ONE_OF_EACH[name], tmp_path)


def test_files_are_opened_without_this_package(tmp_path, rng):
    """The model goes on as before."""
    views, y = {"a": rng.random((4, 12), "float32"), "b": rng.random((4, 6), "float32")}, np.arange(4)
    options = {"condition": "embedding:classes=5", "prior": "conditional_gaussian", "fusion": "mixture_of_products"}
    told = vector_model({"a": (12,), "b": (6,)}, posterior="full_gaussian", **options)
    images = VAE(Encoder(Residual((4, 8)), 3, sees_mask=True), Decoder(Residual((4, 8))), seed=0)
    images.build((None, 9, 7, 1))
    x = rng.random((4, 9, 7, 1), "float32")
    assert told.export(tmp_path / "views.keras", "score") <= 1e-4
    assert images.export(tmp_path / "images.keras") <= 1e-4
    told_inputs = {**views, "condition": y.astype("int32")}
    found = without_this_package(tmp_path, views=told_inputs, images={"x": x})
    close(found["views"]["score_at_mean"], score(told, views, y))
    close(found["images"]["mean"], images.reconstruct(x))
    about = json.loads(zipfile.ZipFile(tmp_path / "views.keras").read("about.json"))
    assert (about["needs"], about["latent_dim"]) == ([], 3)
    images.save(tmp_path / "whole.keras")
    again = keras.models.load_model(tmp_path / "whole.keras")
    assert np.array_equal(again.reconstruct(x), images.reconstruct(x))
    images.compile("adam")
    images.fit(x, verbose=0)


@pytest.mark.fault(260)
def test_a_layer_of_the_users_is_named_if_keras_cannot_find_it(tmp_path):
    class Doubled(keras.layers.Layer):
        def call(self, x):
            return 2.0 * x

    vae = VAE(Encoder(SMALL, 3), Decoder(keras.Sequential([keras.layers.Dense(12), Doubled()])), seed=0)
    vae.build((None, 12))
    with pytest.raises(UsageError, match="it opens layers of your own only if they are registered, received Doubled;"):
        vae.export(tmp_path / "decoder.keras", "decoder")
    assert not list(tmp_path.iterdir())
    keras.saving.register_keras_serializable("mine")(Doubled)
    assert vae.export(tmp_path / "decoder.keras", "decoder") <= 1e-4
    assert json.loads(zipfile.ZipFile(tmp_path / "decoder.keras").read("about.json"))["needs"] == ["mine>Doubled"]
    z = np.ones((2, 3), "float32")
    close(by_keras(tmp_path / "decoder.keras", z=ops.convert_to_tensor(z))["mean"], vae.decode(z).mean)
