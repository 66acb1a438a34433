"""Estimates of divergences from the codes of a batch."""

from keras import ops

from bicoder.distributions import Gaussian
from bicoder.engine.tensor import Tensor


def stratified_log_weights(batch: int | Tensor, data_size: int | None) -> Tensor:
    """Log weights (batch, batch) of minibatch-stratified sampling (Chen et al. 2018, appendix C).

    In row i, the code of image i itself, on the diagonal, has 1/N; one other has (N - M) / (N M), and the rest 1/M, for
    M = batch - 1. Every row adds up to one.
    """
    count = ops.cast(batch, "float32")
    others = ops.maximum(count - 1.0, 1.0)
    size = count if data_size is None else ops.maximum(ops.cast(data_size, "float32"), count)
    own = ops.eye(batch)
    next_one = ops.roll(own, 1, axis=1) * (1.0 - own)
    own_weight = ops.where(count > 1.0, 1.0 / size, 1.0)
    weights = own * own_weight + next_one * (size - others) / (size * others) + (1.0 - own - next_one) / others
    return ops.log(weights)


def total_correlation_terms(
    z: Tensor, q: Gaussian, log_pz: Tensor, log_qz: Tensor, data_size: int | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The KL in three terms, (batch,) each, which add up to log q(z|x) - log p(z) (Chen et al. 2018, equation 2).

    Args:
        z: one code for every image, (batch, latent).
        q: their posterior, a `Gaussian`.
        log_pz, log_qz: log p(z) and log q(z|x), (batch,).
        data_size: images in the data set; None takes the batch for the data.
    Returns:
        mutual information, total correlation, dimension-wise KL.
    """
    pairs = Gaussian(q.mean[None], q.log_scale[None]).elementwise(z[:, None])  # of code i under posterior j
    log_weights = stratified_log_weights(ops.shape(z)[0], data_size)
    log_q = ops.logsumexp(log_weights + ops.sum(pairs, axis=-1), axis=1)
    log_q_dimensions = ops.sum(ops.logsumexp(log_weights[..., None] + pairs, axis=1), axis=-1)
    return log_qz - log_q, log_q - log_q_dimensions, log_q_dimensions - log_pz


def kernel(a: Tensor, b: Tensor) -> Tensor:
    """Inverse multiquadratics of seven widths, summed: (n, d), (m, d) -> (n, m) (Tolstikhin et al. 2018)."""
    squares = ops.sum(ops.square(a[:, None] - b[None]), axis=-1)
    base = 2.0 * a.shape[-1]
    return sum(s * base / (s * base + squares) for s in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0))


def mmd(a: Tensor, b: Tensor) -> Tensor:
    """The squared maximum mean discrepancy of two samples (n, d), without bias (Gretton et al. 2012, lemma 6)."""
    count = ops.cast(ops.shape(a)[0], "float32")
    pairs = ops.maximum(count * (count - 1.0), 1.0)
    off_diagonal = 1.0 - ops.eye(ops.shape(a)[0])
    within = ops.sum((kernel(a, a) + kernel(b, b)) * off_diagonal) / pairs
    return within - 2.0 * ops.mean(kernel(a, b))
