"""What a trained model is worth: numbers that can be cited, each exact over the images or with its error.

The images are taken in blocks of a fixed size whatever batches they come in, so that no number depends on a batch size,
no remainder is dropped, and no mean is one of means.
"""

import math

import keras
import numpy as np
from keras import ops
from tqdm import tqdm

from bicoder.data.stored_images import StoredImages
from bicoder.errors import MOST_SAMPLES, DataError, NumericError, check_count, counted
from bicoder.evaluation.doctor import diagnose
from bicoder.evaluation.latent_space import label_accuracy, posterior_means
from bicoder.posteriors import InverseAutoregressive
from bicoder.vae import samples_at_once

BLOCK = 100  # images at a time
MOST_CODES = 1000  # codes z for which q(z), the mixture of all posteriors, is computed
ACTIVE = 0.01  # a unit is active where the variance of its posterior mean over the images is larger (Burda et al. 2016)


def evaluate(vae, data, num_samples=1000, seed=0, progress=False):
    """All numbers about a model on images that it was not trained on.

    Args:
        vae: a built `VAE`.
        data: images (N, ...); a pair (images, labels); a `tf.data.Dataset` of batches of images; or a `DataLoader`,
            whose test images are taken.
        num_samples: importance samples K for each image.
        seed: int; the same seed gives the same numbers.
        progress: show a bar with the time left, where standard error is a terminal.
    Returns:
        dict, in nats per image where no other unit is named: `elbo`; `distortion`, -E[log p(x|z)]; `rate`,
        KL[q(z|x) || p(z)]; `nll`, -log p(x) by K importance samples, an upper bound in expectation;
        `nll_standard_error`, of its mean over the images; `nll_monte_carlo_error`, of the importance sampling alone;
        `bounds`, K -> the importance-weighted bound; `bits_per_dim`, nll / (D log 2); `active_units` of `latent_dim`;
        `kl_per_dimension`, a list, or None where the KL does not factorise; `mutual_information` I(x; z), at most
        log N, and `marginal_kl` KL[q(z) || p(z)], with q(z) the mixture of the posteriors of these N images;
        `mean_squared_error` of the reconstructions per pixel; `knn_accuracy` and `logistic_accuracy` of the labels from
        the posterior means, or None; `images`, N; `num_samples`, K; `seed`; `doctor`, a list of sentences.
    Raises:
        DataError, UsageError; NumericError where the model's numbers are NaN or infinite, as its weights may be.
    """
    check_count("num_samples", num_samples, MOST_SAMPLES)
    vae.check_built("evaluate")
    images, labels = take(data)
    expected = tuple(vae.input_spec.shape[1:])
    if images.shape[1:] != expected:
        raise DataError(f"data: expected images of shape {expected}, as the model has, received {images.shape[1:]}")
    noise = keras.random.SeedGenerator(seed)
    sums = Sums(num_samples)
    weigh = compiled(lambda x, count: vae.log_weights(x, count, noise))
    for start in tqdm(
        range(0, len(images), BLOCK), "importance sampling", disable=None if progress else True, leave=False
    ):
        sums.add(*block_weights(weigh, images[start : start + BLOCK], num_samples, vae.prior))
    numbers = sums.numbers()
    if not math.isfinite(numbers["nll"]):
        raise NumericError(f"nll: expected a finite number, received {numbers['nll']}; the model's weights are no use")
    numbers |= rates(vae, images, numbers)
    numbers["bits_per_dim"] = numbers["nll"] / (math.prod(images.shape[1:]) * math.log(2.0))
    means = posterior_means(vae, images)
    numbers["latent_dim"] = means.shape[1]
    numbers["active_units"] = int((means.var(axis=0) > ACTIVE).sum())
    numbers |= marginal(vae, images, np.random.default_rng(seed).permutation(len(images)), noise)
    numbers["mean_squared_error"] = mean_squared_error(vae, images)
    for name, classifier in (("knn_accuracy", "10-NN"), ("logistic_accuracy", "logistic")):
        numbers[name] = None if labels is None else label_accuracy(means, labels, classifier)
    numbers |= {"images": len(images), "num_samples": num_samples, "seed": seed}
    numbers["doctor"] = diagnose(vae, images, numbers)
    return numbers


def take(data):
    """Images (N, ...) as one float32 array, and labels (N,) or None."""
    labels = None
    if hasattr(data, "test_images"):
        data, labels = data.test_images, data.test_labels
    elif isinstance(data, tuple) and len(data) == 2:
        data, labels = data
    elif not hasattr(data, "shape") and hasattr(data, "__iter__"):
        batches = [np.asarray(batch[0] if isinstance(batch, tuple) else batch) for batch in data]
        if not batches:
            raise DataError("data: expected at least one batch of images, received none")
        data = np.concatenate(batches)
    images = data if isinstance(data, StoredImages) else np.asarray(data, "float32")
    if images.ndim < 2 or not len(images):
        raise DataError(f"data: expected images (N, ...), received shape {images.shape}")
    if labels is not None and len(labels) != len(images):
        raise DataError(f"data: expected {len(images)} labels, received {len(labels)}")
    return images, None if labels is None else np.asarray(labels)


