"""Ways through the code: along one dimension, all over two, and from one code to another."""

from statistics import NormalDist

import numpy as np

LEAST_SINE = 1e-4  # of the angle between two codes; below, float64 has few digits left of the spherical path


def along(codes: np.ndarray, dimension: int, values: np.ndarray) -> np.ndarray:
    """Codes (n, latent_dim) with these values (steps,) in the place of one dimension: (n, steps, latent_dim)."""
    found = np.repeat(codes[:, None], len(values), axis=1)
    found[..., dimension] = values
    return found


def normal_quantiles(count: int) -> np.ndarray:
    """Numbers (count,) each of which stands for as much of the mass of N(0, 1)."""
    return np.array([NormalDist().inv_cdf((i + 0.5) / count) for i in range(count)])


def all_over(across: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Codes of two dimensions, (n, 2), row by row as a picture has them: z2 grows upwards."""
    first, second = np.meshgrid(across, up[::-1])
    return np.stack([first.ravel(), second.ravel()], axis=1)


def straight(start: np.ndarray, end: np.ndarray, steps: int) -> np.ndarray:
    """(1 - t) a + t b for t from 0 to 1, both included: (n, steps, latent_dim).

    Args:
        start, end: codes a and b, (n, latent_dim).
        steps: how many.
    """
    t = np.linspace(0.0, 1.0, steps)[None, :, None]
    return (1.0 - t) * start[:, None] + t * end[:, None]


def spherical(start: np.ndarray, end: np.ndarray, steps: int) -> np.ndarray:
    """(sin((1 - t) w) a + sin(t w) b) / sin(w), with w the angle between a and b (White 2016).

    On the way from one code to another of the same length it keeps that length, as codes of a Gaussian prior in many
    dimensions have nearly all the same; the straight way leads through shorter ones. Where a and b point in the same
    or in opposite directions, or one is 0, there is no arc, and the way is the straight one.

    Args:
        start, end: codes a and b, (n, latent_dim).
        steps: how many, for t from 0 to 1, both included.
    Returns:
        (n, steps, latent_dim).
    """
    a, b = start.astype("float64"), end.astype("float64")
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosine = np.divide((a * b).sum(axis=1), lengths, out=np.ones(len(a)), where=lengths > 0.0)
    angle = np.arccos(np.clip(cosine, -1.0, 1.0))[:, None, None]
    has_arc = np.sin(angle) > LEAST_SINE
    sine, t = np.where(has_arc, np.sin(angle), 1.0), np.linspace(0.0, 1.0, steps)[None, :, None]
    arc = (np.sin((1.0 - t) * angle) * a[:, None] + np.sin(t * angle) * b[:, None]) / sine
    return np.where(has_arc, arc, straight(a, b, steps))
