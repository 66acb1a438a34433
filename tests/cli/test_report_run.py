"""report.html of a run: when it is written, what it has, and that nothing of a run can take it away or into it."""

import base64
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from bicoder import load
from bicoder.cli import main as cli
from bicoder.errors import UsageError
from bicoder.runs.options.table import Options
from bicoder.runs.train import settled

SMALL = ["--network", "mlp:hidden=[8]", "--epochs", "2", "--quiet", "--num_images", "4", "--latent_points", "40"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of the digits in which no picture was asked for by name."""
    folder = tmp_path_factory.mktemp("digits") / "run"
    assert cli.main([*SMALL, "--latent_dim", "3", "--run_dir", str(folder)]) == 0
    return folder


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def text(run):
    return (run / "report.html").read_text(encoding="utf-8")


def data(run):
    """What the script of the page knows."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text(run), re.DOTALL)
    return json.loads(found[1]) if found else None


def floats(letters):
    return np.frombuffer(base64.b64decode(letters), "<f4")


def titles(run):
    return re.findall(r"<h2>(.*?)</h2>", text(run))


def test_a_training_writes_it_with_what_is_known_then(trained):
    page = text(trained)
    assert titles(trained)[:4] == ["What this run is", "Numbers on the test images", "Advice", "Training"]
    assert "bicoder train --network &#x27;mlp:hidden=[8]&#x27; --latent_dim 3 --sigma learned --epochs 2" in page
    assert "-ELBO" in page
    assert "NLL, -log p(x)" not in page
    found = data(trained)
    assert (found["count"], found["latent"], found["how"]) == (40, 3, "t-SNE of the posterior means")
    assert [measure["key"] for measure in found["measures"]] == ["elbo", "distortion", "rate"]
    assert found["views"][0]["program"]


def test_no_request_can_leave_it(trained):
    page = text(trained)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)[1]
    assert re.fullmatch(
        r"default-src 'none'; script-src 'sha256-[\w+/=]+'; style-src 'sha256-[\w+/=]+'; img-src data:; "
        r"base-uri 'none'; form-action 'none'",
        policy,
    )
    assert set(re.findall(r'(?:src|href)="([^":]*:?)', page)) <= {"data:", *re.findall(r'href="(#\w+)"', page)}
    body = page[page.index("<body>") :]
    assert not re.search(r"<[^>]+\s(?:style|on\w+)=", body[: body.index('<script type="application/json"')])


@pytest.mark.parametrize(
    ("typed", "expected"),
    [([], True), (["--no_report"], False), (["--generate_from_prior"], False), (["--report"], True)],
    ids=["nothing", "no report", "another picture", "report"],
)
def test_who_has_a_report(typed, expected):
    from bicoder.cli.command import commands
    from bicoder.cli.parser import parse

    asked = settled(parse(commands("train")["train"], typed, "train")).pictures
    assert ("report" in asked) == expected
    assert ("traversals" in asked) == (typed in ([], ["--no_report"]))


def test_both_asked_for_and_refused_is_an_error():
    with pytest.raises(UsageError, match="no_report: expected it without --report, received both"):
        settled(Options(no_report=True, pictures=("report",)))


def test_flags_of_other_pictures_leave_the_files_as_they_were(tmp_path):
    assert cli.main([*SMALL, "--generate_from_prior", "--run_dir", str(tmp_path / "run")]) == 0
    assert not [path.name for path in (tmp_path / "run").iterdir() if path.name.startswith("report")]


@pytest.fixture
def without_tsne(monkeypatch):
    """From here on, t-SNE is an error."""

    def never(*arguments, **more):
        raise AssertionError("t-SNE is computed once")

    monkeypatch.setattr("bicoder.evaluation.latent_space.tsne", never)


def test_evaluate_adds_its_numbers_without_another_tsne(run, without_tsne, capsys):
    before = data(run)
    assert cli.bicoder(["evaluate", str(run), "--num_samples", "20"]) == 0
    assert str(run / "report.html") in capsys.readouterr().out.splitlines()
    page, after = text(run), data(run)
    numbers = json.loads((run / "evaluation.json").read_text())
    assert "NLL, -log p(x)" in page
    assert f"{numbers['nll']:.2f} ± {numbers['nll_standard_error']:.2f}" in page
    assert [measure["key"] for measure in after["measures"]][:2] == ["elbo", "log_px_K20_seed0"]
    for name in ("points", "codes", "rows", "weights"):
        assert after[name] == before[name], name


def test_evaluate_of_a_run_without_a_report_writes_none(run):
    (run / "report.html").unlink()
    assert cli.bicoder(["evaluate", str(run), "--num_samples", "2"]) == 0
    assert not (run / "report.html").exists()


def test_the_command_writes_it_anew_with_what_evaluate_found(run, without_tsne, capsys):
    assert cli.bicoder(["evaluate", str(run), "--num_samples", "20"]) == 0
    evaluated, known = titles(run), data(run)
    (run / "report.html").unlink()
    capsys.readouterr()
    assert cli.bicoder(["report", str(run)]) == 0
    assert capsys.readouterr().out.splitlines() == [str(run / "report.html")]
    assert titles(run) == evaluated
    assert "NLL, -log p(x)" in text(run)
    anew = data(run)
    assert anew["rows"] == known["rows"]
    for one, other in zip(known["measures"], anew["measures"], strict=True):
        assert one["key"] == other["key"]
        np.testing.assert_allclose(floats(one["values"]), floats(other["values"]), rtol=1e-6)


