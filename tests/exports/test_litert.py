"""Parts of a model as LiteRT, run by its interpreter, and what LiteRT cannot hold."""

import json
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from models import ONE_OF_EACH, SMALL, check_parts, close, score, vector_model

from bicoder import VAE, Decoder, Encoder
from bicoder.cli import main as cli
from bicoder.errors import UsageError

pytestmark = pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")


def by_litert(path, **inputs):
    """Output -> numbers, as somebody without this package gets them."""
    return tf.lite.Interpreter(str(path)).get_signature_runner()(**inputs)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_every_part_computes_what_python_does(name, tmp_path):
    check_parts(".tflite", by_litert, *ONE_OF_EACH[name], tmp_path)


def test_views_conditions_and_what_the_file_says(tmp_path, rng):
    views, y = {"a": rng.random((4, 12), "float32"), "b": rng.random((4, 6), "float32")}, np.arange(4)
    vae = vector_model({"a": (12,), "b": (6,)}, condition="labels:classes=5", fusion="mixture_of_products")
    assert vae.export(tmp_path / "score.tflite", "score") <= 1e-4
    found = by_litert(tmp_path / "score.tflite", **views, condition=y.astype("int32"))
    close(found["score_at_mean"], score(vae, views, y))
    about = json.loads(zipfile.ZipFile(tmp_path / "score.tflite").read("about.json"))
    assert [one["name"] for one in about["inputs"]] == ["a", "b", "condition"]
    assert about["fusion"] == {"name": "mixture_of_products"}


@pytest.mark.fault(260)
def test_what_the_format_lacks_is_named_with_its_part(tmp_path, capfd):
    class Erfinv(keras.layers.Layer):
        def call(self, x):
            return ops.erfinv(0.1 * x)

        def compute_output_shape(self, shape):
            return shape

    vae = VAE(Encoder(SMALL, 3), Decoder(keras.Sequential([keras.layers.Dense(12), Erfinv()])), seed=0)
    vae.build((None, 12))
    with pytest.raises(UsageError, match="litert cannot hold the decoder: it has no Erfinv, which the decoder needs"):
        vae.export(tmp_path / "decoder.tflite", "decoder")
    assert not list(tmp_path.iterdir())
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", ""), "the converter's own pages of errors"


def test_the_command_writes_images_for_litert(tmp_path, capsys, rng):
    run = tmp_path / "run"
    np.save(tmp_path / "images.npy", rng.random((12, 8, 8, 1), "float32"))
    arguments = ["--epochs", "1", "--no_pictures", "--quiet", "--network", "conv:filters=[4]", "--run_dir", str(run)]
    assert cli.main(["--dset", str(tmp_path / "images.npy"), *arguments]) == 0
    capsys.readouterr()
    assert cli.bicoder(["export", str(run), "--format", "litert"]) == 0
    said = capsys.readouterr()
    assert said.out == f"{run / 'reconstruct.tflite'}\n"
    assert len(said.err.splitlines()) == 1, said.err
    assert by_litert(run / "reconstruct.tflite", x=np.zeros((2, 8, 8, 1), "float32"))["mean"].shape == (2, 8, 8, 1)
