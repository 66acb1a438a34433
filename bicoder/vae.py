"""The variational autoencoder: Equation 1, as a Keras model."""

import random
import sys
import threading
from collections.abc import Iterable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from bicoder import view_objectives  # noqa: F401 - whose members can be chosen by their names
from bicoder.coders import Decoder, Encoder
from bicoder.component import plain
from bicoder.conditions import Condition
from bicoder.distributions import Distribution
from bicoder.engine.arrays.conditioned import conditioned, parted
from bicoder.engine.arrays.masked import on_arrays, on_values
from bicoder.engine.arrays.there import kept
from bicoder.engine.arrays.trees import batched, example_to_build, leaves
from bicoder.engine.programs.fixed import still_frozen
from bicoder.engine.programs.tracing import TARGET, WEIGHTS
from bicoder.engine.random_numbers import normal
from bicoder.engine.tensor import Tensor
from bicoder.errors import UsageError, check_number, check_seed
from bicoder.fusions import Fused
from bicoder.inference import Inference
from bicoder.kl import kl_divergence
from bicoder.networks import check_precision
from bicoder.objectives import Objective, Terms
from bicoder.per_view import check_names, check_view_weights, of_view, weight_of
from bicoder.priors import Prior
from bicoder.returned import check_distribution, check_tensor, name_of

# Held while a model is built: one that is first used by two threads at once is built by one of them.
BUILDING = threading.RLock()

MADE_FOR = ((784,), (28, 28, 3))  # shapes of the digits whose task has sigma 0.75


class Bound(NamedTuple):
    """What `VAE.call` returns: one value for each example, (batch,), in nats."""

    loss: Tensor  # minus the objective
    distortion: Tensor  # -E_q(z|x)[log p(x|z)]
    rate: Tensor  # KL[q(z|x) || p(z)]


