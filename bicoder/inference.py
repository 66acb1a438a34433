"""What a trained model is asked for: codes, images of codes, new images, and how likely images are."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
from keras import ops

from bicoder.distributions import Distribution
from bicoder.engine.arrays.conditioned import Conditioned, conditioned, parted
from bicoder.engine.arrays.inputs import joined, numbers_of, portions_of, rows_at_once, whole
from bicoder.engine.arrays.numbers import check_numbers, is_known
from bicoder.engine.arrays.trees import is_arrays, leaves
from bicoder.engine.programs.compiled import no_gradients
from bicoder.engine.programs.devices import by_keras_alone
from bicoder.engine.tensor import Seed, Tensor
from bicoder.errors import UsageError, check_count, check_seed
from bicoder.exported import exported
from bicoder.exports.written import format_of, write
from bicoder.priors import Prior, draw_codes
from bicoder.saving import SaveableModel


def samples_at_once(batch: int, example: Any, prior: Prior, numbers: int = 2**24) -> int:
    """How many samples of z for so many examples of this shape keep each tensor below `numbers` (64 MB)."""
    return max(1, numbers // (batch * max(numbers_of(example), prior.numbers_per_code)))


class Inference(SaveableModel):
    """q(z|x), p(x|z), reconstructions, new images and log p(x) of a model with an encoder, a decoder and a prior.

    A conditional model needs y, (batch, ...), for each of them; whatever gives batches then gives (x, y).
    """

    encoder: Any
    decoder: Any
    prior: Prior
    latent_dim: Any

    def check_built(self, method: str) -> None:
        """`UsageError`, in the name of `method`, if the model does not know the shape of its data yet."""
        if not self.built:
            raise UsageError(f"{method}: the model has not seen data yet; fit it first, or call build((None, *shape))")

    def portions(self, x: Any, condition: Any) -> Iterator[Any]:
        """x in the portions that a network gets, with the y of each."""
        self.check_told(condition)
        return portions_of(
            x, self.example_shape, lambda x, y: self.with_condition(x, y if condition is None else condition)
        )

    def check_told(self, condition: Any) -> None:
        """`UsageError` if a model that is told nothing is given a condition."""
        if condition is not None and self.condition is None:
            raise UsageError("condition: expected none, since this model has none; VAE(condition=...) has one")

    def with_condition(self, x: Any, y: Any) -> Any:
        """x as the model takes it: with y, if it is a conditional one."""
        x, _ = self.arranged(x, y)
        if isinstance(x, Conditioned):
            self.condition.check(x.y)
        return x

    def encode(self, x: Any, condition: Any = None) -> Any:
        """q(z|x), a `Distribution` over codes (batch, latent_dim), for x (batch, ...), or for all of a data set.

        Args:
            x: (batch, ...), or what gives batches: a `tf.data.Dataset` or a `PyDataset`, whose examples follow each
                other in the order of the batches. The network gets some at a time.
            condition: y (batch, ...) of a conditional model, for q(z|x, y).
        """
        raw = []
        for portion in self.portions(x, condition):
            for array in leaves(parted(portion)[0]):
                if is_known(array):
                    check_numbers(array, pixels=self.may_be_pixels)
            raw.append(self.encoder.raw(self.prepare(portion)))
        return self.encoder.from_raw(joined(raw))

    def decode(self, z: Tensor, condition: Any = None) -> Any:
        """p(x|z), a `Distribution` over data, for codes z (batch, latent_dim) or (samples, batch, latent_dim).

        Args:
            z: codes.
            condition: y (batch, ...) of a conditional model, for p(x|z, y).
        """
        self.check_built("decode")
        z = ops.convert_to_tensor(z, dtype="float32")
        if len(z.shape) < 2 or z.shape[-1] != self.latent_dim:
            raise UsageError(
                f"z: expected codes (batch, {self.latent_dim}) or (samples, batch, {self.latent_dim}), received shape "
                f"{tuple(z.shape)}"
            )
        return self.decoder(conditioned(z, self.known_condition(condition, z.shape[-2])))

    def known_condition(self, y: Any, batch: int | None) -> Any:
        """y as a tensor for so many examples, of which one may be given for all; None if the model takes none.

        Raises:
            UsageError, DataError: it is missing, too much, or nothing that the model can be told.
        """
        self.check_told(y)
        if self.condition is None:
            return None
        _, y = parted(self.with_condition(None, y))
        if y.shape[0] == 1 != batch:
            y = ops.repeat(y, batch, axis=0)
        if None not in (batch, y.shape[0]) and y.shape[0] != batch:
            raise UsageError(f"condition: expected one for each of {batch} examples, received {y.shape[0]}")
        return ops.convert_to_tensor(y, dtype="float32")

    def prior_given(self, y: Tensor | None) -> Distribution:
        """p(z|y) of a conditional model for y (batch, ...), else p(z): with parameters (batch or 1, latent_dim)."""
        return self.prior.distribution() if self.condition is None else self.prior.given(self.condition(y))

    def reconstruct(self, x: Any, condition: Any = None) -> Tensor:
        """The mean of p(x|z) at the mean of q(z|x), (batch, ...), for what `encode` takes: no randomness."""
        with no_gradients():
            portions = self.portions(x, condition)
            return joined([self.decode(self.encode(one).mean, parted(one)[1]).mean for one in portions])

    def generate(self, n: int, seed: int | None = None, condition: Any = None) -> Tensor:
        """The means of p(x|z) for `n` codes from the prior, z ~ p(z): (n, ...).

        Args:
            n: number of images.
            seed: int or None.
            condition: y (n, ...) of a conditional model, or one of them for all, for z ~ p(z|y) and p(x|z, y).
        """
        return joined([*self.generated(n, seed, condition)])

    def generated(self, n: int, seed: int | None = None, condition: Any = None) -> Iterator[Tensor]:
        """What `generate` gives, a few MB at a time."""
        self.check_built("generate")
        y, rows = self.known_condition(condition, check_count("n", n)), rows_at_once(self.example_shape)
        codes = draw_codes(self.prior_given(y), n, check_seed(seed))
        for start in range(0, n, rows):
            some = slice(start, start + rows)
            with no_gradients():
                images = self.decode(codes[some], None if y is None else y[some]).mean
            yield images

    def export(  # type: ignore[override]  # Keras' own writes what nobody has run
        self,
        path: str | Path,
        what: str = "reconstruct",
        format: str | None = None,  # noqa: A002 - as Keras calls it
        *,
        given: Sequence[str] | None = None,
        about: dict[str, Any] | None = None,
    ) -> float:
        """Write a part of the model as a file that other programs run, which is run first and compared with Python.

        Args:
            path: of the file, which is replaced if it is there.
            what: "encoder", "decoder", "reconstruct" or "score"; see `exported`.
            format: "onnx", "litert" or "keras"; None for what the name of the file says.
            given: of several views, those that the file is told; None for all.
            about: what to say in the metadata besides, as JSON has it.
        Returns:
            The largest difference from Python that was found, of numbers above 1 relative to them; at most 1e-4.
        Raises:
            UsageError: the format cannot hold it, or computes something else: then nothing is written.
        """
        self.check_built("export")
        form = format_of(Path(path), format)
        function = exported(self, what, given)
        return write(function._replace(about=function.about | (about or {})), path, form)

    def log_weights(
        self, x: Any, num_samples: int, noise: Seed, q: Distribution | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """log p(x, z) - log q(z|x) of samples z of q(z|x), with its terms: three tensors (num_samples, batch).

        Args:
            x: (batch, ...); of a conditional model `Conditioned(x, y)`.
            num_samples: K.
            noise: `keras.random.SeedGenerator`.
            q: q(z|x), if it is known already.
        Returns:
            log w, log p(x|z), and log q(z|x) - log p(z).
        """
        q = self.encode(x) if q is None else q
        z, log_qz = q.sample_and_log_prob(noise, num_samples)
        log_px = self.log_px(x, z)
        log_ratio = log_qz - self.prior_given(parted(x)[1]).log_prob(z)
        return log_px - log_ratio, log_px, log_ratio

    def log_px(self, x: Any, z: Tensor) -> Tensor:
        """log p(x|z) of x (batch, ...), the sum over its views, for z (K, batch, latent): (K, batch)."""
        return sum(self.decoder.log_px(x, z).values())

    def log_likelihood(self, x: Any, num_samples: int = 1000, seed: int = 0, condition: Any = None) -> Tensor:
        """The importance-weighted estimate of log p(x) in nats, log 1/K sum_k w_k (Burda et al. 2016): (batch,).

        Args:
            x: (batch, ...).
            num_samples: K; the samples are drawn in portions, so that memory does not grow with it.
            seed: int.
            condition: y (batch, ...) of a conditional model, for log p(x|y).
        """
        noise = keras.random.SeedGenerator(check_seed(seed))
        self.check_told(condition)
        x, sums = self.prepare(self.with_condition(x, condition)), []
        batch = leaves(x)[0].shape[0]
        q, portion = self.encoder(x), samples_at_once(batch, self.example_shape, self.prior)
        for start in range(0, check_count("num_samples", num_samples), portion):
            with no_gradients():
                log_weights, _, _ = self.log_weights(x, min(portion, num_samples - start), noise, q)
            sums.append(ops.logsumexp(log_weights, axis=0))
        return ops.logsumexp(ops.stack(sums), axis=0) - math.log(num_samples)

    def predict(self, x: Any, *arguments: Any, **options: Any) -> Any:
        """What `reconstruct` gives, in batches, as in Keras; of a conditional model x is (x, y).

        Keras' own function would take what a masked array hides for what is there.
        """
        if is_arrays(x):
            x = whole(self.with_condition(*x) if self.is_pair(x) else x)
        with by_keras_alone():
            return super().predict(x, *arguments, **options)

    def predict_step(self, *args: Any) -> Any:
        """Reconstructions are what `predict` returns; JAX hands over (state, data), the others data alone."""
        *state, data = args
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        if y is None and self.is_pair(x):
            x, y = x
        told = None if self.condition is None else y
        if not state:
            return self.reconstruct(x, told)
        trainable, fixed = state[0]
        values = [*zip(self.trainable_variables, trainable, strict=True)]
        values += zip(self.non_trainable_variables, fixed, strict=True)
        with keras.StatelessScope(state_mapping=values):
            return self.reconstruct(x, told), fixed
