"""The core on Keras' other backends, where they are installed."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import moving
import pytest
from conftest import ROOT

CODE = """
import gc, pathlib, sys, weakref
import keras, numpy as np
import bicoder
from bicoder import VAE, Decoder, Encoder
from bicoder.runs import folder as runs
from bicoder.runs import weights
from bicoder.networks import MLP

x = np.round(np.random.default_rng(0).random((40, 10)) * 255).astype("float32") / 255
for options in ({}, {"objective": "dreg"}, {"objective": "beta_tc", "prior": "real_nvp"}, {"prior": "vamp"}):
    for posterior, likelihood in (("diagonal_gaussian", "optimal_gaussian"), ("iaf", "discretized_logistic")):
        if options and posterior == "iaf":
            continue
        vae = VAE(Encoder(MLP((8,)), 3, posterior), Decoder(MLP((8,)), likelihood=likelihood), seed=0, **options)
        vae.compile(keras.optimizers.Adam(1e-2))
        losses = vae.fit(x, batch_size=16, epochs=5, verbose=0).history["loss"]
        assert losses[-1] < losses[0], (options, posterior, losses)
        assert vae.predict(x, verbose=0).shape == x.shape
histories = []
for _ in range(2):  # the order of the batches follows from the seed
    vae = VAE(Encoder(MLP((8,)), 3), Decoder(MLP((8,))), seed=0)
    vae.compile(keras.optimizers.Adam(1e-2))
    histories.append(vae.fit(x, batch_size=16, epochs=2, validation_split=0.2, verbose=0).history)
assert histories[0] == histories[1], histories
before = [keras.ops.convert_to_numpy(variable) for variable in vae.trainable_variables]
vae.compile(keras.optimizers.SGD(1.0))
vae.fit(x, sample_weight=np.zeros(40), verbose=0)  # examples that do not count teach nothing
for one, other in zip(before, vae.trainable_variables):
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(other), one)
blank = vae.evaluate(x, np.full_like(x, 9.0), verbose=0, return_dict=True)["distortion"]  # y is what is explained
assert blank > 100 + vae.evaluate(x, verbose=0, return_dict=True)["distortion"], blank
if keras.backend.backend() == "jax":  # a loop of one's own, with another optimizer than that of `fit`
    optimizer = keras.optimizers.Adam(1e-2)
    steps = [float(vae.train(x[:16], optimizer)) for _ in range(30)]
    assert steps[-1] < steps[0], steps
    of_its_own = weakref.ref(optimizer)
    del optimizer
    gc.collect()
    assert of_its_own() is None, "an optimizer that nobody has is gone, and its program with it"
numbers = bicoder.evaluate(vae, x, num_samples=20)
assert np.isfinite(numbers["nll"]) and -numbers["nll"] >= numbers["elbo"]
folder = pathlib.Path(sys.argv[1])
runs.save_config(folder, vae, {}, {})
weights.save(folder, vae)
np.testing.assert_allclose(bicoder.load(folder).predict(x, verbose=0), vae.predict(x, verbose=0), rtol=1e-5, atol=1e-6)
print(keras.backend.backend())
"""

# Several views, some of them missing, and a condition.
TOGETHER = """
import keras, numpy as np
import bicoder
from bicoder import VAE, Decoder, Encoder
from bicoder.evaluation import classifiers
from bicoder.networks import MLP

classifiers.STEPS = 20
rng = np.random.default_rng(0)
x, y = rng.random((40, 6)).astype("float32"), rng.integers(0, 3, 40)
views = {"a": x, "b": np.ma.masked_array(x[:, :4], np.repeat(np.arange(40)[:, None] % 3 == 0, 4, axis=1))}
conditional = {"prior": "conditional_gaussian:hidden=4", "condition": "embedding"}
for fusion, data, more in (
    ("product_of_experts", x, conditional),
    ("product_of_experts", views, {}),
    ("mixture_of_products", views, {"condition": "labels"}),
):
    vae = VAE(Encoder(MLP((8,)), 2, fusion=fusion), Decoder(MLP((8,))), seed=0, **more)
    vae.compile(keras.optimizers.Adam(1e-2))
    told = y if more else None
    losses = vae.fit(data, told, batch_size=16, epochs=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0], (fusion, more, losses)
    assert len(vae.predict((data, y) if more else data, verbose=0)) == (40 if data is x else 2)
    made = vae.generate(3, 0, condition=1 if more else None)
    assert tuple((made if data is x else made["b"]).shape) == (3, 6 if data is x else 4)
    numbers = bicoder.evaluate(vae, (data, y), num_samples=10)
    assert np.isfinite(numbers["nll"])
print(keras.backend.backend())
"""


@pytest.mark.fault(88, 93)
@pytest.mark.parametrize("code", [CODE, TOGETHER], ids=["core", "together"])
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_core_on_another_backend(backend, code, tmp_path):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"needs {backend}, which is not installed")
    env = os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT), "BICODER_DATA": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code, tmp_path], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == backend


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_run_of_one_backend_is_the_same_on_another(backend, tmp_path):
    """One of each family; `make backends-all` has all of them."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"needs {backend}, which is not installed")
    here, there, every = tmp_path / "here", tmp_path / "there", os.environ.get("BICODER_BACKENDS") == "all"
    moving.write(here, every)
    env = os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, Path(moving.__file__), there, here, *(["all"] if every else [])]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    print(f"{done.stdout.strip()}: largest relative difference; read by tensorflow: {moving.read(there)}")
