"""What is said while a model is trained: one line that moves on a terminal, about twenty in a log."""

import itertools
import os
import pty
import re
import subprocess
import sys
import time

import pytest
from conftest import ROOT

from bicoder.cli.main import main
from bicoder.runs.callbacks.progress import Progress, duration, round_up
from bicoder.runs.state import TrainingState

SMALL = ["--network", "mlp:hidden=[4]", "--generate_from_prior", "--num_images", "4"]


def go_through(run, first, last, epochs, **options):
    """What Keras and the state do, without a model: epochs `first` to `last`, of which each has two programs."""
    training = TrainingState(run, "metrics.csv", steps=10)
    training.state["epoch"] = first - 1
    progress = Progress(training, epochs, **options)
    progress.on_train_begin()
    for epoch in range(first - 1, last):
        for batch in (5, 10):
            training.state["batch"] = batch
            progress.on_train_batch_end(batch - 1, {"elbo": -3.25})
        training.state |= {"epoch": epoch + 1, "batch": 0}
        progress.on_epoch_end(epoch, {"elbo": -3.0, "val_elbo": -4.0 - epoch})
    progress.on_train_end()
    progress.close()


@pytest.mark.parametrize("first", [1, 2, 18])
@pytest.mark.parametrize("epochs", [18, 19, 20, 37, 100, 300, 1001, 20_000])
def test_a_log_has_about_twenty_lines(tmp_path, capsys, first, epochs):
    go_through(tmp_path, first, epochs, epochs, moving=False)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 20
    assert len(lines) >= min(10, epochs - first + 1)
    told = [int(re.match(r"epoch +(\d+)/", line)[1]) for line in lines]
    assert (told[0], told[-1]) == (first, epochs)
    assert told == sorted(set(told))
    gaps = {after - before for before, after in itertools.pairwise(told[1:-1])}
    assert len(gaps) <= 1, "evenly spaced"


def test_a_line_says_how_far_it_is(tmp_path, capsys):
    go_through(tmp_path, 1, 2, 2, moving=False, validation="validation")
    first, last = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"epoch 1/2  -ELBO 3\.00  validation 4\.00  \d+ s left", first)
    assert last == "epoch 2/2  -ELBO 3.00  validation 5.00"


def test_no_epochs_are_no_line(tmp_path, capsys):
    for moving in (True, False):
        go_through(tmp_path, 1, 0, 0, moving=moving)
    assert capsys.readouterr().out == ""


def test_a_training_that_ends_early_says_where(tmp_path, capsys):
    go_through(tmp_path, 1, 33, 100, moving=False)
    assert capsys.readouterr().out.splitlines()[-1].startswith("epoch  33/100")


def test_the_line_that_moves_stays_in_its_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("bicoder.runs.callbacks.progress.OFTEN", 0.0)
    monkeypatch.setenv("COLUMNS", "30")
    go_through(tmp_path, 1, 3, 3, moving=True)
    text = capsys.readouterr().out
    assert text.count("\n") == 1
    assert text.endswith("\n")
    states = text.rstrip("\n").split("\r")[1:]
    assert states[0] == "epoch 1/3\x1b[K"
    assert states[-1] == "epoch 3/3  -ELBO 3.00  held o\x1b[K"
    assert max(len(state) for state in states) <= 29 + len("\x1b[K")


@pytest.mark.parametrize(("mode", "verbose"), [("quiet", 0), ("verbose", 2)])
def test_nothing_of_its_own(tmp_path, capsys, mode, verbose):
    for moving in (True, False):
        go_through(tmp_path, 1, 30, 30, mode=mode, moving=moving)
    assert capsys.readouterr().out == ""
    assert Progress(TrainingState(tmp_path, "metrics.csv", steps=1), 1, mode).verbose == verbose


@pytest.mark.fault(112)
@pytest.mark.parametrize(("mode", "words"), [("auto", "compiling"), ("verbose", "compiling"), ("quiet", "")])
def test_what_is_done_before_the_first_steps_is_said(tmp_path, capsys, monkeypatch, mode, words):
    monkeypatch.setattr("bicoder.waiting.FIRST", 0.01)
    progress = Progress(TrainingState(tmp_path, "metrics.csv", steps=1), 1, mode, moving=False)
    progress.wait()
    time.sleep(0.1)
    progress.on_train_batch_end(0, {})
    said = capsys.readouterr().err
    assert said == (words and "compiling the program of the training: 0 s so far\n")


@pytest.mark.fault(112)
def test_a_log_says_something_in_a_long_first_epoch(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("bicoder.waiting.FIRST", 0.0)
    go_through(tmp_path, 1, 2, 2, moving=False)
    assert [line[:9] for line in capsys.readouterr().out.splitlines()] == ["epoch 1/2", "epoch 1/2", "epoch 2/2"]


def test_numbers_that_read_well():
    assert [round_up(n) for n in (0, 1, 6, 10, 17, 56, 101)] == [1, 1, 6, 10, 20, 60, 200]
    assert [duration(s) for s in (0.2, 59.9, 200, 7500)] == ["1 s", "1 min 00 s", "3 min 20 s", "2 h 05 min"]


def test_a_log_of_a_run(tmp_path, capsys):
    assert main(["--epochs", "60", "--run_dir", str(tmp_path / "run"), *SMALL]) == 0
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if line.startswith("epoch ")]
    assert [int(re.match(r"epoch +(\d+)/60", line)[1]) for line in lines] == [1, *range(4, 61, 4)]
    assert "Epoch" not in out
    last = (tmp_path / "run" / "metrics.csv").read_text().splitlines()[-1].split(",")
    assert lines[-1] == f"epoch 60/60  -ELBO {-float(last[2]):.2f}  held out {-float(last[6]):.2f}"


def test_a_terminal(tmp_path):
    """A real one: its line moves, and the table begins in a line of its own."""
    ours, theirs = pty.openpty()
    command = [sys.executable, ROOT / "train_vae.py", "--epochs", "60", "--run_dir", tmp_path / "run", *SMALL]
    env = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, env=env) as process:
        os.close(theirs)
        said = b""
        while chunk := read(ours):
            said += chunk
        assert [line for line in process.stderr.read().splitlines() if b"so far" not in line] == []
    os.close(ours)
    assert process.returncode == 0
    lines = said.decode().replace("\r\n", "\n").split("\n")
    [moving] = [line for line in lines if "epoch 1/60" in line.replace("epoch  1", "epoch 1")]
    states = [state.removesuffix("\x1b[K") for state in moving.split("\r")[1:]]
    assert states[0] == "epoch  1/60"
    assert re.fullmatch(r"epoch 60/60  -ELBO -?[\d.]+  held out -?[\d.]+", states[-1])
    assert lines[lines.index(moving) + 1] == "", "the table has an empty line above it"


def read(descriptor):
    """What there is on a terminal; b"" when the other side has closed it."""
    try:
        return os.read(descriptor, 2**16)
    except OSError:
        return b""
