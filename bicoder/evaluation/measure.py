"""What a trained model is worth: numbers that can be cited, each exact over the images or with its error.

The images are taken in blocks of a fixed size whatever batches they come in, so that no number depends on a batch size,
no remainder is dropped, and no mean is one of means.
"""

import functools
import math
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from bicoder.distributions import Distribution
from bicoder.engine.arrays.conditioned import conditioned, parted
from bicoder.engine.arrays.masked import Masked, arrays_in, on_arrays
from bicoder.engine.arrays.portions import portions_of_examples
from bicoder.engine.arrays.there import spread, values_of
from bicoder.engine.arrays.trees import mapped
from bicoder.engine.programs.compiled import compiled
from bicoder.engine.tensor import Seed, Tensor
from bicoder.errors import MOST_SAMPLES, DataError, NumericError, UsageError, check_count, check_seed, counted
from bicoder.evaluation import coherence, conditionals, generated_classes
from bicoder.evaluation.doctor import diagnose
from bicoder.evaluation.examples import take
from bicoder.evaluation.importance import BLOCK, PerImage, Sums, block_weights, seconds_again, to_numpy
from bicoder.evaluation.latent_space import active_units, label_accuracy
from bicoder.kl import kl_divergence
from bicoder.vae import VAE
from bicoder.waiting import duration, say, told, watched

MOST_CODES = 1000  # codes z for which q(z), the mixture of all posteriors, is computed
BEYOND = 1e290  # nats that no density has: `log_mean_exp` gives them for images of density zero


class Measured(NamedTuple):
    """What `evaluate` finds.

    Args:
        numbers: name -> number.
        per_image: what is known of each image, in their order.
    """

    numbers: dict[str, Any]
    per_image: PerImage


def evaluate(
    vae: VAE, data: Any, num_samples: int = 1000, seed: int = 0, progress: bool = False, training: Any = None
) -> dict[str, Any]:
    """All numbers about a model on images that it was not trained on.

    Args:
        vae: a built `VAE`.
        data: images (N, ...); a pair (images, labels); a dict with `image` and `label`; batches of any of these, as a
            `tf.data.Dataset` gives them; or a `DataLoader`, whose test images are taken. Labels are whole numbers, text
            or one-hot. Of a conditional model they are its y, and log p(x) is log p(x|y) everywhere.
        num_samples: importance samples K for each image.
        seed: int; the same seed gives the same numbers.
        progress: say how many images there are and about how long the samples take, then show a bar with the time
            left, or a line now and then if standard error is no terminal.
        training: of several views, or a model that is told labels, a pair (images, labels) of training examples from
            which classifiers learn, or a `DataLoader` of them; by default those of `data` if it is one, else one half
            of the test examples.
    Returns:
        dict, in nats per image if no other unit is named: `elbo`; `distortion`, -E[log p(x|z)]; `rate`,
        KL[q(z|x) || p(z)]; `nll`, -log p(x) by K importance samples, an upper bound in expectation;
        `nll_standard_error`, of its mean over the images, None for one image; `nll_monte_carlo_error`, of the sampling
        alone; `bounds`, K -> the importance-weighted bound; `bits_per_dim`, nll / (D log 2); `active_units` of
        `latent_dim`; `kl_per_dimension`, a list, or None if the KL does not factorise; `mutual_information` I(x; z), at
        most log N, and `marginal_kl` KL[q(z) || p(z)], with q(z) the mixture of the posteriors of these N images;
        `mean_squared_error` of the reconstructions per pixel; `knn_accuracy` and `logistic_accuracy` of the labels from
        the posterior means, or None; `images`, N; `num_samples`, K; `seed`; `views`, their names; `condition`, what y
        is, or None; `doctor`, a list of sentences. Of several views everything is of all together, `conditionals`
        adds what each is worth, and `agreement` how well they agree; of a model that is told labels, `of_generated`
        says whether its images are of the class that was asked for.
    Raises:
        DataError: the images do not fit the model.
        UsageError: an argument is none that fits.
        NumericError: the model's numbers are NaN or infinite, as its weights may be.
    """
    return measured(vae, data, num_samples, seed, progress, training).numbers


