"""Several devices, which JAX makes of one CPU: the numbers are those of one device, and each has its share of them."""

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

pytestmark = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs jax")

FLAGS = "--xla_force_host_platform_device_count=4 --xla_backend_optimization_level=0"
FLAGS += " --xla_llvm_disable_expensive_passes=true"

SHARED = """
import json, sys
import keras, numpy as np
from bicoder import VAE, Decoder, Encoder
from bicoder.engine.arrays.trees import mapped
from bicoder.errors import UsageError
from bicoder.networks import MLP

rng = np.random.default_rng(0)
x = rng.random((42, 10)).astype("float32")


def on(devices):
    there = keras.distribution.list_devices()[:devices]
    several = keras.distribution.DataParallel(devices=there) if devices > 1 else None
    keras.distribution.set_distribution(several)


def made(posterior="diagonal_gaussian", likelihood="gaussian", network=None, **parts):
    network = network or (lambda: MLP((8,)))
    vae = VAE(Encoder(network(), 3, posterior), Decoder(network(), likelihood=likelihood), seed=0, **parts)
    vae.compile(keras.optimizers.Adam(1e-2))
    return vae
"""

LOSSES = """
from bicoder.networks import Residual

images = rng.random((8, 8, 8, 1)).astype("float32")
missing = np.repeat(np.arange(40)[:, None] % 3 == 0, 4, axis=1)
views = {"a": x[:40], "b": np.ma.masked_array(x[:40, :4], missing)}
labels, weights = rng.integers(0, 3, 40), rng.random(42).astype("float32")
parts = {
    "elbo": ({}, {"x": x, "sample_weight": weights, "validation_data": x[:7], "epochs": 9, "steps_per_epoch": None}),
    "iwae": ({"objective": "iwae"}, {}),
    "full_gaussian": ({"posterior": "full_gaussian"}, {}),
    "vamp": ({"prior": "vamp:pseudo_inputs=4"}, {}),
    "residual": ({"network": lambda: Residual(filters=(4,), blocks=1)}, {"x": images, "epochs": 50}),
    "beta_tc": ({"objective": "beta_tc", "likelihood": "optimal_gaussian"}, {}),
    "dipvae": ({"objective": "dipvae"}, {"epochs": 2}),
    "info_vae": ({"objective": "info_vae"}, {"epochs": 2}),
    "views": ({"condition": "labels"}, {"x": views, "y": labels, "epochs": 2}),
}
for name in sys.argv[2:]:
    made_of, given = parts[name]
    for devices in json.loads(sys.argv[1]):
        on(devices)
        vae, losses = made(**made_of), []
        told = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: losses.append(logs["loss"]))
        given = {"x": x[:40], "batch_size": 8, "epochs": 10, "verbose": 0} | given
        history = vae.fit(**given, callbacks=[told]).history
        print(json.dumps({"name": name, "devices": devices, "losses": losses, "validation": history.get("val_loss")}))
"""


def child(code, *arguments):
    """The lines of JSON that a program prints which has four devices."""
    env = os.environ | {"PYTHONPATH": str(ROOT), "KERAS_BACKEND": "jax", "XLA_FLAGS": FLAGS}
    done = subprocess.run(
        [sys.executable, "-c", SHARED + code, *arguments], env=env, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("name", ["elbo", "iwae", "full_gaussian", "vamp", "residual"])
def test_losses_are_those_of_one_device(name):
    one, *others = child(LOSSES, "[1, 2, 4]", name)
    assert len(one["losses"]) >= 50
    assert one["losses"][-1] < one["losses"][0]
    assert [other["devices"] for other in others] == [2, 4]
    for other in others:
        np.testing.assert_allclose(other["losses"], one["losses"], rtol=1e-4)
        np.testing.assert_allclose(other["validation"] or 0, one["validation"] or 0, rtol=1e-4)


@pytest.mark.parametrize("name", ["beta_tc", "dipvae", "info_vae", "views"])
def test_what_looks_at_a_batch_sees_all_of_it(name):
    """Objectives over the batch, an optimal sigma, conditions, views of which some are missing."""
    one, four = child(LOSSES, "[1, 4]", name)
    np.testing.assert_allclose(four["losses"], one["losses"], rtol=1e-4)


SHARE = """
import re
from bicoder.engine.programs.devices import spread
from bicoder.engine.programs.jax_steps import GROUPS, many_steps, placed, stays, values_of, variables
from bicoder.engine.programs.optimizers import build_optimizer

vae = made()
vae.build((None, 10))  # before there is a distribution
build_optimizer(vae)
on(4)
groups = placed(vae, vae.optimizer, "train")
assert all(len(variable.value.sharding.device_set) == 4 for group in groups for variable in group)
batches = spread(x[None, :7])
assert {shard.data.shape for shard in batches.batches.addressable_shards} == {(1, 2, 10)}
program = many_steps(vae.train_step, 1, stays(groups)).lower(values_of(groups), batches, 1).compile().as_text()
print(json.dumps([sorted({*re.findall(r"f32\\\\[(\\\\d+),6\\\\]\\\\S* dot", program)}), "all-reduce" in program]))
"""


def test_each_device_has_its_share():
    """Of 7 examples 2 at most, of which the encoder makes 6 numbers each."""
    assert child(SHARE.replace("\\\\", "\\")) == [[["2"], True]]


ASKED = """
def asked(vae):
    numbers = vae.evaluate(x, batch_size=5, verbose=0, return_dict=True)
    return {
        "predict": vae.predict(x, batch_size=5, verbose=0), "encode": vae.encode(x[:7]).mean,
        "generate": vae.generate(5, seed=1), "log_likelihood": vae.log_likelihood(x[:7], 5),
        "train": vae.train(x[:7], keras.optimizers.Adam(1e-2)), "elbo": numbers["elbo"],
    }

found = []
for devices in (1, 4):
    on(devices)
    vae = made()
    vae.fit(x, batch_size=8, epochs=1, verbose=0)
    numbers = asked(vae)
    found.append({name: np.asarray(value) for name, value in numbers.items()})
for name, value in found[0].items():
    np.testing.assert_allclose(found[1][name], value, rtol=1e-4, atol=1e-5, err_msg=name)
try:
    vae.fit(x, batch_size=6, verbose=0)
except UsageError as error:
    print(json.dumps(str(error)))
"""


@pytest.mark.fault(276)
def test_everything_that_one_device_takes_is_taken():
    """Arrays whose length does not divide too; a batch size that does not is refused in one line."""
    assert child(ASKED) == ["batch_size: expected a multiple of 4, the number of devices, received 6; take 4 or 8"]
