"""bicoder: variational autoencoders in Keras 3."""

import importlib

__version__ = "0.1.0"

# Where the public names live; each is imported on first use, so that `import bicoder` does not wait for TensorFlow.
_HOME = {
    "BiCoder": "coders",
    "Encoder": "coders",
    "Decoder": "coders",
    "VAE": "vae",
    "DataLoader": "data.loader",
    "evaluate": "evaluation.measure",
    "load": "runs.load",
}
__all__ = [*_HOME, "__version__"]


def __getattr__(name):
    if name in _HOME:
        return getattr(importlib.import_module(f"bicoder.{_HOME[name]}"), name)
    raise AttributeError(f"module 'bicoder' has no attribute {name!r}")


def __dir__():
    return sorted(set(globals()) | set(_HOME))
