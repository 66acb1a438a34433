"""The model of a run folder, built from data alone: names of parts, numbers, and weights."""

import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bicoder.errors import BicoderError, ModelError
from bicoder.runs import weights
from bicoder.runs.config import read_config
from bicoder.runs.folder import CONFIG

if TYPE_CHECKING:
    from bicoder.vae import VAE

# A model of this many numbers, 256 MB, is built to see how it differs from its weights; a larger one is not.
HARMLESS = 2**26


def load(folder: str | Path, force: bool = False) -> "VAE":
    """The `VAE` of a run folder, with its weights.

    Args:
        folder: of the run, as the program wrote it.
        force: load weights that are NaN or infinite too.
    Raises:
        ModelError: the folder holds no run, or none whose model and weights fit and can be read.
    """
    folder = Path(folder)
    config, path = read_config(folder), weights.find(folder)
    found = weights.stored(path)
    held = weights.count(found)
    try:
        needed = numbers_of(config)
        if needed > max(held, HARMLESS):
            raise ModelError(f"the model has {needed:,} weights, and {path.name} {held:,}")
        vae = build(config)
    except Exception as error:  # parts of any family, and Keras, refuse arguments in their own ways
        reason = str(error) if isinstance(error, BicoderError) else f"no model: {type(error).__name__}: {error}"
        raise ModelError(f"{folder / CONFIG}: {reason.splitlines()[0][:500]}") from error
    weights.read(path, found, vae, force)
    return vae


def build(config: dict[str, Any]) -> "VAE":
    """The `VAE` of a config, with new weights."""
    from bicoder.engine.arrays.trees import batched
    from bicoder.vae import VAE

    vae = VAE(**config["model"])
    vae.build(batched(config["input_shape"]))
    return vae


def numbers_of(config: dict[str, Any]) -> int:
    """How many numbers the weights of a config's model are, without the memory for them.

    In a stateless scope Keras makes variables without values. What it keeps to give them values later belongs to the
    thread, and ends with it.
    """
    import keras

    def without_values() -> int:
        with keras.StatelessScope(initialize_variables=False):
            return sum(math.prod(variable.shape) for variable in build(config).weights)

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(without_values).result()