def measured(vae: VAE, data: Any, num_samples: int, seed: int, progress: bool, training: Any) -> Measured:
    """The numbers of `evaluate`, whose arguments and errors these are, and what is known of each image."""
    check_count("num_samples", num_samples, MOST_SAMPLES)
    if not hasattr(vae, "check_built"):
        raise UsageError(f"vae: expected a model, and the data after it, received {type(vae).__name__}")
    vae.check_built("evaluate")
    images, labels = take(data, vae.example_shape, vae.condition)
    asked = vae.decoder.views or vae.condition is not None
    learnt = labelled_training(data, training, vae.example_shape) if asked else None
    noise = keras.random.SeedGenerator(check_seed(seed))
    raw, means, sums = look(vae, images, num_samples, noise, progress)
    numbers, per_image = sums.numbers(), sums.per_image()
    if not abs(numbers["nll"]) < BEYOND:
        raise NumericError(f"nll: expected a finite number, received {numbers['nll']}; {why_not_finite(vae)}")
    known, count = numbers_there(images), len(means)
    numbers["bits_per_dim"] = numbers["nll"] * count / (known * math.log(2.0))
    numbers["latent_dim"] = means.shape[1]
    numbers["active_units"] = active_units(means)
    with told("mutual information", progress):
        order = np.random.default_rng(seed).permutation(count)
        numbers |= marginal(vae, on_arrays(lambda array: array[order], raw), noise)
    numbers["mean_squared_error"] = numbers.pop("squared_error") / known
    for name, classifier in (("knn_accuracy", "10-NN"), ("logistic_accuracy", "logistic")):
        with told(f"{classifier} accuracy", progress):
            numbers[name] = None if labels is None else label_accuracy(means, labels, classifier)
    numbers |= {"images": count, "num_samples": num_samples, "seed": seed}
    numbers |= {"views": list(vae.decoder.views), "condition": vae.condition and vae.condition.part_name()}
    folder = getattr(data, "data_dir", None)
    test = None if labels is None else coherence.Labelled(images, labels)
    if vae.decoder.views:
        numbers |= conditionals.conditionals(vae, images, per_image, num_samples, seed, progress)
        numbers |= coherence.agreement(vae, test, learnt, seed, folder, progress)
    numbers |= generated_classes.of_generated(vae, test, learnt, seed, folder, progress)
    numbers["doctor"] = diagnose(vae, images, numbers)
    return Measured(numbers, per_image)


def labelled_training(data: Any, training: Any, shape: Any) -> coherence.Labelled | None:
    """Training examples with labels, those that were given or those of a `DataLoader`, or None if there are none.

    Args:
        data, training: as in `evaluate`.
        shape: of an example, or view -> shape.
    Raises:
        DataError: they do not fit.
    """
    source = data if training is None else training
    if hasattr(source, "has_training_images"):
        known = source.has_training_images and source.training_labels is not None
        return coherence.Labelled(source.training_images, source.training_labels) if known else None
    if training is None:
        return None
    if isinstance(training, tuple) and np.asarray(training[-1]).dtype.kind not in "buif":
        raise DataError("training: expected labels that are whole numbers, as those of the data, received others")
    found = take(training, shape)
    return None if found.labels is None else coherence.Labelled(found.images, found.labels)


def why_not_finite(vae: VAE) -> str:
    """What makes a number of a model NaN or infinite, if its data are fine."""
    if not all(np.isfinite(ops.convert_to_numpy(variable)).all() for variable in vae.variables):
        return "some of the model's weights are NaN or infinite; train it anew"
    return "all weights are finite, but a density is beyond all numbers: try a wider sigma"


def look(vae: VAE, images: Any, num_samples: int, noise: Seed, progress: bool) -> tuple[Any, np.ndarray, Sums]:
    """Encode every image once: raw outputs of the encoder, from which q(z|x) is made again, posterior means, sums.

    Args:
        vae, images, num_samples, progress: as in `evaluate`.
        noise: `keras.random.SeedGenerator`.
    Returns:
        (N, outputs), or of each view; (N, latent_dim); and the `Sums`.
    """
    sums, raws, means = Sums(num_samples, vae.latent_dim), [], []
    without_samples = compiled(lambda x: exact_quantities(vae, x), vae)
    weigh = compiled(lambda x, raw, count: vae.log_weights(x, count, noise, vae.encoder.from_raw(raw)), vae, noise)
    count, example = len(arrays_in(images)[0]), vae.example_shape
    for block in watched(portions_of_examples(images, BLOCK), "importance sampling", count, progress, BLOCK):
        x = vae.prepare(block)
        raw, mean, kl, error = without_samples(x)
        raws.append(on_arrays(ops.convert_to_numpy, raw))
        means.append(ops.convert_to_numpy(mean))
        sums.add_exact(kl, error)
        draw = functools.partial(weigh, x, raw)
        weighed = functools.partial(block_weights, draw, len(mean), example, num_samples, vae.prior)
        sums.add(*weighed())
        if progress and len(means) == 1:
            seconds = seconds_again(weighed, noise) * count / BLOCK if count > BLOCK else None
            say(in_advance(vae, count, num_samples, seconds))
    return mapped(lambda *arrays: np.concatenate(arrays), *raws), np.concatenate(means), sums


