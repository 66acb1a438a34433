"""`bicoder sweep --search`: what it asks for and tells, what it refuses, and that kills change nothing."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from copies import Done, instead_of_runs, sweep, train

from bicoder.runs.options.table import Options
from bicoder.sweeps import children
from bicoder.sweeps.ranges import Range, said_of_space, space_of
from bicoder.sweeps.search import bound_of, with_validation

optuna = pytest.importorskip("optuna")
TRAIN = ["--no_pictures", "--network", "mlp:hidden=[4]", "--dset", "images.npy"]
RANGES = ["--search", "learning_rate", "1e-4..1e-2", "--search", "latent_dim", "2..32", "--num_samples", "5"]


@pytest.fixture(autouse=True)
def somewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("images.npy", np.zeros((100, 4, 4), "float32"))


@pytest.fixture
def copies(monkeypatch):
    return instead_of_runs(monkeypatch)


def trials(folder):
    """(values, bound) of each trial that has a bound."""
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(f"{folder}/search.jsonl"))
    study = optuna.load_study(study_name="sweep", storage=storage)
    return [(trial.params, trial.value) for trial in study.trials if trial.state.name == "COMPLETE"]


@pytest.mark.fault(251)
def test_a_search_that_is_killed_again_and_again_ends_as_one_that_is_not(tmp_path):
    """By SIGKILL in the middle of a line, so that half of it is there: of a trial, of a value, of a bound."""
    command = [sys.executable, ROOT / "tests" / "sweeps" / "searching.py", tmp_path, *RANGES, "--trials", "14"]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([*command, "--", *TRAIN], capture_output=True, text=True, env=env)
    ended = done.stdout.splitlines()
    assert ended[0] == "undisturbed 0", done.stderr
    assert ended[-1] == "killed 0", done.stderr
    assert set(ended[1:-1]) == {"killed -9"}
    assert len(ended) > 10
    assert trials("killed") == trials("undisturbed")
    assert len(trials("killed")) == 14
    tables = [re.findall(r"^\|.*", Path(f"{name}.txt").read_text(), re.MULTILINE) for name in ("killed", "undisturbed")]
    assert tables[0] == tables[1]
    assert len(tables[0]) == 16
    for log in Path("killed").glob("*/log.txt"):
        assert log.read_text().count("$ bicoder evaluate") == 1, "no run is done twice"


def test_it_learns_where_the_bound_is_good_and_says_which_is_best(copies, capsys):
    assert sweep(*RANGES, "--trials", 25, "--output", "sweep", "--", *TRAIN) == 0
    said = capsys.readouterr()
    assert "trials are chosen by validation images: --validation 0.1 --weights best" in said.err
    assert "searching latent_dim from 2 to 32, learning_rate from 0.0001 to 0.01 on a log scale" in said.err
    found = trials("sweep")
    bounds = [bound for _, bound in found]
    assert np.mean(bounds[10:]) > np.mean(bounds[:10]), "the first ten are drawn at random"
    best = max(found, key=lambda one: one[1])[0]
    expected = f"latent_dim {best['latent_dim']}, learning_rate {float(format(best['learning_rate'], '.4g'))}: -ELBO"
    assert f"The best of 25 trials on validation images has {expected}" in said.out
    config = json.loads(next(Path("sweep").glob("latent*/config.json")).read_text())
    assert config["arguments"]["weights"] == "best"

    copies.clear()  # more trials, and none of those that are done
    assert sweep(*RANGES, "--trials", 26, "--output", "sweep", "--", *TRAIN) == 0
    assert len(copies) == 2
    assert "25 of 26 trials are done already" in capsys.readouterr().err
    assert trials("sweep")[:25] == found


def test_other_seeds_ask_for_other_values_and_the_order_of_options_does_not_count(copies):
    for name, words in {
        "one": RANGES,
        "same": [*RANGES[3:6], *RANGES[:3], *RANGES[6:]],
        "other": [*RANGES, "--seed", "1"],
    }.items():
        assert sweep(*words, "--trials", 3, "--output", name, "--", *TRAIN) == 0
    assert trials("one") == trials("same")
    assert trials("one")[0] != trials("other")[0]


def test_values_that_come_again_are_not_trained_again(copies, capsys):
    """Of one that runs at the same time neither."""
    words = ["--search", "latent_dim", "2..3", "--search", "learning_rate", "0.01", "0.001"]
    assert sweep(*words, "--trials", 12, "--jobs", 3, "--output", "sweep", "--", *TRAIN) == 0
    assert len(trials("sweep")) == 12
    folders = [path.name for path in Path("sweep").iterdir() if path.is_dir()]
    assert len(folders) <= 4
    assert len(copies) == 2 * len(folders)


@pytest.mark.fault(252)
def test_a_trial_that_fails_does_not_end_it_and_is_tried_again(copies, monkeypatch, capsys):
    start, broken = children.start, [True]

    def failing(words, log, cores=()):
        child = start(words, log, cores)
        if broken[0] and words[0] == "train" and copies.count(words) and len(copies) == 3:
            shutil.rmtree(words[-1])
            Path(words[-1]).mkdir()
            child = child._replace(process=Done(6))
        return child

    monkeypatch.setattr(children, "start", failing)
    assert sweep(*RANGES, "--trials", 4, "--output", "sweep", "--", *TRAIN) == 1
    said = capsys.readouterr()
    assert said.out.count("failed with exit code 6") == 1
    assert "1 of 4 runs failed; the same command tries them again" in said.err
    assert len(trials("sweep")) == 3
    broken[0] = False
    assert sweep(*RANGES, "--trials", 4, "--output", "sweep", "--", *TRAIN) == 0
    assert len(trials("sweep")) == 4
    assert len([path for path in Path("sweep").iterdir() if path.is_dir()]) == 4


REFUSED = {
    "a seed": (["--search", "seed", "0..9"], "expected an option of train that leaves the bounds comparable"),
    "a likelihood": (["--search", "likelihood", "gaussian", "laplace"], "leaves the bounds comparable"),
    "data": (["--search", "dset", "a", "b"], "leaves the bounds comparable"),
    "misspelt": (["--search", "latent_dims", "2..3"], "received 'latent_dims'; did you mean 'latent_dim'?"),
    "no range": (["--search", "latent_dim", "7"], "search latent_dim: expected LOW..HIGH or several values"),
    "a range of names": (["--search", "prior", "vamp..standard_normal"], "search prior: expected several values"),
    "backwards": (["--search", "latent_dim", "9..2"], "search latent_dim: expected LOW..HIGH, the lower number first"),
    "no numbers": (["--search", "latent_dim", "a..b"], "search latent_dim: expected a whole number"),
    "learned": (["--search", "sigma", "0.1..learned"], "search sigma: expected LOW..HIGH, the lower number first"),
    "out of range": (["--search", "latent_dim", "0..5"], "search latent_dim: expected a whole number from 1"),
    "twice": (["--search", "latent_dim", "1..5", "--search", "latent_dim", "2..3"], "expected it once, received it"),
    "both": ([*RANGES, "--vary", "seed", "0"], "received both"),
    "no validation": ([*RANGES, "--", "--validation", "0"], "validation: expected a share of the training images"),
    "trials alone": (["--vary", "seed", "0", "--trials", "3"], "trials: expected it with --search"),
}


@pytest.mark.fault(253)
@pytest.mark.parametrize(("words", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_searched_for_is_refused_before_anything_is_written(words, said, copies, tmp_path, capsys):
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    assert sweep(*words) == 2
    assert said in capsys.readouterr().err
    assert {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")} == before
    assert copies == []


@pytest.mark.fault(254)
def test_without_optuna_it_says_what_installs_it(monkeypatch, capsys):
    for name in ("optuna", "optuna.storages"):
        monkeypatch.setitem(sys.modules, name, None)  # how Python notes that there is none
    assert sweep(*RANGES, "--", *TRAIN) == 2
    assert '-m pip install "optuna>=4"' in capsys.readouterr().err
    assert not Path("runs").exists()


def line(**changes):
    return json.dumps(
        {"op_code": 4, "worker_id": "x", "study_id": 0, "datetime_start": "2026-01-01T00:00:00"} | changes
    )


def value(name, number, distribution):
    return line(op_code=5, trial_id=0, param_name=name, param_value_internal=number, distribution=distribution)


STUDY = line(op_code=0, study_name="sweep", directions=[2])
WHOLE = json.dumps({"name": "IntDistribution", "attributes": {"log": False, "step": 1, "low": 2, "high": 32}})
RATE = json.dumps({"name": "FloatDistribution", "attributes": {"step": None, "low": 1e-4, "high": 0.01, "log": True}})
STRANGE = {
    "no JSON": ["no JSON", "{}"],
    "a list": ["[]"],
    "a pickle": ["\x80\x04cos\nsystem\n"],
    "made smaller": [line(op_code=0, study_name="sweep", directions=[1])],
    "a name that is none": [STUDY, line(), value("run_dir", 0.0, WHOLE), value("latent_dim", 3.0, WHOLE)],
    "another range": [STUDY, line(), value("latent_dim", 3.0, RATE), value("learning_rate", 0.001, RATE)],
    "out of range": [STUDY, line(), value("latent_dim", 99.0, WHOLE), value("learning_rate", 0.001, RATE)],
    "a class of theirs": [STUDY, line(), value("latent_dim", 3.0, '{"name": "os.system", "attributes": {}}')],
}


@pytest.mark.fault(255)
@pytest.mark.parametrize("lines", STRANGE.values(), ids=STRANGE)
def test_what_somebody_else_wrote_is_one_line(lines, copies, capsys):
    assert sweep(*RANGES, "--trials", 1, "--output", "sweep", "--", *TRAIN) == 0
    copies.clear()
    capsys.readouterr()
    Path("sweep/search.jsonl").write_text("\n".join([*lines, ""]))
    assert sweep(*RANGES, "--trials", 2, "--output", "sweep", "--", *TRAIN) == 5
    assert "sweep/search.jsonl: expected what this search knows" in capsys.readouterr().err.splitlines()[-1]
    assert copies == []


@pytest.mark.fault(255)
@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_its_file_is_a_file(kind, copies, capsys):
    assert sweep(*RANGES, "--trials", 1, "--output", "sweep", "--", *TRAIN) == 0
    Path("sweep/search.jsonl").rename("mine")
    before = Path("mine").read_bytes()
    Path("sweep/search.jsonl").symlink_to(Path("mine").absolute()) if kind == "link" else os.mkfifo(
        "sweep/search.jsonl"
    )
    assert sweep(*RANGES, "--trials", 2, "--output", "sweep", "--", *TRAIN) == 5
    assert Path("mine").read_bytes() == before


@pytest.mark.fault(244)
def test_another_search_has_another_folder(copies, capsys):
    assert sweep(*RANGES, "--trials", 1, "--output", "sweep", "--", *TRAIN) == 0
    other = [*RANGES[:5], "2..64", *RANGES[6:]]
    assert sweep(*other, "--trials", 1, "--output", "sweep", "--", *TRAIN) == 2
    said = "searches latent_dim 2..32, learning_rate 0.0001..0.01 with the seed 0, not latent_dim 2..64"
    assert said in capsys.readouterr().err


def test_the_bound_is_that_of_the_weights_that_are_kept(tmp_path):
    for weights, bound in (("best", -3.0), ("last", -4.0)):
        train(["--weights", weights], tmp_path)
        (tmp_path / "metrics.csv").write_text("epoch,val_elbo\n1,-5\n2,-3\n3,nan\n4,-4\n")
        assert bound_of(tmp_path) == bound


def test_validation_images_and_ranges():
    assert with_validation(Options(weights="last", typed=frozenset({"weights"}))).weights == "last"
    assert with_validation(Options(weights="last", typed=frozenset({"weights"}))).validation == 0.1
    assert with_validation(Options(patience=3)) == Options(patience=3)
    space = space_of([["batch_size", "8..1000"], ["prior", "vamp", "real_nvp"], ["input_noise", "0..1"]], Options())
    assert space["batch_size"] == Range(8, 1000, True)
    said = "batch_size from 8 to 1000 on a log scale, input_noise from 0.0 to 1.0, prior real_nvp or vamp"
    assert said_of_space(space) == said
    assert Range(0.1, 0.12345, False).text_of(0.12345) == "0.12345", "rounded, it would be out of its range"
    assert Range(0.1, 0.2, False).text_of(0.123456) == "0.1235"
