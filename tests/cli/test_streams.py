"""Standard output that goes to a file whose disk is full: said in one line, and nothing that was learnt is lost."""

import contextlib
import os
import subprocess
import sys

import pytest
from conftest import ROOT, largest_file

from bicoder.cli import main as cli
from bicoder.runs import checkpoints

FULL = "/dev/full"
SMALL = ["--epochs", "200", "--latent_dim", "2", "--network", "mlp:hidden=[4]", "--no_pictures"]


@pytest.mark.fault(153)
@pytest.mark.skipif(not os.path.exists(FULL), reason="needs a device that is always full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [["--version"], ["train", "--help"]], ids=" ".join)
def test_the_disk_of_standard_output_is_full(arguments, unbuffered):
    env = os.environ | {"PYTHONUNBUFFERED": unbuffered, "PYTHONPATH": str(ROOT)}
    with open(FULL, "w") as full:
        command = [sys.executable, "-m", "bicoder", *arguments]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=env)
    assert (done.returncode, done.stderr) == (2, "error: standard output cannot be written: No space left on device\n")


@pytest.mark.fault(154)
def test_the_disk_of_standard_output_becomes_full_in_a_training(tmp_path, capsys):
    """There is room for the first lines; the run lies on another disk, which has room."""
    most, log = 2**40, tmp_path / "log"
    with largest_file(most), open(log, "w", buffering=1) as file, contextlib.redirect_stdout(file):
        file.seek(most - 400)  # bytes that are left; what is before them takes no room
        with pytest.raises(SystemExit) as stop:
            cli.main([*SMALL, "--verbose", "--checkpoint_epochs", "1000", "--run_dir", str(tmp_path / "run")])
    assert stop.value.code == 2
    assert "error: standard output cannot be written: File too large\n" in capsys.readouterr().err
    (epoch,) = checkpoints.numbers(tmp_path / "run")
    assert 0 < epoch < 200
    assert cli.main(["--resume", str(tmp_path / "run"), "--quiet", "--no_pictures"]) == 0
