"""Parts of a model as ONNX: run by onnxruntime, which knows nothing of this package; and what cannot be written."""

import json
import subprocess
import sys

import keras
import numpy as np
import onnxruntime
import pytest
from conftest import contents, largest_file
from keras import ops
from models import ONE_OF_EACH, SMALL, check_parts, close, score, vector_model

from bicoder import VAE, Decoder, Encoder
from bicoder.cli import main as cli
from bicoder.errors import UsageError
from bicoder.exports import written
from bicoder.networks import Conv, networks_in


def by_onnxruntime(path, **inputs):
    """Output -> numbers, as somebody without this package gets them."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return dict(zip([one.name for one in session.get_outputs()], session.run(None, inputs), strict=True))


def about(path):
    return json.loads(onnxruntime.InferenceSession(str(path)).get_modelmeta().custom_metadata_map["about"])


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_every_part_computes_what_python_does(name, tmp_path):
    check_parts(".onnx", by_onnxruntime, *ONE_OF_EACH[name], tmp_path)
    outputs = onnxruntime.InferenceSession(str(tmp_path / "score.onnx")).get_outputs()
    assert [one.name for one in outputs] == ["score_at_mean", "distortion_at_mean", "rate_at_mean"]


def test_images_of_any_number_and_what_the_file_says(tmp_path, rng):
    vae = VAE(Encoder(Conv((4, 8)), 3), Decoder(Conv((4, 8)), likelihood="gaussian:sigma=learned"), seed=0)
    x = rng.random((4, 9, 7, 3), "float32")
    vae(x)
    assert vae.export(tmp_path / "copies.onnx", about={"more": "said"}) <= 1e-4
    for count in (1, 4):
        close(by_onnxruntime(tmp_path / "copies.onnx", x=x[:count])["mean"], vae.reconstruct(x[:count]))
    found = about(tmp_path / "copies.onnx")
    assert (found["what"], found["more"], found["latent_dim"]) == ("reconstruct", "said", 3)
    assert found["likelihood"] == {
        "name": "gaussian",
        "sigma": pytest.approx(float(np.exp(vae.decoder.likelihood.log_sigma()))),
    }
    assert found["inputs"] == [
        {"name": "x", "shape": ["batch", 9, 7, 3], "type": "float32", "meaning": "an example, pixels in [0, 1]"}
    ]
    assert found["outputs"][0]["meaning"] == "the mean of p(x|z) at z, the mean of q(z|x)"
    session = onnxruntime.InferenceSession(str(tmp_path / "copies.onnx"))
    assert [one.shape for one in (*session.get_inputs(), *session.get_outputs())] == [["batch", 9, 7, 3]] * 2


def test_views_and_conditions_are_inputs(tmp_path, rng):
    views, y = {"m 0": rng.random((4, 12), "float32"), "1": rng.random((4, 6), "float32")}, np.arange(4)
    options = {"condition": "embedding:classes=5,dim=2", "prior": "conditional_gaussian"}
    vae = vector_model({view: one.shape[1:] for view, one in views.items()}, **options)
    inputs = {"m_0": views["m 0"], "view_1": views["1"], "condition": y.astype("int32")}
    for what in ("encoder", "reconstruct", "score"):
        assert vae.export(tmp_path / f"{what}.onnx", what) <= 1e-4
    close(by_onnxruntime(tmp_path / "encoder.onnx", **inputs)["mean"], vae.encode(views, y).mean)
    images = by_onnxruntime(tmp_path / "reconstruct.onnx", **inputs)
    for view, name in {"m 0": "mean_m_0", "1": "mean_view_1"}.items():
        close(images[name], vae.reconstruct(views, y)[view])
    close(by_onnxruntime(tmp_path / "score.onnx", **inputs)["score_at_mean"], score(vae, views, y))
    assert vae.export(tmp_path / "one.onnx", given=["1"]) <= 1e-4
    found = by_onnxruntime(tmp_path / "one.onnx", view_1=views["1"], condition=inputs["condition"])
    close(found["mean_m_0"], vae.reconstruct({"1": views["1"]}, y)["m 0"])
    assert about(tmp_path / "one.onnx")["inputs"][-1]["meaning"] == "a label, 0 to 4"


@pytest.mark.fault(260)
def test_what_the_format_lacks_is_named_with_its_part(tmp_path):
    class Erfinv(keras.layers.Layer):
        def call(self, x):
            return ops.erfinv(0.1 * x)

        def compute_output_shape(self, shape):
            return shape

    network = keras.Sequential([keras.layers.Dense(6), Erfinv()])
    vae = VAE(Encoder(network, 3), Decoder(SMALL), seed=0)
    vae.build((None, 12))
    with pytest.raises(UsageError, match="onnx cannot hold the encoder: it has no Erfinv, which the encoder needs"):
        vae.export(tmp_path / "encoder.onnx", "encoder")
    views = vector_model({"a": (4,), "b": (4,)}, posterior="full_gaussian")
    with pytest.raises(UsageError, match=r"onnx cannot hold the encoder: it has no .*, which the posterior needs"):
        views.export(tmp_path / "encoder.onnx", "encoder")
    assert not list(tmp_path.iterdir())


@pytest.mark.fault(261)
@pytest.mark.parametrize("wrong", [1e-3, np.nan])
def test_a_file_that_computes_something_else_is_refused(wrong, tmp_path, monkeypatch):
    vae, path = vector_model(), tmp_path / "decoder.onnx"
    path.write_bytes(b"before")
    onnx = written.FORMATS["onnx"]
    off = onnx._replace(run=lambda *args: {name: found + wrong for name, found in onnx.run(*args).items()})
    monkeypatch.setitem(written.FORMATS, "onnx", off)
    with pytest.raises(UsageError, match=r"the decoder gives numbers that differ by .* from those of Python"):
        vae.export(path, "decoder")
    assert contents(tmp_path) == {"decoder.onnx": b"before"}


@pytest.mark.fault(262)
def test_a_package_that_is_missing_is_said_with_the_command_that_installs_it(tmp_path, monkeypatch):
    monkeypatch.setitem(written.FORMATS, "onnx", written.FORMATS["onnx"]._replace(packages=("onnx", "no_such_package")))
    with pytest.raises(UsageError, match="onnx needs no_such_package; run: pip install no_such_package"):
        vector_model().export(tmp_path / "decoder.onnx")


@pytest.mark.fault(263)
@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("a.onnx", {"what": "prior"}, "what: expected encoder, decoder, reconstruct, score, received 'prior'"),
        ("a.onnx", {"format": "tf_saved_model"}, "format: expected onnx.*, received 'tf_saved_model'"),
        ("a.pb", {}, "expected a file that ends with .onnx for onnx.*, received '.*a.pb'"),
        ("a.pb", {"format": "onnx"}, "expected a file that ends with .onnx"),
        ("none/a.onnx", {}, "expected a file in a folder that exists"),
        ("a.onnx", {"given": ["m0"]}, "given: expected none, since the model has no views, received m0"),
        ("a.onnx", {"what": "decoder", "given": ["m0"]}, "given: expected it with encoder"),
    ],
)
def test_what_cannot_be_asked_for(name, arguments, said, tmp_path):
    with pytest.raises(UsageError, match=said):
        vector_model().export(tmp_path / name, **arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.fault(264)
def test_models_that_cannot_be_written(tmp_path, monkeypatch):
    path = tmp_path / "a.onnx"
    with pytest.raises(UsageError, match="the model has not seen data yet"):
        VAE().export(path)
    with networks_in("mixed_bfloat16"):
        half = VAE(Encoder(SMALL, 3), Decoder(SMALL), seed=0)
        half.build((None, 12))
    with pytest.raises(UsageError, match="expected networks of float32, received some of bfloat16"):
        half.export(path)
    broken = vector_model()
    broken.decoder.weights[0].assign(np.full(broken.decoder.weights[0].shape, np.nan))
    with pytest.raises(UsageError, match="gives NaN or infinite numbers in Python"):
        broken.export(path)
    same = vector_model({"m 0": (4,), "m_0": (4,)})
    with pytest.raises(UsageError, match="expected inputs of different names, received 'm_0' twice"):
        same.export(path)
    with pytest.raises(UsageError, match=r"given: expected views of the model, .*, received m1"):
        same.export(path, given=["m1"])
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(UsageError, match="expected the backend tensorflow"):
        broken.export(path)
    assert not list(tmp_path.iterdir())


@pytest.mark.fault(265)
def test_a_disk_that_is_full_leaves_what_was_there(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"before")
    with largest_file(1000), pytest.raises(UsageError, match=r"a\.onnx: cannot be written: File too large"):
        vector_model().export(tmp_path / "a.onnx")
    assert contents(tmp_path) == {"a.onnx": b"before"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of the digits that knows their labels."""
    folder = tmp_path_factory.mktemp("run")
    arguments = ["--epochs", "1", "--no_pictures", "--quiet", "--condition", "labels", "--run_dir", str(folder)]
    assert cli.main(arguments) == 0
    return folder


