"""What is wrong with a model, in plain words, if anything is."""

import math
from typing import TYPE_CHECKING, Any

from bicoder.errors import DataError

if TYPE_CHECKING:
    import numpy as np

    from bicoder.data.stored_images import StoredImages
    from bicoder.vae import VAE

STILL_RISING = 0.5  # nats
SOME = 100  # images by which pixels are judged


def diagnose(vae: "VAE", images: "np.ndarray | StoredImages", numbers: dict[str, Any]) -> list[str]:
    """Sentences about a model, each with what to try; an empty list if nothing is wrong.

    Args:
        vae: a built `VAE`.
        images: (N, ...), on which it was evaluated.
        numbers: dict of `evaluate`.
    """
    checks = (pixels_at_their_floor(vae, images), support(vae, images), activation(vae), sampling(numbers))
    return [*of_training(vae, numbers), *(sentence for sentence in checks if sentence)]


def of_training(vae: "VAE", numbers: dict[str, Any]) -> list[str]:
    """Sentences about how a training went wrong, for which two numbers suffice: `active_units` and `latent_dim`."""
    return [sentence for sentence in (collapse(numbers), sigma_at_its_floor(vae)) if sentence]


def collapse(numbers: dict[str, Any]) -> str | None:
    """Most of the code says nothing about x."""
    active, dimensions = numbers["active_units"], numbers["latent_dim"]
    if active >= dimensions / 4:
        return None
    return (
        f"Posterior collapse: {active} of {dimensions} units are active (their mean has a variance above 0.01). Try "
        "a smaller or learned sigma, a warm-up of beta (--objective beta_elbo:schedule=linear), or fewer dimensions."
    )


def sigma_at_its_floor(vae: "VAE") -> str | None:
    """A learned sigma that would be smaller if it could."""
    likelihood = vae.decoder.likelihood
    if not hasattr(likelihood, "log_sigma") or not hasattr(likelihood, "smallest"):
        return None
    sigma = math.exp(float(likelihood.log_sigma()))
    if likelihood.sigma != "learned" or sigma > 2 * likelihood.smallest:
        return None
    return (
        f"The learned sigma is {sigma:.5f}, at its floor of {likelihood.smallest}: the density grows without limit, as "
        "it does for images that are all alike or without noise. Try a fixed sigma, or discretized_logistic."
    )


def pixels_at_their_floor(vae: "VAE", images: "np.ndarray | StoredImages") -> str | None:
    """Pixels with a sigma of their own that would be smaller if it could, as on a margin that is always black."""
    import numpy as np

    likelihood = vae.decoder.likelihood
    if not hasattr(likelihood, "smallest") or hasattr(likelihood, "log_sigma"):
        return None
    scale = np.asarray(vae.decode(vae.encode(images[:SOME]).mean).scale)
    count, pixels = int((scale.mean(axis=0) < 2 * likelihood.smallest).sum()), scale[0].size
    if not count:
        return None
    return (
        f"The sigma of {count:,} of {pixels:,} pixels is at its floor of {likelihood.smallest}: they never vary, and "
        "their density grows without limit. Try one sigma for all (gaussian), or discretized_logistic."
    )


def support(vae: "VAE", images: "np.ndarray | StoredImages") -> str | None:
    """Values that the likelihood gives density zero."""
    try:
        vae.decoder.likelihood.check(images)
    except DataError as error:
        return f"Outside the support: {error}."
    return None


def activation(vae: "VAE") -> str | None:
    """The last layer of a decoder of the user's own may squash what the likelihood takes as it is."""
    last = (getattr(vae.decoder.body, "layers", None) or [vae.decoder.body])[-1]
    name = getattr(getattr(last, "activation", None), "__name__", "linear")
    likelihood = vae.decoder.likelihood
    if name in likelihood.activations:
        return None
    return (
        f"The decoder ends with the activation {name}, but the {likelihood.part_name()} likelihood expects "
        f"{' or '.join(likelihood.activations)}: its parameters cannot take all their values. Leave it out."
    )


def sampling(numbers: dict[str, Any]) -> str | None:
    """Too few importance samples for the number that is printed."""
    counts = list(numbers["bounds"])
    if len(counts) < 2:
        return None
    few, many = counts[-2:]
    rise = numbers["bounds"][many] - numbers["bounds"][few]
    if rise < STILL_RISING:
        return None
    return (
        f"The bound still rises, by {rise:.2f} nats from {few:,} to {many:,} importance samples: the NLL is only an "
        "upper bound. Try more samples (--num_samples)."
    )
