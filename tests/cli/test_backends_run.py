"""The commands on other backends of Keras, where they are installed."""

import importlib.util
import json

import numpy as np
import pytest
from test_environment import BICODER, run

QUICK = ["--dset", "digits", "--network", "mlp:hidden=[16]", "--latent_dim", "2", "--no_pictures", "--quiet"]


@pytest.fixture(scope="module", params=["jax", "torch"])
def backend(request):
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"needs {request.param}, which is not installed")
    return request.param


@pytest.fixture(scope="module")
def trained(backend, tmp_path_factory):
    """The folder of a run of one epoch."""
    folder = tmp_path_factory.mktemp(backend) / "run"
    good("train", *QUICK, "--epochs", 1, "--run_dir", folder, "--backend", backend)
    return folder


def good(*arguments):
    done = run(BICODER, *arguments)
    assert done.returncode == 0, done.stderr
    return done


def codes(path):
    """The numbers of a table of codes: means and deviations."""
    return np.genfromtxt(path, delimiter=",", skip_header=1)[:, 2:]


def test_a_run_says_what_it_was_trained_on(trained, backend):
    config = json.loads((trained / "config.json").read_text())
    assert config["backend"] == backend
    assert backend in config["versions"]


def test_a_run_moves_to_tensorflow(trained, backend, tmp_path):
    found = []
    for name in (backend, "tensorflow"):
        good("encode", trained, "--backend", name, "--output", tmp_path / f"{name}.csv")
        found.append(codes(tmp_path / f"{name}.csv"))
    assert found[0].size
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5, atol=1e-6)


def test_a_run_goes_on_where_it_began(trained, backend):
    """On its own backend if nothing else is said, with the losses of a training that was not interrupted."""
    other = trained.parent / "whole"
    good("train", *QUICK, "--epochs", 2, "--run_dir", other, "--backend", backend)
    good("train", "--resume", trained, "--epochs", 2, "--no_pictures")
    assert (trained / "metrics.csv").read_bytes() == (other / "metrics.csv").read_bytes()
    assert json.loads((trained / "config.json").read_text())["backend"] == backend


def test_the_numbers_of_a_run(trained, backend):
    good("evaluate", trained, "--backend", backend, "--num_samples", 5)
    numbers = json.loads((trained / "evaluation.json").read_text())
    assert -numbers["nll"] >= numbers["elbo"]
