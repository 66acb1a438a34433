"""What a part of one's own returns wrongly is named, with the method and the shape, before it trains wrongly."""

import keras
import numpy as np
import pytest
from keras import ops

from bicoder import VAE, Decoder, Encoder
from bicoder.distributions import Gaussian
from bicoder.errors import UsageError
from bicoder.likelihoods import GaussianLikelihood
from bicoder.networks import MLP
from bicoder.objectives import ELBO
from bicoder.posteriors import DiagonalGaussianPosterior
from bicoder.priors import StandardNormal


class Unsummed(Gaussian):
    """Its density has the sum over pixels, or over dimensions, left out."""

    def log_prob(self, value):
        return self.elementwise(value)


class Wrong(Gaussian):
    """Its density is whatever is asked for."""

    answer = None

    def log_prob(self, value):
        return self.answer


def likelihood(distribution):
    class Mine(GaussianLikelihood):
        def call(self, raw):
            return distribution(raw, 0.0) if distribution else None

    return VAE(Encoder(MLP((4,)), 3), Decoder(MLP((4,)), likelihood=Mine()))


def answering(value):
    return type("Answering", (Wrong,), {"answer": value})


def posterior():
    class Mine(DiagonalGaussianPosterior):
        def call(self, raw):
            mean, log_scale = ops.split(raw, 2, axis=-1)
            return Unsummed(mean, log_scale)

    return VAE(Encoder(MLP((4,)), 3, posterior=Mine()), Decoder(MLP((4,))))


def prior(returned):
    class Mine(StandardNormal):
        def distribution(self):
            return returned

    return VAE(Encoder(MLP((4,)), 3), Decoder(MLP((4,))), prior=Mine())


def objective(returned):
    class Mine(ELBO):
        def bound(self, terms):
            return returned(terms)

    return VAE(Encoder(MLP((4,)), 3), Decoder(MLP((4,))), objective=Mine())


SAMPLES = r"expected a tensor \(samples, batch\), \(1, 12\), received "
CASES = {
    "no sum over pixels": (lambda: likelihood(Unsummed), r"likelihood mine: log_prob: " + SAMPLES + r"\(1, 12, 12\)"),
    "a scalar": (lambda: likelihood(answering(np.float32(3.0))), r"likelihood mine: log_prob: " + SAMPLES + r"\(\)"),
    "a float": (lambda: likelihood(answering(3.0)), r"likelihood mine: log_prob: " + SAMPLES + "float"),
    "None": (lambda: likelihood(answering(None)), r"likelihood mine: log_prob: " + SAMPLES + "NoneType"),
    "no distribution": (lambda: likelihood(None), "likelihood mine: call: expected a Distribution, received NoneType"),
    "a posterior": (posterior, r"posterior mine: log_prob: " + SAMPLES + r"\(1, 12, 3\)"),
    "a prior": (lambda: prior(Unsummed(np.zeros((1, 3), "float32"), 0.0)), r"prior mine: log_prob: " + SAMPLES),
    "no prior": (lambda: prior(None), "prior mine: distribution: expected a Distribution, received NoneType"),
    "an objective's mean": (
        lambda: objective(lambda terms: ops.mean(terms.elbo)),
        r"objective mine: bound: expected a tensor \(batch,\), \(12,\), received \(\)",
    ),
    "an objective's samples": (lambda: objective(lambda terms: terms.log_px), r"objective mine: bound: .* \(1, 12\)"),
}


@pytest.mark.fault(135)
@pytest.mark.parametrize("case", CASES)
def test_a_part_that_returns_something_else_is_named(case):
    """The batch is as long as an image, so that what is wrong would run."""
    make, message = CASES[case]
    vae = make()
    with pytest.raises(UsageError, match=message):
        vae.train(np.zeros((12, 12), "float32"), keras.optimizers.Adam())
