"""The pictures of a run: registered by their function alone, each drawn or left out by itself."""

import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from bicoder import VAE, Decoder, Encoder
from bicoder.engine.arrays.masked import Masked
from bicoder.errors import UsageError
from bicoder.networks import MLP
from bicoder.pictures import gallery, picture
from bicoder.pictures.drawing.plotting import image_grid
from bicoder.runs import folder as runs

# What there is, in its order, and the switch that asks for it.
FILES = {
    "curve.png": None,
    "prior.png": "generate_from_prior",
    "posterior.png": "generate_from_posterior",
    "traversals.png": "traversals",
    "plane.png": "traversals",
    "interpolation.png": "interpolation",
    "latent.png": "visualize_latent",
    "report.html": "report",
    "training.gif": None,
    "kl.png": None,
    "coherence.png": None,
    "generated.png": None,
}


@pytest.fixture
def subject(rng):
    vae = VAE(Encoder(MLP((4,)), 2), Decoder(MLP((4,))), seed=0)
    vae.build((None, 9))
    return picture.Subject(vae, "noise", rng.random((20, 9), "float32"), history={"elbo": [-2.0]}, num_images=4)


@pytest.fixture
def mean_image(monkeypatch):
    """A new picture, as somebody would add it: one function."""
    monkeypatch.setattr(picture, "_pictures", {found.file: found for found in picture.pictures()})

    @picture.picture("mean.png", flag="mean_image")
    def draw(subject, path):
        """the mean of the test images"""
        return image_grid(subject.images.mean(axis=0, keepdims=True), path, subject.name)


def test_the_pictures_and_their_order():
    assert [(found.file, found.flag) for found in picture.pictures()] == list(FILES.items())
    said = "prior.png: images from z ~ p(z); of a model with a condition, of each class"
    assert picture.flags()["generate_from_prior"] == said
    assert list(picture.flags()) == list(dict.fromkeys(flag for flag in FILES.values() if flag))
    assert re.fullmatch(r"traversals\.png: .+; plane\.png: .+", picture.flags()["traversals"])


def test_they_are_found_without_what_draws_them():
    code = "import sys; from bicoder.pictures import picture; print(len(picture.flags()), *sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert int(found[0]) == len(picture.flags())
    assert not {"matplotlib", "keras", "tensorflow", "sklearn"} & set(found)


def test_one_function_is_a_new_picture(subject, tmp_path, mean_image):
    assert picture.flags()["mean_image"] == "mean.png: the mean of the test images"
    assert picture.draw(subject, tmp_path) == [tmp_path / "curve.png"], "nobody asked for it"
    assert picture.draw(subject, tmp_path, ["mean_image"]) == [tmp_path / "curve.png", tmp_path / "mean.png"]
    assert (tmp_path / "mean.png").read_bytes().startswith(b"\x89PNG")
    runs.save_config(tmp_path, subject.vae, {}, {})
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"], "a run that overwrites another"


def test_a_picture_that_fails_costs_no_other(subject, tmp_path, mean_image, capsys):
    strange = replace(subject, images=np.full(subject.images.shape, None))  # no images: of three, one needs none
    flags = ["mean_image", "generate_from_prior", "generate_from_posterior"]
    assert [path.name for path in picture.draw(strange, tmp_path, flags)] == ["curve.png", "prior.png"]
    said = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[:2] for line in said] == [
        [str(tmp_path / name), "not drawn"] for name in ("posterior.png", "mean.png")
    ]


@pytest.mark.fault(100)
def test_a_picture_that_cannot_be_written_is_an_error_after_the_others(subject, tmp_path):
    (tmp_path / "curve.png").mkdir()
    with pytest.raises(UsageError, match=r"curve\.png: cannot be written"):
        picture.draw(subject, tmp_path, ["generate_from_prior"])
    assert (tmp_path / "prior.png").exists()


@pytest.mark.fault(100)
def test_codes_that_are_no_numbers_cost_no_other_picture(subject, tmp_path, capsys):
    images = subject.images.copy()
    images[2] = np.nan
    flags = ["visualize_latent", "generate_from_prior"]
    drawn = picture.draw(replace(subject, images=images, history={}), tmp_path, flags)
    assert drawn == [tmp_path / "prior.png"]
    said = capsys.readouterr().err
    assert said.startswith(f"{tmp_path / 'latent.png'}: not drawn: DataError: x: expected finite numbers")


@pytest.fixture
def title(monkeypatch):
    """Function (subject) -> the title of latent.png."""

    def draw(subject):
        monkeypatch.setattr("bicoder.pictures.drawing.plotting.save", lambda figure, path: figure.axes[0].get_title())
        return gallery.latent(subject, None)

    return draw


@pytest.mark.fault(100)
def test_the_picture_of_a_collapsed_code_says_so(subject, title):
    vae = VAE(Encoder(MLP((4,)), 5), Decoder(MLP((4,))), seed=0)
    vae.build((None, 9))
    for variable in vae.encoder.trainable_variables:
        variable.assign(variable * 0.0)
    assert title(replace(subject, vae=vae)).startswith("noise: collapsed, no unit is active: posterior means of 20")


