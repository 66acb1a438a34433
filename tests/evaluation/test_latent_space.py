"""The latent codes."""

import numpy as np
import pytest

from bicoder import VAE, waiting
from bicoder.errors import NumericError
from bicoder.evaluation import latent_space


@pytest.fixture
def vae():
    vae = VAE(seed=0, latent_dim=3)
    vae.build((None, 12))
    return vae


def test_posterior_means_do_not_depend_on_the_batch_size(vae, rng):
    x = rng.random((50, 12), "float32")
    means = latent_space.posterior_means(vae, x, batch_size=7)
    assert means.shape == (50, 3)
    np.testing.assert_allclose(means, vae.encode(x).mean, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("classifier", ["10-NN", "logistic"])
def test_classifiers_tell_apart_what_is_apart(classifier, rng):
    labels = np.repeat([0, 1], 40)
    apart = rng.normal(size=(80, 2)) + 10 * labels[:, None]
    assert latent_space.label_accuracy(apart, labels, classifier) == 1.0
    assert latent_space.label_accuracy(rng.normal(size=(80, 2)), labels, classifier) < 0.75
    assert latent_space.label_accuracy(apart[:5], labels[:5], classifier) is None
    assert latent_space.label_accuracy(apart, np.zeros(80, int), classifier) is None


@pytest.mark.fault(103)
@pytest.mark.parametrize("classifier", ["10-NN", "logistic"])
def test_a_class_of_one_image_costs_that_image(classifier, rng):
    """59 zeros and a one: where the one is asked for, only zeros are known."""
    codes, labels = rng.normal(size=(60, 2)), np.zeros(60, int)
    labels[7] = 1
    assert latent_space.label_accuracy(codes, labels, classifier) == pytest.approx(59 / 60)


@pytest.mark.parametrize("count", [1, 2, 4, 60])
@pytest.mark.parametrize("latent_dim", [1, 2, 3])
def test_any_number_of_codes_lies_in_the_plane(count, latent_dim, rng, capsys):
    codes = rng.normal(size=(count, latent_dim)).astype("float32")
    plane = latent_space.in_the_plane(codes)
    assert plane.points.shape == (count, min(latent_dim, 2))
    assert np.isfinite(plane.points).all()
    assert ("t-SNE" in plane.how) == (latent_dim == 3 and count >= 3)
    assert capsys.readouterr() == ("", ""), "nothing to say about a few codes"


@pytest.mark.fault(108)
@pytest.mark.parametrize("latent_dim", [1, 2])
def test_codes_of_one_or_two_dimensions_are_shown_as_they_are(latent_dim, rng):
    codes = rng.normal(size=(40, latent_dim))
    plane = latent_space.in_the_plane(codes)
    np.testing.assert_array_equal(plane.points, codes)
    assert (plane.axes, plane.how) == (("z1", "z2")[:latent_dim], "posterior means")


@pytest.mark.fault(100)
@pytest.mark.parametrize("value", [0.0, 0.1, 3e30])
def test_codes_that_do_not_vary_are_shown_as_they_are(value):
    """t-SNE divides by their spread, and ends the process at the NaN that comes of it."""
    plane = latent_space.in_the_plane(np.full((359, 20), value, "float32"))
    assert plane.how.startswith("collapsed")
    assert (plane.points == np.float32(value)).all()
    with pytest.raises(ValueError, match=r"expected 3 codes or more that differ, received 359 of spread 0\.0"):
        latent_space.tsne(np.full((359, 20), value, "float32"))


@pytest.mark.fault(100)
def test_of_a_collapsed_code_the_two_widest_dimensions_are_shown(rng):
    codes = rng.normal(size=(50, 5)) * [0.01, 0.001, 0.05, 0.002, 0.0]
    plane = latent_space.in_the_plane(codes)
    assert (plane.axes, plane.how) == (("z1", "z3"), "collapsed, no unit is active: posterior means")
    np.testing.assert_array_equal(plane.points, codes[:, [0, 2]])


@pytest.mark.fault(100)
@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1.0, 1e18, 1e30])
def test_tsne_of_codes_of_any_size(scale, rng):
    codes = (rng.normal(size=(30, 3)) * scale).astype("float32")
    assert np.isfinite(latent_space.tsne(codes)).all()


@pytest.mark.fault(100)
def test_tsne_of_codes_that_are_nearly_all_the_same():
    codes = np.zeros((200, 3), "float32")
    codes[5] = 30.0
    assert np.isfinite(latent_space.tsne(codes)).all()


@pytest.mark.fault(100)
def test_codes_that_are_no_numbers_are_refused(rng):
    codes = rng.normal(size=(30, 3))
    codes[4, 1], codes[9] = np.nan, np.inf
    with pytest.raises(NumericError, match="expected finite numbers, received others for 2 of 30 images"):
        latent_space.in_the_plane(codes)


@pytest.mark.fault(112)
def test_tsne_says_what_it_does_if_it_takes_long(rng, monkeypatch, capsys):
    monkeypatch.setattr(waiting, "FIRST", 0.01)
    latent_space.tsne(rng.normal(size=(60, 3)).astype("float32"))
    assert capsys.readouterr() == ("", "t-SNE of 60 codes: 0 s so far\n")
