"""Where a model is trained: other threads, other settings of Keras and TensorFlow, several devices, many models."""

import gc
import os
import subprocess
import sys
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT

from bicoder import VAE, Decoder, Encoder
from bicoder.errors import UsageError
from bicoder.networks import MLP, networks_in


@pytest.fixture
def vectors(rng):
    return rng.random((60, 12), "float32")


def small_vae(network="mlp:hidden=[8]", **options):
    vae = VAE(Encoder(network, 3), Decoder(network), seed=0, **options)
    vae.compile(keras.optimizers.Adam(1e-2))
    return vae


def graphs():
    """How many programs are in memory."""
    gc.collect()
    return sum(type(one).__name__ == "FuncGraph" for one in gc.get_objects())


@pytest.mark.fault(101)
def test_nothing_stays_of_models_that_are_gone(vectors):
    def use():
        vae = small_vae()
        vae.fit(vectors, validation_data=vectors[:20], verbose=0)
        for _ in range(2):
            vae.train(vectors, keras.optimizers.Adam())
        assert len(vae.programs._one_step) <= 1

    use()
    before = graphs()
    for _ in range(2):
        use()
    assert graphs() == before


class Slow(MLP):
    """An MLP that takes its time to be built."""

    def encoder(self, shape, outputs, seed=None):
        threading.Event().wait(0.2)
        return super().encoder(shape, outputs, seed)


@pytest.mark.tensorflow
@pytest.mark.fault(102)
def test_a_thread_may_predict_while_another_trains(vectors):
    vae, predicted = small_vae({"name": "slow", "hidden": [8]}), []
    thread = threading.Thread(target=lambda: predicted.append(vae.predict(vectors, verbose=0)))
    thread.start()
    history = vae.fit(vectors, epochs=2, verbose=0).history
    thread.join()
    assert predicted[0].shape == vectors.shape
    assert len(history["loss"]) == 2


@pytest.mark.fault(102)
@pytest.mark.parametrize("floatx", ["float16", "float64"])
def test_another_floatx_is_refused(floatx, monkeypatch):
    monkeypatch.setattr(keras.config, "floatx", lambda: floatx)
    with pytest.raises(
        UsageError, match=f"floatx: expected float32, .* received {floatx} .*call keras.config.set_floatx"
    ):
        VAE()


@pytest.mark.fault(102)
def test_weights_of_float64_are_refused():
    with networks_in("float64"), pytest.raises(UsageError, match="dtype_policy: expected float32"):
        VAE()


@pytest.mark.fault(102)
@pytest.mark.parametrize("network", ["conv:filters=[4,4]", "residual:filters=[4,4]", "mlp:hidden=[8]"])
def test_channels_are_last_whatever_keras_is_told(network, rng):
    images = rng.random((8, 6, 5, 3), "float32")
    expected = small_vae(network)(images).loss
    keras.config.set_image_data_format("channels_first")
    try:
        np.testing.assert_array_equal(small_vae(network)(images).loss, expected)
    finally:
        keras.config.set_image_data_format("channels_last")


@pytest.mark.fault(102)
def test_the_precision_of_networks_leaves_data_and_weights_of_the_prior_as_they_are(vectors):
    """In bfloat16, 0.3 is 0.30078: a pixel would be another one, and so would beta."""
    with networks_in("mixed_bfloat16"):
        assert not isinstance(small_vae().optimizer, keras.optimizers.LossScaleOptimizer)
        vae = small_vae(objective="beta_elbo:beta=0.3", prior="mixture_of_gaussians")
        bound = vae(vectors)
    with networks_in("mixed_float16"):
        assert isinstance(small_vae().optimizer, keras.optimizers.LossScaleOptimizer)
    assert vae.encoder.body.layers[0].compute_dtype == "bfloat16"
    assert vae.prepare(vectors).dtype == "float32"
    np.testing.assert_allclose(bound.loss, bound.distortion + 0.3 * bound.rate, rtol=1e-6)


@pytest.mark.fault(102)
def test_functions_may_run_eagerly(vectors):
    expected = small_vae().fit(vectors, verbose=0).history["loss"]
    tf.config.run_functions_eagerly(True)
    try:
        vae = small_vae()
        np.testing.assert_allclose(vae.fit(vectors, verbose=0).history["loss"], expected, rtol=1e-4)
        assert np.isfinite(float(vae.train(vectors, keras.optimizers.Adam())))
    finally:
        tf.config.run_functions_eagerly(False)


SEVERAL = """
import keras, numpy as np, tensorflow as tf
from bicoder import VAE, Decoder, Encoder
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
x = np.random.default_rng(0).random((60, 12)).astype("float32")
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    vae = VAE(Encoder("mlp:hidden=[8]", 3), Decoder("mlp:hidden=[8]"), seed=0)
    vae.compile(keras.optimizers.Adam(1e-2))
losses = vae.fit(x, epochs=3, verbose=0).history["loss"]
assert losses[-1] < losses[0], losses
try:
    vae.train(x, keras.optimizers.Adam())
except ValueError as error:
    print(error)
"""


@pytest.mark.tensorflow
@pytest.mark.fault(102)
def test_several_devices_train_by_fit():
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", SEVERAL], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == "train: expected one device, received a strategy of several; use fit, which takes it\n"


class Adam:
    """An optimizer of Keras 2, as far as anybody looks."""


@pytest.mark.fault(102)
def test_an_optimizer_of_keras_2_is_refused_by_name(vectors, monkeypatch):
    monkeypatch.setattr(Adam, "__module__", "tf_keras.src.optimizers.adam")
    for use in (VAE().compile, lambda optimizer: VAE().train(vectors, optimizer)):
        with pytest.raises(UsageError, match="it is of Keras 2: unset TF_USE_LEGACY_KERAS"):
            use(Adam())


@pytest.mark.fault(186)
def test_an_optimizer_for_fewer_variables_is_refused(vectors):
    vae, optimizer = small_vae(), keras.optimizers.Adam()
    vae.encoder.trainable = False
    vae.train(vectors, optimizer)
    vae.encoder.trainable = True
    with pytest.raises(UsageError, match="train: the optimizer was built for fewer variables"):
        vae.train(vectors, optimizer)


SPAWNED = """
import multiprocessing, sys
import numpy as np
from bicoder import VAE

def predict(x):
    vae = VAE(seed=0)
    vae.build((None, 16))
    return vae.predict(x, verbose=0).shape

if __name__ == "__main__":
    x = np.zeros((8, 16), "float32")
    vae = VAE(seed=0)
    vae.compile("adam")
    vae.fit(x, epochs=1, verbose=0)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.apply_async(predict, (x,)).get(60))
"""


@pytest.mark.fault(130)
def test_a_process_that_is_spawned_after_a_fit_predicts(tmp_path):
    """One that is forked hangs, for TensorFlow's threads are not copied: python.md says so, and says what works."""
    (tmp_path / "spawned.py").write_text(SPAWNED)
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, tmp_path / "spawned.py"]
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=120)
    assert done.stdout == "(8, 16)\n", done.stderr
