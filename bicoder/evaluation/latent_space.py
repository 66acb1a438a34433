"""The latent codes of images: how well they tell labels apart, and where they lie in the plane."""

import math
import sys
from typing import TYPE_CHECKING

import numpy as np
from keras import ops

if TYPE_CHECKING:
    from bicoder.data.stored_images import StoredImages
    from bicoder.vae import VAE

MANY = 5000  # codes for which t-SNE says that it takes a while
CODES_IN_A_SECOND = 500  # of t-SNE on a few cores


def posterior_means(vae: "VAE", images: "np.ndarray | StoredImages", batch_size: int = 512) -> np.ndarray:
    """The means of q(z|x), (N, latent_dim), for images (N, ...)."""
    batches = (images[i : i + batch_size] for i in range(0, len(images), batch_size))
    return np.concatenate([ops.convert_to_numpy(vae.encode(batch).mean) for batch in batches])


def label_accuracy(codes: np.ndarray, labels: np.ndarray, classifier: str, folds: int = 5) -> float | None:
    """Accuracy of a classifier of the codes, cross-validated; None if there is too little to learn from.

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


def tsne(codes: np.ndarray, seed: int = 0) -> np.ndarray:
    """Codes (N, latent_dim) in the plane, (N, 2), by t-SNE (van der Maaten & Hinton 2008).

    If it takes long, a line on standard error says about how long.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    if len(codes) < 3:  # too few to have neighbours
        return np.pad(codes, ((0, 0), (0, 2)))[:, :2]
    if len(codes) >= MANY:
        print(f"t-SNE of {len(codes):,} codes, about {len(codes) / CODES_IN_A_SECOND:.0f} s", file=sys.stderr)
    perplexity = min(30.0, (len(codes) - 1) / 3)
    # With few points, threads wait for each other longer than they work, and on a busy machine much longer.
    with threadpool_limits(1 if len(codes) <= 1000 else None, "openmp"):
        start = "pca" if codes.shape[1] > 1 else "random"
        return TSNE(perplexity=perplexity, init=start, random_state=seed).fit_transform(codes)
