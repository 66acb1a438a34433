"""The commands and programs of docs/scaling.md, word for word, on four devices that JAX makes of one CPU."""

import csv
import importlib.util
import re
import shlex
import sys

import numpy as np
import pytest
from conftest import ROOT
from test_environment import BICODER, TRAIN, one_line, run

FLAGS = "--xla_force_host_platform_device_count=4 --xla_backend_optimization_level=0"
JAX = {"XLA_FLAGS": f"{FLAGS} --xla_llvm_disable_expensive_passes=true"}
needs_jax = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs jax")
QUICK = ["--network", "mlp:hidden=[8]", "--latent_dim", "2", "--epochs", "2", "--no_pictures"]


def blocks(section, kind):
    """The blocks of a section of the page."""
    page = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    return re.findall(f"```{kind}\n(.*?)```", page.split(f"## {section}\n")[1].split("\n## ")[0], re.DOTALL)


def losses(folder):
    with (folder / "metrics.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


@needs_jax
def test_a_run_on_several_devices_has_the_losses_of_one(tmp_path):
    (block,) = blocks("Several devices of one machine", "sh")
    name, *arguments = shlex.split(block)
    assert (name, arguments[-4:]) == ("bicoder", ["--devices", "all", "--batch_size", "64"])
    several = run(BICODER, *arguments, *QUICK, "--run_dir", tmp_path / "four", env=JAX)
    assert several.returncode == 0, several.stderr
    assert "digits: 4 devices, each with 16 images of a batch" in several.stdout
    arguments[arguments.index("all")] = "1"
    one = run(BICODER, *arguments, *QUICK, "--run_dir", tmp_path / "one", env=JAX)
    assert one.returncode == 0, one.stderr
    assert "images of a batch" not in one.stdout
    np.testing.assert_allclose(losses(tmp_path / "four"), losses(tmp_path / "one"), rtol=1e-4)
    more = run(BICODER, "train", "--resume", tmp_path / "four", "--epochs", 3, "--no_pictures", env=JAX)  # on one
    assert more.returncode == 0, more.stderr
    assert len(losses(tmp_path / "four")) == 3


@needs_jax
@pytest.mark.parametrize("section", ["Several devices of one machine", "A model larger than a device"])
def test_the_programs_of_the_page_run(section):
    (block,) = blocks(section, "python")
    done = run([sys.executable, "-c", block], env=JAX | {"KERAS_BACKEND": "jax"}, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    if "DataParallel" in block:
        assert "(7, 64) (5, 64)" in done.stdout
    else:
        assert "(4096, 4096) of which a device has (4096, 2048)" in done.stdout


@pytest.mark.fault(274)
def test_devices_on_a_backend_that_does_not_divide(tmp_path):
    said = one_line(run(TRAIN, "--devices", "2", "--run_dir", tmp_path / "run"), 2)
    assert "devices: expected it with --backend jax" in said
    assert "received tensorflow; add --backend jax" in said
    assert not (tmp_path / "run").exists()
    assert "expected all or a whole number" in one_line(run(TRAIN, "--devices", "al"), 2)


@needs_jax
@pytest.mark.fault(275)
@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (["--devices", "4", "--batch_size", "130"], "expected a multiple of 4, the number of devices, received 130; "),
        (["--devices", "8"], "devices: expected at most 4, which JAX finds here, received 8"),
    ],
)
def test_devices_that_cannot_be_had(typed, expected, tmp_path):
    done = run(TRAIN, "--backend", "jax", *typed, "--run_dir", tmp_path / "run", env=JAX)
    assert done.returncode == 2
    assert expected in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert not (tmp_path / "run").exists()
