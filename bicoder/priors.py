"""Priors p(z) over the latent code."""

import abc

import keras
from keras import ops

from bicoder.component import Component
from bicoder.distributions import Gaussian


class Prior(Component, keras.layers.Layer):
    """p(z); it is built with the shape of the latent code, (None, latent_dim), and may own weights."""

    def __init__(self):
        super().__init__(dtype="float32")

    def build(self, input_shape):
        self.latent_dim = input_shape[-1]

    @abc.abstractmethod
    def log_prob(self, z):
        """log p(z) in nats: (..., batch, latent_dim) -> (..., batch)."""

    @abc.abstractmethod
    def sample(self, num_samples, seed=None):
        """Draw codes, (num_samples, latent_dim), that follow `log_prob`."""


class StandardNormal(Prior):
    """N(0, I), without weights (Kingma & Welling 2014)."""

    def distribution(self, num_samples):
        """N(0, I) for `num_samples` codes, as a `Distribution`."""
        zeros = ops.zeros((num_samples, self.latent_dim))
        return Gaussian(zeros, zeros)

    def log_prob(self, z):
        return self.distribution(1).log_prob(z)

    def sample(self, num_samples, seed=None):
        return self.distribution(num_samples).sample(seed)
