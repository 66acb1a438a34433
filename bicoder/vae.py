"""The variational autoencoder: Equation 1, as a Keras model."""

import math
import random
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from bicoder import view_objectives  # noqa: F401 - whose members can be chosen by their names
from bicoder.coders import Decoder, Encoder
from bicoder.component import plain
from bicoder.distributions import Distribution
from bicoder.engine.arrays.inputs import joined, numbers_of, portions_of, rows_at_once
from bicoder.engine.arrays.masked import on_arrays, on_values
from bicoder.engine.arrays.numbers import check_numbers, is_known
from bicoder.engine.arrays.there import kept
from bicoder.engine.arrays.trees import batched, example_to_build, leaves
from bicoder.engine.programs.fixed import still_frozen
from bicoder.engine.programs.tracing import TARGET, WEIGHTS
from bicoder.engine.random_numbers import normal
from bicoder.engine.tensor import Seed, Tensor
from bicoder.errors import UsageError, check_count, check_number, check_seed
from bicoder.fusions import Fused
from bicoder.kl import kl_divergence
from bicoder.networks import check_precision
from bicoder.objectives import Objective, Terms
from bicoder.per_view import check_names, check_view_weights, of_view, weight_of
from bicoder.priors import Prior
from bicoder.returned import check_distribution, check_tensor, name_of
from bicoder.saving import SaveableModel

# Held while a model is built: one that is first used by two threads at once is built by one of them.
BUILDING = threading.RLock()

MADE_FOR = ((784,), (28, 28, 3))  # shapes of the digits whose task has sigma 0.75


class Bound(NamedTuple):
    """What `VAE.call` returns: one value for each example, (batch,), in nats."""

    loss: Tensor  # minus the objective
    distortion: Tensor  # -E_q(z|x)[log p(x|z)]
    rate: Tensor  # KL[q(z|x) || p(z)]


