"""A training to watch: which moments it shows, that it changes nothing, and that it goes on with its training."""

import csv
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT
from keras import ops
from PIL import Image
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from bicoder.cli import main as cli
from bicoder.pictures.drawing.film import Group, Strip, animation, small
from bicoder.pictures.picture import Subject
from bicoder.runs import film_frames
from bicoder.runs.callbacks import film as callback
from bicoder.runs.callbacks import watched
from bicoder.runs.callbacks.watched import one_of_each_class
from bicoder.runs.film_frames import FRAMES, Frame, next_step, room_for_more
from bicoder.runs.load import load

SMALL = ["--network", "mlp:hidden=[16]", "--epochs", "40", "--no_pictures", "--quiet"]


def run(folder, *options, small=SMALL, code=0):
    """Train into a folder."""
    assert cli.main([*small, "--run_dir", str(folder), *map(str, options)]) == code
    return folder


def kept(folder):
    """name -> array, of the frames of a run."""
    return load_file(folder / "film.safetensors")


def frames(path):
    """The frames of a GIF, (frames, height, width, 3), and the milliseconds of each."""
    with Image.open(path) as image:
        found = []
        for number in range(image.n_frames):
            image.seek(number)
            found.append((np.asarray(image.convert("RGB")), image.info["duration"]))
    return np.stack([pixels for pixels, _ in found]), [duration for _, duration in found]


@pytest.fixture(scope="module")
def filmed(tmp_path_factory):
    """A run of 40 epochs of the digits, with a film."""
    return run(tmp_path_factory.mktemp("filmed") / "run", "--film")


def chances(total, program):
    """The frames of a training that may take one after each program of so many steps."""
    steps, due = [0], next_step(0, FRAMES - 1, total)
    for step in range(program, total + program, program):
        if min(step, total) >= due:
            steps.append(min(step, total))
            due = next_step(steps[-1], FRAMES - len(steps), total)
    return steps


@pytest.mark.parametrize(("total", "program"), [(9380, 64), (3600, 12), (1407, 1), (29, 1), (10**7, 64)])
def test_frames_are_about_thirty_and_closer_together_at_the_beginning(total, program):
    steps = chances(total, program)
    assert 28 <= len(steps) <= FRAMES
    assert (steps[0], steps[1], steps[-1]) == (0, program, total)
    assert (np.diff(steps, 2) >= -program).all(), "but for the next chance, no step is shorter than the one before"


def test_a_training_of_few_programs_has_a_frame_of_each():
    assert chances(50, 10) == [0, 10, 20, 30, 40, 50]
    assert chances(0, 10) == [0]


def test_a_longer_training_makes_room_for_frames_to_come():
    before = [Frame(step, 0.0, {}) for step in chances(1000, 10)]
    assert room_for_more(before, 1000, 1000) == before, "nothing is longer"
    twice = room_for_more(before, 1000, 2000)
    assert len(twice) == 15
    assert (twice[0], twice[-1]) == (before[0], before[-1])
    assert len(room_for_more(before, 1000, 10**6)) == 2


def test_the_film_is_in_the_run_folder_and_the_list(tmp_path, capsys):
    folder = run(tmp_path / "run", "--film", "--epochs", 2)
    said = capsys.readouterr().out.splitlines()
    assert said[-2:] == [str(folder / "film.safetensors"), str(folder / "training.gif")]
    assert not list(folder.glob("*.png")), "--no_pictures is about the others"
    run(folder, "--epochs", 0, "--overwrite")
    assert not {"film.safetensors", "training.gif"} & {path.name for path in folder.iterdir()}, "that of another run"