@pytest.mark.fault(108)
@pytest.mark.parametrize("latent_dim", [1, 2])
def test_a_small_code_is_shown_itself(latent_dim, subject, title):
    vae = VAE(Encoder(MLP((4,)), latent_dim), Decoder(MLP((4,))), seed=0)
    vae.build((None, 9))
    for variable in vae.encoder.trainable_variables:
        variable.assign(variable * 10.0)
    labelled = replace(subject, vae=vae, labels=np.arange(20) % 3)
    for shown in (replace(subject, vae=vae), labelled):
        assert title(shown).startswith("noise: posterior means of 20 test images")


def test_a_picture_does_not_depend_on_the_others(subject, tmp_path):
    drawn = []
    for name, flags in (("one", []), ("all", ["visualize_latent", "generate_from_prior"])):
        (tmp_path / name).mkdir()
        picture.draw(subject, tmp_path / name, ["generate_from_posterior", *flags])
        drawn.append((tmp_path / name / "posterior.png").read_bytes())
    assert drawn[0] == drawn[1]


def test_there_is_nothing_to_draw(subject, tmp_path):
    """Of no epochs no curve; of a KL that is not a sum over dimensions no bars."""
    assert picture.draw(replace(subject, history={}), tmp_path) == []
    assert picture.draw(replace(subject, numbers={"kl_per_dimension": None}), tmp_path, command="evaluate") == []


@pytest.fixture
def of_views(rng):
    """A subject of two views, of which three of 40 examples lack one."""
    vae = VAE(Encoder(MLP((4,)), 3), Decoder(MLP((4,))), seed=0)
    vae.build({"a": (None, 9), "b": (None, 4)})
    there = (np.arange(40) >= 3).astype("float32")
    views = {"a": rng.random((40, 9), "float32"), "b": Masked(rng.random((40, 4), "float32"), there)}
    shapes = {"a": None, "b": None}
    return picture.Subject(vae, "pairs", views, np.arange(40) % 3, ("x", "y", "z"), shapes)


@pytest.mark.parametrize("labelled", [False, True])
def test_codes_of_several_views_have_a_panel_for_what_is_given(of_views, labelled, tmp_path, monkeypatch):
    subject = of_views if labelled else replace(of_views, labels=None)
    for variable in subject.vae.encoder.trainable_variables:
        variable.assign(variable * 10.0)
    figures = []
    monkeypatch.setattr("bicoder.pictures.drawing.panels.save", lambda figure, path: figures.append(figure) or path)
    gallery.latent(subject, tmp_path / "latent.png")
    [figure] = figures
    assert "of 37 test examples, given all views and one alone" in figure.get_suptitle()
    titles = [axes.get_title().split(", 10-NN accuracy 0.")[0] for axes in figure.axes]
    assert titles == ["all views", "a alone", "b alone", "all of them, by what is given"]
    shown = [sum(len(one.get_offsets()) for one in axes.collections) for axes in figure.axes]
    assert shown == [4 * 37] * 3 + [3 * 37]  # all in grey, and those of the panel; once all
    texts = [[text.get_text().strip() for text in legend.get_texts()] for legend in figure.legends]
    assert texts == [["all views", "a alone", "b alone"], *([["x", "y", "z"]] if labelled else [])]


def test_codes_of_views_that_no_example_has_both_of_are_shown_together(of_views, tmp_path):
    nowhere = of_views.images | {"b": of_views.images["b"]._replace(there=np.zeros(40, "float32"))}
    assert gallery.latent(replace(of_views, images=nowhere), tmp_path / "latent.png") == tmp_path / "latent.png"


def test_coherence_is_drawn_if_there_is_some(of_views, tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr("bicoder.pictures.drawing.coherence.save", lambda figure, path: figures.append(figure) or path)
    one = {"accuracy": 0.5, "standard_error": 0.1, "sets": 2, "of_sets": 2}
    found = {"given": {1: one}, "linear": {1: one, 2: one}, "joint": one, "classifiers": {"a": one}, "classes": 3}
    subject = replace(of_views, numbers={"coherence": found | {"examples": 37}})
    assert gallery.coherence(subject, tmp_path / "coherence.png") is not None
    [axes] = figures[0].axes
    assert [text.get_text() for text in axes.get_xticklabels()] == ["none", "1", "all 2"]
    heights = sorted(float(line.get_ydata()[0]) for line in axes.get_lines() if line.get_linestyle() in ("--", ":"))
    assert heights == pytest.approx([1 / 3, 0.5])
    assert gallery.coherence(replace(of_views, numbers={"coherence": None}), tmp_path / "coherence.png") is None
    assert gallery.coherence(replace(of_views, numbers={}), tmp_path / "coherence.png") is None
