"""The latent codes of images: how well they tell labels apart, and where they lie in the plane."""

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from keras import ops

from bicoder.engine.arrays.conditioned import parted
from bicoder.engine.arrays.portions import portions_of_examples
from bicoder.errors import NumericError
from bicoder.kl import kl_divergence
from bicoder.waiting import told

if TYPE_CHECKING:
    from bicoder.vae import VAE

ACTIVE = 0.01  # a unit is active if the variance of its posterior mean over the images is larger (Burda et al. 2016)
FEWEST = 3  # codes that have neighbours


def posterior_means(vae: "VAE", images: Any, batch_size: int = 2048) -> np.ndarray:
    """The means of q(z|x), (N, latent_dim), for images (N, ...), or a dict view -> images."""
    batches = portions_of_examples(images, batch_size)
    return np.concatenate([ops.convert_to_numpy(vae.encode(batch).mean) for batch in batches])


def active_units(means: np.ndarray) -> int:
    """How many dimensions of the posterior means (N, latent_dim) say something about x."""
    return int((centred(means).var(axis=0) > ACTIVE).sum())


class Dimensions(NamedTuple):
    """What the dimensions of the code are worth, over some images.

    Args:
        codes: the posterior means, (N, latent_dim).
        worth: of each dimension, (latent_dim,): the mean of its KL in nats, or, if the KL is not known for each, the
            variance of the posterior means.
        by_kl: whether it is the KL.
        active: the numbers of those that do something, the worthiest first.
    """

    codes: np.ndarray
    worth: np.ndarray
    by_kl: bool
    active: np.ndarray

    @property
    def worth_name(self) -> str:
        """What the worth is, in a word."""
        return "KL" if self.by_kl else "variance"

    @property
    def mean(self) -> np.ndarray:
        """The mean of the codes, (latent_dim,)."""
        return self.codes.mean(axis=0)

    @property
    def deviation(self) -> np.ndarray:
        """Their standard deviation, (latent_dim,)."""
        return self.codes.std(axis=0)


def dimensions(vae: "VAE", images: Any, batch_size: int = 500) -> Dimensions:
    """What the dimensions of the code are worth over images (N, ...), with y of a conditional model.

    Raises:
        NumericError: codes are NaN or infinite.
    """
    means, kl = [], []
    for batch in portions_of_examples(images, batch_size):
        q, (_, y) = vae.encode(batch), parted(vae.prepare(batch))
        means.append(ops.convert_to_numpy(q.mean))
        found = kl_divergence(q, vae.prior_given(y))
        kl += [] if found is None or found.shape[-1] != vae.latent_dim else [ops.convert_to_numpy(found)]
    codes = np.concatenate(means)
    check_codes(codes)
    variance = centred(codes).var(axis=0)
    worth = np.concatenate(kl).mean(axis=0) if kl else variance
    order = np.argsort(-worth, kind="stable")
    return Dimensions(codes, worth, bool(kl), order[variance[order] > ACTIVE])


def check_codes(codes: np.ndarray) -> None:
    """`NumericError` if some of the codes (N, latent_dim) are NaN or infinite."""
    if not np.isfinite(codes).all():
        wrong = len(codes) - int(np.isfinite(codes).all(axis=1).sum())
        raise NumericError(f"codes: expected finite numbers, received others for {wrong:,} of {len(codes):,} images")


def centred(codes: np.ndarray) -> np.ndarray:
    """Codes (N, latent_dim) around 0, as float64; of those that are all the same nothing is left, not even rounding."""
    codes = codes.astype("float64") - codes[:1]
    return codes - codes.mean(axis=0)


def label_accuracy(codes: np.ndarray, labels: np.ndarray, classifier: str, folds: int = 5) -> float | None:
    """Accuracy of a classifier of the codes, cross-validated; None if there is too little to learn from.

    Args:
        codes: (N, latent_dim).
        labels: whole numbers (N,).
        classifier: "10-NN", ten nearest neighbours vote, or "logistic", a linear classifier.
        folds: each image is classified by what was learnt from the images of the other folds.
    """
    from sklearn.model_selection import KFold
    from sklearn.neighbors import KNeighborsClassifier

    if len(codes) < 2 * folds or len(np.unique(labels)) < 2:
        return None
    smallest = len(codes) - math.ceil(len(codes) / folds)
    models = {"10-NN": KNeighborsClassifier(min(10, smallest)), "logistic": logistic()}
    model, scores = models[classifier], []
    for known, asked in KFold(folds, shuffle=True, random_state=0).split(codes):
        if len(np.unique(labels[known])) < 2:  # all others of a class are in the fold that is asked for
            scores.append(np.mean(labels[asked] == labels[known[0]]))
        else:
            scores.append(model.fit(codes[known], labels[known]).score(codes[asked], labels[asked]))
    return float(np.mean(scores))


def logistic() -> Any:
    """A logistic regression of standardised codes, of scikit-learn."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


class Plane(NamedTuple):
    """Codes where they can be looked at.

    Args:
        points: (N, 2), or (N, 1) for a code of one dimension.
        axes: the name of each axis; () if they have neither unit nor direction.
        how: the points were made, in words.
    """

    points: np.ndarray
    axes: tuple[str, ...]
    how: str


def in_the_plane(codes: np.ndarray, seed: int = 0, known: np.ndarray | None = None) -> Plane:
    """Codes (N, latent_dim) by t-SNE, if they have more than two dimensions, else as they are.

    t-SNE would make groups out of the noise of a code without an active unit: of that, the two widest dimensions are
    shown.

    Args:
        codes: (N, latent_dim).
        seed: of t-SNE.
        known: what t-SNE made of these codes before, (N, 2), or None.
    """
    check_codes(codes)
    collapsed = len(codes) >= FEWEST and active_units(codes) == 0
    if codes.shape[1] > 2 and len(codes) >= FEWEST and not collapsed:
        return Plane(tsne(codes, seed) if known is None else known, (), "t-SNE of the posterior means")
    widest = np.sort(np.argsort(-centred(codes).var(axis=0), kind="stable")[:2])
    how = "collapsed, no unit is active: posterior means" if collapsed else "posterior means"
    return Plane(codes[:, widest], tuple(f"z{number + 1}" for number in widest), how)


def tsne(codes: np.ndarray, seed: int = 0) -> np.ndarray:
    """Codes (N, latent_dim) in the plane, (N, 2), by t-SNE (van der Maaten & Hinton 2008).

    Raises:
        ValueError: the codes have no neighbours, since they are too few, or all the same.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    # In units of their own spread. Else the squares of small numbers are zero, and the start, which scikit-learn
    # divides by its spread, is NaN: its compiled tree ends the whole process at that.
    codes = centred(codes)
    spread = math.sqrt(np.square(codes).mean())
    if len(codes) < FEWEST or not 0.0 < spread < math.inf:
        raise ValueError(
            f"t-SNE: expected {FEWEST} codes or more that differ, received {len(codes)} of spread {spread}"
        )
    codes = (codes / spread).astype("float32")
    perplexity = min(30.0, (len(codes) - 1) / 3)
    # With few points, threads wait for each other longer than they work, and on a busy machine much longer.
    with threadpool_limits(1 if len(codes) <= 1000 else None, "openmp"), told(f"t-SNE of {len(codes):,} codes"):
        start = "pca" if codes.shape[1] > 1 else "random"
        return TSNE(perplexity=perplexity, init=start, random_state=seed).fit_transform(codes)
