"""What a trained model is worth: functions from a model and data to numbers."""

import contextlib
import math
import re

import numpy as np
from tqdm import tqdm


def evaluate_bound(vae, images, batch_size=128):
    """The bound on images that were not trained on, with one sample of z for each.

    Args:
        vae: a built `VAE`.
        images: (N, ...).
        batch_size: images at a time; the values do not depend on it but for the noise.
    Returns:
        dict: `loss` (minus the objective), `distortion` and `rate` in nats per image, and `bits_per_dim`, the bound as
        -ELBO / (D log 2) for D dimensions; a density on [0, 1], so it can be negative.
    """
    if not vae.compiled:
        vae.compile()
    numbers = {
        name: float(v) for name, v in vae.evaluate(images, batch_size=batch_size, verbose=0, return_dict=True).items()
    }
    dimensions = math.prod(images.shape[1:])
    return numbers | {"bits_per_dim": (numbers["distortion"] + numbers["rate"]) / (dimensions * math.log(2.0))}


def posterior_means(vae, images, batch_size=512):
    """The means of q(z|x), (N, latent_dim), for images (N, ...)."""
    batches = (images[i : i + batch_size] for i in range(0, len(images), batch_size))
    return np.concatenate([np.asarray(vae.encode(batch).mean) for batch in batches])


def nearest_neighbour_accuracy(codes, labels, neighbours=10, folds=5):
    """Accuracy of a 10-nearest-neighbour classifier on the codes, cross-validated; None where there is too little.

    Args:
        codes: (N, latent_dim).
        labels: whole numbers (N,).
        neighbours: of them vote.
        folds: each image is classified by the images of the other folds.
    """
    from sklearn.model_selection import KFold, cross_val_score
    from sklearn.neighbors import KNeighborsClassifier

    if len(codes) < 2 * folds or len(np.unique(labels)) < 2:
        return None
    smallest = len(codes) - math.ceil(len(codes) / folds)
    classifier = KNeighborsClassifier(min(neighbours, smallest))
    return float(cross_val_score(classifier, codes, labels, cv=KFold(folds, shuffle=True, random_state=0)).mean())


class _TSNEProgress:
    """A stand-in for standard output that turns what scikit-learn prints while it works into a progress bar."""

    def __init__(self, bar):
        self.bar = bar

    def write(self, text):
        if match := re.search(r"Iteration (\d+):", text):
            self.bar.update(int(match[1]) - self.bar.n)

    def flush(self):
        pass


def tsne(codes, seed=0):
    """Codes (N, latent_dim) in the plane, (N, 2), by t-SNE (van der Maaten & Hinton 2008), with a progress bar."""
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    if len(codes) < 3:  # too few to have neighbours
        return np.pad(codes, ((0, 0), (0, 2)))[:, :2]
    perplexity = min(30.0, (len(codes) - 1) / 3)
    # With few points, threads wait for each other longer than they work, and on a busy machine much longer.
    threads = threadpool_limits(1 if len(codes) <= 1000 else None, "openmp")
    with threads, tqdm(total=1000, desc="t-SNE", leave=False) as bar, contextlib.redirect_stdout(_TSNEProgress(bar)):
        method = TSNE(
            perplexity=perplexity, init="pca" if codes.shape[1] > 1 else "random", random_state=seed, verbose=2
        )
        return method.fit_transform(codes)
