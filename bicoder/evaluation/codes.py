"""What the encoder and the decoder make of many images, a batch at a time."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from keras import ops

from bicoder.distributions import Distribution, FullGaussian, Gaussian
from bicoder.engine.arrays.conditioned import conditioned, parted
from bicoder.engine.arrays.masked import on_arrays
from bicoder.engine.programs.compiled import compiled
from bicoder.engine.tensor import Tensor

if TYPE_CHECKING:
    from bicoder.vae import VAE

BATCH = 512  # images at a time


class Codes(NamedTuple):
    """The mean of q(z|x) and the logarithm of its standard deviation, (n, latent_dim), None if it is not known."""

    mean: np.ndarray
    log_deviation: np.ndarray | None


def log_deviation(q: Distribution) -> Tensor | None:
    """log of the standard deviation of every dimension, (batch, latent_dim); None unless q is Gaussian."""
    if isinstance(q, Gaussian):
        return ops.broadcast_to(q.log_scale, ops.shape(q.mean))
    if isinstance(q, FullGaussian):  # the diagonal of L L^T
        return 0.5 * ops.log(ops.sum(ops.square(q.scale_tril), axis=-1))
    return None


def encoded(vae: "VAE", batches: Iterable[Any]) -> Iterator[Codes]:
    """The `Codes` of batches of images (n, ...)."""

    def moments(x: Tensor) -> tuple[Tensor, Tensor | None]:
        q = vae.encoder(x)
        return q.mean, log_deviation(q)

    encode = compiled(moments, vae)
    for batch in batches:
        mean, deviation = encode(vae.prepare(batch))
        yield Codes(ops.convert_to_numpy(mean), None if deviation is None else ops.convert_to_numpy(deviation))


def reconstructed(vae: "VAE", batches: Iterable[Any]) -> Iterator[Any]:
    """The means of p(x|z) at the means of q(z|x), (n, ...), of batches of images (n, ...); of each view, of several."""
    reconstruct = compiled(lambda x: vae.decoder(conditioned(vae.encoder(x).mean, parted(x)[1])).mean, vae)
    return (on_arrays(ops.convert_to_numpy, reconstruct(vae.prepare(batch))) for batch in batches)
