"""A training on several hosts: processes of this machine, which know of each other by a port alone."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import ROOT
from hosting import FAST, QUICK, TIMEOUT, ended, free_port, start, told, train

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="asks /proc which process another one has started"),
    pytest.mark.timeout(600),
]
pytest.importorskip("jax")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """Programs that one process has compiled need not be compiled by the next."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path_factory.getbasetemp().parent / "jax-of-hosts"))
        yield


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    path = tmp_path_factory.mktemp("images") / "x.npy"
    np.save(path, np.random.default_rng(0).random((300, 12), "float32"))
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What the two commands of the page about several machines have printed, and the folder of their run."""
    place, port = tmp_path_factory.mktemp("hosts"), free_port()
    page = (ROOT / "docs" / "scaling.md").read_text()
    lines = [line for line in page.splitlines() if line.startswith("bicoder train") and "10.0.0.1:4711" in line]
    words = [line.replace("10.0.0.1:4711", f"127.0.0.1:{port}").split()[2:] for line in lines]
    assert len(words) == 2
    return ended([start(*some, cwd=place) for some in words]), place / "runs" / "two"


def losses(folder):
    with open(folder / "metrics.csv") as file:
        return [[float(value) for value in row.values()] for row in csv.DictReader(file)]


def alone(*words):
    """`bicoder train` on this machine only."""
    [(code, _, error)] = ended([start(*words, "--backend", "jax")])
    assert code == 0, error


def test_host_0_prints_and_writes(trained):
    [(code, out, error), (other, silent, quiet)], folder = trained
    assert (code, other) == (0, 0), error + quiet
    assert "test -ELBO" in out
    assert silent == ""
    assert not [line for line in quiet.splitlines() if "so far" not in line]
    assert {path.name for path in folder.glob("host-*.log")} == {"host-0.log", "host-1.log"}
    assert len(losses(folder)) == 3
    assert "hosts" not in json.loads((folder / "config.json").read_text())["arguments"]


def test_a_run_of_two_hosts_goes_on_on_one_and_back(trained, tmp_path):
    """With the losses of a machine that has done it all, but for rounding."""
    _, folder = trained
    alone("--dset", "digits", "--epochs", 5, "--run_dir", tmp_path / "whole", "--no_pictures")
    alone("--resume", folder, "--epochs", 4, "--no_pictures")
    found = ended(train("--resume", folder, "--epochs", 5, "--no_pictures"))
    assert [code for code, _, _ in found] == [0, 0], found
    np.testing.assert_allclose(losses(folder), losses(tmp_path / "whole"), rtol=1e-4)


@pytest.mark.fault(290)
@pytest.mark.skipif("BICODER_KILLS" not in os.environ, reason="takes minutes: make kills")
def test_hosts_that_are_killed_at_random_moments(images, tmp_path):
    command = [sys.executable, ROOT / "tests" / "runs" / "hosts" / "hosting.py", tmp_path, "2", "3", "1"]
    words = ["--dset", images, *QUICK, "--epochs", "40", "--checkpoint_epochs", "1"]
    done = subprocess.run([*command, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert sum(line.startswith("killed") for line in lines) == 3, lines
    assert "different" not in lines
    assert lines[-1] == "same"


@pytest.mark.fault(287)
def test_a_coordinator_that_is_not_there(images, tmp_path):
    began = time.monotonic()
    words = ["--dset", images, *QUICK, "--run_dir", tmp_path / "run"]
    [(code, out, error)] = ended([start(*words, *told(1, 2, free_port(), 5))])
    assert code == 7
    assert out == ""
    line, *more = error.splitlines()
    assert not more
    assert "did not come together at 127.0.0.1:" in line
    assert "within 5 s" in line
    assert time.monotonic() - began < 60  # on a busy machine


@pytest.mark.fault(288)
def test_hosts_with_other_versions_arguments_and_data(images, tmp_path):
    """Host 1 has another JAX, as its metadata say, another learning rate, and one pixel of one image."""
    other = np.load(images)
    other[7, 3] = 1 - other[7, 3]
    np.save(tmp_path / "x.npy", other)
    (tmp_path / "jax-0.0.1.dist-info").mkdir()
    (tmp_path / "jax-0.0.1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: jax\nVersion: 0.0.1\n")
    path, port = {"PYTHONPATH": f"{tmp_path}:{FAST['PYTHONPATH']}"}, free_port()
    words = [*QUICK, "--run_dir", tmp_path / "run"]
    first = start("--dset", images, *words, *told(0, 2, port))
    second = start("--dset", tmp_path / "x.npy", *words, "--learning_rate", 0.01, *told(1, 2, port), env=path)
    for code, _, error in ended([first, second]):
        assert code == 2, error
        line = error.splitlines()[-1]
        assert "hosts: expected the same on all" in line
        assert "'0.0.1' on host 1" in line
        assert "learning_rate 0.001 on host 0 and 0.01 on host 1" in line
        assert "data.sha256" in line
    assert not (tmp_path / "run" / "metrics.csv").exists()


SLURM = {"SLURM_JOB_ID": "{job}", "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": "2", "SLURM_PROCID": "{host}"}
OPEN_MPI = {
    "OMPI_MCA_orte_hnp_uri": "{orte}.0;tcp://127.0.0.1:34911",
    "OMPI_COMM_WORLD_SIZE": "2",
    "OMPI_COMM_WORLD_RANK": "{host}",
}


@pytest.mark.parametrize("variables", [SLURM | {"SLURM_LOCALID": "0"}, OPEN_MPI | {"OMPI_COMM_WORLD_LOCAL_RANK": "0"}])
def test_what_slurm_and_open_mpi_say(variables, images, tmp_path):
    """JAX takes the port from the number of the job."""
    job = free_port() % 2**12
    words = ["--dset", images, *QUICK, "--epochs", 1, "--run_dir", tmp_path / "run", "--backend", "jax"]
    processes = []
    for host in range(2):
        names = {"job": job, "orte": job * 2**12, "host": host}
        env = {name: value.format(**names) for name, value in variables.items()}
        processes.append(start(*words, "--hosts", "auto", "--timeout", TIMEOUT, env=env))
    found = ended(processes)
    assert [code for code, _, _ in found] == [0, 0], found
    assert [bool(out) for _, out, _ in found] == [True, False]
    assert len(losses(tmp_path / "run")) == 1


@pytest.mark.fault(291)
def test_a_signal_to_host_0_saves_first(images, tmp_path):
    run = tmp_path / "run"
    processes = train("--dset", images, *QUICK, "--epochs", 100_000, "--run_dir", run, "--quiet")
    until = time.monotonic() + 120
    while not (run / "metrics.csv").exists() and time.monotonic() < until:
        time.sleep(0.1)
    processes[0].terminate()
    (code, out, _), (other, _, error) = ended(processes)
    assert code == 128 + signal.SIGTERM
    assert "goes on from here" in out
    assert list((run / "checkpoints").iterdir())
    assert other == 7, error
    assert error.splitlines()[-1].startswith("bicoder train: error: hosts: ")