def test_the_command_writes_a_file_that_says_what_it_is(run, capsys):
    assert cli.bicoder(["export", str(run), "--what", "decoder"]) == 0
    said = capsys.readouterr()
    assert said.out == f"{run / 'decoder.onnx'}\n"
    assert float(said.err.split("at most ")[1].split(" ")[0]) <= 1e-4
    found = about(run / "decoder.onnx")
    assert found["classes"] == [*"0123456789"]
    assert found["trained_with"]["bicoder"] == found["bicoder"]
    expected = {"size": None, "divide_by": 1, "clip_to_0_1": False, "binarize": False}
    assert found["preprocessing"] == {**expected, "image_shape": [8, 8, 1], "reshape_to": [64]}
    image = by_onnxruntime(run / "decoder.onnx", z=np.zeros((1, 20), "float32"), condition=np.array([3], "int32"))
    assert image["mean"].shape == (1, 64)


@pytest.mark.fault(266)
def test_a_file_that_is_there_stays_unless_it_may_be_replaced(run, capsys):
    (run / "encoder.onnx").write_bytes(b"mine")
    command = ["export", str(run), "--what", "encoder"]
    assert cli.bicoder(command) == 2
    assert "is there already; add --overwrite" in capsys.readouterr().err
    assert (run / "encoder.onnx").read_bytes() == b"mine"
    assert cli.bicoder([*command, "--overwrite"]) == 0
    assert [one["name"] for one in about(run / "encoder.onnx")["inputs"]] == ["x", "condition"]
    assert cli.bicoder([*command, "--output", str(run / "a.tflite")]) == 2


def test_the_command_can_be_asked_without_keras():
    code = (
        "import sys; from bicoder.cli import main\n"
        "try: main.bicoder(['export', '--help'])\n"
        "except SystemExit: assert not {'keras', 'onnx', 'tf2onnx', 'onnxruntime'} & set(sys.modules)"
    )
    assert "--what" in subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
