"""What a trained model is worth: numbers that can be cited, each exact over the images or with its error.

The images are taken in blocks of a fixed size whatever batches they come in, so that no number depends on a batch size,
no remainder is dropped, and no mean is one of means.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from bicoder.data.stored_images import StoredImages
from bicoder.distributions import Distribution
from bicoder.engine.tensor import Seed, Shape, Tensor
from bicoder.errors import MOST_SAMPLES, NumericError, UsageError, check_count, check_seed, counted
from bicoder.evaluation.codes import compiled
from bicoder.evaluation.doctor import diagnose
from bicoder.evaluation.examples import take
from bicoder.evaluation.latent_space import active_units, label_accuracy
from bicoder.kl import kl_divergence
from bicoder.priors import Prior
from bicoder.vae import VAE, samples_at_once
from bicoder.waiting import told, watched

BLOCK = 100  # images at a time
MOST_CODES = 1000  # codes z for which q(z), the mixture of all posteriors, is computed
BEYOND = 1e290  # nats that no density has: `log_mean_exp` gives them for images of density zero


def evaluate(vae: VAE, data: Any, num_samples: int = 1000, seed: int = 0, progress: bool = False) -> dict[str, Any]:
    """All numbers about a model on images that it was not trained on.

    Args:
        vae: a built `VAE`.
        data: images (N, ...); a pair (images, labels); a dict with `image` and `label`; batches of any of these, as a
            `tf.data.Dataset` gives them; or a `DataLoader`, whose test images are taken. Labels are whole numbers, text
            or one-hot.
        num_samples: importance samples K for each image.
        seed: int; the same seed gives the same numbers.
        progress: show a bar with the time left, or a line now and then if standard error is no terminal.
    Returns:
        dict, in nats per image if no other unit is named: `elbo`; `distortion`, -E[log p(x|z)]; `rate`,
        KL[q(z|x) || p(z)]; `nll`, -log p(x) by K importance samples, an upper bound in expectation;
        `nll_standard_error`, of its mean over the images, None for one image; `nll_monte_carlo_error`, of the sampling
        alone; `bounds`, K -> the importance-weighted bound; `bits_per_dim`, nll / (D log 2); `active_units` of
        `latent_dim`; `kl_per_dimension`, a list, or None if the KL does not factorise; `mutual_information` I(x; z), at
        most log N, and `marginal_kl` KL[q(z) || p(z)], with q(z) the mixture of the posteriors of these N images;
        `mean_squared_error` of the reconstructions per pixel; `knn_accuracy` and `logistic_accuracy` of the labels from
        the posterior means, or None; `images`, N; `num_samples`, K; `seed`; `doctor`, a list of sentences.
    Raises:
        DataError, UsageError; NumericError if the model's numbers are NaN or infinite, as its weights may be.
    """
    check_count("num_samples", num_samples, MOST_SAMPLES)
    if not hasattr(vae, "check_built"):
        raise UsageError(f"vae: expected a model, and the data after it, received {type(vae).__name__}")
    vae.check_built("evaluate")
    images, labels = take(data, vae.example_shape)
    noise = keras.random.SeedGenerator(check_seed(seed))
    raw, means, numbers = look(vae, images, num_samples, noise, progress)
    if not abs(numbers["nll"]) < BEYOND:
        raise NumericError(f"nll: expected a finite number, received {numbers['nll']}; {why_not_finite(vae)}")
    numbers["bits_per_dim"] = numbers["nll"] / (math.prod(images.shape[1:]) * math.log(2.0))
    numbers["latent_dim"] = means.shape[1]
    numbers["active_units"] = active_units(means)
    with told("mutual information", progress):
        numbers |= marginal(vae, raw[np.random.default_rng(seed).permutation(len(raw))], noise)
    numbers["mean_squared_error"] = numbers.pop("squared_error") / images.size
    for name, classifier in (("knn_accuracy", "10-NN"), ("logistic_accuracy", "logistic")):
        with told(f"{classifier} accuracy", progress):
            numbers[name] = None if labels is None else label_accuracy(means, labels, classifier)
    numbers |= {"images": len(images), "num_samples": num_samples, "seed": seed}
    numbers["doctor"] = diagnose(vae, images, numbers)
    return numbers


def why_not_finite(vae: VAE) -> str:
    """What makes a number of a model NaN or infinite, if its data are fine."""
    if not all(np.isfinite(ops.convert_to_numpy(variable)).all() for variable in vae.variables):
        return "some of the model's weights are NaN or infinite; train it anew"
    return "all weights are finite, but a density is beyond all numbers: try a wider sigma"


def to_numpy(tensor: Tensor) -> np.ndarray:
    """A tensor of any backend as float64."""
    return ops.convert_to_numpy(tensor).astype("float64")


def look(
    vae: VAE, images: np.ndarray | StoredImages, num_samples: int, noise: Seed, progress: bool
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Encode every image once: raw outputs of the encoder, from which q(z|x) is made again, posterior means, numbers.

    Args:
        vae, images, num_samples, progress: as in `evaluate`.
        noise: `keras.random.SeedGenerator`.
    Returns:
        (N, outputs), (N, latent_dim), and the dict of `Sums.numbers`.
    """
    sums, raws, means = Sums(num_samples, vae.latent_dim), [], []
    without_samples = compiled(lambda x: exact_quantities(vae, x))
    weigh = compiled(lambda x, raw, count: vae.log_weights(x, count, noise, vae.encoder.posterior(raw)))
    starts = range(0, len(images), BLOCK)
    for start in watched(starts, "importance sampling", len(images), progress, BLOCK):
        x = vae.prepare(images[start : start + BLOCK])
        raw, mean, kl, error = without_samples(x)
        raws.append(ops.convert_to_numpy(raw))
        means.append(ops.convert_to_numpy(mean))
        sums.add_exact(kl, error)
        sums.add(*block_weights(functools.partial(weigh, x, raw), x.shape, num_samples, vae.prior))
    return np.concatenate(raws), np.concatenate(means), sums.numbers()


