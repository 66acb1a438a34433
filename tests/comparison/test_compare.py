"""`bicoder compare`: what differs, what is ranked and what is not, and that numbers are those of the runs."""

import csv
import io
import json
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bicoder.cli import main as cli
from bicoder.comparison.compared import compare
from bicoder.comparison.page import points_of
from bicoder.comparison.reading import sigma_of_weight
from bicoder.comparison.table import as_csv, as_json, latex, markdown
from bicoder.errors import UsageError

SMALL = ["--network", "mlp:hidden=[8]", "--latent_dim", "3", "--quiet", "--no_pictures", "--split_seed", "0"]


def train(folder, *options, evaluate=True):
    assert cli.main([*SMALL, *options, "--run_dir", str(folder)]) == 0
    if evaluate:
        assert cli.bicoder(["evaluate", str(folder), "--num_samples", "20"]) == 0
    return str(folder)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """name -> folder: two seeds of each of two trainings, one of bits, and one that is not evaluated."""
    home = tmp_path_factory.mktemp("runs")
    found = {
        f"{epochs}-{seed}": train(home / f"{epochs}-{seed}", "--epochs", epochs, "--seed", seed)
        for epochs in ("2", "30")
        for seed in ("0", "1")
    }
    bits = ["--likelihood", "bernoulli", "--binarize", "static", "--epochs", "2"]
    found["bits"] = train(home / "bits", *bits)
    found["raw"] = train(home / "raw", "--epochs", "3", evaluate=False)
    return found


@pytest.fixture
def copies(runs, tmp_path):
    return {name: str(shutil.copytree(folder, tmp_path / name)) for name, folder in runs.items()}


def numbers(folder):
    return json.loads((Path(folder) / "evaluation.json").read_text())


def log_px(folder):
    with open(f"{folder}/per_image.csv", encoding="utf-8", newline="") as file:
        return {row["row"]: float(row["log_px_K20_seed0"]) for row in csv.DictReader(file)}


def test_the_best_is_first_and_differences_are_paired(runs):
    found = compare([runs["2-0"], runs["30-0"]])
    assert found.differing == ["epochs"]
    assert [row.name for row in found.rows] == ["30-0", "2-0"]
    assert found.ranks == {"30-0": 1, "2-0": 2}
    best, worse = log_px(runs["30-0"]), log_px(runs["2-0"])
    apart = np.array([best[row] - worse[row] for row in worse])
    assert found.differences["2-0"].value == pytest.approx(apart.mean(), rel=1e-6)
    assert found.differences["2-0"].error == pytest.approx(apart.std(ddof=1) / np.sqrt(len(apart)), rel=1e-6)
    expected = numbers(runs["2-0"])["nll"] - numbers(runs["30-0"])["nll"]
    assert found.differences["2-0"].value == pytest.approx(expected, rel=1e-5)


def test_runs_that_differ_in_the_seed_are_one_group(runs):
    found = compare([runs[name] for name in ("2-0", "2-1", "30-0", "30-1")], grouped=True)
    assert [len(row.runs) for row in found.rows] == [2, 2]
    values = [numbers(runs[name])["nll"] for name in ("30-0", "30-1")]
    assert found.rows[0].number("nll").value == pytest.approx(statistics.fmean(values))
    assert found.rows[0].number("nll").error == pytest.approx(statistics.stdev(values))


def test_groups_of_unequal_size_are_ranked(runs):
    found = compare([runs[name] for name in ("2-0", "30-0", "30-1")], grouped=True)
    assert found.against == []
    assert [(len(row.runs), found.ranks[row.name]) for row in found.rows] == [(2, 1), (1, 2)]
    assert "2-0" in found.differences


def seeded(run, seed, split):
    """A run as if it had been trained with another seed, and another of the split, on the same images."""
    path = Path(run) / "config.json"
    config = json.loads(path.read_text())
    config["arguments"] |= {"seed": seed, "split_seed": split}
    path.write_text(json.dumps(config))
    return run


def test_groups_that_differ_in_the_split_say_so_and_have_names_of_their_own(copies):
    split = {"2-0": (0, 0), "2-1": (1, 0), "30-0": (2, 2)}
    for name, seeds in split.items():
        shutil.copytree(copies["2-0"], copies["2-0"] + name)
        seeded(copies["2-0"] + name, *seeds)
    found = compare([copies["2-0"] + name for name in split], grouped=True)
    assert found.differing == ["split_seed"]
    assert [len(row.runs) for row in found.rows] == [2, 1]
    assert len({name for panel in points_of(found).values() for name in panel}) == 2


def test_a_run_of_another_backend_says_so(copies):
    path = Path(copies["2-1"]) / "config.json"
    config = json.loads(path.read_text())
    config["arguments"] |= {"seed": 0}
    path.write_text(json.dumps(config | {"backend": "jax"}))
    found = compare([copies["2-0"], copies["2-1"]])
    assert found.differing == ["backend"]
    assert "| jax |" in markdown(found)


def test_the_learned_sigmas_of_a_group_are_one_cell(runs):
    names = ("2-0", "2-1", "30-0", "30-1")
    alone = compare([runs[name] for name in names])
    values = {row.name: float(row.sigma.removesuffix(", learned")) for row in alone.rows}
    for row in compare([runs[name] for name in names], grouped=True).rows:
        own = [values[Path(run.folder).name] for run in row.runs]
        assert row.sigma == f"{statistics.fmean(own):.4f} ± {statistics.stdev(own):.4f}, learned"


def test_densities_and_bits_are_not_ranked_and_it_says_why(runs):
    found = compare([runs["2-0"], runs["bits"]])
    assert found.ranks == {}
    said = " ".join(found.against)
    assert "the likelihoods measure different things" in said
    assert "densities of pixels of 2-0" in said
    assert "probabilities of bits of bits" in said
    assert "pixels were made binary differently" in said