def samples_at_once(batch: int, example: Any, prior: Prior, numbers: int = 2**24) -> int:
    """How many samples of z for so many examples of this shape keep each tensor below `numbers` (64 MB)."""
    return max(1, numbers // (batch * max(numbers_of(example), prior.numbers_per_code)))


@keras.saving.register_keras_serializable("bicoder")
class VAE(SaveableModel):
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
        self.seed = check_seed(seed)
        self.noise = keras.random.SeedGenerator(self.seed)
        self._says_sigma = decoder is None
        # The unweighted bound is logged whatever the objective is: by it models are compared, and the best one chosen.
        self.elbo_metric = keras.metrics.Mean(name="elbo")
        self.distortion_metric = keras.metrics.Mean(name="distortion")
        self.rate_metric = keras.metrics.Mean(name="rate")

    def build(self, input_shape: Any) -> None:
        example = example_to_build(input_shape)
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
        seeds = np.random.SeedSequence(seed).generate_state(3)
        for part, seed in zip((self.encoder, self.decoder, self.prior), seeds, strict=True):
            part.seed = int(seed) if part.seed is None else part.seed
        with still_frozen(self):
            if not self.encoder.built:
                self.encoder.build(batched(example))
            self._check_posterior()
            self.latent_dim = self.encoder.latent_dim
            self.prior.attach(self.encoder, example)
            for part in (self.decoder, self.prior, self.objective):
                if not part.built:
                    part.build((None, self.latent_dim))
        self._example_shape = example

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
        target = x if TARGET.get() is None else TARGET.get()
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
        prior = self.prior.distribution()
        check_distribution(self.prior, "distribution", prior)
        log_pz = prior.log_prob(z)
        check_tensor(self.prior, "log_prob", log_pz, samples, "(samples, batch)")
        kl = kl_divergence(q, prior)
        if kl is None:
            kl = ops.mean(log_qz - log_pz, axis=0)[:, None]

        def at(z: Tensor, q: Distribution) -> Terms:
            return self.terms(x, z, q, q.log_prob(z), training, weights=weights)

        def given(names: Iterable[str], chosen: dict[str, Tensor] | None = None) -> Terms:
            some = {name: x[name] if chosen is None else kept(x[name], chosen[name]) for name in names}
            q_given = q.given(names, chosen)
            z_given, log_q = q_given.sample_and_log_prob(self.noise, z.shape[0])
            return self.terms(some, z_given, q_given, log_q, training, weights=weights)

        noise = self.noise
        return Terms(log_px, log_pz, log_qz, kl, z, q, prior, noise, bool(training), weights, distortion, at, given)

    def log_px(self, x: Any, z: Tensor) -> Tensor:
        """log p(x|z) of x (batch, ...), the sum over its views, for z (K, batch, latent): (K, batch)."""
        return sum(self.decoder.log_px(x, z).values())

    def check(self, x: Any, y: Any = None) -> None:
        """See that arrays are something to learn from, and have a density: that of y, if it is there."""
        super().check(x, y)
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

    def check_built(self, method: str) -> None:
        """`UsageError`, in the name of `method`, if the model does not know the shape of its data yet."""
        if not self.built:
            raise UsageError(f"{method}: the model has not seen data yet; fit it first, or call build((None, *shape))")

    def encode(self, x: Any) -> Any:
        """q(z|x), a `Distribution` over codes (batch, latent_dim), for x (batch, ...), or for all of a data set.

        Args:
            x: (batch, ...), or what gives batches: a `tf.data.Dataset` or a `PyDataset`, whose examples follow each
                other in the order of the batches. The network gets some at a time.
        """
        raw = []
        for portion in portions_of(x, self.example_shape):
            for array in leaves(portion):
                if is_known(array):
                    check_numbers(array)
            raw.append(self.encoder.raw(self.prepare(portion)))
        return self.encoder.from_raw(joined(raw))

    def decode(self, z: Tensor) -> Any:
        """p(x|z), a `Distribution` over data, for codes z (batch, latent_dim) or (samples, batch, latent_dim)."""
        self.check_built("decode")
        z = ops.convert_to_tensor(z, dtype="float32")
        if len(z.shape) < 2 or z.shape[-1] != self.latent_dim:
            raise UsageError(
                f"z: expected codes (batch, {self.latent_dim}) or (samples, batch, {self.latent_dim}), received shape "
                f"{tuple(z.shape)}"
            )
        return self.decoder(z)

    def reconstruct(self, x: Any) -> Tensor:
        """The mean of p(x|z) at the mean of q(z|x), (batch, ...), for what `encode` takes: no randomness."""
        portions = portions_of(x, self.example_shape)
        return joined([self.decode(self.encode(portion).mean).mean for portion in portions])

    def generate(self, n: int, seed: int | None = None) -> Tensor:
        """The means of p(x|z) for `n` codes from the prior, z ~ p(z): (n, ...).

        Args:
            n: number of images.
            seed: int or None.
        """
        return joined([*self.generated(n, seed)])

    def generated(self, n: int, seed: int | None = None) -> Iterator[Tensor]:
        """What `generate` gives, a few MB at a time."""
        self.check_built("generate")
        codes, rows = self.prior.sample(check_count("n", n), check_seed(seed)), rows_at_once(self.example_shape)
        for start in range(0, n, rows):
            yield self.decode(codes[start : start + rows]).mean

    def log_weights(
        self, x: Tensor, num_samples: int, noise: Seed, q: Distribution | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """log p(x, z) - log q(z|x) of samples z of q(z|x), with its terms: three tensors (num_samples, batch).

        Args:
            x: (batch, ...).
            num_samples: K.
            noise: `keras.random.SeedGenerator`.
            q: q(z|x), if it is known already.
        Returns:
            log w, log p(x|z), and log q(z|x) - log p(z).
        """
        q = self.encode(x) if q is None else q
        z, log_qz = q.sample_and_log_prob(noise, num_samples)
        log_px = self.log_px(x, z)
        log_ratio = log_qz - self.prior.log_prob(z)
        return log_px - log_ratio, log_px, log_ratio

    def log_likelihood(self, x: Tensor, num_samples: int = 1000, seed: int = 0) -> Tensor:
        """The importance-weighted estimate of log p(x) in nats, log 1/K sum_k w_k (Burda et al. 2016): (batch,).

        Args:
            x: (batch, ...).
            num_samples: K; the samples are drawn in portions, so that memory does not grow with it.
            seed: int.
        """
        noise = keras.random.SeedGenerator(check_seed(seed))
        x, sums = self.prepare(x), []
        batch = leaves(x)[0].shape[0]
        q, portion = self.encoder(x), samples_at_once(batch, self.example_shape, self.prior)
        for start in range(0, check_count("num_samples", num_samples), portion):
            log_weights, _, _ = self.log_weights(x, min(portion, num_samples - start), noise, q)
            sums.append(ops.logsumexp(log_weights, axis=0))
        return ops.logsumexp(ops.stack(sums), axis=0) - math.log(num_samples)

    def predict_step(self, *args: Any) -> Any:
        """Reconstructions are what `predict` returns; JAX hands over (state, data), the others data alone."""
        *state, data = args
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        if not state:
            return self.reconstruct(x)
        trainable, fixed = state[0]
        values = [*zip(self.trainable_variables, trainable, strict=True)]
        values += zip(self.non_trainable_variables, fixed, strict=True)
        with keras.StatelessScope(state_mapping=values):
            return self.reconstruct(x), fixed

    def __repr__(self) -> str:
        """Its parts, and the shapes of x and z once it is built."""
        shapes = f"x {self.example_shape}, z ({self.latent_dim},)" if self.built else "not built"
        parts = (self.encoder, self.decoder, self.prior, self.objective)
        return f"VAE({shapes}, {', '.join(map(repr, parts))})"

    def get_config(self) -> dict[str, Any]:
        names = ("encoder", "decoder", "prior", "objective", "latent_dim", "input_noise", "view_weights", "seed")
        return {name: plain(getattr(self, name)) for name in names} | self._named