def exact_quantities(vae: VAE, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    """Of a block of images x, what needs no samples of z.

    Returns:
        The raw output of the encoder; the mean of q(z|x); KL[q(z|x) || p(z)] as in `kl_divergence`, or None; and the
        sum of the squared errors of the reconstructions.
    """
    raw = vae.encoder.raw(x)
    q = vae.encoder.posterior(raw)
    error = ops.sum(ops.square(vae.decoder(q.mean).mean - x))
    return raw, q.mean, kl_divergence(q, vae.prior.distribution()), error


def block_weights(
    weigh: Callable[[int], tuple[Tensor, Tensor, Tensor]], shape: Shape, num_samples: int, prior: Prior
) -> list[np.ndarray]:
    """log w, log p(x|z), log q(z|x) - log p(z), (K, block) each, for a block of this shape, in portions of samples."""
    portion = min(num_samples, samples_at_once(shape, prior))
    counts = [portion] * (num_samples // portion) + ([num_samples % portion] if num_samples % portion else [])
    portions = [weigh(count) for count in counts]
    return [np.concatenate([to_numpy(tensors[i]) for tensors in portions]) for i in range(3)]


class Sums:
    """Sums over the images.

    Args:
        num_samples: K.
        latent_dim: dimensions of z.
    """

    def __init__(self, num_samples: int, latent_dim: int) -> None:
        self.num_samples, self.latent_dim = num_samples, latent_dim
        self.sweep = sorted({num_samples, *(10**i for i in range(8) if 10**i <= num_samples)})
        self.bounds = dict.fromkeys(self.sweep, 0.0)
        self.log_likelihoods: list[np.ndarray] = []
        self.variance = self.distortion = self.sampled_rate = self.squared_error = 0.0
        self.kl: np.ndarray | None = None  # the sum over the images, (latent_dim,) or (1,), if it is known exactly

    def add(self, log_weights: np.ndarray, log_px: np.ndarray, log_ratio: np.ndarray) -> None:
        """The block's weights, (K, block) each."""
        for k in self.sweep:
            # As many groups of k samples as there are; each is one draw of the bound of k samples.
            groups = log_weights[: self.num_samples // k * k].reshape(-1, k, log_weights.shape[1])
            self.bounds[k] += log_mean_exp(groups, axis=1).mean(axis=0).sum()
        estimate = log_mean_exp(log_weights, axis=0)
        self.log_likelihoods.append(estimate)
        relative = np.exp(log_weights - estimate)  # w over their mean
        self.variance += (relative.var(axis=0) / self.num_samples).sum()
        self.distortion -= log_px.mean(axis=0).sum()
        self.sampled_rate += log_ratio.mean(axis=0).sum()

    def add_exact(self, kl: Tensor | None, squared_error: Tensor) -> None:
        """What needs no samples: the KL, (block, latent_dim) or (block, 1) or None, and the sum of squared errors."""
        if kl is not None:
            self.kl = to_numpy(kl).sum(axis=0) + (0.0 if self.kl is None else self.kl)
        self.squared_error += float(squared_error)

    def numbers(self) -> dict[str, Any]:
        """Means over the images, but for `squared_error`, a sum; the rate is exact if it can be."""
        log_likelihoods = np.concatenate(self.log_likelihoods)
        count = len(log_likelihoods)
        distortion, rate, kl = self.distortion / count, self.sampled_rate / count, None
        if self.kl is not None:
            rate, kl = self.kl.sum() / count, (self.kl / count).tolist()
        return {
            "nll": float(-log_likelihoods.mean()),
            "nll_standard_error": float(log_likelihoods.std(ddof=1) / math.sqrt(count)) if count > 1 else None,
            "nll_monte_carlo_error": math.sqrt(self.variance) / count,
            "bounds": {k: float(total / count) for k, total in self.bounds.items()},
            "distortion": float(distortion),
            "rate": float(rate),
            "elbo": float(-distortion - rate),
            "kl_per_dimension": kl if kl is not None and len(kl) == self.latent_dim else None,
            "squared_error": self.squared_error,
        }


def log_mean_exp(x: np.ndarray, axis: int) -> np.ndarray:
    """log of the mean of exp(x), in float64; -inf if all weights are zero."""
    largest = np.maximum(x.max(axis=axis, keepdims=True), -1e300)
    return np.squeeze(largest, axis) + np.log(np.maximum(np.exp(x - largest).mean(axis=axis), 1e-300))


def marginal(vae: VAE, raw: np.ndarray, noise: Seed) -> dict[str, float | None]:
    """I(x; z) and KL[q(z) || p(z)], from codes of the first images, with q(z) the mixture over all of them.

    I = E[log q(z|x) - log q(z)], KL = E[log q(z) - log p(z)], whose sum is the rate (Hoffman & Johnson 2016).

    Args:
        vae: a built `VAE`.
        raw: raw outputs of the encoder, (N, outputs), in random order.
        noise: `keras.random.SeedGenerator`.
    """
    posterior = vae.encoder.posterior
    if not posterior(raw[:1]).density_is_cheap:  # the density of another image's code takes too long
        return {"mutual_information": None, "marginal_kl": None}
    draw = compiled(lambda raw: posterior(raw).sample_and_log_prob(noise))
    log_densities = compiled(lambda raw, z: log_density_of_each(posterior(raw), z))
    every = [ops.convert_to_tensor(raw[i : i + BLOCK]) for i in range(0, len(raw), BLOCK)]
    information = marginal_kl = count = 0.0
    for own in every[: -(-MOST_CODES // BLOCK)]:
        z, log_own = draw(own)
        log_marginal = ops.concatenate([log_densities(block, z) for block in every], axis=1)
        log_marginal = ops.logsumexp(log_marginal, axis=1) - math.log(len(raw))
        information += float(ops.sum(log_own - log_marginal))
        marginal_kl += float(ops.sum(log_marginal - vae.prior.log_prob(z)))
        count += len(z)
    return {"mutual_information": information / count, "marginal_kl": marginal_kl / count}


def log_density_of_each(q: Distribution, z: Tensor) -> Tensor:
    """log q(z_i|x_j), (codes, images), for codes z (codes, latent) and the posterior of a block of images."""
    images = q.mean.shape[0]
    return q.log_prob(ops.broadcast_to(z[:, None], (z.shape[0], images, z.shape[1])))


def table(numbers: dict[str, Any]) -> str:
    """The numbers as text, one line each."""
    per_dim = numbers["bits_per_dim"] / numbers["nll"] if numbers["nll"] else math.nan
    images, samples = counted(numbers["images"], "image"), counted(numbers["num_samples"], "importance sample")
    lines = [f"{images}, {samples}, seed {numbers['seed']}", ""]
    lines.append(f"{'':<22}{'nats per image':>16}{'bits per dim':>16}")
    for label, value in (
        ("NLL (importance)", numbers["nll"]),
        ("-ELBO", -numbers["elbo"]),
        ("distortion", numbers["distortion"]),
        ("rate", numbers["rate"]),
    ):
        lines.append(f"{label:<22}{value:>16.2f}{value * per_dim:>16.4f}")
    error = numbers["nll_standard_error"]  # of one image, nobody knows it
    lines.append(f"{'standard error of NLL':<22}{'-' if error is None else format(error, '.2f'):>16}")
    lines.append(f"{'of the sampling alone':<22}{numbers['nll_monte_carlo_error']:>16.4f}")
    lines += ["", "importance-weighted bound, by samples"]
    lines += [f"{k:>22,}{bound:>16.2f}" for k, bound in numbers["bounds"].items()]
    lines += ["", f"active units {numbers['active_units']} of {numbers['latent_dim']}"]
    for label, name in (
        ("mutual information I(x; z)", "mutual_information"),
        ("KL[q(z) || p(z)]", "marginal_kl"),
        ("mean squared error", "mean_squared_error"),
        ("10-NN accuracy", "knn_accuracy"),
        ("logistic accuracy", "logistic_accuracy"),
    ):
        if numbers[name] is not None:
            lines.append(f"{label} {numbers[name]:.4f}")
    return "\n".join([*lines, "", "doctor", *(f"  - {line}" for line in numbers["doctor"] or ["nothing to report"])])