def test_a_run_that_is_not_evaluated_says_how(runs):
    found = compare([runs["2-0"], runs["raw"]])
    assert found.ranks == {"2-0": 1}
    [note] = [note for note in found.notes if note.startswith("raw has not been evaluated")]
    assert note.endswith(f"bicoder evaluate {runs['raw']}")


def test_without_its_images_there_is_no_difference(copies):
    (Path(copies["30-0"]) / "per_image.csv").write_text("")
    found = compare([copies["2-0"], copies["30-0"]])
    assert found.differences == {}
    assert found.ranks == {"30-0": 1, "2-0": 2}


def test_other_test_images_are_not_ranked(copies):
    path = Path(copies["2-0"]) / "config.json"
    config = json.loads(path.read_text())
    config["data"]["test_sha256"] = "0" * 64
    path.write_text(json.dumps(config))
    found = compare([copies["2-0"], copies["30-0"]])
    assert found.ranks == {}
    assert "the test images differ" in found.against[0]


def test_a_run_that_was_moved_is_the_same(runs, copies):
    first, second = compare([runs["2-0"], runs["30-0"]]), compare([copies["2-0"], copies["30-0"]])
    assert markdown(first) == markdown(second)


def test_a_run_twice_is_refused(runs):
    with pytest.raises(UsageError, match="runs: expected each run once"):
        compare([runs["2-0"], runs["2-0"]])


def test_each_form_has_the_same_rows(runs):
    found = compare([runs["2-0"], runs["30-0"]])
    rows = list(csv.reader(io.StringIO(as_csv(found))))
    assert len(rows) == 3
    assert json.loads(as_json(found))
    assert markdown(found).count("\n|") >= 3
    assert r"\begin{tabular}" in latex(found)


@pytest.mark.fault(239)
def test_names_of_any_kind_stay_in_their_cell(copies, tmp_path):
    name = "=1+1|<b>x&_$"
    shutil.move(copies["2-0"], tmp_path / name)
    found = compare([str(tmp_path / name), copies["30-0"]])
    [line] = [line for line in markdown(found).splitlines() if "1+1" in line and line.startswith("|")]
    [other] = [line for line in markdown(found).splitlines() if line.startswith("| 30 ")]
    assert line.replace("\\|", "").count("|") == other.count("|")
    cells = [cell for row in csv.reader(io.StringIO(as_csv(found))) for cell in row]
    assert not any(cell.startswith("=") for cell in cells)
    assert "<b>" not in markdown(found).replace("\\<b", "")


def test_the_command_prints_a_table_and_writes_a_page(runs, tmp_path, capsys):
    arguments = ["compare", runs["2-0"], runs["30-0"], "--output", str(tmp_path / "out")]
    (tmp_path / "out").mkdir()
    assert cli.bicoder(arguments) == 0
    said = capsys.readouterr().out
    assert said.startswith("| epochs |")
    names = {"compare.html", "rate_distortion.png", "curves.png"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    page = (tmp_path / "out" / "compare.html").read_text(encoding="utf-8")
    assert "script-src 'none'" in page
    assert "<script" not in page
    assert cli.bicoder(arguments) == 2
    assert "add --overwrite" in capsys.readouterr().err


@pytest.mark.fault(240)
@pytest.mark.parametrize("content", ["[]", '{"doctor": [], "nll": "many"}', "{"])
def test_numbers_of_a_stranger_are_one_line(content, copies, capsys):
    (Path(copies["2-0"]) / "evaluation.json").write_text(content)
    assert cli.bicoder(["compare", copies["2-0"], copies["30-0"]]) == 5
    [line] = capsys.readouterr().err.splitlines()
    assert "evaluation.json" in line


@pytest.mark.fault(241)
def test_what_is_no_run_and_two_forms_are_refused(runs, tmp_path, capsys):
    assert cli.bicoder(["compare", runs["2-0"], str(tmp_path)]) == 5
    assert cli.bicoder(["compare", runs["2-0"], "--csv", "--json"]) == 2
    assert "csv: expected it without --json" in capsys.readouterr().err


def test_fifty_runs_take_no_ten_seconds_and_no_tensorflow(runs, tmp_path):
    folders = [shutil.copytree(runs["2-0"], tmp_path / f"run {number}") for number in range(50)]
    code = "import sys; from bicoder.cli.main import bicoder; bicoder(sys.argv[1:]); print(sorted(sys.modules))"
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, "compare", *folders, "--output", tmp_path], capture_output=True, text=True
    )
    assert time.perf_counter() - begun < 10.0
    assert done.returncode == 0, done.stderr
    assert not {"'tensorflow'", "'keras'"} & set(done.stdout.splitlines()[-1].strip("[]").split(", "))


@pytest.mark.parametrize("raw", [-20.0, -7.0, -1.0, 0.0, 2.0])
def test_a_learned_sigma_is_that_of_the_likelihood(raw):
    """It is computed without Keras, from the weight alone."""
    from bicoder.likelihoods import GaussianLikelihood, OptimalGaussianLikelihood

    gaussian, optimal = GaussianLikelihood("learned"), OptimalGaussianLikelihood()
    for likelihood in (gaussian, optimal):
        likelihood.build((None, 3))
    gaussian.raw_log_sigma.assign(raw)
    optimal.variance.assign(np.exp(raw))
    assert sigma_of_weight("decoder/raw_log_sigma", raw) == pytest.approx(np.exp(float(gaussian.log_sigma())), rel=1e-5)
    assert sigma_of_weight("decoder/variance", float(optimal.variance)) == pytest.approx(
        np.exp(float(optimal.log_sigma())), rel=1e-5
    )
