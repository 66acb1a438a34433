"""What a type checker is told about tensors, whose type is that of the backend; docstrings say their shapes."""

from typing import Any, TypeAlias

Tensor: TypeAlias = Any  # of the backend of Keras, or what `keras.ops` takes for one
Shape: TypeAlias = tuple[int, ...]
Seed: TypeAlias = Any  # int, `keras.random.SeedGenerator` or None
