"""Loading the model of a run: equal to what was saved, or one line that says what does not fit."""

import json
import resource
import shutil
import time

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from bicoder import VAE, Decoder, Encoder, load
from bicoder.cli import main as cli
from bicoder.distributions import Gaussian
from bicoder.errors import ModelError
from bicoder.networks import MLP
from bicoder.priors import Prior
from bicoder.runs import folder as runs
from bicoder.runs import weights

KERNEL = "encoder/00/kernel"


def small(**options):
    vae = VAE(Encoder(MLP((6,)), 3), Decoder(MLP((6,))), seed=0, **options)
    vae.build((None, 12))
    return vae


def save(folder, vae, arguments=None):
    runs.save_config(folder, vae, arguments or {}, {"training_images": 3})
    weights.save(folder, vae)
    return folder


@pytest.fixture
def saved(tmp_path):
    vae = small()
    return save(tmp_path, vae), vae


def edit(folder, change):
    """Change config.json by a function of its content."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


def edit_weights(folder, change):
    """Change model.safetensors by a function of its arrays."""
    arrays = load_file(folder / weights.NAME)
    change(arrays)
    save_file(arrays, folder / weights.NAME, weights.METADATA)


def refusal(folder, **options):
    """The message of the error, one line; the files of the run are as they were."""
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ModelError) as caught:
        load(folder, **options)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    message = str(caught.value)
    assert message.startswith(str(folder))
    assert message.isprintable()
    return message


def test_load_gives_the_same_model(saved, rng):
    folder, vae = saved
    x = rng.random((5, 12), "float32")
    loaded = load(folder)
    np.testing.assert_array_equal(loaded.reconstruct(x), vae.reconstruct(x))
    assert loaded.get_config() == vae.get_config()
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "model.safetensors"]


def test_a_trained_model_loads_without_its_optimizer(tmp_path, rng):
    vae = small(objective="beta_elbo")
    vae.compile("adam")
    vae.fit(rng.random((8, 12), "float32"), verbose=0)
    save(tmp_path, vae)
    assert not any("optimizer" in name for name in load_file(tmp_path / weights.NAME))
    for variable, again in zip(vae.weights, load(tmp_path).weights, strict=True):
        np.testing.assert_array_equal(variable, again)


def test_loading_leaves_keras_as_it_was(saved):
    """What is built to be counted leaves no names and no variables behind."""
    keras.utils.clear_session()
    load(saved[0])
    assert keras.layers.Dense(1).name == "dense_4", "the model has four, and what was counted none"


def test_missing_run(tmp_path):
    with pytest.raises(ModelError, match=r"expected a run folder, received config.json: No such file"):
        load(tmp_path / "none")


@pytest.mark.fault(67)
@pytest.mark.parametrize(
    ("part", "arguments", "words"),
    [
        ("encoder.network", {"name": "mpl"}, "expected one of conv, mlp, residual"),
        ("encoder.network", {"name": "mpl"}, "received 'mpl'; did you mean 'mlp'?"),
        ("encoder.network", {"name": "mlp", "hiden": [6]}, "received ['hiden']; did you mean 'hidden'?"),
        ("encoder.network", {"name": "mlp", "hidden": [10**9]}, "hidden: expected at most 65,536, received 1,000,000"),
        ("encoder.network", {"name": "mlp", "hidden": [6.0]}, "hidden: expected a positive whole number, received 6.0"),
        ("encoder.network", {"name": "mlp", "hidden": [6] * 500}, "hidden: expected 1 to 256 positive whole numbers"),
        ("encoder.network", {"name": "mlp", "activation": "rleu"}, "activation: expected the name of a Keras activ"),
        ("encoder.network", {"name": "mlp", "activation": None}, "activation: expected the name of a Keras activ"),
        ("encoder.network", {"name": "conv"}, "conv expects images"),
        ("encoder.network", {"name": "residual", "blocks": 10**6}, "blocks: expected at most 256"),
        ("encoder.network", {"name": "conv", "kernel_size": 3.0}, "kernel_size: expected a positive whole number"),
        ("encoder.posterior", {"name": "iaf", "steps": 10**9}, "steps: expected at most 256"),
        ("encoder.posterior", {"name": "iaf", "hidden": 10**9}, "hidden: expected at most 65,536"),
        ("decoder.likelihood", {"name": "gaussian", "sigma": -1}, "sigma: expected a positive number or 'learned'"),
        ("decoder.likelihood", {"name": "gaussian", "sigma": True}, "sigma: expected a positive number or 'learned'"),
        ("decoder.likelihood", {"name": "gaussian", "sigma": "nan"}, "sigma: expected a positive number or 'learned'"),
        ("decoder.likelihood", {"name": "optimal_gaussian", "momentum": 1.5}, "momentum: expected a number from 0"),
        ("decoder.likelihood", {"name": "discretized_logistic", "levels": 1}, "levels: expected at least 2"),
        ("prior", {"name": "mixture_of_gaussians", "components": 10**9}, "components: expected at most 65,536"),
        ("prior", {"name": "real_nvp", "couplings": 10**9}, "couplings: expected at most 256"),
        ("prior", {"name": "vamp", "pseudo_inputs": 0}, "pseudo_inputs: expected a positive whole number"),
        ("objective", {"name": "beta_elbo", "beta": -1}, "beta: expected a number from 0, received -1"),
        ("objective", {"name": "beta_elbo", "schedule": "lin"}, "schedule: expected one of constant, linear"),
        ("objective", {"name": "dipvae", "kind": True}, "kind: expected a positive whole number, received True"),
        ("encoder", {"name": "encodr"}, "encoder: expected one of encoder"),
        ("encoder", {"name": "encoder", "latent_dim": 4}, "latent_dim: the encoder has 4, received 3 too"),
    ],
)
def test_parts_that_do_not_exist_are_refused(part, arguments, words, saved):
    folder, _ = saved

    def change(config):
        *parents, last = part.split(".")
        place = config["model"]
        for key in parents:
            place = place[key]
        place[last] = arguments

    edit(folder, change)
    message = refusal(folder)
    assert message.startswith(f"{folder / 'config.json'}: ")
    assert words in message


@pytest.mark.fault(126)
@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_a_model_that_takes_minutes_to_build_is_refused_at_once(part, saved):
    """Each number is allowed, all together are not."""
    folder, _ = saved
    network = {"name": "residual", "filters": [8] * 256, "blocks": 256}
    edit(folder, lambda config: config["model"][part].update(network=network))
    started = time.process_time()
    assert "blocks: expected at most 128 in all stages, received 65,536, 256 in each of 256" in refusal(folder)
    assert time.process_time() - started < 1


@pytest.mark.fault(126)
def test_examples_that_come_out_in_another_shape_are_refused(saved):
    folder, _ = saved
    edit(folder, lambda config: config["model"]["decoder"].update(output_shape=[3, 4]))
    assert "model.decoder.output_shape: expected [12], as input_shape has, received [3, 4]" in refusal(folder)


@pytest.mark.fault(67, 69)
@pytest.mark.parametrize(
    ("encoder", "prior", "words"),
    [
        ({"network": {"name": "mlp", "hidden": [65536] * 9}}, {}, "weights, and model.safetensors 228"),
        ({}, {"name": "mixture_of_gaussians", "components": 65536}, "weights, and model.safetensors 228"),
        ({"posterior": {"name": "iaf", "hidden": 65536, "steps": 100}}, {}, "hidden: expected at most 40, received"),
    ],
    ids=["widths", "components", "flow"],
)
def test_a_model_that_fills_the_memory_is_refused_before_it_is_built(encoder, prior, words, saved):
    """Each number is allowed, all together are not."""
    folder, _ = saved

    def enlarge(config):
        config["model"].update(latent_dim=None)
        config["model"]["encoder"].update({"latent_dim": 16384} | encoder)
        config["model"]["prior"].update(prior)

    edit(folder, enlarge)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert words in refusal(folder)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**19, "kilobytes"


def leaves(mark):
    return lambda x: (open(mark, "w").close(), x)[1]


@pytest.mark.fault(69)
@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_code_in_a_keras_file_is_never_run(name, saved):
    """A Lambda layer that leaves a mark, which Keras runs where it is told that the file is safe."""
    folder, _ = saved
    mark, path = folder / "mark", folder / name
    inputs = keras.Input((3,))
    keras.Model(inputs, keras.layers.Lambda(leaves(str(mark)))(inputs)).save(path)
    mark.unlink()
    keras.saving.load_model(path, safe_mode=False, compile=False)
    mark.unlink()
    with pytest.raises(ModelError, match="expected the folder of a run, received a file"):
        load(path)
    for weights_name in (weights.NAME, weights.OLD_NAME):
        (folder / weights.NAME).unlink(missing_ok=True)
        shutil.copy(path, folder / weights_name)
        refusal(folder, force=True)
    assert not mark.exists()


@pytest.mark.fault(64)
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"latent_dim": 5}, ["encoder/02/kernel: expected float32 (6, 6), received float32 (6, 10)"]),
        ({"network": MLP((7,))}, [f"{KERNEL}: expected float32 (12, 6), received float32 (12, 7)", "and 2 more"]),
        (
            {"network": MLP((6, 6))},
            ["not of this model: decoder/04/kernel, decoder/05/bias, encoder/04/kernel, encoder/05/bias"],
        ),
        ({"shape": (13,)}, [f"{KERNEL}: expected float32 (12, 6), received float32 (13, 6)"]),
        ({"dtype": "float64"}, [f"{KERNEL}: expected float32 (12, 6), received float64 (12, 6)"]),
    ],
    ids=["latent_dim", "widths", "layers", "input", "dtype"],
)
def test_weights_of_another_model_list_both_shapes(options, words, saved):
    folder, _ = saved
    other = VAE(
        Encoder(options.get("network", MLP((6,))), options.get("latent_dim", 3)),
        Decoder(options.get("network", MLP((6,)))),
    )
    other.build((None, *options.get("shape", (12,))))
    weights.save(folder, other)
    if "dtype" in options:
        edit_weights(folder, lambda arrays: arrays.update({KERNEL: arrays[KERNEL].astype(options["dtype"])}))
    message = refusal(folder)
    assert "weights of another model; " in message
    assert all(word in message for word in words), message


@pytest.mark.fault(65)
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda arrays: arrays.pop(KERNEL), f"weights of another model; missing: {KERNEL}"),
        (lambda arrays: arrays.update(extra=np.zeros(3, "float32")), "not of this model: extra"),
        (
            lambda arrays: arrays.update({"encoder/00/kernl": arrays.pop(KERNEL)}),
            f"missing: {KERNEL}; not of this model: encoder/00/kernl",
        ),
        (lambda arrays: arrays.update({"a\nb": np.ones(1)}), "not of this model: 'a\\nb'"),
        (lambda arrays: arrays.clear(), "decoder/03/bias and 4 more"),
    ],
    ids=["missing", "extra", "renamed", "line break", "empty"],
)
def test_every_variable_is_there_once_under_its_name(change, words, saved):
    folder, _ = saved
    edit_weights(folder, change)
    assert words in refusal(folder)


class HiddenNet(Prior):
    """A density with a layer in an attribute in which Keras does not look for what it saves."""

    def make_weights(self, initialisers):
        setattr(self, "__net", keras.layers.Dense(2))
        getattr(self, "__net").build((None, self.latent_dim))

    def distribution(self):
        return Gaussian(np.zeros((1, self.latent_dim), "float32"), 0.0)


@pytest.mark.fault(65)
def test_variables_that_keras_does_not_save(tmp_path):
    """They would silently come back with new values, if Keras wrote the file; what Keras wrote is refused."""
    vae = small(prior=HiddenNet())
    kernel = getattr(vae.prior, "__net").kernel
    kernel.assign(kernel + 1.0)
    save(tmp_path, vae)
    np.testing.assert_array_equal(getattr(load(tmp_path).prior, "__net").kernel, kernel)
    (tmp_path / weights.NAME).unlink()
    vae.save_weights(tmp_path / weights.OLD_NAME)
    assert "the model has 10 variables, of which Keras saves 8" in refusal(tmp_path)


@pytest.mark.fault(66)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers(value, saved):
    folder, vae = saved
    kernel = vae.encoder.body.layers[0].kernel
    values = np.array(kernel)
    values[2, 3] = values[5, 0] = value
    kernel.assign(values)
    weights.save(folder, vae)
    message = refusal(folder)
    assert f"expected finite weights, received 2 that are NaN or infinite, the first in {KERNEL}" in message
    assert "--force" in message
    np.testing.assert_array_equal(load(folder, force=True).encoder.body.layers[0].kernel, values)


@pytest.mark.fault(66)
def test_force_on_the_command_line(tmp_path, capsys):
    """A picture of such a model can be had; numbers about it cannot."""
    assert cli.main(["--epochs", "1", "--run_dir", str(tmp_path), "--generate_from_prior"]) == 0
    edit_weights(tmp_path, lambda arrays: arrays["decoder/04/bias"].__setitem__(3, np.nan))
    capsys.readouterr()
    for command, forced, words in (("generate", 0, ""), ("evaluate", 6, "nll: expected a finite number, received nan")):
        assert cli.bicoder([command, str(tmp_path)]) == 5
        assert "received 1 that are NaN or infinite" in capsys.readouterr().err
        assert cli.bicoder([command, str(tmp_path), "--force"]) == forced
        assert words in capsys.readouterr().err
    assert (tmp_path / "generated.png").exists()
    assert not (tmp_path / "evaluation.json").exists()
