"""The latent codes."""

import numpy as np
import pytest

from bicoder import VAE
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


@pytest.mark.parametrize("count", [1, 2, 4, 60])
@pytest.mark.parametrize("latent_dim", [1, 3])
def test_tsne_of_any_number_of_codes(count, latent_dim, rng, capsys):
    points = latent_space.tsne(rng.normal(size=(count, latent_dim)).astype("float32"))
    assert points.shape == (count, 2)
    assert np.isfinite(points).all()
    assert capsys.readouterr() == ("", ""), "nothing to say about a few codes"


def test_tsne_of_many_codes_says_how_long_it_takes(rng, monkeypatch, capsys):
    monkeypatch.setattr(latent_space, "MANY", 60)
    monkeypatch.setattr(latent_space, "CODES_IN_A_SECOND", 20)
    latent_space.tsne(rng.normal(size=(60, 3)).astype("float32"))
    assert capsys.readouterr() == ("", "t-SNE of 60 codes, about 3 s\n")
