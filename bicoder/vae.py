"""The variational autoencoder: Equation 1, as a Keras model."""

import math
import random
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from bicoder.coders import Decoder, Encoder
from bicoder.component import plain
from bicoder.distributions import Distribution
from bicoder.engine.arrays.examples import joined, portions_of, rows_at_once
from bicoder.engine.fixed import still_frozen
from bicoder.engine.optimizers import check_optimizer
from bicoder.engine.slices import by_slices, one_by_one
from bicoder.engine.streams import in_order
from bicoder.engine.tensor import Seed, Shape, Tensor
from bicoder.errors import UsageError, check_count, check_seed
from bicoder.kl import kl_divergence
from bicoder.networks import check_precision
from bicoder.objectives import Objective, Terms
from bicoder.priors import Prior
from bicoder.saving import SaveableModel

# Held while a model is built: one that is first used by two threads at once is built by one of them.
BUILDING = threading.RLock()


class Bound(NamedTuple):
    """What `VAE.call` returns: one value for each example, (batch,), in nats."""

    loss: Tensor  # minus the objective
    distortion: Tensor  # -E_q(z|x)[log p(x|z)]
    rate: Tensor  # KL[q(z|x) || p(z)]


def samples_at_once(shape: Shape, prior: Prior, numbers: int = 2**24) -> int:
    """How many samples of z for every x, (batch, ...) of this shape, keep each tensor below `numbers` (64 MB)."""
    batch, *example = shape
    return max(1, numbers // (batch * max(math.prod(example), prior.numbers_per_code)))


@keras.saving.register_keras_serializable("bicoder")
class VAE(SaveableModel):
    """A variational autoencoder (Kingma & Welling 2014).

    It maximises L = E_q(z|x)[log p(x|z)] - KL[q(z|x) || p(z)]; -L = distortion + rate. All values are in nats of a
    normalised density, for one example. `VAE()` fits itself to the shape of its first batch: the MLP for vectors,
    convolutions for images.

    Args:
        encoder: an `Encoder`, or None for the default one.
        decoder: a `Decoder`, or None for the default one.
        prior: name or `Prior`.
        objective: name or `Objective`.
        latent_dim: dimensions of z for the default encoder; None for the network's own.
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
        self.seed = check_seed(seed)
        self.noise = keras.random.SeedGenerator(self.seed)
        # The unweighted bound is logged whatever the objective is: by it models are compared, and the best one chosen.
        self.elbo_metric = keras.metrics.Mean(name="elbo")
        self.distortion_metric = keras.metrics.Mean(name="distortion")
        self.rate_metric = keras.metrics.Mean(name="rate")

    def build(self, input_shape: Any) -> None:
        with BUILDING:
            self._build(tuple(input_shape[1:]))

    def _build(self, example: Shape) -> None:
        """Make what is not there yet, for examples of this shape."""
        self._check_posterior()
        if self.decoder.output_shape is None:
            self.decoder.output_shape = example
        seed = random.randrange(2**31) if self.seed is None else self.seed
        seeds = np.random.SeedSequence(seed).generate_state(3)
        for part, seed in zip((self.encoder, self.decoder, self.prior), seeds, strict=True):
            part.seed = int(seed) if part.seed is None else part.seed
        with still_frozen(self):
            if not self.encoder.built:
                self.encoder.build((None, *example))
            self.latent_dim = self.encoder.latent_dim
            self.prior.attach(self.encoder, example)
            for part in (self.decoder, self.prior, self.objective):
                if not part.built:
                    part.build((None, self.latent_dim))
        self.input_spec = keras.layers.InputSpec(shape=(None, *example))

    def _check_posterior(self) -> None:
        """Some priors and objectives need the parameters of a posterior that they know."""
        posterior = self.encoder.posterior
        for part in (self.prior, self.objective):
            if part.needs and not issubclass(posterior.distribution, part.needs):
                known = " or ".join(need.__name__ for need in part.needs)
                raise UsageError(
                    f"{part.family().__name__.lower()} {part.part_name()}: expected a {known} posterior, received "
                    f"{posterior.part_name()}; choose another of the two"
                )

    def call(self, x: Tensor, training: bool | None = None) -> Bound:
        """Every step from the data to the objective: x (batch, ...) -> `Bound`."""
        q = self.encoder(x, training=training)
        z, log_qz = q.sample_and_log_prob(self.noise, self.objective.num_samples)  # (K, batch, latent), (K, batch)
        terms = self.terms(x, z, q, log_qz, training, keep=bool(training))
        rate = ops.sum(terms.kl, axis=-1)
        return Bound(-self.objective.bound(terms), -ops.mean(terms.log_px, axis=0), rate)

    def terms(
        self,
        x: Tensor,
        z: Tensor,
        q: Distribution,
        log_qz: Tensor,
        training: bool | None = None,
        keep: bool = False,
    ) -> Terms:
        """The `Terms` of the objective for x (batch, ...) and z (K, batch, latent), samples of q = q(z|x).

        Args:
            log_qz: log q(z|x), (K, batch).
            training: whether this is a training step.
            keep: whether the likelihood keeps what it learns from the batch: once a step, however often it is asked.
        """
        log_px = self.log_px(x, z, training, keep)
        prior = self.prior.distribution()
        log_pz = prior.log_prob(z)
        kl = kl_divergence(q, prior)
        if kl is None:
            kl = ops.mean(log_qz - log_pz, axis=0)[:, None]

        def at(z: Tensor, q: Distribution) -> Terms:
            return self.terms(x, z, q, q.log_prob(z), training)

        return Terms(log_px, log_pz, log_qz, kl, z, q, prior, self.noise, bool(training), at)

    def log_px(self, x: Tensor, z: Tensor, training: bool | None = None, keep: bool = False) -> Tensor:
        """log p(x|z) of x (batch, ...) for z (K, batch, latent): (K, batch); see `terms`."""
        likelihood = self.decoder.likelihood

        def log_prob(x: Tensor, z: Tensor) -> Tensor:
            p = self.decoder(z, training=training)
            if training:
                p = likelihood.for_batch(p, x)
            if keep:
                likelihood.keep(p)
            return p.log_prob(x)

        alone = self.decoder.one_by_one and one_by_one(likelihood)
        return by_slices(log_prob, (ops.cast(x, "float32"), 0), (z, -2), axis=-1, allowed=alone)

    def compute_loss(
        self, x: Tensor = None, y: Any = None, y_pred: Any = None, sample_weight: Tensor = None, training: bool = True
    ) -> Tensor:
        """Mean loss of the batch, in nats for one example, with what layers of your own add; `y` is not used."""
        self.elbo_metric.update_state(-y_pred.distortion - y_pred.rate, sample_weight)
        self.distortion_metric.update_state(y_pred.distortion, sample_weight)
        self.rate_metric.update_state(y_pred.rate, sample_weight)
        loss = y_pred.loss if sample_weight is None else y_pred.loss * ops.cast(sample_weight, "float32")
        return ops.mean(loss) + sum(self.losses)

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: str | int = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: dict[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Sequence[int] = 1,
    ) -> keras.callbacks.History:
        """Train as in Keras, but many steps at a time.

        Args:
            x: examples (N, ...), or anything that gives batches: a `tf.data.Dataset`, a `PyDataset`, a generator.
            y, sample_weight: of each example, or None; in the batches, if x gives batches.
        The other arguments are those of `keras.Model.fit`.
        """
        options = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        if keras.backend.backend() != "tensorflow":
            return super().fit(**in_order(options, [int(number) for number in np.array(self.noise.state)]))
        from bicoder.engine.fit import fit

        return fit(self, super().fit, options)

    def train(self, x: Tensor = True, optimizer: Any = None) -> Tensor:
        """One update of the trainable variables, the same as `fit` makes (TensorFlow only).

        Args:
            x: batch (batch, ...).
            optimizer: a Keras optimizer; keep to one, since it owns the moments.
        Returns:
            The loss before the update, a scalar tensor, in nats for one example.
        """
        if optimizer is None and isinstance(x, bool) and hasattr(super(), "train"):
            return super().train(x)  # PyTorch's modules have a method of this name: training mode, on or off
        check_optimizer("train", optimizer, "a batch and ")
        x = self.prepare(x)
        return self.programs.one_step(self, optimizer)(x)

    @property
    def programs(self) -> Any:
        """The compiled programs of `fit` and `train` (TensorFlow only)."""
        if self._programs is None:
            from bicoder.engine.tensorflow_steps import TensorFlowSteps

            self._programs = TensorFlowSteps(self.jit, self.steps)
        return self._programs

    @property
    def step_metrics(self) -> dict[str, np.ndarray] | None:
        """The metrics after each step of the program that `fit` ran last, arrays (steps,); means over the epoch."""
        return None if self._programs is None else self._programs.history

    def prepare(self, x: Any) -> Tensor:
        """`x` as a tensor; a model that is not built yet takes its shape."""
        x = ops.convert_to_tensor(x, dtype="float32")
        if not self.built:
            self.build(tuple(x.shape))
        expected = tuple(self.input_spec.shape[1:])
        if tuple(x.shape[1:]) != expected:
            raise UsageError(f"x: expected examples of shape {expected}, received {tuple(x.shape[1:])}")
        return x

    def check_built(self, method: str) -> None:
        """`UsageError`, in the name of `method`, if the model does not know the shape of its data yet."""
        if not self.built:
            raise UsageError(f"{method}: the model has not seen data yet; fit it first, or call build((None, *shape))")

    @property
    def example_shape(self) -> Shape | None:
        """Shape of one x, or None if the model has not seen any."""
        return tuple(self.input_spec.shape[1:]) if self.built else None

    def encode(self, x: Any) -> Any:
        """q(z|x), a `Distribution` over codes (batch, latent_dim), for x (batch, ...), or for all of a data set.

        Args:
            x: (batch, ...), or what gives batches: a `tf.data.Dataset` or a `PyDataset`, whose examples follow each
                other in the order of the batches. The network gets some at a time.
        """
        raw = [self.encoder.raw(self.prepare(portion)) for portion in portions_of(x, self.example_shape)]
        return self.encoder.posterior(joined(raw))

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
        self.check_built("generate")
        codes, rows = self.prior.sample(check_count("n", n), seed), rows_at_once(self.input_spec.shape[1:])
        return joined([self.decode(codes[start : start + rows]).mean for start in range(0, n, rows)])

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
        noise = keras.random.SeedGenerator(seed)
        x, sums = self.prepare(x), []
        q, portion = self.encoder(x), samples_at_once(x.shape, self.prior)
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

    def get_config(self) -> dict[str, Any]:
        names = ("encoder", "decoder", "prior", "objective", "latent_dim", "seed")
        return {name: plain(getattr(self, name)) for name in names} | self._named