@keras.saving.register_keras_serializable("bicoder")
class VAE(Inference):
    """A variational autoencoder (Kingma & Welling 2014).

    It maximises L = E_q(z|x)[log p(x|z)] - KL[q(z|x) || p(z)]; -L = distortion + rate. All values are in nats of a
    normalised density, for one example. `VAE()` fits itself to the shape of its first batch: the MLP for vectors,
    convolutions for images. x may be several views of each example, a dict view -> tensor, which are independent given
    z: log p(x|z) = sum_v log p(x_v|z). What is missing, of a `Masked` view or of NumPy's masked array, leaves the sum.

    Args:
        encoder: an `Encoder`, or None for the default one.
        decoder: a `Decoder`, or None for the default one.
        prior: name or `Prior`.
        objective: name or `Objective`.
        latent_dim: dimensions of z for the default encoder; None for the network's own.
        input_noise: standard deviation of Gaussian noise that is added to the encoder's input in training, anew in each
            step; p(x|z) has to explain x without it (Im et al. 2017).
        view_weights: how much log p(x_v|z) of each view counts in the objective, a dict view -> weight, or "size" for
            one divided by the numbers that the view has; None for 1, which makes the objective a bound. Likelihoods
            and metrics never have them.
        condition: name or `Condition` of what is given, y, if the model is one of log p(x|y): all three of q(z|x, y),
            p(x|z, y) and p(z|y) are told it. `fit(x, y)` then takes it as y, and a target in `fit((x, target), y)`.
        seed: int; the same seed gives the same initial weights and the same noise. None for one that is drawn, which
            `keras.utils.set_random_seed` decides.
        name: of the Keras model.
    """

    def __init__(
        self,
        encoder: Encoder | dict[str, Any] | None = None,
        decoder: Decoder | dict[str, Any] | None = None,
        *,
        prior: str | dict[str, Any] | Prior = "standard_normal",
        objective: str | dict[str, Any] | Objective = "elbo",
        latent_dim: int | None = None,
        input_noise: float = 0.0,
        view_weights: dict[str, float] | str | None = None,
        condition: str | dict[str, Any] | Condition | None = None,
        seed: int | None = None,
        name: str | None = None,
    ) -> None:
        check_precision()
        # Densities are float32 if the networks are not: neither x nor the weights of a prior are rounded on their way.
        super().__init__(name=name, dtype="float32")
        self._named = {} if name is None else {"name": name}
        self.encoder = Encoder.get(encoder) or Encoder(latent_dim=latent_dim)
        self.decoder = Decoder.get(decoder) or Decoder()
        self.prior = Prior.get(prior)
        self.objective = Objective.get(objective)
        if latent_dim not in (None, self.encoder.latent_dim):
            raise UsageError(f"latent_dim: the encoder has {self.encoder.latent_dim}, received {latent_dim} too")
        self.latent_dim: Any = latent_dim  # a number, once the model is built
        self.input_noise = check_number("input_noise", input_noise)
        self.view_weights = check_view_weights(view_weights)
        self.condition = Condition.get(condition)
        self._check_condition()
        self.seed = check_seed(seed)
        self.noise = keras.random.SeedGenerator(self.seed)
        self._says_sigma = decoder is None
        # The unweighted bound is logged whatever the objective is: by it models are compared, and the best one chosen.
        self.elbo_metric = keras.metrics.Mean(name="elbo")
        self.distortion_metric = keras.metrics.Mean(name="distortion")
        self.rate_metric = keras.metrics.Mean(name="rate")

    def build(self, input_shape: Any) -> None:
        example = example_to_build(input_shape)
        if self.condition is not None:
            self.condition.take(parted(input_shape)[1])
        encoder, decoder = self.encoder, self.decoder
        before = encoder.network, encoder.latent_dim, decoder.network, decoder.output_shape
        with BUILDING:
            try:
                self._build(example)
            except UsageError:  # of a shape that it cannot take: the next one is the first again
                encoder.network, encoder.latent_dim, decoder.network, decoder.output_shape = before
                raise

    def _build(self, example: Any) -> None:
        """Make what is not there yet, for examples of this shape, or with views of these shapes."""
        if isinstance(self.view_weights, dict):
            check_names({"view_weights": self.view_weights}, example if isinstance(example, dict) else {"x": example})
        if self.decoder.output_shape is None:
            self.decoder.output_shape = example
        seed = random.randrange(2**31) if self.seed is None else self.seed
        parts: list[Any] = [self.encoder, self.decoder, self.prior]
        parts += [] if self.condition is None else [self.condition]
        for part, own in zip(parts, np.random.SeedSequence(seed).generate_state(len(parts)), strict=True):
            part.seed = int(own) if part.seed is None else part.seed
        with still_frozen(self):
            self._tell_parts()
            if not self.encoder.built:
                self.encoder.build(batched(example))
            self._check_posterior()
            self.latent_dim = self.encoder.latent_dim
            self.prior.attach(self.encoder, example)
            rest: tuple[Any, ...] = (self.decoder, self.prior, self.objective)
            for part in rest:
                if not part.built:
                    part.build((None, self.latent_dim))
        self._example_shape = example

    def _check_condition(self) -> None:
        """Some priors are of conditional models alone, and some of none."""
        if self.condition is None and self.prior.needs_condition:
            raise UsageError(f"{name_of(self.prior)}: expected a VAE with a condition, received one without")
        if self.condition is not None and not self.prior.takes_condition:
            raise UsageError(f"{name_of(self.prior)}: takes no condition; expected another prior, or no condition")

    def _tell_parts(self) -> None:
        """Let the parts know what they will be told of each example."""
        if self.condition is None:
            return
        if not self.condition.built:
            self.condition.build((None,))
        for part in (self.encoder, self.decoder, self.prior):
            part.told_shape = self.condition.output_shape
        # A function, for Keras would take the condition for a part of each coder.
        self.encoder.told = self.decoder.told = lambda y: self.condition(y)

    def _check_posterior(self) -> None:
        """Some priors and objectives need the parameters of a posterior that they know."""
        found, views = self.encoder.distribution, self.encoder.views
        received = name_of(self.encoder.fusion) if views else self.encoder.posterior.part_name()
        for part in (self.prior, self.objective):
            if part.needs and not views and all(issubclass(need, Fused) for need in part.needs):
                raise UsageError(
                    f"{name_of(part)}: expected data of several views, a dict view -> x, received one tensor"
                )
            if part.needs and not issubclass(found, part.needs):
                known = " or ".join(need.__name__ for need in part.needs)
                raise UsageError(
                    f"{name_of(part)}: expected a {known} posterior, received {received}; choose another of the two"
                )

    def call(self, x: Any, training: bool | None = None) -> Bound:
        """Every step from the data to the objective: x (batch, ...), or a dict view -> x_v, -> `Bound`."""
        self.check_shape(x)
        q = self.encoder(self.noisy(x) if training else x, training=training)
        z, log_qz = self.objective.draw(q, self.noise)  # (K, batch, latent), (K, batch)
        target = x if TARGET.get() is None else conditioned(TARGET.get(), parted(x)[1])
        terms = self.terms(target, z, q, log_qz, training, keep=bool(training), weights=WEIGHTS.get())
        bound, rate = self.objective.bound(terms), ops.sum(terms.kl, axis=-1)
        check_tensor(self.objective, "bound", bound, (leaves(x)[0].shape[0],), "(batch,)")
        return Bound(-bound, terms.distortion, rate)

    def noisy(self, x: Any) -> Any:
        """x with the noise of a training step, if the model was told to add some."""
        if not self.input_noise:
            return x
        return on_values(lambda v: v + self.input_noise * ops.cast(normal(ops.shape(v), self.noise), v.dtype), x)

    def terms(
        self,
        x: Any,
        z: Tensor,
        q: Any,
        log_qz: Tensor,
        training: bool | None = None,
        keep: bool = False,
        weights: Tensor | None = None,
    ) -> Terms:
        """The `Terms` of the objective for x (batch, ...) and z (K, batch, latent), samples of q = q(z|x).

        Args:
            log_qz: log q(z|x), (K, batch).
            training: whether this is a training step.
            keep: whether the likelihood keeps what it learns from the batch: once a step, however often it is asked.
            weights: of the examples, (batch,); None if all count the same.
        """
        samples = (z.shape[0], leaves(x)[0].shape[0])
        check_tensor(self.encoder.posterior, "log_prob", log_qz, samples, "(samples, batch)")
        views = self.decoder.log_px(x, z, training, keep, weights)
        for view, one in views.items():
            check_tensor(self.decoder.likelihoods[view], "log_prob", one, samples, "(samples, batch)")
        log_px = sum(weight_of(self.view_weights, view, self.example_shape) * one for view, one in views.items())
        distortion = -ops.mean(sum(views.values()), axis=0)
        prior = self.prior_given(parted(x)[1])
        check_distribution(self.prior, "distribution", prior)
        log_pz = prior.log_prob(z)
        check_tensor(self.prior, "log_prob", log_pz, samples, "(samples, batch)")
        kl = kl_divergence(q, prior)
        if kl is None:
            kl = ops.mean(log_qz - log_pz, axis=0)[:, None]

        def at(z: Tensor, q: Distribution) -> Terms:
            return self.terms(x, z, q, q.log_prob(z), training, weights=weights)

        def given(names: Iterable[str], chosen: dict[str, Tensor] | None = None) -> Terms:
            views, y = parted(x)
            some = {name: views[name] if chosen is None else kept(views[name], chosen[name]) for name in names}
            q_given = q.given(names, chosen)
            z_given, log_q = q_given.sample_and_log_prob(self.noise, z.shape[0])
            return self.terms(conditioned(some, y), z_given, q_given, log_q, training, weights=weights)

        noise = self.noise
        return Terms(log_px, log_pz, log_qz, kl, z, q, prior, noise, bool(training), weights, distortion, at, given)

    def check(self, x: Any, y: Any = None) -> None:
        """See that arrays are something to learn from, and have a density: that of y, if it is there."""
        super().check(x, y)
        x, told = parted(x)
        if self.condition is not None:
            self.condition.take(told.shape)
            self.condition.check(told)
        name, target = ("x", x) if y is None else ("y", y)
        for view, one in (target if isinstance(target, dict) else {"": target}).items():
            likelihood = of_view("likelihood", self.decoder.likelihood, view) if view else self.decoder.likelihood
            called = f"{name}[{view!r}]" if view else name
            likelihood.check(on_arrays(lambda a: a if getattr(a, "in_file", False) else np.asarray(a), one), called)

    def say_before_training(self) -> None:
        """Say that nobody chose sigma, if the data are not those that its default is made for."""
        shapes = self.decoder.output_shape
        shapes = shapes.values() if isinstance(shapes, dict) else [shapes]
        if self._says_sigma and not all(tuple(shape) in MADE_FOR for shape in shapes):
            print(
                "VAE: sigma of p(x|z) is 0.75, which suits MNIST; to learn it: "
                'VAE(decoder=Decoder(likelihood={"name": "gaussian", "sigma": "learned"}))',
                file=sys.stderr,
            )
        self._says_sigma = False

    def compute_loss(
        self, x: Tensor = None, y: Any = None, y_pred: Any = None, sample_weight: Tensor = None, training: bool = True
    ) -> Tensor:
        """Mean loss of the batch, in nats for one example, with what your own layers add; `y_pred` knows y already."""
        self.elbo_metric.update_state(-y_pred.distortion - y_pred.rate, sample_weight)
        self.distortion_metric.update_state(y_pred.distortion, sample_weight)
        self.rate_metric.update_state(y_pred.rate, sample_weight)
        loss = y_pred.loss if sample_weight is None else y_pred.loss * ops.cast(sample_weight, "float32")
        return ops.mean(loss) + sum(self.losses)

    def __repr__(self) -> str:
        """Its parts, and the shapes of x and z once it is built."""
        shapes = f"x {self.example_shape}, z ({self.latent_dim},)" if self.built else "not built"
        parts = (self.encoder, self.decoder, self.prior, self.objective)
        return f"VAE({shapes}, {', '.join(map(repr, parts))})"

    def get_config(self) -> dict[str, Any]:
        names = ["encoder", "decoder", "prior", "objective", "latent_dim", "input_noise", "view_weights"]
        names += ["condition", "seed"]
        return {name: plain(getattr(self, name)) for name in names} | self._named