def in_advance(vae: VAE, count: int, num_samples: int, seconds: float | None) -> str:
    """How many images are taken, and about how long their samples take, in words.

    Args:
        vae: as in `evaluate`.
        count: of the images.
        num_samples: K.
        seconds: that the samples of all images take; None if they were all of one block.
    """
    what = "test example" if vae.decoder.views else "test image"
    line = f"{counted(count, what)}, {counted(num_samples, 'importance sample')} of each"
    line += "" if seconds is None else f": about {duration(seconds)}"
    return f"{line}; after that, those of each view" if vae.decoder.views else line


def exact_quantities(vae: VAE, x: Any) -> tuple[Any, Tensor, Tensor | None, Tensor]:
    """Of a block of images x, what needs no samples of z.

    Returns:
        The raw output of the encoder; the mean of q(z|x); KL[q(z|x) || p(z)] as in `kl_divergence`, or None; and the
        sum of the squared errors of the reconstructions.
    """
    raw = vae.encoder.raw(x)
    q = vae.encoder.from_raw(raw)
    x, y = parted(x)
    means = vae.decoder(conditioned(q.mean, y)).mean
    views = {view: (means[view], one) for view, one in x.items()} if isinstance(x, dict) else {"x": (means, x)}
    error = sum(squared_error(mean, one) for mean, one in views.values())
    return raw, q.mean, kl_divergence(q, vae.prior_given(y)), error


def squared_error(mean: Tensor, x: Any) -> Tensor:
    """The sum of (mean - x)^2 over what is there in x."""
    error = ops.square(mean - values_of(x))
    return ops.sum(error * spread(x.there, error)) if isinstance(x, Masked) else ops.sum(error)


def numbers_there(images: Any) -> int:
    """How many numbers are there in all images, (N, ...), or in those of each view."""
    images, _ = parted(images)
    if isinstance(images, dict):
        return sum(map(numbers_there, images.values()))
    if not isinstance(images, Masked):
        return math.prod(images.shape)
    return int(images.there.sum()) * (math.prod(images.values.shape) // math.prod(images.there.shape))


def marginal(vae: VAE, raw: Any, noise: Seed) -> dict[str, float | None]:
    """I(x; z) and KL[q(z) || p(z)], from codes of the first images, with q(z) the mixture over all of them.

    I = E[log q(z|x) - log q(z)], KL = E[log q(z) - log p(z)], whose sum is the rate (Hoffman & Johnson 2016).

    Args:
        vae: a built `VAE`.
        raw: raw outputs of the encoder, (N, outputs), or of each view, in random order.
        noise: `keras.random.SeedGenerator`.
    """
    posterior, count = vae.encoder.from_raw, len(arrays_in(raw)[0])

    def rows(start: int, size: int) -> Any:
        return on_arrays(lambda array: ops.convert_to_tensor(array[start : start + size]), raw)

    # The density of another image's code takes too long; of a conditional model, it is one given another y.
    if vae.condition is not None or not posterior(rows(0, 1)).density_is_cheap:
        return {"mutual_information": None, "marginal_kl": None}
    draw = compiled(lambda raw: posterior(raw).sample_and_log_prob(noise), vae, noise)
    log_densities = compiled(lambda raw, z: log_density_of_each(posterior(raw), z), vae)
    every = [rows(start, BLOCK) for start in range(0, count, BLOCK)]
    information = marginal_kl = codes = 0.0
    for own in every[: -(-MOST_CODES // BLOCK)]:
        z, log_own = draw(own)
        log_marginal = ops.concatenate([log_densities(block, z) for block in every], axis=1)
        log_marginal = ops.logsumexp(log_marginal, axis=1) - math.log(count)
        information += to_numpy(log_own - log_marginal).sum()
        marginal_kl += to_numpy(log_marginal - vae.prior.log_prob(z)).sum()
        codes += len(z)
    return {"mutual_information": float(information / codes), "marginal_kl": float(marginal_kl / codes)}


def log_density_of_each(q: Distribution, z: Tensor) -> Tensor:
    """log q(z_i|x_j), (codes, images), for codes z (codes, latent) and the posterior of a block of images."""
    images = q.mean.shape[0]
    return q.log_prob(ops.broadcast_to(z[:, None], (z.shape[0], images, z.shape[1])))


def table(numbers: dict[str, Any]) -> str:
    """The numbers as text, one line each."""
    per_dim = numbers["bits_per_dim"] / numbers["nll"] if numbers["nll"] else math.nan
    what = "example" if numbers["views"] else "image"
    images, samples = counted(numbers["images"], what), counted(numbers["num_samples"], "importance sample")
    given = "; everything is given y, log p(x|y)" if numbers["condition"] else ""
    lines = [f"{images}, {samples}, seed {numbers['seed']}{given}", ""]
    lines.append(f"{'':<22}{'nats per ' + what:>16}{'bits per dim':>16}")
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
    lines += [*conditionals.table(numbers), *coherence.table(numbers), *generated_classes.table(numbers)]
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
