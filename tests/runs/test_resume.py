"""A training that was stopped goes on to the same result, to the last bit."""

import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

from bicoder.cli.main import main
from bicoder.runs import checkpoints
from bicoder.runs.callbacks.interruption import Interruption

KILLING = ROOT / "tests" / "runs" / "killing.py"
SMALL = ["--network", "mlp:hidden=[16]", "--generate_from_prior", "--checkpoint_epochs", "1"]


def arguments(*more):
    return ["--dset", "digits", "--batch_size", "10", *SMALL, *more]


@pytest.mark.fault(61)
def test_killed_at_random_moments(tmp_path):
    kills = int(os.environ.get("BICODER_KILLS", "3"))
    command = [sys.executable, KILLING, tmp_path, str(kills), "1", *arguments("--epochs", "12", "--weights", "best")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = done.stdout.splitlines()
    assert sum(line.startswith("ended -9") for line in lines) == kills
    assert "different" not in lines
    assert "same" in lines


@pytest.mark.xla
@pytest.mark.fault(86)
def test_a_signal_saves_first(tmp_path):
    """SIGTERM when the second of 30 epochs begins; the rest ends as if it had never come."""
    run, whole = tmp_path / "run", tmp_path / "whole"
    command = [sys.executable, "-u", ROOT / "train_vae.py", *arguments("--epochs", "30", "--run_dir", run)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        next(line for line in process.stdout if "epoch  1/30" in line)
        process.terminate()
        assert "--resume" in process.stdout.read()
    assert process.returncode == 143
    assert checkpoints.numbers(run)
    assert main(["--resume", str(run)]) == 0
    assert main(arguments("--epochs", "30", "--run_dir", str(whole))) == 0
    assert (run / "metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes()
    assert (run / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two epochs, and the array it was trained on."""
    folder = tmp_path_factory.mktemp("run")
    np.save(folder / "x.npy", np.random.default_rng(0).random((60, 12), "float32"))
    command = ["--dset", str(folder / "x.npy"), "--epochs", "2", "--run_dir", str(folder / "run"), *SMALL]
    assert main(command) == 0
    return folder / "run"


@pytest.mark.fault(70)
def test_other_arguments_are_refused_and_listed(run, capsys):
    assert main(["--resume", str(run), "--batch_size", "7", "--seed", "3", "--epochs", "2"]) == 2
    error = capsys.readouterr().err
    assert "batch_size 128 is now 7" in error
    assert "seed 0 is now 3" in error
    assert "epochs" not in error
    assert error.count("\n") == 1


@pytest.mark.fault(70)
def test_other_data_are_refused(run, capsys):
    path = run.parent / "x.npy"
    data = path.read_bytes()
    try:
        path.write_bytes(data[:-1] + b"\x00")
        assert main(["--resume", str(run)]) == 5
        assert "sha256" in capsys.readouterr().err
    finally:
        path.write_bytes(data)


@pytest.mark.fault(71)
def test_a_finished_run_is_done(run, capsys):
    before = {name: (run / name).read_bytes() for name in ("metrics.csv", "config.json")}
    weights = (run / "model.safetensors").read_bytes()
    there = checkpoints.numbers(run)
    assert main(["--resume", str(run), "--num_images", "9"]) == 0
    assert "done, all 2 epochs" in capsys.readouterr().out
    assert {name: (run / name).read_bytes() for name in before} == before
    assert (run / "model.safetensors").read_bytes() == weights
    assert checkpoints.numbers(run) == there


def test_resume_of_nothing(tmp_path, capsys):
    assert main(["--resume", str(tmp_path / "none")]) == 5
    assert "expected a run folder" in capsys.readouterr().err


@pytest.mark.fault(62)
def test_a_damaged_checkpoint_falls_back(run, capsys):
    newest = sorted((run / "checkpoints").iterdir())[-1]
    data = (newest / "arrays.npz").read_bytes()
    weights = (run / "model.safetensors").read_bytes()
    (newest / "arrays.npz").write_bytes(data[:1000])
    assert main(["--resume", str(run)]) == 0
    captured = capsys.readouterr()
    assert "is damaged" in captured.err
    assert "going on after 1 epochs" in captured.out
    assert (run / "model.safetensors").read_bytes() == weights


@pytest.mark.fault(73)
def test_a_loss_that_is_no_number_stops_at_its_step(tmp_path, capsys):
    """A learning rate that makes the weights grow until float32 has no number for them."""
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((200, 12), "float32"))
    command = ["--dset", str(tmp_path / "x.npy"), "--epochs", "400", "--run_dir", str(tmp_path / "run"), *SMALL]
    assert main([*command, "--learning_rate", "1e18", "--batch_size", "10"]) == 6
    error = capsys.readouterr().err
    assert "loss: expected a finite number, received" in error
    assert "epoch 1, step" in error
    assert "try a smaller learning rate" in error
    assert not (tmp_path / "run" / "model.safetensors").exists()


@pytest.mark.fault(73)
def test_the_last_good_checkpoint_stays(run, tmp_path, capsys):
    """Weights near the end of float32 in the checkpoint: the next step is no number, the checkpoint is still there."""
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    config = json.loads((copy / "config.json").read_text())
    config["arguments"]["epochs"] = 4
    (copy / "config.json").write_text(json.dumps(config))
    folder = copy / "checkpoints" / f"{checkpoints.numbers(copy)[-1]:06d}"
    with np.load(folder / "arrays.npz") as archive:
        arrays = dict(archive)
    arrays["model/0001"] = np.full_like(arrays["model/0001"], 3e37)
    checkpoints.save(copy, arrays, json.loads((folder / "state.json").read_text()))
    newest = checkpoints.numbers(copy)[-1]
    assert main(["--resume", str(copy)]) == 6
    error = capsys.readouterr().err
    assert "in epoch 3, step 1, from the distortion" in error
    assert f"the last good state is {copy / 'checkpoints' / f'{newest:06d}'}" in error
    assert checkpoints.numbers(copy)[-1] == newest


@pytest.mark.fault(129)
@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL], ids=["nohup", "terminal"])
def test_a_hangup_counts_unless_it_is_ignored(handler):
    before = signal.signal(signal.SIGHUP, handler)
    try:
        interruption = Interruption(None)
        interruption.on_train_begin()
        if handler == signal.SIG_IGN:
            os.kill(os.getpid(), signal.SIGHUP)
            assert interruption.received is None
        else:
            signal.raise_signal(signal.SIGHUP)
            assert interruption.received == signal.SIGHUP
        interruption.on_train_end()
        assert signal.getsignal(signal.SIGHUP) == handler
    finally:
        signal.signal(signal.SIGHUP, before)
