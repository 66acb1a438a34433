"""Posteriors: from the raw output of the encoder's network to the distribution q(z|x)."""

import abc

import keras
from keras import ops

from bicoder.component import Component
from bicoder.distributions import Gaussian


class Posterior(Component, keras.layers.Layer):
    """q(z|x), given the raw output of a network; it may own weights."""

    def __init__(self):
        super().__init__(dtype="float32")

    @abc.abstractmethod
    def num_outputs(self, latent_dim):
        """How many raw outputs the network gives for a code of `latent_dim` dimensions."""

    @abc.abstractmethod
    def call(self, raw):
        """Raw output (batch, num_outputs) -> `Distribution` over z (batch, latent_dim)."""


class DiagonalGaussianPosterior(Posterior):
    """q(z|x) = N(mu, diag(sigma^2)); the network gives mu and log(sigma^2) (Kingma & Welling 2014)."""

    def num_outputs(self, latent_dim):
        return 2 * latent_dim

    def call(self, raw):
        mean, log_var = ops.split(raw, 2, axis=-1)
        return Gaussian(mean, 0.5 * log_var)
