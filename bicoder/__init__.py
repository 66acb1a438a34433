"""bicoder: variational autoencoders in Keras 3."""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

# Where the public names live; each is imported on first use, so that `import bicoder` does not wait for TensorFlow.
_HOME = {
    "BiCoder": "bi_coder",
    "Encoder": "coders",
    "Decoder": "coders",
    "VAE": "vae",
    "DataLoader": "data.loader",
    "evaluate": "evaluation.measure",
    "load": "runs.load",
}
__all__ = [*_HOME, "__version__"]

if TYPE_CHECKING:  # the same names once more, for programs that read types
    from bicoder.bi_coder import BiCoder as BiCoder
    from bicoder.coders import Decoder as Decoder
    from bicoder.coders import Encoder as Encoder
    from bicoder.data.loader import DataLoader as DataLoader
    from bicoder.evaluation.measure import evaluate as evaluate
    from bicoder.runs.load import load as load
    from bicoder.vae import VAE as VAE
else:

    def __getattr__(name: str) -> Any:
        if name in _HOME:
            return getattr(importlib.import_module(f"bicoder.{_HOME[name]}"), name)
        raise AttributeError(f"module 'bicoder' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_HOME))
