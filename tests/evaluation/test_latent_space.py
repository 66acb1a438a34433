"""The latent codes."""

import fcntl
import pty
import re
import struct
import sys
import termios

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

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
    assert capsys.readouterr() == ("", ""), "no progress where there is no terminal"


def test_tsne_shows_its_progress_on_a_terminal(rng, monkeypatch):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 100, 0, 0))  # rows and columns
    with open(theirs, "w") as screen, open(ours, "rb", buffering=0) as shown:
        monkeypatch.setattr(sys, "stderr", screen)
        with threadpool_limits(1):  # tests that run beside this one would make its threads wait
            latent_space.tsne(rng.normal(size=(1500, 3)).astype("float32"))
        screen.flush()
        assert re.search(r"t-SNE: .*[1-9]00/1000 .*<\d", shown.read(2**16).decode())