def compiled(function):
    """`function` as a graph on TensorFlow, where single operations are slow; elsewhere as it is."""
    if keras.backend.backend() != "tensorflow":
        return function
    import tensorflow as tf

    return tf.function(function)


def to_numpy(tensor):
    """A tensor of any backend as float64."""
    return ops.convert_to_numpy(tensor).astype("float64")


def block_weights(weigh, x, num_samples, prior):
    """log w, log p(x|z), log q(z|x) - log p(z), (K, block) each, for a block of images, in portions of the samples."""
    portion = min(num_samples, samples_at_once(x.shape, prior))
    counts = [portion] * (num_samples // portion) + ([num_samples % portion] if num_samples % portion else [])
    parts = [weigh(x, count) for count in counts]
    return [np.concatenate([to_numpy(part[i]) for part in parts]) for i in range(3)]


class Sums:
    """Sums over the images of what depends on the importance samples.

    Args:
        num_samples: K.
    """

    def __init__(self, num_samples):
        self.num_samples = num_samples
        self.sweep = sorted({num_samples, *(10**i for i in range(8) if 10**i <= num_samples)})
        self.bounds = dict.fromkeys(self.sweep, 0.0)
        self.log_likelihoods: list[np.ndarray] = []
        self.variance = self.distortion = self.sampled_rate = 0.0

    def add(self, log_weights, log_px, log_ratio):
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

    def numbers(self):
        """Means over the images."""
        log_likelihoods = np.concatenate(self.log_likelihoods)
        count = len(log_likelihoods)
        return {
            "nll": float(-log_likelihoods.mean()),
            "nll_standard_error": float(log_likelihoods.std(ddof=min(1, count - 1)) / math.sqrt(count)),
            "nll_monte_carlo_error": math.sqrt(self.variance) / count,
            "bounds": {k: float(total / count) for k, total in self.bounds.items()},
            "distortion": float(self.distortion / count),
            "rate": float(self.sampled_rate / count),
        }


def log_mean_exp(x, axis):
    """log of the mean of exp(x), in float64; -inf where all weights are zero."""
    largest = np.maximum(x.max(axis=axis, keepdims=True), -1e300)
    return np.squeeze(largest, axis) + np.log(np.maximum(np.exp(x - largest).mean(axis=axis), 1e-300))


def blocks(images, order=None):
    """The images, `BLOCK` at a time, in another order where there is one."""
    starts = range(0, len(images), BLOCK)
    return (images[slice(i, i + BLOCK) if order is None else order[i : i + BLOCK]] for i in starts)


def rates(vae, images, numbers):
    """`rate`, exact where it is known, `elbo` and `kl_per_dimension`."""
    from bicoder.kl import kl_divergence

    exact = [kl_divergence(vae.encode(x), vae.prior.distribution()) for x in blocks(images)]
    per_dimension, rate = None, numbers["rate"]
    if exact[0] is not None:
        kl = np.concatenate([to_numpy(part) for part in exact])
        rate = float(kl.sum(axis=1).mean())
        per_dimension = kl.mean(axis=0).tolist() if kl.shape[1] == vae.latent_dim else None
    return {"rate": rate, "elbo": -numbers["distortion"] - rate, "kl_per_dimension": per_dimension}


def marginal(vae, images, order, noise):
    """I(x; z) and KL[q(z) || p(z)], from codes of the first images in an order, with q(z) the mixture over all of them.

    I = E[log q(z|x) - log q(z)], KL = E[log q(z) - log p(z)], whose sum is the rate (Hoffman & Johnson 2016).
    """
    posteriors = [vae.encode(x) for x in blocks(images, order)]
    if isinstance(posteriors[0], InverseAutoregressive):  # the density of another image's code takes too long
        return {"mutual_information": None, "marginal_kl": None}
    wanted = -(-min(MOST_CODES, len(images)) // BLOCK)
    information = marginal_kl = count = 0.0
    for own in posteriors[:wanted]:
        z, log_own = own.sample_and_log_prob(noise)
        log_prior = vae.prior.log_prob(z)
        every = [log_density_of_each(q, z) for q in posteriors]
        log_marginal = ops.logsumexp(ops.concatenate(every, axis=1), axis=1) - math.log(len(images))
        information += float(ops.sum(log_own - log_marginal))
        marginal_kl += float(ops.sum(log_marginal - log_prior))
        count += len(z)
    return {"mutual_information": information / count, "marginal_kl": marginal_kl / count}


def log_density_of_each(q, z):
    """log q(z_i|x_j), (codes, images), for codes z (codes, latent) and the posterior of a block of images."""
    images = q.mean.shape[0]
    return q.log_prob(ops.broadcast_to(z[:, None], (z.shape[0], images, z.shape[1])))


def mean_squared_error(vae, images):
    """Of the reconstructions, for one pixel."""
    total = sum(float(ops.sum(ops.square(vae.reconstruct(x) - ops.convert_to_tensor(x)))) for x in blocks(images))
    return total / images.size


def table(numbers):
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
    lines.append(f"{'standard error of NLL':<22}{numbers['nll_standard_error']:>16.2f}")
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
