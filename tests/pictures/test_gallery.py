"""The pictures of a run: registered by their function alone, each drawn or left out by itself."""

import subprocess
import sys

import numpy as np
import pytest

from bicoder import VAE, Decoder, Encoder
from bicoder.errors import UsageError
from bicoder.networks import MLP
from bicoder.pictures import picture
from bicoder.pictures.plotting import image_grid
from bicoder.runs import folder as runs

# What there is, in its order, and the switch that asks for it.
FILES = {
    "curve.png": None,
    "latent.png": "visualize_latent",
    "prior.png": "generate_from_prior",
    "posterior.png": "generate_from_posterior",
    "kl.png": None,
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
    assert picture.flags()["visualize_latent"] == "latent.png: t-SNE of the posterior means"
    assert list(picture.flags()) == [flag for flag in FILES.values() if flag]


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
    images = subject.images.copy()
    strange = subject._replace(images=np.array(["x"] * len(images)))  # no images: of three, one needs none
    flags = ["mean_image", "generate_from_prior", "generate_from_posterior"]
    assert [path.name for path in picture.draw(strange, tmp_path, flags)] == ["curve.png", "prior.png"]
    said = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[:2] for line in said] == [
        [str(tmp_path / name), "not drawn"] for name in ("posterior.png", "mean.png")
    ]


def test_a_disk_that_takes_no_picture_is_an_error(subject, tmp_path):
    (tmp_path / "curve.png").mkdir()
    with pytest.raises(UsageError, match="cannot be written"):
        picture.draw(subject, tmp_path)


def test_a_picture_does_not_depend_on_the_others(subject, tmp_path):
    drawn = []
    for name, flags in (("one", []), ("all", ["visualize_latent", "generate_from_prior"])):
        (tmp_path / name).mkdir()
        picture.draw(subject, tmp_path / name, ["generate_from_posterior", *flags])
        drawn.append((tmp_path / name / "posterior.png").read_bytes())
    assert drawn[0] == drawn[1]


def test_there_is_nothing_to_draw(subject, tmp_path):
    """Of no epochs no curve; of a KL that is not a sum over dimensions no bars."""
    assert picture.draw(subject._replace(history={}), tmp_path) == []
    assert picture.draw(subject._replace(numbers={"kl_per_dimension": None}), tmp_path, command="evaluate") == []
