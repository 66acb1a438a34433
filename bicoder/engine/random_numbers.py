"""Normal and uniform numbers: those of `keras.random`, drawn faster inside a program that XLA compiles.

XLA's own choice of generator for TensorFlow takes three times as long on a CPU as Threefry (Salmon et al. 2011).
"""

import keras

from bicoder.engine.programs.tracing import XLA
from bicoder.engine.tensor import Seed, Shape, Tensor


def normal(shape: Shape, seed: Seed = None) -> Tensor:
    """Standard normal numbers, float32.

    Args:
        shape: tuple.
        seed: int, `keras.random.SeedGenerator` or None.
    """
    if XLA.get() and isinstance(seed, keras.random.SeedGenerator):
        import tensorflow as tf

        return tf.random.stateless_normal(shape, seed.next(), alg="threefry")
    return keras.random.normal(shape, dtype="float32", seed=seed)


def uniform(shape: Shape, low: float = 0.0, high: float = 1.0, seed: Seed = None) -> Tensor:
    """Numbers that are uniform in [low, high), float32.

    Args:
        shape: tuple.
        low, high: numbers.
        seed: int, `keras.random.SeedGenerator` or None.
    """
    if XLA.get() and isinstance(seed, keras.random.SeedGenerator):
        import tensorflow as tf

        return tf.random.stateless_uniform(shape, seed.next(), low, high, alg="threefry")
    return keras.random.uniform(shape, low, high, dtype="float32", seed=seed)
