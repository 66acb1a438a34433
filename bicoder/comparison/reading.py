"""A run that is compared, read from its folder as data that may come from anyone; nothing of it is loaded or built."""

import dataclasses
import functools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bicoder.comparison.settings import settings_of
from bicoder.component import said_in_source
from bicoder.engine.arrays.view_names import is_of_views
from bicoder.errors import ModelError
from bicoder.files.named_arrays import opened_arrays
from bicoder.runs import weights
from bicoder.runs.config import read_config
from bicoder.runs.folder import EVALUATION, read_history
from bicoder.runs.shown import read_evaluation

NUMBERS = ("nll", "nll_standard_error", "elbo", "distortion", "rate", "bits_per_dim", "active_units", "latent_dim")
COUNTS = ("num_samples", "images")
LARGEST = 1e290  # of a number; a model whose numbers are beyond has none
DENSITIES = "densities of pixels"
SMALLEST_SIGMA = 1e-3  # that a learned sigma stays above, as `likelihoods` has it


@dataclasses.dataclass(frozen=True)
class Run:
    """A run.

    Attributes:
        name: what it is called beside the others.
        folder: where it is, as it was typed.
        config: its config.json.
        settings: as `settings_of` gives them.
        evaluation: the numbers of `evaluate`, those of `NUMBERS` and `COUNTS` that it has; {} if it has not been
            evaluated.
        history: name -> the values of each epoch, of metrics.csv.
    """

    name: str
    folder: str
    config: dict[str, Any]
    settings: dict[str, Any]
    evaluation: dict[str, float]
    history: dict[str, list[float]]

    @property
    def data(self) -> Mapping[str, Any]:
        """What config.json says of the data."""
        return self.config["data"]

    @property
    def conditional(self) -> bool:
        """Whether its numbers are of log p(x|y)."""
        return bool(self.config["model"].get("condition"))

    @property
    def held_out(self) -> str:
        """What the columns val_ of its history are of."""
        return "validation" if self.data.get("validation_images") else "test, one sample of z"

    @property
    def source(self) -> str:
        """Which images its numbers are of, in words."""
        if self.evaluation:
            return "test"
        if not self.history:
            return "none"
        epochs = len(next(iter(self.history.values())))
        return f"{self.held_out if 'val_elbo' in self.history else 'training'}, epoch {epochs}"

    @functools.cached_property
    def numbers(self) -> dict[str, float]:
        """Its numbers: of `evaluate`, else of the last line of metrics.csv."""
        if self.evaluation:
            return self.evaluation
        of = "val_" if "val_elbo" in self.history else ""
        last = {name: self.history.get(f"{of}{name}", [math.nan])[-1] for name in ("elbo", "distortion", "rate")}
        return {name: value for name, value in last.items() if is_size(value)}

    @functools.cached_property
    def measures(self) -> str:
        """What its likelihood measures, of each view if there are several."""
        likelihood = self.config["model"]["decoder"].get("likelihood", {"name": "none"})
        if not is_of_views(likelihood):
            return measured(likelihood)
        kinds = {view: measured(one) for view, one in sorted(likelihood.items())}
        return ", ".join(f"{view}: {kind}" for view, kind in kinds.items())

    @functools.cached_property
    def sigma(self) -> str:
        """The standard deviation of p(x|z), of each view if there are several, in words; "" if there is none."""
        likelihood = self.config["model"]["decoder"].get("likelihood", {"name": "none"})
        several = is_of_views(likelihood)
        learned = iter(learned_sigmas(Path(self.folder)))
        found = {view: sigma_of(one, learned) for view, one in (likelihood if several else {"": likelihood}).items()}
        return ", ".join(f"{view}: {one}" if several else one for view, one in found.items() if one)


def read_run(folder: str, name: str) -> Run:
    """The run in a folder.

    Raises:
        ModelError: there is none, or something in it is not what this program writes.
    """
    path = Path(folder)
    config = read_config(path)
    return Run(name, folder, config, settings_of(config), checked(path, read_evaluation(path)), read_history(path))


def checked(folder: Path, found: dict[str, Any] | None) -> dict[str, float]:
    """The numbers of evaluation.json that are compared; `ModelError` if one is no number."""
    numbers = {}
    for name in (*NUMBERS, *COUNTS):
        value = None if found is None else found.get(name)
        if value is None:
            continue
        if not is_size(value) or (name in COUNTS and not (type(value) is int and value > 0)):
            raise ModelError(
                f"{folder / EVALUATION}: expected a number as {name}, received {type(value).__name__}; evaluate the "
                "run again"
            )
        numbers[name] = value
    if found is not None and "nll" not in numbers:
        raise ModelError(f"{folder / EVALUATION}: expected a number as nll, received none; evaluate the run again")
    return numbers


def is_size(value: Any) -> bool:
    """Whether a value is a finite number of a size that float64 holds."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < LARGEST


def measured(likelihood: Mapping[str, Any]) -> str:
    """What a likelihood of this config measures; one that is not in the package measures what it alone does."""
    name = str(likelihood["name"])
    found = kinds_of_likelihoods().get(name, f"what the likelihood {name} measures")
    return f"{found}, {likelihood['levels']} of them" if "levels" in likelihood else found


@functools.cache
def kinds_of_likelihoods() -> dict[str, str]:
    """name -> what it measures."""
    return said_in_source("likelihoods.py", "Likelihood", "measures")


def sigma_of(likelihood: Mapping[str, Any], learned: Any) -> str:
    """The sigma of a likelihood, in words; `learned` has those that training found, in their order."""
    if likelihood["name"] == "per_pixel_gaussian":
        return "of each pixel"
    sigma = "learned" if likelihood["name"] == "optimal_gaussian" else likelihood.get("sigma")
    if sigma == "learned":
        value = next(learned, None)
        return "learned" if value is None else f"{value:.4g}, learned"
    return "" if sigma is None else f"{sigma:g}" if is_size(sigma) else str(sigma)


def learned_sigmas(folder: Path) -> list[float]:
    """The sigmas among a run's weights, in their order; those of HDF5, of older runs, are not read."""
    try:
        with opened_arrays(folder / weights.NAME) as file:
            names = [n for n in sorted(file.keys()) if n.endswith(("/raw_log_sigma", "/variance"))]
            found = {name: file.get_tensor(name) for name in names if name.startswith("decoder/")}
    except Exception:  # damaged, or of others; the table says "learned" then, as config.json does
        return []
    sizes = [sigma_of_weight(name, float(one)) for name, one in found.items() if np.shape(one) == ()]
    return [size for size in sizes if is_size(size)]


def sigma_of_weight(name: str, value: float) -> float:
    """The sigma that a weight of a likelihood stands for, as `likelihoods.py` says it."""
    if name.endswith("/variance"):
        return math.sqrt(max(value, 1e-6))
    floor = math.log(SMALLEST_SIGMA)
    return math.exp(min(floor + float(np.logaddexp(0.0, value - floor)), 600.0))
