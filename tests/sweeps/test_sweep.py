"""`bicoder sweep`: what it trains, what it refuses, and that a sweep that was killed ends as one that was not."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import filelock
import numpy as np
import pytest
from conftest import ROOT
from copies import Done, instead_of_runs, sweep, train

from bicoder.cli.command import commands
from bicoder.cli.parser import parse
from bicoder.sweeps import children
from bicoder.sweeps.combinations import settings_of
from bicoder.sweeps.plan import Plan, usual_folder
from bicoder.sweeps.search import bound_of

SMALL = ["--no_pictures", "--quiet", "--network", "mlp:hidden=[8]", "--latent_dim", "2"]


@pytest.fixture(autouse=True)
def images(tmp_path, monkeypatch):
    """A small data set in the working directory."""
    monkeypatch.chdir(tmp_path)
    np.save("images.npy", np.random.default_rng(0).random((200, 6, 6)).astype("float32"))


@pytest.fixture
def here(monkeypatch):
    return instead_of_runs(monkeypatch)


def content(folder):
    return {path: path.is_symlink() or (path.is_file() and path.read_bytes()) for path in folder.rglob("*")}


def table(text):
    """The lines of the table in what a sweep printed."""
    return [line for line in text.splitlines() if line.startswith("|")]


@pytest.mark.fault(245, 246)
def test_a_sweep_that_is_stopped_and_killed_ends_as_one_that_is_not(tmp_path):
    """SIGTERM in the middle of its first run, SIGKILL in the middle of the second; then it is begun once more."""
    words = ["--vary", "seed", "0", "1", "--num_samples", "5", "--", *SMALL, "--dset", "images.npy", "--epochs", "60"]
    command = [sys.executable, ROOT / "tests" / "sweeps" / "sweeping.py", tmp_path, *words]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    options = ["--checkpoint_epochs", "7", "--validation", "0.2", "--weights", "best"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, env=env)
    assert done.stdout.splitlines() == ["undisturbed 0", "SIGTERM 143", "SIGKILL -9", "again 0"], done.stderr
    said = {name: Path(f"{name}.txt").read_text() for name in ("undisturbed", "killed")}
    assert table(said["undisturbed"]) == table(said["killed"])
    rows = [["| n", "runs", "rank"], ["| 2", "seed=0, seed=1", "1"]]
    assert [line.split(" | ")[:3] for line in table(said["killed"])[::2]] == rows
    assert "split_seed: 0 in all runs, so that they are measured on the same images" in said["killed"]
    assert "ending what runs; the same command goes on from here" in said["killed"]
    assert said["killed"].count("1 of 2 runs are done already") == 1
    for run in ("seed=0", "seed=1"):
        for name in ("model.safetensors", "metrics.csv", "evaluation.json", "per_image.csv"):
            assert Path("killed", run, name).read_bytes() == Path("undisturbed", run, name).read_bytes()
        log = Path("killed", run, "log.txt").read_text()
        assert re.search(r"train_vae --resume \S+ goes on from here", log), "told to end, it wrote a checkpoint"
        commands = re.findall(r"^\$ bicoder (\w+).*(--resume|--run_dir|--num_samples)", log, re.MULTILINE)
        assert commands == [("train", "--run_dir"), ("train", "--resume"), ("evaluate", "--num_samples")]
        rows = csv.DictReader(Path("killed", run, "metrics.csv").read_text().splitlines())
        bounds = [float(row["val_elbo"]) for row in rows]
        assert bound_of(Path("killed", run)) == max(bounds)


def test_what_is_done_is_not_done_again(here, capsys):
    """By the same command with its options in another order, and for one of the seeds alone."""
    train = ["--dset", "images.npy", "--epochs", "3", "--latent_dim", "2"]
    assert sweep("--vary", "seed", 0, 1, "--output", "sweep", "--", *train) == 0
    said = capsys.readouterr().out
    here.clear()
    for seeds in ((0, 1), (1,)):
        assert sweep("--vary", "seed", *seeds, "--output", "sweep", "--", *train[2:], *train[:2]) == 0
        assert capsys.readouterr().out == said
    assert here == []


@pytest.mark.fault(246)
def test_ctrl_c_ends_what_runs_and_waits_for_it(here, monkeypatch, capsys):
    """A child has a session of its own, so that Ctrl-C of a terminal is not its own, and comes once."""
    done = []

    class Endless:
        class stdin:  # noqa: N801
            close = staticmethod(lambda: done.append("told"))

        def poll(self):
            raise KeyboardInterrupt

        def wait(self, limit):
            done.append("waited for")

    monkeypatch.setattr(children, "start", lambda words, log, cores: children.Child(Endless(), log))
    assert sweep("--vary", "seed", 0, 1, "--output", "sweep", "--", "--dset", "images.npy") == 130
    assert done == ["told", "waited for"]
    assert "ending what runs; the same command goes on from here" in capsys.readouterr().err


@pytest.mark.fault(247)
def test_one_run_that_fails_does_not_end_it(here, monkeypatch, capsys):
    name, start = "objective=iwae-num_samples=0", children.start
    error = "bicoder train: error: num_samples: expected a positive whole number, received 0"

    def failing(words, log, cores):
        if "iwae:num_samples=0" not in words:
            return start(words, log)
        log.write_text(f"{error}\n")
        return children.Child(Done(2), log)

    monkeypatch.setattr(children, "start", failing)
    words = ["--output", "sweep", "--num_samples", 5, "--", *SMALL, "--dset", "images.npy"]
    assert sweep("--vary", "objective", "elbo", "iwae:num_samples=0", *words) == 1
    said = capsys.readouterr()
    why = f"{name} failed with exit code 2: {error}; its log is sweep/{name}/log.txt"
    assert f"{why}." in said.out
    assert f"2 of 2: {why}, after 1 s" in said.err
    assert "bicoder sweep: error: 1 of 2 runs failed; the same command tries them again" in said.err
    assert len(table(said.out)) == 3
    assert why in Path("sweep/compare.html").read_text()
    assert [words[0] for words in here] == ["train", "evaluate"]

    here.clear()  # other values are added; those that are done are in the table
    assert sweep("--vary", "objective", "beta_elbo:beta=2", *words) == 0
    said = capsys.readouterr()
    assert [words[0] for words in here] == ["train", "evaluate"]
    assert {line.split(" | ")[0] for line in table(said.out)[2:]} == {"| elbo", "| beta_elbo:beta=2"}
    assert f"{name} is not done; a sweep with its values does it." in said.out
    plan = json.loads(Path("sweep/sweep.json").read_text())
    assert [*plan["runs"]] == ["objective=elbo", name, "objective=beta_elbo-beta=2"]


def test_the_same_command_has_the_same_folder():
    """In whatever order its options are, and another one for what trains another model."""
    base = parse(commands("train")["train"], ["--dset", "images.npy", "--epochs", "3"], "train")
    again = parse(commands("train")["train"], ["--epochs", "3", "--quiet", "--dset", "./images.npy"], "train")
    other = parse(commands("train")["train"], ["--epochs", "4", "--dset", "images.npy"], "train")
    folders = [usual_folder(Plan(("seed",), settings_of(one), 1000, {}, 0, {})) for one in (base, again, other)]
    assert folders[0] == folders[1] != folders[2]
    assert re.fullmatch(r"runs/sweep-images.npy-[0-9a-f]{8}", folders[0].as_posix())


def test_options_come_from_a_config_too(here):
    Path("run").mkdir()
    train([*SMALL, "--dset", "images.npy", "--epochs", "1", "--seed", "7"], Path("run"))
    words = ["--", "--config", "run/config.json", "--quiet", "--no_pictures"]
    assert sweep("--vary", "latent_dim", 3, "--output", "sweep", *words) == 0
    found, then = (json.loads(Path(run, "config.json").read_text()) for run in ("sweep/latent_dim=3", "run"))
    assert found["arguments"] | {"latent_dim": 2} == then["arguments"]


REFUSED = {
    "nothing": ([], "vary: expected --vary NAME VALUE..., or --search NAME LOW..HIGH, received neither"),
    "no value": (["--vary", "seed"], "--vary: expected a name and one or more values, received 'seed' alone"),
    "no option": (["--vary", "sed", "0"], "received 'sed'; did you mean 'seed'?"),
    "a flag": (["--vary", "stream", "yes"], "expected an option of train that takes a value"),
    "a folder": (["--vary", "run_dir", "a", "b"], "expected an option of train that takes a value"),
    "a misspelt part": (["--vary", "objective", "elbo", "iwea"], "vary objective: expected one of"),
    "a misspelt argument": (
        ["--vary", "objective", "elbo", "iwae:num_sample=5"],
        "vary objective: iwae takes num_samples; received 'num_sample'; did you mean 'num_samples'?",
    ),
    "no number": (["--vary", "seed", "0", "x"], "vary seed: expected a whole number from 0 to 2147483647"),
    "a value twice": (["--vary", "learning_rate", "1e-3", "0.001"], "vary learning_rate: expected each value once"),
    "an option twice": (
        ["--vary", "seed", "0", "--vary", "seed", "1"],
        "vary seed: expected it once, received it twice",
    ),
    "both places": (["--vary", "seed", "0", "--", "--seed", "1"], "expected --seed not after -- too"),
    "without --": (["x", "--vary", "seed", "0"], "expected -- before 'x'"),
    "an option of train misspelt": (["--vary", "seed", "0", "--", "--epoch", "1"], "did you mean '--epochs'?"),
    "its own option": (["--vary", "seed", "0", "--", "--run_dir", "x"], "run_dir: expected no such option after --"),
    "going on": (["--vary", "seed", "0", "--", "--resume", "x"], "resume: expected no such option after --"),
    "no data": (["--vary", "dset", "digits", "none"], "dset none: "),
    "too many": (["--vary", "seed", *map(str, range(1001))], "vary: expected at most 1,000 runs, received 1,001"),
}


@pytest.mark.fault(242)
@pytest.mark.parametrize(("words", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_varied_is_refused_before_anything_is_written(words, said, tmp_path, here, capsys):
    before = content(tmp_path)
    assert sweep(*words) in (2, 3)
    found = capsys.readouterr()
    assert said in found.err
    assert len([line for line in found.err.splitlines() if "error: " in line]) == 1
    assert found.out == ""
    assert content(tmp_path) == before
    assert here == []


@pytest.mark.fault(243)
def test_the_twelfth_combination_that_cannot_be_shows_at_once(tmp_path, here, capsys):
    before = content(tmp_path)
    vary = ["--vary", "optimizer", "adam", "sgd", "ftrl", "--vary", "learning_rate_warmup", "0", "1"]
    assert sweep(*vary, "--vary", "latent_dim", "1", "2", "--", "--dset", "images.npy") == 2
    said = capsys.readouterr().err
    assert (
        "optimizer ftrl, learning_rate_warmup 1.0, latent_dim 1: learning_rate_warmup: expected none with ftrl" in said
    )
    assert content(tmp_path) == before
    assert here == []


def made(folder, **changes):
    """A folder with the sweep.json of a sweep over two seeds."""
    found = {
        "format": 1,
        "bicoder": "1",
        "vary": ["seed"],
        "train": {"dset": str(Path("images.npy").absolute()), "split_seed": 0},
        "num_samples": 1000,
        "search": {},
        "seed": 0,
        "runs": {"seed=0": {"seed": "0"}},
    }
    Path(folder).mkdir()
    (Path(folder) / "sweep.json").write_text(json.dumps(found | changes))
    return ["--vary", "seed", "0", "--output", folder, "--", "--dset", "images.npy"]


@pytest.mark.fault(244)
@pytest.mark.parametrize(
    "what", ["something else", "a file", "other options", "another option", "other samples", "images"]
)
def test_the_folder_of_something_else_is_refused_and_stays_as_it_was(what, tmp_path, here, capsys):
    words = made("sweep")
    if what == "something else":
        Path("sweep/sweep.json").rename("sweep/thesis.tex")
        said = "output: expected a new or empty folder, or that of a sweep, received sweep"
    elif what == "a file":
        words[4] = "images.npy"
        said = "output: expected a new or empty folder, or that of a sweep, received images.npy"
    elif what == "other options":
        words += ["--latent_dim", "7"]
        said = "holds a sweep that trains with latent_dim by default, not latent_dim 7; choose another folder"
    elif what == "another option":
        words[1] = "latent_dim"
        words[2] = "2"
        said = "output: sweep holds a sweep that varies seed, not latent_dim"
    elif what == "other samples":
        words[:0] = ["--num_samples", "3"]
        said = "evaluates by 1000 samples, not 3 samples"
    else:
        Path("photos").mkdir()
        words = ["--vary", "seed", "0", "--output", "photos/sweep", "--", "--dset", "photos"]
        said = "output: expected a folder outside of the images in "
    before = content(tmp_path)
    assert sweep(*words) == 2
    assert said in capsys.readouterr().err
    assert content(tmp_path) == before
    assert here == []


STRANGE = {
    "no JSON": "{",
    "a list": [],
    "a newer format": {"format": 99},
    "a name that leads out": {"runs": {"../seed=0": {"seed": "0"}}},
    "a path": {"runs": {"/tmp/seed=0": {"seed": "0"}}},
    "a hidden name": {"runs": {".seed=0": {"seed": "0"}}},
    "a name of two lines": {"runs": {"seed=0\n": {"seed": "0"}}},
    "values of another option": {"runs": {"seed=0": {"run_dir": "/tmp"}}},
    "a value that is no text": {"runs": {"seed=0": {"seed": 0}}},
    "options that are not varied": {"vary": ["run_dir"]},
    "names that are none": {"vary": [["seed"]]},
    "options that are none": {"train": {"dset": "digits", "mirror": "http://127.0.0.1"}},
    "no data": {"train": {}},
    "an unknown key": {"command": "rm -rf ~"},
}


@pytest.mark.fault(248)
@pytest.mark.parametrize("changes", STRANGE.values(), ids=STRANGE)
def test_a_sweep_of_a_stranger_is_data_and_nothing_else(changes, tmp_path, here, capsys):
    words = made("sweep", **(changes if isinstance(changes, dict) else {}))
    if not isinstance(changes, dict):
        Path("sweep/sweep.json").write_text(changes if isinstance(changes, str) else json.dumps(changes))
    before = content(tmp_path)
    assert sweep(*words) == 5
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("bicoder sweep: error: sweep/sweep.json: ")
    assert content(tmp_path) == before
    assert here == []


@pytest.mark.fault(249)
@pytest.mark.parametrize("name", ["sweep.json", ".lock", "seed=0", "seed=0/log.txt"])
def test_a_link_is_not_followed(name, tmp_path, capsys):
    words = made("sweep")
    Path("elsewhere").mkdir()
    Path("elsewhere/log.txt").write_text("mine")
    target = Path("sweep") / name
    target.parent.mkdir(exist_ok=True)
    if name == "sweep.json":
        target.rename("elsewhere/sweep.json")
    file = {"sweep.json": "sweep.json", "seed=0": ""}.get(name, "log.txt")
    target.symlink_to(Path("elsewhere").absolute() / file)
    before = content(tmp_path / "elsewhere")
    assert sweep(*words) == (1 if name.startswith("seed") else 5)
    said = capsys.readouterr().err
    assert "received a link" in said or "received a symbolic link" in said
    assert content(tmp_path / "elsewhere") == before


@pytest.mark.fault(250)
def test_two_sweeps_in_one_folder(here, capsys):
    words = made("sweep")
    with filelock.FileLock("sweep/.lock"):
        assert sweep(*words) == 5
    assert "another process trains in this folder" in capsys.readouterr().err
    assert here == []


@pytest.mark.fault(247)
def test_real_processes_that_fail_at_once(capsys):
    """Of data that are none: the children end before TensorFlow is imported."""
    Path("images.npy").write_bytes(b"\x93NUMPY no array")
    began = time.monotonic()
    assert sweep("--vary", "seed", 0, 1, 2, "--jobs", 2, "--output", "sweep", "--", "--dset", "images.npy") == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("failed with exit code 3: bicoder train: error: ") == 3
    assert "3 of 3 runs failed" in said.err
    log = Path("sweep/seed=2/log.txt").read_text().splitlines()
    assert log[0].startswith("$ bicoder train --dset images.npy")
    assert log[0].endswith("--split_seed 0 --seed 2 --run_dir sweep/seed=2")
    assert "bicoder train: error: " in log[-1]
    assert time.monotonic() - began < 60


@pytest.mark.fault(245)
def test_a_command_ends_with_the_process_that_started_it_however_that_ends(tmp_path):
    """By a pipe that nobody else holds open; SIGKILL leaves no time to say anything."""
    code = """if True:
        import sys, time
        from pathlib import Path
        from bicoder.sweeps import children
        children.START = (
            "import os, sys, time; sys.path[:] = {path!r}; from bicoder.cli import child; "
            "child.bicoder = lambda words: (print(os.getpid(), flush=True), time.sleep(600)); child.main(sys.argv[1:])"
        )
        children.start(["train"], Path(sys.argv[1]))
        time.sleep(600)"""
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen([sys.executable, "-c", code, tmp_path / "log.txt"], env=env)
    child = waited(
        lambda: (tmp_path / "log.txt").exists() and re.findall(r"^\d+$", (tmp_path / "log.txt").read_text(), re.M)
    )
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    assert waited(lambda: not runs(int(child[0])))


def runs(process):
    """Whether a process does more than wait for somebody to ask for its exit code."""
    stat = Path(f"/proc/{process}/stat")
    if not stat.parent.parent.joinpath("self").exists():
        pytest.skip("needs /proc")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] not in ("Z", "X")


def waited(found, limit=60.0):
    """What a function finds, as soon as it does."""
    until = time.monotonic() + limit
    while not (result := found()):
        assert time.monotonic() < until
        time.sleep(0.02)
    return result


def test_jobs_share_the_cores():
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("needs sched_getaffinity")
    cores = sorted(os.sched_getaffinity(0))
    assert children.cores_of(0, 1) == []
    shares = [children.cores_of(slot, 2) for slot in range(2)]
    assert all(shares)
    assert sorted({core for share in shares for core in share}) == cores
    assert all(children.cores_of(slot, len(cores) + 1) for slot in range(len(cores) + 1))


def test_help_and_refusals_need_no_tensorflow():
    code = """if True:
        import sys
        from bicoder.cli.main import bicoder
        print(bicoder(["sweep", "--vary", "seed", "0", "--output", "images.npy"]))
        print(*sorted({"tensorflow", "keras", "matplotlib", "sklearn", "h5py"} & set(sys.modules)), "imported")"""
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert done.stdout.splitlines() == ["2", "imported"], done.stderr