def test_the_gif_goes_from_before_the_first_step_to_the_last(filmed):
    pixels, durations = frames(filmed / "training.gif")
    steps = kept(filmed)["step"].tolist()
    assert len(pixels) == len(steps) == FRAMES
    assert steps[FRAMES // 2] < 40 * 12 / 2, "closer together at the beginning"
    assert (steps[0], steps[-1]) == (0, 40 * 12)
    assert durations[-1] == 2000
    assert 5500 < sum(durations[:-1]) < 6500
    assert (pixels[0] != pixels[-1]).mean() > 0.05
    with Image.open(filmed / "training.gif") as image:
        assert image.info["loop"] == 0
    assert (filmed / "training.gif").stat().st_size < 600_000


def test_the_last_frame_is_what_the_model_makes_of_images_and_noise(filmed):
    """Of the saved model, in the way in which one would do it by hand."""
    found, vae = kept(filmed), load(filmed)
    x = found["originals"][0].reshape(10, -1) / 255.0  # the digits have 16 grey values: what is kept is near enough
    for name, images in (("reconstructions", vae.reconstruct(x.astype("float32"))), ("samples", vae.generate(10, 0))):
        expected = np.clip(ops.convert_to_numpy(images), 0, 1).reshape(10, 8, 8)
        np.testing.assert_allclose(found[name][-1, 0] / 255.0, expected, atol=0.01)
        assert np.abs(found[name][0] / 255.0 - expected).mean() > 0.1, "before the first step"


def test_a_film_changes_nothing_else(filmed, tmp_path):
    without = run(tmp_path / "run")
    for name in ("metrics.csv", "model.safetensors", "split.csv"):
        assert (without / name).read_bytes() == (filmed / name).read_bytes()
    here, there = (sorted(folder.rglob("arrays.npz"))[-1] for folder in (without, filmed))
    with np.load(here) as one, np.load(there) as other:
        assert set(one.files) == set(other.files)
        assert all(np.array_equal(one[name], other[name]) for name in one.files), "noise, optimizer, metrics"
    more = {path.name for path in filmed.iterdir()} - {path.name for path in without.iterdir()}
    assert more == {"film.safetensors", "training.gif"}


def test_the_same_seed_is_the_same_film(filmed, tmp_path):
    again = run(tmp_path / "run", "--film")
    for name in ("film.safetensors", "training.gif"):
        assert (again / name).read_bytes() == (filmed / name).read_bytes()


def stopped(monkeypatch, folder, frames, *options):
    """A training that somebody interrupts when its film has so many frames."""
    save = callback.save

    def until(path, taken, *rest):
        save(path, taken, *rest)
        if len(taken) == frames:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(callback, "save", until)
    assert cli.main([*SMALL, "--run_dir", str(folder), "--film", *map(str, options)]) == 130
    monkeypatch.undo()


def test_a_training_that_goes_on_goes_on_with_its_film(filmed, tmp_path, monkeypatch):
    stopped(monkeypatch, tmp_path / "run", 9)
    assert len(kept(tmp_path / "run")["step"]) == 9
    assert not (tmp_path / "run" / "training.gif").exists()
    assert cli.main(["--resume", str(tmp_path / "run"), "--quiet", "--no_pictures"]) == 0
    for name in ("film.safetensors", "training.gif"):
        assert (tmp_path / "run" / name).read_bytes() == (filmed / name).read_bytes()


def test_a_training_that_goes_on_in_the_middle_of_an_epoch(tmp_path, monkeypatch):
    options = ["--epochs", 3, "--batch_size", 10]  # 144 steps in an epoch, 64 in a program
    whole = kept(run(tmp_path / "whole", "--film", *options))
    assert whole["step"].tolist() == [0, 64, 128, 144, 208, 272, 288, 352, 416, 432]
    stopped(monkeypatch, tmp_path / "run", 6, *options)
    assert cli.main(["--resume", str(tmp_path / "run"), "--quiet", "--no_pictures"]) == 0
    found = kept(tmp_path / "run")
    np.testing.assert_allclose(found.pop("bound"), whole.pop("bound"), rtol=1e-5)
    assert all(np.array_equal(found[name], whole[name]) for name in whole)


def test_the_bound_of_a_frame_is_that_of_the_steps_just_before(tmp_path):
    """The mean over an epoch so far would fall from a cliff at its end."""
    folder = run(tmp_path / "run", "--film", "--epochs", 3, "--batch_size", 10)
    bounds, steps = kept(folder)["bound"], kept(folder)["step"]
    assert np.isnan(bounds[0])
    with open(folder / "metrics.csv", newline="") as file:
        of_epochs = [float(row["elbo"]) for row in csv.DictReader(file)]
    weights = np.diff(steps)  # of 64, 64 and 16 steps
    means = [np.average(bounds[1 + 3 * i : 4 + 3 * i], weights=weights[3 * i : 3 * i + 3]) for i in range(3)]
    np.testing.assert_allclose(means, of_epochs, atol=0.02)


@pytest.mark.fault(237)
def test_frames_after_the_checkpoint_are_taken_anew(filmed, tmp_path, monkeypatch):
    """A process that is killed has frames of steps that its last checkpoint knows nothing of."""
    folder = tmp_path / "run"
    stopped(monkeypatch, folder, 6, "--checkpoint_epochs", 4)
    (newest,) = sorted((folder / "checkpoints").iterdir())[-1:]
    shutil.rmtree(newest)
    assert cli.main(["--resume", str(folder), "--quiet", "--no_pictures"]) == 0
    assert (folder / "film.safetensors").read_bytes() == (filmed / "film.safetensors").read_bytes()


def test_a_longer_training_has_both_parts(filmed, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(filmed, folder)
    assert cli.main(["--resume", str(folder), "--epochs", "80", "--quiet", "--no_pictures"]) == 0
    steps = kept(folder)["step"].tolist()
    assert len(steps) <= FRAMES
    assert (steps[0], steps[-1]) == (0, 80 * 12)
    assert set(steps) & set(range(1, 481)) <= set(kept(filmed)["step"].tolist())
    assert 12 <= sum(step <= 480 for step in steps) <= 18
    assert len(frames(folder / "training.gif")[0]) == len(steps)


def test_a_film_may_begin_late(tmp_path, capsys):
    folder = run(tmp_path / "run", "--epochs", 3)
    resume = ["--resume", str(folder), "--epochs", "6", "--quiet", "--no_pictures"]
    assert cli.main([*resume, "--film"]) == 0
    assert "the film begins after 36 steps" in capsys.readouterr().err
    assert kept(folder)["step"].tolist() == [36, 48, 60, 72]
    assert cli.main(["--resume", str(folder), "--epochs", "8", "--quiet", "--no_pictures"]) == 0
    assert kept(folder)["step"].tolist() == [36, 48, 60, 72, 84, 96], "it is a run with a film from then on"


HOSTILE = {
    "garbage": lambda path, arrays: path.write_bytes(b"\xff" * 100),
    "an endless header": lambda path, arrays: path.write_bytes((2**60).to_bytes(8, "little") + b"{" * 50),
    "a FIFO": lambda path, arrays: (path.unlink(), os.mkfifo(path)),
    "floats": lambda path, arrays: save_file(arrays | {"samples": arrays["samples"] / np.float32(2)}, path),
    "other shapes": lambda path, arrays: save_file(arrays | {"samples": arrays["samples"][..., :4].copy()}, path),
    "another array": lambda path, arrays: save_file(arrays | {"more": np.zeros(10**6)}, path),
    "one array less": lambda path, arrays: save_file({n: a for n, a in arrays.items() if n != "step"}, path),
    "other images": lambda path, arrays: save_file(arrays | {"originals": 255 - arrays["originals"]}, path),
    "steps backwards": lambda path, arrays: save_file(arrays | {"step": arrays["step"][::-1].copy()}, path),
    "a thousand frames": lambda path, arrays: save_file(
        {n: a if n in ("total", "originals") else np.concatenate([a] * 40) for n, a in arrays.items()}, path
    ),
}


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """A run of 2 epochs with a film."""
    return run(tmp_path_factory.mktemp("short") / "run", "--film", "--epochs", 2)


@pytest.mark.fault(234)
@pytest.mark.parametrize("damage", HOSTILE.values(), ids=HOSTILE)
def test_frames_of_a_stranger_are_refused(short, tmp_path, damage):
    arrays = kept(short)
    pictures = {name: arrays[name][0] for name in ("reconstructions", "samples")}
    path = shutil.copy(short / "film.safetensors", tmp_path / "film.safetensors")
    assert len(film_frames.read(path, arrays["originals"], pictures)[0]) == 3
    damage(path, arrays)
    with pytest.raises((ValueError, OSError, SafetensorError)):
        film_frames.read(path, arrays["originals"], pictures)


@pytest.mark.fault(234)
@pytest.mark.parametrize("kind", ["garbage", "other images"])
def test_frames_of_a_stranger_are_one_line_and_a_new_film(short, tmp_path, capsys, kind):
    folder = tmp_path / "run"
    shutil.copytree(short, folder)
    HOSTILE[kind](folder / "film.safetensors", kept(folder))
    assert cli.main(["--resume", str(folder), "--epochs", "3", "--quiet", "--no_pictures"]) == 0
    [said] = [line for line in capsys.readouterr().err.splitlines() if "film" in line]
    assert said.startswith(f"{folder / 'film.safetensors'}: not the frames of this training: ")
    assert said.endswith("the film begins after 24 steps")
    assert kept(folder)["step"].tolist() == [24, 36]


@pytest.mark.fault(235)
@pytest.mark.parametrize("name", ["film.safetensors", "training.gif"])
def test_a_film_is_no_link(short, tmp_path, capsys, name):
    folder = tmp_path / "run"
    shutil.copytree(short, folder)
    (folder / name).rename(tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    assert cli.main(["--resume", str(folder), "--epochs", "3", "--quiet", "--no_pictures"]) == 5
    assert "received a link" in capsys.readouterr().err


@pytest.mark.fault(236)
def test_a_film_that_fails_costs_no_training(tmp_path, monkeypatch, capsys):
    def fail(*arguments):
        raise MemoryError("no room for it")

    monkeypatch.setattr(watched, "decoded", fail)
    folder = run(tmp_path / "run", "--film", "--epochs", 2)
    assert capsys.readouterr().err.count("the film ends here: MemoryError: no room for it") == 1
    assert (folder / "model.safetensors").exists()
    assert not (folder / "training.gif").exists()


@pytest.mark.fault(238)
def test_of_a_loss_that_is_no_number_there_is_the_film_so_far(tmp_path, capsys):
    folder = tmp_path / "run"
    run(folder, "--film", "--learning_rate", "1e18", "--clip_norm", "1e30", code=6)
    pixels, _ = frames(folder / "training.gif")
    assert len(pixels) == len(kept(folder)["step"])
    assert "loss: expected a finite number" in capsys.readouterr().err


def test_a_training_out_of_patience_ends_with_its_last_step(tmp_path):
    folder = run(tmp_path / "run", "--film", "--patience", 1, "--learning_rate", 0.3, "--epochs", 300)
    epochs = len((folder / "metrics.csv").read_text().splitlines()) - 1
    assert epochs < 300
    assert kept(folder)["step"][-1] == epochs * 11, "1,294 images, 128 a step"


def test_a_code_of_two_dimensions_has_its_plane(tmp_path):
    found = kept(run(tmp_path / "run", "--film", "--epochs", 2, "--latent_dim", 2))
    vae = load(tmp_path / "run")
    assert found["plane"].shape == (3, 1, 100, 8, 8)
    corner = ops.convert_to_numpy(vae.decode(np.array([[-1.644854, 1.644854]], "float32")).mean)  # 5 and 95 %
    np.testing.assert_allclose(found["plane"][-1, 0, 0] / 255.0, np.clip(corner, 0, 1).reshape(8, 8), atol=0.01)


def test_a_condition_has_an_image_of_each_class(tmp_path):
    folder = run(tmp_path / "run", "--film", "--epochs", 2, "--condition", "labels", "--latent_dim", 2)
    vae, found = load(folder), kept(folder)
    expected = ops.convert_to_numpy(vae.generate(10, 0, np.arange(10)))
    np.testing.assert_allclose(found["samples"][-1, 0] / 255.0, np.clip(expected, 0, 1).reshape(10, 8, 8), atol=0.01)


def test_several_views_have_a_row_each(tmp_path):
    rng = np.random.default_rng(0)
    left, right = rng.random((60, 8, 8), "float32"), rng.random((60, 4, 4, 3), "float32")
    np.savez(tmp_path / "x.npz", left=left, right=right)
    options = ["--dset", str(tmp_path / "x.npz"), "--views", "left,right", "--epochs", "2", "--film"]
    folder = run(tmp_path / "run", *options)
    assert kept(folder)["samples"].shape == (3, 2, 10, 8, 8, 3)
    pixels, _ = frames(folder / "training.gif")
    assert (np.ptp(pixels.astype(int), axis=-1) > 30).any(), "there is colour"


@pytest.mark.parametrize("more", [["--prior", "real_nvp"], ["--prior", "mixture_of_gaussians", "--posterior", "iaf"]])
def test_every_prior_has_its_own_noise_that_stays(more, tmp_path):
    """Nothing is drawn from a generator of the model or of Keras, for these neither."""
    with_film, without = run(tmp_path / "a", *more, "--epochs", 2, "--film"), run(tmp_path / "b", *more, "--epochs", 2)
    assert (with_film / "model.safetensors").read_bytes() == (without / "model.safetensors").read_bytes()
    vae, found = load(with_film), kept(with_film)
    expected = np.clip(ops.convert_to_numpy(vae.generate(10, 0)), 0, 1).reshape(10, 8, 8)
    np.testing.assert_allclose(found["samples"][-1, 0] / 255.0, expected, atol=0.01)


def test_images_are_kept_small_and_without_opacity():
    images = np.zeros((2, 100, 50, 4), "float32")
    images[0, ..., 3] = 1.0
    found = small(images, 64)
    assert found.shape == (2, 64, 32, 3)
    assert found.dtype == np.uint8
    assert (found[0] == 0).all(), "black"
    assert (found[1] == 255).all(), "nothing, on white"
    assert small(np.full((1, 1, 3000), np.nan), 64).shape == (1, 1, 64)


def test_test_images_are_of_as_many_classes_as_possible():
    labels = np.array([3] * 50 + [1] * 5 + [0])
    subject = Subject(None, images=np.zeros((56, 4)), labels=labels)
    assert labels[one_of_each_class(subject, 3)].tolist() == [0, 1, 3]
    assert labels[one_of_each_class(subject, 5)].tolist() == [0, 1, 1, 3, 3]
    for known in (labels, None):
        assert len(set(one_of_each_class(replace(subject, labels=known), 6).tolist())) == 6


def strip(count=2, bounds=None, name="digits", plane=None, views=()):
    """A film of so many frames, each a little lighter."""
    shade = np.arange(count, dtype="uint8")[:, None, None, None, None] * 9
    images = np.zeros((count, max(1, len(views)), 10, 8, 8), "uint8") + shade
    bounds = [np.nan, *np.linspace(-90, -5, count - 1)] if bounds is None else bounds
    groups = [Group(text, images) for text in ("x", "reconstructions", "samples")]
    return Strip(name, range(0, 12 * count, 12), bounds, "nats per image", 30, 12, views, groups, plane)


@pytest.mark.parametrize("count", [1, 2, 30, 200])
def test_a_film_of_any_length_is_bearable(tmp_path, count):
    pixels, durations = frames(animation(strip(count), tmp_path / "training.gif"))
    assert len(pixels) == count
    assert durations[-1] == 2000
    assert all(60 <= duration <= 600 for duration in durations[:-1])
    assert (pixels[:, 0, 0] == 255).all(), "white is white"


def test_names_of_any_kind_are_drawn_and_nothing_is_wider_than_the_film(tmp_path):
    names = ["a\nb\t\x1b[31m", "\udcff\udcfe", "<b>$x^2$</b>" * 30, "", "数字" * 200]
    for name in names:
        pixels, _ = frames(animation(strip(name=name, views=(name, "b")), tmp_path / "training.gif"))
        assert (pixels[:, :, -8:] == 255).all(), "the margin on the right is empty"


def test_numbers_of_any_kind_are_drawn(tmp_path):
    for bounds in ([np.nan] * 3, [np.nan, 5.0, 5.0], [np.inf, -np.inf, 3.0], [1e30, -1e30, 0.0]):
        assert len(frames(animation(strip(3, bounds), tmp_path / "training.gif"))[0]) == 3


def test_without_a_film_nothing_is_imported_that_draws(tmp_path):
    """A training without one pays nothing for it."""
    options = [*SMALL, "--epochs", "0", "--run_dir", str(tmp_path / "run")]
    code = f"import sys; from bicoder.cli.main import main; main({options!r}); print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "bicoder.pictures.drawing.film" not in found.stdout.splitlines()[-1].split()


def test_the_file_is_small(filmed):
    assert (filmed / "film.safetensors").stat().st_size < 50_000
    assert set(film_frames.NUMBERS) < set(kept(filmed))
