"""Means over a batch, and estimates of divergences from its codes."""

from keras import ops

from bicoder.distributions import Gaussian
from bicoder.engine.tensor import Tensor


def shares(batch: int | Tensor, weights: Tensor | None = None) -> Tensor:
    """How much each example of a batch counts, (batch,), all together one: 1 / batch, or its part of the weights."""
    weights = ops.ones((batch,)) if weights is None else ops.cast(weights, "float32")
    return weights / ops.maximum(ops.sum(weights), 1e-30)


def weighted_mean(values: Tensor, weights: Tensor | None = None) -> Tensor:
    """The mean of values (batch, ...) over the batch, each with its weight (batch,): (...)."""
    if weights is None:
        return ops.mean(values, axis=0)
    return ops.tensordot(shares(ops.shape(values)[0], weights), values, axes=1)


def stratified_log_weights(batch: int | Tensor, data_size: int | None, weights: Tensor | None = None) -> Tensor:
    """Log weights (batch, batch) of minibatch-stratified sampling (Chen et al. 2018, appendix C).

    In row i, the code of image i itself, on the diagonal, has 1/N, and the others of the batch stand for the rest of
    the data. There, one of them stands for fewer than the others; here each does so equally often, which is the mean
    over the choice of that one. Every row adds up to one.

    Args:
        batch: how many images.
        data_size: N; None takes the batch for the data.
        weights: of the images, (batch,); None if all count the same.
    """
    share, own = shares(batch, weights), ops.eye(batch)
    others = (1.0 - own) * share[None]
    total = ops.sum(others, axis=1)
    if data_size is not None:
        share = ops.minimum(1.0 / data_size, 1.0 / ops.cast(batch, "float32"))
    itself = ops.where(total > 0.0, share, 1.0)
    rest = (1.0 - itself) / ops.maximum(total, 1e-30)
    return ops.log(own * itself[:, None] + others * rest[:, None])


def total_correlation_terms(
    z: Tensor, q: Gaussian, log_pz: Tensor, log_qz: Tensor, data_size: int | None, weights: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """The KL in three terms, (batch,) each, which add up to log q(z|x) - log p(z) (Chen et al. 2018, equation 2).

    Args:
        z: one code for every image, (batch, latent).
        q: their posterior, a `Gaussian`.
        log_pz, log_qz: log p(z) and log q(z|x), (batch,).
        data_size: images in the data set; None takes the batch for the data.
        weights: of the images, (batch,); None if all count the same.
    Returns:
        mutual information, total correlation, dimension-wise KL.
    """
    pairs = Gaussian(q.mean[None], q.log_scale[None]).elementwise(z[:, None])  # of code i under posterior j
    log_weights = stratified_log_weights(ops.shape(z)[0], data_size, weights)
    log_q = ops.logsumexp(log_weights + ops.sum(pairs, axis=-1), axis=1)
    log_q_dimensions = ops.sum(ops.logsumexp(log_weights[..., None] + pairs, axis=1), axis=-1)
    return log_qz - log_q, log_q - log_q_dimensions, log_q_dimensions - log_pz


def kernel(a: Tensor, b: Tensor) -> Tensor:
    """Inverse multiquadratics of seven widths, summed: (n, d), (m, d) -> (n, m) (Tolstikhin et al. 2018)."""
    squares = ops.sum(ops.square(a[:, None] - b[None]), axis=-1)
    base = 2.0 * a.shape[-1]
    return sum(s * base / (s * base + squares) for s in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0))


def mmd(a: Tensor, b: Tensor, weights: Tensor | None = None) -> Tensor:
    """The squared maximum mean discrepancy of two samples (n, d), without bias (Gretton et al. 2012, lemma 6).

    sum_{i != j} s_i s_j k(a_i, a_j) / (1 - sum_i s_i^2) + the same of b - 2 sum_ij s_i t_j k(a_i, b_j), with the shares
    s and t of the examples, 1/n if there are no weights.

    Args:
        a, b: samples; b may be of another size.
        weights: of a, (n,); None if all count the same.
    """
    of_a, of_b = shares(ops.shape(a)[0], weights), shares(ops.shape(b)[0])

    def within(x: Tensor, share: Tensor) -> Tensor:
        pairs = share[:, None] * share[None] * (1.0 - ops.eye(ops.shape(x)[0]))
        return ops.sum(kernel(x, x) * pairs) / ops.maximum(ops.sum(pairs), 1e-30)

    across = ops.sum(kernel(a, b) * of_a[:, None] * of_b[None])
    return within(a, of_a) + within(b, of_b) - 2.0 * across
