"""Objectives: lower bounds on log p(x), computed from the terms of Equation 1."""

import abc
from typing import Any, NamedTuple

import keras
from keras import ops

from bicoder.component import Component
from bicoder.errors import check_count


class Terms(NamedTuple):
    """What an objective is made of; tensors in nats, with K samples of z for every example."""

    log_px: Any  # log p(x|z), (K, batch)
    log_pz: Any  # log p(z), (K, batch)
    log_qz: Any  # log q(z|x), (K, batch)
    kl: Any  # KL[q(z|x) || p(z)], (batch,): exact where it is known, else the mean of log_qz - log_pz


class Objective(Component, keras.layers.Layer):
    """A bound that training makes larger; a schedule it owns is a weight, so that it can change while training."""

    # Samples of z that are drawn for every example.
    num_samples = 1

    def __init__(self):
        super().__init__(dtype="float32")

    @abc.abstractmethod
    def bound(self, terms):
        """`Terms` -> (batch,), in nats; the loss is minus its mean."""


class ELBO(Objective):
    """The evidence lower bound, L = E_q(z|x)[log p(x|z)] - KL[q(z|x) || p(z)] (Kingma & Welling 2014, equation 3).

    Args:
        num_samples: samples of z over which log p(x|z) is averaged.
    """

    def __init__(self, num_samples=1):
        super().__init__()
        self.num_samples = check_count("num_samples", num_samples)

    def bound(self, terms):
        return ops.mean(terms.log_px, axis=0) - terms.kl
