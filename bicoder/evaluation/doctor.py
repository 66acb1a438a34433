"""What is wrong with a model, in plain words, if anything is."""

import math
from typing import TYPE_CHECKING, Any

from bicoder.engine.arrays.conditioned import conditioned, parted
from bicoder.engine.arrays.masked import on_arrays
from bicoder.errors import DataError

if TYPE_CHECKING:
    from bicoder.coders import Decoder
    from bicoder.vae import VAE

STILL_RISING = 0.5  # nats
SOME = 100  # images by which pixels are judged


def diagnose(vae: "VAE", images: Any, numbers: dict[str, Any]) -> list[str]:
    """Sentences about a model, each with what to try; an empty list if nothing is wrong.

    Args:
        vae: a built `VAE`.
        images: (N, ...), or of each view, on which it was evaluated.
        numbers: dict of `evaluate`.
    """
    found, codes = [], None
    if any(has_a_sigma_for_each_pixel(decoder) for _, _, decoder in decoders(vae)):
        some = on_arrays(lambda array: array[:SOME], images)
        codes = conditioned(vae.encode(some).mean, parted(some)[1])
    for where, view, decoder in decoders(vae):
        x, _ = parted(images)
        x = x[view] if view else x
        found += [pixels_at_their_floor(decoder, codes, where), support(decoder, x, where), activation(decoder, where)]
    found.append(sampling(numbers))
    return [*of_training(vae, numbers), *(sentence for sentence in found if sentence)]


def decoders(vae: "VAE") -> list[tuple[str, str, "Decoder"]]:
    """What sentences call the view, its name, and its decoder; "", "" and the decoder of data that are one tensor."""
    views = vae.decoder.views
    return [(f" of {view}", view, decoder) for view, decoder in views.items()] or [("", "", vae.decoder)]


def of_training(vae: "VAE", numbers: dict[str, Any]) -> list[str]:
    """Sentences about how a training went wrong, for which two numbers suffice: `active_units` and `latent_dim`."""
    floors = [sigma_at_its_floor(decoder, where) for where, _, decoder in decoders(vae)]
    return [sentence for sentence in (collapse(numbers), *floors) if sentence]


def collapse(numbers: dict[str, Any]) -> str | None:
    """Most of the code says nothing about x."""
    active, dimensions = numbers["active_units"], numbers["latent_dim"]
    if active >= dimensions / 4:
        return None
    return (
        f"Posterior collapse: {active} of {dimensions} units are active (their mean has a variance above 0.01). Try "
        "a smaller or learned sigma, a warm-up of beta (--objective beta_elbo:schedule=linear), or fewer dimensions."
    )


def sigma_at_its_floor(decoder: "Decoder", where: str) -> str | None:
    """A learned sigma that would be smaller if it could."""
    likelihood = decoder.likelihood
    if not hasattr(likelihood, "log_sigma") or not hasattr(likelihood, "smallest"):
        return None
    from keras import ops

    sigma = math.exp(float(ops.convert_to_numpy(likelihood.log_sigma())))
    if likelihood.sigma != "learned" or sigma > 2 * likelihood.smallest:
        return None
    return (
        f"The learned sigma{where} is {sigma:.5f}, at its floor of {likelihood.smallest}: the density grows without "
        "limit, as it does for images that are all alike or without noise. Try a fixed sigma, or discretized_logistic."
    )


def has_a_sigma_for_each_pixel(decoder: "Decoder") -> bool:
    """Whether the network says the sigma of every pixel, down to a floor."""
    return hasattr(decoder.likelihood, "smallest") and not hasattr(decoder.likelihood, "log_sigma")


def pixels_at_their_floor(decoder: "Decoder", codes: Any, where: str) -> str | None:
    """Pixels with a sigma of their own that would be smaller if it could, as on a margin that is always black."""
    import numpy as np

    likelihood: Any = decoder.likelihood
    if not has_a_sigma_for_each_pixel(decoder):
        return None
    p: Any = decoder(codes)
    scale = np.asarray(p.scale)
    count, pixels = int((scale.mean(axis=0) < 2 * likelihood.smallest).sum()), scale[0].size
    if not count:
        return None
    return (
        f"The sigma of {count:,} of {pixels:,} pixels{where} is at its floor of {likelihood.smallest}: they never "
        "vary, and their density grows without limit. Try one sigma for all (gaussian), or discretized_logistic."
    )


def support(decoder: "Decoder", images: Any, where: str) -> str | None:
    """Values that the likelihood gives density zero."""
    try:
        decoder.likelihood.check(images, f"data{where}")
    except DataError as error:
        return f"Outside the support: {error}."
    return None


def activation(decoder: "Decoder", where: str) -> str | None:
    """The last layer of a decoder of the user's own may squash what the likelihood takes as it is."""
    last = (getattr(decoder.body, "layers", None) or [decoder.body])[-1]
    name = getattr(getattr(last, "activation", None), "__name__", "linear")
    likelihood = decoder.likelihood
    if name in likelihood.activations:
        return None
    return (
        f"The decoder{where} ends with the activation {name}, but the {likelihood.part_name()} likelihood expects "
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
