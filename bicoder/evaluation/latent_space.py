"""The latent codes of images: how well they tell labels apart, and where they lie in the plane."""

import contextlib
import math
import re

import numpy as np
from keras import ops
from tqdm import tqdm


def posterior_means(vae, images, batch_size=512):
    """The means of q(z|x), (N, latent_dim), for images (N, ...)."""
    batches = (images[i : i + batch_size] for i in range(0, len(images), batch_size))
    return np.concatenate([ops.convert_to_numpy(vae.encode(batch).mean) for batch in batches])


def label_accuracy(codes, labels, classifier, folds=5):
    """Accuracy of a classifier of the codes, cross-validated; None where there is too little to learn from.

    Args:
        codes: (N, latent_dim).
        labels: whole numbers (N,).
        classifier: "10-NN", ten nearest neighbours vote, or "logistic", a linear classifier.
        folds: each image is classified by what was learnt from the images of the other folds.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import KFold, cross_val_score
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(codes) < 2 * folds or len(np.unique(labels)) < 2:
        return None
    smallest = len(codes) - math.ceil(len(codes) / folds)
    models = {
        "10-NN": KNeighborsClassifier(min(10, smallest)),
        "logistic": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
    }
    splits = KFold(folds, shuffle=True, random_state=0)
    return float(cross_val_score(models[classifier], codes, labels, cv=splits).mean())


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
    """Codes (N, latent_dim) in the plane, (N, 2), by t-SNE (van der Maaten & Hinton 2008).

    On a terminal it shows a progress bar.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    if len(codes) < 3:  # too few to have neighbours
        return np.pad(codes, ((0, 0), (0, 2)))[:, :2]
    perplexity = min(30.0, (len(codes) - 1) / 3)
    # With few points, threads wait for each other longer than they work, and on a busy machine much longer.
    threads = threadpool_limits(1 if len(codes) <= 1000 else None, "openmp")
    with (
        threads,
        tqdm(total=1000, desc="t-SNE", leave=False, disable=None) as bar,  # None: where it is no terminal
        contextlib.redirect_stdout(_TSNEProgress(bar)),
    ):
        method = TSNE(
            perplexity=perplexity, init="pca" if codes.shape[1] > 1 else "random", random_state=seed, verbose=2
        )
        return method.fit_transform(codes)