def test_drawn_by_its_switch_it_comes_alone(run, capsys):
    assert cli.bicoder(["draw", str(run), "--report"]) == 0
    assert capsys.readouterr().out.splitlines() == [str(run / "report.html")]
    assert "Training" in titles(run)


def test_further_training_makes_what_was_kept_worthless(run):
    before = data(run)["codes"]
    assert cli.main(["--resume", str(run), "--epochs", "3", "--quiet"]) == 0
    assert data(run)["codes"] != before
    assert len(data(run)["measures"]) == 3


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("evaluation.json", "[]"),
        ("evaluation.json", '{"doctor": [1]}'),
        ("evaluation.json", "{"),
        ("per_image.csv", "row,elbo\n1,2\n"),
        ("per_image.csv", "\0"),
        ("metrics.csv", "epoch,elbo\n1,x\n"),
    ],
)
def test_files_of_a_run_that_are_none_of_its_own_are_one_line(name, content, run, capsys):
    (run / name).write_text(content)
    assert cli.bicoder(["report", str(run)]) == 5
    [line] = capsys.readouterr().err.splitlines()
    assert f"{run / name}: expected" in line


def test_a_report_that_is_a_link_is_refused(run, tmp_path, capsys):
    (run / "report.html").rename(tmp_path / "mine.html")
    (run / "report.html").symlink_to(tmp_path / "mine.html")
    before = (tmp_path / "mine.html").read_bytes()
    assert cli.bicoder(["report", str(run)]) == 5
    assert "received a link" in capsys.readouterr().err
    assert (tmp_path / "mine.html").read_bytes() == before


def images(folder, count, names=("a", "b"), size=(6, 5)):
    rng = np.random.default_rng(0)
    for i in range(count):
        path = folder / names[i % len(names)] / f"{i:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(256, size=size).astype("uint8")).save(path)
    return folder


def test_of_three_test_images(tmp_path):
    images(tmp_path / "set" / "train", 20)
    images(tmp_path / "set" / "test", 3)
    assert cli.main(["--dset", str(tmp_path / "set"), *SMALL, "--run_dir", str(tmp_path / "run")]) == 0
    assert data(tmp_path / "run")["count"] == 3


def test_without_labels(tmp_path):
    np.save(tmp_path / "set.npy", np.random.default_rng(0).integers(256, size=(60, 5, 4)).astype("uint8"))
    options = [*SMALL, "--latent_dim", "3", "--run_dir", str(tmp_path / "run")]
    assert cli.main(["--dset", str(tmp_path / "set.npy"), *options]) == 0
    assert data(tmp_path / "run")["labels"] is None


def test_names_from_outside_are_text(tmp_path):
    name = "<img src=x onerror=alert(1)>"
    images(tmp_path / "<b>set<i>", 40, names=(name, "b'\"&"))
    options = [*SMALL, "--latent_dim", "3", "--run_dir", str(tmp_path / "run")]
    assert cli.main(["--dset", str(tmp_path / "<b>set<i>"), *options]) == 0
    page, found = text(tmp_path / "run"), data(tmp_path / "run")
    assert "<b>set" not in page
    assert "<img src=x" not in page
    assert "<title>&lt;b&gt;set&lt;i&gt;</title>" in page
    assert sorted(found["labelNames"].values()) == sorted([name, "b'\"&"])
    assert all(one.startswith((name, "b'")) for one in found["names"])


def test_of_weights_that_are_no_numbers_it_has_what_needs_no_codes(run, capsys):
    vae = load(run)
    for weight in vae.trainable_variables:
        weight.assign(np.full(weight.shape, np.nan, "float32"))
    from bicoder.runs import weights

    weights.save(run, vae)
    assert cli.bicoder(["report", str(run)]) == 5
    assert cli.bicoder(["report", str(run), "--force"]) == 0
    said = capsys.readouterr().err
    assert "report.html: what moves: not drawn: NumericError" in said
    assert data(run) is None
    assert "script-src 'none'" in text(run)
    assert {"What this run is", "Numbers on the test images", "Training"} <= set(titles(run))


def test_it_works_where_the_training_images_are_gone(tmp_path, capsys):
    images(tmp_path / "set" / "train", 20)
    images(tmp_path / "set" / "test", 8)
    assert cli.main(["--dset", str(tmp_path / "set"), *SMALL, "--run_dir", str(tmp_path / "run")]) == 0
    assert "nearest of 20 training images" in text(tmp_path / "run")
    (tmp_path / "run" / "report.safetensors").unlink()
    shutil.rmtree(tmp_path / "set" / "train")
    images(tmp_path / "set" / "train", 1, names=("c",))
    capsys.readouterr()
    assert cli.bicoder(["report", str(tmp_path / "run")]) == 0
    assert "nearest of" in text(tmp_path / "run")
