"""A folder that loses its rights while a training writes into it."""

import os
import shutil
import subprocess
import sys
import time

import pytest
from conftest import ROOT

from bicoder.cli import main as cli
from bicoder.runs import checkpoints

SMALL = ["--latent_dim", "2", "--network", "mlp:hidden=[4]", "--no_pictures", "--quiet"]
# Rights mean nothing to root, unless that is taken from it.
WITHOUT = ["--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"]


@pytest.mark.fault(207)
@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="root, and no setpriv")
@pytest.mark.parametrize("below", ["", "checkpoints"])
def test_a_run_that_loses_its_rights_ends_in_one_line_and_goes_on_later(tmp_path, below):
    run = tmp_path / "run"
    options = ["--epochs", "100", "--checkpoint_epochs", "1", "--run_dir", str(run)]
    command = [sys.executable, "-m", "bicoder", "train", *SMALL, *options]
    if os.geteuid() == 0:
        command = ["setpriv", *WITHOUT, *command]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    try:
        while not checkpoints.numbers(run):
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.1)
        (run / below).chmod(0o555)
        _, said = process.communicate(timeout=120)
    finally:
        process.kill()
        (run / below).chmod(0o755)
    assert process.returncode == 5, said
    assert len(said.splitlines()) == 1
    assert "Permission denied" in said
    assert cli.main(["--resume", str(run), "--checkpoint_epochs", "100", "--no_pictures", "--quiet"]) == 0
